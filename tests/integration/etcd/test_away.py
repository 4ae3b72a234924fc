"""Servers that die, links that break, history that is forgotten meanwhile: what a client promises all the same."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import aclosing, suppress

import pytest

from cluster.store.contract import (
    Change,
    DeletePrefix,
    KeyAbsent,
    LeaseLost,
    Put,
    StoreUnavailable,
    Transaction,
)
from cluster.store.etcd import EtcdStore
from cluster.store.etcd_config import EtcdConfig
from tests.integration.etcd.cable import Cable, Mode
from tests.integration.etcd.clients import fresh_namespace, opened, operating
from tests.integration.etcd.servers import Member, running
from tests.unit.cluster.store.contract_cases import Follower, put, upcoming_batch, upcoming_list


@pytest.fixture
def alone(version: str) -> Iterator[Member]:
    """A member that the test may kill."""
    with running(version) as (only,):
        yield only


async def test_a_killed_server_comes_back(alone: Member) -> None:
    """Watches go on without gap, leases are kept, calls meanwhile fail cleanly."""
    async with opened(alone.url, operation_timeout_s=0.3) as store, aclosing(store.watch("w/")) as watch:
        await upcoming_list(watch)
        lease = await store.grant(60)
        revision = await put(store, "w/a", b"", lease.id)
        assert (await upcoming_batch(watch)).revision == revision

        alone.kill()
        with pytest.raises(StoreUnavailable, match="no endpoint") as caught:
            await put(store, "w/b")
        assert not caught.value.unknown
        with pytest.raises(StoreUnavailable):
            await store.keep_alive(lease)

        alone.start()
        assert (await store.keep_alive(lease)).ttl_s == 60
        assert await put(store, "w/c") == revision + 1
        assert (await upcoming_batch(watch)).changes[0].key == "w/c"


async def test_a_watch_survives_kills_while_others_write(alone: Member) -> None:
    namespace = fresh_namespace()
    async with opened(alone.url, namespace=namespace) as reader, opened(alone.url, namespace=namespace) as writer:
        follower = Follower()

        async def write() -> None:
            for n in range(60):
                if n in (20, 40):
                    alone.kill()
                    await asyncio.to_thread(alone.start)
                done = False
                while not done:
                    with suppress(StoreUnavailable):  # of unknown outcome too: putting the same twice is harmless
                        await put(writer, f"w/{n % 7}", b"%d" % n)
                        done = True
            await put(writer, "w/end")

        await asyncio.gather(write(), follower.follow(reader.watch("w/"), "w/end"))
        assert follower.relists == 1
        assert follower.records == {record.key: record for record in (await reader.list("w/")).records}


async def test_history_forgotten_while_away_is_listed_anew(member: Member) -> None:
    namespace = fresh_namespace()
    async with (
        Cable(member.client_port) as cable,
        opened(cable.url, namespace=namespace) as store,
        opened(member.url, namespace=namespace) as other,
        operating(member.url) as operator,
        aclosing(store.watch("w/")) as watch,
    ):
        follower = Follower()
        await put(other, "w/a", b"1")
        follower.apply(await upcoming_list(watch))
        cable.cut()
        await other.transact(Transaction(operations=(DeletePrefix("w/"), Put("x", b""))))
        await put(other, "w/b", b"2")
        newest = await put(other, "w/b", b"3")
        await operator.compact(newest)
        cable.mode = Mode.THROUGH
        relisted = await upcoming_list(watch)
        assert [(record.key, record.value) for record in relisted.records] == [("w/b", b"3")]
        revision = await put(other, "w/c")
        assert (await upcoming_batch(watch)).revision == revision


async def test_a_deletion_at_the_compacted_revision_is_not_missed(member: Member) -> None:
    """etcd's issue 19179: its own watch from exactly that revision may leave the deletion out."""
    namespace = fresh_namespace()
    async with (
        Cable(member.client_port) as cable,
        opened(cable.url, namespace=namespace) as store,
        opened(member.url, namespace=namespace) as other,
        operating(member.url) as operator,
        aclosing(store.watch("w/")) as watch,
    ):
        follower = Follower()
        follower.apply(await upcoming_list(watch))
        for value in (b"2", b"3", b"4"):
            await put(other, "w/k", value)
            follower.apply(await upcoming_batch(watch))
        cable.cut()
        deletion = (await other.transact(Transaction(operations=(DeletePrefix("w/k"),)))).revision
        await put(other, "w/end")
        await operator.compact(deletion)
        cable.mode = Mode.THROUGH
        while "w/end" not in follower.records:
            follower.apply(await asyncio.wait_for(anext(watch), 20))
        assert follower.records.keys() == {"w/end"}


