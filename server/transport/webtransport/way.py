"""WebTransport as a ``Way`` of datagrams: QUIC encrypts, a token that is shown once says whose they are (STANDARD.md
§9.5).

Decides which token is good. Invariants: a token is shown once, by whoever came first; a slot that was let go gets
nothing of who had it; datagrams are plaintexts of §9.3, numbered here as they come, since QUIC takes each packet once.
Not responsible for: when a connection is over, what is in a datagram (``datagrams.transport``).
"""

import logging
from collections import Counter
from hmac import compare_digest
from struct import pack_into

import numpy as np
import structlog
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration

from kernels.hotmessages import I64
from kernels.peers import Drop
from protocol.datagrams import PLAIN_BYTES_MAX, RECEIVED_BYTES
from protocol.messages import Token
from server.transport.datagrams.sockets import address_text, open_socket
from server.transport.datagrams.tokens import Given
from server.transport.datagrams.way import Table
from server.transport.mmsg import C_BLOCKED, C_DATAGRAMS, C_FAILED, CALL_COUNTS
from server.transport.webtransport.certificates import Certificates
from server.transport.webtransport.config import PACKET_BYTES_MAX, PATH, WebTransportConfig
from server.transport.webtransport.server import UdpSocket, WebTransportServer
from server.transport.webtransport.sessions import NO_SLOT, WebTransportSession

_log = structlog.get_logger(__name__)
_SEQUENCE_AT = 5


