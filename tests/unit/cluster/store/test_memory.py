"""The contract on the store in memory, under a clock that is turned by hand; and what only this store has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from cluster.store.contract import Change, Put, Relisted, Store, Transaction
from cluster.store.memory import MemoryStore
from cluster.store.model import StoreCore
from tests.unit.cluster.store.contract_cases import StoreContract, World, put, upcoming, upcoming_batch, upcoming_list


class MemoryWorld:
    """All clients in a process share one object."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.core = StoreCore()
        self.store = MemoryStore(clock=lambda: self.now_s, core=self.core)

    async def open(self) -> Store:
        return self.store

    async def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.store.tick()

    async def compact(self, revision: int) -> None:
        self.core.compact(revision)


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        world = MemoryWorld()
        yield world
        await world.store.close()


async def test_without_a_clock_leases_end_in_real_time() -> None:
    store = MemoryStore()
    lease = await store.grant(1)
    await put(store, "a", b"", lease.id)
    async with aclosing(store.watch("")) as watch:
        await upcoming_list(watch)
        assert (await upcoming_batch(watch)).changes == (
            Change("a", None),
        )  # nobody else calls: the watch wakes itself
    await store.close()


async def test_a_reader_that_lags_costs_no_memory() -> None:
    core = StoreCore(history_max=10)
    store = MemoryStore(core=core)
    async with aclosing(store.watch("")) as watch:
        await upcoming_list(watch)
        for n in range(50):
            await put(store, "a", b"%d" % n)
        item = await upcoming(watch)
        assert isinstance(item, Relisted)
        assert item.records[0].value == b"49"
    await store.close()


async def test_a_waiting_watch_can_be_cancelled() -> None:
    store = MemoryStore()
    watch = store.watch("")
    await upcoming_list(watch)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(watch)
    await store.transact(Transaction(operations=(Put("a", b""),)))
    await store.close()
