"""Real links over loopback: they come up, carry, are lost and come back; strangers and wrong keys stay outside."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from cluster.links import LinkDown, LinkUp
from cluster.links.tally import Ended
from protocol.carried import Kind
from tests.integration.links.members import Hand, Member, joined, until


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
    await until(lambda: a.links.tally.strangers[Ended.REFUSED] >= 2)
    assert len(a.events) == 2
    await a_stays.links.stop()
    newer = Member("b", b.links.address, generation=6)
    await newer.links.start()
    newer.links.set_peers({"a": a.links.address})
    await until(lambda: a.events[-1] == LinkUp("b", 6, 1))
    await asyncio.gather(a.links.stop(), newer.links.stop())


@pytest.mark.parametrize("other", [{"key": b"x" * 32}, {"world": "other"}], ids=["key", "world"])
async def test_a_wrong_key_and_a_wrong_world_get_no_link(other: dict[str, Any]) -> None:
    a, stranger = Member("a"), Member("b", **other)
    await joined(a, stranger)
    await until(lambda: a.links.tally.strangers.total() >= 2)
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


async def test_mutual_tls_links() -> None:
    ca = trustme.CA()
    a, b = Member("a", key=b"", tls=_tls(ca, "a")), Member("b", key=b"", tls=_tls(ca, "b"))
    await joined(a, b)
    await until(lambda: a.is_linked("b"))
    a.links.send("b", Kind.DELTA, None, b"d", False)
    await until(lambda: b.messages == [("a", Kind.DELTA, b"d")])
    await asyncio.gather(a.links.stop(), b.links.stop())


@pytest.mark.parametrize("of_another", ["name", "ca"])
async def test_a_certificate_of_another_name_or_another_ca_gets_no_link(of_another: str) -> None:
    ca = trustme.CA()
    theirs = _tls(trustme.CA(), "b") if of_another == "ca" else _tls(ca, "c")
    a, b = Member("a", key=b"", tls=_tls(ca, "a")), Member("b", key=b"", tls=theirs)
    await joined(a, b)
    await until(lambda: a.links.tally.dials_failed + a.links.tally.strangers.total() >= 2)
    assert not a.links.send("b", Kind.DELTA, None, b"d", False)
    assert a.events + b.events == []
    await asyncio.gather(a.links.stop(), b.links.stop())


async def test_a_stranger_under_tls_who_says_nothing_is_sent_away() -> None:
    ca = trustme.CA()
    a, b = Member("a", key=b"", tls=_tls(ca, "a")), Member("b", key=b"", tls=_tls(ca, "b"))
    await b.links.start()
    hands = [await Hand(b.links.address).connect() for _ in range(20)]
    await joined(a)
    b.links.set_peers({"a": a.links.address})
    a.links.set_peers({"b": b.links.address})
    await until(lambda: a.is_linked("b") and b.is_linked("a"))
    assert all([await hand.ended() for hand in hands])
    assert b.is_linked("a")
    await asyncio.gather(a.links.stop(), b.links.stop())


async def test_items_over_the_bound_reset_the_link_and_it_returns() -> None:
    a, b = Member("a", queue_bytes=65_536), Member("b")
    await joined(a, b)
    await until(lambda: bool(a.events and b.events))
    a.links.send("b", Kind.BORDER, None, bytes(65_537), False)
    await until(lambda: len(a.events) == 3)
    assert a.events[1] == LinkDown("b", "its queue is full: the peer reads too slowly")
    assert a.events[2] == LinkUp("b", 1, 1)
    await asyncio.gather(a.links.stop(), b.links.stop())
