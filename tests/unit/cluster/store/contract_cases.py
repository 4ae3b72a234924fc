"""What every store has to do, as test methods: a class that inherits them gives a ``world`` fixture.

Not collected here: test_memory.py beside it and tests/integration/etcd/test_contract.py run it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

import numpy as np
import pytest

from cluster.store.contract import (
    Change,
    Compare,
    Delete,
    DeletePrefix,
    KeyAbsent,
    LeaseLost,
    Operation,
    Put,
    Record,
    Relisted,
    RevisionIs,
    Store,
    StoreClosed,
    Transaction,
    ValueIs,
    WatchBatch,
    WatchItem,
)

PATIENCE_S = 20.0
"""For what has to come; no test depends on how long it takes."""

LEASE_S = 2


class World(Protocol):
    """One empty store and what can be done to it from outside."""

    async def open(self) -> Store:
        """One more client of it, closed by the fixture."""

    async def pass_time(self, seconds: float) -> None:
        """Let the store's clock go on."""

    async def compact(self, revision: int) -> None:
        """Forget the history before this revision."""


async def upcoming(watch: AsyncGenerator[WatchItem, None]) -> WatchItem:
    """The watch's next item."""
    return await asyncio.wait_for(anext(watch), PATIENCE_S)


async def upcoming_list(watch: AsyncGenerator[WatchItem, None]) -> Relisted:
    """The next item, which has to be a listing."""
    item = await upcoming(watch)
    assert isinstance(item, Relisted)
    return item


async def upcoming_batch(watch: AsyncGenerator[WatchItem, None]) -> WatchBatch:
    """The next item, which has to be a batch."""
    item = await upcoming(watch)
    assert isinstance(item, WatchBatch)
    return item


async def put(store: Store, key: str, value: bytes = b"", lease: int | None = None) -> int:
    """Set one key; the revision that did it."""
    result = await store.transact(Transaction(operations=(Put(key, value, lease),)))
    assert result.ok
    return result.revision


