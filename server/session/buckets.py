"""A token bucket, refilled when it is looked at: it costs nothing while nobody speaks."""


class TokenBucket:
    """At most ``burst`` at once and ``per_s`` sustained. Invariant: 0 ≤ level ≤ burst."""

    __slots__ = ("_burst", "_level", "_per_s", "_seen_s")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._level = burst
        self._seen_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token; False if there is none."""
        elapsed_s = max(0.0, now_s - self._seen_s)
        self._seen_s = max(self._seen_s, now_s)
        self._level = min(self._burst, self._level + elapsed_s * self._per_s)
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True
