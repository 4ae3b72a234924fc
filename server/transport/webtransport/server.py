"""The UDP socket of WebTransport: packets in and out, and which connections may begin.

Decides that. Invariants: who has not shown that it receives at its address (RFC 9000 §8.1.2, Retry) costs no state and
gets less than it sent; handshakes are bounded for each address and in all. Not responsible for: QUIC (aioquic), what a
connection may do (``sessions``).
"""

import asyncio
import socket
from collections import OrderedDict
from typing import Any, cast

import structlog
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnection

from kernels.hotmessages import I64
from server.session.buckets import TokenBucket
from server.transport.mmsg import C_BLOCKED, C_BYTES, C_CALLS, C_FAILED
from server.transport.webtransport.sessions import Host, WebTransportSession

_log = structlog.get_logger(__name__)
_PACKET_BYTES = 2048
_LONG_HEADER = 0x80
_CID_AT = 6


class UdpSocket(asyncio.DatagramTransport):
    """What aioquic sends through. A full socket loses packets, as the network does: nothing is kept. ``received``,
    ``sent``: int64[CALL_COUNTS], counted up."""

    def __init__(self, sock: socket.socket, received: I64, sent: I64) -> None:
        super().__init__()
        self.sock, self.received, self.sent = sock, received, sent

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.sent[C_CALLS] += 1
        try:
            self.sent[C_BYTES] += self.sock.sendto(data, addr)
        except BlockingIOError:
            self.sent[C_BLOCKED] += 1
        except OSError:
            self.sent[C_FAILED] += 1

    def close(self) -> None:
        self.sock.close()


class WebTransportServer(QuicServer):
    """Connections on ``wire`` for ``host``, until ``close``, in one event loop."""

    def __init__(self, wire: UdpSocket, configuration: QuicConfiguration, host: Host) -> None:
        """Must be called in a running loop."""
        super().__init__(configuration=configuration, create_protocol=self._begin, retry=True)
        self.wire = wire
        self.connection_made(wire)
        self._host = host
        self._unproven: OrderedDict[WebTransportSession, None] = OrderedDict()
        """By age."""
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        """By when their address was seen last."""
        self._loop.add_reader(wire.sock.fileno(), self._on_readable)

    def close(self) -> None:
        """Close all connections, and the socket. Idempotent."""
        if self.wire.sock.fileno() >= 0:
            self._loop.remove_reader(self.wire.sock.fileno())
            super().close()

    def is_known(self, session: WebTransportSession) -> None:
        """It has shown its token, or is over."""
        self._unproven.pop(session, None)

    def sweep(self) -> None:
        """End connections that have not shown a token in time."""
        deadline_s = self._loop.time() - self._host.config.proof_s
        while self._unproven:
            session = next(iter(self._unproven))
            if session.began_s > deadline_s:
                break
            self.is_known(session)
            self._host.refused("no_token")
            session.end("no token was shown in time")

    def _on_readable(self) -> None:
        received = self.wire.received
        for _ in range(self._host.config.arrivals_max):
            received[C_CALLS] += 1
            try:
                data, address = self.wire.sock.recvfrom(_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                received[C_FAILED] += 1
                continue
            received[C_BYTES] += len(data)
            self.datagram_received(data, address)

    def datagram_received(self, data: bytes | str, addr: NetworkAddress) -> None:
        """A packet came, of anybody."""
        data = cast(bytes, data)
        refusal = self._refusal(data, addr)
        if refusal is not None:
            self._host.refused(refusal)
            return
        try:
            super().datagram_received(data, addr)
        except Exception:
            self._host.refused("stumbled")
            _log.warning("webtransport_stumbled", remote=addr[0], exc_info=True)

    def _refusal(self, data: bytes, addr: NetworkAddress) -> str | None:
        """Why a packet is not looked at; None if it is."""
        if not data or not data[0] & _LONG_HEADER:
            return None
        size = data[_CID_AT - 1] if len(data) >= _CID_AT else 0
        if data[_CID_AT : _CID_AT + size] in self._protocols:
            return None
        if len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            return "short_packet"
        if len(self._unproven) >= self._host.config.handshakes_max:
            return "handshakes"
        return None if self._bucket(str(addr[0])).take(self._loop.time()) else "handshakes_of_address"

    def _bucket(self, address: str) -> TokenBucket:
        config = self._host.config
        found = self._buckets.pop(address, None)
        if found is None:
            # A handshake has two first packets: one without, one with the token of a Retry.
            per_s, burst = 2 * config.handshakes_per_s, 2.0 * config.handshake_burst
            found = TokenBucket(per_s, burst, self._loop.time())
            if len(self._buckets) >= config.addresses_max:
                self._buckets.popitem(last=False)
        self._buckets[address] = found
        return found

    def _begin(self, quic: QuicConnection, **_: object) -> WebTransportSession:
        session = WebTransportSession(quic, self._host, self._loop.time)
        self._unproven[session] = None
        return session
