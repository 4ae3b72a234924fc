"""Where everybody was in the last second, so that a person is judged by what that person saw.

A ring of the ends of steps: ids and places of all who were here, neighbours' too. Invariants: at most ``ticks`` steps
are kept, whatever happens; a place between two steps is on the straight way between them. It is not part of a dump: a
region that moved, was split or restored begins with the present, and who looks back then sees that. Not responsible
for: whose look it is and how far back it may go (``behaviours.world``).
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shard.world.table import Table

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Moment:
    """``ids`` ascending."""

    tick: int
    ids: U64
    pos: npt.NDArray[np.float32]

    def places(self, ids: U64) -> tuple[F64, npt.NDArray[np.bool_]]:
        """Where these were, and which of them were there."""
        if not len(self.ids):
            return np.zeros((len(ids), 3)), np.zeros(len(ids), bool)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return self.pos[at].astype(np.float64), self.ids[at] == ids


class Past:
    """Of one table. ``ticks`` 0: nothing is kept."""

    def __init__(self, table: Table, ticks: int) -> None:
        self._table = table
        self._ring: deque[_Moment] = deque(maxlen=max(ticks, 1))
        self._is_kept = ticks > 0

    def note(self, tick: int) -> None:
        """A step to ``tick`` is over. Costs some 20 ns for each entity where a script looks back, else nothing."""
        if self._is_kept:
            table = self._table
            rows = table.present()
            rows = rows[np.argsort(table.id[rows], kind="stable")]
            self._ring.append(_Moment(tick, table.id[rows], table.pos[rows].astype(np.float32)))

    def at(self, tick: float, kind: int = 0) -> tuple[U64, F64]:
        """Ids and places at ``tick`` of those of a kind (0: of all) who are here now and were then. Raises
        RuntimeError."""
        if not self._is_kept:
            raise RuntimeError("nothing is kept to look back at: call script.look_back() where the script is made")
        table = self._table
        rows = table.present()
        if kind:
            rows = rows[table.kind[rows] == kind]
        ids = np.sort(table.id[rows])
        if not self._ring:
            return ids, table.pos[table.find(ids)]
        tick = min(max(tick, self._ring[0].tick), self._ring[-1].tick) if tick == tick else self._ring[-1].tick
        later = next(moment for moment in self._ring if moment.tick >= tick)
        before = next(moment for moment in reversed(self._ring) if moment.tick <= tick)
        there, is_later = later.places(ids)
        here, is_before = before.places(ids)
        part = (tick - before.tick) / (later.tick - before.tick) if later.tick > before.tick else 0.0
        known = is_later & is_before
        return ids[known], (here + (there - here) * part)[known]
