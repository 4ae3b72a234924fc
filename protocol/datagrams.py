"""Datagrams: sealing and opening them, the window against replay, what is in one, and the reliable streams in them
(STANDARD.md §9.1–9.3).

Invariants: no nonce is made twice under one key (a sequence counts up and ends, it does not wrap); what is not
authentic changes nothing and is answered by None, not by an exception; what is authentic and malformed raises
:class:`ProtocolViolation`, because its sender broke the standard. Nothing is added to a sequence that a peer named, so
that nothing can overflow; offsets of streams are whole numbers here, and modulo 2³² on the wire alone. Not responsible
for: sockets, addresses, who has which key, when a datagram goes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.codes import Close, ProtocolViolation
from protocol.limits import STREAM_MESSAGE_BYTES_MAX
from protocol.messages import U32_MAX, U64_MAX

VERSION: Final = 0x31
DATAGRAMS_VERSION: Final = 1
"""What DATAGRAMS asks for."""
HEADER_BYTES: Final = 13
TAG_BYTES: Final = 16
DATAGRAM_BYTES_MAX: Final = 1200
"""Passes every path of the Internet that carries IPv6 (1,280 bytes with headers, RFC 8200 §5; QUIC sends as much)."""
PLAIN_BYTES_MAX: Final = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES
RECEIVED_BYTES: Final = 4
PART_HEAD_BYTES: Final = 3
OFFSET_BYTES: Final = 4
STREAM_BYTES_MAX: Final = PLAIN_BYTES_MAX - RECEIVED_BYTES - PART_HEAD_BYTES - OFFSET_BYTES
"""Of a stream that fit into a datagram of their own."""
REPLAY_WINDOW: Final = 1024
"""Sequences below the newest that are told apart; a second of the fastest stream that a server sends."""

KIND_STREAM: Final = 1
KIND_MESSAGE: Final = 2
KIND_OPENING: Final = 3

BINDING_BYTES: Final = 16
STREAM_WINDOW_BYTES: Final = 65_536
"""Most bytes of a stream that are said and not acknowledged."""
SIZE_BYTES: Final = 4
GAPS_MAX: Final = 64
"""Of a stream that is received; a piece that would make more is as good as lost."""
FIRST_WAIT_MS: Final = 250.0
"""For an acknowledgement, before a round trip was measured."""
PATIENCE_MS: Final = 50.0
"""On top of a round trip, at least: an acknowledgement waits for the datagram that it travels in."""
WAIT_MS_MAX: Final = 1000.0
"""That waiting grows to when nothing is acknowledged."""
BURST_MAX: Final = 64


def binding(session: int, number: int, address: str) -> bytes:
    """What ties the datagrams of a token to its session and address: 16 bytes of additional data."""
    text = b"isthmus datagrams 1\0" + session.to_bytes(8, "little") + number.to_bytes(4, "little") + address.encode()
    return sha256(text).digest()[:BINDING_BYTES]


def nonce(sequence: int) -> bytes:
    """Of 12 bytes; one for each sequence."""
    return bytes(4) + sequence.to_bytes(8, "little")


def seal(key: ChaCha20Poly1305, number: int, sequence: int, bind: bytes, plain: bytes) -> bytes:
    """A datagram. Raises ValueError when the sequence is none (1 to 2⁶⁴ − 1: the connection must end before) or the
    plaintext too long."""
    if not 1 <= sequence <= U64_MAX:
        raise ValueError(f"no number is left for another datagram (asked for {sequence}): end the connection")
    if len(plain) > PLAIN_BYTES_MAX:
        raise ValueError(f"{len(plain)} bytes do not fit into a datagram, at most {PLAIN_BYTES_MAX} do")
    head = bytes([VERSION]) + number.to_bytes(4, "little") + sequence.to_bytes(8, "little")
    return head + key.encrypt(nonce(sequence), plain, head + bind)


def number_of(datagram: bytes) -> int | None:
    """The number that a datagram names, by which its receiver finds the key; None if it cannot be one of ours."""
    if not HEADER_BYTES + TAG_BYTES + RECEIVED_BYTES <= len(datagram) <= DATAGRAM_BYTES_MAX:
        return None
    return int.from_bytes(datagram[1:5], "little") if datagram[0] == VERSION else None


def open_sealed(key: ChaCha20Poly1305, number: int, bind: bytes, datagram: bytes) -> tuple[int, bytes] | None:
    """(sequence, plaintext), or None for whatever is not an authentic datagram of this number. Ask ``ReplayWindow``
    then, and not before: a forged sequence must not move it."""
    if number_of(datagram) != number:
        return None
    head = datagram[:HEADER_BYTES]
    sequence = int.from_bytes(head[5:], "little")
    try:
        plain = key.decrypt(nonce(sequence), datagram[HEADER_BYTES:], head + bind)
    except InvalidTag:
        return None
    return sequence, plain


class ReplayWindow:
    """Which sequences were had: those above the newest are new, those far below it count as had."""

    __slots__ = ("_had", "newest")

    def __init__(self) -> None:
        self.newest = 0
        """0: none yet."""
        self._had = 0
        """Bit i: ``newest`` − i was had."""

    def admit(self, sequence: int) -> bool:
        """Whether a sequence that was decrypted is had for the first time; notes it."""
        if sequence > self.newest:
            ahead = sequence - self.newest
            # A sequence may leap by 2⁶⁴: shifting by that would ask for more memory than there is.
            kept = self._had << ahead if ahead < REPLAY_WINDOW else 0
            self._had = (kept | 1) & ((1 << REPLAY_WINDOW) - 1)
            self.newest = sequence
            return True
        behind = self.newest - sequence
        if sequence < 1 or behind >= REPLAY_WINDOW or self._had >> behind & 1:
            return False
        self._had |= 1 << behind
        return True


def plaintext(received: int, parts: Iterable[tuple[int, bytes]]) -> bytes:
    """Joins what :func:`parts` takes apart; ``received`` is taken modulo 2³²."""
    out = [(received & U32_MAX).to_bytes(4, "little")]
    for kind, data in parts:
        out += bytes([kind]) + len(data).to_bytes(2, "little"), data
    return b"".join(out)


def parts(plain: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """(received, [(kind, bytes), …]) of a plaintext; kinds that are unknown are left out. Raises ProtocolViolation."""
    if len(plain) < RECEIVED_BYTES:
        raise ProtocolViolation("malformed", f"a datagram of {len(plain)} bytes says nothing")
    at, out = RECEIVED_BYTES, []
    while at < len(plain):
        end = at + PART_HEAD_BYTES + int.from_bytes(plain[at + 1 : at + PART_HEAD_BYTES], "little")
        if at + PART_HEAD_BYTES > len(plain) or end > len(plain):
            raise ProtocolViolation("malformed", "a part does not end within its datagram")
        kind = plain[at]
        if kind == KIND_STREAM and end - at < PART_HEAD_BYTES + OFFSET_BYTES:
            raise ProtocolViolation("malformed", "a stream part lacks its offset")
        if KIND_STREAM <= kind <= KIND_OPENING:
            out.append((kind, plain[at + PART_HEAD_BYTES : end]))
        at = end
    return int.from_bytes(plain[:RECEIVED_BYTES], "little"), out


def stream_part(offset: int, data: bytes) -> tuple[int, bytes]:
    """A part of kind ``KIND_STREAM`` for :func:`plaintext`."""
    return KIND_STREAM, (offset & U32_MAX).to_bytes(OFFSET_BYTES, "little") + data


def stream_bytes(part: bytes) -> tuple[int, bytes]:
    """(offset, bytes) of a part of kind ``KIND_STREAM``."""
    return int.from_bytes(part[:OFFSET_BYTES], "little"), part[OFFSET_BYTES:]


@dataclass(slots=True)
class _Piece:
    offset: int
    size: int
    sent_ms: float
    again: bool = False
    """Sent more than once: its acknowledgement says nothing about the round trip (Karn and Partridge, 1987)."""


class StreamOut:
    """What one end says reliably. Told the time in milliseconds; asked for bytes whenever a datagram has room.

    What is not acknowledged in time is said again from the first gap on: one piece, and twice as many with each further
    gap of the same flight, because ``received`` names one gap at a time. Waiting times are those of RFC 6298.
    ``begin``: the first offset, 0 but in tests of offsets that pass 2³².
    """

    def __init__(self, message_bytes_max: int = STREAM_MESSAGE_BYTES_MAX, begin: int = 0) -> None:
        self._message_bytes_max = message_bytes_max
        self._bytes = bytearray()
        """From ``_acked`` on."""
        self._acked = begin
        self._sent = begin
        self._pieces: list[_Piece] = []
        """Said and not acknowledged, by offset."""
        self._rtt_ms: float | None = None
        self._spread_ms = 0.0
        self._slower = 1.0
        self._burst = 1
        self._left = 0
        """Pieces that may be said again now."""
        self._recover = begin

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are not acknowledged, or not even said."""
        return len(self._bytes)

    @property
    def _wait_ms(self) -> float:
        if self._rtt_ms is None:
            return min(FIRST_WAIT_MS * self._slower, WAIT_MS_MAX)
        wait_ms = self._rtt_ms + max(PATIENCE_MS, 4.0 * self._spread_ms)
        return max(wait_ms, min(wait_ms * self._slower, WAIT_MS_MAX))

    @property
    def next_ms(self) -> float:
        """When :meth:`take` has something at the latest, if nothing is acknowledged until then; infinity for never."""
        said = self._sent - self._acked
        if said < min(len(self._bytes), STREAM_WINDOW_BYTES):
            return 0.0
        return self._pieces[0].sent_ms + self._wait_ms if self._pieces else float("inf")

    def push(self, message: bytes) -> None:
        """One more message. Raises ValueError if it is larger than the standard allows."""
        if len(message) > self._message_bytes_max:
            raise ValueError(f"a message of {len(message)} bytes, at most {self._message_bytes_max} are allowed")
        self._bytes += len(message).to_bytes(SIZE_BYTES, "little") + message

    def take(self, now_ms: float, room: int) -> tuple[int, bytes] | None:
        """(offset, at most ``room`` bytes) to be put into a datagram now, or None."""
        if room <= 0:
            return None
        late = self._late(now_ms)
        if late is not None:
            if room < late.size:
                rest = _Piece(late.offset + room, late.size - room, late.sent_ms, late.again)
                self._pieces.insert(self._pieces.index(late) + 1, rest)
                late.size = room
            late.sent_ms, late.again = now_ms, True
            return late.offset, self._between(late.offset, late.size)
        said = self._sent - self._acked
        size = min(room, min(len(self._bytes), STREAM_WINDOW_BYTES) - said)
        if size <= 0:
            return None
        piece = _Piece(self._sent, size, now_ms)
        self._pieces.append(piece)
        self._sent += size
        return piece.offset, self._between(piece.offset, size)

    def _between(self, offset: int, size: int) -> bytes:
        first = offset - self._acked
        return bytes(self._bytes[first : first + size])

    def _late(self, now_ms: float) -> _Piece | None:
        """The next piece to be said again, if its time has come."""
        if self._pieces and now_ms >= self._pieces[0].sent_ms + self._wait_ms:
            self._left, self._recover = self._burst, self._sent
            self._burst = min(2 * self._burst, BURST_MAX)
            wait_ms, self._slower = self._wait_ms, 2.0 * self._slower
        elif self._left:
            wait_ms = self._rtt_ms or FIRST_WAIT_MS
        else:
            return None
        for piece in self._pieces if self._left else ():
            if now_ms >= piece.sent_ms + wait_ms:
                self._left -= 1
                return piece
        self._left = 0
        return None

    def acknowledged(self, received: int, now_ms: float) -> None:
        """The other end has all before ``received`` (u32). Raises ProtocolViolation if that was never said."""
        gained = (received - self._acked) & U32_MAX
        if gained > U32_MAX // 2:
            return  # an older datagram came late
        if gained > self._sent - self._acked:
            raise ProtocolViolation("stream_acknowledged", "a stream is acknowledged beyond what was said in it")
        if not gained:
            return
        self._acked += gained
        del self._bytes[:gained]
        covered = [piece for piece in self._pieces if piece.offset + piece.size <= self._acked]
        del self._pieces[: len(covered)]
        if covered and not any(piece.again for piece in covered):
            # What came behind a gap was acknowledged late: such flights are not measured either.
            self._measured(now_ms - covered[-1].sent_ms)
        if self._pieces and self._pieces[0].offset < self._acked:
            front = self._pieces[0]
            front.size -= self._acked - front.offset
            front.offset = self._acked
        if self._acked >= self._recover:
            self._burst, self._left = 1, 0
        elif self._pieces:
            # The next gap of a flight that had one: another round trip of waiting would tell nothing new.
            self._left, self._burst = self._burst, min(2 * self._burst, BURST_MAX)

    def _measured(self, rtt_ms: float) -> None:
        if self._rtt_ms is None:
            self._rtt_ms, self._spread_ms = rtt_ms, rtt_ms / 2.0
        else:
            self._spread_ms += (abs(self._rtt_ms - rtt_ms) - self._spread_ms) / 4.0
            self._rtt_ms += (rtt_ms - self._rtt_ms) / 8.0
        self._slower = 1.0


