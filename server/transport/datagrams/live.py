"""Datagrams over UDP on a socket and asyncio.

Decides when the socket is emptied. Not responsible for: anything about datagrams (``udp``) and connections
(``transport``).
"""

import asyncio
import socket

import structlog

from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.sockets import Wire, address_text, open_socket
from server.transport.datagrams.udp import SealedWay
from server.transport.datagrams.way import Table

_log = structlog.get_logger(__name__)


class UdpWay(SealedWay):
    """A ``Way``. Raises OSError if the socket cannot be bound."""

    def __init__(self, config: DatagramConfig, table: Table, batched: bool | None = None) -> None:
        """``batched``: as ``Wire`` takes it."""
        self._config = config
        self.sock = open_socket(config.host, config.port, config.buffer_bytes)
        wire = Wire(self.sock, table.arrivals, table.departures, batched)
        super().__init__(table, wire, config.advertise or address_text(self.sock))
        self._batched = wire.batched
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Empty the socket between polls, too."""
        _log.info(
            "datagrams_open",
            address=address_text(self.sock),
            advertised=self.address,
            receive_buffer_bytes=self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            send_buffer_bytes=self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            batched=self._batched,
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

    def _on_readable(self) -> None:
        assert self._loop is not None
        self.fill()
        self._loop.remove_reader(self.sock.fileno())
        self._timer = self._loop.call_later(self._config.wake_s, self._listen)

    def _listen(self) -> None:
        self._timer = None
        if self._loop is not None:
            self._loop.add_reader(self.sock.fileno(), self._on_readable)
