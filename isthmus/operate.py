"""What operators ask of a running cluster: which regions are where, a move, a drain. Talks to etcd alone: the one that
is named, or that of a cluster which was started in the same folder.

Decides how a wish becomes keys (docs/CLUSTER.md), and when it counts as done. Not responsible for: carrying wishes out
(the placer, the members).
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from cluster.book import Book
from cluster.records import (
    MERGE,
    SPLIT,
    AskRecord,
    WishRecord,
    ask_key,
    claim_key,
    drain_key,
    member_key,
    wish_key,
    write,
)
from cluster.regions import level_of, quarters
from cluster.store.contract import Delete, Put, RevisionIs, Store, StoreError, Transaction, WatchItem
from isthmus.config import Config
from isthmus.fleet.beside import endpoints_here
from isthmus.fleet.setup import SetupError, open_store

WISH_S = 60
"""How long an operator waits; then the wish ends."""
EXIT_FAILED = 1
EXIT_CONFIG = 78
EXIT_UNAVAILABLE = 69


class NotDone(Exception):
    """What was asked did not come about; the text says why."""


def run(config: Config, ask: Callable[[Store], Coroutine[Any, Any, str]]) -> None:
    """Carry out one wish and print what came of it; ends the process with a sentence and a status other than 0 if it
    fails."""

    async def main() -> None:
        store = open_store(with_endpoints(config), np.random.default_rng())
        try:
            sys.stdout.write(f"{await ask(store)}\n")
        finally:
            await store.close()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except NotDone as error:
        sys.exit(_said(str(error), EXIT_FAILED))
    except SetupError as error:
        sys.exit(_said(str(error), EXIT_CONFIG))
    except (StoreError, OSError) as error:
        sys.exit(_said(str(error), EXIT_UNAVAILABLE))


def with_endpoints(config: Config) -> Config:
    """Where no etcd is named, that of the cluster that was started here."""
    own = config.cluster
    return replace(config, cluster=replace(own, etcd_endpoints=own.etcd_endpoints or endpoints_here()))


def _said(text: str, status: int) -> int:
    Console(stderr=True).print(f"isthmus: {text}", style="bold red", markup=False)
    return status


async def _books(store: Store) -> AsyncGenerator[Book, None]:
    """The book after each news of the store, for WISH_S. Raises NotDone when nothing more comes in time."""
    book = Book()
    items: AsyncGenerator[WatchItem, None] = store.watch("")
    end_s = time.monotonic() + WISH_S
    async with aclosing(items):
        while True:
            try:
                book.watched(await asyncio.wait_for(anext(items), end_s - time.monotonic()))
            except TimeoutError:
                raise NotDone(f"it has not come about within {WISH_S} s") from None
            yield book


async def _book(store: Store) -> Book:
    async with aclosing(_books(store)) as books:
        return await anext(books)


async def list_regions(store: Store) -> str:
    """A table of all regions: owner, epoch, load."""
    book = await _book(store)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("region", "owner", "epoch", "load", ""):
        table.add_column(heading)
    for region, entry in sorted(book.regions.items()):
        owner = book.owner(region)
        load = "" if owner is None else f"{owner.record.regions.get(region, 0.0):.3f}"
        note = "owner is gone" if owner is None else "owner drains" if owner.record.draining else ""
        table.add_row(str(region), entry.record.owner, str(entry.record.epoch), load, note)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    with console.capture() as printed:
        console.print(table, markup=False)
    return printed.get().rstrip("\n")


async def move_region(store: Store, region: int, to: str) -> str:
    """Have a region moved to a shard; returns what came of it, as all below. Raises NotDone."""
    book = await _book(store)
    _known(book, region)
    if to not in {member.name for member in book.shards()}:
        raise NotDone(f"there is no shard {to!r}; there are {', '.join(m.name for m in book.shards()) or 'none'}")
    lease = await store.grant(WISH_S)
    await store.transact(Transaction((), (Put(ask_key(region), write(AskRecord(to)), lease.id),)))
    try:
        async with aclosing(_books(store)) as books:
            async for book in books:
                owner = book.owner(region)
                if owner is not None and owner.name == to:
                    return f"region {region} is at {to}, epoch {book.regions[region].record.epoch}"
    finally:
        await store.revoke(lease.id)
    raise AssertionError("the books end by NotDone alone")


async def split_region(store: Store, region: int) -> str:
    """Have a region split into its quarters. Raises NotDone."""
    book = await _book(store)
    _known(book, region)
    deepest = 0 if book.world is None else book.world.level_max
    if level_of(region) >= deepest:
        raise NotDone(f"region {region} is one of the smallest (cluster.region_level_max is {deepest})")
    await _wish(store, region, SPLIT, lambda book: all(n in book.regions for n in quarters(region)))
    return f"region {region} is split: {', '.join(map(str, quarters(region)))}"


async def merge_region(store: Store, region: int) -> str:
    """Have the quarters of a cell become one region; ``region``: the cell, or one of the quarters. Raises NotDone."""
    book = await _book(store)
    cell = region >> 2 if region in book.regions else region
    for quarter in quarters(cell) if cell else ():
        _known(book, quarter)
    least = 0 if book.world is None else book.world.level
    if not cell or level_of(cell) < least:
        raise NotDone(
            f"regions are not merged beyond those that the world began with (cluster.region_level is {least})"
        )
    await _wish(store, cell, MERGE, lambda book: cell in book.regions)
    return f"regions {', '.join(map(str, quarters(cell)))} are one: {cell}"


def _known(book: Book, region: int) -> None:
    if region not in book.regions:
        raise NotDone(f"there is no region {region}; `isthmus region list` names them")


async def _wish(store: Store, cell: int, what: str, is_done: Callable[[Book], bool]) -> None:
    lease = await store.grant(WISH_S)
    await store.transact(Transaction((), (Put(wish_key(cell), write(WishRecord(what)), lease.id),)))
    try:
        async with aclosing(_books(store)) as books:
            async for book in books:
                if is_done(book):
                    return
    finally:
        await store.revoke(lease.id)


async def drain(store: Store, name: str) -> str:
    """Have a member move away what it has, and end. Raises NotDone."""
    book = await _book(store)
    member = book.members.get(name)
    if member is None:
        raise NotDone(f"there is no member {name!r}; there are {', '.join(sorted(book.members)) or 'none'}")
    same = RevisionIs(member_key(name), member.revision)
    told = await store.transact(Transaction((same,), (Put(drain_key(name), b"", member.lease),)))
    if not told.ok:
        raise NotDone(f"{name} has just changed: try again")
    async with aclosing(_books(store)) as books:
        async for book in books:
            if not book.is_alive(name, member.lease):
                return f"{name} has drained and ended"
    raise AssertionError("the books end by NotDone alone")


async def release(store: Store, name: str) -> str:
    """Call all ended lives of a member over whom nobody else can call over any more (docs/CLUSTER.md). Raises
    NotDone."""
    book = await _book(store)
    lives = [(life, claim) for life, claim in book.claims.items() if life[0] == name and not book.is_alive(*life)]
    if not lives:
        raise NotDone(f"no ended life of {name!r} has a claim")
    for (_, lease), claim in lives:
        key = claim_key(name, lease)
        await store.transact(Transaction((RevisionIs(key, claim.revision),), (Delete(key),)))
    return f"{name}: {len(lives)} claims removed; its regions go to others now"
