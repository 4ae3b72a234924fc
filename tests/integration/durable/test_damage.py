"""Bytes that change behind the store's back: nothing altered is served, what is not is named, the rest is there."""

import asyncio
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from shard.durable.contract import ActionRow, Away, Batch, Damage, EntityRow, Incompatible, Loaded, PoseRow
from shard.durable.sqlite import SqliteDurable
from tests.integration.durable.conftest import EnginePlace
from tests.unit.shard.durable.contract_cases import WHOLE, WORLD, entity, leaf, put, whole

SUM = "the checksum does not fit"
ENTITIES = 3000
PAGE_BYTES = 4096


async def test_what_was_changed_is_named_and_the_rest_served(place: EnginePlace) -> None:
    store = await place.open()
    poses = [PoseRow(leaf(region), second, b"%d" % second) for region in (4, 5) for second in (1, 2)]
    await put(
        store, *(entity(n) for n in range(1, 6)), poses=poses, actions=[ActionRow(7, n, 1, b"yes") for n in (1, 2)]
    )
    await place.sql(
        f"UPDATE entity SET data = {place.blob(b'dataX')} WHERE id = 2",
        "UPDATE entity SET hop = 9 WHERE id = 4",
        f"UPDATE entity SET leaf = {leaf(5)} WHERE id = 5",
        f"UPDATE pose SET data = {place.blob(b'')} WHERE leaf = {leaf(4)} AND second = 2",
        f"UPDATE action SET answer = {place.blob(b'no')} WHERE number = 1",
        "UPDATE region SET tick = 1000",
    )
    loaded = await whole(store)
    assert loaded.entities == [entity(1), entity(3)]
    # A damaged pose leaves the one before.
    assert loaded.poses == [PoseRow(leaf(4), 1, b"1"), PoseRow(leaf(5), 2, b"2")]
    assert loaded.actions == [ActionRow(7, 2, 1, b"yes")]
    assert loaded.tick == 0
    names = ["action 1 of session 7", "entity 2", "entity 4", "entity 5", "epoch of region 1"]
    names.append(f"pose of leaf {leaf(4)}, second 2")
    assert sorted(loaded.damage, key=lambda damage: damage.what) == [Damage(name, SUM) for name in names]


async def test_a_damaged_row_is_written_anew(place: EnginePlace) -> None:
    store = await place.open()
    await put(store, entity(1), actions=[ActionRow(7, 1, 1, b"yes")])
    await place.sql(
        f"UPDATE entity SET data = {place.blob(b'')}", "UPDATE session SET heard_s = 5", "UPDATE region SET tick = 7"
    )
    loaded = await whole(store)
    assert [damage.what for damage in loaded.damage] == ["entity 1", "place of session 7", "epoch of region 1"]
    assert loaded.actions == [ActionRow(7, 1, 1, b"yes")], "a journal is served though its place is damaged"
    await store.commit(Batch(1, 1, 20, [entity(1)], actions=[ActionRow(7, 2, 20, b"")]))
    assert (await whole(store)).damage == []


