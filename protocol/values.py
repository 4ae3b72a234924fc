"""VALUES: what a FRAME is over datagrams, and the records by frame that its deltas refer to (STANDARD.md §9.4).

Invariants: a decoder raises :class:`ProtocolViolation` only; whatever is acknowledged is held, so that a server may
name it as a base; what came before structure that it builds on waits, and nothing is lost by waiting. What is shown
of a number is the record of its greatest frame, whatever the order in which frames came. Not responsible for: how they
travel (``datagrams``), what is due.
"""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from protocol.blocks import I16, U8, U16, Columns, no_rows, place, whole
from protocol.codes import ProtocolViolation
from protocol.frames import Frame, Records, Structure, encode_as
from protocol.layouts import OWN, VELOCITY_PER_GRID, VELOCITY_SHIFT
from protocol.messages import T_VALUES, TICK_MAX, U32_MAX, U64_MAX, unpack

BASE_MAX: Final = 255
EARLIER_BITS: Final = 64
WAITING_MAX: Final = 256
"""Messages that wait for structure; what comes while so many do is as good as lost, and not acknowledged."""

I64 = npt.NDArray[np.int64]
Row = tuple[int, ...]
"""A record as a base: tick, p (3), v (3)."""


@dataclass(slots=True)
class Values(Frame):
    """Values of one datagram: as a FRAME, but delta ``i`` refers to the record of frame ``frame`` −
    ``delta_base[i]``."""

    delta_base: U8 = field(default_factory=lambda: no_rows("u1"))


def encode(f: Values) -> bytes:
    """Bytes of a VALUES message."""
    return encode_as(T_VALUES, f, f.delta_base.tobytes())


def decode(data: bytes | bytearray | memoryview) -> Values | None:
    """A VALUES message; None if ``data`` is a message of another type. Raises ProtocolViolation on malformed bytes."""
    items = unpack(data)
    if type(items) is not list or not items:
        raise ProtocolViolation("malformed", "a message is an array whose first item is its type")
    if items[0] != T_VALUES:
        return None
    name = "VALUES"
    if len(items) < 8:
        raise ProtocolViolation("malformed", f"{name} has only {len(items)} items")
    own, origin, block = items[5:8]
    if own is not None and (type(own) is not bytes or len(own) != OWN.itemsize):
        raise ProtocolViolation("wrong_type", f"{name}: own must be {OWN.itemsize} bytes or nil")
    f = Values(
        whole(items[1], name),
        whole(items[2], name),
        whole(items[3], name, TICK_MAX),
        whole(items[4], name),
        own,
        None if origin is None else place(origin, name),
    )
    if block is not None:
        _read(f, Columns(block, name))
    return f


def _read(f: Values, c: Columns) -> None:
    deltas, fulls = (int(n) for n in c.take("<u2", 2))
    if fulls and f.origin is None:
        raise ProtocolViolation("malformed", "VALUES: full records without an origin")
    f.delta_number = c.take("<u2", deltas)
    f.full_number = c.take("<u2", fulls)
    f.full_p = c.take("<i2", fulls, 3)
    f.full_v = c.take("<i2", fulls, 3)
    f.delta_d = c.take("i1", deltas, 3)
    f.delta_dv = c.take("i1", deltas, 3)
    f.delta_yaw = c.take("u1", deltas)
    f.delta_base = c.take("u1", deltas)
    f.full_age = c.take("u1", fulls)
    f.full_yaw = c.take("u1", fulls)
    if not f.delta_base.all():
        raise ProtocolViolation("base", "VALUES: bases are from 1 to 255")


def newer(a: int, b: int) -> bool:
    """Whether the u32 ``a`` is ahead of ``b``, modulo 2³²."""
    return 0 < (a - b) & U32_MAX <= U32_MAX // 2


class Arrivals:
    """Which frames have come: what INPUT and ACK name. ``earlier``: bit i is set if ``newest`` − 1 − i has come."""

    __slots__ = ("earlier", "newest")

    def __init__(self) -> None:
        self.newest = 0
        """0: none yet."""
        self.earlier = 0

    def is_new(self, frame: int) -> bool:
        """Whether it has not come, and can still be acknowledged."""
        if not self.newest or newer(frame, self.newest):
            return True
        behind = (self.newest - frame) & U32_MAX
        return 1 <= behind <= EARLIER_BITS and not self.earlier >> (behind - 1) & 1

    def note(self, frame: int) -> None:
        """It has come; only for what ``is_new``."""
        ahead = (frame - self.newest) & U32_MAX
        if not self.newest:
            self.newest = frame
        elif ahead <= U32_MAX // 2:
            # A frame may be far ahead: shifting by that would ask for more memory than there is.
            kept = (self.earlier << 1 | 1) << (ahead - 1) if ahead <= EARLIER_BITS else 0
            self.newest, self.earlier = frame, kept & U64_MAX
        else:
            self.earlier |= 1 << ((self.newest - frame) & U32_MAX) - 1


