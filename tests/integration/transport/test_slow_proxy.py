"""A reader at 2 KB/s, direct and behind a proxy with a small buffer: the server's memory stays within the area of that
connection."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from protocol.messages import Ack, encode_client
from protocol.wsframe import frame
from server.transport.config import CarrierConfig
from tests.integration.transport.harness import raw_client, serving, until
from tests.unit.kernels.test_wsparse import masked


@asynccontextmanager
async def buffering_proxy(port: int, buffer_bytes: int) -> AsyncIterator[int]:
    """A TCP proxy that takes what the server sends as fast as it can, up to ``buffer_bytes``."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.set_write_buffer_limits(buffer_bytes)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pipe(reader, up_writer))
                group.create_task(pipe(up_reader, writer))
        finally:
            up_writer.transport.abort()
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("behind_proxy", [False, True])
async def test_two_kilobytes_a_second(behind_proxy: bool) -> None:
    config = CarrierConfig(capacity=4)
    frame_bytes, ticks = 1000, 400

    async def scenario(port: int) -> None:
        # Small socket buffers at the reader, else the test measures the kernel's autotuning.
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        async with raw_client(0, sock=sock, limit=512) as (reader, writer):
            await until(lambda: s.log.opened)
            peak_kb, most, skipped = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0
            for tick in range(ticks):
                if s.carriers.blocked[0]:
                    skipped += 1
                    s.carriers.flush()
                else:
                    s.send({0: frame(tick.to_bytes(4, "big") * (frame_bytes // 4))})
                most = max(most, int(s.carriers.columns["tx_fill"][0]))
                if tick % 10 == 0:
                    await reader.read(1000)
                await asyncio.sleep(0.001)
            assert skipped or behind_proxy
            assert most <= config.tx_bytes
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb < 8_000
            # It is slow, not deaf: what it says still arrives at once.
            writer.write(masked(encode_client(Ack(1, 2))))
            await until(lambda: s.log.acks)
            assert not s.log.lost

    async with serving(config) as s:
        if behind_proxy:
            async with buffering_proxy(s.port, 65_536) as port:
                await scenario(port)
        else:
            await scenario(s.port)
