"""PostgreSQL: what two shards do at once, step by step: one holds its transaction open until the other waits for it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
import pytest

from shard.durable import postgres_rows
from shard.durable.contract import Batch, Committed, Fenced, Limits
from shard.durable.postgres import schema_name
from shard.durable.spans import span_of
from tests.integration.durable.places import PostgresPlace
from tests.integration.durable.servers import Server
from tests.unit.shard.durable.contract_cases import LEAF_LEVEL, WORLD, entity, put, whole

T = TypeVar("T")


@pytest.fixture
async def place(server: Server) -> AsyncIterator[PostgresPlace]:
    """On the server that is shared."""
    one = PostgresPlace(server.url)
    await one.clear()
    yield one
    await one.close()


class Other:
    """Another shard, within a transaction that it does not end yet."""

    def __init__(self, connection: asyncpg.Connection, watcher: asyncpg.Connection) -> None:
        self.connection = connection
        self._watcher = watcher

    async def fence(self, region: int, epoch: int) -> None:
        await postgres_rows.lock_fences(self.connection, schema_name(WORLD.name))
        await postgres_rows.fence(self.connection, region, epoch, span_of(region, LEAF_LEVEL))

    async def commit(self, batch: Batch) -> Committed:
        committed, _ = await postgres_rows.commit(self.connection, batch, span_of(batch.region, LEAF_LEVEL), Limits())
        return committed

    async def until_waited_for(self, task: "asyncio.Task[T]") -> None:
        """Until the other one waits for a lock, or is through."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'isthmus'"
        )
        for _ in range(1000):
            if task.done() or await self._watcher.fetchval(waiting):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("neither waits nor is through")


@asynccontextmanager
async def other_shard(place: PostgresPlace) -> AsyncGenerator[Other, None]:
    """Its transaction is committed at the end."""
    path = {"search_path": f'"{schema_name(WORLD.name)}"'}
    connection = await asyncpg.connect(place.url, server_settings=path)
    watcher = await asyncpg.connect(place.url)
    try:
        async with connection.transaction():
            yield Other(connection, watcher)
    finally:
        await connection.close()
        await watcher.close()


async def during(place: PostgresPlace, theirs: str, ours: Awaitable[T], *given: object) -> T:
    """What our call comes to if it is made while another shard's one is under way, and ends after it."""

    async def run() -> T:
        return await ours

    async with asyncio.TaskGroup() as group:
        async with other_shard(place) as other:
            await getattr(other, theirs)(*given)
            task = group.create_task(run())
            await other.until_waited_for(task)
    return task.result()


async def test_a_commit_that_meets_a_fence_comes_after_it(place: PostgresPlace) -> None:
    store = await place.open()
    await put(store, entity(1), epoch=5)

    async def commit() -> bool:
        try:
            await store.commit(Batch(1, 5, 11, [entity(1, 2)]))
        except Fenced as fenced:
            return fenced.epoch == 6
        return False

    assert await during(place, "fence", commit(), 4, 6)
    assert (await whole(store)).entities == [entity(1)]


async def test_a_fence_that_meets_a_commit_comes_after_it(place: PostgresPlace) -> None:
    store = await place.open()
    await put(store, entity(1), epoch=5)
    await during(place, "commit", store.fence(1, 6), Batch(1, 5, 11, [entity(2)]))
    loaded = await whole(store)
    assert ([row.id for row in loaded.entities], loaded.tick) == ([1, 2], 11)
    with pytest.raises(Fenced):
        await store.commit(Batch(1, 5, 12))


async def test_a_fence_sees_a_region_that_another_is_adding(place: PostgresPlace) -> None:
    store = await place.open()
    await during(place, "fence", store.fence(1, 8), 4, 7)
    with pytest.raises(Fenced) as info:
        await store.commit(Batch(4, 7, 1))
    assert info.value.epoch == 8


async def test_a_fence_is_refused_by_one_that_was_under_way(place: PostgresPlace) -> None:
    store = await place.open()

    async def fence() -> int:
        try:
            await store.fence(1, 6)
        except Fenced as fenced:
            return fenced.epoch
        return 0

    assert await during(place, "fence", fence(), 4, 7) == 7


@pytest.mark.parametrize(("theirs", "ours"), [(2, 1), (1, 2), (2, 2)])
async def test_of_two_rows_at_once_the_higher_hop_stays(place: PostgresPlace, theirs: int, ours: int) -> None:
    """Neither had been there before."""
    store = await place.open()
    await store.fence(4, 1)
    await store.fence(5, 1)
    batch = Batch(4, 1, 1, [entity(1, ours, 4)])
    committed = await during(place, "commit", store.commit(batch), Batch(5, 1, 1, [entity(1, theirs, 5)]))
    assert committed == Committed([1] if theirs > ours else [])
    assert (await whole(store)).entities == [entity(1, theirs, 5) if theirs > ours else entity(1, ours, 4)]