class StreamIn:
    """What the other end says reliably, put together again; pieces may come in any order, and more than once.

    Invariant: it holds at most the window and one message, in at most ``GAPS_MAX`` + 1 pieces. ``begin``: as that of
    :class:`StreamOut`.
    """

    def __init__(self, message_bytes_max: int, begin: int = 0) -> None:
        self._message_bytes_max = message_bytes_max
        self._bytes = bytearray()
        """From ``_begin`` on, with zeros where nothing has come."""
        self._begin = begin
        self._ahead: list[tuple[int, int]] = []
        """[first, end) of what came behind a gap, in order, none touching another."""
        self.received = begin
        """Bytes that have come without a gap."""

    def take(self, offset: int, data: bytes) -> list[bytes]:
        """A piece from ``offset`` (u32) on; returns the messages that are whole now. Raises ProtocolViolation for what
        is beyond the window, and for a message that is too large."""
        behind = (self.received - offset) & U32_MAX
        first = self.received - behind if behind <= U32_MAX // 2 else self.received + (U32_MAX + 1 - behind)
        end = first + len(data)
        if end > self.received + STREAM_WINDOW_BYTES:
            raise ProtocolViolation("stream_window", "a stream goes on beyond what may be unacknowledged")
        start = max(first, self.received)
        if start >= end or not self._note(start, end):
            return []
        at = start - self._begin
        missing = at + end - start - len(self._bytes)
        if missing > 0:
            self._bytes += bytes(missing)
        self._bytes[at : at + end - start] = data[start - first :]
        return self._whole()

    def _note(self, start: int, end: int) -> bool:
        """Whether there is room for one more piece; ``received`` moves if it closes the first gap."""
        touching = [piece for piece in self._ahead if piece[0] <= end and start <= piece[1]]
        ahead = [piece for piece in self._ahead if piece not in touching]
        for piece in touching:
            start, end = min(start, piece[0]), max(end, piece[1])
        if start == self.received:
            self.received = end
        elif len(ahead) >= GAPS_MAX:
            return False
        else:
            ahead.append((start, end))
            ahead.sort()
        self._ahead = ahead
        return True

    def _whole(self) -> list[bytes]:
        out, at, known = [], 0, self.received - self._begin
        while known - at >= SIZE_BYTES:
            size = int.from_bytes(self._bytes[at : at + SIZE_BYTES], "little")
            if size > self._message_bytes_max:
                text = f"a message of {size} bytes in a stream, at most {self._message_bytes_max} are allowed"
                raise ProtocolViolation("oversized", text, Close.TOO_LARGE)
            if known - at < SIZE_BYTES + size:
                break
            out.append(bytes(self._bytes[at + SIZE_BYTES : at + SIZE_BYTES + size]))
            at += SIZE_BYTES + size
        del self._bytes[:at]
        self._begin += at
        return out


assert PLAIN_BYTES_MAX == 1171
