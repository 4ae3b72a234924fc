"""A stored world of version 1 becomes this version's, once; newer ones and other worlds' are refused."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from shard.durable import schema
from shard.durable.contract import ActionRow, Batch, Committed, Damage, EntityRow, Incompatible, Loaded, PoseRow
from shard.durable.schema import VERSION
from shard.durable.spans import span_of
from tests.integration.durable.conftest import EnginePlace
from tests.integration.durable.places import SqlitePlace
from tests.unit.shard.durable.contract_cases import LEAF_LEVEL, WORLD, entity, put, whole

OLD = "version_1.sql"
SUM = "the checksum does not fit"
FOUND = Loaded(
    120,
    [EntityRow(1, 1, 64, b"\x81\xa1x\x01"), EntityRow(2, 7, 80, b""), EntityRow((1 << 64) - 1, 3, 127, b"last")],
    [PoseRow(64, 1790000002, b"p2")],
    [ActionRow(7, 1, 100, b"yes"), ActionRow(7, 2, 120, b"no"), ActionRow((1 << 64) - 1, 1, 110, b"")],
    [
        Damage("action 1 of session 8", SUM),
        Damage("action 3 of session 7", SUM),
        Damage("entity 4", SUM),
        Damage("place of session 8", SUM),
    ],
)


def in_order(loaded: Loaded) -> Loaded:
    """Damage is named in no particular order."""
    return replace(loaded, damage=sorted(loaded.damage, key=lambda damage: damage.what))


async def test_a_world_of_version_1_is_read_as_it_was(place: EnginePlace) -> None:
    await place.lay_down(OLD)
    store = await place.open()
    assert in_order(await whole(store)) == FOUND
    assert await store.newest_epoch(1) == 3
    # A session is where its newest sound action was.
    here = {action.session for action in (await store.load(*span_of(5, LEAF_LEVEL))).actions}
    assert here == {7}
    assert await store.commit(Batch(4, 3, 130, [entity(3, 4, 4)])) == Committed([3]), "a tombstone was lost"
    assert in_order(await whole(await place.open())) == replace(FOUND, tick=130)


async def test_many_open_an_old_world_at_once(place: EnginePlace) -> None:
    await place.lay_down(OLD)
    stores = await asyncio.gather(*(place.open() for _ in range(6)))
    assert [in_order(await whole(store)) for store in stores] == [FOUND] * 6


async def test_an_old_file_that_another_one_writes_is_waited_for(tmp_path: Path) -> None:
    """To change an old file's journal mode SQLite needs it alone, and does not wait by itself."""
    old = SqlitePlace(tmp_path / "world.db")
    await old.lay_down(OLD)
    with closing(sqlite3.connect(old.path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("SELECT count(*) FROM world").fetchone()
        opening = asyncio.create_task(old.open())
        done, _ = await asyncio.wait([opening], timeout=0.3)
        assert not done, opening.exception()
        writer.execute("COMMIT")
        assert in_order(await whole(await opening)) == FOUND
    await old.close()


async def test_many_make_a_new_world_at_once(place: EnginePlace) -> None:
    stores = await asyncio.gather(*(place.open() for _ in range(6)))
    await put(stores[0], entity(1))
    assert (await whole(stores[5])).entities == [entity(1)]


async def test_a_step_that_fails_leaves_the_old_world(place: EnginePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.lay_down(OLD)
    broken = replace(schema.STEPS[2], after=("DROP TABLE action_1", "DROP TABLE there_is_none"))
    with monkeypatch.context() as patch:
        patch.setitem(schema.STEPS, 2, broken)
        with pytest.raises(Exception, match="there_is_none"):
            await place.open()
    assert in_order(await whole(await place.open())) == FOUND


async def test_a_newer_version_is_refused(place: EnginePlace) -> None:
    await put(await place.open(), entity(1))
    await place.sql("UPDATE schema_version SET version = 9")
    with pytest.raises(Incompatible, match=f"schema version 9 and this program knows {VERSION}: run the newer program"):
        await place.open()


async def test_another_world_is_refused(place: EnginePlace) -> None:
    await place.open()
    with pytest.raises(Incompatible, match=r"leaf_level is 3 there and 4 here"):
        await place.open(world=replace(WORLD, leaf_level=4))
    with pytest.raises(Incompatible, match=r"seed is \d+ there and 1 here"):
        await place.open(world=replace(WORLD, seed=1))


async def test_a_damaged_identity_is_refused(place: EnginePlace) -> None:
    await place.open()
    await place.sql("UPDATE world SET side_m = 99")
    with pytest.raises(Incompatible, match="whose world it is: it is damaged"):
        await place.open()


async def test_tables_of_another_program_are_left_alone(place: EnginePlace) -> None:
    await place.lay_down("another_program.sql")
    with pytest.raises(Incompatible, match="another program"):
        await place.open()
