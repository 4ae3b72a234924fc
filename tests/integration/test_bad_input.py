"""Whatever a client sends closes at most its own session, with a code and a counted reason; bystanders see nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgpack
import numpy as np
import pytest

from protocol.codes import Close
from protocol.frames import Frame
from protocol.layouts import COMMAND, GRID_PER_M
from protocol.messages import Hello, Say, encode_client, pack
from tests.integration.server import Server, serving, write_world
from tests.integration.wire import TEXT, Peer, peer, upgrade, ws_frame

EXTENT_HALF_M = 64.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("bad"), ducks=20)) as started:
        yield started


@asynccontextmanager
async def bystander(server: Server) -> AsyncIterator[None]:
    """A client whose stream must go on without a gap while the block runs, and for some frames after it."""
    async with peer(server.port) as one:
        await one.join(server.guest("Bystander"))
        ticks: list[int] = []
        ahead = asyncio.Event()

        async def watch() -> None:
            while True:
                block = await one.take()  # raises if its own stream breaks the standard, or ends
                if isinstance(block, Frame):
                    ticks.append(block.tick)
                    one.ack()
                    ahead.set()

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            yield
            for _ in range(5):
                ahead.clear()
                await asyncio.wait_for(ahead.wait(), 5)
            watching.cancel()
        assert one.records.live.sum() >= 20
        assert max(np.diff(ticks), default=0) <= 10, "frames kept coming"


def bad(kind: int, *items: object) -> bytes:
    return pack([kind, *items])


def commands(*rows: tuple[int, ...]) -> bytes:
    return np.array(list(rows), COMMAND).tobytes()


NAN, INF = float("nan"), float("inf")
DEEP = b"\x91" * 2000 + b"\xc0"
STILL = commands((0, 0, 0, 0, 0, 1, 0))
RANDOM = np.random.default_rng(7).bytes(300)
FIRST = {
    "random": (RANDOM, Close.PROTOCOL, "malformed"),
    "empty": (b"", Close.PROTOCOL, "malformed"),
    "truncated": (encode_client(Hello(1, 1, "t" * 300, "n"))[:-40], Close.PROTOCOL, "malformed"),
    "trailing": (encode_client(Hello(1, 1, None, "n")) + b"\x00", Close.PROTOCOL, "malformed"),
    "deep": (DEEP, Close.PROTOCOL, "malformed"),
    "not an array": (pack({1: 2}), Close.PROTOCOL, "malformed"),
    "type is no integer": (pack([1.0, 1]), Close.PROTOCOL, "malformed"),
    "unknown type": (bad(99), Close.PROTOCOL, "unknown_type"),
    "server's type": (bad(16, {}), Close.PROTOCOL, "unknown_type"),
    "huge type": (bad(2**63), Close.PROTOCOL, "unknown_type"),
    "ext": (msgpack.packb([1, msgpack.ExtType(5, b"x" * 40)]), Close.PROTOCOL, "malformed"),
    "claims a huge array": (b"\xdd\xff\xff\xff\xff", Close.PROTOCOL, "malformed"),
    "claims a huge string": (b"\x92\x01\xdb\xff\xff\xff\xff", Close.PROTOCOL, "malformed"),
    "hello of wrong types": (bad(1, "1", 1, None, None, "desktop", None, None, ""), Close.PROTOCOL, "wrong_type"),
    "hello with NaN": (bad(1, NAN, 1, None, None, "desktop", None, None, ""), Close.PROTOCOL, "wrong_type"),
    "hello with infinity": (bad(1, INF, INF, None, None, "desktop", None, None, ""), Close.PROTOCOL, "wrong_type"),
    "hello, unknown profile": (bad(1, 1, 1, None, None, "toaster", None, None, ""), Close.PROTOCOL, "wrong_type"),
    "hello, name not UTF-8": (
        b"\x99\x01\x01\x01\xc0\xa3\xff\xfe\xfd\xa7desktop\xc0\xc0\xa0",
        Close.PROTOCOL,
        "malformed",
    ),
    "hello, long name": (bad(1, 1, 1, None, "n" * 500, "desktop", None, None, ""), Close.PROTOCOL, "wrong_type"),
    "hello, huge ticket": (bad(1, 1, 1, None, None, "desktop", b"r" * 769, None, ""), Close.PROTOCOL, "wrong_type"),
    "hello, another version": (encode_client(Hello(7, 9, None, "n")), Close.VERSION, "version"),
    "hello without a token": (encode_client(Hello(1, 1, None, "n")), Close.TOKEN_MISSING, "token_missing"),
    "hello with no token at all": (encode_client(Hello(1, 1, "x", "n")), Close.TOKEN_INVALID, "token_malformed"),
    "input first": (bad(2, 1, 0, 0, STILL), Close.PROTOCOL, "order"),
    "ack first": (bad(3, 0, 0), Close.PROTOCOL, "order"),
    "chat first": (encode_client(Say(0, "hi")), Close.PROTOCOL, "order"),
    "too large": (bytes(5000), Close.TOO_LARGE, "oversized"),
}
LIVE = {
    "random": (RANDOM, Close.PROTOCOL, "malformed"),
    "deep": (DEEP, Close.PROTOCOL, "malformed"),
    "second hello": (encode_client(Hello(1, 1, None, "again")), Close.PROTOCOL, "order"),
    "no commands": (bad(2, 1, 0, 0, b""), Close.PROTOCOL, "malformed"),
    "half a command": (bad(2, 1, 0, 0, b"1234"), Close.PROTOCOL, "malformed"),
    "nine commands": (bad(2, 9, 0, 0, STILL * 9), Close.PROTOCOL, "wrong_type"),
    "input: NaN": (bad(2, NAN, 0, 0, STILL), Close.PROTOCOL, "wrong_type"),
    "input: infinite": (bad(2, 1, INF, 0, STILL), Close.PROTOCOL, "wrong_type"),
    "input: negative": (bad(2, -1, 0, 0, STILL), Close.PROTOCOL, "wrong_type"),
    "input: more than 32 bits": (bad(2, 2**32, 0, 0, STILL), Close.PROTOCOL, "wrong_type"),
    "input: text for commands": (bad(2, 1, 0, 0, "12345678"), Close.PROTOCOL, "wrong_type"),
    "input: too short": (bad(2, 1, 0), Close.PROTOCOL, "malformed"),
    "ack of a frame to come": (bad(3, 1_000_000, 0), Close.PROTOCOL, "forged_ack"),
    "input that acknowledges a frame to come": (bad(2, 1, 900_000, 0, STILL), Close.PROTOCOL, "forged_ack"),
    "ack: NaN": (bad(3, NAN, 0), Close.PROTOCOL, "wrong_type"),
    "chat: unknown scope": (bad(4, 7, "hi", None), Close.PROTOCOL, "wrong_type"),
    "chat: too long": (bad(4, 0, "x" * 501, None), Close.PROTOCOL, "wrong_type"),
    "chat: not UTF-8": (b"\x94\x04\x00\xa2\xff\xff\xc0", Close.PROTOCOL, "malformed"),
    "chat: to nobody like that": (bad(4, 2, "x", -5), Close.PROTOCOL, "wrong_type"),
    "too large": (bytes(4097), Close.TOO_LARGE, "oversized"),
}


async def test_a_bad_first_message_closes_that_connection_alone(server: Server) -> None:
    async with bystander(server):
        for name, (data, code, reason) in FIRST.items():
            counted = await asyncio.to_thread(server.rejected, reason)
            async with peer(server.port) as one:
                one.say(data)
                ended = await one.end()
            assert ended.code == code, f"{name}: {ended}"
            assert await asyncio.to_thread(server.rejected, reason) == counted + 1, f"{name}: {server.status()}"


async def test_a_bad_message_closes_that_session_alone(server: Server) -> None:
    async with bystander(server):
        for name, (data, code, reason) in LIVE.items():
            counted = await asyncio.to_thread(server.rejected, reason)
            async with peer(server.port) as one:
                await one.join(await asyncio.to_thread(server.guest))
                one.say(data)
                ended = await one.end()
            assert ended.code == code, f"{name}: {ended}"
            assert await asyncio.to_thread(server.rejected, reason) == counted + 1, f"{name}: {server.status()}"


async def test_bad_websocket_frames(server: Server) -> None:
    hello = encode_client(Hello(1, 1, None, "n"))
    frames = {
        "text": (ws_frame(b"hello", TEXT), {1003, Close.PROTOCOL}),
        "not masked": (b"\x82\x02\x91\x06", {1002, Close.PROTOCOL}),
        "reserved bits": (ws_frame(hello, first=0xF2), {1002, Close.PROTOCOL}),
        "reserved opcode": (ws_frame(hello, opcode=3), {1002, Close.PROTOCOL}),
        "continuation of nothing": (ws_frame(hello, opcode=0), {1002, Close.PROTOCOL}),
        "long ping": (ws_frame(b"x" * 126, opcode=9), {1002, Close.PROTOCOL}),
        "length of 2^62": (b"\x82\xff\x40" + bytes(7) + b"mask", {1009, Close.TOO_LARGE}),
        "random bytes": (np.random.default_rng(1).bytes(4000), {1002, 1003, Close.PROTOCOL, Close.TOO_LARGE}),
    }
    async with bystander(server):
        for name, (data, codes) in frames.items():
            before = await asyncio.to_thread(server.status)
            async with peer(server.port) as one:
                one.raw(data)
                ended = await one.end()
            assert ended.code in codes, f"{name}: {ended.code}"
            after = await asyncio.to_thread(server.status)
            assert sum(after["rejected"].values()) == sum(before["rejected"].values()) + 1, name


async def test_floods(server: Server) -> None:
    async with bystander(server):
        async with peer(server.port) as one:
            await one.join(await asyncio.to_thread(server.guest))
            for _ in range(2000):
                one.ack()
            assert (await one.end()).code == Close.TOO_MANY_MESSAGES
        async with peer(server.port) as one:
            await one.join(await asyncio.to_thread(server.guest))
            for _ in range(60):
                one.say(encode_client(Say(0, "buy")))
            assert (await one.end()).code == Close.TOO_MANY_MESSAGES
        async with peer(server.port) as one:
            for _ in range(2000):
                one.say(bad(15))  # types that are ignored are still messages
            assert (await one.end()).code == Close.TOO_MANY_MESSAGES
    assert server.rejected("chat_flood") == 1
    assert server.rejected("too_many_messages") == 2


async def _own(one: Peer, condition: str = "") -> None:
    frames = one.frames
    await one.until(lambda: one.frames > frames + 10)


async def test_absurd_but_well_formed_commands_move_nobody_far(server: Server) -> None:
    """Steps of 0 and 255, all bits set, old, repeated and leaping sequence numbers: session and body live on."""
    async with bystander(server), peer(server.port) as one:
        await one.join(await asyncio.to_thread(server.guest))
        start = one.own["p"].astype(float) / GRID_PER_M
        began_tick = one.records.tick
        full = (127, 127, 65535, 127, 255, 255, 255)
        for seq, rows in (
            (1, [(127, 0, 0, 0, 0, 0, 0)]),
            (2, [full]),
            (10, [full] * 8),
            (10, [full] * 8),
            (3, [full]),
            (2**32 - 5, [full]),
            (2**31 + 10, [(-128, -128, 0, -128, 255, 255, 255)]),
            (11, [(-128, -128, 0, -128, 0, 1, 0)] * 2),
        ):
            one.say(bad(2, seq, 0, 0, commands(*rows)))
        await _own(one)
        away = one.own["p"].astype(float) / GRID_PER_M - start
        seconds = (one.records.tick - began_tick) / 20 + 0.5
        assert np.hypot(away[0], away[2]) < 8.0 * seconds, "nobody walks faster than running"
        assert max(abs(one.own["p"][[0, 2]])) <= EXTENT_HALF_M * GRID_PER_M
        newest = int(one.own["seq"])
        one.seq = newest
        for _ in range(3):
            one.walk()
        await one.until(lambda: int(one.own["seq"]) == newest + 3)


async def test_foreign_pages_and_names_are_refused(server: Server) -> None:
    """A page of another site gets an answer to its upgrade, as only then it may learn the code, and nothing more."""
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
        status, reader, writer = await upgrade(server.port, headers=f"Origin: {origin}\r\n")
        one = Peer(reader, writer)
        assert status == 101
        one.hello(await asyncio.to_thread(server.guest))
        assert (await one.end()).code == Close.ORIGIN, origin
        assert one.welcome is None
        one.drop()
    assert server.rejected("origin") == 3
    status, _, writer = await upgrade(server.port, host="evil.example")
    assert status == 421
    writer.transport.abort()
    assert server.rejected("host") == 1
    own = f"Origin: http://127.0.0.1:{server.port}\r\n"
    status, reader, writer = await upgrade(server.port, headers=own)
    one = Peer(reader, writer)
    await one.join(await asyncio.to_thread(server.guest))
    one.drop()
