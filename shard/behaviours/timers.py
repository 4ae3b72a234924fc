"""Timers as rows of a table: due tick, topic, entity, value. Nothing else remembers a timer, so a dump of it is
complete.

Invariant: due timers come out in the order of (due tick, order of setting). Not responsible for: calling anybody.
"""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

TIMER = np.dtype([("due", "<i8"), ("topic", "<u4"), ("id", "<u8"), ("value", "<i8")])


def topic_number(topic: str) -> int:
    """Topics are kept as numbers; two topics of one world must not share one (``runner`` checks)."""
    return zlib.crc32(topic.encode())


class Timers:
    """All timers of a world."""

    def __init__(self) -> None:
        self.rows = np.zeros(0, TIMER)
        self._next = np.iinfo(np.int64).max

    def add(self, due: int, topic: str, ids: npt.NDArray[np.uint64], values: npt.NDArray[np.int64]) -> None:
        """One timer for each id."""
        new = np.zeros(len(ids), TIMER)
        new["due"], new["topic"], new["id"], new["value"] = due, topic_number(topic), ids, values
        self.rows = np.concatenate([self.rows, new])
        if len(ids):
            self._next = min(self._next, due)

    def take_due(self, tick: int) -> npt.NDArray[np.void]:
        """Remove and return the timers that are due, TIMER[k]."""
        if tick < self._next:
            return self.rows[:0]
        due = self.rows["due"] <= tick
        out = self.rows[due]
        self._set(self.rows[~due])
        return out[np.argsort(out["due"], kind="stable")]

    def take(self, ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.void]:
        """Remove and return all timers of some entities, TIMER[k], in the order of setting."""
        mine = np.isin(self.rows["id"], ids)
        out = self.rows[mine]
        if len(out):
            self._set(self.rows[~mine])
        return out

    def append(self, rows: npt.NDArray[np.void]) -> None:
        """Timers as :meth:`take` returned them."""
        if len(rows):
            self._set(np.concatenate([self.rows, rows]))

    def _set(self, rows: npt.NDArray[Any]) -> None:
        self.rows = rows
        self._next = int(rows["due"].min()) if len(rows) else np.iinfo(np.int64).max

    def state(self) -> bytes:
        return self.rows.tobytes()

    def load(self, data: bytes) -> None:
        self._set(np.frombuffer(data, TIMER).copy())
