"""What membership costs each member: links that say nothing, messages, sessions of other gateways, news of etcd.

In this process, by its CPU time. Not responsible for: etcd's own part (``stores``).
"""

import asyncio
import os
import time
import tracemalloc
from dataclasses import dataclass

import numpy as np

from cluster.book import Book
from cluster.links import Links, LinksConfig, Self
from cluster.moves import Moves
from cluster.records import SHARD, MemberRecord, RegionRecord, member_key, region_key, write
from cluster.store.contract import Change, Record, WatchBatch
from protocol import mesh
from protocol.carried import Kind
from server.session.roster import Roster, digest

PEERS = 40
IDLE_S = 5.0
MESSAGES = 20_000
MESSAGE_BYTES = 200
SESSIONS = 20_000
NEWS = 2_000
REGIONS_FEW, REGIONS_MANY = 4, 4_000


@dataclass(frozen=True, slots=True)
class MemberCosts:
    """See ``model.Costs``."""

    message_us: float
    link_us: float
    session_bytes: float
    session_us: float
    book_us: float
    """One change of a member's record, in the book alone: ``model.Costs.event_us`` has parsing besides."""
    event_region_us: float


async def _links() -> tuple[float, float]:
    """(one message, both ends; one idle link, one end, one second), microseconds."""
    config = LinksConfig(listen="127.0.0.1:0", key=os.urandom(32))
    heard, ups, all_heard, all_up = 0, 0, asyncio.Event(), asyncio.Event()

    def took(member: str, kind: Kind, data: bytes) -> None:
        nonlocal heard
        heard += 1
        if heard == MESSAGES:
            all_heard.set()

    def told(event: object) -> None:
        nonlocal ups
        ups += 1
        if ups == 2 * PEERS:
            all_up.set()

    def make(name: str) -> Links:
        return Links(config, Self("bench", name, 1), took, told, os.urandom, rng)

    rng = np.random.default_rng(1)
    hub, others = make("a"), [make(f"b{k}") for k in range(PEERS)]
    for each in (hub, *others):
        await each.start()
    for other in others:
        other.set_peers({"a": hub.address})
    hub.set_peers({f"b{k}": other.address for k, other in enumerate(others)})
    await all_up.wait()
    used_s, began_s = time.process_time(), time.monotonic()
    await asyncio.sleep(IDLE_S)
    idle_us = (time.process_time() - used_s) * 1e6 / (time.monotonic() - began_s) / (2 * PEERS)
    data, used_s = os.urandom(MESSAGE_BYTES), time.process_time()
    for k in range(MESSAGES):
        hub.send(f"b{k % PEERS}", Kind.MESH, 0, data, droppable=False)
        if k % PEERS == PEERS - 1:
            await asyncio.sleep(0)
    await all_heard.wait()
    message_us = (time.process_time() - used_s) * 1e6 / MESSAGES
    for each in (hub, *others):
        await each.stop()
    return message_us, idle_us


def _roster() -> tuple[float, float]:
    """(bytes held for a session elsewhere, microseconds to hear of it)."""
    people = [
        mesh.Person(k, 1 << 16, digest(("bench", str(k), False)), f"Somebody {k}", k + 1, True) for k in range(SESSIONS)
    ]
    encoded = [
        mesh.encode(mesh.Roll(2, 1 + at, at == 0, people[at * 100 : at * 100 + 100], []))
        for at in range(SESSIONS // 100)
    ]
    roster, used_s = Roster(1, 30.0), time.process_time()
    for data in encoded:
        word = mesh.decode(data)
        assert isinstance(word, mesh.Roll)
        roster.heard(word, 1.0)
    session_us = (time.process_time() - used_s) * 1e6 / SESSIONS
    roster = Roster(1, 30.0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for data in encoded:
        word = mesh.decode(data)
        assert isinstance(word, mesh.Roll)
        roster.heard(word, 1.0)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(roster) == SESSIONS
    return (after - before) / SESSIONS, session_us


def _book(regions: int) -> float:
    """Microseconds for one change of one member's record, where there are so many regions."""
    book, moves = Book(), Moves()
    record = write(RegionRecord("shard-1", 7, 3))
    changes = tuple(Change(region_key(4 + k), Record(region_key(4 + k), record, 1, 1)) for k in range(regions))
    book.watched(WatchBatch(1, changes))
    told = write(MemberRecord(SHARD, "127.0.0.1:1"))
    used_s = time.process_time()
    for k in range(NEWS):
        key = member_key(f"shard-{k % 50}")
        book.watched(WatchBatch(2 + k, (Change(key, Record(key, told, 1, 2 + k, 7)),)))
        moves.watched(book, float(k))
    return (time.process_time() - used_s) * 1e6 / NEWS


def measure() -> MemberCosts:
    """All of them; some fifteen seconds."""
    message_us, link_us = asyncio.run(_links())
    session_bytes, session_us = _roster()
    few, many = _book(REGIONS_FEW), _book(REGIONS_MANY)
    return MemberCosts(
        message_us, link_us, session_bytes, session_us, few, max(0.0, many - few) / (REGIONS_MANY - REGIONS_FEW)
    )
