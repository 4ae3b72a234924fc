"""Decrypted datagrams (STANDARD.md §9.3) taken apart for all connections in one call: acknowledgements, pieces of
streams, messages.

Decides which bytes of an opened datagram are what, and what ends a connection. Invariants: any plaintext ends in
messages, in a count of what was dropped, or in one end of its connection, never in an exception or a read outside its
row; a sequence is judged here, after decryption, and moves the address only if it is the newest. Not responsible for:
whose a datagram is (``peers.sift``), decryption, what messages mean.
"""

from enum import IntEnum
from typing import Final

import numpy as np

from kernels.hotmessages import (
    COMMANDS_BYTES_MAX,
    FIELDS,
    I32,
    I64,
    N_ACK,
    N_COLD,
    N_COLD_BYTES,
    N_COMMAND_BYTES,
    N_END,
    N_FRAMES,
    N_INPUT,
    N_READY,
    U8,
    U32,
    U64,
    deliver,
    refilled,
)
from kernels.jit import jit_allocating
from kernels.peers import (
    ADDRESS_BYTES,
    KIND_MESSAGE,
    KIND_STREAM,
    OFFSET_BYTES,
    PART_BYTES,
    PLAIN_BYTES_MAX,
    RECEIVED_BYTES,
    STATE_CLOSING,
    STATE_GONE,
    STATE_OPEN,
    STATE_TOKEN,
    Drop,
    Peers,
    Rows,
    admit,
    sequence_of,
    u32,
)
from kernels.streams import acknowledge, next_message, take_segment


class PeerEnd(IntEnum):
    """Why a connection ended; the lower-case names are the words that metrics count by."""

    MALFORMED_DATAGRAM = 1
    FORGED_RECEIVED = 2
    OVERSIZED = 3
    TOO_MANY_MESSAGES = 4


_MALFORMED: Final = int(PeerEnd.MALFORMED_DATAGRAM)
_FORGED: Final = int(PeerEnd.FORGED_RECEIVED)
_OVERSIZED: Final = int(PeerEnd.OVERSIZED)
_TOO_MANY: Final = int(PeerEnd.TOO_MANY_MESSAGES)
_ENDED: Final = int(Drop.ENDED)
_MESSAGES_FREE: Final = 4
"""Messages of a datagram that cost no more than the datagram itself: a client repeats up to 32 commands, eight in each
INPUT, until it knows that they have come."""
MESSAGES_MAX: Final = PLAIN_BYTES_MAX // (PART_BYTES + 1) + 1
"""In one datagram: so much room each output has before one is begun. A message without a byte is one, too, for the
budget."""


