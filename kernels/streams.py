"""Reliable streams over datagrams (STANDARD.md §9.3), both directions, in the columns of ``peers``.

Decides what is sent when: new bytes while the way holds them, lost ones after a round trip and some patience.
Invariants: at most 65,536 bytes are unacknowledged; a byte is handed on once and in order; an acknowledgement of what
was never sent changes nothing. No datagram is kept: what was lost is put into a new one.

Theory. Acknowledgements say how far the stream has come without a gap. When the first byte that is missing has waited
for the round trip and its usual variation (RFC 6298), one datagram's worth from it on is said again; what the other
end holds behind the gap is then acknowledged at once, and if another gap follows it is said again without a wait (RFC
6582). The window grows by what is acknowledged and is halved by a loss (RFC 5681). Not responsible for: datagrams
(``departing``, ``arriving``).
"""

from typing import Any, Final

from kernels.hotmessages import I64, U8
from kernels.jit import jit
from kernels.peers import GAPS, STREAM_WINDOW_BYTES, Drop, u32

_MASK: Final = STREAM_WINDOW_BYTES - 1
_AHEAD: Final = int(Drop.SEGMENT_AHEAD)
_SCATTERED: Final = int(Drop.SEGMENT_SCATTERED)
WINDOW_FIRST_BYTES: Final = 14_600
"""Ten datagrams (RFC 6928)."""
_WINDOW_LEAST_BYTES: Final = 2400
RTT_FIRST_MS: Final = 200.0
RTT_OFF_FIRST_MS: Final = 100.0
_RTT_OFF_LEAST_MS: Final = 50.0
"""A tick at 20 Hz: acknowledgements wait for one."""
_WAIT_MOST_MS: Final = 2000.0
_BACKOFF_MOST: Final = 4
_CHUNK_LEAST_BYTES: Final = 256
"""Less room than this beside values is not worth a piece's header, unless it holds all."""


@jit
def take_segment(peer: Any, gaps: I64, ring: U8, offset: int, area: U8, start: int, size: int, drops: I64) -> None:
    """``area[start : start + size]`` is the client's stream from ``offset`` (modulo 2³²) on. Counts in ``drops`` what
    cannot be held."""
    ahead = (offset - peer.in_next) & 0xFFFFFFFF
    if ahead >= 1 << 31:
        ahead -= 1 << 32
    begin = peer.in_next + ahead
    end = begin + size
    if end <= peer.in_next:
        return
    if begin < peer.in_next:
        start += peer.in_next - begin
        begin = peer.in_next
    if end > peer.in_read + STREAM_WINDOW_BYTES:
        drops[_AHEAD] += 1
        return
    if begin > peer.in_next and not _note_gap(peer, gaps, begin, end):
        drops[_SCATTERED] += 1
        return
    for k in range(end - begin):
        ring[(begin + k - peer.in_origin) & _MASK] = area[start + k]
    if begin == peer.in_next:
        peer.in_next = end
        _close_gaps(peer, gaps)


@jit
def _note_gap(peer: Any, gaps: I64, begin: int, end: int) -> bool:
    """Note a piece that came ahead, merged with those that it touches; False if there are too many."""
    count = peer.gaps + 0
    merged = False
    k = 0
    while k < count:
        if begin <= gaps[k, 1] and end >= gaps[k, 0]:
            begin = min(begin, gaps[k, 0])
            end = max(end, gaps[k, 1])
            count -= 1
            gaps[k, 0] = gaps[count, 0]
            gaps[k, 1] = gaps[count, 1]
            merged = True
            k = 0
        else:
            k += 1
    if count >= GAPS and not merged:
        return False
    gaps[count, 0] = begin
    gaps[count, 1] = end
    peer.gaps = count + 1
    return True


@jit
def _close_gaps(peer: Any, gaps: I64) -> None:
    """The stream has grown up to ``in_next``: pieces that came ahead follow if they join it."""
    count = peer.gaps + 0
    k = 0
    while k < count:
        if gaps[k, 0] <= peer.in_next:
            peer.in_next = max(peer.in_next, gaps[k, 1])
            count -= 1
            gaps[k, 0] = gaps[count, 0]
            gaps[k, 1] = gaps[count, 1]
            k = 0
        else:
            k += 1
    peer.gaps = count


@jit
def next_message(peer: Any, ring: U8, head: U8, message: U8) -> int:
    """The next whole message of the client's stream, copied to ``message``: its size; -1 if there is none yet; -2 if
    it is larger than ``message``. ``head``: uint8[4], scratch."""
    have = peer.in_next - peer.in_read
    if have < 4:
        if have == 0 and peer.gaps == 0:
            peer.in_origin = peer.in_next
        return -1
    at = peer.in_read - peer.in_origin
    for k in range(4):
        head[k] = ring[(at + k) & _MASK]
    size = u32(head, 0)
    if size > message.shape[0]:
        return -2
    if have < 4 + size:
        return -1
    for k in range(size):
        message[k] = ring[(at + 4 + k) & _MASK]
    peer.in_read += 4 + size
    return size


@jit
def _copy(source: U8, to: U8) -> None:
    """All of ``source``, in a loop that becomes whole vectors."""
    for k in range(source.shape[0]):
        to[k] = source[k]


