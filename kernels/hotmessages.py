"""INPUT and ACK (STANDARD.md §2) among what clients say, turned into columns; each carrier's parser hands whole
messages in here.

Decides which bytes are an INPUT or an ACK, and what a message costs of a client's budget. Invariants: nothing outside
of the message is read, no bytes raise; canonical ones alone are decoded here: unusual but legal msgpack of them is
handed out as ODD, for ``protocol.messages`` to decide, so both agree by construction. Not responsible for: where a
message begins and ends (``wsparse``, ``datagrams``), what it means.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels.jit import jit
from protocol.layouts import COMMAND, COMMANDS_PER_INPUT_MAX

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

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
N_CALLS: Final = 10
"""System calls."""
COUNTS: Final = 11

FIELDS: Final = 6
"""Of an INPUT or ACK: seq, frame, stamp, commands' start, their bytes, earlier (the bits of a u64)."""
_COMMAND_BYTES: Final = COMMAND.itemsize
COMMANDS_BYTES_MAX: Final = COMMAND.itemsize * COMMANDS_PER_INPUT_MAX


@jit
def refilled(link: Any, now_ms: int, tokens_per_ms: float, burst: float) -> float:
    """How many messages the client of ``link`` may say now (a token bucket); the caller keeps what it leaves of
    them."""
    tokens: float = min(burst, link.tokens + (now_ms - link.refilled_ms) * tokens_per_ms)
    link.refilled_ms = now_ms
    return tokens


@jit
def _uint(area: U8, at: int, end: int, lead_max: int) -> tuple[int, int]:
    """A non-negative msgpack integer at ``area[at:end]``, in at most the form ``lead_max`` (0xCE: u32, 0xCF: u64,
    whose top bit makes it negative here): (value, where it ends), or (0, -1)."""
    if at >= end:
        return 0, -1
    lead = area[at] + 0
    if lead < 0x80:
        return lead, at + 1
    if lead < 0xCC or lead > lead_max:
        return 0, -1
    size = 1 << (lead - 0xCC)
    if at + 1 + size > end:
        return 0, -1
    value = 0
    for k in range(size):
        value = (value << 8) | (area[at + 1 + k] + 0)
    return value, at + 1 + size


@jit
def _earlier(area: U8, cursor: int, end: int, wanted: int, fields: I64) -> int:
    """The optional last item, where ``wanted``; returns where the message ends, or -1."""
    fields[5] = 0
    if wanted == 0:
        return cursor
    value, cursor = _uint(area, cursor, end, 0xCF)
    fields[5] = value
    return cursor


@jit
def classify(area: U8, at: int, end: int, fields: I64) -> int:
    """What the message ``area[at:end]`` is. INPUT and ACK fill ``fields`` (int64[FIELDS])."""
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
    least = 0x95 if kind == 2 else 0x93
    if lead != least and lead != least + 1:
        return MESSAGE_ODD
    cursor = at + 2
    for k in range(0 if kind == 2 else 1, 3):
        value, cursor = _uint(area, cursor, end, 0xCE)
        if cursor < 0:
            return MESSAGE_ODD
        fields[k] = value
    if kind == 2:
        if cursor + 2 > end or area[cursor] != 0xC4:
            return MESSAGE_ODD
        size = area[cursor + 1] + 0
        if cursor + 2 + size > end or size == 0 or size % _COMMAND_BYTES != 0 or size > COMMANDS_BYTES_MAX:
            return MESSAGE_ODD
        fields[3] = cursor + 2
        fields[4] = size
        cursor += 2 + size
    if _earlier(area, cursor, end, lead - least, fields) != end:
        return MESSAGE_ODD
    return _MESSAGE_INPUT if kind == 2 else _MESSAGE_ACK


@jit
def deliver(
    conn: int,
    link: Any,
    area: U8,
    start: int,
    stop: int,
    fields: I64,
    inputs: U32,
    input_earlier: U64,
    command_counts: U8,
    commands: U8,
    acks: U32,
    ack_earlier: U64,
    cold: I32,
    cold_bytes: U8,
    counts: I64,
) -> None:
    """Append the whole message ``area[start:stop]`` to the output it belongs to; the caller has seen to the room.

    ``link``: a record with a field ``odd``: once a message was ODD, INPUT and ACK that follow are handed out the same
    way until it is cleared, so that they stay in order.
    """
    kind = classify(area, start, stop, fields)
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
        input_earlier[n] = np.uint64(fields[5])
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
        ack_earlier[n] = np.uint64(fields[5])
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
