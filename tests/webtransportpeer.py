"""The other end of WebTransport for tests: aioquic's client, a token, and what ``protocol.datagrams`` says of the
plaintext inside. Nothing of the gateway's code."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DatagramReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from protocol.datagrams import (
    KIND_MESSAGE,
    KIND_STREAM,
    PLAIN_BYTES_MAX,
    StreamIn,
    StreamOut,
    parts,
    plaintext,
    stream_bytes,
    stream_part,
)
from protocol.limits import SERVER_MESSAGE_BYTES_MAX
from protocol.messages import Token

STREAM_ROOM = 1000
PATIENCE_S = 10.0


class Wire(QuicConnectionProtocol):
    """The connection: ``status`` of the request, ``datagrams`` that came, ``ended`` by whom and why."""

    def __init__(self, quic: QuicConnection, **_: object) -> None:
        super().__init__(quic)
        self.http: H3Connection | None = None
        self.request: int | None = None
        self.statuses: dict[int, bytes] = {}
        self.datagrams: list[bytes] = []
        self.ended: ConnectionTerminated | None = None
        self.woke = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic, enable_webtransport=True)
        elif isinstance(event, ConnectionTerminated):
            self.ended = event
        if self.http is not None:
            for heard in self.http.handle_event(event):
                if isinstance(heard, HeadersReceived):
                    self.statuses[heard.stream_id] = dict(heard.headers)[b":status"]
                elif isinstance(heard, DatagramReceived):
                    self.datagrams.append(heard.data)
        self.woke.set()

    async def until(self, condition: "object") -> None:
        assert callable(condition)
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.woke.clear()
                await self.woke.wait()

    def ask(self, path: str, authority: str, method: bytes = b"CONNECT") -> int:
        """A request for a session; returns its stream."""
        assert self.http is not None
        stream = self._quic.get_next_available_stream_id()
        headers = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", authority.encode()),
            (b":path", path.encode()),
            (b":protocol", b"webtransport"),
        ]
        self.http.send_headers(stream, headers)
        self.transmit()
        return stream

    def show(self, proof: bytes) -> None:
        """A token, on a stream of the session."""
        assert self.http is not None
        assert self.request is not None
        stream = self.http.create_webtransport_stream(self.request, is_unidirectional=True)
        self._quic.send_stream_data(stream, proof, end_stream=True)
        self.transmit()

    def say(self, datagram: bytes) -> None:
        assert self.http is not None
        assert self.request is not None
        self.http.send_datagram(self.request, datagram)
        self.transmit()

    @property
    def certificate_sha256(self) -> bytes:
        certificate = self._quic.tls._peer_certificate
        assert isinstance(certificate, x509.Certificate)
        return sha256(certificate.public_bytes(Encoding.DER)).digest()


@dataclass
class WebTransportPeer:
    """A client whose token was shown: what ``tests.udppeer.UdpPeer`` is over UDP."""

    wire: Wire
    now_ms: float = 0.0
    messages: list[bytes] = field(default_factory=list)
    stream: list[bytes] = field(default_factory=list)
    datagrams: int = 0
    out: StreamOut = field(default_factory=StreamOut)
    into: StreamIn = field(default_factory=lambda: StreamIn(SERVER_MESSAGE_BYTES_MAX))

    def send(self, *sent: tuple[int, bytes]) -> None:
        """Send these parts, and what of the stream is due."""
        piece = self.out.take(self.now_ms, STREAM_ROOM)
        own = [] if piece is None else [stream_part(*piece)]
        self.wire.say(plaintext(self.into.received, [*own, *sent]))

    def receive(self) -> list[bytes]:
        """The datagrams that have come and are not opened yet."""
        came, self.wire.datagrams = self.wire.datagrams, []
        return came

    def open(self, datagram: bytes) -> None:
        self.datagrams += 1
        assert len(datagram) <= PLAIN_BYTES_MAX
        received, said = parts(datagram)
        self.out.acknowledged(received, self.now_ms)
        for kind, data in said:
            if kind == KIND_STREAM:
                self.stream += self.into.take(*stream_bytes(data))
            elif kind == KIND_MESSAGE:
                self.messages.append(data)


@asynccontextmanager
async def dialled(url: str, authority: bytes | None = None) -> AsyncIterator[Wire]:
    """A QUIC connection to the place of ``url``, without a request; ``authority``: PEM of whom to believe, None for
    anybody."""
    parts_of = urlsplit(url)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, max_datagram_frame_size=65536)
    configuration.max_datagram_size = 1252
    if authority is None:
        configuration.verify_mode = ssl.CERT_NONE
    else:
        configuration.load_verify_locations(cadata=authority)
    assert parts_of.hostname is not None
    assert parts_of.port is not None
    async with connect(parts_of.hostname, parts_of.port, configuration=configuration, create_protocol=Wire) as wire:
        assert isinstance(wire, Wire)
        await wire.until(lambda: wire.http is not None)
        yield wire


@asynccontextmanager
async def opened(token: Token, authority: bytes | None = None) -> AsyncIterator[Wire]:
    """A session at the token's address, which has not shown it."""
    assert token.address is not None
    async with dialled(token.address, authority) as wire:
        place = urlsplit(token.address)
        wire.request = wire.ask(place.path, place.netloc)
        await wire.until(lambda: wire.request in wire.statuses)
        assert wire.statuses[wire.request] == b"200"
        yield wire


def proof_of(token: Token) -> bytes:
    """What is shown."""
    return token.number.to_bytes(4, "little") + token.key_up
