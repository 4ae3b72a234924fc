"""The regions of a world: squares of one level of a quadtree over the ground plane, and their numbers.

A number is the path from the root with a leading one: the root is 1, the quarters of region n are 4n to 4n + 3 (Morton
order: bit 0 of the quarter is the half along X, bit 1 the half along Z), so a number tells its level and its place, and
a parent is ``n >> 2``. Invariants: every place belongs to exactly one region (a place outside the root to the nearest);
a border place belongs to the region on its greater side. Not responsible for: who owns what.
"""

from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt

MARGIN_M = 16.0
"""How far regions see into each other: as wide as the widest action, query or contact."""
LEVEL_MAX = 12
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Square:
    """``x0 <= x < x1`` and ``z0 <= z < z1``, metres."""

    x0: float
    z0: float
    x1: float
    z1: float


@dataclass(frozen=True, slots=True, eq=False)
class Sights:
    """Which regions each of n circles touches: those of circle k are ``regions[first[k] : first[k + 1]]``, never none
    (int64; ``first`` has n + 1)."""

    regions: I64
    first: I64

    def __len__(self) -> int:
        return len(self.first) - 1

    def of(self, k: int) -> I64:
        """Regions of circle ``k``."""
        return self.regions[self.first[k] : self.first[k + 1]]

    def counts(self) -> dict[int, int]:
        """How many circles touch each region."""
        regions, counts = np.unique(self.regions, return_counts=True)
        return dict(zip(regions.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Layout:
    """All regions of a world: a root square of ``side_m`` metres around the origin, cut ``level`` times.

    Raises ValueError if regions would be narrower than twice MARGIN_M (neighbours' neighbours would touch).
    """

    side_m: float
    level: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.level <= LEVEL_MAX:
            raise ValueError(f"regions: level must be 0 to {LEVEL_MAX}, got {self.level}")
        if self.level and self.region_m < 2 * MARGIN_M:
            raise ValueError(
                f"regions: {self.side_m:g} m cut {self.level} times are {self.region_m:g} m wide, and a region must be "
                f"at least {2 * MARGIN_M:g} m wide: lower the level"
            )
        if not self.side_m > 0:
            raise ValueError(f"regions: side_m must be positive, got {self.side_m}")

    @classmethod
    def around(cls, extent_m: float, level: int) -> "Layout":
        """The layout whose root is the smallest power of two of metres that holds ``extent_m``."""
        side = 1.0
        while side < extent_m:
            side *= 2.0
        return cls(side, level)

    @property
    def region_m(self) -> float:
        """Side of a region."""
        return self.side_m / (1 << self.level)

    @property
    def across(self) -> int:
        """Regions along one side of the root."""
        return 1 << self.level

    def all(self) -> list[int]:
        """All numbers, ascending."""
        first = 1 << (2 * self.level)
        return list(range(first, 2 * first))

    def holds(self, region: int) -> bool:
        """Whether this is the number of a region here."""
        return region >> (2 * self.level) == 1

    def number(self, i: int, k: int) -> int:
        """The region in column ``i`` (along X) and row ``k`` (along Z), counted from the least corner."""
        number = 1
        for bit in range(self.level - 1, -1, -1):
            number = number << 2 | (k >> bit & 1) << 1 | (i >> bit & 1)
        return number

    def place(self, region: int) -> tuple[int, int]:
        """Column and row of a region. Raises ValueError for a number of another layout."""
        if not self.holds(region):
            raise ValueError(f"region {region} is not of level {self.level}")
        i = k = 0
        for bit in range(self.level):
            i |= (region >> (2 * bit) & 1) << bit
            k |= (region >> (2 * bit + 1) & 1) << bit
        return i, k

    def square(self, region: int) -> Square:
        """Where a region is."""
        i, k = self.place(region)
        side, low = self.region_m, -self.side_m / 2
        return Square(low + i * side, low + k * side, low + (i + 1) * side, low + (k + 1) * side)

    def region_at(self, x: npt.ArrayLike, z: npt.ArrayLike) -> I64:
        """Numbers of the regions at places (metres), int64 of their common shape."""
        return self._numbers(self._cell(np.asarray(x, np.float64)), self._cell(np.asarray(z, np.float64)))

    def seen(self, x: F64, z: F64, radius_m: float) -> Sights:
        """Regions that the squares around circles at places (float64[n] each, metres) touch."""
        left, right, top, bottom = (self._cell(c) for c in (x - radius_m, x + radius_m, z - radius_m, z + radius_m))
        width = right - left + 1
        count = width * (bottom - top + 1)
        first = np.zeros(len(x) + 1, np.int64)
        np.cumsum(count, out=first[1:])
        nth = np.arange(first[-1]) - np.repeat(first[:-1], count)
        width = np.repeat(width, count)
        return Sights(self._numbers(np.repeat(left, count) + nth % width, np.repeat(top, count) + nth // width), first)

    def neighbours(self, region: int) -> list[int]:
        """Regions that share a side or a corner with ``region``, ascending."""
        i, k = self.place(region)
        last = self.across - 1
        return sorted(
            self.number(a, b)
            for a in range(max(i - 1, 0), min(i + 1, last) + 1)
            for b in range(max(k - 1, 0), min(k + 1, last) + 1)
            if (a, b) != (i, k)
        )

    def touching(self, x: float, z: float, radius_m: float) -> list[int]:
        """Regions that a circle touches, ascending; at least the one that its centre belongs to."""
        side, low, last = self.region_m, -self.side_m / 2, self.across - 1
        found = []
        (left, right), (top, bottom) = (
            [min(max(floor((at - low) / side), 0), last) for at in (c - radius_m, c + radius_m)] for c in (x, z)
        )
        home = int(self.region_at(x, z))
        for i in range(left, right + 1):
            for k in range(top, bottom + 1):
                dx = max(low + i * side - x, x - (low + (i + 1) * side), 0.0)
                dz = max(low + k * side - z, z - (low + (k + 1) * side), 0.0)
                if dx * dx + dz * dz <= radius_m * radius_m or self.number(i, k) == home:
                    found.append(self.number(i, k))
        return sorted(found)

    def _numbers(self, i: I64, k: I64) -> I64:
        number = np.ones(np.broadcast(i, k).shape, np.int64)
        for bit in range(self.level - 1, -1, -1):
            number = number << 2 | (k >> bit & 1) << 1 | (i >> bit & 1)
        return number

    def _cell(self, at: F64) -> I64:
        cell = np.floor((at + self.side_m / 2) / self.region_m)
        return np.clip(cell, 0, self.across - 1).astype(np.int64)
