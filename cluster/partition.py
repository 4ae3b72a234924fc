"""How the world is cut into regions just now: cells of a quadtree, of several levels, which together are the whole.

Decides which region a place belongs to, which regions touch, and which a circle touches. Invariants: every place
belongs to exactly one region (outside the root to the nearest); neighbours are mutual; an object never changes: a split
or merge makes another one. Not responsible for: who owns what, when a region is split or merged (``plan``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cluster.regions import F64, I64, Layout, Square, level_of, quarters, square_of


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


@dataclass(frozen=True)
class Partition:
    """``regions``: all numbers, ascending; use :meth:`of` to be sure that they are a whole."""

    side_m: float
    regions: tuple[int, ...]

    @classmethod
    def of(cls, layout: Layout, known: Iterable[int] = ()) -> "Partition":
        """The regions that are ``known``, and what they leave open in cells of the layout's level, or smaller ones
        where those would not fit. Of two that overlap the larger counts."""
        numbers = set(known)
        above = {number >> (2 * up) for number in numbers for up in range(1, level_of(number) + 1)}
        found: list[int] = []
        rest = [1]
        while rest:
            cell = rest.pop()
            if cell in numbers or (cell not in above and level_of(cell) >= layout.level):
                found.append(cell)
            else:
                rest += quarters(cell)
        return cls(layout.side_m, tuple(sorted(found)))

    # -------------------------------------------------------------------------------------------------------- regions
    def all(self) -> list[int]:
        """All numbers, ascending."""
        return list(self.regions)

    def holds(self, region: int) -> bool:
        """Whether this is a region just now."""
        return region in self._places

    def square(self, region: int) -> Square:
        """Where a region is, or any other cell. Raises ValueError for what is no cell's number."""
        return square_of(self.side_m, region)

    def neighbours(self, region: int) -> list[int]:
        """Regions that share a side or a corner with ``region``, ascending. Raises KeyError for what is none."""
        i, k, width = self._places[region]
        last = len(self._cells) - 1
        around = self._cells[max(i - 1, 0) : min(i + width, last) + 1, max(k - 1, 0) : min(k + width, last) + 1]
        return [number for number in np.unique(around).tolist() if number != region]

    def in_place_of(self, former: int) -> list[int]:
        """Regions that are where another cell is or was, ascending; never none."""
        return [n for n in self.regions if is_within(n, former) or is_within(former, n)]

    # --------------------------------------------------------------------------------------------------------- places
    def region_at(self, x: npt.ArrayLike, z: npt.ArrayLike) -> I64:
        """Numbers of the regions at places (metres), int64 of their common shape."""
        found: I64 = self._cells[self._cell(np.asarray(x, np.float64)), self._cell(np.asarray(z, np.float64))]
        return found

    def seen(self, x: F64, z: F64, radius_m: float) -> Sights:
        """Regions that the squares around circles at places (float64[n] each, metres) touch."""
        left, right, top, bottom = (self._cell(c) for c in (x - radius_m, x + radius_m, z - radius_m, z + radius_m))
        width = right - left + 1
        count = width * (bottom - top + 1)
        first = np.zeros(len(x) + 1, np.int64)
        np.cumsum(count, out=first[1:])
        nth = np.arange(first[-1]) - np.repeat(first[:-1], count)
        width = np.repeat(width, count)
        regions = self._cells[np.repeat(left, count) + nth % width, np.repeat(top, count) + nth // width]
        if self._is_even:
            return Sights(regions, first)
        of_circle = np.repeat(np.arange(len(x)), count)
        order = np.lexsort((regions, of_circle))
        regions, of_circle = regions[order], of_circle[order]
        new = np.ones(len(regions), bool)
        new[1:] = (regions[1:] != regions[:-1]) | (of_circle[1:] != of_circle[:-1])
        first[1:] = np.cumsum(np.bincount(of_circle[new], minlength=len(x)))
        return Sights(regions[new], first)

    # ------------------------------------------------------------------------------------------------------- the cells
    @cached_property
    def _places(self) -> dict[int, tuple[int, int, int]]:
        """By region: first column and row of its cells, and how many they are along a side."""
        deepest = max(map(level_of, self.regions))
        found = {}
        for region in self.regions:
            level = level_of(region)
            i, k = Layout(self.side_m, level).place(region)
            width = 1 << (deepest - level)
            found[region] = i * width, k * width, width
        return found

    @cached_property
    def _cells(self) -> I64:
        """The region of each cell of the deepest level that there is, int64[across, across] by column and row."""
        across = 1 << max(map(level_of, self.regions))
        cells = np.zeros((across, across), np.int64)
        for region, (i, k, width) in self._places.items():
            cells[i : i + width, k : k + width] = region
        return cells

    @cached_property
    def _is_even(self) -> bool:
        return len({width for _, _, width in self._places.values()}) == 1

    def _cell(self, at: F64) -> I64:
        across = len(self._cells)
        cell = np.floor((at + self.side_m / 2) * (across / self.side_m))
        return np.clip(cell, 0, across - 1).astype(np.int64)


def is_within(region: int, cell: int) -> bool:
    """Whether a region lies in a cell, or is that cell."""
    up = level_of(region) - level_of(cell)
    return up >= 0 and region >> (2 * up) == cell
