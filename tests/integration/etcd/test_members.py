"""A real cluster of three members: one may go, two may not, and all come back."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress

import pytest

from cluster.store.contract import Put, StoreUnavailable, Transaction
from tests.integration.etcd.clients import fresh_namespace, opened
from tests.integration.etcd.servers import Member, running
from tests.unit.cluster.store.contract_cases import Follower, put, upcoming_list


@pytest.fixture
def three(version: str) -> Iterator[list[Member]]:
    with running(version, members=3) as members:
        yield members


async def test_the_cluster_loses_members(three: list[Member]) -> None:
    """One killed, one frozen, then no majority, then all back: one watch sees everything, one lease lasts."""
    namespace = fresh_namespace()
    urls = [member.url for member in three]
    async with (
        opened(*urls, namespace=namespace, watch_probe_s=0.3, attempt_timeout_s=0.5, operation_timeout_s=10) as store,
        opened(urls[2], namespace=namespace, operation_timeout_s=1.0) as other,
        aclosing(store.watch("w/")) as watch,
    ):
        follower = Follower()
        follower.apply(await upcoming_list(watch))
        lease = await store.grant(60)

        async def written_and_seen(key: str) -> None:
            """A write that may have to wait for an election, and that the watch tells of."""
            done = False
            while not done:
                with suppress(StoreUnavailable):
                    await store.transact(Transaction(operations=(Put(key, b"", lease.id),)))
                    done = True
            while key not in follower.records:
                follower.apply(await asyncio.wait_for(anext(watch), 20))

        await written_and_seen("w/all")
        three[0].kill()
        await written_and_seen("w/first-killed")
        await asyncio.to_thread(three[0].start)
        three[1].freeze()
        await written_and_seen("w/second-frozen")
        three[0].kill()
        with pytest.raises(StoreUnavailable):
            await put(other, "w/no-majority")
        with pytest.raises(StoreUnavailable):
            await other.keep_alive(lease)
        three[1].thaw()
        await asyncio.to_thread(three[0].start)
        await written_and_seen("w/back")
        assert (await store.keep_alive(lease)).ttl_s == 60
        known = {record.key: record for record in (await store.list("w/")).records}
        while follower.records != known:  # the write without majority may have been done after all
            follower.apply(await asyncio.wait_for(anext(watch), 20))
        assert follower.relists == 1
