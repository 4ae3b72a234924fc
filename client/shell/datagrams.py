"""Runs one link over datagrams on asyncio: a socket, a timer, and the sealing that ``client.datagrams`` does.

`cryptography` is imported when a link is opened. The socket is not connected: the kernel then picks the source address
anew for each datagram, so that a client may change its network (STANDARD.md §9.2). Errors that the network reports of a
datagram are not heeded, for anybody can forge them: silence decides (``client.core``). Not responsible for: any rule.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from client.core import ClientCore
from client.events import Connect, Send
from protocol.codes import ProtocolViolation

if TYPE_CHECKING:
    from client.datagrams import DatagramLink

Order = Send | bytes | None
"""To be said; a datagram that came; the end."""
LINGER_S = 1.0
"""How long a client that leaves waits for its last words to come."""


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of a token's address. Raises ValueError if it is none."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"the server names {address!r} for datagrams, which is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, orders: "asyncio.Queue[Order]") -> None:
        self._orders = orders

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._orders.put_nowait(data)


class DatagramRun:
    """One link of ``core``. ``now_ms`` is the core's clock; ``woke`` is called when the core has heard something."""

    def __init__(
        self,
        core: ClientCore,
        connect: Connect,
        orders: "asyncio.Queue[Order]",
        now_ms: Callable[[], float],
        woke: Callable[[], None],
    ) -> None:
        self._core = core
        self._connect = connect
        self._orders = orders
        self._now_ms = now_ms
        self._woke = woke

    async def run(self) -> None:
        """Until the core has closed the link, or it could not be opened. Raises OSError and ValueError then."""
        from client.datagrams import DatagramLink

        token = self._connect.token
        assert token is not None
        link = DatagramLink(token, self._connect.session)
        host, port = host_and_port(token.address or "")
        loop = asyncio.get_running_loop()
        family, _, _, _, place = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
        anywhere = ("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._orders), local_addr=anywhere)
        try:
            self._core.opened(self._connect.link, self._now_ms())
            self._woke()
            await self._serve(link, transport, place)
        finally:
            transport.close()

    async def _serve(self, link: "DatagramLink", transport: asyncio.DatagramTransport, place: Any) -> None:
        loop = asyncio.get_running_loop()
        ends_s = float("inf")
        while loop.time() < ends_s and not (ends_s < float("inf") and link.settled):
            for datagram in link.take(self._now_ms()):
                transport.sendto(datagram, place)
            wait_s = min((link.next_ms - self._now_ms()) / 1000.0, ends_s - loop.time())
            if not await self._obey(link, None if wait_s == float("inf") else max(0.0, wait_s)):
                ends_s = loop.time() + (LINGER_S if self._core.done else 0.0)
        for datagram in link.take(self._now_ms()):
            transport.sendto(datagram, place)

    async def _obey(self, link: "DatagramLink", wait_s: float | None) -> bool:
        """Do what is in the queue, or comes into it within ``wait_s``; returns whether the link goes on."""
        try:
            async with asyncio.timeout(wait_s):
                order = await self._orders.get()
        except TimeoutError:
            return True
        while order is not None:
            if isinstance(order, bytes):
                self._heard(link, order)
            else:
                link.say(order.data, order.may_be_lost)
            if self._orders.empty():
                return True
            order = self._orders.get_nowait()
        return False

    def _heard(self, link: "DatagramLink", datagram: bytes) -> None:
        core, number, now_ms = self._core, self._connect.link, self._now_ms()
        try:
            messages = link.receive(datagram, now_ms)
        except ProtocolViolation as violation:
            core.violated(number, violation, now_ms)
            messages = None
            self._woke()
        if messages is None:
            return
        core.heard(number, now_ms)
        for message in messages:
            core.receive(number, message, now_ms)
        if messages:
            self._woke()
