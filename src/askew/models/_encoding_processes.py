"""Processes that encode windows at the same time, and end with the one that started them."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from transformers.utils import logging

from askew.models._context_shards import Shard
from askew.text import Context, TextTokens

_AHEAD = 3  # batches that wait for each process, so that none waits for this one

Windows = list[tuple[int, TextTokens]]
"""Tokens of windows, each with the row of its context."""
EncodeBatch = Callable[[Windows, str], Shard]
"""Encodes some windows for a dtype."""
Load = Callable[[], EncodeBatch]
"""Loads an encoder in another process."""


class Step(NamedTuple):
    """What a batch of windows belongs to.

    Args:
        contexts: Of its group, which is kept as soon as all its batches are encoded.
        done: Characters of all contexts that are done after the batch.
        is_last: Whether it is the last batch of the group.
    """

    contexts: list[Context]
    done: int
    is_last: bool


Steps = Iterable[tuple[Step, Windows]]
"""Batches of windows, in their order."""
EncodeAll = Callable[[Steps, str], Iterator[tuple[Step, Shard]]]
"""Encodes all batches for a dtype, and yields a shard for each, in their order."""

_loaded: list[EncodeBatch] = []  # of this process, where it is one that encodes


@contextmanager
def encoding_processes(caller: str, load: Load, jobs: int) -> Iterator[EncodeAll]:
    """Start processes of one thread each; within, batches are encoded by them.

    They end in the middle of their work when this process is killed.

    Args:
        caller: What messages name.
        load: Loads the encoder in each process.
        jobs: How many processes.

    Yields:
        A function that encodes batches.

    Raises:
        RuntimeError: If a process is killed, as where memory is short.
    """
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, context, initializer=_start, initargs=(load,))

    def encode_all(batches: Steps, dtype: str) -> Iterator[tuple[Step, Shard]]:
        waiting: deque[tuple[Step, Future[tuple[np.ndarray, ...]]]] = deque()
        for step, batch in batches:
            waiting.append((step, executor.submit(_encode, batch, dtype)))
            if len(waiting) > _AHEAD * jobs:
                yield _received(*waiting.popleft())
        while waiting:
            yield _received(*waiting.popleft())

    try:
        yield encode_all
    except BrokenProcessPool:
        raise RuntimeError(
            f"{caller}: every process must work to the end; got one of {jobs} that ended "
            "before, as where memory is short. Take fewer jobs"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start(load: Load) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C for all
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    _loaded.append(load())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # else it would wait for work for ever


def _encode(batch: Windows, dtype: str) -> tuple[np.ndarray, ...]:
    """Encode in a process; arrays are sent as bytes, where tensors would need shared memory."""
    return tuple(tensor.numpy() for tensor in _loaded[0](batch, dtype))


def _received(step: Step, encoded: Future[tuple[np.ndarray, ...]]) -> tuple[Step, Shard]:
    return step, Shard(*map(torch.from_numpy, encoded.result()))
