"""Counts of values in buckets whose width grows with the value: percentiles that can be merged.

Theory of operation. Bucket ``i`` holds values from g^(i−1) to g^i (times LEAST), with g = (1 + a) / (1 − a), and stands
for 2 g^i / (g + 1), which is off by at most the part a (ALPHA) of any value in it (C. Masson, J. Rim, H. Lee,
"DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019). Counts of two
histograms add up to the histogram of all their values, so it does not matter which process saw which. A mean of
percentiles would not do.

Invariants: a percentile of a merged histogram is that of the union of the values, within ALPHA; values below LEAST
count as 0. Not responsible for: units, when anything was measured (``tally``).
"""

from collections.abc import Iterable
from math import ceil, log

ALPHA = 0.01
"""Relative error of a percentile at most."""
LEAST = 0.01
"""Smaller values are 0: ten microseconds, a hundredth of a millimetre."""
_GAMMA = (1.0 + ALPHA) / (1.0 - ALPHA)
_PER_LOG = 1.0 / log(_GAMMA)
_SHIFT = log(LEAST) * _PER_LOG
_MIDDLE = 2.0 / (_GAMMA + 1.0)
BUCKETS_MAX = 4096
"""More than any float needs: the last one stands for 10³³."""


class Histogram:
    """``add`` values, ask for a ``percentile``, ``merge`` others. ``max`` and ``sum`` are exact."""

    __slots__ = ("count", "counts", "max", "sum")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.sum = 0.0
        self.max = 0.0

    def add(self, value: float) -> None:
        """One value ≥ 0; what is below counts as 0."""
        index = ceil(log(value) * _PER_LOG - _SHIFT) if value > LEAST else 0
        self.counts[index] = self.counts.get(index, 0) + 1
        self.count += 1
        self.sum += value
        if value > self.max:
            self.max = value

    def merge(self, other: "Histogram") -> None:
        """Count what the other one has counted, too."""
        for index, many in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + many
        self.count += other.count
        self.sum += other.sum
        self.max = max(self.max, other.max)

    def percentile(self, part: float) -> float | None:
        """The value that ``part`` (0 to 1) of all values do not exceed, by nearest rank; None without any."""
        if not self.count:
            return None
        wanted = max(1, ceil(part * self.count - 1e-9))
        if wanted == self.count:
            return self.max
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return min(0.0 if index == 0 else LEAST * _GAMMA**index * _MIDDLE, self.max)
        raise AssertionError("counts add up to count")

    @property
    def mean(self) -> float | None:
        """None without any."""
        return self.sum / self.count if self.count else None

    def plain(self) -> list[object]:
        """For a message or JSON."""
        return [[list(pair) for pair in sorted(self.counts.items())], self.sum, self.max]

    @classmethod
    def of(cls, plain: object) -> "Histogram":
        """From ``plain``. Raises ValueError if it is none."""
        match plain:
            case [list() as pairs, int() | float() as total, int() | float() as most]:
                found = cls()
                found.sum, found.max = float(total), float(most)
                found.counts = _counts(pairs)
                found.count = sum(found.counts.values())
                return found
        raise ValueError(f"not a histogram: {str(plain)[:60]}")

    @classmethod
    def of_all(cls, histograms: Iterable["Histogram"]) -> "Histogram":
        """The histogram of all values of some."""
        found = cls()
        for each in histograms:
            found.merge(each)
        return found


def _counts(pairs: list[object]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for pair in pairs:
        match pair:
            case [int() as index, int() as many] if 0 <= index < BUCKETS_MAX and many > 0 and index not in counts:
                counts[index] = many
            case _:
                raise ValueError(f"not a bucket of a histogram: {str(pair)[:60]}")
    return counts