@jit_allocating
def take_datagrams(
    first: int,
    count: int,
    rows: Rows,
    peers: Peers,
    base: int,
    now_ms: int,
    tokens_per_ms: float,
    burst: float,
    message_bytes_max: int,
    inputs: U32,
    input_earlier: U64,
    command_counts: U8,
    commands: U8,
    acks: U32,
    ack_earlier: U64,
    cold: I32,
    cold_bytes: U8,
    ends: I32,
    opened: I32,
    ready: I32,
    drops: I64,
    counts: I64,
) -> int:
    """Take the datagrams ``first`` … ``count - 1`` of ``rows`` whose ``who`` is a slot; they are decrypted.

    Messages go to the outputs of ``hotmessages.deliver``, of connection ``base + slot``. ``opened`` (int32[1 + U]):
    slots of which something came for the first time, their number in ``opened[0]``; ``ready`` (int32[U]): slots with
    new bytes of their stream, ``counts[N_READY]`` of them; ``ends`` (int32[3, U]): slot, PeerEnd, 0.
    Returns ``count`` when done, else where to go on once there is more room in an output.
    """
    fields = np.zeros(FIELDS, np.int64)
    for i in range(first, count):
        slot = rows.who[i] + 0
        if slot < 0:
            continue
        if (
            counts[N_INPUT] + MESSAGES_MAX > inputs.shape[1]
            or counts[N_COMMAND_BYTES] + MESSAGES_MAX * COMMANDS_BYTES_MAX > commands.shape[0]
            or counts[N_ACK] + MESSAGES_MAX > acks.shape[1]
            or counts[N_COLD] + MESSAGES_MAX > cold.shape[1]
            or counts[N_COLD_BYTES] + PLAIN_BYTES_MAX > cold_bytes.shape[0]
        ):
            return i
        peer = peers.row[slot]
        sequence = sequence_of(rows.wire[i])
        is_newest = sequence > peer.newest
        dropped = admit(peer, peers.seen[slot], sequence)
        if dropped >= 0:
            drops[dropped] += 1
            continue
        if peer.state == STATE_TOKEN:
            peer.state = STATE_OPEN
            opened[0] += 1
            opened[opened[0]] = slot
        elif peer.state == STATE_CLOSING:
            peer.ack_due = 1
        if is_newest:
            peer.address_bytes = rows.address_bytes[i]
            for k in range(ADDRESS_BYTES):
                peers.address[slot, k] = rows.address[i, k]
        if peer.state != STATE_OPEN:
            drops[_ENDED] += 1
            continue
        peer.heard_ms = now_ms
        tokens = refilled(peer, now_ms, tokens_per_ms, burst) - 1.0
        plain = rows.plain[i]
        size = int(rows.plain_bytes[i])
        end = _TOO_MANY if tokens < 0.0 else 0
        if end == 0 and not acknowledge(peer, u32(plain, 0), now_ms):
            end = _FORGED
        at = RECEIVED_BYTES
        messages = 0
        while end == 0 and at < size:
            if at + PART_BYTES > size:
                end = _MALFORMED
                break
            kind = plain[at] + 0
            length = (plain[at + 1] + 0) | ((plain[at + 2] + 0) << 8)
            at += PART_BYTES
            if at + length > size:
                end = _MALFORMED
                break
            if kind == KIND_STREAM:
                if length < OFFSET_BYTES:
                    end = _MALFORMED
                    break
                peer.ack_due = 1
                take_segment(
                    peer, peers.gaps[slot], peers.into[slot], u32(plain, at), plain,
                    at + OFFSET_BYTES, length - OFFSET_BYTES, drops,
                )  # fmt: skip
                if peer.ready == 0:
                    peer.ready = 1
                    ready[counts[N_READY]] = slot
                    counts[N_READY] += 1
            elif kind == KIND_MESSAGE:
                messages += 1
                if messages > _MESSAGES_FREE:
                    tokens -= 1.0
                if tokens < 0.0:
                    end = _TOO_MANY
                    break
                if length > message_bytes_max:
                    end = _OVERSIZED
                    break
                counts[N_FRAMES] += 1
                deliver(
                    base + slot, peer, plain, at, at + length, fields, inputs, input_earlier, command_counts, commands,
                    acks, ack_earlier, cold, cold_bytes, counts,
                )  # fmt: skip
            at += length
        peer.tokens = max(tokens, 0.0)
        if end != 0:
            n = counts[N_END]
            ends[0, n] = slot
            ends[1, n] = end
            ends[2, n] = 0
            counts[N_END] = n + 1
            peer.state = STATE_GONE
    return count


@jit_allocating
def take_streams(
    first: int,
    ready: I32,
    peers: Peers,
    base: int,
    now_ms: int,
    tokens_per_ms: float,
    burst: float,
    message: U8,
    inputs: U32,
    input_earlier: U64,
    command_counts: U8,
    commands: U8,
    acks: U32,
    ack_earlier: U64,
    cold: I32,
    cold_bytes: U8,
    ends: I32,
    counts: I64,
) -> int:
    """Hand on the whole messages of the streams of slots ``ready[first : counts[N_READY]]``, as ``take_datagrams``
    does.

    ``message`` (uint8[m]): scratch for one, and how large it may be. Returns ``counts[N_READY]`` when done, else
    where to go on.
    """
    fields = np.zeros(FIELDS, np.int64)
    head = np.zeros(4, np.uint8)
    for index in range(first, counts[N_READY]):
        slot = ready[index] + 0
        peer = peers.row[slot]
        tokens = refilled(peer, now_ms, tokens_per_ms, burst)
        end = 0
        while peer.state == STATE_OPEN:
            if (
                counts[N_INPUT] >= inputs.shape[1]
                or counts[N_COMMAND_BYTES] + COMMANDS_BYTES_MAX > commands.shape[0]
                or counts[N_ACK] >= acks.shape[1]
                or counts[N_COLD] >= cold.shape[1]
                or counts[N_COLD_BYTES] + message.shape[0] > cold_bytes.shape[0]
            ):
                peer.tokens = tokens
                return index
            size = next_message(peer, peers.into[slot], head, message)
            if size == -1:
                break
            if size == -2:
                end = _OVERSIZED
                break
            if tokens < 1.0:
                end = _TOO_MANY
                break
            tokens -= 1.0
            counts[N_FRAMES] += 1
            deliver(
                base + slot, peer, message, 0, size, fields, inputs, input_earlier, command_counts, commands, acks,
                ack_earlier, cold, cold_bytes, counts,
            )  # fmt: skip
        peer.ready = 0
        peer.tokens = tokens
        if end != 0:
            n = counts[N_END]
            ends[0, n] = slot
            ends[1, n] = end
            ends[2, n] = 0
            counts[N_END] = n + 1
            peer.state = STATE_GONE
    return int(counts[N_READY])
