"""One link over datagrams on a gevent socket; sealing and streams are ``client.datagrams``'s.

The socket is not connected, so that errors of the network, which anybody can forge, are not told (``client.shell.
datagrams``). Invariant: a link's timer is looked at every TIMER_S at the latest. Not responsible for: any rule.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from gevent import socket

from client.core import ClientCore
from client.datagrams import DatagramLink
from client.events import Connect
from client.shell.datagrams import host_and_port
from loadtest.wire.trouble import Line
from protocol.codes import ProtocolViolation

TIMER_S = 0.05
DATAGRAM_BYTES = 2048
LINGER_S = 1.0
"""How long a client that leaves waits for its last words to be acknowledged."""


class Datagrams:
    """One link of ``core``. ``now_ms`` is the core's clock. Raises OSError and ValueError if it cannot be opened."""

    def __init__(
        self,
        core: ClientCore,
        connect: Connect,
        line: Line,
        now_ms: Callable[[], float],
        read: Callable[[int], None],
        pause: Callable[[int], None],
    ) -> None:
        token = connect.token
        assert token is not None
        self._core, self._number, self._line = core, connect.link, line
        self._now_ms, self._read, self._pause = now_ms, read, pause
        self._link = DatagramLink(token, connect.session)
        host, port = host_and_port(token.address or "")
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._place: Any = place
        self._socket: Any = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(TIMER_S)
        self.bytes_out = 0
        self._ends_ms = inf

    def say(self, message: bytes, may_be_lost: bool) -> None:
        """One message, at once."""
        self._link.say(message, may_be_lost)
        self._flush()

    def _flush(self) -> None:
        for datagram in self._link.take(self._now_ms()):
            self.bytes_out += len(datagram)
            if not self._line.loses():
                self._socket.sendto(datagram, self._place)

    def run(self, woke: Callable[[], None]) -> None:
        """Receive until the link is ended; ``woke`` is called when the core has heard something. Raises OSError."""
        while True:
            if self._over:
                self._flush()
                return
            try:
                datagram = self._socket.recv(DATAGRAM_BYTES)
            except TimeoutError:
                self._flush()
                continue
            self._read(len(datagram))
            if not self._line.loses():
                self._heard(datagram)
                woke()
            self._flush()
            self._pause(len(datagram))

    def _heard(self, datagram: bytes) -> None:
        core, now_ms = self._core, self._now_ms()
        try:
            messages = self._link.receive(datagram, now_ms)
        except ProtocolViolation as violation:
            core.violated(self._number, violation, now_ms)
            return
        if messages is None:
            return
        core.heard(self._number, now_ms)
        for message in messages:
            core.receive(self._number, message, now_ms)

    def end(self) -> None:
        """The core wants nothing more of this link; what was said reliably may take LINGER_S to come."""
        self._ends_ms = min(self._ends_ms, self._now_ms() + 1000.0 * LINGER_S)

    @property
    def _over(self) -> bool:
        return self._ends_ms < inf and (self._link.settled or self._now_ms() >= self._ends_ms)

    def drop(self) -> None:
        """End without a word."""
        self._socket.close()
