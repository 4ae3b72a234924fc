"""One connection as asyncio and aiohttp see it: its transport, and the hook by which aiohttp hands over.

Invariant: ``done`` is resolved once the transport is closed, whoever ended the connection. Not responsible for: bytes
of plain connections (they never pass here).
"""

import asyncio
from typing import TYPE_CHECKING

from aiohttp.base_protocol import BaseProtocol

if TYPE_CHECKING:
    from server.transport.carriers import Carriers

_PENDING_BYTES_MAX = 32_768
"""Decrypted bytes that may wait for the next poll before reading is paused."""


class Link:
    """Plays the part of aiohttp's payload parser (``set_parser``), so it gets the bytes after the upgrade and the end.

    ``fd``: descriptor; ``remote``: the client's address; ``tls``: whether bytes must pass the transport; ``pending``:
    decrypted bytes not yet parsed; ``ended``: the user of ``Carriers`` knows, or will be told by a queued Lost, that it
    is over; ``deaf``: refused, nothing it says counts.
    """

    __slots__ = (
        "_carriers",
        "_conn",
        "_handing",
        "_paused",
        "aborted",
        "deaf",
        "done",
        "ended",
        "fd",
        "pending",
        "remote",
        "tls",
        "transport",
    )

    def __init__(self, transport: asyncio.Transport, remote: str, tls: bool) -> None:
        self.transport = transport
        self.remote = remote
        self.tls = tls
        sock = transport.get_extra_info("socket")
        self.fd: int = -1 if sock is None else sock.fileno()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending = bytearray()
        self.ended = False
        self.deaf = False
        self.aborted = False
        self._paused = False
        self._handing = False
        self._carriers: Carriers | None = None
        self._conn = -1

    def attach(self, carriers: "Carriers", conn: int) -> None:
        """From now on the connection is slot ``conn`` of ``carriers``."""
        self._carriers, self._conn = carriers, conn

    def detach(self) -> None:
        """The slot belongs to somebody else from now on."""
        self._carriers = None

    def take_over(self, former: BaseProtocol) -> None:
        """The transport speaks to us from now on, and ``former``, aiohttp's protocol, is told that it has ended: what
        it holds for a request would be half of the memory of a connection."""
        self.transport.set_protocol(_Ours(self))
        self._handing = True
        former.transport = None  # else it would close it
        former.connection_lost(None)
        self._handing = False

    # What aiohttp calls on its payload parser, and ``_Ours`` after it.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes after the upgrade (TLS; or what came in one packet with the request)."""
        if self.deaf:
            return False, b""
        self.pending += data
        if len(self.pending) > _PENDING_BYTES_MAX and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        if self._carriers is not None:
            self._carriers.wake()
        return False, b""

    def feed_eof(self) -> None:
        """The connection is over; not while aiohttp is only told so."""
        if self._handing:
            return
        self.aborted = True
        if not self.done.done():
            self.done.set_result(None)
        if self._carriers is not None:
            self._carriers.transport_lost(self._conn)

    # What Carriers does with it.

    def take(self, room: int) -> bytes:
        """At most ``room`` of the pending bytes; reading goes on when all are taken."""
        taken = bytes(self.pending[:room])
        del self.pending[:room]
        if self._paused and not self.pending:
            self._paused = False
            self.transport.resume_reading()
        return taken

    def waiting_bytes(self) -> int:
        """Bytes in asyncio's own write buffer."""
        return self.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Write a copy through the transport."""
        self.transport.write(data)

    def half_close(self) -> None:
        """Nothing more will be sent: say so to the peer, once, and keep reading until it answers."""
        if self.aborted or self.transport.is_closing():
            return
        if self.tls:
            # TLS has no half-close that clients agree on: close_notify, then the end.
            self.transport.close()
        elif self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self) -> None:
        """Drop the connection; ``done`` follows when the event loop has told aiohttp."""
        if not self.aborted:
            self.aborted = True
            self.transport.abort()


class _Ours(asyncio.Protocol):
    """A transport's protocol after aiohttp's."""

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

    def data_received(self, data: bytes) -> None:
        self._link.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.feed_eof()
