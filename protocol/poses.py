"""POSE and POSES: where head and hands of people in headsets are (STANDARD.md §11), and what a client keeps of them.

The encoders here define the bytes; the gateway's kernel writes the same ones and is tested against them. Invariants:
decoders raise :class:`ProtocolViolation` only; a rotation that was unpacked is a unit quaternion whatever its bits
were. Not responsible for: what a server lets pass, who is told what.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from protocol.codes import ProtocolViolation
from protocol.messages import T_POSES, TICK_MAX, U32_MAX, Pose, pack, unpack
from protocol.pose_layout import (
    CHEST,
    COARSE_HALF,
    COARSE_ROTATION_BITS,
    COARSE_ROTATION_HALF,
    COARSE_UNITS,
    FINE_HALF,
    FINE_UNITS,
    HEAD,
    NO_HAND,
    PARTS,
    POSE_PER_M,
    ROTATION_BITS,
    ROTATION_HALF,
    SAMPLE,
    SAMPLES_MAX,
    TRACKED,
    TRACKED_ALL,
)

POSES_ALIGN: Final = 4
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]


# ------------------------------------------------------------------------------------------------------------ rotations
def pack_rotation(rotation: Sequence[float], half: int = ROTATION_HALF, bits: int = ROTATION_BITS) -> int:
    """Smallest three of a quaternion (x, y, z, w) of any length above 0: three components of ``bits`` bits, lowest
    first, and the index of the largest above them. Raises ValueError."""
    length = sqrt(sum(c * c for c in rotation))
    if len(rotation) != 4 or not 0.0 < length < float("inf"):
        raise ValueError(f"a rotation is four numbers that are not all 0, got {rotation!r}")
    largest = max(range(4), key=lambda k: abs(rotation[k]))
    scale = (1.0 if rotation[largest] > 0 else -1.0) / length
    packed, at = largest << (3 * bits), 0
    for k in range(4):
        if k != largest:
            packed |= (round(rotation[k] * scale * sqrt(2.0) * half) + half) << at
            at += bits
    return packed


def unpack_rotation(packed: int, half: int = ROTATION_HALF, bits: int = ROTATION_BITS) -> Quaternion:
    """Inverse of :func:`pack_rotation`: a unit quaternion, off by at most 0.3° (coarse: 10°)."""
    mask = (1 << bits) - 1
    largest = packed >> (3 * bits) & 3
    small = [((packed >> (bits * k) & mask) - half) / (half * sqrt(2.0)) for k in range(3)]
    square = sum(c * c for c in small)
    if square > 1.0:  # nobody who packs a rotation writes this
        small = [c / sqrt(square) for c in small]
    small.insert(largest, sqrt(max(0.0, 1.0 - square)))
    return small[0], small[1], small[2], small[3]


def to_coarse(packed: int) -> int:
    """A fine rotation as the mid level tells it."""
    mask, out = (1 << ROTATION_BITS) - 1, packed >> (3 * ROTATION_BITS) << (3 * COARSE_ROTATION_BITS)
    for k in range(3):
        offset = min(packed >> (ROTATION_BITS * k) & mask, 2 * ROTATION_HALF) - ROTATION_HALF
        coarse = (2 * offset * COARSE_ROTATION_HALF + ROTATION_HALF) // (2 * ROTATION_HALF)
        out |= (coarse + COARSE_ROTATION_HALF) << (COARSE_ROTATION_BITS * k)
    return out


# ----------------------------------------------------------------------------------------------------------------- POSE
@dataclass(frozen=True, slots=True)
class Part:
    """Head or hand: ``p`` metres from the body's feet in the world's axes, ``q`` its rotation (x, y, z, w)."""

    p: Vector
    q: Quaternion = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """Where somebody's head and hands were ``back_ms`` before the message that tells it. ``left``, ``right`` None: not
    tracked. ``grip``: how far (grip, trigger) of the left hand and of the right one are pressed, 0 to 1."""

    head: Part
    left: Part | None = None
    right: Part | None = None
    grip: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    back_ms: int = 0


def encode_samples(samples: Sequence[Sample]) -> bytes:
    """For a POSE, oldest first: 1 to SAMPLES_MAX. Raises ValueError; positions beyond 31 m are cut off."""
    if not 1 <= len(samples) <= SAMPLES_MAX:
        raise ValueError(f"a POSE has 1 to {SAMPLES_MAX} samples, got {len(samples)}")
    out = np.zeros(len(samples), SAMPLE)
    for row, sample in zip(out, samples, strict=True):
        row["back_ms"] = min(max(sample.back_ms, 0), 255)
        for k, part in enumerate((sample.head, sample.left, sample.right)):
            if part is not None:
                row["tracked"] |= TRACKED[k]
                row["p"][k] = np.clip(np.rint(np.array(part.p) * POSE_PER_M), -32767, 32767)
                row["q"][k] = pack_rotation(part.q)
        for hand, (grip, trigger) in enumerate(sample.grip):
            row["grip"][hand] = round(min(max(grip, 0.0), 1.0) * 15) * 16 + round(min(max(trigger, 0.0), 1.0) * 15)
    return out.tobytes()


def samples_of(pose: Pose) -> npt.NDArray[np.void]:
    """SAMPLE[1 to 3] of a decoded POSE, oldest first."""
    return np.frombuffer(pose.samples, SAMPLE)


# ---------------------------------------------------------------------------------------------------------------- POSES
@dataclass(slots=True)
class Poses:
    """Head and hands of some entities of a stream. Near ones: ``near_number`` uint16[n], ``near_samples`` uint8[n] how
    many of the samples are theirs (0: no pose any more); of the samples ``near_p``, ``near_q`` uint32[s, 3],
    ``back_ms``, ``tracked`` uint8[s], ``grip`` uint8[s, 2]. Farther ones: ``mid_number`` uint16[m], ``mid_head``
    uint32[m], ``mid_hand`` uint16[m, 2]."""

    stream: int
    tick: int
    sseq: int
    near_number: U16 = field(default_factory=lambda: np.zeros(0, "<u2"))
    near_samples: U8 = field(default_factory=lambda: np.zeros(0, "u1"))
    near_p: U32 = field(default_factory=lambda: np.zeros((0, PARTS), "<u4"))
    near_q: U32 = field(default_factory=lambda: np.zeros((0, PARTS), "<u4"))
    back_ms: U8 = field(default_factory=lambda: np.zeros(0, "u1"))
    tracked: U8 = field(default_factory=lambda: np.zeros(0, "u1"))
    grip: U8 = field(default_factory=lambda: np.zeros((0, 2), "u1"))
    mid_number: U16 = field(default_factory=lambda: np.zeros(0, "<u2"))
    mid_head: U32 = field(default_factory=lambda: np.zeros(0, "<u4"))
    mid_hand: U16 = field(default_factory=lambda: np.zeros((0, 2), "<u2"))


def encode_poses(m: Poses) -> bytes:
    """Bytes of a POSES message."""
    head = bytes([0x95, T_POSES]) + pack(m.stream) + pack(m.tick) + pack(m.sseq)
    columns = b"".join(
        [
            np.array([len(m.near_number), len(m.mid_number), len(m.back_ms), 0], "<u2").tobytes(),
            *(column[:, k].tobytes() for k in range(PARTS) for column in (m.near_p, m.near_q)),
            m.mid_head.tobytes(),
            m.near_number.tobytes(),
            m.mid_number.tobytes(),
            *(m.mid_hand[:, hand].tobytes() for hand in range(2)),
            m.near_samples.tobytes(),
            m.back_ms.tobytes(),
            m.tracked.tobytes(),
            *(m.grip[:, hand].tobytes() for hand in range(2)),
        ]
    )
    pads = -(len(head) + 4) % POSES_ALIGN
    return head + b"\xc5" + (1 + pads + len(columns)).to_bytes(2, "big") + bytes([pads]) + b"\0" * pads + columns


def decode_poses(data: bytes | bytearray | memoryview) -> Poses | None:
    """A POSES message; None if ``data`` is a message of another type. Raises ProtocolViolation."""
    items = unpack(data)
    if type(items) is not list or not items or items[0] != T_POSES:
        return None
    if len(items) < 5 or type(items[4]) is not bytes:
        raise ProtocolViolation("malformed", "POSES: stream, tick, sseq and a bin were expected")
    for value, most in zip(items[1:4], (U32_MAX, TICK_MAX, U32_MAX), strict=True):
        if type(value) is not int or not 0 <= value <= most:
            raise ProtocolViolation("wrong_type", f"POSES: an integer from 0 to {most} was expected")
    block = items[4]
    at = 1 + block[0] if block else 1
    if at + 8 > len(block):
        raise ProtocolViolation("malformed", "POSES: the block ends before its counts")
    n, m, s, _ = np.frombuffer(block, "<u2", 4, at).tolist()
    if len(block) < at + 8 + 28 * s + 3 * n + 10 * m:  # what follows the last column is a later version's
        raise ProtocolViolation("malformed", f"POSES: a block of {len(block)} bytes for {n} near, {m} mid, {s} samples")
    at += 8

    def column(dtype: str, count: int) -> Any:
        nonlocal at
        values = np.frombuffer(block, dtype, count, at)
        at += values.nbytes
        return values

    parts = [column("<u4", s) for _ in range(2 * PARTS)]
    mid_head, near_number, mid_number = column("<u4", m), column("<u2", n), column("<u2", m)
    hands = [column("<u2", m) for _ in range(2)]
    near_samples, back_ms, tracked = column("u1", n), column("u1", s), column("u1", s)
    grips = [column("u1", s) for _ in range(2)]
    if int(near_samples.sum(dtype=np.int64)) != s or ((tracked > TRACKED_ALL) | (tracked & 1 == 0)).any():
        raise ProtocolViolation("malformed", "POSES: samples that are nobody's, or without a head")
    return Poses(
        items[1], items[2], items[3], near_number, near_samples, np.stack(parts[0::2], 1), np.stack(parts[1::2], 1),
        back_ms, tracked, np.stack(grips, 1), mid_number, mid_head, np.stack(hands, 1),
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------- what is shown
def near_sample(p: Sequence[int], q: Sequence[int], back_ms: int, tracked: int, grip: Sequence[int]) -> Sample:
    """One near sample in metres."""
    head = [(p[HEAD] >> (10 * k) & 1023) - FINE_HALF for k in range(3)]
    head[1] += CHEST // FINE_UNITS
    parts: list[Part | None] = []
    for k in range(PARTS):
        if not tracked & TRACKED[k]:
            parts.append(None)
            continue
        place = head if k == HEAD else [head[c] + (p[k] >> (10 * c) & 1023) - FINE_HALF for c in range(3)]
        x, y, z = (c * FINE_UNITS / POSE_PER_M for c in place)
        parts.append(Part((x, y, z), unpack_rotation(q[k])))
    found = parts[HEAD]
    assert found is not None
    return Sample(found, parts[1], parts[2], (_grip(grip[0]), _grip(grip[1])), back_ms)


def _grip(byte: int) -> tuple[float, float]:
    return (byte >> 4) / 15, (byte & 15) / 15


def mid_sample(head: int, hands: Sequence[int]) -> Sample:
    """One mid sample in metres; its hands have no rotation, and their grip is 0 or 1."""
    bits = 3 * COARSE_ROTATION_BITS
    place = [(head >> (bits + 2 + 5 * k) & 31) - COARSE_HALF for k in range(3)]
    place[1] += CHEST // COARSE_UNITS
    x, y, z = (c * COARSE_UNITS / POSE_PER_M for c in place)
    parts: list[Part | None] = []
    grips = []
    for hand in hands:
        reach = [(hand >> (5 * c) & 31) - COARSE_HALF for c in range(3)]
        a, b, c = (COARSE_UNITS * (place[k] + reach[k]) / POSE_PER_M for k in range(3))
        parts.append(None if hand == NO_HAND else Part((a, b, c)))
        grips.append((float(hand >> 15), 0.0) if hand != NO_HAND else (0.0, 0.0))
    rotation = unpack_rotation(head & ((1 << (bits + 2)) - 1), COARSE_ROTATION_HALF, COARSE_ROTATION_BITS)
    return Sample(Part((x, y, z), rotation), parts[0], parts[1], (grips[0], grips[1]))


@dataclass(frozen=True, slots=True)
class HeldPose:
    """The newest that is known of one entity's head and hands: told at ``tick``, oldest sample first."""

    tick: int
    samples: tuple[Sample, ...]


