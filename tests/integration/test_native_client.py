"""The decoder in C joins a real server: only what it writes is said, and its view is that of the Python client. It sees
another person's head and hands and shows its own, over WebSocket and over UDP."""

import asyncio
import select
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.codes import Close
from protocol.frames import Frame
from protocol.messages import Chat, Pose, Token, encode_client
from protocol.poses import HeldPose, Part, PoseRecords, Sample, decode_poses, encode_samples
from tests.integration.server import Server, serving, write_world
from tests.integration.wire import PATIENCE_S, Peer, now_ms, peer
from tests.vectors.native import OK, Native, compile_driver, said

DUCKS = 60
TOML = """
[gateway]
datagrams = true
datagrams_port = 0
"""
QUARTER = (0.0, 0.7071067811865476, 0.0, 0.7071067811865476)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("native"), TOML, DUCKS)) as started:
        yield started


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def native(driver: Path) -> Iterator[Native]:
    with Native(driver) as running:
        yield running


def say(one: Peer, native: Native, *words: object) -> None:
    one.say(bytes.fromhex(native.ask(*words)["hex"]))


def our_pose(native: Native) -> bytes:
    """Head at 1.6 m, the left hand before it, grip half and trigger wholly pressed."""
    places, turns = [0, 1.6, 0, 0.1, 1.3, -0.4, 0, 0, 0], [0, 0, 0, 1, *QUARTER, 0, 0, 0, 0]
    return bytes.fromhex(native.ask("pose", now_ms(), 0, 3, 0.5, 0, 1, 0, *places, *turns)["hex"])


class Other:
    """Somebody in a headset, made of our library: waves, and keeps what it hears of others' hands."""

    def __init__(self, one: Peer) -> None:
        self.peer, self.poses = one, PoseRecords()

    async def wave(self) -> None:
        height = 1.0
        while True:
            data = await self.peer.message()
            if isinstance(self.peer.apply(data), Frame):
                height = 2.1 - height
                sample = Sample(Part((0.0, 1.5, 0.0)), right=Part((0.3, height, -0.3), QUARTER))
                self.peer.ack()
                self.peer.say(encode_client(Pose(now_ms(), encode_samples([sample]))))
            elif (heard := decode_poses(data)) is not None:
                for number in self.peer.records.live.nonzero()[0].tolist():
                    if number not in self.poses.held:
                        self.poses.entered(number, 1)
                self.poses.apply(heard)

    def of(self, entity: int) -> HeldPose | None:
        """What is known of somebody's head and hands."""
        records = self.peer.records
        numbers = (records.live & (records.id == entity)).nonzero()[0].tolist()
        return self.poses.held.get(numbers[0]) if numbers else None


