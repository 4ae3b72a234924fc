"""Datagrams written for all connections (STANDARD.md §9.2, §9.3): what is due of their streams, values,
acknowledgements.

Decides what goes into which datagram: values have one for themselves, with as much of the stream as fits before them;
the rest of the stream has more of its own; a datagram with nothing but ``received`` says that bytes came, or that we
are still there. Invariants: a sequence is used once; nothing is written for a connection that is not open. Not
responsible for: sealing and sending, what is in a message.
"""

from typing import Final

import numpy as np

from kernels.hotmessages import I32, I64, U8, U32
from kernels.jit import jit
from kernels.peers import (
    ADDRESS_BYTES,
    BIND_BYTES,
    HEADER_BYTES,
    KIND_MESSAGE,
    KIND_STREAM,
    MESSAGE_BYTES_MAX,
    OFFSET_BYTES,
    PART_BYTES,
    PLAIN_BYTES_MAX,
    RECEIVED_BYTES,
    STATE_GONE,
    STATE_OPEN,
    VERSION,
    Peers,
    Rows,
    put_u32,
)
from kernels.streams import append, copy_piece, look_for_loss, next_piece, put
from kernels.wsframe import payload_of

# Cells of ``counts``.
T_ROWS: Final = 0
"""Datagrams that are written, and wait to be sealed."""
T_ENDED: Final = 1
T_MESSAGES: Final = 2
T_STREAM_BYTES: Final = 3
T_RESENT_BYTES: Final = 4
T_TOO_LONG: Final = 5
T_COUNTS: Final = 6

SLOW: Final = 0
"""More waits for this connection than its stream holds."""
SPENT: Final = 1
"""It has no sequence left: another would use a nonce twice."""
_LAST: Final = np.uint64(2**64 - 1)
_ONE: Final = np.uint64(1)
_PIECE_BYTES: Final = PART_BYTES + OFFSET_BYTES


@jit
def _end(peers: Peers, slot: int, why: int, ended: I32, counts: I64) -> None:
    peers.row[slot].state = STATE_GONE
    if counts[T_ENDED] < ended.shape[1]:
        ended[0, counts[T_ENDED]] = slot
        ended[1, counts[T_ENDED]] = why
        counts[T_ENDED] += 1


@jit
def _begin(peers: Peers, slot: int, rows: Rows, now_ms: int, ended: I32, counts: I64) -> int:
    """A new datagram of ``slot`` in the next row, so far with ``received`` alone: the row; -1 if there is no sequence
    left."""
    peer = peers.row[slot]
    if peer.sequence == _LAST:
        _end(peers, slot, SPENT, ended, counts)
        return -1
    peer.sequence += _ONE
    i = int(counts[T_ROWS])
    counts[T_ROWS] = i + 1
    wire = rows.wire[i]
    wire[0] = VERSION
    put_u32(wire, 1, int(peer.number))
    for k in range(8):
        wire[5 + k] = np.uint8((peer.sequence >> np.uint64(8 * k)) & np.uint64(0xFF))
        rows.nonce[i, 4 + k] = wire[5 + k]
    for k in range(HEADER_BYTES):
        rows.aad[i, k] = wire[k]
    for k in range(BIND_BYTES):
        rows.aad[i, HEADER_BYTES + k] = peers.bind[slot, k]
    for k in range(ADDRESS_BYTES):
        rows.address[i, k] = peers.address[slot, k]
    rows.address_bytes[i] = peer.address_bytes
    rows.who[i] = slot
    put_u32(rows.plain[i], 0, peer.in_next)
    rows.plain_bytes[i] = RECEIVED_BYTES
    peer.ack_due = 0
    peer.sent_ms = now_ms
    return i


@jit
def _part(rows: Rows, i: int, kind: int, size: int) -> int:
    """The head of a part with ``size`` bytes; returns where they go."""
    at = int(rows.plain_bytes[i])
    plain = rows.plain[i]
    plain[at] = kind
    plain[at + 1] = size & 0xFF
    plain[at + 2] = size >> 8
    rows.plain_bytes[i] = at + PART_BYTES + size
    return at + PART_BYTES


@jit
def _piece(peers: Peers, slot: int, rows: Rows, i: int, place: int, size: int, again: int, counts: I64) -> None:
    at = _part(rows, i, KIND_STREAM, OFFSET_BYTES + size)
    put_u32(rows.plain[i], at, place)
    copy_piece(peers.row[slot], peers.out[slot], place, size, rows.plain[i], at + OFFSET_BYTES)
    counts[T_STREAM_BYTES] += size
    counts[T_RESENT_BYTES] += again


