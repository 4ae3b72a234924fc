"""The contract on the pure core, and what it decides by the time that it is told."""

import pytest

from shard.durable.contract import ActionRow, Batch, Committed, Durable, Gone, Limits
from shard.durable.model import DurableCore, MemoryDurable
from tests.unit.shard.durable.contract_cases import WHOLE, WORLD, DurableContract, Place, entity


class MemoryPlace:
    """A core that several clients share."""

    def __init__(self) -> None:
        self._core: DurableCore | None = None

    async def open(self, limits: Limits | None = None) -> Durable:
        self._core = self._core or DurableCore(WORLD, limits)
        return MemoryDurable(self._core)


class TestMemory(DurableContract):
    @pytest.fixture
    def place(self) -> Place:
        return MemoryPlace()


def test_time_decides_what_is_forgotten() -> None:
    core = DurableCore(WORLD, Limits(session_kept_s=100, tombstone_kept_s=10))
    core.fence(1, 1)
    core.commit(Batch(1, 1, 1, gone=[Gone(1, 5)], actions=[ActionRow(7, 1, 1, b"")]), now_s=0.0)
    core.prune(10.0)
    core.prune(5.0)  # clocks that run backwards change nothing
    assert core.commit(Batch(1, 1, 2, [entity(1, 5)]), now_s=10.0) == Committed([1])
    core.prune(10.5)
    assert core.commit(Batch(1, 1, 3, [entity(1, 5)]), now_s=11.0) == Committed([])
    core.commit(Batch(1, 1, 4, actions=[ActionRow(7, 2, 1, b"")]), now_s=50.0)
    core.prune(150.0)
    assert len(core.load(*WHOLE).actions) == 2
    core.prune(150.5)
    assert core.load(*WHOLE).actions == []


async def test_a_store_in_memory_prunes_now_and_then() -> None:
    now_s = [0.0]
    core = DurableCore(WORLD, Limits(tombstone_kept_s=10))
    store = MemoryDurable(core, lambda: now_s[0])
    await store.fence(1, 1)
    await store.commit(Batch(1, 1, 1, gone=[Gone(1, 5)]))
    now_s[0] = 100.0
    await store.commit(Batch(1, 1, 2))
    assert await store.commit(Batch(1, 1, 3, [entity(1, 1)])) == Committed([])
