"""Threads: as many as a caller names, for as long as its work takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from askew._check import require

_NO_POOL = {"TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def use_threads(caller: str, threads: int) -> Iterator[None]:
    """Compute with a number of threads, and restore what was before.

    PyTorch's operators and the tokenizers' pool take it. Two threads for small matrices on cores
    that are also used by others wait for each other: a training that took 20 CPU-seconds with one
    thread took 314 with two. Variables of the environment that the user has set are left alone.

    Args:
        caller: Who asks, for the error.
        threads: Threads, >= 1.

    Raises:
        ValueError: If there is no thread.
    """
    import torch

    require(threads >= 1, f"{caller}: threads must be at least 1; got threads {threads}")
    before = torch.get_num_threads()
    pool = {"RAYON_NUM_THREADS": str(threads)} | (_NO_POOL if threads == 1 else {})
    ours = {name: value for name, value in pool.items() if name not in os.environ}
    torch.set_num_threads(threads)
    os.environ.update(ours)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        for name in ours:
            os.environ.pop(name, None)
