"""A coordination store that is new meets a world that is older: neither a tick nor an entity id is given twice."""

import numpy as np
import pytest

from cluster.member import ID_BLOCK
from cluster.records import IDS, WorldRecord
from cluster.store.memory import MemoryStore
from isthmus.durable import SoFar
from isthmus.fleet.agreed import WorldDiffers, agree

WORLD = WorldRecord("harbour", 1_790_000_000_000, 20, 7, 128.0, 1)


async def never() -> SoFar:
    raise AssertionError("the world is known")


async def test_a_new_world_begins_now() -> None:
    async def nothing() -> SoFar:
        return SoFar()

    store = MemoryStore()
    assert await agree(store, WORLD, nothing) == WORLD
    assert await store.get(IDS) is None
    later = WorldRecord("harbour", WORLD.start_unix_ms + 9, 20, 7, 128.0, 1)
    assert await agree(store, later, never) == WORLD
    with pytest.raises(WorldDiffers, match="seed is 8 here and 7 there"):
        await agree(store, WorldRecord("harbour", 0, 20, 8, 128.0, 1), never)


async def test_a_stored_world_goes_on_behind_what_is_stored() -> None:
    async def stored() -> SoFar:
        return SoFar(tick=1000, next_id=5000)

    store = MemoryStore()
    world = await agree(store, WORLD, stored)
    assert (WORLD.start_unix_ms - world.start_unix_ms) * 20 // 1000 > 1000
    ids = await store.get(IDS)
    assert ids is not None
    assert int(ids.value) >= 5000 + ID_BLOCK
    assert int(ids.value) < np.iinfo(np.int64).max
