"""What one poll brought in: columns of hot messages, and lists of the rare rest.

Invariant: columns are views of reused arrays, valid until the next poll. Not responsible for: filling them
(``kernels``), acting on them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from kernels.hotmessages import (
    COMMANDS_BYTES_MAX,
    COUNTS,
    MESSAGE_ODD,
    MESSAGE_POSE,
    N_ACK,
    N_COLD,
    N_COLD_BYTES,
    N_COMMAND_BYTES,
    N_INPUT,
)
from protocol.codes import ProtocolViolation
from protocol.layouts import COMMAND
from protocol.messages import Ack, Input, decode_client

_T = TypeVar("_T", bound=np.generic)


class Opened(NamedTuple):
    """A connection was made. ``remote``: its address, without the port."""

    conn: int
    generation: int
    remote: str
    secure: bool = False
    """Whether nobody between can read what is said on it."""
    session: int | None = None
    """The only session that may go on here; None: any."""


class Lost(NamedTuple):
    """A connection ended, not by our ``close``. ``code``: WebSocket close code (1006: it broke); ``reason``: a stable
    word."""

    conn: int
    code: int
    reason: str


@dataclass(slots=True)
class Inbound:
    """What arrived since the last poll. Take them in this order: opened, cold, inputs, acks, lost.

    ``input_*``: uint32[n] each, ``command_first`` uint32[n] and ``command_count`` uint8[n] index ``commands``
    (COMMAND[m]); ``pose_*``: int32[p] each, message k is ``pose_data[pose_at[k] : pose_at[k] + pose_bytes[k]]``, not
    decoded; ``ack_*``: uint32[k] each. ``*_earlier`` (uint64): frames before the one named that have come, by bits
    (STANDARD.md §9.4). ``cold``: other messages, whole but not decoded, in order for each
    connection.
    """

    opened: list[Opened] = field(default_factory=list)
    cold: list[tuple[int, bytes]] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    input_conn: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    input_seq: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    input_frame: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    input_stamp: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    command_first: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    command_count: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    commands: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, COMMAND))
    input_earlier: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    pose_conn: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    pose_at: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    pose_bytes: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    pose_data: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    ack_conn: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    ack_frame: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    ack_stamp: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    ack_earlier: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    def __bool__(self) -> bool:
        """Whether anything arrived."""
        hot = len(self.input_conn) or len(self.ack_conn) or len(self.pose_conn)
        return bool(self.opened or self.cold or self.lost or hot)


NO_CONNS = np.zeros(0, np.int32)


class Outputs:
    """The arrays that the parser writes, grown when they are full and never shrunk."""

    def __init__(self, capacity: int, message_bytes_max: int, spare: int = 1) -> None:
        """``spare``: messages that the parser wants room for before it begins with a piece of what arrived."""
        self._spare = spare
        self.counts = np.zeros(COUNTS, np.int64)
        self.ends = np.zeros((3, 2 * capacity), np.int32)
        self.inputs = np.zeros((5, 1024), np.uint32)
        self.input_earlier = np.zeros(1024, np.uint64)
        self.command_counts = np.zeros(1024, np.uint8)
        self.commands = np.zeros(8 * 1024, np.uint8)
        self.acks = np.zeros((3, 1024), np.uint32)
        self.ack_earlier = np.zeros(1024, np.uint64)
        self.cold = np.zeros((4, 256), np.int32)
        self.cold_bytes = np.zeros(16 * message_bytes_max, np.uint8)
        self._message_bytes_max = message_bytes_max

    def grow(self) -> None:
        """Double whichever output stopped the parser. What one poll can bring is bounded by the receive areas."""
        counts = self.counts
        spare = self._spare
        if counts[N_INPUT] + spare > self.inputs.shape[1]:
            self.inputs = _doubled(self.inputs)
            self.input_earlier = _doubled(self.input_earlier)
            self.command_counts = _doubled(self.command_counts)
        if counts[N_COMMAND_BYTES] + spare * COMMANDS_BYTES_MAX > len(self.commands):
            self.commands = _doubled(self.commands)
        if counts[N_ACK] + spare > self.acks.shape[1]:
            self.acks = _doubled(self.acks)
            self.ack_earlier = _doubled(self.ack_earlier)
        if counts[N_COLD] + spare > self.cold.shape[1]:
            self.cold = _doubled(self.cold)
        if counts[N_COLD_BYTES] + self._message_bytes_max > len(self.cold_bytes):
            self.cold_bytes = _doubled(self.cold_bytes)

    def add(self, conn: int, message: Input | Ack) -> None:
        """Append an INPUT or ACK that was decoded outside the kernel."""
        counts = self.counts
        self.grow()
        if isinstance(message, Ack):
            self.acks[:, counts[N_ACK]] = conn, message.frame, message.stamp_ms
            self.ack_earlier[counts[N_ACK]] = message.earlier or 0
            counts[N_ACK] += 1
            return
        n, filled = counts[N_INPUT], counts[N_COMMAND_BYTES]
        size = len(message.commands)
        self.inputs[:, n] = conn, message.seq, message.frame, message.stamp_ms, filled // COMMAND.itemsize
        self.input_earlier[n] = message.earlier or 0
        self.command_counts[n] = size // COMMAND.itemsize
        self.commands[filled : filled + size] = np.frombuffer(message.commands, np.uint8)
        counts[N_INPUT] += 1
        counts[N_COMMAND_BYTES] += size

    def take_cold(
        self, inbound: Inbound, odd: npt.NDArray[np.uint8], base: int, refuse: Callable[[int, ProtocolViolation], None]
    ) -> None:
        """Move cold messages to ``inbound``, and add INPUT and ACK in unusual forms to the columns. ``odd[conn -
        base]`` is cleared; what nobody may say goes to ``refuse``."""
        cold = self.cold[:, : self.counts[N_COLD]]
        poses = cold[1] == MESSAGE_POSE
        if poses.any():
            inbound.pose_conn, inbound.pose_at, inbound.pose_bytes = (cold[k][poses] for k in (0, 2, 3))
            inbound.pose_data = self.cold_bytes
            cold = cold[:, ~poses]
        for conn, kind, start, size in cold.T.tolist():
            message = self.cold_bytes[start : start + size].tobytes()
            if kind == MESSAGE_ODD:
                odd[conn - base] = 0
                try:
                    decoded = decode_client(message)
                except ProtocolViolation as violation:
                    refuse(conn, violation)
                    continue
                if isinstance(decoded, Input | Ack):
                    self.add(conn, decoded)
                    continue
            inbound.cold.append((conn, message))

    def columns(self, inbound: Inbound) -> None:
        """Lay the filled columns into ``inbound``."""
        n, m, k = (int(self.counts[cell]) for cell in (N_INPUT, N_COMMAND_BYTES, N_ACK))
        table = self.inputs
        inbound.input_conn, inbound.input_seq, inbound.input_frame = table[0, :n], table[1, :n], table[2, :n]
        inbound.input_stamp, inbound.command_first = table[3, :n], table[4, :n]
        inbound.input_earlier, inbound.ack_earlier = self.input_earlier[:n], self.ack_earlier[:k]
        inbound.command_count = self.command_counts[:n]
        inbound.commands = self.commands[:m].view(COMMAND)
        inbound.ack_conn, inbound.ack_frame, inbound.ack_stamp = (self.acks[row, :k] for row in range(3))


def _doubled(array: npt.NDArray[_T]) -> npt.NDArray[_T]:
    """A copy with twice the length of the last axis."""
    grown = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    grown[..., : array.shape[-1]] = array
    return grown
