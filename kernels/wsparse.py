"""WebSocket frames (RFC 6455) that clients sent, parsed for many connections in one call.

Decides which bytes of a client are messages, which are violations, and turns the two hot messages (INPUT, ACK;
STANDARD.md
§2) into columns. Invariants: any bytes end in messages or in one end of that connection, never in an exception or a
read
outside its area; a frame is charged to the message budget once, when it is whole. Canonical INPUT and ACK alone are
decoded
here; unusual but legal msgpack of them is handed out as ODD, for ``protocol.messages`` to decide, so both agree by
construction. Not responsible for: sockets (``server.transport.syscalls``), what messages mean.
"""

from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels.jit import jit, jit_allocating
from protocol.layouts import COMMAND, COMMANDS_PER_INPUT_MAX

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

HEADER_BYTES_MAX: Final = 14
"""A masked frame's longest header: 2, an 8-byte length, a 4-byte mask."""
CONTROL_BYTES_MAX: Final = 125

STATE_FREE: Final = 0
STATE_OPEN: Final = 1
STATE_CLOSING: Final = 2
"""Our close frame is queued; what still comes is read and thrown away."""
STATE_GONE: Final = 3
"""Nothing is read or written any more; the slot waits for its socket to be closed."""

CARRIER = np.dtype(
    [
        ("fd", "i4"),
        ("generation", "u4"),
        ("rx_fill", "i4"),
        ("message_fill", "i4"),
        ("tx_fill", "i4"),
        ("tokens", "f4"),
        ("refilled_ms", "i8"),
        ("heard_ms", "i8"),
        ("rx_bytes", "u8"),
        ("tx_bytes", "u8"),
        ("tried", "u4"),
        ("state", "u1"),
        ("tls", "u1"),
        ("fragment", "u1"),
        ("odd", "u1"),
    ]
)
"""One connection, one cache line; read as columns (``carriers["heard_ms"]``). ``message_fill`` bytes at the start of
its receive
area are the unmasked start of a fragmented message; raw bytes follow up to ``rx_fill``. ``tx_fill`` bytes wait to be
sent."""
assert CARRIER.itemsize == 64


class End(IntEnum):
    """Why a connection ended, as the kernels say it; the lower-case names are the words that metrics count by."""

    NONE = 0
    PEER_CLOSED = 1
    EOF = 2
    RESET = 3
    TEXT_FRAME = 4
    BAD_OPCODE = 5
    RESERVED_BITS = 6
    UNMASKED = 7
    OVERSIZED = 8
    BAD_FRAGMENT = 9
    BAD_CONTROL = 10
    BAD_LENGTH = 11
    TOO_MANY_MESSAGES = 12


# A byte read from an area is unsigned; `+ 0` makes it a signed integer, without which sums turn into floats.
# numba freezes plain integers, not enum members.
_PEER_CLOSED: Final = int(End.PEER_CLOSED)
_TEXT_FRAME: Final = int(End.TEXT_FRAME)
_BAD_OPCODE: Final = int(End.BAD_OPCODE)
_RESERVED_BITS: Final = int(End.RESERVED_BITS)
_UNMASKED: Final = int(End.UNMASKED)
_OVERSIZED: Final = int(End.OVERSIZED)
_BAD_FRAGMENT: Final = int(End.BAD_FRAGMENT)
_BAD_CONTROL: Final = int(End.BAD_CONTROL)
_BAD_LENGTH: Final = int(End.BAD_LENGTH)
_TOO_MANY_MESSAGES: Final = int(End.TOO_MANY_MESSAGES)

MESSAGE_COLD: Final = 0
MESSAGE_ODD: Final = 1
"""An INPUT or ACK in an unusual encoding, or something that only a full decoder can tell from one."""
_MESSAGE_INPUT: Final = 2
_MESSAGE_ACK: Final = 3
MESSAGE_POSE: Final = 4
"""A POSE, whole: written among the cold ones, and taken out of there as columns."""

# Cells of ``counts``: how far each output is filled.
N_INPUT: Final = 0
N_COMMAND_BYTES: Final = 1
N_ACK: Final = 2
N_COLD: Final = 3
N_COLD_BYTES: Final = 4
N_END: Final = 5
N_PONG: Final = 6
N_READY: Final = 7
N_RX_BYTES: Final = 8
N_FRAMES: Final = 9
COUNTS: Final = 10

_COMMAND_BYTES: Final = COMMAND.itemsize
_COMMANDS_BYTES_MAX: Final = COMMAND.itemsize * COMMANDS_PER_INPUT_MAX


@jit
def _uint(area: U8, at: int, end: int) -> tuple[int, int]:
    """A non-negative msgpack integer below 2³² at ``area[at:end]``: (value, where it ends), or (0, -1)."""
    if at >= end:
        return 0, -1
    lead = area[at] + 0
    if lead < 0x80:
        return lead, at + 1
    if lead < 0xCC or lead > 0xCE:
        return 0, -1
    size = 1 << (lead - 0xCC)
    if at + 1 + size > end:
        return 0, -1
    value = 0
    for k in range(size):
        value = (value << 8) | (area[at + 1 + k] + 0)
    return value, at + 1 + size


