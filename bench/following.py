"""How a probe follows our server: over WebSocket, or on over datagrams (STANDARD.md §9).

Decoding is not in here, and is independent of the server's code (``wire``, ``wire_values``); what comes sealed is
opened by the client's own link. Not responsible for: judging (``check``).
"""

import asyncio
import time
from typing import Any

import aiohttp
import msgpack
import numpy as np

from bench.check import Check
from bench.wire_values import ValuesView
from client.datagrams import DatagramLink
from client.shell.datagrams import host_and_port
from protocol.datagrams import DATAGRAMS_VERSION
from protocol.layouts import COMMAND, PROTOCOL_VERSION, SUBPROTOCOL
from protocol.messages import (
    T_TOKEN,
    T_WELCOME,
    AskDatagrams,
    Hello,
    Input,
    Token,
    Welcome,
    decode_server,
    encode_client,
)

INPUT_PERIOD_S = 0.1
FLUSH_S = 0.01
"""How often a link over datagrams is looked after."""
_WALK = np.zeros(1, COMMAND)
_WALK["move_x"], _WALK["steps"] = 40, 6
COMMANDS = _WALK.tobytes()


class _Link(asyncio.DatagramProtocol):
    """One check's link over datagrams and its socket."""

    def __init__(self, check: Check, token: Token, session: int) -> None:
        self._check = check
        self._link = DatagramLink(token, session)
        self._transport: asyncio.DatagramTransport | None = None
        self.welcomed = asyncio.Event()

    async def open(self, host: str, port: int) -> None:
        """Open the socket."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=(host, port))

    def datagram_received(self, data: bytes, addr: object) -> None:
        messages = self._link.receive(data, now_ms())
        if messages is None:
            self._check.wrong("a datagram that is not authentic, or was had")
            return
        for items in map(_decode, messages):
            if items[0] == T_WELCOME:
                self.welcomed.set()
            # VALUES that overtake WELCOME are not used (§9.4).
            if self.welcomed.is_set():
                self._check.message(items)

    def say(self, message: Hello | Input, may_be_lost: bool) -> None:
        self._link.say(encode_client(message), may_be_lost)
        self.flush()

    def flush(self) -> None:
        """Send what is due."""
        assert self._transport is not None
        for datagram in self._link.take(now_ms()):
            self._transport.sendto(datagram)


def now_ms() -> float:
    """This process's clock."""
    return time.monotonic_ns() / 1e6


def _decode(message: bytes) -> list[Any]:
    items: list[Any] = msgpack.unpackb(message, raw=False, strict_map_key=False)
    return items


def _greeting(index: int, token: str, resume: bytes | None = None) -> Hello:
    return Hello(PROTOCOL_VERSION, PROTOCOL_VERSION, token, f"probe-{index}", "desktop", resume, agent="bench")


async def follow(check: Check, session: aiohttp.ClientSession, port: int, token: str, joined: asyncio.Event) -> None:
    """Join, send inputs ten times a second and check what comes until cancelled; over datagrams if the check's view is
    one of these."""
    url = f"ws://127.0.0.1:{port}/ws"
    async with session.ws_connect(url, protocols=[SUBPROTOCOL], max_msg_size=1 << 20, compress=0) as ws:
        await ws.send_bytes(encode_client(_greeting(check.index, token)))
        if isinstance(check.view, ValuesView):
            await _go_on(check, check.view, ws, token, joined)
        else:
            await _stay(check, ws, joined)
    check.wrong("the connection ended")


async def _stay(check: Check, ws: aiohttp.ClientWebSocketResponse, joined: asyncio.Event) -> None:
    async def send_inputs() -> None:
        await joined.wait()
        for seq in range(1, 1 << 30):
            stamp_ms = int(now_ms()) & 0xFFFFFFFF
            await ws.send_bytes(encode_client(Input(seq, check.view.frame, stamp_ms, COMMANDS)))
            await asyncio.sleep(INPUT_PERIOD_S)

    async with asyncio.TaskGroup() as group:
        sending = group.create_task(send_inputs())
        async for message in ws:
            if message.type != aiohttp.WSMsgType.BINARY:
                check.wrong(f"a WebSocket message of type {message.type.name}")
                continue
            items = _decode(message.data)
            check.message(items)
            if items[0] == T_WELCOME:
                joined.set()
        sending.cancel()


async def _token(ws: aiohttp.ClientWebSocketResponse) -> tuple[Welcome, Token] | None:
    """The WELCOME of a connection, and the token that it gets; None if it ends before."""
    welcome: Welcome | None = None
    async for message in ws:
        if message.type != aiohttp.WSMsgType.BINARY or _decode(message.data)[0] not in (T_WELCOME, T_TOKEN):
            continue
        said = decode_server(message.data)
        if isinstance(said, Welcome):
            welcome = said
            await ws.send_bytes(encode_client(AskDatagrams(DATAGRAMS_VERSION)))
        elif isinstance(said, Token) and welcome is not None:
            return welcome, said
    return None


async def _go_on(
    check: Check, view: ValuesView, ws: aiohttp.ClientWebSocketResponse, token: str, joined: asyncio.Event
) -> None:
    given = await _token(ws)
    if given is None:
        return
    welcome, opened = given
    if opened.address is None:
        check.wrong(f"no datagrams: {opened.text}")
        return
    link = _Link(check, opened, welcome.session)
    await link.open(*host_and_port(opened.address))
    link.say(_greeting(check.index, token, welcome.resume), may_be_lost=False)
    seq, next_ms = 0, 0.0
    while True:
        await asyncio.sleep(FLUSH_S)
        link.flush()
        if not link.welcomed.is_set():
            continue
        joined.set()
        if now_ms() >= next_ms:
            next_ms = max(next_ms, now_ms() - 1000 * INPUT_PERIOD_S) + 1000 * INPUT_PERIOD_S
            seq += 1
            stamp_ms = int(now_ms()) & 0xFFFFFFFF
            link.say(Input(seq, view.frame, stamp_ms, COMMANDS, view.earlier), may_be_lost=True)
