"""The asyncio shell over a real WebSocket and a real UDP socket on loopback."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from client import Client, ClientConfig, Welcomed
from client.shell.connection import now_ms
from client.shell.datagrams import host_and_port
from client.walk import Ground
from protocol.layouts import SUBPROTOCOL
from protocol.messages import Token
from tests.unit.client.one_body import TICK_MS
from tests.unit.client.one_gateway import Gateway


class Door(asyncio.DatagramProtocol):
    """A web server and a UDP socket that talk to one gateway. A datagram moves the address that is answered."""

    def __init__(self) -> None:
        self.gateway = Gateway(Ground((-5000.0, -5000.0, 5000.0, 5000.0)), np.random.default_rng(1))
        self.sockets: dict[int, web.WebSocketResponse] = {}
        self.deaf = False
        self.deaf_ticks = 0
        """Until it hears again."""
        self.address: tuple[str, int] | None = None
        self.transport: asyncio.DatagramTransport | None = None
        self.news = asyncio.Condition()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.deaf and not self.deaf_ticks:
            self.address = addr
            self.gateway.take_datagram(data, now_ms())

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), compress=False)
        await socket.prepare(request)
        link = len(self.sockets) + 1
        self.sockets[link] = socket
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            self.gateway.take_ws(link, message.data, now_ms())
        return socket

    async def tick(self) -> None:
        while True:
            self.deaf_ticks = max(0, self.deaf_ticks - 1)
            self.gateway.step(now_ms())
            self.gateway.flush(now_ms())
            for data in self.gateway.datagrams:
                if self.transport is not None and not self.deaf:
                    self.transport.sendto(data, self.address)
            said, self.gateway.ws, self.gateway.datagrams = self.gateway.ws, [], []
            for link, data_or_code in said:
                socket = self.sockets[link]
                if isinstance(data_or_code, int):
                    await socket.close(code=data_or_code)
                elif not socket.closed:
                    await socket.send_bytes(data_or_code)
            async with self.news:
                self.news.notify_all()
            await asyncio.sleep(TICK_MS / 1000.0)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that a tick can bring."""
        async with self.news:
            await self.news.wait_for(holds)


@asynccontextmanager
async def door() -> AsyncIterator[tuple[Door, str]]:
    opened = Door()
    app = web.Application()
    app.router.add_get("/ws", opened.websocket)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: opened, local_addr=("127.0.0.1", 0))
    opened.transport = transport
    host, port = transport.get_extra_info("sockname")
    opened.gateway.address = f"{host}:{port}"
    async with TestServer(app) as server, asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(opened.tick())
        yield opened, str(server.make_url("/ws")).replace("http", "ws", 1)
        ticking.cancel()
    transport.close()


async def test_a_client_goes_over_to_datagrams_walks_acts_and_leaves() -> None:
    async with door() as (server, url):
        async with Client(ClientConfig(url=url, name="Ada", datagrams=True)) as me:
            await server.until(lambda: me.core.on_datagrams)
            me.steer(1.0, 0.0)
            await server.until(lambda: server.gateway.body.body.x > 0.5)
            assert await me.act("ring") == "ring"
            await server.until(lambda: len(me.others()[0]) == len(server.gateway.others))
            assert me.core.stats.violations == 0
        await server.until(lambda: server.gateway.gone)
    assert server.gateway.done == ["ring"]


async def test_the_last_words_are_said_until_they_have_come() -> None:
    async with door() as (server, url):
        async with Client(ClientConfig(url=url, datagrams=True)) as me:
            await server.until(lambda: me.core.on_datagrams)
            server.deaf_ticks = 3
        await server.until(lambda: server.gateway.gone)


async def test_a_client_goes_back_when_datagrams_fall_silent() -> None:
    async with door() as (server, url):
        async with Client(ClientConfig(url=url, datagrams=True, datagram_silence_ms=300.0)) as me:
            await server.until(lambda: me.core.on_datagrams)
            server.deaf = True
            await server.until(lambda: me.core.connected and not me.core.on_datagrams)
            assert await me.act("ring") == "ring"
            welcomes = [event async for event in until_third(me.events())]
            assert [event.resumed for event in welcomes] == [False, True, True]


async def until_third(events: AsyncIterator[object]) -> AsyncIterator[Welcomed]:
    left = 3
    async for event in events:
        if isinstance(event, Welcomed):
            yield event
            left -= 1
        if not left:
            return


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", ":5", "a:b", ""])
async def test_an_address_that_is_none_is_told_and_the_session_stays(address: str) -> None:
    with pytest.raises(ValueError, match="not host:port"):
        host_and_port(address)
    async with door() as (server, url):
        server.gateway.address = address
        async with Client(ClientConfig(url=url, datagrams=True)) as me:
            await server.until(lambda: me.core.datagram_problem is not None)
            assert "not host:port" in (me.core.datagram_problem or "")
            assert await me.act("ring") == "ring"
            assert me.core.stats.welcomes == 1


def test_addresses() -> None:
    assert host_and_port("world.example:8081") == ("world.example", 8081)
    assert host_and_port("[2001:db8::1]:1") == ("2001:db8::1", 1)


def test_who_wants_no_datagrams_loads_no_cryptography() -> None:
    program = "import client, client.shell.datagrams, sys; print('cryptography' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_keys_are_not_shown() -> None:
    token = Token("a:1", 5, b"u" * 32, b"d" * 32)
    assert "uuu" not in repr(token)
    assert "ddd" not in repr(replace(token, number=6))
