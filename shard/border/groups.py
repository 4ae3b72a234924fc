"""Who crosses together: what is attached to each other, and piles of things that touch.

Invariant: what is attached is never parted; a pile crosses as one only up to GROUP_MAX entities, and a larger one thing
by thing. People do not carry along what they touch, nor whom. Not responsible for: when (``crossing``).
"""

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from shard.border.links import GROUP_MAX
from shard.state import ShardState

I64 = npt.NDArray[np.int64]


class Groups:
    """Groups as they are at the end of a step; made only in steps in which something crosses."""

    def __init__(self, state: ShardState) -> None:
        table = state.table
        self._own, self._handover = table.rows(), table.columns["h.handover"]
        self._root: dict[int, int] = {}
        self._unit: dict[int, list[int]] = {}
        rows = table.rows()
        parent = table.columns["h.parent"]
        children = rows[parent[rows] != 0]
        above = dict(zip(children.tolist(), table.find(parent[children]).tolist(), strict=True))
        for child in above:
            top = child
            while top in above:
                top = above[top]
            self._root[child] = top
            self._unit.setdefault(top, [top]).append(child)
        self._touches: dict[int, set[int]] = defaultdict(set)
        own = ~table.ghost & table.live
        for a, b in state.exchange.contacts().tolist():
            if own[a] and own[b]:
                self._touches[self.root(a)].add(self.root(b))
                self._touches[self.root(b)].add(self.root(a))

    def root(self, row: int) -> int:
        """The row that ``row`` is attached to, over any number of others; or itself."""
        return self._root.get(row, row)

    def unit(self, root: int) -> list[int]:
        """A row and all that is attached to it."""
        return self._unit.get(root, [root])

    def pile(self, root: int) -> list[int]:
        """Roots of the units that touch each other, beginning with ``root``; it alone if they are too many."""
        found = [root]
        seen = {root}
        size = len(self.unit(root))
        for at in found:  # grows
            for other in sorted(self._touches.get(at, ())):
                if other in seen:
                    continue
                size += len(self.unit(other))
                if size > GROUP_MAX:
                    return [root]
                seen.add(other)
                found.append(other)
        return found

    def prepared(self, number: int) -> I64:
        """Rows for which a hand-over was asked, ascending."""
        rows: I64 = self._own[self._handover[self._own] == number]
        return rows

    def crossing(self, number: int) -> I64:
        """The rows that a hand-over takes. What was attached since it was asked for comes along; a unit that hangs
        together with another crossing goes with that one."""
        roots = sorted({self.root(row) for row in self.prepared(number).tolist()})
        return self.rows([root for root in roots if np.isin(self._handover[self.unit(root)], (0, number)).all()])

    def rows(self, roots: list[int]) -> I64:
        """All rows of some units, ascending."""
        return np.array(sorted(row for root in roots for row in self.unit(root)), np.int64)