async def test_a_transaction_whose_answer_is_lost_is_not_repeated(member: Member) -> None:
    namespace = fresh_namespace()
    async with (
        Cable(member.client_port) as cable,
        opened(cable.url, member.url, namespace=namespace) as store,
        opened(member.url, namespace=namespace) as other,
    ):
        first = await put(store, "count", b"1")
        cable.mode = Mode.ONE_WAY
        with pytest.raises(StoreUnavailable, match="may have been done") as caught:
            await put(store, "count", b"2")
        assert caught.value.unknown
        async with aclosing(other.watch("count", first + 1)) as watch:  # etcd carries it out in its own time
            record = (await upcoming_batch(watch)).changes[0].record
        assert record is not None
        assert record.value == b"2"
        assert record.mod_revision == first + 1
        assert (await store.list("")).revision == first + 1  # the next call takes the other endpoint


async def test_a_transaction_that_certainly_was_not_sent_is_sent_elsewhere(member: Member) -> None:
    async with Cable(member.client_port) as cable:
        dead_url = cable.url
    async with opened(dead_url, member.url) as store:
        assert (await store.transact(Transaction((KeyAbsent("a"),), (Put("a", b""),)))).ok


async def test_a_lease_counts_from_the_request_that_was_answered(member: Member) -> None:
    """The first endpoint takes the request and never answers: its time is lost to the holder, not won."""
    seconds = itertools.count(100)
    async with Cable(member.client_port) as cable:
        config = EtcdConfig(endpoints=(cable.url, member.url), namespace=fresh_namespace(), attempt_timeout_s=0.3)
        store = EtcdStore(config, clock=lambda: float(next(seconds)), jitter=lambda: 0.0)
        lease = await store.grant(60)
        assert lease.sent_s == 100.0
        cable.mode = Mode.SILENT
        kept = await store.keep_alive(lease)
        assert kept.sent_s == 102.0  # 101 was told for the request that went nowhere
        await store.revoke(kept.id)
        with pytest.raises(LeaseLost):
            await store.keep_alive(kept)
        await store.close()


async def test_a_watch_leaves_an_endpoint_that_fell_silent(member: Member) -> None:
    namespace = fresh_namespace()
    async with (
        Cable(member.client_port) as cable,
        opened(cable.url, member.url, namespace=namespace, watch_probe_s=0.2, attempt_timeout_s=0.3) as store,
        opened(member.url, namespace=namespace) as other,
        aclosing(store.watch("w/")) as watch,
    ):
        await upcoming_list(watch)
        await put(other, "w/a")
        await upcoming_batch(watch)
        cable.mode = Mode.SILENT
        revision = await put(other, "w/b")
        batch = await upcoming_batch(watch)
        assert (batch.revision, [change.key for change in batch.changes]) == (revision, ["w/b"])


async def test_a_silent_watch_is_kept_while_its_endpoint_answers(member: Member) -> None:
    namespace = fresh_namespace()
    async with (
        Cable(member.client_port) as cable,
        opened(cable.url, namespace=namespace, watch_probe_s=0.02) as store,
        aclosing(store.watch("w/")) as watch,
    ):
        await upcoming_list(watch)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(watch)
        assert cable.relayed <= 3  # the listing's, the watch's and the probe's connection


async def test_a_name_instead_of_a_number(member: Member) -> None:
    async with opened(member.named_url) as store, aclosing(store.watch("w/")) as watch:
        await upcoming_list(watch)
        await put(store, "w/a")
        assert [change.key for change in (await upcoming_batch(watch)).changes] == ["w/a"]


async def test_namespaces_do_not_see_each_other(member: Member) -> None:
    async with opened(member.url, namespace="/one/") as one, opened(member.url, namespace="/one/two/") as two:
        await put(one, "a", b"1")
        await put(two, "a", b"2")
        assert [record.value for record in (await two.list("")).records] == [b"2"]
        assert [record.key for record in (await one.list("")).records] == ["a", "two/a"]
        async with aclosing(two.watch("")) as watch:
            await upcoming_list(watch)
            await put(one, "b")
            await two.transact(Transaction(operations=(DeletePrefix("a"),)))
            assert (await upcoming_batch(watch)).changes == (Change("a", None),)
        assert await one.get("a") is not None


async def test_many_calls_to_a_silent_server_end_together(member: Member) -> None:
    """Also while they all wait for one token: each call's time has an end, not each in turn."""
    limits = {"attempt_timeout_s": 0.2, "operation_timeout_s": 0.3}
    async with (
        Cable(member.client_port, Mode.SILENT) as cable,
        opened(cable.url, user="shard", password="secret", **limits) as store,
        asyncio.timeout(10),
    ):
        results = await asyncio.gather(*(store.get(f"k{n}") for n in range(200)), return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
