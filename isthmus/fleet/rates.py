"""Totals that grow, as rates: what operators are told of bytes.

Invariant: a rate is over EVERY_S at least, so that two members tell about the same time whatever their ticks. Not
responsible for: counting.
"""

from collections.abc import Hashable

EVERY_S = 2.0


class Rates:
    """Rates of any number of totals, each with a key."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[float, float, float]] = {}
        """By key: total and time when the rate was made last, and the rate."""

    def per_s(self, key: Hashable, total: float, now_s: float) -> float:
        """By how much a total grows in a second; 0 until that is known. A total that falls begins anew."""
        before, since_s, rate = self._last.get(key, (total, now_s, 0.0))
        if total < before:
            before, since_s, rate = total, now_s, 0.0
        if now_s - since_s >= EVERY_S:
            rate = (total - before) / (now_s - since_s)
            before, since_s = total, now_s
        self._last[key] = before, since_s, rate
        return rate
