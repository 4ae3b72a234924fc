"""What is remembered of each datagram connection (STANDARD.md §9), in columns, and the rows that datagrams pass
through.

Decides sizes and the window of sequences. Invariants: a sequence is taken once; what is not decrypted changes nothing
here, so ``admit`` is called after decryption alone; no sum with a sequence can overflow, since only differences of
ordered ones are made. Not responsible for: streams (``streams``), what is in a datagram (``arriving``, ``departing``).
"""

from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.hotmessages import I32, I64, U8, U64
from kernels.jit import jit
from kernels.sparse import sparse_zeros

# STANDARD.md §9.2 and §9.3; that these are the protocol's is asserted in server.transport.datagrams.
VERSION: Final = 0x31
HEADER_BYTES: Final = 13
TAG_BYTES: Final = 16
DATAGRAM_BYTES_MAX: Final = 1200
PLAIN_BYTES_MAX: Final = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES
RECEIVED_BYTES: Final = 4
PART_BYTES: Final = 3
OFFSET_BYTES: Final = 4
MESSAGE_BYTES_MAX: Final = PLAIN_BYTES_MAX - RECEIVED_BYTES - PART_BYTES
"""Of a message that has a datagram for itself."""
KIND_STREAM: Final = 1
KIND_MESSAGE: Final = 2
STREAM_WINDOW_BYTES: Final = 65_536
NONCE_BYTES: Final = 12
BIND_BYTES: Final = 16
AAD_BYTES: Final = HEADER_BYTES + BIND_BYTES
ADDRESS_BYTES: Final = 28
"""struct sockaddr_in6; a sockaddr_in takes its first 16 bytes."""

WINDOW: Final = 1024
"""Sequences below the newest that are told apart; the standard wants 256. A network that delays one path of two by a
second holds back some hundred."""
_WORDS: Final = WINDOW // 64
GAPS: Final = 16
"""Pieces of a stream that came ahead of others; with more holes than this the piece is sent again."""

STATE_FREE: Final = 0
STATE_OPEN: Final = 1
STATE_CLOSING: Final = 2
"""CLOSE was sent; what still comes is answered with it again, and otherwise thrown away."""
STATE_GONE: Final = 3
STATE_TOKEN: Final = 4
"""A token was given, and nothing of it has come yet."""

PEER = np.dtype(
    [
        ("newest", "u8"),
        ("sequence", "u8"),
        ("heard_ms", "i8"),
        ("sent_ms", "i8"),
        ("refilled_ms", "i8"),
        ("in_origin", "i8"),
        ("in_read", "i8"),
        ("in_next", "i8"),
        ("out_origin", "i8"),
        ("out_acked", "i8"),
        ("out_sent", "i8"),
        ("out_end", "i8"),
        ("lost_until", "i8"),
        ("mark", "i8"),
        ("mark_ms", "i8"),
        ("timer_ms", "i8"),
        ("number", "u4"),
        ("tokens", "f4"),
        ("rtt_ms", "f4"),
        ("rtt_off_ms", "f4"),
        ("window_bytes", "i4"),
        ("generation", "u4"),
        ("state", "u1"),
        ("odd", "u1"),
        ("gaps", "u1"),
        ("ready", "u1"),
        ("ack_due", "u1"),
        ("resend", "u1"),
        ("backoff", "u1"),
        ("address_bytes", "u1"),
        ("held", "u1"),
        ("measured", "u1"),
    ],
    align=True,
)
"""One connection. ``newest``: greatest sequence that was decrypted; ``sequence``: the last one of ours; ``held``: 1
while more of our stream waits elsewhere than its ring has room for, and nothing may be put behind that. Places in
streams count from the connection's begin and do not wrap: in its ring a place is ``(place - origin) mod 65,536``, and
the origin moves up whenever a ring is empty, so that only its first bytes are ever touched by who has little to say."""


class Peers(NamedTuple):
    """All connections of one socket; the first axis of each array is the slot."""

    row: Any
    """PEER[U]."""
    seen: U64
    """uint64[U, 16]: which sequences have come, bit ``sequence mod 1024``."""
    gaps: I64
    """int64[U, GAPS, 2]: pieces of the client's stream that came ahead."""
    address: U8
    """uint8[U, 28]: where to send to."""
    bind: U8
    """uint8[U, 16]: what besides its header a datagram is bound to."""
    into: U8
    """uint8[U, 65536]: the client's stream."""
    out: U8
    """uint8[U, 65536]: ours, from what is not acknowledged."""


class Rows(NamedTuple):
    """Datagrams of one batch, sealed and opened; the first axis is the datagram."""

    wire: U8
    """uint8[R, 1216]: as they travel."""
    wire_bytes: I32
    plain: U8
    """uint8[R, 1184]: opened."""
    plain_bytes: I32
    nonce: U8
    aad: U8
    who: I32
    """The slot, or -1: nobody's."""
    address: U8
    address_bytes: I32


