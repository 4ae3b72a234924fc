"""SQLite on a disk that is full, read-only, locked or gone: Away with the reason, and it goes on when the disk does."""

import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from shard.durable.contract import Away, Batch, Committed
from shard.durable.sqlite import SqliteDurable
from tests.integration.durable.disks import mounted
from tests.unit.shard.durable.contract_cases import WORLD, entity, put, whole

LARGE = bytes(64_000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteDurable]:
    """One with an entity."""
    one = await SqliteDurable.open(tmp_path / "world.db", WORLD)
    await put(one, entity(1))
    yield one
    await one.close()


@pytest.fixture
def small_disk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Path | None]:
    """A file system of 2 MiB, or None where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "2m") as disk:
        if disk is None:
            with capfd.disabled():
                sys.stdout.write("\nLEFT OUT: a full disk needs root and mount. SQLite's limit is tried.\n")
        yield disk


async def fill(store: SqliteDurable) -> int:
    """Commit until it is away; how many batches were acknowledged."""
    for n in range(2, 200):
        try:
            await store.commit(Batch(1, 1, n, [entity(n, data=LARGE)]))
        except Away as away:
            if "full" not in away.reason:
                raise
            return n - 2
    raise AssertionError("the disk never fills")


async def test_a_full_disk(small_disk: Path | None) -> None:
    if small_disk is None:
        return  # see test_a_full_file
    ballast = small_disk / "ballast"
    write(ballast, 1_000_000)
    store = await SqliteDurable.open(small_disk / "world.db", WORLD)
    await put(store, entity(1))
    acknowledged = await fill(store)
    with pytest.raises(Away, match="full"):
        await store.commit(Batch(1, 1, 300, [entity(300, data=LARGE)]))
    assert len((await whole(store)).entities) == acknowledged + 1, "what was acknowledged is there, and can be read"
    ballast.unlink()
    assert await store.commit(Batch(1, 1, 300, [entity(300, data=LARGE)])) == Committed([])
    await store.close()
    again = await SqliteDurable.open(small_disk / "world.db", WORLD)
    assert len((await whole(again)).entities) == acknowledged + 2
    await again.close()


async def test_a_full_file(store: SqliteDurable) -> None:
    await limit_pages(store, 100)
    acknowledged = await fill(store)
    # Of several that wait, the one that fits is written all the same.
    assert await store.commit(Batch(1, 1, 300, [entity(1, 2)])) == Committed([])
    assert len((await whole(store)).entities) == acknowledged + 1
    await limit_pages(store, 1 << 30)
    assert await store.commit(Batch(1, 1, 301, [entity(300, data=LARGE)])) == Committed([])


async def limit_pages(store: SqliteDurable, pages: int) -> None:
    """Let the file not grow beyond this."""

    def limit() -> None:
        assert store._connection
        store._connection.execute(f"PRAGMA max_page_count = {pages}")

    await store._worker.run(limit)


async def test_a_connection_that_may_not_write(store: SqliteDurable) -> None:
    """As on a file system that was remounted read-only after an error."""

    def forbid() -> None:
        assert store._connection
        store._connection.execute("PRAGMA query_only = ON")

    await store._worker.run(forbid)
    with pytest.raises(Away, match="readonly"):
        await store.commit(Batch(1, 1, 11, [entity(2)]))
    assert await store.commit(Batch(1, 1, 11, [entity(2)])) == Committed([])


async def test_a_file_that_somebody_else_has_locked(store: SqliteDurable) -> None:
    def be_impatient() -> None:
        assert store._connection
        store._connection.execute("PRAGMA busy_timeout = 100")

    await store._worker.run(be_impatient)
    with closing(sqlite3.connect(store._path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Away, match="locked"):
            await store.commit(Batch(1, 1, 11, [entity(2)]))
        assert (await whole(store)).entities == [entity(1)]
        holder.execute("ROLLBACK")
    assert await store.commit(Batch(1, 1, 11, [entity(2)])) == Committed([])


async def test_a_folder_that_was_taken_away(tmp_path: Path) -> None:
    """The store does not begin anew as an empty world; when the disk is back, it goes on."""
    folder, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    folder.mkdir()
    store = await SqliteDurable.open(folder / "world.db", WORLD)
    await put(store, entity(1))
    # A connection that meets no error goes on writing into the file it has open: make it open the file anew.
    await store._worker.run(store._disconnect)
    shutil.move(folder, elsewhere)
    for _ in range(2):
        with pytest.raises(Away, match="unable to open"):
            await store.commit(Batch(1, 1, 11, [entity(2)]))
        with pytest.raises(Away, match="unable to open"):
            await whole(store)
    shutil.move(elsewhere, folder)
    assert await store.commit(Batch(1, 1, 11, [entity(2)])) == Committed([])
    assert (await whole(store)).entities == [entity(1), entity(2)]
    await store.close()


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Away, match=r"nowhere/world\.db: unable to open"):
        await SqliteDurable.open(tmp_path / "nowhere" / "world.db", WORLD)


async def test_a_file_made_anew_meanwhile_is_not_taken(store: SqliteDurable) -> None:
    await store._worker.run(store._disconnect)
    for name in ("world.db", "world.db-wal", "world.db-shm"):
        with suppress(FileNotFoundError):
            store._path.with_name(name).unlink()
    with pytest.raises(Away, match="unable to open"):
        await store.commit(Batch(1, 1, 11, [entity(2)]))
    write(store._path, 0)
    with pytest.raises(Away, match="empty file and no store"):
        await store.commit(Batch(1, 1, 11, [entity(2)]))


def write(path: Path, size_bytes: int) -> None:
    """A file of this size."""
    path.write_bytes(bytes(size_bytes))
