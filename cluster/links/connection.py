"""One connection as an asyncio Protocol: handshake, then frames both ways until it ends.

Decides that all that waits is written once per turn of the event loop, that nothing is written while the transport is
full (values are still replaced meanwhile), and that a peer silent for ``silence_s``, or not proven by then, is gone.
Invariant: whatever bytes arrive, the end is :meth:`Owner.ended` with a reason, never an exception in the loop, and it
is told once. Not responsible for: which connection to a peer counts (``links.py``).
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Protocol, cast

from cluster.links.frames import LinkBroken, Reader, Writer
from cluster.links.handshake import NONCE_BYTES, Handshake, Proven, Self
from cluster.links.outgoing import Outgoing
from cluster.links.tally import Ended, Tally
from protocol.carried import Kind

WRITE_BYTES = 1 << 20
"""Handed to the transport at once at most; with the queue's bound this is what a slow reader can cost."""


class Owner(Protocol):
    """Whom a connection tells."""

    def began(self, connection: "Connection") -> None:
        """The first call, once: there is somebody at the other end (under TLS, certified)."""

    def proven(self, connection: "Connection", peer: Proven) -> bool:
        """Whether this connection is to be the link to ``peer``."""

    def received(self, connection: "Connection", kind: Kind, data: bytes) -> None:
        """A whole message of a proven peer."""

    def ended(self, connection: "Connection", why: str, sort: Ended) -> None:
        """The last call, once."""


class Connection(asyncio.Protocol):
    """``expected``: the member dialed, None for an accepted connection. ``key`` is empty under mutual TLS."""

    def __init__(
        self,
        owner: Owner,
        me: Self,
        key: bytes,
        expected: str | None,
        draw: Callable[[int], bytes],
        *,
        tally: Tally,
        queue_bytes: int,
        beat_s: float,
        silence_s: float,
    ) -> None:
        self._owner, self._me, self._key, self._expected = owner, me, key, expected
        self._draw = draw
        self._beat_s, self._silence_s = beat_s, silence_s
        self._reader, self._writer = Reader(), Writer()
        self._handshake: Handshake | None = None
        self._transport: asyncio.Transport | None = None
        self._full = self._flushing = self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._why, self._sort = "", Ended.CLOSED
        self._tally = tally
        self.outgoing = Outgoing(queue_bytes, tally)
        self.peer: Proven | None = None
        self.closed = asyncio.Event()

    @property
    def is_stranger(self) -> bool:
        """Whether somebody came here and has not proven himself."""
        return self._expected is None and self.peer is None and not self._over

    @property
    def waiting_bytes(self) -> int:
        """What waits for the peer: in the queue, and handed to the transport."""
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return self.outgoing.bytes + self.outgoing.move_bytes + unsent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake begins."""
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_BYTES)
        nonce = self._draw(NONCE_BYTES)
        self._handshake = Handshake(self._me, self._key, nonce, self._expected, _certified(transport))
        if hello := self._handshake.begin():
            self._transport.writelines(self._writer.frame(Kind.HELLO, hello))
        self._began_s = self._heard_s = self._loop.time()
        self._timer = self._loop.call_later(self._beat_s, self._beat)
        self._owner.began(self)

    def data_received(self, data: bytes) -> None:
        """All whole messages, to the owner."""
        if self._over:
            return
        self._heard_s = self._loop.time()
        try:
            for kind, message in self._reader.feed(data):
                if self.peer is None or kind is Kind.HELLO:
                    self._greet(kind, message)
                elif kind is not Kind.HEARTBEAT:
                    self._tally.received[kind] += 1
                    self._tally.received_bytes[kind] += len(message)
                    self._owner.received(self, kind, message)
                if self._ended():
                    return
        except LinkBroken as problem:
            self.end(str(problem), Ended.BROKEN)

    def put(self, kind: Kind, key: Hashable, data: bytes, *, droppable: bool) -> None:
        """Queues a message; an item over the queue's bound ends the connection."""
        if self._over:
            return
        if not self.outgoing.put(kind, key, data, droppable=droppable):
            self.end("its queue is full: the peer reads too slowly", Ended.FULL)
        else:
            self._plan()

    def end(self, why: str, sort: Ended) -> None:
        """Ends now; what waits is lost. Tells the owner in a later turn of the loop."""
        if not self._over:
            self._over, self._why, self._sort = True, why, sort
            if self._timer:
                self._timer.cancel()
            if self._transport:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever wanted it."""
        why = self._why or (str(exc) if exc else "closed by the peer")
        self.end(why, Ended.CLOSED)
        self._owner.ended(self, why, self._sort)
        self.closed.set()

    def pause_writing(self) -> None:
        """The transport is full."""
        self._full = True

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._full = False
        self._plan()

    def _greet(self, kind: Kind, message: bytes) -> None:
        if kind is not Kind.HELLO or self._handshake is None or self._transport is None:
            raise LinkBroken(f"a {kind.name} out of its place")
        answer, peer = self._handshake.receive(message)
        if answer is not None:
            self._transport.writelines(self._writer.frame(Kind.HELLO, answer))
        if peer is not None:
            self._handshake = None
            self.peer = peer
            self._reader.believe(peer.receive_key)
            self._writer = Writer(peer.send_key)
            if not self._owner.proven(self, peer):
                self.end("refused: no member, or an older generation of one", Ended.REFUSED)

    def _ended(self) -> bool:
        return self._over

    def _plan(self) -> None:
        if not self._flushing and not self._full and not self._over:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._over or self._full or self._transport is None:
            return
        pieces: list[bytes | memoryview] = []
        for kind, payload, more in self.outgoing.take(WRITE_BYTES):
            pieces += self._writer.frame(kind, payload, more=more)
            self._tally.sent[kind] += not more
            self._tally.sent_bytes[kind] += len(payload)
        if pieces:
            self._transport.writelines(pieces)
        if self.outgoing:
            self._plan()

    def _beat(self) -> None:
        now_s = self._loop.time()
        since_s = self._heard_s if self.peer else self._began_s
        if now_s - since_s > self._silence_s:
            return self.end("silent" if self.peer else "no handshake in time", Ended.SILENT)
        if self.peer and not self._full and self._transport:
            self._transport.writelines(self._writer.frame(Kind.HEARTBEAT, b""))
        self._timer = self._loop.call_later(self._beat_s, self._beat)
        return None


def _certified(transport: asyncio.BaseTransport) -> frozenset[str]:
    certificate = transport.get_extra_info("peercert") or {}
    return frozenset(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")
