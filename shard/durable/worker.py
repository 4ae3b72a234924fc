"""A thread that does an event loop's blocking work, one piece after the other.

Invariants: pieces are done in the order in which they were asked for; what has begun is finished, also if nobody waits
for it any more. Not responsible for: what the work is (``sqlite``).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

TOGETHER_MAX = 256


class Worker:
    """The thread. To be made inside a running event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, job: Callable[[], T]) -> T:
        """Do it there, after all that waits."""
        return await self._loop.run_in_executor(self._pool, job)

    def soon(self, job: Callable[[], None]) -> None:
        """The same, waiting for nothing. ``job`` must not raise."""
        self._pool.submit(job)

    def close(self) -> None:
        """End the thread when it has done what was asked; nothing more can be asked."""
        self._pool.shutdown(wait=False)


class Together(Generic[Item, Outcome]):
    """Work of which the thread does all that waits at once: ``do`` gets the items, and answers each in order."""

    def __init__(self, worker: Worker, do: Callable[[list[Item]], list[Outcome | Exception]]) -> None:
        self._worker = worker
        self._do = do
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()

    async def ask(self, item: Item) -> Outcome:
        """Its outcome. Raises what ``do`` answered it, if that is an exception."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append((item, future))
        self._worker.soon(self._turn)
        return await future

    def _turn(self) -> None:
        """On the thread. Each item has a turn after it was put in, so none is forgotten; most turns find nothing."""
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER_MAX))]
        if not taken:
            return
        try:
            outcomes = self._do([item for item, _ in taken])
        except Exception as error:
            outcomes = [error] * len(taken)
        answers = [(future, outcome) for (_, future), outcome in zip(taken, outcomes, strict=True)]
        self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: list[tuple["asyncio.Future[Outcome]", "Outcome | Exception"]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue  # who asked has been cancelled
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
