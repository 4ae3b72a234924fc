"""The cells of a world: squares of one level of a quadtree over the ground plane, and their numbers.

A number is the path from the root with a leading one: the root is 1, the quarters of cell n are 4n to 4n + 3 (Morton
order: bit 0 of the quarter is the half along X, bit 1 the half along Z), so a number tells its level and its place, and
a parent is ``n >> 2``. Invariants: every place belongs to exactly one cell of a level (a place outside the root to the
nearest); a border place belongs to the cell on its greater side. Not responsible for: which cells are regions just now
(``partition``), who owns what.
"""

from dataclasses import dataclass

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


def level_of(region: int) -> int:
    """How often the world was cut to get this cell. Raises ValueError for what is no cell's number."""
    bits = region.bit_length()
    if region < 1 or bits % 2 == 0:
        raise ValueError(f"{region} is no number of a region")
    return (bits - 1) // 2


def quarters(region: int) -> list[int]:
    """The four cells that a cell is cut into, ascending."""
    return list(range(4 * region, 4 * region + 4))


def square_of(side_m: float, region: int) -> Square:
    """Where a cell is in a world of ``side_m`` metres. Raises ValueError for what is no cell's number."""
    return Layout(side_m, level_of(region)).square(region)


@dataclass(frozen=True, slots=True)
class Layout:
    """All cells of a level: a root square of ``side_m`` metres around the origin, cut ``level`` times.

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
        return region > 0 and region >> (2 * self.level) == 1

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

    def _numbers(self, i: I64, k: I64) -> I64:
        number = np.ones(np.broadcast(i, k).shape, np.int64)
        for bit in range(self.level - 1, -1, -1):
            number = number << 2 | (k >> bit & 1) << 1 | (i >> bit & 1)
        return number

    def _cell(self, at: F64) -> I64:
        cell = np.floor((at + self.side_m / 2) / self.region_m)
        return np.clip(cell, 0, self.across - 1).astype(np.int64)
