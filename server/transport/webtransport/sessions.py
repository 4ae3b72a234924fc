"""One QUIC connection with one WebTransport session on it: request, token, datagrams.

Decides what a client may do on it. Invariants: until the token is shown nothing of its datagrams is passed on, and
nothing is sent to it in datagrams; any bytes end in messages, in a count or in the end of this connection alone. Not
responsible for: which connections may begin (``server``), whether a token is good, what is in a datagram (``way``).
"""

from collections.abc import Callable
from typing import Protocol

import structlog
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.connection import NetworkAddress, QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent, StreamDataReceived

from protocol.datagrams import PLAIN_BYTES_MAX
from server.transport.webtransport.config import PATH, WebTransportConfig

_log = structlog.get_logger(__name__)
PROOF_BYTES = 36
"""``number u32`` and the secret of a token."""
FRAME_BYTES = PLAIN_BYTES_MAX + 8
"""Of the largest datagram, with the number of its stream."""
DRAFT = (b"sec-webtransport-http3-draft", b"draft02")
"""What Chromium asks for, and wants to see in the answer."""
NO_SLOT = -1


class Host(Protocol):
    """Whose sessions these are."""

    config: WebTransportConfig

    def proven(self, session: "WebTransportSession", number: int, secret: bytes) -> int:
        """The slot of a token that is shown, or NO_SLOT if it is none."""
        ...

    def arrived(self, slot: int, datagram: bytes) -> None:
        """A datagram of who has ``slot``."""
        ...

    def refused(self, reason: str) -> None:
        """Something was not taken."""
        ...

    def over(self, session: "WebTransportSession") -> None:
        """The connection has ended, by either side."""
        ...


class WebTransportSession(QuicConnectionProtocol):
    """Of ``host``. ``slot``: what it proved to have; NO_SLOT until then."""

    def __init__(self, quic: QuicConnection, host: Host, now_s: Callable[[], float]) -> None:
        super().__init__(quic)
        self.slot = NO_SLOT
        self.began_s = now_s()
        self._host = host
        self._http: H3Connection | None = None
        self._stream: int | None = None
        """Of the request: what datagrams name."""
        self._proof: bytearray = bytearray()
        self._heard_bytes = 0
        self._ending = False

    @property
    def remote(self) -> str:
        """The client's address, without the port, as of its newest path."""
        address = self._quic.get_peer_address()
        return "" if address is None else str(address[0]).removeprefix("::ffff:")

    # -------------------------------------------------------------------------------------------------------- sending
    def say(self, datagram: bytes) -> bool:
        """Hand a datagram to QUIC; False if too many wait already. Call ``transmit`` after some."""
        if self._ending or self._http is None or self._stream is None:
            return False
        # aioquic has no public figure for this, and would hold any number.
        if len(self._quic._datagrams_pending) >= self._host.config.waiting_max:
            return False
        self._http.send_datagram(self._stream, datagram)
        return True

    def end(self, why: str, code: int = ErrorCode.H3_NO_ERROR) -> None:
        """Close the connection. Idempotent."""
        if not self._ending:
            self._ending = True
            self.close(code, why)

    # ------------------------------------------------------------------------------------------------------ receiving
    def datagram_received(self, data: bytes | str, addr: NetworkAddress) -> None:
        """A packet came. What it makes aioquic stumble over ends this connection, and is told in the log."""
        try:
            super().datagram_received(data, addr)
        except Exception:
            self._host.refused("stumbled")
            _log.warning("webtransport_stumbled", remote=self.remote, exc_info=True)
            self.end("this server could not go on", ErrorCode.H3_INTERNAL_ERROR)

    def quic_event_received(self, event: QuicEvent) -> None:
        """Of aioquic."""
        if isinstance(event, ConnectionTerminated):
            self._ending = True
            self._host.over(self)
            return
        if self._ending:
            return
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic, enable_webtransport=True)
        elif isinstance(event, StreamDataReceived):
            self._heard_bytes += len(event.data)
            if self._heard_bytes > self._host.config.stream_bytes_max:
                self._refuse("too_many_bytes", "streams carry a request and a token here", ErrorCode.H3_EXCESSIVE_LOAD)
                return
        if self._http is not None:
            for heard in self._http.handle_event(event):
                self._heard(heard)

    def _heard(self, event: H3Event) -> None:
        if self._ending:
            return
        if isinstance(event, DatagramReceived):
            if event.stream_id != self._stream or self.slot == NO_SLOT:
                self._host.refused("unproven")
            else:
                self._host.arrived(self.slot, event.data)
        elif isinstance(event, HeadersReceived):
            self._asked(event)
        elif isinstance(event, WebTransportStreamDataReceived):
            if self.slot == NO_SLOT and event.session_id == self._stream:
                self._shown(event.data)
        elif isinstance(event, DataReceived) and event.stream_id == self._stream and event.stream_ended:
            self.end("bye")

    def _asked(self, event: HeadersReceived) -> None:
        assert self._http is not None
        said = dict(event.headers)
        is_session = said.get(b":method") == b"CONNECT" and said.get(b":protocol") == b"webtransport"
        if event.stream_ended and event.stream_id == self._stream:
            self.end("bye")
        elif not is_session or said.get(b":path") != PATH.encode() or self._stream is not None:
            self._host.refused("request")
            self._http.send_headers(event.stream_id, [(b":status", b"404")], end_stream=True)
        else:
            self._stream = event.stream_id
            self._http.send_headers(event.stream_id, [(b":status", b"200"), DRAFT])

    def _shown(self, data: bytes) -> None:
        """A piece of the token."""
        self._proof += data
        if len(self._proof) < PROOF_BYTES:
            return
        number, secret = int.from_bytes(self._proof[:4], "little"), bytes(self._proof[4:PROOF_BYTES])
        self._proof.clear()
        frame_bytes = self._quic._remote_max_datagram_frame_size or 0
        if frame_bytes < FRAME_BYTES:
            self._refuse("small_datagrams", f"datagrams of {FRAME_BYTES} bytes are needed, not {frame_bytes}")
            return
        self.slot = self._host.proven(self, number, secret)
        if self.slot == NO_SLOT:
            self._refuse("wrong_token", "this token is not, or no more, good here", ErrorCode.H3_REQUEST_REJECTED)

    def _refuse(self, reason: str, why: str, code: int = ErrorCode.H3_NO_ERROR) -> None:
        self._host.refused(reason)
        _log.info("webtransport_refused", remote=self.remote, reason=reason)
        self.end(why, code)