@jit
def write_messages(
    first: int,
    buffer: U8,
    conn: I32,
    at: I64,
    length: I64,
    kind: U8,
    base: int,
    state: int,
    peers: Peers,
    rows: Rows,
    now_ms: int,
    ended: I32,
    counts: I64,
) -> int:
    """Take the messages ``buffer[at[k] : at[k] + length[k]]`` from ``first`` on: ``kind`` 1 to the end of the stream
    of ``conn[k] - base``, 2 into a datagram.

    Only connections in ``state`` get any. ``ended`` (int32[2, n]): slots that ended over it, and SLOW or SPENT.
    Returns how many messages are done: fewer than all if no row is left.
    """
    for k in range(first, conn.shape[0]):
        slot = conn[k] - base
        peer = peers.row[slot]
        if peer.state != state:
            continue
        if kind[k] == KIND_STREAM:
            if append(peer, peers.out[slot], buffer, at[k], length[k]) < 0:
                _end(peers, slot, SLOW, ended, counts)
            continue
        size = int(length[k])
        if size > MESSAGE_BYTES_MAX:
            counts[T_TOO_LONG] += 1
            continue
        if counts[T_ROWS] >= rows.who.shape[0]:
            return k
        i = _begin(peers, slot, rows, now_ms, ended, counts)
        if i < 0:
            continue
        if state == STATE_OPEN:
            room = PLAIN_BYTES_MAX - RECEIVED_BYTES - PART_BYTES - size - _PIECE_BYTES
            place, piece, again = next_piece(peer, room, now_ms)
            if piece > 0:
                _piece(peers, slot, rows, i, place, piece, again, counts)
        start = _part(rows, i, KIND_MESSAGE, size)
        said, to = buffer[at[k] : at[k] + size], rows.plain[i, start : start + size]
        for b in range(size):
            to[b] = said[b]
        counts[T_MESSAGES] += 1
    return len(conn)


@jit
def write_rest(
    first: int, high: int, peers: Peers, rows: Rows, now_ms: int, idle_ms: int, ended: I32, counts: I64
) -> int:
    """What else is due for slots ``first`` … ``high - 1``: the rest of streams, what was lost of them,
    acknowledgements, a sign of life after ``idle_ms``. Returns ``high`` when done, else the slot to go on from when
    rows are free again."""
    for slot in range(first, high):
        peer = peers.row[slot]
        if peer.state != STATE_OPEN:
            continue
        look_for_loss(peer, now_ms)
        while peer.state == STATE_OPEN:
            if counts[T_ROWS] >= rows.who.shape[0]:
                return slot
            place, size, again = next_piece(peer, PLAIN_BYTES_MAX - RECEIVED_BYTES - _PIECE_BYTES, now_ms)
            if size == 0:
                break
            i = _begin(peers, slot, rows, now_ms, ended, counts)
            if i >= 0:
                _piece(peers, slot, rows, i, place, size, again, counts)
        if peer.state == STATE_OPEN and (peer.ack_due == 1 or now_ms - peer.sent_ms >= idle_ms):
            if counts[T_ROWS] >= rows.who.shape[0]:
                return slot
            _begin(peers, slot, rows, now_ms, ended, counts)
    return high


@jit
def post(conns: I32, message: U8, sseq: U32, sseq_at: int, base: int, peers: Peers, ended: I32, counts: I64) -> None:
    """Put one message at the end of the streams of ``conns``. ``sseq`` (uint32[n], or empty): the structure number
    for each, written big-endian at ``sseq_at`` of its copy. Who has no room for it goes to ``ended``."""
    for i in range(conns.shape[0]):
        slot = conns[i] - base
        peer = peers.row[slot]
        if peer.state != STATE_OPEN:
            continue
        place = append(peer, peers.out[slot], message, 0, message.shape[0])
        if place < 0:
            _end(peers, slot, SLOW, ended, counts)
        elif sseq.shape[0] > 0:
            number = sseq[i] + 0
            for k in range(4):
                put(peers.out[slot], place + sseq_at + k, (number >> (24 - 8 * k)) & 0xFF)


@jit
def mark_blocked(high: int, peers: Peers, bytes_max: int, blocked: U8) -> None:
    """``blocked[slot]`` is 1 where more than ``bytes_max`` of the stream waits or is unacknowledged: no new frames
    for it."""
    for slot in range(high):
        peer = peers.row[slot]
        full = peer.held == 1 or peer.out_end - peer.out_acked > bytes_max
        blocked[slot] = 1 if peer.state == STATE_OPEN and full else 0


@jit
def post_frames(buffer: U8, conn: I32, at: I64, length: I64, base: int, peers: Peers, ended: I32, counts: I64) -> None:
    """Put the messages in ``buffer[at[k] : at[k] + length[k]]``, whole WebSocket frames of ours, at the end of the
    stream of ``conn[k] - base``, without their headers. Who has no room for one goes to ``ended``."""
    for k in range(conn.shape[0]):
        slot = conn[k] - base
        peer = peers.row[slot]
        if peer.state != STATE_OPEN:
            continue
        here, end = at[k] + 0, at[k] + length[k]
        while here < end:
            begin, size = payload_of(buffer, here)
            if append(peer, peers.out[slot], buffer, begin, size) < 0:
                _end(peers, slot, SLOW, ended, counts)
                break
            here = begin + size
