"""Is there headroom for more sessions? From the busy fraction of ticks, with hysteresis.

Theory: the part of the time that was worked, as an exponentially weighted mean over time; above ``close_at`` nobody
new is let in, and only below ``open_at`` again. A tick that took longer than its time counts as that time, worked
wholly: so one that was held up for a second (a process that has just begun, a neighbour on the same machine) closes
nothing, and the gate does not flap at the edge. Not responsible for: refusing (``Sessions.headroom``).
"""

from math import exp


class Headroom:
    """Busy part in [0, 1], smoothed over ``time_constant_s``. Raises ValueError on thresholds in the wrong order."""

    def __init__(
        self, tick_s: float, close_at: float = 0.8, open_at: float = 0.65, time_constant_s: float = 2.0
    ) -> None:
        if not 0 < open_at < close_at or tick_s <= 0 or time_constant_s <= 0:
            raise ValueError(f"headroom: 0 < open_at ({open_at}) < close_at ({close_at}) and positive times are needed")
        self._tick_per_constant = tick_s / time_constant_s
        self._close_at = close_at
        self._open_at = open_at
        self.busy = 0.0
        self.admits = True

    def ticked(self, busy_fraction: float) -> bool:
        """A tick was done that took ``busy_fraction`` of its length, in [0, ∞); returns whether new sessions are
        admitted."""
        keep = exp(-self._tick_per_constant * max(1.0, busy_fraction))
        self.busy = keep * self.busy + (1.0 - keep) * min(1.0, busy_fraction)
        self.admits = self.busy < (self._close_at if self.admits else self._open_at)
        return self.admits