class WebTransportWay:
    """A ``Way`` and the ``Host`` of its sessions. Raises OSError if the socket cannot be bound."""

    def __init__(self, config: WebTransportConfig, certificates: Certificates, table: Table) -> None:
        self.config = config
        self.sock = open_socket(config.host, config.port, config.buffer_bytes)
        self._address = f"https://{config.advertise or address_text(self.sock)}{PATH}"
        self._certificates = certificates
        self._quic = QuicConfiguration(
            is_client=False,
            alpn_protocols=H3_ALPN,
            idle_timeout=config.idle_s,
            max_datagram_size=PACKET_BYTES_MAX,
            max_datagram_frame_size=65_536,
            max_data=4 * config.stream_bytes_max,
            max_stream_data=config.stream_bytes_max,
        )
        self._table = table
        self._server: WebTransportServer | None = None
        self.received: I64 = np.zeros(CALL_COUNTS, np.int64)
        self.sent: I64 = np.zeros(CALL_COUNTS, np.int64)
        capacity = len(table.peers.row)
        self._sessions: list[WebTransportSession | None] = [None] * capacity
        self._secrets: dict[int, bytes] = {}
        """By number, of tokens that were not shown."""
        self._came = np.zeros(capacity, np.uint64)
        """Datagrams of each slot."""
        self._ended: list[WebTransportSession] = []
        self._refused: Counter[str] = Counter()
        self._filled = 0

    @property
    def address(self) -> str:
        """A URL."""
        return self._address

    @property
    def dropped(self) -> dict[str, int]:
        """What ``sessions`` and ``server`` did not take, and what was not sent."""
        sent = {"send_blocked": int(self.sent[C_BLOCKED]), "send_failed": int(self.sent[C_FAILED])}
        return dict(self._refused) | sent

    def start(self) -> None:
        """Serve, from the running loop."""
        # Each connection of a stranger would be a line or two: what counts is in our own log and metrics.
        logging.getLogger("quic").setLevel(logging.ERROR)
        logging.getLogger("http3").setLevel(logging.ERROR)
        shown = self._show()
        self._server = WebTransportServer(UdpSocket(self.sock, self.received, self.sent), self._quic, self)
        _log.info(
            "webtransport_open",
            address=address_text(self.sock),
            advertised=self._address,
            certificate=shown.hex(),
            generated=bool(self._certificates.told()),
        )

    def stop(self) -> None:
        """Close all connections, and the socket. Idempotent."""
        if self._server is not None:
            self._server.close()
        self.sock.close()

    def _show(self) -> bytes:
        """New connections are shown what is to be shown now; its hash."""
        shown = self._certificates.shown()
        self._quic.certificate, self._quic.private_key = shown.certificate, shown.key
        self._quic.certificate_chain = list(shown.chain)
        return shown.sha256

    # ----------------------------------------------------------------------------------------------------------- tokens
    def token(self, given: Given, session: int, within_ms: int) -> Token:
        """With what is to be shown as ``key_up``; ``key_down`` is not used."""
        self._show()
        self._secrets[given.number] = given.key_up
        certificates = self._certificates.told()
        return Token(self._address, given.number, given.key_up, given.key_down, within_ms, "", certificates)

    def proven(self, session: WebTransportSession, number: int, secret: bytes) -> int:
        """The slot of a token that nobody has shown yet, or NO_SLOT."""
        expected = self._secrets.get(number)
        if expected is None or not compare_digest(expected, secret):
            return NO_SLOT
        del self._secrets[number]
        assert self._server is not None, "a session without a server"
        self._server.is_known(session)
        slot = number & 0xFFFF
        self._sessions[slot] = session
        self._came[slot] = 0
        _log.debug("webtransport_proven", number=number, remote=session.remote)
        return slot

    # -------------------------------------------------------------------------------------------------------- receiving
    def arrived(self, slot: int, datagram: bytes) -> None:
        """A datagram of who has ``slot``: into the next row, until the next ``take``."""
        rows, row, size = self._table.arrivals, self._filled, len(datagram)
        self.received[C_DATAGRAMS] += 1
        if size > PLAIN_BYTES_MAX or size < RECEIVED_BYTES:
            self._table.drops[Drop.OVERSIZED if size > PLAIN_BYTES_MAX else Drop.SHORT] += 1
        elif row >= len(rows.who):
            self._refused["arrivals_full"] += 1
        else:
            self._came[slot] += np.uint64(1)
            pack_into("<Q", memoryview(rows.wire[row]), _SEQUENCE_AT, int(self._came[slot]))
            rows.plain[row, :size] = np.frombuffer(datagram, np.uint8)
            rows.plain_bytes[row], rows.who[row], rows.address_bytes[row] = size, slot, 0
            self._filled += 1

    def refused(self, reason: str) -> None:
        """Something was not taken."""
        self._refused[reason] += 1

    def take(self) -> int:
        """What has come since the last time; ends who has not shown a token in time."""
        if self._server is not None:
            self._server.sweep()
        count, self._filled = self._filled, 0
        return count

    def remote(self, slot: int) -> str:
        """Where its packets come from."""
        session = self._sessions[slot]
        return "" if session is None else session.remote

    # ---------------------------------------------------------------------------------------------------------- sending
    def send(self, count: int) -> None:
        """Hand them to QUIC, and send what it lets go."""
        rows = self._table.departures
        said: dict[WebTransportSession, None] = {}
        for i, slot in enumerate(rows.who[:count].tolist()):
            session = self._sessions[slot]
            if session is None or not session.say(rows.plain[i, : rows.plain_bytes[i]].tobytes()):
                self.sent[C_BLOCKED] += 1
            else:
                self.sent[C_DATAGRAMS] += 1
                said[session] = None
        for session in said:
            session.transmit()

    # ---------------------------------------------------------------------------------------------------------- endings
    def over(self, session: WebTransportSession) -> None:
        """Its connection has ended."""
        if self._server is not None:
            self._server.is_known(session)
        if session.slot != NO_SLOT and self._sessions[session.slot] is session:
            self._ended.append(session)

    def ended(self) -> list[int]:
        """Slots whose connection was closed, or went silent for QUIC."""
        ended, self._ended = self._ended, []
        return [session.slot for session in ended if self._sessions[session.slot] is session]

    def let_go(self, slot: int) -> None:
        """Forget the token, close the connection, and drop what it said since the last ``take``."""
        self._secrets.pop(int(self._table.peers.row["number"][slot]), None)
        session, self._sessions[slot] = self._sessions[slot], None
        if session is not None:
            session.end("this connection is over")
        mine = self._table.arrivals.who[: self._filled]
        mine[mine == slot] = -1