def make_peers(count: int) -> Peers:
    """All slots free."""
    return Peers(
        np.zeros(count, PEER),
        np.zeros((count, _WORDS), np.uint64),
        np.zeros((count, GAPS, 2), np.int64),
        np.zeros((count, ADDRESS_BYTES), np.uint8),
        np.zeros((count, BIND_BYTES), np.uint8),
        sparse_zeros((count, STREAM_WINDOW_BYTES), np.uint8),
        sparse_zeros((count, STREAM_WINDOW_BYTES), np.uint8),
    )


def make_rows(count: int) -> Rows:
    """Room for ``count`` datagrams."""
    return Rows(
        np.zeros((count, 1216), np.uint8),
        np.zeros(count, np.int32),
        np.zeros((count, 1184), np.uint8),
        np.zeros(count, np.int32),
        np.zeros((count, NONCE_BYTES), np.uint8),
        np.zeros((count, AAD_BYTES), np.uint8),
        np.zeros(count, np.int32),
        np.zeros((count, ADDRESS_BYTES), np.uint8),
        np.zeros(count, np.int32),
    )


class Drop(IntEnum):
    """Why a datagram, or a part of one, was not taken; the lower-case names are the words that metrics count by."""

    OVERSIZED = 0
    SHORT = 1
    VERSION = 2
    UNKNOWN_NUMBER = 3
    NOT_SEALED = 4
    OLD = 5
    REPLAYED = 6
    ENDED = 7
    SEGMENT_AHEAD = 8
    SEGMENT_SCATTERED = 9


DROPS: Final = len(Drop)
_OLD: Final = int(Drop.OLD)
_REPLAYED: Final = int(Drop.REPLAYED)
_OVERSIZED: Final = int(Drop.OVERSIZED)
_SHORT: Final = int(Drop.SHORT)
_VERSION: Final = int(Drop.VERSION)
_UNKNOWN: Final = int(Drop.UNKNOWN_NUMBER)
# With a signed integer beside it an unsigned one turns into a float.
_ONE: Final = np.uint64(1)
_SIX: Final = np.uint64(6)
_WORD: Final = np.uint64(_WORDS - 1)
_BIT: Final = np.uint64(63)
_SPAN: Final = np.uint64(WINDOW)

Numbers = npt.NDArray[np.int64]


@jit
def u32(area: U8, at: int) -> int:
    """The little-endian u32 at ``area[at:]``."""
    value = 0
    for k in range(4):
        value |= (area[at + k] + 0) << (8 * k)
    return value


@jit
def put_u32(area: U8, at: int, value: int) -> None:
    """Write ``value`` modulo 2³², little-endian."""
    for k in range(4):
        area[at + k] = (value >> (8 * k)) & 0xFF


@jit
def sequence_of(area: U8) -> Any:
    """The sequence in a datagram's header (uint64)."""
    value = np.uint64(0)
    for k in range(8):
        value |= np.uint64(area[5 + k]) << np.uint64(8 * k)
    return value


@jit
def admit(peer: Any, seen: U64, sequence: Any) -> int:
    """Note a sequence (uint64) that was decrypted; returns -1, or the Drop of one that was had or is too old to
    know."""
    newest = peer.newest
    if sequence > newest:
        if sequence - newest >= _SPAN:
            for k in range(seen.shape[0]):
                seen[k] = np.uint64(0)
        else:
            passed = newest
            while passed != sequence:
                passed += _ONE
                seen[np.int64((passed >> _SIX) & _WORD)] &= ~(_ONE << (passed & _BIT))
        peer.newest = sequence
    elif newest - sequence >= _SPAN or sequence == np.uint64(0):
        return _OLD
    word = np.int64((sequence >> _SIX) & _WORD)
    bit = _ONE << (sequence & _BIT)
    if seen[word] & bit:
        return _REPLAYED
    seen[word] |= bit
    return -1


@jit
def sift(rows: Rows, count: int, peers: Peers, drops: I64) -> None:
    """Find out whose the first ``count`` datagrams say that they are, and prepare their decryption: nonce, additional
    data.

    Writes to: ``rows.who`` (-1: dropped), ``nonce``, ``aad``, ``plain_bytes``; ``drops`` (int64[DROPS]) counts.
    """
    for i in range(count):
        size = int(rows.wire_bytes[i])
        wire = rows.wire[i]
        rows.who[i] = -1
        if size > DATAGRAM_BYTES_MAX:
            drops[_OVERSIZED] += 1
            continue
        if size < HEADER_BYTES + RECEIVED_BYTES + TAG_BYTES:
            drops[_SHORT] += 1
            continue
        if wire[0] != VERSION:
            drops[_VERSION] += 1
            continue
        number = u32(wire, 1)
        slot = number & 0xFFFF
        if slot >= peers.row.shape[0]:
            drops[_UNKNOWN] += 1
            continue
        peer = peers.row[slot]
        if peer.state == STATE_FREE or peer.state == STATE_GONE or peer.number != number:
            drops[_UNKNOWN] += 1
            continue
        rows.who[i] = slot
        rows.plain_bytes[i] = size - HEADER_BYTES - TAG_BYTES
        for k in range(8):
            rows.nonce[i, 4 + k] = wire[5 + k]
        for k in range(HEADER_BYTES):
            rows.aad[i, k] = wire[k]
        for k in range(BIND_BYTES):
            rows.aad[i, HEADER_BYTES + k] = peers.bind[slot, k]
