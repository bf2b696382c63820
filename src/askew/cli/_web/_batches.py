"""Requests that come at the same time, worked off together and in bounded number."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")


class QueueFullError(Exception):
    """There are as many requests as may wait."""


class Batcher(Generic[_Asked, _Found]):
    """Collects requests for a moment, and hands them over together.

    Equal requests of one batch are worked off once.

    Args:
        work: Takes requests, and returns for each what was found, or why it is refused.
        executor: Where it runs.
        most: Requests in a batch at most.
        waiting: Requests that wait at most.
        window: Seconds that a batch waits for more requests.
    """

    def __init__(
        self,
        work: Callable[[Sequence[_Asked]], Sequence[_Found | ValueError]],
        executor: Executor,
        *,
        most: int = 32,
        waiting: int = 256,
        window: float = 0.003,
    ) -> None:
        self._work, self._executor = work, executor
        self._most, self._window = most, window
        self._queue: asyncio.Queue[tuple[_Asked, asyncio.Future[_Found]]] = asyncio.Queue(waiting)

    async def ask(self, asked: _Asked) -> _Found:
        """Wait for what is found.

        Raises:
            QueueFullError: If too many wait already.
            ValueError: If the request is refused.
        """
        future: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((asked, future))
        except asyncio.QueueFull:
            raise QueueFullError from None
        return await future

    async def run(self) -> None:
        """Work off batches until cancelled."""
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(self._window)
            while len(batch) < self._most and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            awaited = [(asked, future) for asked, future in batch if not future.cancelled()]
            distinct = list(dict.fromkeys(asked for asked, _ in awaited))
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(self._executor, self._work, distinct)
                by_asked = dict(zip(distinct, found, strict=True))
            except Exception as error:  # which ends these requests and not the server
                for _, future in awaited:
                    if not future.done():
                        future.set_exception(error)
                continue
            for asked, future in awaited:
                one = by_asked[asked]
                if future.done():
                    continue
                if isinstance(one, ValueError):
                    future.set_exception(one)
                else:
                    future.set_result(one)
