"""The instability ratio: how much the durations of successive ticks jump, of how much they could.

    ISR = Σ |max(b, tᵢ) − max(b, tᵢ₋₁)| / (Nₑ · 2 b)

over the durations tᵢ of actual ticks, with b the duration that a tick should have, and Nₑ how many ticks there should
have been in that time (all of it over b). A tick that is not late counts as b. 0: all ticks alike, even if all are
late; towards 1: every other tick is a very long one. An outlier of s·b in each λ ticks gives (s − 1) / (s + λ − 1). The
standard deviation is the same for outliers in a row and far apart; this is not, as people's impressions are not.
(J. Eickhoff, J. Donkervliet, A. Iosup, "Meterstick: Benchmarking Performance Variability in Cloud and Self-hosted
Minecraft-like Games", ICPE 2023.)

Here tᵢ are the gaps between frames as a client gets them, so that what the network does counts, too.
Invariant: numerators and times of many clients add up (``jump_ms``, ``span_ms``). Not responsible for: which gaps count
(``noticing``).
"""

from collections.abc import Iterable


class Instability:
    """Of one series of durations. ``period_ms``: b."""

    __slots__ = ("_before_ms", "_period_ms", "jump_ms", "span_ms")

    def __init__(self, period_ms: float) -> None:
        self._period_ms = period_ms
        self._before_ms: float | None = None
        self.jump_ms = 0.0
        self.span_ms = 0.0

    def add(self, took_ms: float) -> tuple[float, float]:
        """One more duration; returns by how much (jump, span) have grown."""
        held_ms = max(self._period_ms, took_ms)
        jump_ms = 0.0 if self._before_ms is None else abs(held_ms - self._before_ms)
        self._before_ms = held_ms
        self.jump_ms += jump_ms
        self.span_ms += took_ms
        return jump_ms, took_ms

    def interrupted(self) -> None:
        """The next duration does not follow the last one."""
        self._before_ms = None


def ratio(jump_ms: float, span_ms: float) -> float | None:
    """The instability ratio, from sums over any number of series; None without any time. b cancels out of Nₑ · 2 b."""
    return jump_ms / (2.0 * span_ms) if span_ms > 0.0 else None


def of_series(took_ms: Iterable[float], period_ms: float) -> float | None:
    """The instability ratio of one series of durations."""
    series = Instability(period_ms)
    for each in took_ms:
        series.add(each)
    return ratio(series.jump_ms, series.span_ms)