def row(n: int) -> EntityRow:
    """Entities of different sizes; some fill pages of their own."""
    rng = np.random.default_rng(n)
    size = 9000 if n % 500 == 0 else int(rng.integers(0, 400))
    return EntityRow(n, n % 7, WHOLE.first + n % 64, rng.bytes(size))


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some hundred pages, closed."""
    path = tmp_path_factory.mktemp("damage") / "master.db"

    async def fill() -> None:
        store = await SqliteDurable.open(path, WORLD)
        actions = [ActionRow(session, n, 1, b"yes") for session in range(40) for n in (1, 2)]
        await put(store, *map(row, range(ENTITIES)), actions=actions)
        await store.close()

    asyncio.run(fill())
    return path


@pytest.fixture
def damaged(master: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return copied(master, tmp_path)


async def opened(path: Path) -> SqliteDurable | None:
    """The store, or None if the damage has made it unreadable, which is told."""
    try:
        return await SqliteDurable.open(path, WORLD)
    except Incompatible as error:
        if "damaged" in str(error):
            return None
        raise


def cut(path: Path, part: float) -> None:
    """Leave the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def overwrite(path: Path, page: int, content: bytes) -> None:
    """Put bytes over a page (the first is 0)."""
    data = bytearray(path.read_bytes())
    data[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = content
    path.write_bytes(data)


def flip(path: Path, seed: int) -> None:
    """Flip bits in one to three pages: few or many, in their heads (which structure the file) or anywhere."""
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    for page in rng.integers(1, len(data) // PAGE_BYTES, 3 if seed % 2 else 1):
        for byte in rng.integers(0, 64 if seed % 4 < 2 else PAGE_BYTES, 40 if seed % 3 else 1):
            data[int(page) * PAGE_BYTES + int(byte)] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def copied(master: Path, folder: Path) -> Path:
    """A copy to be damaged."""
    assert not master.with_name(f"{master.name}-wal").exists()
    copy = folder / "world.db"
    shutil.copy(master, copy)
    return copy


def check(loaded: Loaded) -> set[int]:
    """Each entity is served as it was, or named; those that are served."""
    served = {found.id for found in loaded.entities}
    assert loaded.entities == [row(n) for n in sorted(served)]
    named = set()
    for damage in loaded.damage:
        if found := re.fullmatch(r"entity (\d+)", damage.what):
            named.add(int(found[1]))
        elif found := re.fullmatch(
            r"entity: rows from (?:number (-?\d+)|the first) to (?:number (-?\d+)|the last)", damage.what
        ):
            named |= set(range(int(found[1] or 0), int(found[2] or ENTITIES) + 1))
    assert served | named >= set(range(ENTITIES)), sorted(set(range(ENTITIES)) - served - named)[:20]
    assert all(action.answer == b"yes" for action in loaded.actions)
    return served


async def test_an_undamaged_file(damaged: Path) -> None:
    store = await SqliteDurable.open(damaged, WORLD)
    loaded = await whole(store)
    await store.close()
    assert check(loaded) == set(range(ENTITIES))
    assert loaded.damage == []


@pytest.mark.parametrize("seed", range(60))
async def test_flipped_bits_in_pages(damaged: Path, seed: int) -> None:
    flip(damaged, seed)
    store = await opened(damaged)
    if store is None:
        return
    try:
        check(await whole(store))
    finally:
        await store.close()


@pytest.mark.parametrize("page", range(1, 12))
async def test_pages_that_are_only_zeros(damaged: Path, page: int) -> None:
    overwrite(damaged, page, bytes(PAGE_BYTES))
    store = await opened(damaged)
    if store is None:
        return
    try:
        check(await whole(store))
    finally:
        await store.close()


@pytest.mark.parametrize("part", [0.99, 0.9, 0.6, 0.3])
async def test_a_file_that_was_cut(damaged: Path, part: float) -> None:
    cut(damaged, part)
    store = await SqliteDurable.open(damaged, WORLD)
    try:
        loaded = await whole(store)
        served = check(loaded)
        assert loaded.damage
        assert len(served) > ENTITIES * part * 0.5
        with pytest.raises(Away, match=r"damaged.*back up what can be read"):
            await store.fence(1, 9)
        with pytest.raises(Away, match="damaged"):
            await store.commit(Batch(1, 1, 11))
    finally:
        await store.close()


@pytest.mark.parametrize("content", [b"not a database, but some text\n" * 300, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "world.db"
    path.write_bytes(content)
    with pytest.raises(Incompatible, match="is no SQLite database, or damaged beyond reading"):
        asyncio.run(SqliteDurable.open(path, WORLD))
    assert path.read_bytes() == content


async def test_a_damaged_index_costs_nothing(damaged: Path) -> None:
    with closing(sqlite3.connect(damaged)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entity_leaf'").fetchone()
    overwrite(damaged, root - 1, b"\xff" * PAGE_BYTES)
    store = await SqliteDurable.open(damaged, WORLD)
    try:
        loaded = await whole(store)
        assert check(loaded) == set(range(ENTITIES))
        assert loaded.damage == []
    finally:
        await store.close()
