"""The UDP socket of a gateway: made, filled from and emptied into rows.

Decides how it is set up. Invariant: nothing here blocks. Not responsible for: what is in a datagram, when it is
emptied.
"""

import socket

import numpy as np

from kernels.peers import Rows
from server.transport import mmsg
from server.transport.datagrams import plain
from server.transport.mmsg import CALL_COUNTS


def open_socket(host: str, port: int, buffer_bytes: int) -> socket.socket:
    """A bound UDP socket that does not block; ``::`` takes IPv4 as well. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    family, kind, proto, _, address = found[0]
    sock = socket.socket(family, kind, proto)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        sock.setblocking(False)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def address_text(sock: socket.socket) -> str:
    """Where the socket is bound, as ``host:port``."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def remote_text(packed: bytes) -> str:
    """The host of a packed address; an IPv4 one that came to an IPv6 socket as what it is."""
    return plain.unpack_address(packed)[0].removeprefix("::ffff:")


class Wire:
    """A socket with rows for what arrives and what departs. ``received``, ``sent``: counts of the calls (``mmsg``)."""

    def __init__(self, sock: socket.socket, arrivals: Rows, departures: Rows, batched: bool | None = None) -> None:
        """``batched``: whether sendmmsg(2) and recvmmsg(2) are used; None: where the system has them."""
        self.sock = sock
        self.batched = mmsg.is_available() if batched is None else batched
        self.received = np.zeros(CALL_COUNTS, np.int64)
        self.sent = np.zeros(CALL_COUNTS, np.int64)
        self._arrivals, self._departures = arrivals, departures
        self._in, self._out = mmsg.headers_of(arrivals), mmsg.headers_of(departures)

    def receive(self, first: int) -> int:
        """Fill rows from ``first`` on; returns where the filled ones end."""
        if self.batched:
            return mmsg.receive(self.sock.fileno(), first, self._arrivals, self._in, self.received)
        return plain.receive(self.sock, first, self._arrivals, self.received)

    def send(self, count: int) -> int:
        """Send the first ``count`` rows; returns how many left."""
        if self.batched:
            return mmsg.send(self.sock.fileno(), count, self._departures, self._out, self.sent)
        return plain.send(self.sock, count, self._departures, self.sent)
