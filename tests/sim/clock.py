"""Virtual time: a queue of things to do, each at its millisecond.

Invariants: time never goes back; things of one moment happen in the order in which they were asked for, so that a run
depends on its seed alone. Nothing here sleeps.
"""

import heapq
from collections.abc import Callable
from typing import Protocol


class Time(Protocol):
    """Virtual time, whoever keeps it."""

    @property
    def now_ms(self) -> float: ...
    def at(self, ms: float, do: Callable[[], None]) -> None: ...
    def after(self, ms: float, do: Callable[[], None]) -> None: ...


class Clock:
    """``now_ms`` is the time of what is being done."""

    def __init__(self, now_ms: float = 0.0) -> None:
        self.now_ms = now_ms
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def at(self, ms: float, do: Callable[[], None]) -> None:
        """Do something at ``ms``; a moment that is over means now."""
        self._asked += 1
        heapq.heappush(self._queue, (max(ms, self.now_ms), self._asked, do))

    def after(self, ms: float, do: Callable[[], None]) -> None:
        """Do something ``ms`` from now."""
        self.at(self.now_ms + ms, do)

    def run_until(self, ms: float) -> None:
        """Do everything that is due before ``ms``, then it is ``ms``."""
        while self._queue and self._queue[0][0] < ms:
            self.now_ms, _, do = heapq.heappop(self._queue)
            do()
        self.now_ms = ms
