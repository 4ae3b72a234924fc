"""Cold messages: framed once, copied into the transmit areas of many connections, numbered in place.

Decides that a client with too much waiting is too slow. Invariant: a message is queued whole or not at all. Not
responsible for: sending (``syscalls``), closing (``carriers``).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.hotmessages import I32, U8, U32
from kernels.jit import jit
from kernels.wsparse import STATE_OPEN
from protocol.messages import Closing, encode_server
from protocol.wsframe import frame

FRAGMENT_BYTES = 8192
"""Of a message that is too large to be one frame in a transmit area. Control frames may stand between two of these."""


def closing_frames(code: int, retry_after_ms: int | None, text: str) -> tuple[bytes, bytes]:
    """The CLOSE message, and the WebSocket close frame with the same code."""
    reason = text.encode()[:123].decode(errors="ignore").encode()
    return frame(encode_server(Closing(code, retry_after_ms, text))), frame(code.to_bytes(2, "big") + reason, 8)


def fragments(message: bytes) -> list[bytes]:
    """A message as WebSocket frames of at most FRAGMENT_BYTES, which follow each other (RFC 6455 §5.4)."""
    parts = [message[at : at + FRAGMENT_BYTES] for at in range(0, len(message), FRAGMENT_BYTES)] or [b""]
    framed = [bytearray(frame(part, 0 if k else 2)) for k, part in enumerate(parts)]
    for part in framed[:-1]:
        part[0] &= 0x7F  # more follow
    return [bytes(part) for part in framed]


@jit
def enqueue(
    conns: I32, framed: U8, sseq: U32, sseq_at: int, carriers: Any, tx: U8, bytes_max: int, overflow: I32
) -> int:
    """Append ``framed`` to the transmit area of each open connection in ``conns`` (int32[n]).

    ``sseq`` (uint32[n], or empty): the structure number for each, written big-endian at ``sseq_at`` of its copy.
    Connections where more than ``bytes_max`` would wait go to ``overflow`` (int32[N]); returns how many.
    """
    size = framed.shape[0]
    refused = 0
    for i in range(conns.shape[0]):
        conn = conns[i]
        link = carriers[conn]
        if link.state != STATE_OPEN:
            continue
        fill = int(link.tx_fill)
        if fill + size > bytes_max:
            if refused < overflow.shape[0]:
                overflow[refused] = conn
                refused += 1
            continue
        out = tx[conn]
        for k in range(size):
            out[fill + k] = framed[k]
        if sseq.shape[0] > 0:
            number = sseq[i] + 0
            for k in range(4):
                out[fill + sseq_at + k] = (number >> (24 - 8 * k)) & 0xFF
        link.tx_fill = fill + size
    return refused


def as_array(data: bytes) -> npt.NDArray[np.uint8]:
    """``data`` as uint8[n]: a copy, because compiled code distinguishes read-only arrays."""
    return np.frombuffer(bytearray(data), np.uint8)
