"""The last hour of a few figures, for charts: a ring of fixed size.

Invariant: memory is fixed; samples are numbered from 0 for ever, and who asks for those since a number gets each once.
Not responsible for: when a sample is taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EVERY_S = 5.0
KEPT = 720
"""An hour of samples."""
SERIES = ("sessions", "entities", "load_mean", "load_max", "tick_ms", "bytes_out", "bytes_in", "without_owner")


class History:
    """A ring of samples of ``series``."""

    def __init__(self, series: Sequence[str] = SERIES, kept: int = KEPT) -> None:
        self.series = tuple(series)
        self.taken = 0
        """Samples ever taken."""
        self._at_s = np.zeros(kept, np.float64)
        self._values = np.zeros((kept, len(self.series)), np.float32)

    def add(self, at_unix_s: float, sample: Mapping[str, float]) -> None:
        """One sample; it takes the place of the oldest."""
        row = self.taken % len(self._at_s)
        self._at_s[row] = at_unix_s
        self._values[row] = [sample[name] for name in self.series]
        self.taken += 1

    def since(self, number: int) -> dict[str, Any]:
        """Samples from ``number`` on, as far as they are kept: ``first`` their first number, ``next`` what to ask for
        next, ``at_s`` and each series as a list."""
        first = min(max(number, self.taken - len(self._at_s), 0), self.taken)
        rows = np.arange(first, self.taken) % len(self._at_s)
        columns = {
            name: [round(value, 3) for value in self._values[rows, k].tolist()] for k, name in enumerate(self.series)
        }
        at_s = [round(value, 1) for value in self._at_s[rows].tolist()]
        return {"first": first, "next": self.taken, "every_s": EVERY_S, "at_s": at_s, "series": columns}
