"""What is attached to what: children follow their parent's motion rigidly, at the end of the motion phase.

Invariants: no circles, at most DEPTH_MAX levels, at most GROUP_MAX entities together (they cross borders as one); a
child whose parent is gone is free. Not responsible for: asking for it (``behaviours.world``), crossings.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from shard.border.links import GROUP_MAX
from shard.world.table import Table

I64 = npt.NDArray[np.int64]
DEPTH_MAX = 8


class AttachError(ValueError):
    """These cannot be attached; the text says why."""


class Attachments:
    """The links of a table's rows; the columns ``h.parent``, ``h.offset`` and ``h.turn`` are the truth."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._changes = -1
        self._levels: list[tuple[I64, I64]] = []

    def levels(self) -> list[tuple[I64, I64]]:
        """(children, their parents) as rows, parents before their own children."""
        table = self._table
        if self._changes == table.changes:
            return self._levels
        parent = table.columns["h.parent"]
        children = table.rows()
        children = children[parent[children] != 0]
        above = table.find(parent[children])
        lost = (above < 0) | table.ghost[above]
        if lost.any():
            parent[children[lost]] = 0
            table.changes += 1  # physics has to take them back
            children, above = children[~lost], above[~lost]
        self._levels = []
        is_child = np.zeros(table.high, bool)
        is_child[children] = True
        while len(children):
            now = ~is_child[above]
            self._levels.append((children[now], above[now]))
            is_child[children[now]] = False
            children, above = children[~now], above[~now]
        self._changes = table.changes
        return self._levels

    def attach(self, children: Iterable[int], parents: Iterable[int]) -> None:
        """Hold each child (an id) where it is on its parent. Raises AttachError, and changes nothing then."""
        table = self._table
        columns = table.columns
        pairs = list(zip(children, parents, strict=True))
        above = self._above()
        for child, parent in pairs:
            for entity in (child, parent):
                row = table.row(entity)
                if row < 0 or table.ghost[row]:
                    raise AttachError(f"entity {entity} is not in this region")
                if columns["h.handover"][row]:
                    raise AttachError(f"entity {entity} is crossing a border just now")
            above[child] = parent
        self._check(above)
        for child, parent in pairs:
            row, on = table.row(child), table.row(parent)
            gap = table.pos[row] - table.pos[on]
            cos, sin = np.cos(table.yaw[on]), np.sin(table.yaw[on])
            columns["h.offset"][row] = [gap[0] * cos - gap[2] * sin, gap[1], gap[0] * sin + gap[2] * cos]
            columns["h.turn"][row] = table.yaw[row] - table.yaw[on]
            columns["h.parent"][row] = parent
        table.changes += 1

    def detach(self, children: Iterable[int]) -> None:
        """These are free; unknown ids are passed over."""
        rows = self._table.rows_of(children)
        self._table.columns["h.parent"][rows] = 0
        self._table.changes += 1

    def _above(self) -> dict[int, int]:
        ids = self._table.id
        return {
            child: parent
            for children, parents in self.levels()
            for child, parent in zip(ids[children].tolist(), ids[parents].tolist(), strict=True)
        }

    @staticmethod
    def _check(above: dict[int, int]) -> None:
        sizes: dict[int, int] = {}
        for child in above:
            top, depth = child, 0
            while top in above:
                top, depth = above[top], depth + 1
                if depth > DEPTH_MAX:
                    raise AttachError(f"entity {child} would be attached in a circle, or over {DEPTH_MAX} others")
            sizes[top] = sizes.get(top, 1) + 1
            if sizes[top] > GROUP_MAX:
                raise AttachError(f"more than {GROUP_MAX} would hang together with entity {top}")

    def follow(self, walks: npt.NDArray[np.bool_]) -> None:
        """Put children where their parents' motion takes them; ``walks`` bool by kind: those keep their own yaw."""
        levels = self.levels()
        if not levels:
            return
        table = self._table
        offset, turn, moved = (table.columns[name] for name in ("h.offset", "h.turn", "o.moved"))
        for children, parents in levels:
            cos, sin = np.cos(table.yaw[parents]), np.sin(table.yaw[parents])
            x, y, z = offset[children].T
            arm = np.stack([x * cos + z * sin, y, z * cos - x * sin], axis=1)
            was = table.pos[children]
            table.pos[children] = table.pos[parents] + arm
            spin = table.spin[parents]
            table.vel[children] = table.vel[parents]
            table.vel[children, 0] += spin * arm[:, 2]
            table.vel[children, 2] -= spin * arm[:, 0]
            people = walks[table.kind[children]]
            moved[children[people & (was != table.pos[children]).any(axis=1)]] = 1
            things = children[~people]
            table.yaw[things] = table.yaw[parents[~people]] + turn[things]
            table.spin[things] = spin[~people]
