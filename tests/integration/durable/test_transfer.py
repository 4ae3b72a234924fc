"""Backups of stores in use, restored into the same and the other engine; what is damaged is left out or refused."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from shard.durable.archive import BadArchive
from shard.durable.contract import (
    ActionRow,
    Batch,
    Committed,
    Damage,
    Durable,
    DurableError,
    EntityRow,
    Gone,
    Incompatible,
    Loaded,
    NotEmpty,
    PoseRow,
)
from shard.durable.schema import VERSION
from shard.durable.transfer import backup, restore
from tests.integration.durable.committer import batch, check
from tests.integration.durable.conftest import EnginePlace
from tests.integration.durable.places import PostgresPlace, SqlitePlace
from tests.integration.durable.servers import Server, running
from tests.unit.shard.durable.contract_cases import LEAF_LEVEL, WORLD, entity, leaf, put, whole

COUNTS = {"entity": 4, "pose": 3, "session": 2, "action": 3, "region": 2, "note": 1}


@pytest.fixture
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[str], EnginePlace]]:
    """A second, empty place of a kind."""
    places: list[EnginePlace] = []

    def make(kind: str) -> EnginePlace:
        if kind == "sqlite":
            places.append(SqlitePlace(tmp_path / "target.db"))
        else:
            server: Server = request.getfixturevalue("second_server")
            places.append(PostgresPlace(server.url))
        return places[-1]

    yield make
    for place in places:
        await place.close()


@pytest.fixture
def second_server() -> object:
    """For restoring beside the server that all tests share."""
    with running() as server:
        yield server


async def settle(store: Durable) -> Loaded:
    """Some of everything."""
    await put(store, entity(1), entity((1 << 64) - 1, 3), entity(3, 5), tick=7)
    await put(store, entity(2, 4, 4), region=4, epoch=3, tick=20, gone=[Gone(3, 5)])
    poses = [PoseRow(leaf(4, n), second, b"%d" % second) for n, second in ((0, 1), (0, 2), (1, 9))]
    actions = [ActionRow(7, 1, 1, b"yes"), ActionRow(7, 2, 1, b"no"), ActionRow(1 << 63, 1, 1, b"")]
    await store.commit(Batch(4, 3, 21, poses=poses, actions=actions, note=b"owed"))
    return await whole(store)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_world_moves_from_engine_to_engine(
    place: EnginePlace, target: Callable[[str], EnginePlace], kind: str, tmp_path: Path
) -> None:
    before = await settle(await place.open())
    file = tmp_path / "world.backup"
    written = await backup(place.url, WORLD, file)
    assert (written.counts, written.damage) == (COUNTS, [])
    there = target(kind)
    assert (await restore(file, there.url, WORLD)).counts == COUNTS
    store = await there.open()
    assert await whole(store) == before
    # Epochs, tombstones and the pose before the newest came along.
    assert await store.newest_epoch(1) == 3
    await store.fence(4, 4)
    assert await store.commit(Batch(4, 4, 22, [entity(3, 5, 4)])) == Committed([3])
    await there.sql(f"UPDATE pose SET data = {there.blob(b'')} WHERE second = 2")
    assert PoseRow(leaf(4), 1, b"1") in (await whole(store)).poses
    again = tmp_path / "again.backup"
    await backup(there.url, WORLD, again)
    assert not (tmp_path / "again.backup.partial").exists()


async def test_a_backup_is_of_one_moment(place: EnginePlace, tmp_path: Path) -> None:
    """While somebody commits."""
    store = await place.open()
    await store.fence(1, 1)
    over = asyncio.Event()
    committed = 0

    async def commit() -> None:
        nonlocal committed
        while not over.is_set():
            await store.commit(batch(committed + 1))
            committed += 1
            await asyncio.sleep(0)

    async def save() -> list[tuple[int, Path]]:
        files = []
        for n in range(5):
            before = committed
            files.append((before, tmp_path / f"{n}.backup"))
            await backup(place.url, WORLD, files[-1][1])
        over.set()
        return files

    async with asyncio.TaskGroup() as group:
        group.create_task(commit())
        saving = group.create_task(save())
    for n, (before, file) in enumerate(saving.result()):
        there = SqlitePlace(tmp_path / f"{n}.db")
        await restore(file, there.url)
        check(await whole(await there.open()), before)
        await there.close()


async def test_a_large_world(place: EnginePlace, tmp_path: Path) -> None:
    """More than a piece of each engine."""
    store = await place.open()
    rows = [EntityRow(n, 1, leaf(1, n % 64), b"%d" % n) for n in range(60_000)]
    await put(store, *rows)
    written = await backup(place.url, WORLD, tmp_path / "file")
    assert written.counts["entity"] == 60_000
    there = SqlitePlace(tmp_path / "there.db")
    await restore(tmp_path / "file", there.url)
    assert (await whole(await there.open())).entities == rows
    await there.close()


async def test_only_an_empty_store_is_restored_into(place: EnginePlace, tmp_path: Path) -> None:
    file = tmp_path / "world.backup"
    before = await settle(await place.open())
    await backup(place.url, WORLD, file)
    with pytest.raises(NotEmpty, match=r"has rows already.*restore into a new one"):
        await restore(file, place.url)
    assert await whole(await place.open()) == before


async def test_of_two_restores_at_once_one_is_done(place: EnginePlace, tmp_path: Path) -> None:
    source = SqlitePlace(tmp_path / "source.db")
    before = await settle(await source.open())
    await source.close()
    await backup(source.url, WORLD, tmp_path / "file")
    store = await place.open()
    done = await asyncio.gather(*(restore(tmp_path / "file", place.url) for _ in range(3)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["NotEmpty", "NotEmpty", "Transferred"]
    assert await whole(store) == before


async def test_another_world_is_not_restored(place: EnginePlace, tmp_path: Path) -> None:
    file = tmp_path / "world.backup"
    await settle(await place.open())
    await backup(place.url, WORLD, file)
    other = replace(WORLD, seed=5)
    with pytest.raises(Incompatible, match="seed is"):
        await restore(file, f"sqlite:{tmp_path / 'other.db'}", other)
    assert not (tmp_path / "other.db").exists()
    there = SqlitePlace(tmp_path / "taken.db")
    await there.open(world=other)
    with pytest.raises(Incompatible, match="seed is 5 there"):
        await restore(file, there.url)
    await there.close()


async def test_a_damaged_file_restores_nothing(place: EnginePlace, tmp_path: Path) -> None:
    source = SqlitePlace(tmp_path / "source.db")
    await settle(await source.open())
    await backup(source.url, WORLD, tmp_path / "file")
    await source.close()
    store = await place.open()
    for name, why in damage_file(tmp_path / "file"):
        with pytest.raises(BadArchive, match=why):
            await restore(tmp_path / name, place.url)
        assert await whole(store) == Loaded(0, [], [], [], [])
    await restore(tmp_path / "file", place.url)
    assert len((await whole(store)).entities) == 3


def damage_file(file: Path) -> list[tuple[str, str]]:
    """Some damaged copies, and what is said of them."""
    data = file.read_bytes()
    flipped = bytearray(data)
    flipped[data.index(b"data") + 1] ^= 4
    copies = {
        "cut": (data[: len(data) // 2], r"record \d: the file was cut"),
        "short": (data[:-1], "record 7: the file was cut"),
        "flipped": (bytes(flipped), "record 1: the checksum does not fit"),
        "other": (b"something else", "record 0: this is no backup"),
    }
    for name, (content, _) in copies.items():
        file.with_name(name).write_bytes(content)
    return [(name, why) for name, (_, why) in copies.items()]


async def test_damage_is_left_out_of_a_backup_and_named(place: EnginePlace, tmp_path: Path) -> None:
    store = await place.open()
    await settle(store)
    await place.sql("UPDATE entity SET hop = 99 WHERE id = 1")
    written = await backup(place.url, WORLD, tmp_path / "file")
    assert written.damage == [Damage("entity 1", "the checksum does not fit")]
    assert written.counts == {**COUNTS, "entity": 3}
    there = SqlitePlace(tmp_path / "there.db")
    await restore(tmp_path / "file", there.url)
    loaded = await whole(await there.open())
    assert ([row.id for row in loaded.entities], loaded.damage) == ([2, (1 << 64) - 1], [])
    await there.close()


async def test_nothing_is_overwritten_and_nothing_half_is_left(place: EnginePlace, tmp_path: Path) -> None:
    await place.open()
    occupy(tmp_path / "file")
    with pytest.raises(DurableError, match="exists already"):
        await backup(place.url, WORLD, tmp_path / "file")
    with pytest.raises(Incompatible, match="seed is"):
        await backup(place.url, replace(WORLD, seed=5), tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        await backup(place.url, WORLD, tmp_path / "nowhere" / "new")
    assert names(tmp_path) <= {"file", "world.db", "world.db-wal", "world.db-shm"}


def names(folder: Path) -> set[str]:
    """Files in a folder."""
    return {path.name for path in folder.iterdir()}


def occupy(file: Path) -> None:
    """Somebody's."""
    file.write_text("mine")


