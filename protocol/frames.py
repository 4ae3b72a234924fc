"""STRUCTURE and FRAME: blocks of columns, and the records a client keeps from them (STANDARD.md §4).

The encoders here define the bytes; the gateway's kernels write the same ones for many views at once and are tested
against
them. Invariants: decoders raise :class:`ProtocolViolation` only; what they return are views of the given bytes.
Not responsible for: what is due or visible.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from protocol.blocks import I8, I16, U8, U16, U64, Columns, closing_bin, no_rows, place, whole
from protocol.codes import ProtocolViolation
from protocol.layouts import AGE_MAX, OWN, SHOWN_PER_M, VELOCITY_PER_GRID, VELOCITY_SHIFT
from protocol.messages import T_FRAME, T_STRUCTURE, TICK_MAX, U32_MAX, pack, unpack

STRUCTURE_ALIGN: Final = 8
FRAME_ALIGN: Final = 2


@dataclass(slots=True)
class Structure:
    """Enters, leaves and component states of one tick.

    ``enter_p``/``enter_v``: int16[e, 3], positions relative to ``origin`` (grid units) and velocities. ``*_blobs``:
    msgpack maps.
    """

    sseq: int
    tick: int
    frame: int
    origin: tuple[int, int, int]
    enter_id: U64 = field(default_factory=lambda: no_rows("<u8"))
    enter_number: U16 = field(default_factory=lambda: no_rows("<u2"))
    enter_kind: U16 = field(default_factory=lambda: no_rows("<u2"))
    enter_p: I16 = field(default_factory=lambda: no_rows("<i2", 3))
    enter_v: I16 = field(default_factory=lambda: no_rows("<i2", 3))
    enter_age: U8 = field(default_factory=lambda: no_rows("u1"))
    enter_yaw: U8 = field(default_factory=lambda: no_rows("u1"))
    enter_blobs: Sequence[bytes] = ()
    leave_number: U16 = field(default_factory=lambda: no_rows("<u2"))
    state_number: U16 = field(default_factory=lambda: no_rows("<u2"))
    state_blobs: Sequence[bytes] = ()


@dataclass(slots=True)
class Frame:
    """Values of one tick: ``delta_d``/``delta_dv`` int8[d, 3] against the record held, ``full_p``/``full_v`` int16[f,
    3]."""

    stream: int
    frame: int
    tick: int
    sseq: int
    own: bytes | None = None
    origin: tuple[int, int, int] | None = None
    delta_number: U16 = field(default_factory=lambda: no_rows("<u2"))
    delta_d: I8 = field(default_factory=lambda: no_rows("i1", 3))
    delta_dv: I8 = field(default_factory=lambda: no_rows("i1", 3))
    delta_yaw: U8 = field(default_factory=lambda: no_rows("u1"))
    full_number: U16 = field(default_factory=lambda: no_rows("<u2"))
    full_p: I16 = field(default_factory=lambda: no_rows("<i2", 3))
    full_v: I16 = field(default_factory=lambda: no_rows("<i2", 3))
    full_age: U8 = field(default_factory=lambda: no_rows("u1"))
    full_yaw: U8 = field(default_factory=lambda: no_rows("u1"))

    @property
    def own_state(self) -> np.void | None:
        """The own body's state (layouts.OWN), or None."""
        return None if self.own is None else np.frombuffer(self.own, OWN)[0]


def encode_structure(s: Structure) -> bytes:
    """Bytes of a STRUCTURE message."""
    counts = np.array([len(s.enter_id), len(s.leave_number), len(s.state_number), 0], "<u2")
    columns = b"".join(
        [
            counts.tobytes(),
            s.enter_id.tobytes(),
            s.enter_number.tobytes(),
            s.enter_kind.tobytes(),
            np.ascontiguousarray(s.enter_p.T).tobytes(),
            np.ascontiguousarray(s.enter_v.T).tobytes(),
            np.array([len(blob) for blob in s.enter_blobs], "<u2").tobytes(),
            s.leave_number.tobytes(),
            s.state_number.tobytes(),
            np.array([len(blob) for blob in s.state_blobs], "<u2").tobytes(),
            s.enter_age.tobytes(),
            s.enter_yaw.tobytes(),
            *s.enter_blobs,
            *s.state_blobs,
        ]
    )
    # Fixed-width sseq as in every structure message; tick and frame in their shortest form.
    head = (
        bytes([0x96, T_STRUCTURE, 0xCE])
        + s.sseq.to_bytes(4, "big")
        + pack(s.tick)
        + pack(s.frame)
        + pack(list(s.origin))
    )
    return closing_bin(head, columns, STRUCTURE_ALIGN)


def encode_frame(f: Frame) -> bytes:
    """Bytes of a FRAME message."""
    return encode_as(T_FRAME, f)