class _Held:
    """The records of one number, by frame."""

    __slots__ = ("base", "entered", "namer", "rows", "shown")

    def __init__(self, entered: int, frame: int, row: Row) -> None:
        self.entered = entered
        """The structure message that it entered with."""
        self.rows = {frame: row}
        self.shown = frame
        """The greatest frame with a record."""
        self.namer = self.base = frame
        """The greatest frame that named a base, and that base: older records are forgotten."""

    def named(self, base: int, frame: int) -> None:
        """A value of ``frame`` refers to the record of ``base``."""
        if newer(frame, self.namer):
            if newer(base, self.base):
                self.rows = {held: row for held, row in self.rows.items() if not newer(base, held)}
                self.base = base
            self.namer = frame

    def add(self, frame: int, row: Row) -> bool:
        """A record; returns whether it is the one to show."""
        if len(self.rows) > EARLIER_BITS:
            newest = frame if newer(frame, self.shown) else self.shown
            # Nothing that can still come names an older base.
            oldest = BASE_MAX + EARLIER_BITS
            self.rows = {held: r for held, r in self.rows.items() if (newest - held) & U32_MAX <= oldest}
        self.rows[frame] = row
        if newer(self.shown, frame):
            return False
        self.shown = frame
        return True


class ValueRecords(Records):
    """What a client holds of one stream over datagrams. Give :meth:`heard` whatever comes, in whatever order, and
    structure messages to :meth:`count_structure` and :meth:`apply_structure` in theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals = Arrivals()
        self._held: dict[int, _Held] = {}
        self._waiting: list[Values] = []
        """In order of ``frame``."""

    @property
    def waiting(self) -> int:
        """How many VALUES wait for structure."""
        return len(self._waiting)

    def clear(self) -> None:
        """Forget all entities (after SCHEMA)."""
        super().clear()
        self._held.clear()

    def apply_structure(self, s: Structure) -> None:
        """Leaves, then enters, then states; call :meth:`release` then."""
        super().apply_structure(s)
        for number in s.leave_number.tolist():
            self._held.pop(number, None)
        n = s.enter_number
        for number, row in zip(n.tolist(), self._rows(n), strict=True):
            self._held[number] = _Held(s.sseq, s.frame, row)

    def _rows(self, n: U16) -> Iterable[Row]:
        return map(tuple, np.column_stack([self.record_tick[n], self.p[n], self.v[n]]).tolist())

    def heard(self, f: Values) -> bool:
        """VALUES came: apply them, or keep them until their structure has come. Returns False, and changes nothing, if
        they came before, or too late to be of use."""
        if not self.arrivals.is_new(f.frame):
            return False
        if newer(f.sseq, self.sseq):
            if len(self._waiting) >= WAITING_MAX:
                return False
            insort(self._waiting, f, key=lambda other: (other.frame - self.frame) & U32_MAX)
        elif not self._apply(f):
            return False
        self.arrivals.note(f.frame)
        return True

    def release(self) -> int:
        """Apply what has waited for the structure messages that came; returns how many that were."""
        ready = [f for f in self._waiting if not newer(f.sseq, self.sseq)]
        if ready:
            self._waiting = [f for f in self._waiting if newer(f.sseq, self.sseq)]
        for f in ready:
            if not self._apply(f):
                raise ProtocolViolation("base", f"VALUES {f.frame} name a base that was given up before")
        return len(ready)

    def _mine(self, f: Values, numbers: U16) -> list[int]:
        """Which of ``numbers`` (by index) are of entities that ``f`` can mean; the others left, or entered later."""
        out = []
        for i, number in enumerate(numbers.tolist()):
            held = self._held.get(number)
            if held is not None and not newer(held.entered, f.sseq):
                out.append(i)
            elif f.sseq == self.sseq:
                raise ProtocolViolation("unknown_number", f"VALUES: number {number} does not live in this stream")
        return out

    def _apply(self, f: Values) -> bool:
        """Returns False, and changes nothing, if a base is named that a later frame made us forget: to the server this
        is a lost one."""
        deltas, fulls = self._mine(f, f.delta_number), self._mine(f, f.full_number)
        numbers = f.delta_number[deltas]
        bases = []
        for number, back in zip(numbers.tolist(), f.delta_base[deltas].tolist(), strict=True):
            held, frame = self._held[number], (f.frame - back) & U32_MAX
            row = held.rows.get(frame)
            if row is None:
                if newer(held.namer, f.frame) and newer(held.base, frame):
                    return False
                raise ProtocolViolation("base", f"VALUES: number {number} has no record of frame {frame}")
            bases.append((held, frame, row))
        if deltas:
            for held, frame, _ in bases:
                held.named(frame, f.frame)
            base = np.array([row for _, _, row in bases], np.int64)
            tick, p, v = base[:, :1], base[:, 1:4], base[:, 4:7]
            moved: I64 = (v * (f.tick - tick) + VELOCITY_PER_GRID // 2) >> VELOCITY_SHIFT
            ticks = np.full(len(deltas), f.tick, np.int64)
            at: I64 = p + moved + f.delta_d[deltas].astype(np.int64)
            self._put(f.frame, numbers, ticks, at, v + f.delta_dv[deltas], f.delta_yaw[deltas])
        if fulls:
            assert f.origin is not None  # the decoder saw to it
            at = np.array(f.origin, np.int64) + f.full_p[fulls]
            ages = f.full_age[fulls].astype(np.int64)
            self._put(f.frame, f.full_number[fulls], f.tick - ages, at, f.full_v[fulls], f.full_yaw[fulls])
        if not self.frame or newer(f.frame, self.frame):
            self.frame, self.tick = f.frame, f.tick
        return True

    def _put(self, frame: int, numbers: U16, ticks: I64, p: I64, v: I64 | I16, yaw: U8) -> None:
        rows: Any = np.column_stack([ticks, p, v]).tolist()
        held = self._held
        shown = [held[n].add(frame, tuple(row)) for n, row in zip(numbers.tolist(), rows, strict=True)]
        n = numbers[shown]
        self.record_tick[n], self.p[n], self.v[n], self.yaw[n] = ticks[shown], p[shown], v[shown], yaw[shown]
