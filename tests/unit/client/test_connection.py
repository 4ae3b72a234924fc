"""The asyncio shell over a real WebSocket on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from client import Client, ClientConfig, Closed, Lost, Welcomed
from client.shell.connection import http_url, now_ms
from client.walk import Ground
from protocol.codes import Advice, Close
from protocol.layouts import SUBPROTOCOL
from protocol.messages import Bye, Closing, Hello, Say, encode_server
from tests.unit.client.one_body import TICK_MS, OneBody


class Door:
    """A web server whose every connection talks to one body."""

    def __init__(self) -> None:
        self.body = OneBody(Ground((-50.0, -50.0, 50.0, 50.0)))
        self.sockets: list[web.WebSocketResponse] = []
        self.ended = asyncio.Event()
        self.walked = asyncio.Event()
        self.has_map = True

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), compress=False)
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            await self.talk(socket)
        finally:
            self.ended.set()
        return socket

    async def talk(self, socket: web.WebSocketResponse) -> None:
        async with asyncio.TaskGroup() as tasks:
            ticking: asyncio.Task[None] | None = None
            async for message in socket:
                assert message.type is WSMsgType.BINARY
                for answer in self.body.take(message.data, now_ms()):
                    await socket.send_bytes(answer)
                ticking = ticking or tasks.create_task(self.tick(socket))
            if ticking is not None:
                ticking.cancel()

    async def index(self, request: web.Request) -> web.Response:
        if not self.has_map:
            raise web.HTTPNotFound
        index = {"format": 1, "version": "1", "title": "", "attribution": "", "anchor": [0, 0, 0], "grid_per_m": 128}
        bounds = [-6400, -6400, 6400, 6400]
        return web.json_response({**index, "bounds": bounds, "tile": 16384, "path": "/{x}_{z}", "tiles": []})

    async def tick(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            try:
                await socket.send_bytes(self.body.step(now_ms()))
            except ConnectionResetError:
                return  # the client went away between two ticks
            if self.body.body.x > 0.5:
                self.walked.set()
            await asyncio.sleep(TICK_MS / 1000)


@asynccontextmanager
async def door(make: type[Door] = Door) -> AsyncIterator[tuple[Door, str]]:
    opened = make()
    app = web.Application()
    app.router.add_get("/ws", opened.serve)
    app.router.add_get("/map/index.json", opened.index)
    async with TestServer(app) as server:
        yield opened, str(server.make_url("/ws")).replace("http", "ws", 1)


async def test_a_client_enters_walks_speaks_and_leaves() -> None:
    async with door() as (server, url):
        async with Client(ClientConfig(url=url, name="Ada")) as me:
            async for event in me.events():
                assert isinstance(event, Welcomed)
                break
            me.steer(1.0, 0.0)
            await server.walked.wait()
            assert me.map_problem is None
            assert me.core.position is not None
            assert me.core.position[0] > 0.0
            assert me.say("hello")
        await server.ended.wait()
    hello = server.body.heard[0]
    assert isinstance(hello, Hello)
    assert Say(0, "hello") in server.body.heard
    assert server.body.heard[-1] == Bye()


async def test_a_broken_connection_is_made_again() -> None:
    async with door() as (server, url), Client(ClientConfig(url=url)) as me:
        events = me.events()
        assert isinstance(await anext(events), Welcomed)
        await server.sockets[0].close()
        seen = [await anext(events), await anext(events)]
        assert isinstance(seen[0], Lost)
        assert isinstance(seen[1], Welcomed)
        assert seen[1].resumed


async def test_a_refusal_ends_the_events() -> None:
    async with door() as (server, url), Client(ClientConfig(url=url)) as me:
        events = me.events()
        assert isinstance(await anext(events), Welcomed)
        await server.sockets[0].send_bytes(encode_server(Closing(Close.KICKED, None, "enough")))
        await server.sockets[0].close(code=Close.KICKED)
        rest = [event async for event in events]
        assert rest == [Closed(Close.KICKED, "enough", Advice.DO_NOT_COME_BACK)]


async def test_nobody_there_is_reported_as_lost() -> None:
    async with Client(ClientConfig(url="ws://127.0.0.1:9/ws")) as me:
        assert isinstance(await anext(me.events()), Lost)


def test_paths_of_http() -> None:
    assert http_url("ws://h:1/ws", "/map/index.json") == "http://h:1/map/index.json"
    assert http_url("wss://h/ws", "/m") == "https://h/m"
    assert http_url("ws://h/ws", "https://cdn/m") == "https://cdn/m"


async def test_a_missing_map_is_told_and_nothing_is_predicted() -> None:
    async with door() as (server, url):
        server.has_map = False
        async with Client(ClientConfig(url=url)) as me:
            assert isinstance(await anext(me.events()), Welcomed)
            me.steer(1.0, 0.0)
            await server.walked.wait()
            assert me.map_problem is not None
            assert "HTTP 404" in me.map_problem
            assert me.core.stats.corrections == 0
