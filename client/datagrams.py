"""One link over datagrams without I/O: messages in, sealed datagrams out, and back (STANDARD.md §9.2, §9.3).

Theory of operation. What may be lost goes into the next datagram and is forgotten; everything else goes through the
reliable stream. Each datagram says how much of the other's stream has come; when stream bytes came and there is nothing
to say, an empty one says that soon. Invariants: one object for one token, so that no sequence is used twice under a
key; a datagram that is not authentic, or was had, changes nothing. Importing this module loads `cryptography`, so only
a link that is opened does. Not responsible for: sockets, when a link is given up (``client.core``), what is said.
"""

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.datagrams import (
    KIND_MESSAGE,
    KIND_STREAM,
    OFFSET_BYTES,
    PART_HEAD_BYTES,
    PLAIN_BYTES_MAX,
    RECEIVED_BYTES,
    ReplayWindow,
    StreamIn,
    StreamOut,
    binding,
    open_sealed,
    parts,
    plaintext,
    seal,
    stream_bytes,
    stream_part,
)
from protocol.limits import SERVER_MESSAGE_BYTES_MAX
from protocol.messages import Token

ACKNOWLEDGE_MS = 20.0
"""How long stream bytes wait for a datagram that acknowledges them by the way."""


class DatagramLink:
    """A token's link, for the session that it was given to. Raises ValueError for a token without an address."""

    def __init__(self, token: Token, session: int) -> None:
        if token.address is None:
            raise ValueError(f"the token names no address: {token.text}")
        self._number = token.number
        self._bind = binding(session, token.number, token.address)
        self._key_up = ChaCha20Poly1305(token.key_up)
        self._key_down = ChaCha20Poly1305(token.key_down)
        self._sequence = 0
        self._window = ReplayWindow()
        self._out = StreamOut()
        self._in = StreamIn(SERVER_MESSAGE_BYTES_MAX)
        self._messages: list[bytes] = []
        self._acknowledge_at_ms = float("inf")

    @property
    def settled(self) -> bool:
        """All that was said reliably has come."""
        return not self._out.waiting_bytes

    @property
    def next_ms(self) -> float:
        """When :meth:`take` has something at the latest; infinity for never."""
        return 0.0 if self._messages else min(self._out.next_ms, self._acknowledge_at_ms)

    def say(self, message: bytes, may_be_lost: bool) -> None:
        """One message for the server. Raises ValueError for one that may be lost and does not fit into a datagram."""
        if not may_be_lost:
            self._out.push(message)
        elif len(message) > PLAIN_BYTES_MAX - RECEIVED_BYTES - PART_HEAD_BYTES:
            raise ValueError(f"a message of {len(message)} bytes does not fit into a datagram")
        else:
            self._messages.append(message)

    def take(self, now_ms: float) -> list[bytes]:
        """The datagrams to be sent now."""
        out = []
        while said := self._parts(now_ms):
            out.append(self._seal(said))
        if not out and now_ms >= self._acknowledge_at_ms:
            out.append(self._seal([]))
        return out

    def _parts(self, now_ms: float) -> list[tuple[int, bytes]]:
        said, room = [], PLAIN_BYTES_MAX - RECEIVED_BYTES
        while self._messages and len(self._messages[0]) + PART_HEAD_BYTES <= room:
            message = self._messages.pop(0)
            said.append((KIND_MESSAGE, message))
            room -= len(message) + PART_HEAD_BYTES
        piece = self._out.take(now_ms, room - PART_HEAD_BYTES - OFFSET_BYTES)
        # Ahead of what may be lost: it came first.
        return said if piece is None else [stream_part(*piece), *said]

    def _seal(self, said: list[tuple[int, bytes]]) -> bytes:
        self._sequence += 1
        self._acknowledge_at_ms = float("inf")
        plain = plaintext(self._in.received, said)
        return seal(self._key_up, self._number, self._sequence, self._bind, plain)

    def receive(self, datagram: bytes, now_ms: float) -> list[bytes] | None:
        """The messages that came with a datagram; None for one that counts for nothing. Raises ProtocolViolation: the
        server itself broke the standard."""
        opened = open_sealed(self._key_down, self._number, self._bind, datagram)
        if opened is None or not self._window.admit(opened[0]):
            return None
        received, said = parts(opened[1])
        self._out.acknowledged(received, now_ms)
        messages = []
        for kind, part in said:
            if kind == KIND_MESSAGE:
                messages.append(part)
            elif kind == KIND_STREAM:
                self._acknowledge_at_ms = min(self._acknowledge_at_ms, now_ms + ACKNOWLEDGE_MS)
                messages += self._in.take(*stream_bytes(part))
        return messages