class PoseRecords:
    """What a client keeps of POSES, by number. ``entered`` and ``left`` follow its STRUCTURE messages."""

    def __init__(self) -> None:
        self.held: dict[int, HeldPose] = {}
        self._entered: dict[int, int] = {}
        """Number of the structure message with which each number entered."""
        self._tick: dict[int, int] = {}

    def entered(self, number: int, sseq: int) -> None:
        """``number`` is another entity's from structure message ``sseq`` on."""
        self.left(number)
        self._entered[number] = sseq

    def left(self, number: int) -> None:
        """``number`` is nobody's."""
        for kept in (self.held, self._entered, self._tick):
            kept.pop(number, None)

    def clear(self) -> None:
        """All numbers are nobody's."""
        for kept in (self.held, self._entered, self._tick):
            kept.clear()

    def apply(self, message: Poses) -> None:
        """Take over what is newer than what is held; what is about entities that are not there is passed over."""
        at = 0
        for number, count in zip(message.near_number.tolist(), message.near_samples.tolist(), strict=True):
            rows = range(at, at + count)
            at += count
            if self._is_news(number, message):
                samples = tuple(
                    near_sample(
                        message.near_p[k].tolist(), message.near_q[k].tolist(), int(message.back_ms[k]),
                        int(message.tracked[k]), message.grip[k].tolist(),
                    )
                    for k in rows
                )  # fmt: skip
                if samples:
                    self.held[number] = HeldPose(message.tick, samples)
                else:
                    self.held.pop(number, None)
        for k, number in enumerate(message.mid_number.tolist()):
            if self._is_news(number, message):
                sample = mid_sample(int(message.mid_head[k]), message.mid_hand[k].tolist())
                self.held[number] = HeldPose(message.tick, (sample,))

    def _is_news(self, number: int, message: Poses) -> bool:
        entered = self._entered.get(number)
        if (
            entered is None
            or (message.sseq - entered) & U32_MAX >= 1 << 31
            or self._tick.get(number, -1) >= message.tick
        ):
            return False
        self._tick[number] = message.tick
        return True
