"""Datagrams over UDP: one socket for all, each sealed with the keys of its token (STANDARD.md §9.2).

Decides when the socket is emptied. Invariants: what does not decrypt is nobody's; nothing is sent to an address from
which nothing was decrypted. Not responsible for: system calls (``sockets``), the cipher (``sealing``), keys
(``tokens``).
"""

import asyncio
import socket

import numpy as np
import structlog

from kernels.peers import sift
from protocol.datagrams import binding
from protocol.messages import Token
from server.transport import mmsg
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.sealing import Sealer
from server.transport.datagrams.sockets import Wire, address_text, open_socket, remote_text
from server.transport.datagrams.tokens import Given
from server.transport.datagrams.way import Table

_log = structlog.get_logger(__name__)


class UdpWay:
    """A ``Way``. Raises OSError if the socket cannot be bound."""

    def __init__(self, config: DatagramConfig, table: Table, batched: bool | None = None) -> None:
        """``batched``: as ``Wire`` takes it."""
        self._config = config
        self._table = table
        self.sock = open_socket(config.host, config.port, config.buffer_bytes)
        self.wire = Wire(self.sock, table.arrivals, table.departures, batched)
        self.received, self.sent = self.wire.received, self.wire.sent
        self.opening, self.sealing = Sealer(table.arrivals), Sealer(table.departures)
        self._address = config.advertise or address_text(self.sock)
        self._filled = self._full = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._address

    @property
    def dropped(self) -> dict[str, int]:
        """Those that the system did not send, and ticks in which more had come than is taken in one."""
        return {
            "send_blocked": int(self.sent[mmsg.C_BLOCKED]),
            "send_too_big": int(self.sent[mmsg.C_TOO_BIG]),
            "send_failed": int(self.sent[mmsg.C_FAILED]),
            "arrivals_full": self._full,
        }

    def start(self) -> None:
        """Empty the socket between polls, too."""
        _log.info(
            "datagrams_open",
            address=address_text(self.sock),
            advertised=self.address,
            receive_buffer_bytes=self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            send_buffer_bytes=self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            batched=self.wire.batched,
        )
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.sock.fileno(), self._on_readable)

    def stop(self) -> None:
        """Close the socket. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is not None:
            self._loop.remove_reader(self.sock.fileno())
            self._loop = None
        self.sock.close()

    def token(self, given: Given, session: int, within_ms: int) -> Token:
        """With both keys, which are bound to the session, the number and the address."""
        bind = binding(session, given.number, self.address)
        self._table.peers.bind[given.slot] = np.frombuffer(bind, np.uint8)
        return Token(self.address, given.number, given.key_up, given.key_down, within_ms, "")

    def _on_readable(self) -> None:
        assert self._loop is not None
        self._filled = self.wire.receive(self._filled)
        self._loop.remove_reader(self.sock.fileno())
        self._timer = self._loop.call_later(self._config.wake_s, self._listen)

    def _listen(self) -> None:
        self._timer = None
        if self._loop is not None:
            self._loop.add_reader(self.sock.fileno(), self._on_readable)

    def take(self) -> int:
        """Receive, find out whose each is, decrypt."""
        arrivals, peers, tokens, drops = (
            self._table.arrivals,
            self._table.peers,
            self._table.tokens,
            self._table.drops,
        )
        count = self.wire.receive(self._filled)
        self._filled = 0
        self._full += count == len(arrivals.who)
        if count:
            sift(arrivals, count, peers, drops)
            self.opening.unseal(count, tokens.up, drops)
        return count

    def send(self, count: int) -> None:
        """Seal them, and send them in one go."""
        self.sealing.seal(count, self._table.tokens.down)
        self.wire.send(count)

    def remote(self, slot: int) -> str:
        """The host that the newest datagram of the slot came from."""
        peers = self._table.peers
        return remote_text(peers.address[slot, : peers.row["address_bytes"][slot]].tobytes())

    def ended(self) -> list[int]:
        """None: UDP knows no end, silence decides."""
        return []

    def let_go(self, slot: int) -> None:
        """Keys and number are forgotten with the slot (``tokens``, ``peers``)."""
