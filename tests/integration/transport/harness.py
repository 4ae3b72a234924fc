"""A gateway's transport on loopback for tests, and a client that writes its bytes by hand."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

from protocol.layouts import COMMAND
from server.http.guard import Guard
from server.transport.accept import Acceptor
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig
from server.transport.inbound import Inbound, Lost, Opened

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass
class Log:
    """Copies of everything delivered."""

    opened: list[Opened] = field(default_factory=list)
    cold: list[tuple[int, bytes]] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    inputs: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    acks: list[tuple[int, int, int]] = field(default_factory=list)
    poses: list[tuple[int, bytes]] = field(default_factory=list)

    def take(self, inbound: Inbound) -> None:
        self.opened += inbound.opened
        self.cold += inbound.cold
        self.lost += inbound.lost
        columns = (inbound.input_conn, inbound.input_seq, inbound.input_frame, inbound.input_stamp)
        for k, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            first = int(inbound.command_first[k])
            commands = inbound.commands[first : first + int(inbound.command_count[k])]
            assert commands.dtype == COMMAND
            self.inputs.append((*row, commands.tobytes()))
        for conn, at, size in zip(inbound.pose_conn.tolist(), inbound.pose_at, inbound.pose_bytes, strict=False):
            self.poses.append((conn, inbound.pose_data[at : at + size].tobytes()))
        self.acks += zip(inbound.ack_conn.tolist(), inbound.ack_frame.tolist(), inbound.ack_stamp.tolist(), strict=True)


@dataclass
class Served:
    """A running transport."""

    carriers: Carriers
    acceptor: Acceptor
    log: Log
    port: int

    def send(self, frames: dict[int, bytes]) -> Any:
        """Send one frame to each connection."""
        data = bytearray(b"".join(frames.values()))
        sizes = np.array([len(f) for f in frames.values()], np.int64)
        offsets = np.cumsum(sizes) - sizes
        return self.carriers.send(np.frombuffer(data, np.uint8), np.array(list(frames), np.int32), offsets, sizes)


@asynccontextmanager
async def serving(
    config: CarrierConfig | None = None, guard: Guard | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    carriers = Carriers(config or CarrierConfig(capacity=32))
    acceptor = Acceptor(carriers, guard or Guard())
    log = Log()
    app = web.Application()
    app.router.add_get("/ws", acceptor.handle)
    runner = web.AppRunner(app, shutdown_timeout=2)
    await runner.setup()
    carriers.start(log.take)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield Served(carriers, acceptor, log, runner.addresses[0][1])
    finally:
        carriers.close_all(4000)
        await runner.cleanup()
        carriers.stop()


async def until(condition: Callable[[], object], steps: int = 2000) -> None:
    """Wait for a condition, not for a time; gives up after some seconds."""
    for _ in range(steps):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the awaited condition did not come true")


@asynccontextmanager
async def raw_client(
    port: int, after: bytes = b"", **options: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """An upgraded connection; ``after`` goes out in one packet with the request."""
    address: dict[str, Any] = {} if "sock" in options else {"host": "127.0.0.1", "port": port}
    reader, writer = await asyncio.open_connection(**address, **options)
    try:
        writer.write(UPGRADE + after)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the example of RFC 6455 §1.3
        assert b"xtension" not in head
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One unmasked frame: opcode and payload."""
    head = await reader.readexactly(2)
    assert head[0] & 0x80
    assert not head[1] & 0x80
    size = head[1]
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
    return head[0] & 15, await reader.readexactly(size)