async def test_a_store_that_is_not_there_is_not_made_by_a_backup(tmp_path: Path) -> None:
    with pytest.raises(DurableError, match="unable to open"):
        await backup(f"sqlite:{tmp_path / 'none.db'}", WORLD, tmp_path / "file")
    with pytest.raises(Incompatible, match="nothing to back up"):
        await backup("memory:", WORLD, tmp_path / "file")
    assert names(tmp_path) == set()


async def test_a_backup_of_another_version_is_refused(
    place: EnginePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(await place.open())
    with monkeypatch.context() as patch:
        patch.setattr("shard.durable.transfer.VERSION", 1)
        await backup(place.url, WORLD, tmp_path / "file")
    with pytest.raises(Incompatible, match=f"schema version 1 and this program restores {VERSION}"):
        await restore(tmp_path / "file", place.url)


async def test_what_is_left_of_a_cut_file_can_be_moved(tmp_path: Path) -> None:
    """The way out of a damaged disk: back up what can be read, restore it elsewhere, go on."""
    source = SqlitePlace(tmp_path / "source.db")
    rows = [entity(n, data=bytes(500), nth=n % (1 << 2 * LEAF_LEVEL)) for n in range(2000)]
    await put(await source.open(), *rows)
    await source.close()
    with closing(sqlite3.connect(source.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    halve(source.path)
    written = await backup(source.url, WORLD, tmp_path / "file")
    assert written.damage
    assert 500 < written.counts["entity"] < 2000
    there = SqlitePlace(tmp_path / "there.db")
    await restore(tmp_path / "file", there.url)
    store = await there.open()
    loaded = await whole(store)
    assert loaded.entities == [rows[row.id] for row in loaded.entities]
    assert len(loaded.entities) == written.counts["entity"]
    await store.fence(1, 2)
    assert await store.commit(Batch(1, 2, 99, rows)) == Committed([])
    await there.close()


def halve(path: Path) -> None:
    """Cut a file in the middle."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
