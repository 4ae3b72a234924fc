"""All links of one member: dials, accepts, keeps one per peer, and tells when one comes and goes.

Decides that the lower name dials, again and again with jittered backoff while the peer is wanted; that a newly proven
connection of a peer replaces its old one unless its generation is older than one seen. Only wanted peers get a link.
A peer that ended its link is looked for at once, also by the higher name, which connects and goes away again (knocks),
so that both learn when nobody listens there any more; what follows from that is not decided here.
Invariant: between a LinkUp and its LinkDown all messages of that peer come from that one connection, in order.
Not responsible for: what messages mean; whatever was on its way when a link ended is lost.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from cluster.links.connection import Connection
from cluster.links.handshake import KEY_BYTES_MIN, Proven, Self
from cluster.links.tally import Ended, Tally
from protocol.carried import Kind


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link to ``member`` is there, and speaks ``version``; what was sent before is gone."""

    member: str
    generation: int
    version: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link to ``member`` ended."""

    member: str
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The process ``generation`` of ``member`` ended its link, and at ``address`` nobody listens since (ECONNREFUSED).
    Told again with each vain attempt. Silence, and a host that cannot be reached, are no refusals."""

    member: str
    generation: int
    address: str


Event = LinkUp | LinkDown | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksConfig:
    """``listen`` is ``host:port`` or ``unix:path``. Either ``key`` (32 bytes or more), or both TLS contexts."""

    listen: str
    key: bytes = b""
    tls_server: ssl.SSLContext | None = None
    tls_client: ssl.SSLContext | None = None
    queue_bytes: int = 16 << 20
    beat_s: float = 0.2
    silence_s: float = 0.7
    backoff_s: tuple[float, float] = (0.05, 2.0)
    strangers_max: int = 64

    def __post_init__(self) -> None:
        """Raises ValueError when neither or half of a way to authenticate is given."""
        contexts = (self.tls_server, self.tls_client)
        if self.key and (contexts != (None, None) or len(self.key) < KEY_BYTES_MIN):
            raise ValueError(f"links take a key of {KEY_BYTES_MIN} bytes or more, or TLS, not both")
        if not self.key and (None in contexts or any(c and c.verify_mode != ssl.CERT_REQUIRED for c in contexts)):
            raise ValueError("links without a key need TLS contexts for both directions that require certificates")


