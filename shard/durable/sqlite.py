"""The durable store of one process, or of a few on one machine: a SQLite file, written by one thread.

Commits that wait are written in one transaction, each behind a savepoint: they share the disk's flush, and one that is
fenced takes no other with it. The journal mode is WAL with ``synchronous=FULL``: what was answered is on the disk.

Invariants: the writing connection is used by the writing thread alone; after a failure there is no open transaction.
A reader has a connection of its own, so loading or backing up a world holds up no commit. A file that was there once
is never made anew while the store is open. Not responsible for: statements (``sqlite_rows``), damage
(``sqlite_reading``), versions (``schema``).
"""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from shard.durable import schema, sqlite_reading, sqlite_rows
from shard.durable.contract import (
    Away,
    Batch,
    Committed,
    Damage,
    Durable,
    Fenced,
    Incompatible,
    Limits,
    Loaded,
    WorldIdentity,
    check_batch,
    check_epoch,
    check_span,
)
from shard.durable.rows import TABLES, Row
from shard.durable.spans import Span, span_of
from shard.durable.worker import Together, Worker

T = TypeVar("T")

PRUNE_EVERY_S = 600
BUSY_S = 5.0
"""How long another process's transaction is waited for."""
WAL_TRIES_MAX = 20
"""How many others may come in between, each of them waited for."""
TYPES = {"int": "INTEGER", "real": "REAL", "bytes": "BLOB", "id": "INTEGER PRIMARY KEY"}
_TRANSIENT = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)
"""After these the connection is as good as before; after any other a new one is opened."""
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteDurable(Durable):
    """A ``contract.Durable`` on a SQLite file. Made by :meth:`open`."""

    def __init__(self, path: Path, world: WorldIdentity, limits: Limits, clock: Callable[[], float] | None) -> None:
        self._path = path
        self.world = world
        self._limits = limits
        self._clock = clock
        self._worker = Worker("durable-write")
        self._reader = Worker("durable-read")
        self._commits: Together[tuple[Batch, Span], Committed] = Together(self._worker, self._commit_all)
        self._connection: sqlite3.Connection | None = None
        self._unwritable: str | None = None
        self._prune_s = 0
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        world: WorldIdentity,
        limits: Limits | None = None,
        clock: Callable[[], float] | None = None,
        *,
        make: bool = True,
    ) -> "SqliteDurable":
        """The store in this file, made if there is none and ``make`` is true.

        Raises Incompatible, and Away if the file cannot be opened now. ``clock``: instead of the machine's, seconds.
        """
        store = cls(path, world, limits or Limits(), clock)
        try:
            await store._worker.run(partial(store._begin, make))
        except BaseException:
            await store.close()
            raise
        return store

    async def fence(self, region: int, epoch: int) -> None:
        """See ``contract.Durable``."""
        check_epoch(epoch)
        span = self._span(region)
        await self._worker.run(lambda: self._write(lambda c: sqlite_rows.fence(c, region, epoch, span)))

    async def load(self, first_leaf: int, last_leaf: int) -> Loaded:
        """See ``contract.Durable``. Reads the whole table whichever leaves are asked for: load much at once."""
        span = check_span(first_leaf, last_leaf, self.world.leaf_level)
        return await self._read(lambda c: sqlite_reading.load(c, span))

    async def commit(self, batch: Batch) -> Committed:
        """See ``contract.Durable``."""
        self._check_open()
        return await self._commits.ask((batch, check_batch(batch, self.world.leaf_level)))

    async def newest_epoch(self, region: int) -> int:
        """See ``contract.Durable``."""
        span = self._span(region)
        return await self._read(lambda c: sqlite_rows.newest_epoch(c, span))

    async def hops(self, ids: Collection[int]) -> dict[int, int]:
        """See ``contract.Durable``."""
        self._check_open()
        return await self._read(lambda c: sqlite_rows.hops(c, ids))

    async def prune(self) -> None:
        """See ``contract.Durable``."""
        self._check_open()
        await self._worker.run(lambda: self._write(self._prune))

    async def close(self) -> None:
        """See ``contract.Durable``."""
        if self._closed:
            return
        self._closed = True
        await self._worker.run(self._disconnect)
        self._worker.close()
        self._reader.close()

    # ----------------------------------------------------------------------------------------------- for ``transfer``

    async def dump(self) -> AsyncGenerator[tuple[str, list[Row], list[Damage]], None]:
        """All sound rows of one moment in pieces, and what is damaged."""
        reader = await self._reader.run(partial(self._guarded, self._open_reader))
        try:
            for table in TABLES.values():
                pieces = sqlite_reading.pieces(reader, table)
                while (
                    found := await self._reader.run(partial(self._guarded, partial(next, pieces, None)))
                ) is not None:
                    yield table.name, found.rows, found.damage
        finally:
            await self._reader.run(reader.close)

    async def fill(self, pieces: Iterable[tuple[str, list[Row]]]) -> None:
        """Write rows as they are into the store, all or none. Raises NotEmpty if it holds any."""
        self._check_open()
        await self._worker.run(partial(self._write, partial(sqlite_rows.fill, pieces=pieces)))

    # ---------------------------------------------------------------------------------------- on the writing thread

    def _begin(self, make: bool) -> None:
        try:
            self._connection = self._connect(make=make)
            self._migrate(self._connection, make=make)
        except sqlite3.Error as error:
            self._disconnect()
            if not _is(error, _BROKEN):
                raise self._away(error) from error
            schema.compare_identity(self._rescue(error), self.world)
            self._unwritable = f"{self._path} is damaged ({error}): back up what can be read, and restore it elsewhere"

    def _connect(self, *, make: bool) -> sqlite3.Connection:
        uri = f"file:{quote(str(self._path.absolute()))}?mode={'rwc' if make else 'rw'}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)
        try:
            connection.execute("PRAGMA cell_size_check = ON")
            _to_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection, *, make: bool) -> None:
        """Make the tables, or bring them to this program's version. Raises Incompatible."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                if not make:
                    raise Incompatible(f"{self._path} is an empty file and no store")
                for statement in schema.first_statements(TYPES):
                    connection.execute(statement)
                connection.execute("INSERT INTO world VALUES (?, ?, ?, ?, ?)", schema.identity_row(self.world))
            elif not {"schema_version", "world"} <= tables:
                raise Incompatible(f"{self._path} is a database of another program: give the world a file of its own")
            found = schema.identity(connection.execute("SELECT * FROM world").fetchall())
            schema.compare_identity(found, self.world)
            version = connection.execute("SELECT version FROM schema_version").fetchone()
            for number, step in schema.missing_steps(version[0] if version else 0):
                for statement in step.before:
                    connection.execute(statement.format_map(TYPES))
                old = connection.execute(step.read)
                for name, rows in step.convert(old, found).items():
                    connection.executemany(sqlite_rows.insert_sql(TABLES[name]), rows)
                for statement in step.after:
                    connection.execute(statement.format_map(TYPES))
                connection.execute("UPDATE schema_version SET version = ?", (number,))
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise

    def _rescue(self, error: sqlite3.Error) -> WorldIdentity:
        """Whose store it is that cannot be opened for writing. Raises Incompatible if it cannot be read either."""
        text = f"{self._path} is no SQLite database, or damaged beyond reading ({error}): restore a backup"
        try:
            reader = self._open_reader()
        except sqlite3.Error:
            raise Incompatible(text) from error
        with closing(reader):
            try:
                version = reader.execute("SELECT version FROM schema_version").fetchone()
                found = schema.identity(reader.execute("SELECT * FROM world").fetchall())
            except sqlite3.Error:
                raise Incompatible(text) from error
        if version is None or schema.missing_steps(version[0]):
            raise Incompatible(f"{self._path} is damaged and of an older version: restore a backup") from error
        return found

    def _commit_all(self, asked: list[tuple[Batch, Span]]) -> list[Committed | Exception]:
        """Commit what waits. If all of it together does not fit on the disk, each alone."""
        try:
            outcomes = self._write(lambda connection: self._savepoints(connection, asked))
        except Away as away:
            cause = away.__cause__
            if len(asked) == 1 or not (isinstance(cause, sqlite3.Error) and _is(cause, (sqlite3.SQLITE_FULL,))):
                return [away] * len(asked)
            return [outcome for one in asked for outcome in self._commit_all([one])]
        self._prune_now_and_then()
        return outcomes

    def _savepoints(
        self, connection: sqlite3.Connection, asked: list[tuple[Batch, Span]]
    ) -> list[Committed | Exception]:
        outcomes: list[Committed | Exception] = []
        now_s = self._now_s(connection)
        for batch, span in asked:
            connection.execute("SAVEPOINT batch")
            try:
                outcomes.append(sqlite_rows.commit(connection, batch, span, now_s, self._limits))
            except Fenced as fenced:
                connection.execute("ROLLBACK TO batch")
                outcomes.append(fenced)
            connection.execute("RELEASE batch")
        return outcomes

    def _prune_now_and_then(self) -> None:
        assert self._connection is not None
        # What is not forgotten today is forgotten tomorrow: a failure here is nobody's.
        with suppress(sqlite3.Error, Away):
            now_s = self._now_s(self._connection)
            if now_s >= self._prune_s:
                if self._prune_s:
                    self._write(self._prune)
                self._prune_s = now_s + PRUNE_EVERY_S

    def _prune(self, connection: sqlite3.Connection) -> None:
        sqlite_rows.prune(connection, self._now_s(connection), self._limits)

    def _write(self, do: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction. Raises Away, and what ``do`` raises besides SQLite's errors; then nothing is written."""
        if self._unwritable is not None:
            raise Away(self._unwritable)
        try:
            if self._connection is None:
                # Never made anew: a store whose file was taken away must not begin again as an empty world.
                self._connection = self._connect(make=False)
                self._migrate(self._connection, make=False)
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = do(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
        except sqlite3.Error as error:
            if not _is(error, _TRANSIENT):
                self._disconnect()
            raise self._away(error) from error
        except Incompatible as error:
            self._disconnect()
            raise Away(str(error)) from error
        return result

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    # ------------------------------------------------------------------------------------------- on the reading thread

    async def _read(self, do: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction that reads, on a connection of its own."""
        self._check_open()

        def job() -> T:
            with closing(self._open_reader()) as reader:
                return do(reader)

        return await self._reader.run(partial(self._guarded, job))

    def _open_reader(self) -> sqlite3.Connection:
        """A connection within a transaction. With ``writable_schema`` SQLite also reads a file that was cut."""
        uri = f"file:{quote(str(self._path.absolute()))}?mode=rw"
        reader = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)
        try:
            reader.text_factory = lambda raw: raw.decode("utf-8", "replace")
            reader.execute("PRAGMA query_only = ON")
            reader.execute("PRAGMA cell_size_check = ON")
            reader.execute("PRAGMA writable_schema = ON")
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM schema_version").fetchone()
        except BaseException:
            reader.close()
            raise
        return reader

    def _guarded(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except sqlite3.Error as error:
            raise self._away(error) from error

    # ---------------------------------------------------------------------------------------------------------- both

    def _now_s(self, connection: sqlite3.Connection) -> int:
        if self._clock is not None:
            return int(self._clock())
        return int(connection.execute("SELECT unixepoch()").fetchone()[0])

    def _span(self, region: int) -> Span:
        self._check_open()
        return span_of(region, self.world.leaf_level)

    def _check_open(self) -> None:
        if self._closed:
            raise Away("the store is closed")

    def _away(self, error: sqlite3.Error) -> Away:
        name = getattr(error, "sqlite_errorname", "SQLite")
        return Away(f"{self._path}: {error} ({name})")


def _is(error: sqlite3.Error, codes: tuple[int, ...]) -> bool:
    """Whether its primary code is one of these."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _to_wal(connection: sqlite3.Connection) -> None:
    """Change the journal mode, which needs the file alone for a moment. SQLite says "database is locked" at once if
    another one writes, as one of three hundred openers of an old file found; for a transaction's begin it does wait."""
    for _ in range(WAL_TRIES_MAX):
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA journal_mode = WAL")


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed; SQLite has ended it itself after some errors."""
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
