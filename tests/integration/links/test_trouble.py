"""Peers that read too slowly, die, freeze, or are no peers at all: each costs its own connection and nothing else."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from cluster.links import LinkDown, LinkUp, Refused
from cluster.links.connection import WRITE_BYTES
from cluster.links.frames import FRAME_BYTES_MAX, HEADER, MORE
from cluster.links.tally import Ended
from protocol.carried import Kind
from tests.integration.links.members import NEVER_S, Hand, Member, joined, until
from tests.integration.server import REPOSITORY

QUEUE_BYTES = 1 << 20
VALUE_BYTES = 64 << 10


# --------------------------------------------------------------------------------------------------------- slow readers
async def _stalled(folder: Path) -> tuple[Member, Hand]:
    """A member, and a peer of it that does not read, with everything between them full."""
    b = Member("b", f"unix:{folder / 'b'}", queue_bytes=QUEUE_BYTES, silence_s=NEVER_S)
    await b.links.start()
    b.links.set_peers({"a": "unix:/nowhere"})
    a = await (await Hand(b.links.address).connect()).prove("a", "b")
    await until(lambda: b.is_linked("a"))
    number = 0
    while b.links.tally.replaced[Kind.DELTA] < 100:
        number += 1
        b.links.send("a", Kind.DELTA, number % 4, number.to_bytes(VALUE_BYTES, "big"), True)
        assert b.links.waiting_bytes["a"] <= QUEUE_BYTES + 2 * WRITE_BYTES + VALUE_BYTES
        await asyncio.sleep(0)
    return b, a


async def test_values_for_a_peer_that_does_not_read_are_replaced_and_the_newest_arrives(tmp_path: Path) -> None:
    b, a = await _stalled(tmp_path)
    assert b.links.tally.dropped == {}
    items = [bytes([k]) * 1000 for k in range(50)]
    for item in items:
        b.links.send("a", Kind.MESH, None, item, False)
    b.links.send("a", Kind.DELTA, 0, b"newest", True)
    came: list[tuple[Kind, bytes]] = []
    while (Kind.DELTA, b"newest") not in came:
        came += await a.read()
    assert [data for kind, data in came if kind is Kind.MESH] == items
    values = [int.from_bytes(data, "big") for kind, data in came if kind is Kind.DELTA and data != b"newest"]
    assert values == sorted(values), "whatever was left out, nothing overtook"
    assert b.links.tally.sent[Kind.DELTA] == len(values) + 1
    assert b.events == [LinkUp("a", 1, 1)]
    await b.links.stop()
    a.close()


async def test_values_over_the_bound_are_dropped_and_items_over_it_reset_the_link(tmp_path: Path) -> None:
    b, a = await _stalled(tmp_path)
    most = QUEUE_BYTES + 2 * WRITE_BYTES + VALUE_BYTES
    for key in range(100):
        b.links.send("a", Kind.DELTA, 1000 + key, bytes(VALUE_BYTES), True)
        assert b.links.waiting_bytes["a"] <= most
    assert b.links.tally.dropped[Kind.DELTA] >= 100 - QUEUE_BYTES // VALUE_BYTES
    assert b.events == [LinkUp("a", 1, 1)]
    for _ in range(QUEUE_BYTES // VALUE_BYTES + 1):
        assert b.links.tally.downs == {}
        b.links.send("a", Kind.MESH, None, bytes(VALUE_BYTES), False)
        assert b.links.waiting_bytes["a"] <= most + VALUE_BYTES
    await until(lambda: not b.is_linked("a"))
    assert b.events[1] == LinkDown("a", "its queue is full: the peer reads too slowly")
    assert (b.links.tally.downs, b.links.waiting_bytes) == ({Ended.FULL: 1}, {})
    again = await (await Hand(b.links.address).connect()).prove("a", "b")
    await until(lambda: b.is_linked("a"))
    b.links.send("a", Kind.MESH, None, b"anew", False)
    assert await again.read() == [(Kind.MESH, b"anew")]
    await b.links.stop()
    a.close()
    again.close()


# ---------------------------------------------------------------------------------------------------- killed and frozen
@contextmanager
def _alone(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "tests.integration.links.alone", *arguments]
    with subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


async def test_a_killed_process_is_noticed_and_comes_back_when_it_is_started_again(tmp_path: Path) -> None:
    a = Member("a", f"unix:{tmp_path / 'a'}")
    there = f"unix:{tmp_path / 'b'}"
    await a.links.start()
    a.links.set_peers({"b": there})
    for generation in (1, 2):
        with _alone("b", there, str(generation), "a", a.links.address) as process:
            await until(lambda: a.is_linked("b"))
            assert a.events[-1] == LinkUp("b", generation, 1)
            await a.echoes("b", f"hello, {generation}".encode())
            os.kill(process.pid, signal.SIGKILL)
            await until(lambda: not a.is_linked("b"))
            assert not a.links.send("b", Kind.MESH, None, b"nobody there", False)
    await a.links.stop()


@pytest.mark.parametrize("name", ["a", "c"], ids=["who dials", "who is dialed"])
@pytest.mark.parametrize("at", ["127.0.0.1:0", "unix:{}"])
async def test_who_had_a_link_to_a_killed_process_learns_that_nobody_listens(
    tmp_path: Path, name: str, at: str
) -> None:
    member, other = Member(name, at.format(tmp_path / name)), Member("b", at.format(tmp_path / "b"))
    await other.links.start()  # for an address that is free
    there = other.links.address
    await other.links.stop()
    await member.links.start()
    member.links.set_peers({"b": there})
    with _alone("b", there, "3", name, member.links.address) as process:
        await until(lambda: member.is_linked("b"))
        assert member.refused == [], "it was not there yet, but had no link either"
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: len(member.refused) > 2)
        assert set(member.refused) == {Refused("b", 3, there)}
    with _alone("b", there, "4", name, member.links.address):
        await until(lambda: member.is_linked("b"))
        told = len(member.refused)
        await member.echoes("b", b"back")
        assert len(member.refused) == told
    await member.links.stop()


@pytest.mark.parametrize("name", ["a", "c"], ids=["who dials", "who is dialed"])
async def test_a_link_that_is_reset_by_a_living_process_is_no_refusal(name: str) -> None:
    member, b = Member(name), Member("b", queue_bytes=65_536)
    await joined(member, b)
    await until(lambda: member.is_linked("b") and b.is_linked(name))
    for resets in range(1, 4):
        b.links.send(name, Kind.BORDER, None, bytes(65_537), False)
        await until(partial(lambda n: len(member.events) == len(b.events) == 1 + 2 * n, resets))
    assert member.refused == []
    await asyncio.gather(member.links.stop(), b.links.stop())


async def test_a_frozen_process_counts_as_gone_until_it_goes_on(tmp_path: Path) -> None:
    a = Member("a", f"unix:{tmp_path / 'a'}")
    there = f"unix:{tmp_path / 'b'}"
    await a.links.start()
    a.links.set_peers({"b": there})
    with _alone("b", there, "1", "a", a.links.address) as process:
        await until(lambda: a.is_linked("b"))
        os.kill(process.pid, signal.SIGSTOP)
        await until(lambda: not a.is_linked("b"))
        assert a.events[-1] == LinkDown("b", "silent")
        assert a.refused == [], "its host still takes connections: who is silent may live"
        os.kill(process.pid, signal.SIGCONT)
        await until(lambda: a.is_linked("b"))
        await a.echoes("b", b"back")
    await a.links.stop()


# ------------------------------------------------------------------------------------------------------------ strangers
async def test_many_strangers_take_the_room_of_a_few_and_a_member_gets_in_among_them() -> None:
    b = Member("b", silence_s=NEVER_S, strangers_max=4)
    await b.links.start()
    hands: list[Hand] = []
    enough = asyncio.Event()
    most = 0

    async def flood() -> None:
        nonlocal most
        while not enough.is_set():
            hands.append(Hand(b.links.address))
            await hands[-1].connect()
            most = max(most, b.links.strangers)

    flooding = asyncio.create_task(flood())
    await until(lambda: b.links.tally.strangers[Ended.CROWDED] >= 50)
    a = Member("a", silence_s=NEVER_S)
    await a.links.start()
    addresses = {"a": a.links.address, "b": b.links.address}
    b.links.set_peers(addresses)
    a.links.set_peers(addresses)
    await until(lambda: a.is_linked("b") and b.is_linked("a"))
    crowded = b.links.tally.strangers[Ended.CROWDED]
    await until(lambda: b.links.tally.strangers[Ended.CROWDED] >= crowded + 50)
    enough.set()
    await flooding
    assert most == 4
    assert b.is_linked("a"), "who has proven himself is no stranger"
    for hand in hands:
        hand.close()
    await until(lambda: b.links.tally.strangers.total() == len(hands))
    await asyncio.gather(a.links.stop(), b.links.stop())


async def test_own_dials_are_not_ended_for_strangers(tmp_path: Path) -> None:
    """The member that we dial is slow to answer, while strangers come to us."""
    b = Member("b", silence_s=NEVER_S, strangers_max=2)
    await b.links.start()
    calls: list[asyncio.StreamWriter] = []
    ended: list[bytes] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        ended.append(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(slow, tmp_path / "c")
    b.links.set_peers({"c": f"unix:{tmp_path / 'c'}"})
    await until(lambda: len(calls) == 1)
    hands = [await Hand(b.links.address).connect() for _ in range(10)]
    await until(lambda: b.links.tally.strangers[Ended.CROWDED] == 8)
    assert (len(calls), ended) == (1, [])
    for hand in hands:
        hand.close()
    await b.links.stop()
    server.close()


NOISE = bytes((k * k * 7 + 13) % 256 for k in range(5000))


@pytest.mark.parametrize(
    "data",
    [
        NOISE,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        HEADER.pack(1 << 31, Kind.HELLO, 0),
        HEADER.pack(600, Kind.HELLO, 0),
        HEADER.pack(4, Kind.DELTA, 0) + b"data",
        HEADER.pack(4, Kind.HELLO, 0) + b"\xc1\xc1\xc1\xc1",
        HEADER.pack(4, Kind.HELLO, MORE) + b"part",
    ],
    ids=["noise", "http", "huge", "large", "unproven", "no hello", "pieces"],
)
async def test_what_strangers_say_ends_their_connection_alone(data: bytes) -> None:
    a, b = Member("a"), Member("b")
    await joined(a, b)
    await until(lambda: a.is_linked("b") and b.is_linked("a"))
    hand = await Hand(b.links.address).connect()
    await hand.raw(data)
    assert await hand.ended()
    await until(lambda: b.links.tally.strangers[Ended.BROKEN] == 1)
    a.links.send("b", Kind.MESH, None, b"still here", False)
    await until(lambda: b.messages == [("a", Kind.MESH, b"still here")])
    assert len(a.events) == len(b.events) == 1
    await asyncio.gather(a.links.stop(), b.links.stop())


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(4, Kind.DELTA, 0) + b"data" + bytes(8),
        HEADER.pack(FRAME_BYTES_MAX + 1, Kind.DELTA, 0),
        HEADER.pack(0, 99, 0) + bytes(8),
        HEADER.pack(0, Kind.DELTA, 0x80) + bytes(8),
        NOISE,
    ],
    ids=["wrong mac", "too large", "unknown kind", "unknown flag", "noise"],
)
async def test_what_a_proven_peer_may_not_say_ends_its_link_alone(data: bytes) -> None:
    a, b = Member("a"), Member("b")
    await joined(a, b)
    b.links.set_peers({"a": a.links.address, "aa": "unix:/nowhere"})
    await until(lambda: b.is_linked("a"))
    hand = await (await Hand(b.links.address).connect()).prove("aa", "b")
    await hand.say(Kind.MESH, b"as it should be")
    await until(lambda: ("aa", Kind.MESH, b"as it should be") in b.messages)
    await hand.raw(data)
    assert await hand.ended()
    await until(lambda: not b.is_linked("aa"))
    assert b.links.tally.downs == {Ended.BROKEN: 1}
    a.links.send("b", Kind.MESH, None, b"still here", False)
    await until(lambda: ("a", Kind.MESH, b"still here") in b.messages)
    assert b.is_linked("a")
    await asyncio.gather(a.links.stop(), b.links.stop())
