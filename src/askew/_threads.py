"""Threads: as many as a caller names, for as long as its work takes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from askew._check import require

_NO_POOL = {"TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def use_threads(caller: str, threads: int, *, import_torch: bool = True) -> Iterator[None]:
    """Compute with a number of threads, and restore what was before.

    PyTorch's operators and the tokenizers' pool take it. Two threads for small matrices on cores
    that are also used by others wait for each other: a training that took 20 CPU-seconds with one
    thread took 314 with two. Variables of the environment that the user has set are left alone.

    Args:
        caller: Who asks, for the error.
        threads: Threads, >= 1.
        import_torch: False where nothing within computes with PyTorch, unless it is loaded already.

    Raises:
        ValueError: If there is no thread.
    """
    require(threads >= 1, f"{caller}: threads must be at least 1; got threads {threads}")
    torch = import_module("torch") if import_torch else sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    pool = {"RAYON_NUM_THREADS": str(threads)} | (_NO_POOL if threads == 1 else {})
    ours = {name: value for name, value in pool.items() if name not in os.environ}
    if torch:
        torch.set_num_threads(threads)
    os.environ.update(ours)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(before)
        for name in ours:
            os.environ.pop(name, None)
