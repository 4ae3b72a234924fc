"""What tests of links are made of: a member that notes what it hears, and a peer whose every byte the test decides."""

import asyncio
import socket
import ssl
from collections.abc import Callable

import numpy as np

from cluster.links import Event, LinkDown, Links, LinksConfig, LinkUp, Refused, Self
from cluster.links.frames import Reader, Writer
from cluster.links.handshake import NONCE_BYTES, Handshake
from protocol.carried import Kind

KEY = b"k" * 32
NEVER_S = 600.0
"""As ``silence_s``: time alone ends nothing in this test."""


class Member:
    """One member's links."""

    def __init__(
        self,
        name: str,
        listen: str = "127.0.0.1:0",
        *,
        key: bytes = KEY,
        world: str = "w",
        generation: int = 1,
        tls: tuple[ssl.SSLContext | None, ssl.SSLContext | None] = (None, None),
        queue_bytes: int = 1 << 20,
        silence_s: float = 0.7,
        strangers_max: int = 64,
    ) -> None:
        self.name = name
        self.events: list[LinkUp | LinkDown] = []
        self.refused: list[Refused] = []
        self.messages: list[tuple[str, Kind, bytes]] = []
        config = LinksConfig(
            listen=listen,
            key=key,
            tls_server=tls[0],
            tls_client=tls[1],
            queue_bytes=queue_bytes,
            silence_s=silence_s,
            strangers_max=strangers_max,
        )
        rng = np.random.default_rng(ord(name[0]))
        me = Self(world, name, generation)
        self.links = Links(config, me, self._message, self._event, rng.bytes, rng)

    def _event(self, event: Event) -> None:
        if isinstance(event, Refused):
            self.refused.append(event)
        else:
            self.events.append(event)

    def _message(self, member: str, kind: Kind, data: bytes) -> None:
        self.messages.append((member, kind, data))

    async def echoes(self, member: str, data: bytes) -> None:
        """Sends ``data`` to a member that sends back what it hears, and waits for that."""
        assert self.links.send(member, Kind.MESH, None, data, False)
        await until(lambda: (member, Kind.MESH, data) in self.messages)

    def is_linked(self, member: str) -> bool:
        """Whether the last that was told of ``member`` is that its link is there."""
        told = [event for event in self.events if event.member == member]
        return bool(told) and isinstance(told[-1], LinkUp)


async def until(done: Callable[[], bool]) -> None:
    """Wait until ``done()``."""
    async with asyncio.timeout(30):
        for _ in range(10_000):
            if done():
                return
            await asyncio.sleep(0.01)


async def joined(*members: Member) -> None:
    """All listen and know each other."""
    for member in members:
        await member.links.start()
    addresses = {member.name: member.links.address for member in members}
    for member in members:
        member.links.set_peers(addresses)


class Hand:
    """A peer at the other end of a plain socket. It reads only when it is told to."""

    def __init__(self, address: str) -> None:
        self._address = address
        unix = address.startswith("unix:")
        self._socket = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self._socket.setblocking(False)
        self._reader, self._writer = Reader(), Writer()

    async def connect(self) -> "Hand":
        """Be connected, and no more."""
        if self._address.startswith("unix:"):
            await asyncio.get_running_loop().sock_connect(self._socket, self._address.removeprefix("unix:"))
        else:
            host, _, port = self._address.rpartition(":")
            await asyncio.get_running_loop().sock_connect(self._socket, (host, int(port)))
        return self

    async def prove(self, name: str, peer: str) -> "Hand":
        """Be the member ``name`` that dials ``peer``."""
        handshake = Handshake(Self("w", name, 1), KEY, bytes(NONCE_BYTES), peer)
        hello, proven = handshake.begin(), None
        assert hello is not None
        await self.say(Kind.HELLO, hello)
        while proven is None:
            for _, message in await self.read():
                answer, proven = handshake.receive(message)
                if answer is not None:
                    await self.say(Kind.HELLO, answer)
        self._reader.believe(proven.receive_key)
        self._writer = Writer(proven.send_key)
        return self

    async def say(self, kind: Kind, payload: bytes, *, more: bool = False) -> None:
        """One frame as it should be."""
        await self.raw(b"".join(self._writer.frame(kind, payload, more=more)))

    async def raw(self, data: bytes) -> None:
        """Any bytes."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def read(self) -> list[tuple[Kind, bytes]]:
        """What has come; heartbeats are left out. Raises ConnectionError when the connection has ended."""
        data = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 18)
        if not data:
            raise ConnectionError("ended by the member")
        return [message for message in self._reader.feed(data) if message[0] is not Kind.HEARTBEAT]

    async def ended(self) -> bool:
        """Reads until the member ends the connection; True then."""
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.read()
                except ConnectionError:
                    self.close()
                    return True

    def close(self) -> None:
        """Go away."""
        self._socket.close()
