"""Which leaves' poses are to be written: those in which somebody moved, came or went since they were written last.

Invariants: a leaf's blob holds all who are in it, in the order of their rows; whoever did not move costs a comparison of
columns, and no more. Not responsible for: when a batch is due (``journal``), what a pose is (``layouts``).
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from shard.journal.layouts import HEAD, Layout
from shard.world.table import Table

I64 = npt.NDArray[np.int64]

NO_LEAF = -1


class LeafPoses:
    """Of one region. ``leaf_of`` (table, rows int64[k]) tells the leaf of each, int64[k]."""

    def __init__(self, layout: Layout, leaf_of: Callable[[Table, I64], I64]) -> None:
        self._layout = layout
        self._leaf_of = leaf_of
        self._blobs: dict[int, bytes] = {}
        """Of each leaf as it was written last."""
        self._id = np.zeros(0, np.uint64)
        self._hop = np.zeros(0, np.uint32)
        self._leaf = np.zeros(0, np.int64)
        self._pose = np.zeros(0, layout.pose)
        self._all = True
        """Nothing is known of who is where: every leaf is looked at."""

    def inherit(self, former: "LeafPoses", first: int, last: int) -> None:
        """The store has of these leaves what a former region wrote."""
        self._blobs |= {leaf: blob for leaf, blob in former._blobs.items() if first <= leaf <= last}

    def changed(self, table: Table) -> dict[int, bytes]:
        """The blobs that are to be written, by leaf; an empty one where nobody is any more."""
        high = table.high
        if len(self._id) < table.capacity:
            self._grow(table.capacity)
        here = table.live[:high] & ~table.ghost[:high]
        were = self._leaf[:high] != NO_LEAF
        same = here & were & (self._id[:high] == table.id[:high]) & (self._hop[:high] == table.hop[:high])
        same &= ~self._layout.unlike(table, self._pose[:high])
        came, gone = np.flatnonzero(here & ~same), np.flatnonzero(were & ~same)
        touched = np.unique(self._leaf[gone])
        self._leaf[gone] = NO_LEAF
        if len(came):
            self._leaf[came] = self._leaf_of(table, came)
            self._id[came], self._hop[came] = table.id[came], table.hop[came]
            self._pose[came] = self._layout.poses(table, came)
            touched = np.union1d(touched, self._leaf[came])
        if self._all:
            touched = np.union1d(touched, np.array(list(self._blobs), np.int64))
            self._all = False
        if not len(touched):
            return {}
        rows = np.flatnonzero(here)
        rows = rows[np.isin(self._leaf[rows], touched)]
        now = self._made(rows)
        found = {}
        for leaf in touched.tolist():
            blob = now.get(leaf, b"")
            if self._blobs.get(leaf, b"") != blob:
                found[leaf] = blob
        self._blobs |= now
        for leaf in touched.tolist():
            if leaf not in now:
                self._blobs.pop(leaf, None)
        return found

    def _made(self, rows: I64) -> dict[int, bytes]:
        """Blobs of the leaves of ``rows``, int64[k] ascending."""
        rows = rows[np.argsort(self._leaf[rows], kind="stable")]
        both = np.zeros(len(rows), np.dtype([("head", HEAD), ("pose", self._layout.pose)]))
        both["head"]["id"], both["head"]["hop"], both["pose"] = self._id[rows], self._hop[rows], self._pose[rows]
        leaves, first = np.unique(self._leaf[rows], return_index=True)
        data, size = both.tobytes(), both.dtype.itemsize
        return {leaf: data[a * size : b * size] for leaf, a, b in runs(leaves, first, len(rows))}

    def _grow(self, capacity: int) -> None:
        more = capacity - len(self._id)
        self._id = np.concatenate([self._id, np.zeros(more, np.uint64)])
        self._hop = np.concatenate([self._hop, np.zeros(more, np.uint32)])
        self._leaf = np.concatenate([self._leaf, np.full(more, NO_LEAF, np.int64)])
        self._pose = np.concatenate([self._pose, np.zeros(more, self._layout.pose)])


def runs(keys: npt.NDArray[Any], first: I64, end: int) -> Iterable[tuple[int, int, int]]:
    """(key, where its run begins, where it ends) of sorted things."""
    return zip(keys.tolist(), first.tolist(), np.append(first[1:], end).tolist(), strict=False)