def encode_as(kind: int, f: Frame, bases: bytes = b"") -> bytes:
    """Bytes of a FRAME, or of a message of another type that differs from it by one more column of its deltas."""
    head = bytes([0x98, kind]) + b"".join(pack(value) for value in (f.stream, f.frame, f.tick, f.sseq))
    head += pack(f.own) + pack(None if f.origin is None else list(f.origin))
    deltas, fulls = len(f.delta_number), len(f.full_number)
    if not deltas and not fulls:
        return head + b"\xc0"
    columns = b"".join(
        [
            np.array([deltas, fulls], "<u2").tobytes(),
            f.delta_number.tobytes(),
            f.full_number.tobytes(),
            np.ascontiguousarray(f.full_p.T).tobytes(),
            np.ascontiguousarray(f.full_v.T).tobytes(),
            np.ascontiguousarray(f.delta_d.T).tobytes(),
            np.ascontiguousarray(f.delta_dv.T).tobytes(),
            f.delta_yaw.tobytes(),
            bases,
            f.full_age.tobytes(),
            f.full_yaw.tobytes(),
        ]
    )
    return closing_bin(head, columns, FRAME_ALIGN)


def decode(data: bytes | bytearray | memoryview) -> Structure | Frame | None:
    """A STRUCTURE or FRAME message; None if ``data`` is a message of another type (see ``messages.decode_server``).

    Raises ProtocolViolation on malformed bytes.
    """
    items = unpack(data)
    if type(items) is not list or not items:
        raise ProtocolViolation("malformed", "a message is an array whose first item is its type")
    if items[0] == T_STRUCTURE:
        return _decode_structure(items)
    if items[0] == T_FRAME:
        return _decode_frame(items)
    return None


def _decode_structure(items: list[Any]) -> Structure:
    if len(items) < 6:
        raise ProtocolViolation("malformed", f"STRUCTURE has only {len(items)} items")
    name = "STRUCTURE"
    s = Structure(whole(items[1], name), whole(items[2], name, TICK_MAX), whole(items[3], name), place(items[4], name))
    c = Columns(items[5], name)
    enters, leaves, states, _ = (int(n) for n in c.take("<u2", 4))
    s.enter_id = c.take("<u8", enters)
    s.enter_number = c.take("<u2", enters)
    s.enter_kind = c.take("<u2", enters)
    s.enter_p = c.take("<i2", enters, 3)
    s.enter_v = c.take("<i2", enters, 3)
    enter_bytes = c.take("<u2", enters)
    s.leave_number = c.take("<u2", leaves)
    s.state_number = c.take("<u2", states)
    state_bytes = c.take("<u2", states)
    s.enter_age = c.take("u1", enters)
    s.enter_yaw = c.take("u1", enters)
    s.enter_blobs = c.blobs(enter_bytes)
    s.state_blobs = c.blobs(state_bytes)
    return s


def _decode_frame(items: list[Any]) -> Frame:
    if len(items) < 8:
        raise ProtocolViolation("malformed", f"FRAME has only {len(items)} items")
    name = "FRAME"
    own, origin, block = items[5], items[6], items[7]
    if own is not None and (type(own) is not bytes or len(own) != OWN.itemsize):
        raise ProtocolViolation("wrong_type", f"FRAME: own must be {OWN.itemsize} bytes or nil")
    f = Frame(
        whole(items[1], name),
        whole(items[2], name),
        whole(items[3], name, TICK_MAX),
        whole(items[4], name),
        own,
        None if origin is None else place(origin, name),
    )
    if block is None:
        return f
    c = Columns(block, name)
    deltas, fulls = (int(n) for n in c.take("<u2", 2))
    if fulls and f.origin is None:
        raise ProtocolViolation("malformed", "FRAME: full records without an origin")
    f.delta_number = c.take("<u2", deltas)
    f.full_number = c.take("<u2", fulls)
    f.full_p = c.take("<i2", fulls, 3)
    f.full_v = c.take("<i2", fulls, 3)
    f.delta_d = c.take("i1", deltas, 3)
    f.delta_dv = c.take("i1", deltas, 3)
    f.delta_yaw = c.take("u1", deltas)
    f.full_age = c.take("u1", fulls)
    f.full_yaw = c.take("u1", fulls)
    return f


