"""The world's time on a process's monotonic clock, held to the wall clock that all machines of a cluster share.

Decides where tick 0 is on the monotonic clock: taken from the wall clock once, then moved after it by at most SLEW of
the time that passed, so that a step of the wall clock (NTP, an operator) never makes ticks jump. Invariant: ticks as
read from ``start_s`` never go back. Not responsible for: reading clocks, setting them right (the machines' NTP).
"""

from dataclasses import dataclass

SLEW = 0.005
"""As adjtime(3) does on most systems, times ten: 50 ms in 10 s, and no walker sees it."""


@dataclass(slots=True)
class WorldClock:
    """``start_unix_s``: the time of tick 0; ``start_s``: the same on the monotonic clock, as believed now."""

    start_unix_s: float
    start_s: float
    _told_s: float

    @classmethod
    def begin(cls, start_unix_s: float, unix_s: float, now_s: float) -> "WorldClock":
        """From one reading of both clocks, in seconds."""
        return cls(start_unix_s, start_unix_s - (unix_s - now_s), now_s)

    def told(self, unix_s: float, now_s: float) -> float:
        """Another reading of both clocks; returns ``start_s``."""
        room_s = SLEW * max(0.0, now_s - self._told_s)
        self._told_s = max(self._told_s, now_s)
        off_s = self.start_unix_s - (unix_s - now_s) - self.start_s
        self.start_s += min(room_s, max(-room_s, off_s))
        return self.start_s
