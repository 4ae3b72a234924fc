"""Showing others without jumps: the positions that STANDARD.md §4 defines, with each correction spread over a moment.

When new values move the shown position of an entity, the difference becomes an offset that decays exponentially
(projective velocity blending: Murphy and Lengyel, "Believable Dead Reckoning for Networked Games", 2011). Invariant:
without new values the shown position converges to that of the standard. Not responsible for: which tick is shown
(``client.clock``).
"""

import numpy as np
import numpy.typing as npt

from protocol.frames import Records
from protocol.layouts import SHOWN_PER_M, VELOCITY_PER_GRID

DECAY_MS = 100.0
"""After this an offset is 1/e of what it was: two frames at 20 Hz."""
JUMP_M = 3.0
"""A larger difference is a teleport and is shown as one."""

F64 = npt.NDArray[np.float64]


class Smoothing:
    """Offsets by number. Call :meth:`before` ahead of applying a message to the records and :meth:`after` behind it."""

    def __init__(self) -> None:
        self._offset = np.zeros((0, 3))
        self._id = np.zeros(0, np.uint64)
        self._shown = np.zeros((0, 3))
        self._at_ms = 0.0

    def positions(self, records: Records, tick: float, now_ms: float) -> tuple[npt.NDArray[np.uint64], F64]:
        """(ids uint64[n], positions float64[n, 3] in metres) of all live entities as they should be drawn now."""
        self._decay(records, now_ms)
        n = np.flatnonzero(records.live)
        return records.id[n], (_shown(records, tick) + self._offset)[n]

    def before(self, records: Records, tick: float, now_ms: float) -> None:
        """Note what is shown."""
        self._decay(records, now_ms)
        self._shown = _shown(records, tick) + self._offset

    def after(self, records: Records, tick: float) -> None:
        """Turn the change of what is shown into offsets."""
        held = len(self._shown)
        known = records.live[:held] & (records.id[:held] == self._id)
        now = _shown(records, tick)
        offset = np.zeros_like(now)
        offset[:held][known] = (self._shown - now[:held])[known]
        offset[np.sum(offset * offset, axis=1) > JUMP_M * JUMP_M] = 0.0
        self._offset = offset
        self._id = np.where(records.live, records.id, 0).astype(np.uint64)

    def _decay(self, records: Records, now_ms: float) -> None:
        missing = len(records.live) - len(self._offset)
        if missing:
            self._offset = np.concatenate([self._offset, np.zeros((missing, 3))])
            self._id = np.concatenate([self._id, np.zeros(missing, np.uint64)])
        self._offset *= np.exp(-max(0.0, now_ms - self._at_ms) / DECAY_MS)
        self._at_ms = now_ms


def _shown(records: Records, tick: float) -> F64:
    dt = (tick - records.record_tick)[:, None]
    shown: F64 = (VELOCITY_PER_GRID * records.p + records.v * dt) / SHOWN_PER_M
    return shown
