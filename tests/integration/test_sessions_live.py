"""Sessions of a real server: many joins at once, resume, replacement, leaving, silence, a full world."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from protocol import walking
from protocol.codes import Advice, Close, advice_of
from protocol.layouts import GRID_PER_M
from protocol.messages import Bye, encode_client
from tests.integration.server import Server, serving, write_world
from tests.integration.wire import Ended, Peer, peer, upgrade

CROWD = 1000
WITHIN_S = 3.0
BODY_M = 2 * walking.RADIUS
"""Centres nearer than this: two bodies at one place."""
LIMITS = """
[limits]
resume_s = 3
heartbeat_s = 2
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("sessions"), LIMITS)) as started:
        yield started


async def _bodies(server: Server, count: int) -> None:
    """Wait until the world has ``count`` entities."""
    async with asyncio.timeout(15):
        while (await asyncio.to_thread(server.status))["entities"] != count:
            pass


async def test_a_thousand_joins_in_three_seconds(tmp_path: Path) -> None:
    with serving(write_world(tmp_path)) as server:
        tokens = [await asyncio.to_thread(server.guest, f"Guest {k}") for k in range(CROWD)]
        peers: list[Peer] = []

        async def join(number: int) -> None:
            await asyncio.sleep(number * WITHIN_S / CROWD)
            status, reader, writer = await upgrade(server.port)
            assert status == 101
            one = Peer(reader, writer)
            peers.append(one)
            # Only one acknowledgement later on: this process has other things to do than to decode all their frames.
            one.hello(tokens[number])
            await one.until(lambda: one.own is not None, ack=False)
            one.ack()

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(CROWD):
                    tasks.create_task(join(number))
            status = await asyncio.to_thread(server.status)
            assert status["sessions"] == CROWD
            assert status["entities"] == CROWD
            assert await asyncio.to_thread(server.metric, "isthmus_sessions", state="live") == CROWD
            assert status["rejected"] == {}
            assert status["joins"] == CROWD, "somebody had to come twice"
            assert len({one.welcome.body for one in peers if one.welcome is not None}) == CROWD
            ground = np.array([one.own["p"] for one in peers])[:, [0, 2]] / GRID_PER_M
            apart_m = np.hypot(*(ground[:, None, axis] - ground[None, :, axis] for axis in (0, 1)))
            np.fill_diagonal(apart_m, np.inf)
            assert np.median(apart_m.min(axis=1)) > BODY_M, "they stand upon each other"
            assert (apart_m < BODY_M).sum(axis=1).max() <= 4, "they stand in a pile"
        finally:
            for one in peers:
                one.drop()
            await asyncio.gather(*(one.writer.wait_closed() for one in peers), return_exceptions=True)


async def test_resume_gives_the_same_body_and_goes_on_counting(server: Server) -> None:
    token = server.guest("Resumer")
    async with peer(server.port) as first:
        welcome = await first.join(token)
        for _ in range(5):
            first.walk()
        await first.until(lambda: int(first.own["seq"]) == 5)
        x = int(first.own["p"][0])
        first.drop()
    async with asyncio.timeout(15):
        while not await asyncio.to_thread(server.metric, "isthmus_sessions", state="detached"):
            pass
    async with peer(server.port) as second:
        again = await second.join(None, resume=welcome.resume)
        assert again.body == welcome.body
        assert again.session == welcome.session
        assert again.generation > welcome.generation
        status = await asyncio.to_thread(server.status)
        resumed = await asyncio.to_thread(server.metric, "isthmus_joins_total", kind="resumed")
        assert (status["joins"], resumed) == (2, 1)
        assert type(status["lag_ticks"]) is int
        waits = await asyncio.to_thread(server.metric, "isthmus_acknowledged_lag_seconds", quantile="1.0")
        assert 0.0 <= waits < 20.0
        assert int(second.own["seq"]) == 5, "the sequence of commands goes on where it was"
        assert abs(int(second.own["p"][0]) - x) < 2 * GRID_PER_M
        second.seq = 5
        second.walk(-127)
        await second.until(lambda: int(second.own["seq"]) == 6)
        second.say(encode_client(Bye()))
        await second.end()


async def test_a_body_leaves_when_the_grace_is_over(server: Server) -> None:
    async with peer(server.port) as one:
        welcome = await one.join(server.guest())
        one.drop()
    await _bodies(server, 1)
    await _bodies(server, 0)
    async with peer(server.port) as late:
        late.hello(None, resume=welcome.resume)
        assert (await late.end()).code == Close.TOKEN_MISSING, "the ticket has expired with the body"


async def test_a_newer_session_replaces_the_older_one(server: Server) -> None:
    token = server.guest("Twice")
    async with peer(server.port) as older, peer(server.port) as newer:
        first = await older.join(token)
        second = await newer.join(token)
        assert (first.body, first.session) == (second.body, second.session)
        ended = await older.end()
        assert ended.code == Close.REPLACED
        assert advice_of(ended.code) is Advice.DO_NOT_COME_BACK
        before = newer.frames
        newer.walk()
        await newer.until(lambda: newer.frames > before + 3)
        newer.say(encode_client(Bye()))
        await newer.end()


async def test_bye_removes_the_body_at_once(server: Server) -> None:
    await _bodies(server, 0)
    async with peer(server.port) as one:
        await one.join(server.guest())
        assert server.status()["entities"] == 1
        one.say(encode_client(Bye()))
        assert (await one.end()).code == Close.GOING_AWAY
    status = server.status()
    async with asyncio.timeout(1.0):  # the grace would be three seconds
        while status["entities"]:
            status = await asyncio.to_thread(server.status)
    assert status["sessions"] == 0


async def test_silence_is_closed_and_can_be_resumed(server: Server) -> None:
    async with peer(server.port) as mute:
        welcome = await mute.join(server.guest())
        with pytest.raises(Ended) as ended:
            await mute.until(lambda: False, ack=False)
        assert ended.value.code == Close.HEARTBEAT
        assert advice_of(ended.value.code) is Advice.RECONNECT_NOW
    async with peer(server.port) as back:
        assert (await back.join(None, resume=welcome.resume)).body == welcome.body
        back.say(encode_client(Bye()))
        await back.end()
    assert server.rejected("heartbeat") == 1


async def test_a_full_world_says_when_to_come_back(tmp_path: Path) -> None:
    with serving(write_world(tmp_path, "[limits]\nsessions_max = 2\nconnections_per_address_max = 2\n")) as server:
        async with peer(server.port) as one, peer(server.port) as two, peer(server.port) as three:
            await one.join(server.guest())
            await two.join(server.guest())
            three.hello(server.guest())
            ended = await three.end()
            assert ended.code == Close.FULL
            assert ended.closing is not None
            assert ended.closing.retry_after_ms is not None
            assert 1000 <= ended.closing.retry_after_ms <= 60_000
            one.say(encode_client(Bye()))
            await one.end()
            async with peer(server.port) as four:
                await four.join(server.guest())
        assert server.rejected("full") == 1
