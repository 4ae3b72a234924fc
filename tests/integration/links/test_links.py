"""Real links over loopback: they come up, carry, are lost and come back; strangers and wrong keys stay outside."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trustme

from cluster.links import LinkDown, Links, LinksConfig, LinkUp, Self
from protocol.carried import Kind

KEY = b"k" * 32


class Member:
    def __init__(
        self,
        name: str,
        listen: str = "127.0.0.1:0",
        *,
        key: bytes = KEY,
        world: str = "w",
        generation: int = 1,
        tls: tuple[ssl.SSLContext | None, ssl.SSLContext | None] = (None, None),
        queue_bytes: int = 1 << 20,
    ) -> None:
        self.events: list[LinkUp | LinkDown] = []
        self.messages: list[tuple[str, Kind, bytes]] = []
        config = LinksConfig(listen=listen, key=key, tls_server=tls[0], tls_client=tls[1], queue_bytes=queue_bytes)
        rng = np.random.default_rng(ord(name))
        me = Self(world, name, generation)
        self.links = Links(config, me, self._message, self.events.append, rng.bytes, rng)

    def _message(self, member: str, kind: Kind, data: bytes) -> None:
        self.messages.append((member, kind, data))


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        for _ in range(1000):
            if done():
                return
            await asyncio.sleep(0.01)


async def joined(*members: Member) -> None:
    names = "abc"
    for member in members:
        await member.links.start()
    addresses = {name: member.links.address for name, member in zip(names, members, strict=False)}
    for member in members:
        member.links.set_peers(addresses)


@pytest.mark.parametrize("at", ["127.0.0.1:0", "unix:{}"])
async def test_messages_both_ways_over_tcp_and_unix(tmp_path: Path, at: str) -> None:
    a, b = Member("a", at.format(tmp_path / "a")), Member("b", at.format(tmp_path / "b"))
    await joined(a, b)
    await until(lambda: bool(a.events and b.events))
    large = bytes(range(256)) * 20_000
    assert a.links.send("b", Kind.MOVE, None, large, False)
    assert a.links.send("b", Kind.BORDER, 1, b"old", True)
    assert a.links.send("b", Kind.BORDER, 1, b"new", True)
    assert b.links.send("a", Kind.UPWARD, None, b"up", False)
    await until(lambda: len(b.messages) == 2 and len(a.messages) == 1)
    assert b.messages == [("a", Kind.BORDER, b"new"), ("a", Kind.MOVE, large)]
    await asyncio.gather(a.links.stop(), b.links.stop())
    assert isinstance(a.events[-1], LinkDown)


async def test_a_restarted_peer_returns_and_its_older_generation_does_not() -> None:
    a, b = Member("a", "127.0.0.1:0"), Member("b", "127.0.0.1:0", generation=5)
    await joined(a, b)
    await until(lambda: bool(a.events))
    await b.links.stop()
    await until(lambda: len(a.events) == 2)
    older = Member("b", b.links.address, generation=4)
    await joined(a_stays := older)
    older.links.set_peers({"a": a.links.address})
    await asyncio.sleep(0.5)
    assert len(a.events) == 2
    await a_stays.links.stop()
    newer = Member("b", b.links.address, generation=6)
    await newer.links.start()
    newer.links.set_peers({"a": a.links.address})
    await until(lambda: a.events[-1] == LinkUp("b", 6))
    await asyncio.gather(a.links.stop(), newer.links.stop())


async def test_a_wrong_key_and_a_wrong_world_get_no_link() -> None:
    for stranger in (
        Member("b", "127.0.0.1:0", key=b"x" * 32),
        Member("b", "127.0.0.1:0", world="other"),
    ):
        a = Member("a", "127.0.0.1:0")
        await joined(a, stranger)
        await asyncio.sleep(0.3)
        assert a.events + stranger.events == []
        await asyncio.gather(a.links.stop(), stranger.links.stop())


def _tls(ca: trustme.CA, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # the handshake compares the member's name
    certificate = ca.issue_cert(name)
    for context in (server, client):
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
        certificate.configure_cert(context)
    return server, client


async def test_mutual_tls_links_and_another_name_or_ca_does_not() -> None:
    ca = trustme.CA()
    for their_ca, certified, linked in ((ca, "b", True), (ca, "c", False), (trustme.CA(), "b", False)):
        a, b = Member("a", key=b"", tls=_tls(ca, "a")), Member("b", key=b"", tls=_tls(their_ca, certified))
        await joined(a, b)
        await asyncio.sleep(0.4)
        assert a.events == ([LinkUp("b", 1)] if linked else [])
        a.links.send("b", Kind.DELTA, None, b"d", False)
        await asyncio.sleep(0.1)
        assert b.messages == ([("a", Kind.DELTA, b"d")] if linked else [])
        await asyncio.gather(a.links.stop(), b.links.stop())


async def test_items_over_the_bound_reset_the_link_and_it_returns() -> None:
    a, b = Member("a", queue_bytes=65_536), Member("b")
    await joined(a, b)
    await until(lambda: bool(a.events and b.events))
    a.links.send("b", Kind.BORDER, None, bytes(65_537), False)
    await until(lambda: len(a.events) == 3)
    assert a.events[1] == LinkDown("b", "its queue is full: the peer reads too slowly")
    assert a.events[2] == LinkUp("b", 1)
    await asyncio.gather(a.links.stop(), b.links.stop())
