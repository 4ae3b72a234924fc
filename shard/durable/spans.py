"""Regions as spans of leaves: the leaves of a region are neighbours in Morton order, whichever level it is of.

A region's number is its path in the quadtree (``cluster.regions``), so region r of level l covers the leaves
``r << 2(L - l)`` to ``((r + 1) << 2(L - l)) - 1`` of level L. Invariant: two regions overlap exactly if their spans do,
and then one lies in the other.
"""

from typing import NamedTuple

from cluster.regions import level_of


class Span(NamedTuple):
    """Leaves, both ends included."""

    first: int
    last: int

    def overlaps(self, other: "Span") -> bool:
        """Whether there is a leaf in both."""
        return self.first <= other.last and other.first <= self.last


def span_of(region: int, leaf_level: int) -> Span:
    """The leaves of a region. Raises ValueError if it is smaller than a leaf, or no region."""
    shift = 2 * (leaf_level - level_of(region))
    if shift < 0:
        raise ValueError(f"region {region} is smaller than the leaves, which are of level {leaf_level}")
    return Span(region << shift, ((region + 1) << shift) - 1)
