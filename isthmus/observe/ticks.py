"""The last ticks of a process, always recorded: when each began and ended, its phases, what was counted.

Decides what is kept: rings of fixed size in plain memory, written by a few stores for each phase (0.3 to 0.5 µs), so
that it need not be switched on before something goes wrong. Invariant: the rings never grow, and nothing is forgotten
but the oldest. Not responsible for: how a recording looks (``chrome``), who may ask for one
(``control``), metrics.
"""

import gc
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

EVENTS = 1 << 16
"""Phases that are kept, a power of two: 20 s of a shard with 16 regions, minutes of a gateway. 1.0 MB."""
TICKS = 2_400
"""Ticks that are kept: two minutes at 20 Hz."""
PAUSES = 512
"""Collections of garbage that are kept."""
_MASK = EVENTS - 1


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase: ``begin_s`` to ``end_s`` on the monotonic clock; ``region`` 0: of no region."""

    name: str
    region: int
    begin_s: float
    end_s: float


class PhaseClock:
    """Adds up the time of each phase, and keeps the last of them; ``begin("")`` ends the last."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """Since the start, by phase."""
        self.region = 0
        """Of the phases that begin from now on; 0: no region's."""
        self._name = ""
        self._since_s = 0.0
        self._at = 0
        self._names = [""] * EVENTS
        self._regions = array("Q", bytes(8 * EVENTS))
        self._begun_s = array("d", bytes(8 * EVENTS))

    def begin(self, name: str) -> None:
        """A phase begins, and the one before ends."""
        now_s = time.monotonic()
        before = self._name
        if before:
            self.seconds[before] = self.seconds.get(before, 0.0) + now_s - self._since_s
        elif not name:
            return
        at = self._at
        self._names[at], self._regions[at], self._begun_s[at] = name, self.region, now_s
        self._at = at + 1 & _MASK
        self._name, self._since_s = name, now_s

    def of_region(self, region: int) -> None:
        """What begins from now on is of ``region``."""
        self.region = region

    def recorded(self, since_s: float) -> Iterator[Phase]:
        """Phases that ended after ``since_s``, the oldest first; the one that is under way is left out."""
        for k in range(EVENTS - 1):
            at, after = (self._at + k) & _MASK, (self._at + k + 1) & _MASK
            end_s = self._begun_s[after]
            if self._names[at] and end_s > since_s and after != self._at:
                yield Phase(self._names[at], self._regions[at], self._begun_s[at], end_s)


@dataclass(frozen=True, slots=True)
class Ticked:
    """A tick that was made: times on the monotonic clock, ``ticks`` that this step covered, the ``level`` of shedding,
    and what was counted at its end, in the order of ``Recorder.names``."""

    tick: int
    ticks: int
    level: int
    planned_s: float
    begun_s: float
    ended_s: float
    counted: Sequence[float]


class Recorder:
    """The last ticks. ``sample`` is asked after each for figures called ``names``: cheap ones, totals as they are."""

    def __init__(self, names: Sequence[str] = (), sample: Callable[[], Sequence[float]] = tuple) -> None:
        self.names = tuple(names)
        self.phases = PhaseClock()
        self._sample = sample
        self._at = 0
        self._kept: list[Ticked | None] = [None] * TICKS
        self._pauses: list[tuple[float, float, int] | None] = [None] * PAUSES
        self._pauses_at = 0
        self._collecting_s = 0.0

    def ticked(
        self, tick: int, planned_s: float, begun_s: float, ended_s: float, ticks: int = 1, level: int = 0
    ) -> None:
        """A tick was made."""
        self._kept[self._at] = Ticked(tick, ticks, level, planned_s, begun_s, ended_s, self._sample())
        self._at = (self._at + 1) % TICKS

    def recorded(self, since_s: float) -> list[Ticked]:
        """Ticks that ended after ``since_s``, the oldest first."""
        ring = self._kept[self._at :] + self._kept[: self._at]
        return [ticked for ticked in ring if ticked is not None and ticked.ended_s > since_s]

    # ---------------------------------------------------------------------------------------------- garbage collection
    def watch_collections(self) -> None:
        """Keep the pauses of Python's collector, too, from now on."""
        gc.callbacks.append(self._collected)

    def ignore_collections(self) -> None:
        """No more."""
        gc.callbacks.remove(self._collected)

    def _collected(self, what: str, facts: dict[str, int]) -> None:
        if what == "start":
            self._collecting_s = time.monotonic()
            return
        self._pauses[self._pauses_at] = self._collecting_s, time.monotonic(), facts["generation"]
        self._pauses_at = (self._pauses_at + 1) % PAUSES

    def pauses(self, since_s: float) -> list[tuple[float, float, int]]:
        """(begin, end, generation) of collections that ended after ``since_s``, the oldest first."""
        ring = self._pauses[self._pauses_at :] + self._pauses[: self._pauses_at]
        return [pause for pause in ring if pause is not None and pause[1] > since_s]