@jit
def _classify(area: U8, at: int, end: int, fields: I64) -> int:
    """What the message ``area[at:end]`` is. INPUT and ACK fill ``fields`` (int64[5]): seq, frame, stamp, commands'
    start, bytes."""
    if end - at < 2:
        return MESSAGE_ODD
    lead = area[at] + 0
    kind = area[at + 1] + 0
    if lead == 0xDC or lead == 0xDD or kind >= 0x80:
        return MESSAGE_ODD
    if 0x90 <= lead <= 0x9F and kind == 8:
        return MESSAGE_POSE
    if lead < 0x90 or lead > 0x9F or (kind != 2 and kind != 3):
        return MESSAGE_COLD
    if (kind == 2 and lead != 0x95) or (kind == 3 and lead != 0x93):
        return MESSAGE_ODD
    cursor = at + 2
    for k in range(0 if kind == 2 else 1, 3):
        value, cursor = _uint(area, cursor, end)
        if cursor < 0:
            return MESSAGE_ODD
        fields[k] = value
    if kind == 3:
        return _MESSAGE_ACK if cursor == end else MESSAGE_ODD
    if cursor + 2 > end or area[cursor] != 0xC4:
        return MESSAGE_ODD
    size = area[cursor + 1] + 0
    if cursor + 2 + size != end or size == 0 or size % _COMMAND_BYTES != 0 or size > _COMMANDS_BYTES_MAX:
        return MESSAGE_ODD
    fields[3] = cursor + 2
    fields[4] = size
    return _MESSAGE_INPUT


@jit
def _deliver(
    conn: int,
    link: Any,
    area: U8,
    start: int,
    stop: int,
    fields: I64,
    inputs: U32,
    command_counts: U8,
    commands: U8,
    acks: U32,
    cold: I32,
    cold_bytes: U8,
    counts: I64,
) -> None:
    """Append the whole message ``area[start:stop]`` to the output it belongs to; the caller has seen to the room."""
    kind = _classify(area, start, stop, fields)
    if link.odd == 1 and kind != MESSAGE_COLD and kind != MESSAGE_POSE:
        kind = MESSAGE_ODD
    elif kind == MESSAGE_ODD:
        link.odd = 1
    if kind == _MESSAGE_INPUT:
        n = counts[N_INPUT]
        filled = counts[N_COMMAND_BYTES]
        inputs[0, n] = conn
        inputs[1, n] = fields[0]
        inputs[2, n] = fields[1]
        inputs[3, n] = fields[2]
        inputs[4, n] = filled // _COMMAND_BYTES
        command_counts[n] = fields[4] // _COMMAND_BYTES
        for k in range(fields[4]):
            commands[filled + k] = area[fields[3] + k]
        counts[N_INPUT] = n + 1
        counts[N_COMMAND_BYTES] = filled + fields[4]
    elif kind == _MESSAGE_ACK:
        n = counts[N_ACK]
        acks[0, n] = conn
        acks[1, n] = fields[1]
        acks[2, n] = fields[2]
        counts[N_ACK] = n + 1
    else:
        n = counts[N_COLD]
        filled = counts[N_COLD_BYTES]
        cold[0, n] = conn
        cold[1, n] = kind
        cold[2, n] = filled
        cold[3, n] = stop - start
        for k in range(stop - start):
            cold_bytes[filled + k] = area[start + k]
        counts[N_COLD] = n + 1
        counts[N_COLD_BYTES] = filled + stop - start


@jit
def _header(area: U8, at: int, fill: int, fragment: int, room: int) -> tuple[int, int, int]:
    """The frame header at ``area[at:fill]``: (End or 0, header bytes or 0 if more bytes are needed, payload bytes).

    ``room``: how many bytes the message may still grow by. Violations are told as early as they can be seen.
    """
    if fill - at < 2:
        return 0, 0, 0
    byte0 = area[at] + 0
    byte1 = area[at + 1] + 0
    opcode = byte0 & 0x0F
    length = byte1 & 0x7F
    if byte0 & 0x70 != 0:
        return _RESERVED_BITS, 0, 0
    if opcode > 10 or 2 < opcode < 8:
        return _BAD_OPCODE, 0, 0
    if opcode == 1:
        return _TEXT_FRAME, 0, 0
    if byte1 < 0x80:
        return _UNMASKED, 0, 0
    if opcode >= 8:
        if byte0 < 0x80 or length > CONTROL_BYTES_MAX:
            return _BAD_CONTROL, 0, 0
    elif (opcode == 0) != (fragment == 1):
        return _BAD_FRAGMENT, 0, 0
    head = 2
    if length >= 126:
        wide = 2 if length == 126 else 8
        if fill - at < 2 + wide:
            return 0, 0, 0
        least = 126 if length == 126 else 65536
        length = 0
        for k in range(wide):
            length = (length << 8) | (area[at + 2 + k] + 0)
        # RFC 6455 §5.2: the shortest form, and the top bit of a 64-bit length is 0.
        if length < least:
            return _BAD_LENGTH, 0, 0
        head += wide
    if opcode < 8 and length > room:
        return _OVERSIZED, 0, 0
    return 0, head + 4, length


