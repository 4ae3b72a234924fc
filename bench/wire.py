"""A decoder of STRUCTURE and FRAME written from protocol/STANDARD.md §4 alone.

It shares no code with ``protocol.frames`` on purpose: the probes judge what the server encodes, and a mistake that both
ends share would cancel out. Invariant: every rule of §4 and §5 that a stream can break raises WireError.
Not responsible for: speed, components (blobs are passed over), messages other than these two.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

STRUCTURE: Final = 17
FRAME: Final = 18
NUMBERED: Final = frozenset({17, 19, 20, 21, 22, 23, 25})
"""Types that carry the structure sequence as their second item."""
SHOWN_PER_M: Final = 2048
GRID_PER_M: Final = 128

OWN: Final = np.dtype(
    "<u4,<u4,<u2,u1,u1,(3,)<i4,(3,)<i2,<u2",
)


class WireError(Exception):
    """The stream broke a rule of the standard."""


class Columns:
    """Takes columns off a block, one after the other."""

    def __init__(self, block: bytes) -> None:
        if not block or len(block) < 1 + block[0]:
            raise WireError("a block is shorter than its padding")
        self._block = block
        self._at = 1 + block[0]

    def take(self, dtype: str, count: int) -> npt.NDArray[Any]:
        size = np.dtype(dtype).itemsize * count
        if self._at + size > len(self._block):
            raise WireError(f"a block of {len(self._block)} bytes ends inside a column")
        values = np.frombuffer(self._block, dtype, count, self._at)
        self._at += size
        return values

    def vectors(self, dtype: str, count: int) -> npt.NDArray[np.int64]:
        """Three columns as int64 ``[count, 3]``."""
        return np.stack([self.take(dtype, count) for _ in range(3)], axis=1).astype(np.int64)

    def left(self) -> int:
        return len(self._block) - self._at


class View:
    """What one client has been told: records by number, ``live`` where there is one."""

    def __init__(self) -> None:
        size = 1 << 16
        self.live = np.zeros(size, np.bool_)
        self.id = np.zeros(size, np.uint64)
        self.tick = np.zeros(size, np.int64)
        self.p = np.zeros((size, 3), np.int64)
        self.v = np.zeros((size, 3), np.int64)
        self.sseq: int | None = None
        self.frame = 0
        self.enters = self.leaves = self.deltas = self.fulls = 0

    def shown(self, numbers: npt.NDArray[np.int64], tick: int) -> npt.NDArray[np.float64]:
        """Shown positions of these numbers at a tick, metres, float64 ``[n, 3]``."""
        dt = (tick - self.tick[numbers])[:, None]
        return (16 * self.p[numbers] + self.v[numbers] * dt) / SHOWN_PER_M

    def count_structure(self, sseq: int) -> None:
        """Check the sequence of a structure message; the first one seen may have any number."""
        if self.sseq is not None and sseq != (self.sseq + 1) & 0xFFFFFFFF:
            raise WireError(f"structure {sseq} came after {self.sseq}")
        self.sseq = sseq

    def structure(self, message: list[Any]) -> list[int]:
        """Apply a STRUCTURE (its sequence has been counted): leaves, then enters; states are passed over. Returns the
        numbers that entered."""
        _type, _sseq, tick, _frame, origin, block = message[:6]
        columns = Columns(block)
        e, l, s, zero = (int(n) for n in columns.take("<u2", 4))  # noqa: E741
        ids, numbers = columns.take("<u8", e), columns.take("<u2", e).astype(np.int64)
        columns.take("<u2", e)
        p, v = columns.vectors("<i2", e), columns.vectors("<i2", e)
        blob_bytes = int(columns.take("<u2", e).sum(dtype=np.int64))
        leaving = columns.take("<u2", l).astype(np.int64)
        changed = columns.take("<u2", s).astype(np.int64)
        blob_bytes += int(columns.take("<u2", s).sum(dtype=np.int64))
        age = columns.take("u1", e).astype(np.int64)
        columns.take("u1", e)
        if zero or columns.left() != blob_bytes:
            raise WireError(f"a structure block has {columns.left()} bytes for {blob_bytes} of blobs")
        self._known(leaving, "leave")
        self.live[leaving] = False
        if self.live[numbers].any() or len(np.unique(numbers)) != e:
            raise WireError("an enter uses a number that is in use")
        self.live[numbers] = True
        self.id[numbers] = ids
        self.p[numbers] = p + np.array(origin, np.int64) if e else p
        self.v[numbers] = v
        self.tick[numbers] = tick - age
        self._known(changed, "state")
        self.enters += e
        self.leaves += l
        return [int(number) for number in numbers]

    def frame_values(self, message: list[Any]) -> npt.NDArray[np.float64] | None:
        """Apply a FRAME. Returns the own body's position in metres, float64 ``[3]``, if it is in there."""
        _type, _stream, frame, tick, sseq, own, origin, block = message[:8]
        self.frame = frame
        if sseq and (self.sseq is None or sseq > self.sseq):
            raise WireError(f"frame {frame} builds on structure {sseq}, which has not come ({self.sseq})")
        if block is not None:
            columns = Columns(block)
            d, f = (int(n) for n in columns.take("<u2", 2))
            delta, full = columns.take("<u2", d).astype(np.int64), columns.take("<u2", f).astype(np.int64)
            p, v = columns.vectors("<i2", f), columns.vectors("<i2", f)
            dp, dv = columns.vectors("i1", d), columns.vectors("i1", d)
            columns.take("u1", d)
            age = columns.take("u1", f).astype(np.int64)
            columns.take("u1", f)
            if columns.left():
                raise WireError(f"a frame block has {columns.left()} bytes too many")
            self._known(delta, "delta")
            self._known(full, "full")
            dt = (tick - self.tick[delta])[:, None]
            self.p[delta] += ((self.v[delta] * dt + 8) >> 4) + dp
            self.v[delta] += dv
            self.tick[delta] = tick
            if f:
                self.p[full] = p + np.array(origin, np.int64)
                self.v[full] = v
                self.tick[full] = tick - age
            self.deltas += d
            self.fulls += f
        if own is None:
            return None
        values = np.frombuffer(own, OWN)
        return np.asarray(values[0]["f5"], np.float64) / GRID_PER_M

    def _known(self, numbers: npt.NDArray[np.int64], what: str) -> None:
        unknown = numbers[~self.live[numbers]]
        if len(unknown):
            raise WireError(f"a {what} names {unknown[0]}, which has not entered")
