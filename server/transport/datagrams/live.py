"""Datagram connections on a socket and asyncio.

Decides when the socket is emptied. Not responsible for: anything about connections (``transport``).
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable

import structlog

from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.sockets import Wire, address_text, open_socket
from server.transport.datagrams.transport import DatagramCore

_log = structlog.get_logger(__name__)


class Datagrams(DatagramCore):
    """Connections over one UDP socket; use from one event loop only."""

    wire: Wire

    def __init__(
        self,
        config: DatagramConfig,
        base: int = 0,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        clock_ms: Callable[[], int] | None = None,
        batched: bool | None = None,
    ) -> None:
        """``base``: the number of the first connection. Raises OSError if the socket cannot be bound."""
        sock = open_socket(config.host, config.port, config.buffer_bytes)
        super().__init__(
            config,
            base,
            config.advertise or address_text(sock),
            lambda arrivals, departures: Wire(sock, arrivals, departures, batched),
            random_bytes,
            clock_ms or _now_ms,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Empty the socket between polls, too, from the running loop."""
        sock = self.wire.sock
        _log.info(
            "datagrams_open",
            address=address_text(sock),
            advertised=self.address,
            receive_buffer_bytes=sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            send_buffer_bytes=sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            batched=self.wire.batched,
        )
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._on_readable)

    def stop(self) -> None:
        """Close the socket. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is not None:
            self._loop.remove_reader(self.wire.sock.fileno())
            self._loop = None
        self.wire.sock.close()

    def _on_readable(self) -> None:
        assert self._loop is not None
        self.fill()
        self._loop.remove_reader(self.wire.sock.fileno())
        self._timer = self._loop.call_later(self.config.wake_s, self._listen)

    def _listen(self) -> None:
        self._timer = None
        if self._loop is not None:
            self._loop.add_reader(self.wire.sock.fileno(), self._on_readable)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
