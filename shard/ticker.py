"""When to step, and what to give up when there is too much to do: a plan, made from the clock that the shell reads.

Decides the next tick to step to and the level of shedding. Invariants: ticks are the world's, floor((now - start) *
rate), and are never renumbered; a plan never covers more than ``ticks_max`` ticks, what lies further back follows in
the next plans; shedding goes up one level after STRAIN_S of being late, far levels first, then the rate, and down one
after CALM_S of ease. Not responsible for: reading the clock, sleeping, stepping.
"""

from dataclasses import dataclass
from math import floor

from shard.region import TICKS_MAX

STRAIN_S = 1.0
"""Being late for a shorter time is a hiccup (a burst of joins, a neighbour on the machine)."""
CALM_S = 10.0
"""Ten times as careful downwards, so that the level does not swing."""
FAR_SLACK = (1.0, 2.0, 4.0, 4.0, 4.0)
"""By level: how many times its tolerance a far level may be off."""
STRIDE = (1, 1, 1, 2, 4)
"""By level: ticks in a step; the last one is TICKS_MAX."""
LEVEL_MAX = len(STRIDE) - 1
LATE_PART = 0.9
"""A step that ends later than this part of a tick after the tick's time was late. Above the part at which gateways
refuse new sessions: nobody who is in should pay for somebody who could have been told to wait."""

assert len(FAR_SLACK) == len(STRIDE)
assert STRIDE[-1] == TICKS_MAX


@dataclass(frozen=True, slots=True)
class Plan:
    """Step to ``tick`` now (None: nothing is due before ``wait_s`` seconds have passed), with ``far_slack``."""

    tick: int | None
    wait_s: float
    far_slack: float
    level: int


class Ticker:
    """Plans the ticks of one shard. ``start_s``: when the world's tick 0 was, on the clock that ``now_s`` is read
    from."""

    def __init__(self, start_s: float, rate_hz: int) -> None:
        self.start_s = start_s
        self.rate_hz = rate_hz
        self.ticks_max = TICKS_MAX
        """In one plan. Who only shows what others have stepped may take all that it is behind at once."""
        self.level = 0
        self.steps = 0
        """Steps planned."""
        self.late_steps = 0
        """Of these, with more ticks than the level asks for."""
        self.ticks_merged = 0
        """Ticks that had no step of their own."""
        self._strain_s: float | None = None
        self._calm_s: float | None = None

    def tick_at(self, now_s: float) -> int:
        """The world's tick at a time."""
        return floor((now_s - self.start_s) * self.rate_hz)

    def lag(self, now_s: float, last_tick: int) -> int:
        """Ticks by which the world is behind its time at ``now_s``, the one that is just due not counted."""
        return max(0, self.tick_at(now_s) - last_tick - STRIDE[self.level])

    def plan(self, now_s: float, last_tick: int) -> Plan:
        """What to do at ``now_s``, when ``last_tick`` was stepped to."""
        current = self.tick_at(now_s)
        stride = STRIDE[self.level]
        behind = current - last_tick
        if behind < stride:
            due_s = self.start_s + (last_tick + stride) / self.rate_hz
            return Plan(None, max(0.0, due_s - now_s), FAR_SLACK[self.level], self.level)
        ticks = min(behind, self.ticks_max)
        self.steps += 1
        self.ticks_merged += ticks - 1
        if behind > stride:
            self.late_steps += 1
        return Plan(last_tick + ticks, 0.0, FAR_SLACK[self.level], self.level)

    def ended(self, now_s: float, tick: int) -> None:
        """The step to ``tick``, publishing included, ended at ``now_s``; the level follows."""
        late_s = now_s - (self.start_s + tick / self.rate_hz)
        room_s = STRIDE[self.level] / self.rate_hz
        if late_s > room_s * LATE_PART:
            self._calm_s = None
            if self._strain_s is None:
                self._strain_s = now_s
            elif now_s - self._strain_s >= STRAIN_S and self.level < LEVEL_MAX:
                self.level += 1
                self._strain_s = now_s
            return
        self._strain_s = None
        if self._calm_s is None:
            self._calm_s = now_s
        elif now_s - self._calm_s >= CALM_S and self.level > 0:
            self.level -= 1
            self._calm_s = now_s