class Records:
    """What a client holds of one stream: columns indexed by number, grown as needed.

    ``live`` bool[n]; ``id`` uint64[n]; ``kind`` uint16[n]; ``tick`` int64[n]; ``p`` int64[n, 3] grid; ``v`` int64[n,
    3];
    ``yaw`` uint8[n]; ``components``: number → {key: value}. Raises ProtocolViolation when a server names a number
    that does
    not live, enters one that lives, or counts its structure wrongly: the client must then reconnect.
    """

    def __init__(self) -> None:
        self.sseq = 0
        self.frame = 0
        self.tick = 0
        self.components: dict[int, dict[int, Any]] = {}
        self._allocate(64)

    def _allocate(self, size: int) -> None:
        self.live = np.zeros(size, np.bool_)
        self.id = np.zeros(size, np.uint64)
        self.kind = np.zeros(size, np.uint16)
        self.record_tick = np.zeros(size, np.int64)
        self.p = np.zeros((size, 3), np.int64)
        self.v = np.zeros((size, 3), np.int64)
        self.yaw = np.zeros(size, np.uint8)

    def _grow(self, number: int) -> None:
        kept = len(self.live)
        if number < kept:
            return
        old = (self.live, self.id, self.kind, self.record_tick, self.p, self.v, self.yaw)
        self._allocate(1 << int(number).bit_length())
        self.live[:kept], self.id[:kept], self.kind[:kept] = old[0], old[1], old[2]
        self.record_tick[:kept], self.p[:kept], self.v[:kept], self.yaw[:kept] = old[3], old[4], old[5], old[6]

    def clear(self) -> None:
        """Forget all entities (after SCHEMA)."""
        self.live[:] = False
        self.components.clear()

    def count_structure(self, sseq: int) -> None:
        """Note a structure message; they must come without a gap."""
        if sseq != (self.sseq + 1) & U32_MAX:
            raise ProtocolViolation("structure_gap", f"structure message {sseq} follows {self.sseq}")
        self.sseq = sseq

    def apply_structure(self, s: Structure) -> None:
        """Leaves, then enters, then states."""
        self.count_structure(s.sseq)
        for number in s.leave_number.tolist():
            self._require(number)
            self.live[number] = False
            self.components.pop(number, None)
        if len(s.enter_number):
            self._grow(int(s.enter_number.max()))
            n = s.enter_number
            if self.live[n].any():
                raise ProtocolViolation("number_reused", "an enter names a number that lives")
            blobs = [_blob(blob) for blob in s.enter_blobs]  # before anything is changed
            self.live[n] = True
            self.id[n] = s.enter_id
            self.kind[n] = s.enter_kind
            self._absolute(n, s.tick, s.origin, s.enter_p, s.enter_v, s.enter_age, s.enter_yaw)
            self.components.update(zip(n.tolist(), blobs, strict=True))
        for number, blob in zip(s.state_number.tolist(), s.state_blobs, strict=True):
            self._require(number)
            held = self.components[number]
            for key, value in _blob(blob).items():
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = value

    def apply_frame(self, f: Frame) -> None:
        """Deltas and fulls; the structure a frame builds on must have been applied."""
        if f.sseq != self.sseq:
            raise ProtocolViolation("structure_gap", f"frame builds on structure {f.sseq}, held is {self.sseq}")
        n = f.delta_number
        if len(n):
            self._require_all(n)
            dt = (f.tick - self.record_tick[n])[:, None]
            self.p[n] += ((self.v[n] * dt + VELOCITY_PER_GRID // 2) >> VELOCITY_SHIFT) + f.delta_d
            self.v[n] += f.delta_dv
            self.yaw[n] = f.delta_yaw
            self.record_tick[n] = f.tick
        if len(f.full_number):
            self._require_all(f.full_number)
            assert f.origin is not None
            self._absolute(f.full_number, f.tick, f.origin, f.full_p, f.full_v, f.full_age, f.full_yaw)
        self.frame, self.tick = f.frame, f.tick

    def _absolute(self, n: U16, tick: int, origin: tuple[int, int, int], p: I16, v: I16, age: U8, yaw: U8) -> None:
        self.p[n] = p.astype(np.int64) + np.array(origin, np.int64)
        self.v[n] = v
        self.record_tick[n] = tick - age.astype(np.int64)
        self.yaw[n] = yaw

    def _require(self, number: int) -> None:
        if number >= len(self.live) or not self.live[number]:
            raise ProtocolViolation("unknown_number", f"number {number} does not live in this stream")

    def _require_all(self, numbers: U16) -> None:
        if int(numbers.max()) >= len(self.live) or not self.live[numbers].all():
            raise ProtocolViolation("unknown_number", "a frame names a number that does not live in this stream")

    def shown(self, tick: float) -> tuple[U64, npt.NDArray[np.float64]]:
        """(ids uint64[n], positions float64[n, 3] in metres) of all live entities at ``tick``."""
        n = np.flatnonzero(self.live)
        dt = (tick - self.record_tick[n])[:, None]
        return self.id[n], (VELOCITY_PER_GRID * self.p[n] + self.v[n] * dt) / SHOWN_PER_M


def _blob(data: bytes) -> dict[int, Any]:
    value = unpack(data)
    if type(value) is not dict or any(type(key) is not int for key in value):
        raise ProtocolViolation("wrong_type", "a component blob is a map with integer keys")
    return value


assert AGE_MAX == 255
