"""Is there headroom for more sessions? From the busy fraction of ticks, with hysteresis.

Theory: each tick's busy fraction (time worked / tick length) enters an exponentially weighted mean; above
``close_at`` nobody new is let in, and only below ``open_at`` again. A single late tick closes nothing, and the gate
does not flap at the edge. Not responsible for: refusing (``Sessions.headroom``).
"""

from math import exp


class Headroom:
    """Busy fraction in [0, ∞) smoothed over ``time_constant_s``. Raises ValueError on thresholds in the wrong order."""

    def __init__(
        self, tick_s: float, close_at: float = 0.8, open_at: float = 0.65, time_constant_s: float = 2.0
    ) -> None:
        if not 0 < open_at < close_at or tick_s <= 0 or time_constant_s <= 0:
            raise ValueError(f"headroom: 0 < open_at ({open_at}) < close_at ({close_at}) and positive times are needed")
        self._keep = exp(-tick_s / time_constant_s)
        self._close_at = close_at
        self._open_at = open_at
        self.busy = 0.0
        self.admits = True

    def ticked(self, busy_fraction: float) -> bool:
        """A tick was done; returns whether new sessions are admitted."""
        self.busy = self._keep * self.busy + (1.0 - self._keep) * busy_fraction
        self.admits = self.busy < (self._close_at if self.admits else self._open_at)
        return self.admits