@jit_allocating
def parse(
    ready: I32,
    first: int,
    carriers: Any,
    rx: U8,
    tx: U8,
    now_ms: int,
    tokens_per_ms: float,
    burst: float,
    message_bytes_max: int,
    post_bytes_max: int,
    inputs: U32,
    command_counts: U8,
    commands: U8,
    acks: U32,
    cold: I32,
    cold_bytes: U8,
    ends: I32,
    counts: I64,
) -> int:
    """Parse what has been received on the connections ``ready[first:counts[N_READY]]``.

    ``carriers``: CARRIER[N]. ``rx``, ``tx``: uint8[N, ...] receive and transmit areas. ``inputs``: uint32[5, n]:
    conn, seq, frame,
    stamp, index of the first command; ``command_counts``: uint8[n]; ``commands``: uint8[8·m]; ``acks``: uint32[3, n]:
    conn, frame,
    stamp; ``cold``: int32[4, n]: conn, MESSAGE_COLD, MESSAGE_ODD or MESSAGE_POSE, offset and length in ``cold_bytes``;
    ``ends``: int32[3, n]: conn, End, close code. Pings are answered into ``tx`` while fewer than ``post_bytes_max``
    bytes wait there (RFC 6455 §5.5.3 allows to answer only the newest). Outputs are appended at ``counts``.

    Returns ``counts[N_READY]`` when done, else the index to go on from once there is more room in an output.
    """
    fields = np.zeros(5, np.int64)
    for index in range(first, counts[N_READY]):
        conn = int(ready[index])
        link = carriers[conn]
        if link.state != STATE_OPEN:
            continue
        area = rx[conn]
        tokens = min(burst, link.tokens + (now_ms - link.refilled_ms) * tokens_per_ms)
        link.refilled_ms = now_ms
        fill = int(link.rx_fill)
        message_fill = int(link.message_fill)
        at = message_fill
        end = 0
        code = 0
        full = False
        while True:
            if (
                counts[N_INPUT] >= inputs.shape[1]
                or counts[N_COMMAND_BYTES] + _COMMANDS_BYTES_MAX > commands.shape[0]
                or counts[N_ACK] >= acks.shape[1]
                or counts[N_COLD] >= cold.shape[1]
                or counts[N_COLD_BYTES] + message_bytes_max > cold_bytes.shape[0]
            ):
                full = True
                break
            end, head, length = _header(area, at, fill, link.fragment, message_bytes_max - message_fill)
            if end != 0 or head == 0 or fill - at < head + length:
                break
            if tokens < 1.0:
                end = _TOO_MANY_MESSAGES
                break
            tokens -= 1.0
            counts[N_FRAMES] += 1
            link.heard_ms = now_ms
            opcode = area[at] & 0x0F
            whole = area[at] >= 0x80
            start = at + head
            at = start + length
            for k in range(length):
                area[start + k] ^= area[start - 4 + (k & 3)]
            if opcode == 8:
                if length == 1:
                    end = _BAD_CONTROL
                else:
                    end = _PEER_CLOSED
                    code = 1005
                    if length > 0:
                        code = ((area[start] + 0) << 8) | (area[start + 1] + 0)
                break
            if opcode == 9:
                waiting = int(link.tx_fill)
                if waiting + 2 + length <= post_bytes_max:
                    tx[conn, waiting] = 0x8A
                    tx[conn, waiting + 1] = length
                    for k in range(length):
                        tx[conn, waiting + 2 + k] = area[start + k]
                    link.tx_fill = waiting + 2 + length
                    counts[N_PONG] += 1
            elif opcode == 2 and whole:
                _deliver(
                    conn,
                    link,
                    area,
                    start,
                    at,
                    fields,
                    inputs,
                    command_counts,
                    commands,
                    acks,
                    cold,
                    cold_bytes,
                    counts,
                )
            elif opcode != 10:
                for k in range(length):
                    area[message_fill + k] = area[start + k]
                message_fill += length
                link.fragment = 0 if whole else 1
                if whole:
                    stop = message_fill
                    message_fill = 0
                    _deliver(
                        conn,
                        link,
                        area,
                        0,
                        stop,
                        fields,
                        inputs,
                        command_counts,
                        commands,
                        acks,
                        cold,
                        cold_bytes,
                        counts,
                    )
        link.tokens = tokens
        if end != 0:
            n = counts[N_END]
            ends[0, n] = conn
            ends[1, n] = end
            ends[2, n] = code
            counts[N_END] = n + 1
            link.rx_fill = 0
            link.message_fill = 0
            link.fragment = 0
            link.state = STATE_GONE
            continue
        if at > message_fill:
            for k in range(fill - at):
                area[message_fill + k] = area[at + k]
        link.message_fill = message_fill
        link.rx_fill = message_fill + fill - at
        if full:
            return index
    return int(counts[N_READY])
