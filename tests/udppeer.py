"""The other end of a datagram connection for tests, made of ``protocol.datagrams`` alone: nothing of the gateway's
code."""

import select
import socket
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.datagrams import (
    KIND_MESSAGE,
    KIND_STREAM,
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

PATIENCE_S = 10.0
STREAM_ROOM = 1000


@dataclass
class UdpPeer:
    """A client with a token, on a socket of its own. ``messages``: what came for itself; ``stream``: what came
    reliably."""

    token: Token
    session: int
    server: tuple[str, int]
    sock: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sequence: int = 0
    messages: list[bytes] = field(default_factory=list)
    stream: list[bytes] = field(default_factory=list)
    datagrams: int = 0
    now_ms: float = 0.0

    def __post_init__(self) -> None:
        assert self.token.address is not None
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.bind = binding(self.session, self.token.number, self.token.address)
        self.up, self.down = ChaCha20Poly1305(self.token.key_up), ChaCha20Poly1305(self.token.key_down)
        self.out, self.into = StreamOut(), StreamIn(SERVER_MESSAGE_BYTES_MAX)

    def sealed(self, *sent: tuple[int, bytes], sequence: int | None = None, plain: bytes | None = None) -> bytes:
        """A datagram with these parts; numbered by itself unless ``sequence`` is given."""
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        else:
            self.sequence = max(self.sequence, sequence)
        said = plaintext(self.into.received, sent) if plain is None else plain
        return seal(self.up, self.token.number, sequence, self.bind, said)

    def send(self, *sent: tuple[int, bytes], sequence: int | None = None) -> bytes:
        """Send these parts, and what of the stream is due; returns the datagram."""
        piece = self.out.take(self.now_ms, STREAM_ROOM)
        own = [] if piece is None else [stream_part(*piece)]
        datagram = self.sealed(*own, *sent, sequence=sequence)
        self.raw(datagram)
        return datagram

    def say(self, message: bytes, sequence: int | None = None) -> bytes:
        """Send a message that may be lost."""
        return self.send((KIND_MESSAGE, message), sequence=sequence)

    def raw(self, datagram: bytes, sock: socket.socket | None = None) -> None:
        (sock or self.sock).sendto(datagram, self.server)

    def receive(self) -> list[bytes]:
        """The datagrams that have come to the socket and are not opened yet."""
        came = []
        while True:
            try:
                came.append(self.sock.recv(2048))
            except BlockingIOError:
                return came

    def take(self) -> int:
        """Open everything that has come to the socket; returns how many datagrams."""
        came = self.receive()
        for datagram in came:
            self.open(datagram)
        return len(came)

    def open(self, datagram: bytes) -> None:
        self.datagrams += 1
        assert len(datagram) <= 1200
        opened = open_sealed(self.down, self.token.number, self.bind, datagram)
        assert opened is not None, "the server sealed something that its key does not open"
        received, said = parts(opened[1])
        self.out.acknowledged(received, self.now_ms)
        for kind, data in said:
            if kind == KIND_STREAM:
                self.stream += self.into.take(*stream_bytes(data))
            elif kind == KIND_MESSAGE:
                self.messages.append(data)

    def wait(self) -> int:
        """Like ``take``, after something has come. Fails if nothing does."""
        assert select.select([self.sock], [], [], PATIENCE_S)[0], "nothing came from the server"
        return self.take()

    def hears_nothing(self) -> bool:
        """Whether nothing has come: what a server on loopback has sent is there as soon as its call returns."""
        return not select.select([self.sock], [], [], 0)[0]

    def close(self) -> None:
        self.sock.close()