class Links:
    """``on_message(member, kind, data)`` and ``on_event(event)`` are called in the event loop.

    ``draw(n)`` gives n bytes that nobody can guess (``os.urandom``); ``rng`` is for jitter alone.
    """

    def __init__(
        self,
        config: LinksConfig,
        me: Self,
        on_message: Callable[[str, Kind, bytes], None],
        on_event: Callable[[Event], None],
        draw: Callable[[int], bytes],
        rng: np.random.Generator,
    ) -> None:
        self._draw, self._rng = draw, rng
        self._config, self._me, self._on_message, self._on_event = config, me, on_message, on_event
        self._peers: dict[str, str] = {}
        self._links: dict[str, Connection] = {}
        self._generations: dict[str, int] = {}
        self._connections: dict[Connection, None] = {}
        """In the order in which they came."""
        self._dialers: dict[str, asyncio.Task[None]] = {}
        self._knocking: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, int] = {}
        """Peers that ended their links, and have none since: the generation of that link."""
        self._server: asyncio.Server | None = None
        self._stopped = False
        self.address = ""
        self.tally = Tally()

    @property
    def waiting_bytes(self) -> dict[str, int]:
        """By peer with a link: what waits for it, to be sent and in the transport."""
        return {name: link.waiting_bytes for name, link in self._links.items()}

    @property
    def strangers(self) -> int:
        """Connections of those who have not proven themselves."""
        return sum(connection.is_stranger for connection in self._connections)

    async def start(self) -> None:
        """Listens; ``address`` is then where. Raises OSError when it cannot."""
        loop, tls = asyncio.get_running_loop(), self._config.tls_server
        # A stranger under TLS is not counted before it has shaken hands: it gets no more time than others.
        patience_s = None if tls is None else self._config.silence_s
        if self._config.listen.startswith("unix:"):
            path = self._config.listen.removeprefix("unix:")
            self._server = await loop.create_unix_server(self._accept, path, ssl=tls, ssl_handshake_timeout=patience_s)
            self.address = self._config.listen
        else:
            host, port = _host_port(self._config.listen)
            self._server = await loop.create_server(self._accept, host, port, ssl=tls, ssl_handshake_timeout=patience_s)
            self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """Name to address of all members that a link is wanted to; others' links end."""
        changed = {name for name, address in self._peers.items() if peers.get(name) != address}
        self._peers = {name: address for name, address in peers.items() if name != self._me.name}
        for name in changed:
            for task in (self._dialers.pop(name, None), self._knocking.pop(name, None)):
                if task is not None:
                    task.cancel()
            if name not in self._peers and name in self._links:
                self._links[name].end("no longer a member", Ended.STOPPED)
        for name in self._peers:
            if name > self._me.name and name not in self._dialers:
                self._dialers[name] = asyncio.get_running_loop().create_task(self._dial(name))

    def send(self, member: str, kind: Kind, key: Hashable, data: bytes, droppable: bool) -> bool:
        """Queues; False without a link. Raises ValueError for a message over the largest."""
        link = self._links.get(member)
        if link is None:
            return False
        link.put(kind, key, data, droppable=droppable)
        return True

    async def stop(self) -> None:
        """Ends all links; LinkDown is told for each."""
        self._stopped = True
        dialers = [*self._dialers.values(), *self._knocking.values()]
        self._dialers.clear()
        self._knocking.clear()
        for dialer in dialers:
            dialer.cancel()
        await asyncio.gather(*dialers, return_exceptions=True)
        if self._server:
            self._server.close()
        ending = list(self._connections)
        for connection in ending:
            connection.end("this member stops", Ended.STOPPED)
        await asyncio.gather(*(connection.closed.wait() for connection in ending))

    def began(self, connection: Connection) -> None:
        """See ``connection.Owner``."""
        self._connections[connection] = None
        if self._stopped:  # it was accepted just before
            connection.end("this member stops", Ended.STOPPED)
        strangers = [other for other in self._connections if other.is_stranger]
        if len(strangers) > self._config.strangers_max:  # the first has had the most time
            strangers[0].end("too many that have not proven themselves", Ended.CROWDED)

    def proven(self, connection: Connection, peer: Proven) -> bool:
        """See ``connection.Owner``."""
        if peer.name not in self._peers or peer.generation < self._generations.get(peer.name, 0):
            return False
        if old := self._links.pop(peer.name, None):
            old.end("replaced by a newer link", Ended.REPLACED)
            self._down(peer.name, "replaced by a newer link", Ended.REPLACED)
        self._generations[peer.name] = peer.generation
        self._links[peer.name] = connection
        self._ended.pop(peer.name, None)
        if knocking := self._knocking.pop(peer.name, None):
            knocking.cancel()
        self.tally.ups += 1
        self._on_event(LinkUp(peer.name, peer.generation, peer.version))
        return True

    def received(self, connection: Connection, kind: Kind, data: bytes) -> None:
        """See ``connection.Owner``."""
        if connection.peer and self._links.get(connection.peer.name) is connection:
            self._on_message(connection.peer.name, kind, data)

    def ended(self, connection: Connection, why: str, sort: Ended) -> None:
        """See ``connection.Owner``."""
        self._connections.pop(connection, None)
        if connection.peer is None:
            self.tally.strangers[sort] += 1
        elif self._links.get(connection.peer.name) is connection:
            del self._links[connection.peer.name]
            self._down(connection.peer.name, why, sort)
            if sort is Ended.CLOSED:
                self._look_for(connection.peer)
        elif sort is Ended.REFUSED:
            self.tally.strangers[sort] += 1

    def _down(self, member: str, why: str, sort: Ended) -> None:
        self.tally.downs[sort] += 1
        self._on_event(LinkDown(member, why))

    def _look_for(self, peer: Proven) -> None:
        self._ended[peer.name] = peer.generation
        # Whoever dials this peer finds out by dialing.
        if peer.name < self._me.name and peer.name in self._peers and not self._stopped:
            self._knocking[peer.name] = asyncio.get_running_loop().create_task(self._knock(peer.name))

    async def _knock(self, name: str) -> None:
        loop, c = asyncio.get_running_loop(), self._config
        backoff_s = c.backoff_s[0]
        while True:
            try:
                async with asyncio.timeout(c.silence_s):
                    transport = await _open(loop, asyncio.Protocol(), self._peers[name], None)
                transport.abort()
            except ConnectionRefusedError:
                self._refused(name)
            except (OSError, TimeoutError):
                self.tally.dials_failed += 1
            await asyncio.sleep(backoff_s * self._rng.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, c.backoff_s[1])

    def _refused(self, name: str) -> None:
        self.tally.dials_failed += 1
        if name in self._ended:
            self._on_event(Refused(name, self._ended[name], self._peers[name]))

    def _accept(self) -> asyncio.BaseProtocol:
        return self._connection(None)

    def _connection(self, expected: str | None) -> Connection:
        c = self._config
        return Connection(
            self,
            self._me,
            c.key,
            expected,
            self._draw,
            tally=self.tally,
            queue_bytes=c.queue_bytes,
            beat_s=c.beat_s,
            silence_s=c.silence_s,
        )

    async def _dial(self, name: str) -> None:
        loop, c = asyncio.get_running_loop(), self._config
        backoff_s = c.backoff_s[0]
        while True:
            connection = self._connection(name)
            try:
                async with asyncio.timeout(c.silence_s):
                    await _open(loop, connection, self._peers[name], c.tls_client)
                await connection.closed.wait()
                backoff_s = c.backoff_s[0] if connection.peer else backoff_s
            except ConnectionRefusedError:
                self._refused(name)
            except (OSError, TimeoutError):
                self.tally.dials_failed += 1
            await asyncio.sleep(backoff_s * self._rng.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, c.backoff_s[1])


async def _open(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, address: str, tls: ssl.SSLContext | None
) -> asyncio.Transport:
    name = "" if tls else None
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        return (await loop.create_unix_connection(lambda: protocol, path, ssl=tls, server_hostname=name))[0]
    host, port = _host_port(address)
    return (await loop.create_connection(lambda: protocol, host, port, ssl=tls, server_hostname=name))[0]


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(ValueError):
        return host.strip("[]"), int(port)
    raise ValueError(f"{address!r} is neither host:port nor unix:path")