class Udp:
    """An engine's loop over UDP: a socket, and the decoder."""

    def __init__(self, native: Native, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.native, self.sock = native, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect((host, int(port)))
        self.welcome: dict[str, Any] | None = None
        self.own: dict[str, Any] | None = None
        self.waves: list[dict[str, Any]] = []
        self.heard: set[bytes] = set()
        self.tick, self.seq, self.closed = 0, 0, False
        native.ask("view", 1024, 1)
        native.ask("apply", 1)

    def close(self) -> None:
        self.sock.close()
        self.native.ask("apply", 0)

    @property
    def x(self) -> int:
        assert self.own is not None
        return int(self.own["p"][0])

    def say(self, *words: object) -> None:
        """On the reliable stream."""
        assert self.native.ask("say", said(bytes.fromhex(self.native.ask(*words)["hex"])))["result"] == 1

    def send(self, lossy: bytes | None = None) -> None:
        due = 1
        while due:
            got = self.native.ask("write", said(lossy), now_ms())
            self.sock.send(bytes.fromhex(got["hex"]))
            due, lossy = got["due"], None

    def take(self) -> None:
        while select.select([self.sock], [], [], 0)[0]:
            got = self.native.ask("read", said(self.sock.recv(2048)), now_ms())
            assert got["read"] == 1
            for message in got["messages"][1:]:
                assert message["result"] != 99, message
                self.waves += waves_of(message)
                self.own = message.get("own", self.own)
                self.tick = message["tick"] if message["type"] == 28 else self.tick
                self.heard.add(bytes.fromhex(message.get("text") or ""))
                self.welcome = message if message["type"] == 16 else self.welcome
                self.closed |= message["type"] == 24

    async def until(self, condition: Any, walks: bool = False) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                if walks:
                    self.seq += 1
                    self.send(bytes.fromhex(self.native.ask("input", self.seq, now_ms(), 127, 0, 0, 0, 0, 3)["hex"]))
                elif self.welcome is not None:
                    self.send(bytes.fromhex(self.native.ask("ack", now_ms())["hex"]))
                self.send(our_pose(self.native) if self.welcome is not None else None)
                await asyncio.sleep(0.05)
                self.take()


def waves_of(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Samples of POSES with both a head and a right hand that is turned."""
    return [pose for pose in told.get("poses", [[]])[1:] if pose["told"] and pose["tracked"] & 5 == 5]


def check_wave(pose: dict[str, Any]) -> None:
    """The other one's, as near as the wire is."""
    np.testing.assert_allclose(pose["p0"], [0.0, 1.5, 0.0], atol=0.005)
    assert min(abs(pose["p2"][1] - height) for height in (1.0, 1.1)) < 0.2  # a hand moves no faster than a person's
    np.testing.assert_allclose(np.abs(pose["q2"]), np.abs(QUARTER), atol=0.01)


def check_ours(held: HeldPose | None) -> None:
    assert held is not None
    sample = held.samples[-1]
    assert sample.left is not None
    assert sample.right is None
    np.testing.assert_allclose(sample.head.p, (0.0, 1.6, 0.0), atol=0.005)
    np.testing.assert_allclose(sample.left.p, (0.1, 1.3, -0.4), atol=0.01)
    np.testing.assert_allclose(np.abs(sample.left.q), np.abs(QUARTER), atol=0.01)
    assert sample.grip[0] == pytest.approx((0.5, 1.0), abs=0.04)


async def test_joins_walks_talks_and_leaves(server: Server, native: Native) -> None:
    native.ask("view", 1024, 0)
    async with peer(server.port) as one:
        token, name = said(server.guest("Engine").encode()), said(b"Engine")
        say(one, native, "hello", 1, 1, token, name, said(b"vr"), "-", "-", said(b"test/1"))
        seq, frames, walked, moved, begun = 0, 0, 0, False, None
        while frames < 40 or not moved or not any(isinstance(each, Chat) for each in one.heard):
            data = await one.message()
            got, message = native.take(data), one.apply(data)
            assert got["result"] == OK
            if not isinstance(message, Frame):
                continue
            frames += 1
            shown = native.shown(message.tick + 0.5)
            ids, places = one.records.shown(message.tick + 0.5)
            assert set(shown) == {str(entity) for entity in ids.tolist()}
            for entity, place in zip(ids.tolist(), places, strict=True):
                np.testing.assert_allclose(shown[str(entity)][:3], place, atol=1e-9)
            if "own" in got:
                begun = got["own"]["p"] if begun is None else begun
                walked, moved = got["own"]["seq"], got["own"]["p"] != begun
            if frames == 5:
                say(one, native, "chat", 0, said("Hyvää päivää".encode()), "-")
            seq += 1
            say(one, native, "input", seq, now_ms(), 127, 0, 16384, 0, 0, 3)
        assert one.records.live.sum() >= DUCKS
        assert walked > 0
        assert [each.text for each in one.heard if isinstance(each, Chat)] == ["Hyvää päivää"]
        say(one, native, "bye")
        ended = await one.end()
        assert 1000 <= ended.code < 4300


async def test_hands_are_seen_both_ways_and_the_session_goes_on_over_udp(server: Server, native: Native) -> None:
    native.ask("view", 1024, 0)
    async with peer(server.port) as theirs, peer(server.port) as one:
        them = await theirs.join(await asyncio.to_thread(server.guest, "Other"), profile="vr")
        other = Other(theirs)
        waving = asyncio.create_task(other.wave())
        token = said((await asyncio.to_thread(server.guest, "Engine")).encode())
        say(one, native, "hello", 1, 1, token, said(b"Engine"), said(b"vr"), "-", "-", said(b"test/1"))
        waves: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(waves) < 5 or one.welcome is None or other.of(int(one.welcome.body or 0)) is None:
                data = await one.message()
                got, message = native.take(data), one.apply(data)
                assert got["result"] == OK
                waves += waves_of(got)
                if isinstance(message, Frame):
                    say(one, native, "ack", now_ms())
                    one.say(our_pose(native))
        check_wave(waves[-1])
        body = one.welcome.body
        assert body is not None
        check_ours(other.of(body))

        say(one, native, "datagrams")
        async with asyncio.timeout(PATIENCE_S):
            while not isinstance(message := one.apply(data := await one.message()), Token):
                assert native.take(data)["result"] == OK
                if isinstance(message, Frame):
                    say(one, native, "ack", now_ms())
        assert message.address is not None
        assert native.ask("link", one.welcome.session, said(data), 1 << 20, 0, 0, 0)["result"] == 1
        other.poses.clear()
        with closing(Udp(native, message.address)) as udp:
            resume = said(one.welcome.resume)
            udp.say("hello", 1, 1, "-", "-", said(b"vr"), resume, "-", said(b"test/1"))
            await udp.until(lambda: udp.welcome is not None and len(udp.waves) > 5 and udp.own is not None)
            assert udp.welcome is not None
            assert udp.welcome["body"] == body
            assert udp.welcome["generation"] > one.welcome.generation
            assert (await one.end()).code == Close.REPLACED
            check_wave(udp.waves[-1])
            shown = native.shown(udp.tick)
            assert len(shown) == DUCKS + 1
            assert str(them.body) in shown
            begun = udp.x
            udp.say("chat", 0, said(b"over the stream"), "-")
            await udp.until(lambda: udp.x > begun + 128 and b"over the stream" in udp.heard, walks=True)
            await udp.until(lambda: other.of(body) is not None)
            check_ours(other.of(body))
            udp.say("bye")
            await udp.until(lambda: udp.closed)
        waving.cancel()
        await asyncio.gather(waving, return_exceptions=True)
