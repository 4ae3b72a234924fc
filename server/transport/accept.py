"""GET /ws: the checks, the upgrade, and the handing over of the connection.

Decides who gets a connection at all (Origin, connections per address, free slots). Invariants: from the 101 on no byte
is lost between aiohttp and us: reading is paused before it is written, and our writing starts after it has left; then
aiohttp is told that the connection is over for it, so that nothing of the request stays in memory. Not responsible for:
Host (a middleware checks it for every route), tokens.
"""

import asyncio
import base64
import binascii
import hashlib
import socket
from collections import Counter
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from protocol.codes import Close
from protocol.layouts import SUBPROTOCOL
from server.http.guard import Guard
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig
from server.transport.link import Link
from server.transport.outbox import closing_frames

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_UPGRADE_S = 5.0
_RETRY_FULL_MS = 2000
_REFUSALS_MAX = 128
"""Refused connections that may linger at once to read why; more are dropped without a word."""


class _Upgraded(web.StreamResponse):
    """A 101 response without a body: nothing is written at its end, because the connection is not HTTP any more."""

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Acceptor:
    """Turns GET /ws into slots of ``carriers``. ``refused``: connections refused before they got one, by reason."""

    def __init__(self, carriers: Carriers, guard: Guard) -> None:
        self.refused: Counter[str] = Counter()
        self._carriers = carriers
        self._guard = guard
        self._addresses: Counter[str] = Counter()
        self._refusals = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A session's WebSocket, subprotocol `isthmus.v1` (STANDARD.md).

        The aiohttp handler; returns when the connection is over, or ours.
        """
        headers = _handshake(request)
        remote = self._guard.client_address(request.remote, ", ".join(request.headers.getall("X-Forwarded-For", [])))
        verdict: tuple[Close, int | None, str] | None = None
        if not self._guard.origin_allowed(request.headers.get("Origin"), request.host):
            verdict = Close.ORIGIN, None, "pages of this origin may not connect here"
        elif self._addresses[remote] >= self._carriers.config.connections_per_address:
            verdict = Close.TOO_MANY_CONNECTIONS, _RETRY_FULL_MS, "too many connections from this address"
        elif self._carriers.is_full:
            verdict = Close.FULL, _RETRY_FULL_MS, "this server is full"
        # Counted from here, before the first await, so that a burst cannot slip past the limit.
        self._addresses[remote] += 1
        conn = None
        try:
            response, conn = await self._upgrade(request, headers, remote, verdict)
        finally:
            if conn is None:
                self._gone(remote)
        return response

    def _gone(self, remote: str) -> None:
        self._addresses[remote] -= 1
        if not self._addresses[remote]:
            del self._addresses[remote]

    async def _upgrade(
        self,
        request: web.Request,
        headers: dict[str, str],
        remote: str,
        verdict: tuple[Close, int | None, str] | None,
    ) -> tuple[web.StreamResponse, int | None]:
        """The response, and the slot if the connection is ours from now on."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client left before the upgrade")
        tls = transport.get_extra_info("sslcontext") is not None
        link = Link(transport, remote, tls)
        conn = None
        if not tls and verdict is None:
            transport.pause_reading()
        # aiohttp's own WebSocketResponse plugs its parser in here too; ours has the two methods that are called.
        request.protocol.set_parser(cast(Any, link))
        request.protocol.keep_alive(False)
        response = _Upgraded(status=101, headers=headers)
        response.force_close()
        try:
            # With a limit of 0, drain() returns when the 101 is with the kernel: what we send ourselves comes after it.
            transport.set_write_buffer_limits(0)
            writer = await response.prepare(request)
            async with asyncio.timeout(_UPGRADE_S):
                await cast(AbstractStreamWriter, writer).drain()
            transport.set_write_buffer_limits()
            if link.aborted or (transport.get_write_buffer_size() and not tls):
                return response, None
            if verdict is not None:
                await self._refuse(link, *verdict)
                return response, None
            if not tls:
                _set_options(transport, self._carriers.config)
            conn = self._carriers.adopt(link)
            if conn is None:
                # Others took the last slots while the 101 was on its way.
                transport.resume_reading()
                await self._refuse(link, Close.FULL, _RETRY_FULL_MS, "this server is full")
                return response, None
            kept = conn
            link.done.add_done_callback(lambda done: self._ended(kept, remote))
            link.take_over(request.protocol)
            return response, conn
        except TimeoutError:
            self.refused["slow_upgrade"] += 1
        finally:
            if conn is None:
                link.abort()
        return response, None

    def _ended(self, conn: int, remote: str) -> None:
        self._carriers.release(conn)
        self._gone(remote)

    async def _refuse(self, link: Link, code: Close, retry_after_ms: int | None, text: str) -> None:
        """Say why and wait a moment for the client to read it; bytes that it sends meanwhile are forgotten."""
        self.refused[code.name.lower()] += 1
        if self._refusals >= _REFUSALS_MAX:
            return
        self._refusals += 1
        try:
            link.deaf = True
            link.write(b"".join(closing_frames(code, retry_after_ms, text)))
            link.half_close()
            await asyncio.wait([link.done], timeout=self._carriers.config.linger_s)
        finally:
            self._refusals -= 1


def _handshake(request: web.Request) -> dict[str, str]:
    """The 101's headers (RFC 6455 §4.2.2). Raises an HTTP error for a request that is no proper upgrade."""
    asked = request.headers
    if asked.get("Upgrade", "").strip().lower() != "websocket" or "upgrade" not in {
        word.strip().lower() for word in asked.get("Connection", "").split(",")
    }:
        raise web.HTTPUpgradeRequired(text="this path speaks WebSocket only", headers={"Upgrade": "websocket"})
    if asked.get("Sec-WebSocket-Version", "").strip() != "13":
        raise web.HTTPBadRequest(text="Sec-WebSocket-Version must be 13", headers={"Sec-WebSocket-Version": "13"})
    key = asked.get("Sec-WebSocket-Key", "").strip()
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise ValueError
    except (binascii.Error, ValueError):
        raise web.HTTPBadRequest(text="Sec-WebSocket-Key must be 16 bytes in base64") from None
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    offered = [name.strip() for name in asked.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]
    if offered:
        if SUBPROTOCOL not in offered:
            raise web.HTTPBadRequest(text=f"no common subprotocol: this server speaks {SUBPROTOCOL}")
        headers["Sec-WebSocket-Protocol"] = SUBPROTOCOL
    return headers


def _set_options(transport: asyncio.Transport, config: CarrierConfig) -> None:
    sock = transport.get_extra_info("socket")
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    options = (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, config.notsent_lowat_bytes),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, config.user_timeout_ms),
    )
    for level, name, value in options:
        sock.setsockopt(level, name, value)