class Follower:
    """What a watch's reader knows: the prefix as told, and that nothing was told twice or out of order."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.revision = 0
        self.relists = 0

    def apply(self, item: WatchItem) -> None:
        """Learn one item."""
        if isinstance(item, Relisted):
            assert item.revision >= self.revision
            assert [record.key for record in item.records] == sorted(record.key for record in item.records)
            self.records = {record.key: record for record in item.records}
            self.relists += 1
        else:
            assert item.revision > self.revision
            assert item.changes
            for change in item.changes:
                if change.record is None:
                    del self.records[change.key]  # only what exists is removed
                else:
                    assert change.record.mod_revision == item.revision
                    self.records[change.key] = change.record
        self.revision = item.revision

    async def follow(self, watch: AsyncGenerator[WatchItem, None], until: str) -> None:
        """Learn until the key ``until`` exists."""
        async with aclosing(watch), asyncio.timeout(PATIENCE_S):
            async for item in watch:
                self.apply(item)
                if until in self.records:
                    return


class StoreContract:
    """The cases."""

    # ------------------------------------------------------------------------------------------------ transactions

    async def test_an_empty_store_has_nothing(self, world: World) -> None:
        store = await world.open()
        assert await store.get("a") is None
        records, revision = await store.list("")
        assert records == ()
        assert revision >= 1

    async def test_puts_raise_the_revision_and_keep_the_creation(self, world: World) -> None:
        store = await world.open()
        first = await put(store, "a", b"1")
        second = await put(store, "a", b"\x00\xff binary")
        assert second == first + 1
        assert await store.get("a") == Record("a", b"\x00\xff binary", first, second)

    async def test_a_transaction_has_one_revision(self, world: World) -> None:
        store = await world.open()
        result = await store.transact(Transaction(operations=tuple(Put(f"k{n:03}", b"x") for n in range(128))))
        listing = await store.list("k")
        assert len(listing.records) == 128
        assert {record.mod_revision for record in listing.records} == {result.revision}
        assert listing.revision == result.revision

    async def test_what_changes_nothing_leaves_the_revision(self, world: World) -> None:
        store = await world.open()
        revision = await put(store, "a")
        result = await store.transact(Transaction(operations=(Delete("b"), DeletePrefix("c"))))
        assert (result.ok, result.revision) == (True, revision)
        assert (await store.list("")).revision == revision

    async def test_deletions(self, world: World) -> None:
        store = await world.open()
        await store.transact(Transaction(operations=tuple(Put(key, b"") for key in ("a", "a/1", "a/2", "a0", "b"))))
        before = (await store.list("")).revision
        result = await store.transact(Transaction(operations=(DeletePrefix("a/"), Delete("b"))))
        assert result.revision == before + 1
        assert [record.key for record in (await store.list("")).records] == ["a", "a0"]

    async def test_prefixes_end_where_they_end(self, world: World) -> None:
        store = await world.open()
        keys = ("p", "p/", "p/a", "p/é", "p/\U0010ffff", "p0", "q")
        await store.transact(Transaction(operations=tuple(Put(key, b"") for key in reversed(keys))))
        assert [record.key for record in (await store.list("p/")).records] == ["p/", "p/a", "p/é", "p/\U0010ffff"]
        assert [record.key for record in (await store.list("")).records] == list(keys)

    async def test_large_listings_are_of_one_revision(self, world: World) -> None:
        store = await world.open()
        for page in range(9):
            puts = tuple(Put(f"n/{page}/{n:03}", b"x") for n in range(125))
            await store.transact(Transaction(operations=puts))
        listing = await store.list("n/")
        assert len(listing.records) == 9 * 125
        assert max(record.mod_revision for record in listing.records) == listing.revision

    async def test_compares_decide(self, world: World) -> None:
        store = await world.open()
        revision = await put(store, "a", b"1")
        truths: dict[Compare, bool] = {
            KeyAbsent("a"): False,
            KeyAbsent("b"): True,
            RevisionIs("a", revision): True,
            RevisionIs("a", revision + 1): False,
            RevisionIs("b", revision): False,
            ValueIs("a", b"1"): True,
            ValueIs("a", b""): False,
            ValueIs("b", b""): False,
        }
        for compare, truth in truths.items():
            assert (await store.transact(Transaction((compare,)))).ok is truth, compare
        both = await store.transact(Transaction((KeyAbsent("b"), ValueIs("a", b"2")), (Put("b", b""),)))
        assert not both.ok
        assert await store.get("b") is None

    async def test_a_failed_transaction_tells_what_it_saw(self, world: World) -> None:
        store = await world.open()
        first = await put(store, "a", b"1")
        transaction = Transaction(
            (ValueIs("a", b"2"), KeyAbsent("b"), ValueIs("a", b"1")), (Delete("a"),), (Put("a", b"3"), Put("c", b"4"))
        )
        result = await store.transact(transaction)
        assert not result.ok
        assert result.revision == first + 1
        assert result.found == (Record("a", b"1", first, first),)
        assert result.current("a") == result.found[0]
        assert result.current("b") is None
        assert await store.get("a") == Record("a", b"3", first, first + 1)
        assert (await store.get("c")) == Record("c", b"4", first + 1, first + 1)

    async def test_of_many_claims_one_wins(self, world: World) -> None:
        stores = [await world.open() for _ in range(3)]
        claims = [Transaction((KeyAbsent("region"),), (Put("region", str(n).encode()),)) for n in range(9)]
        results = await asyncio.gather(*(stores[n % 3].transact(claim) for n, claim in enumerate(claims)))
        winners = [n for n, result in enumerate(results) if result.ok]
        assert len(winners) == 1
        losers = [result.current("region") for result in results if not result.ok]
        assert {loser.value if loser else None for loser in losers} == {str(winners[0]).encode()}

    async def test_counting_loses_nothing(self, world: World) -> None:
        stores = [await world.open() for _ in range(3)]
        await put(stores[0], "count", b"0")

        async def count(store: Store) -> None:
            record = await store.get("count")
            for _ in range(10):
                while True:
                    assert record is not None
                    value = str(int(record.value) + 1).encode()
                    result = await store.transact(
                        Transaction((RevisionIs("count", record.mod_revision),), (Put("count", value),))
                    )
                    if result.ok:
                        record = Record("count", value, record.create_revision, result.revision)
                        break
                    record = result.current("count")

        await asyncio.gather(*map(count, stores))
        record = await stores[0].get("count")
        assert record is not None
        assert record.value == b"30"

    async def test_a_large_value_comes_back(self, world: World) -> None:
        store = await world.open()
        value = np.random.default_rng(1).bytes(700_000)
        await put(store, "a", value)
        record = await store.get("a")
        assert record is not None
        assert record.value == value

    # ------------------------------------------------------------------------------------------------------ leases

    async def test_revoking_a_lease_takes_its_records_at_once(self, world: World) -> None:
        store, other = await world.open(), await world.open()
        lease = await store.grant(60)
        assert lease.ttl_s == 60
        await store.transact(Transaction(operations=(Put("m/b", b"", lease.id), Put("m/a", b"", lease.id))))
        await put(store, "m/c")
        async with aclosing(other.watch("m/")) as watch:
            known = await upcoming_list(watch)
            assert [record.lease for record in known.records] == [lease.id, lease.id, None]
            await other.revoke(lease.id)  # who knows the id need not be its holder
            assert await upcoming(watch) == WatchBatch(known.revision + 1, (Change("m/a", None), Change("m/b", None)))
        await store.revoke(lease.id)  # over already: no error
        with pytest.raises(LeaseLost):
            await store.keep_alive(lease)

    async def test_a_put_with_a_lost_lease_does_nothing(self, world: World) -> None:
        store = await world.open()
        lease = await store.grant(60)
        await store.revoke(lease.id)
        revision = (await store.list("")).revision
        with pytest.raises(LeaseLost) as caught:
            await store.transact(Transaction(operations=(Put("a", b""), Put("b", b"", lease.id))))
        assert caught.value.lease_id == lease.id
        assert await store.list("") == ((), revision)

    async def test_a_lease_ends_by_itself(self, world: World) -> None:
        store, other = await world.open(), await world.open()
        lease = await store.grant(LEASE_S)
        await put(store, "m/a", b"", lease.id)
        async with aclosing(other.watch("m/")) as watch:
            assert len((await upcoming_list(watch)).records) == 1
            await world.pass_time(lease.ttl_s)
            assert (await upcoming_batch(watch)).changes == (Change("m/a", None),)
        with pytest.raises(LeaseLost):
            await store.keep_alive(lease)

    async def test_a_lease_kept_alive_goes_on(self, world: World) -> None:
        store = await world.open()
        lease = await store.grant(LEASE_S)
        await put(store, "m/a", b"", lease.id)
        for _ in range(2):
            await world.pass_time(lease.ttl_s * 0.6)
            kept = await store.keep_alive(lease)
            assert kept.id == lease.id
            assert kept.ttl_s == lease.ttl_s
            assert kept.sent_s > lease.sent_s
            assert kept.ends_s == kept.sent_s + kept.ttl_s
            lease = kept
        assert await store.get("m/a") is not None
        await store.revoke(lease.id)

    async def test_a_record_can_leave_its_lease(self, world: World) -> None:
        store = await world.open()
        lease = await store.grant(60)
        await store.transact(Transaction(operations=(Put("a", b"", lease.id), Put("b", b"", lease.id))))
        await put(store, "a")
        await store.revoke(lease.id)
        assert [record.key for record in (await store.list("")).records] == ["a"]

    # ----------------------------------------------------------------------------------------------------- watches

    async def test_a_watch_lists_and_then_follows(self, world: World) -> None:
        store, other = await world.open(), await world.open()
        first = await put(store, "w/a", b"1")
        async with aclosing(other.watch("w/")) as watch:
            assert await upcoming(watch) == Relisted(first, (Record("w/a", b"1", first, first),))
            await put(store, "x", b"not below the prefix")
            result = await store.transact(Transaction(operations=(Put("w/b", b"2"), Delete("w/a"), Put("y", b""))))
            created = Record("w/b", b"2", result.revision, result.revision)
            assert await upcoming(watch) == WatchBatch(result.revision, (Change("w/b", created), Change("w/a", None)))
            result = await store.transact(Transaction(operations=(DeletePrefix("w/"),)))
            assert await upcoming(watch) == WatchBatch(result.revision, (Change("w/b", None),))

    async def test_a_watch_can_begin_in_the_past_and_at_present(self, world: World) -> None:
        store = await world.open()
        first = await put(store, "w/a", b"1")
        await put(store, "x")
        await put(store, "w/a", b"2")
        async with aclosing(store.watch("w/", first)) as watch:
            assert [(await upcoming_batch(watch)).revision for _ in range(2)] == [first, first + 2]
        async with aclosing(store.watch("w/", first + 1)) as watch:
            assert (await upcoming_batch(watch)).revision == first + 2
        async with aclosing(store.watch("w/", first + 3)) as watch:
            batch, _ = await asyncio.gather(upcoming_batch(watch), put(store, "w/b", b"3"))
            assert batch.changes[0].key == "w/b"

    async def test_a_watch_of_forgotten_revisions_begins_anew(self, world: World) -> None:
        store = await world.open()
        first = await put(store, "w/a", b"1")
        await put(store, "w/a", b"2")
        await put(store, "w/b", b"3")
        newest = await put(store, "w/c", b"4")
        await world.compact(newest)
        async with aclosing(store.watch("w/", first)) as watch:
            item = await upcoming_list(watch)
            assert [record.value for record in item.records] == [b"2", b"3", b"4"]
            revision = await put(store, "w/d")
            assert (await upcoming_batch(watch)).revision == revision

    async def test_a_watch_of_revisions_to_come_doubts_what_it_was_told(self, world: World) -> None:
        """A store that was put back to an earlier state must not be waited for."""
        store = await world.open()
        revision = await put(store, "w/a", b"1")
        async with aclosing(store.watch("w/", revision + 1_000)) as watch:
            assert (await upcoming_list(watch)).revision == revision

    @pytest.mark.parametrize("seed", [1, 2])
    async def test_watches_tell_everything_once(self, world: World, seed: int) -> None:
        """Writers put, delete and use leases while watches come and go; all end up knowing the same."""
        rng = np.random.default_rng(seed)
        writers = [await world.open() for _ in range(3)]
        reader = await world.open()
        followers = [Follower() for _ in range(4)]

        async def write(store: Store, name: int) -> None:
            lease = await store.grant(60)
            for n in range(20):
                keys = [f"w/{k}" for k in rng.permutation(12)[:2]]
                match int(rng.integers(4)):
                    case 0:
                        operations: tuple[Operation, ...] = (DeletePrefix(keys[0]),)
                    case 1:
                        operations = (Put(keys[0], b"%d" % n, lease.id), Delete(keys[1]))
                    case _:
                        operations = (Put(keys[0], b"%d.%d" % (name, n)), Put(keys[1], b""), Put(f"other/{name}", b""))
                await store.transact(Transaction(operations=operations))
            await store.revoke(lease.id)

        async def interrupted(follower: Follower) -> None:
            """A reader that leaves after each few items and comes back where it was."""
            while "w/end" not in follower.records:
                start = follower.revision + 1 if follower.relists else None
                async with aclosing(reader.watch("w/", start)) as watch:
                    for _ in range(rng.integers(2, 10)):
                        follower.apply(await upcoming(watch))
                        if "w/end" in follower.records:
                            break

        async def write_all() -> None:
            await asyncio.gather(*(write(store, name) for name, store in enumerate(writers)))
            await put(reader, "w/end")

        await asyncio.gather(
            write_all(),
            followers[0].follow(reader.watch("w/"), "w/end"),
            followers[1].follow(writers[0].watch("w/"), "w/end"),
            *(interrupted(follower) for follower in followers[2:]),
        )
        truth = {record.key: record for record in (await reader.list("w/")).records}
        for follower in followers:
            assert follower.records == truth
            assert follower.relists == 1

    async def test_closing_ends_watches_and_refuses_calls(self, world: World) -> None:
        store = await world.open()
        watch = store.watch("w/")
        await upcoming_list(watch)
        async with asyncio.timeout(PATIENCE_S):
            last, _ = await asyncio.gather(anext(watch, None), store.close())
        assert last is None
        assert [item async for item in store.watch("w/")] == []
        with pytest.raises(StoreClosed):
            await store.get("a")
        with pytest.raises(StoreClosed):
            await store.transact(Transaction(operations=(Put("a", b""),)))
        await store.close()

    async def test_wrong_arguments_are_told_before_anything_travels(self, world: World) -> None:
        store = await world.open()
        with pytest.raises(ValueError, match="1 to 512 bytes"):
            await store.get("")
        with pytest.raises(ValueError, match="a lease lasts"):
            await store.grant(0)
        with pytest.raises(ValueError, match="revisions begin with 1"):
            store.watch("w/", 0)
