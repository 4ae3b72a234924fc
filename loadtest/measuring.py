"""What one process measures: meters for its entries, how late its own timers are, and the second that it is.

Decides when a cell ends: SECOND_S at the latest after the wall clock's second. Invariant: a meter's cell is in the
tally, so that nothing is counted where nobody looks. Not responsible for: other processes (``collecting``).
"""

import time

import gevent

from client.clock import ServerClock
from loadtest.figures import LATE
from loadtest.tally import GENERATOR, Cell, Tally

TICK_S = 0.05


class Meter:
    """Counts for one entry. ``cell`` is another one each second: do not keep it."""

    __slots__ = ("_news", "cell", "entry")

    def __init__(self, entry: str, cell: Cell) -> None:
        self.entry, self.cell = entry, cell
        self._news: ServerClock | None = None

    def news(self, rate_hz: int) -> ServerClock:
        """The clock of the earliest news of a world of so many ticks a second."""
        if self._news is None:
            self._news = ServerClock(rate_hz)
        return self._news


class Measuring:
    """``start`` it when users come; ``take`` what was measured since the last time."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._second = int(time.time())
        self._meters: dict[str, Meter] = {}
        self._own = self.tally.cell(self._second, GENERATOR)
        self._used_s = time.process_time()
        self._ticking: gevent.Greenlet[..., None] | None = None

    def meter(self, entry: str) -> Meter:
        """The meter of an entry, the same for all its users."""
        found = self._meters.get(entry)
        if found is None:
            found = self._meters[entry] = Meter(entry, self.tally.cell(self._second, entry))
        return found

    def start(self) -> None:
        """Begin to measure, from nothing."""
        self.stop()
        self._renew()
        self.tally.clear()
        self._renew()
        self._ticking = gevent.spawn(self._tick)

    def stop(self) -> None:
        """Measure no longer; what was measured stays."""
        if self._ticking is not None:
            self._ticking.kill()
            self._ticking = None

    def take(self) -> list[object]:
        """What was measured since the last time, for a message."""
        self._renew()
        taken = self.tally.take()
        self._renew()
        return taken

    def _renew(self) -> None:
        used_s, self._used_s = time.process_time() - self._used_s, time.process_time()
        self._own.count("cpu_ms", 1000.0 * used_s)
        self._second = int(time.time())
        self._own = self.tally.cell(self._second, GENERATOR)
        for meter in self._meters.values():
            meter.cell = self.tally.cell(self._second, meter.entry)

    def _tick(self) -> None:
        wanted_s = time.monotonic()
        while True:
            wanted_s += TICK_S
            gevent.sleep(max(0.0, wanted_s - time.monotonic()))
            now_s = time.monotonic()
            self._own.sample(LATE.name, 1000.0 * max(0.0, now_s - wanted_s))
            wanted_s = max(wanted_s, now_s - TICK_S)
            if int(time.time()) != self._second:
                self._renew()