@jit
def append(peer: Any, ring: U8, buffer: U8, at: int, size: int) -> int:
    """Put the message ``buffer[at : at + size]`` at the end of our stream; returns its place there, or -1 if it has
    no room, or if other bytes wait for room already."""
    if peer.held == 1 or peer.out_end - peer.out_acked + 4 + size > STREAM_WINDOW_BYTES:
        return -1
    place: int = peer.out_end - peer.out_origin
    for k in range(4):
        ring[(place + k) & _MASK] = (size >> (8 * k)) & 0xFF
    _into(ring, place + 4, buffer, at, size)
    peer.out_end += 4 + size
    return place + 4


@jit
def _into(ring: U8, place: int, buffer: U8, at: int, size: int) -> None:
    begin = place & _MASK
    first = min(size, STREAM_WINDOW_BYTES - begin)
    _copy(buffer[at : at + first], ring[begin : begin + first])
    _copy(buffer[at + first : at + size], ring[: size - first])


@jit
def pour(row: Any, slot: int, ring: U8, data: U8) -> int:
    """Put as many bytes of ``data`` at the end of the stream of ``row[slot]`` as its ring takes; returns how many."""
    peer = row[slot]
    size = min(data.shape[0], STREAM_WINDOW_BYTES - (peer.out_end - peer.out_acked))
    _into(ring, peer.out_end - peer.out_origin, data, 0, size)
    peer.out_end += size
    return int(size)


@jit
def put(ring: U8, place: int, value: int) -> None:
    """Overwrite one byte of what ``append`` has put at ``place``."""
    ring[place & _MASK] = value


@jit
def acknowledge(peer: Any, received: int, now_ms: int) -> bool:
    """The client has our stream up to ``received`` (modulo 2³²). False if it says so of bytes that were never sent."""
    further = (received - peer.out_acked) & 0xFFFFFFFF
    if further == 0 or further >= 1 << 31:
        return True  # nothing new, or overtaken on its way
    if further > peer.out_sent - peer.out_acked:
        return False
    peer.out_acked += further
    peer.backoff = 0
    peer.timer_ms = now_ms
    peer.window_bytes = min(peer.window_bytes + further, STREAM_WINDOW_BYTES)
    if peer.mark > 0 and peer.out_acked >= peer.mark:
        sample = float(max(now_ms - peer.mark_ms, 0))
        if peer.measured == 0:
            peer.measured, peer.rtt_ms, peer.rtt_off_ms = 1, sample, sample / 2
        peer.rtt_off_ms += (abs(sample - peer.rtt_ms) - peer.rtt_off_ms) / 4
        peer.rtt_ms += (sample - peer.rtt_ms) / 8
        peer.mark = 0
    if peer.out_acked < peer.lost_until:
        peer.resend = 1
    if peer.out_acked == peer.out_end:
        peer.out_origin = peer.out_end
    return True


@jit
def look_for_loss(peer: Any, now_ms: int) -> None:
    """Has the oldest unacknowledged byte waited for too long?"""
    if peer.out_acked == peer.out_sent or peer.resend == 1:
        return
    wait_ms = (peer.rtt_ms + max(4 * peer.rtt_off_ms, _RTT_OFF_LEAST_MS)) * (1 << peer.backoff)
    if now_ms - peer.timer_ms <= min(wait_ms, _WAIT_MOST_MS):
        return
    peer.resend = 1
    peer.lost_until = peer.out_sent
    peer.window_bytes = max(peer.window_bytes // 2, _WINDOW_LEAST_BYTES)
    peer.backoff = min(peer.backoff + 1, _BACKOFF_MOST)
    peer.timer_ms = now_ms
    peer.mark = 0  # an acknowledgement of what was said twice says nothing about the way (Karn)


@jit
def next_piece(peer: Any, room: int, now_ms: int) -> tuple[int, int, int]:
    """What of our stream goes into a datagram with ``room`` bytes for it: (place, bytes, how many of them were sent
    before)."""
    if peer.resend == 1:
        size = min(room, peer.out_sent - peer.out_acked)
        if size < min(_CHUNK_LEAST_BYTES, peer.out_sent - peer.out_acked):
            return 0, 0, 0
        peer.resend = 0
        return peer.out_acked, size, size
    waiting = min(peer.out_end - peer.out_sent, peer.window_bytes - (peer.out_sent - peer.out_acked))
    size = min(room, waiting)
    if size <= 0 or size < min(_CHUNK_LEAST_BYTES, waiting):
        return 0, 0, 0
    place = peer.out_sent
    if place == peer.out_acked:
        peer.timer_ms = now_ms
    peer.out_sent += size
    if peer.mark == 0 and peer.out_acked >= peer.lost_until:
        # While older losses are being mended an acknowledgement waits for them, and says nothing about the way.
        peer.mark, peer.mark_ms = peer.out_sent, now_ms
    return place, size, 0


@jit
def copy_piece(peer: Any, ring: U8, place: int, size: int, out: U8, at: int) -> None:
    """Copy ``size`` bytes of our stream from ``place`` on to ``out[at:]``."""
    begin = (place - peer.out_origin) & _MASK
    first = min(size, STREAM_WINDOW_BYTES - begin)
    _copy(ring[begin : begin + first], out[at : at + first])
    _copy(ring[: size - first], out[at + first : at + size])
