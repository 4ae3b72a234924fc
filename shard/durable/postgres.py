"""The durable store of a cluster: one PostgreSQL database for all shards, each world in a schema of its own.

Every failure that is the server's or the network's becomes Away: a lost connection, a server that stops or starts, a
failover that left us with a read-only one, a timeout, a deadlock. Whether a commit whose answer was lost happened
nobody knows; the same batch goes again. The pool opens connections as they are asked for and replaces dead ones.

Invariants: waits are finite, also those of others for us: a shard that is frozen within a transaction loses it after
``IDLE_S``, and its locks. A commit is answered when it is flushed (``synchronous_commit = on``, whatever the server's
default). Not responsible for: statements (``postgres_rows``), versions (``schema``), where the server runs and how it
is replicated.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import blake2b
from typing import TypeVar

import asyncpg

from shard.durable import postgres_rows, schema
from shard.durable.contract import (
    Away,
    Batch,
    Committed,
    Damage,
    Durable,
    Incompatible,
    Limits,
    Loaded,
    NotEmpty,
    WorldIdentity,
    check_batch,
    check_epoch,
    check_span,
)
from shard.durable.rows import TABLES, Row
from shard.durable.spans import Span, span_of

T = TypeVar("T")

CONNECT_S = 5.0
STATEMENT_S = 10.0
LOCK_S = 5.0
IDLE_S = 5.0
MIGRATION_S = 600.0
CONNECTIONS = 4
PRUNE_EVERY_S = 600
TYPES = {"int": "BIGINT", "real": "DOUBLE PRECISION", "bytes": "BYTEA", "id": "BIGINT PRIMARY KEY"}
_NAME = re.compile(r"[a-z0-9_]{1,50}")
_OURS = ("22", "42")
"""Classes of errors that only a mistake of ours can cause."""
_OTHER_TABLES = ("42P01", "42703", "3F000")
"""No such table, column or schema: somebody dropped them, or a newer program has migrated."""
_NO_RIGHTS = "42501"


def schema_name(world: str) -> str:
    """The schema that holds this world: its name where that is plain, else one that nothing else is called by."""
    if _NAME.fullmatch(world):
        return f"isthmus_{world}"
    plain = re.sub(r"[^a-z0-9_]+", "_", world.lower())[:40]
    return f"isthmus_{plain}_{blake2b(world.encode(), digest_size=5).hexdigest()}"


class PostgresDurable(Durable):
    """A ``contract.Durable`` on a PostgreSQL database. Made by :meth:`open`."""

    def __init__(self, pool: asyncpg.Pool, world: WorldIdentity, limits: Limits) -> None:
        self._pool = pool
        self.world = world
        self._schema = schema_name(world.name)
        self._limits = limits
        self._prune_s = 0
        self._closed = False

    @classmethod
    async def open(
        cls, url: str, world: WorldIdentity, limits: Limits | None = None, *, make: bool = True
    ) -> "PostgresDurable":
        """The world's store in this database, made if there is none and ``make`` is true.

        Raises Incompatible, and Away.
        """
        settings = {
            "application_name": "isthmus",
            "synchronous_commit": "on",
            "search_path": f'"{schema_name(world.name)}"',
            "statement_timeout": _ms(STATEMENT_S),
            "lock_timeout": _ms(LOCK_S),
            "idle_in_transaction_session_timeout": _ms(IDLE_S),
        }
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=CONNECT_S,
            # The server's own timeout is to come first: its answer leaves the connection usable.
            command_timeout=STATEMENT_S + 2.0,
            server_settings=settings,
        )
        await pool
        store = cls(pool, world, limits or Limits())
        try:
            await store._transact(partial(store._migrate, make=make))
        except ValueError as error:
            await store.close()
            raise Incompatible(f"the durable store's URL cannot be used: {error}") from error
        except BaseException:
            await store.close()
            raise
        return store

    async def fence(self, region: int, epoch: int) -> None:
        """See ``contract.Durable``."""
        check_epoch(epoch)
        span = span_of(region, self.world.leaf_level)

        async def work(connection: asyncpg.Connection) -> None:
            await postgres_rows.lock_fences(connection, self._schema)
            await postgres_rows.fence(connection, region, epoch, span)

        await self._transact(work)

    async def load(self, first_leaf: int, last_leaf: int) -> Loaded:
        """See ``contract.Durable``."""
        span = check_span(first_leaf, last_leaf, self.world.leaf_level)
        async with self._reading() as connection:
            return await postgres_rows.load(connection, span)

    async def commit(self, batch: Batch) -> Committed:
        """See ``contract.Durable``."""
        span = check_batch(batch, self.world.leaf_level)

        async def work(connection: asyncpg.Connection) -> tuple[Committed, int]:
            return await postgres_rows.commit(connection, batch, span, self._limits)

        committed, now_s = await self._transact(work)
        if now_s >= self._prune_s:
            due = self._prune_s > 0
            self._prune_s = now_s + PRUNE_EVERY_S
            if due:
                # The batch is committed, whatever becomes of this: what is not forgotten today is so tomorrow.
                with suppress(Away):
                    await self.prune()
        return committed

    async def newest_epoch(self, region: int) -> int:
        """See ``contract.Durable``."""
        span: Span = span_of(region, self.world.leaf_level)
        async with self._connected() as connection:
            return await postgres_rows.newest_epoch(connection, span)

    async def hops(self, ids: Collection[int]) -> dict[int, int]:
        """See ``contract.Durable``."""
        async with self._connected() as connection:
            return await postgres_rows.hops(connection, ids)

    async def prune(self) -> None:
        """See ``contract.Durable``."""

        async def work(connection: asyncpg.Connection) -> None:
            await postgres_rows.prune(connection, self._limits)

        await self._transact(work)

    async def close(self) -> None:
        """See ``contract.Durable``."""
        if not self._closed:
            self._closed = True
            try:
                await self._pool.close()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                self._pool.terminate()

    # ----------------------------------------------------------------------------------------------- for ``transfer``

    async def dump(self) -> AsyncGenerator[tuple[str, list[Row], list[Damage]], None]:
        """All sound rows of one moment in pieces, and what is damaged."""
        async with self._reading() as connection:
            for table in TABLES.values():
                async for piece in postgres_rows.pieces(connection, table):
                    damage: list[Damage] = []
                    yield table.name, postgres_rows.sound(table, piece, damage), damage

    async def fill(self, pieces: Iterable[tuple[str, list[Row]]]) -> None:
        """Write rows as they are into the store, all or none. Raises NotEmpty if it holds any."""

        async def work(connection: asyncpg.Connection) -> None:
            await self._take_time(connection)
            await postgres_rows.lock_fences(connection, self._schema)
            # Nobody commits meanwhile: a commit needs its region's row, and adding those takes this lock.
            for table in TABLES.values():
                if await connection.fetchval(f"SELECT 1 FROM {table.name} LIMIT 1"):
                    raise NotEmpty(table.name)
            for name, piece in pieces:
                columns = TABLES[name].all_columns
                await connection.copy_records_to_table(name, records=piece, columns=columns)

        await self._transact(work)

    # ------------------------------------------------------------------------------------------------------ connections

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[asyncpg.Connection, None]:
        """A connection; what goes wrong with it becomes Away, or Incompatible."""
        if self._closed:
            raise Away("the store is closed")
        try:
            async with self._pool.acquire(timeout=CONNECT_S) as connection:
                yield connection
        except asyncpg.PostgresError as error:
            state = error.sqlstate or ""
            if state in _OTHER_TABLES:
                text = f"the tables of {self.world.name!r} are not those that this program made ({error})"
                raise Incompatible(f"{text}: a newer program has migrated them, or somebody dropped them") from error
            if state[:2] in _OURS and state != _NO_RIGHTS:
                raise
            # Connections to a server that stops, or that is a standby now, are of no use to the next call either.
            await self._pool.expire_connections()
            raise Away(f"PostgreSQL: {error} ({type(error).__name__})") from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
            if isinstance(error, ValueError):
                raise  # what was asked, or the URL, is wrong in itself
            if not self._closed:
                await self._pool.expire_connections()
            raise Away(f"PostgreSQL: {str(error) or 'no answer in time'} ({type(error).__name__})") from error

    async def _transact(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """One transaction that writes."""
        async with self._connected() as connection, connection.transaction():
            return await work(connection)

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[asyncpg.Connection, None]:
        """One transaction that reads one moment, for as long as that takes: it keeps nobody waiting."""
        async with (
            self._connected() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await self._take_time(connection)
            yield connection

    async def _take_time(self, connection: asyncpg.Connection) -> None:
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute(f"SET LOCAL statement_timeout = {_ms(MIGRATION_S)}")

    # --------------------------------------------------------------------------------------------------------- opening

    async def _migrate(self, connection: asyncpg.Connection, *, make: bool) -> None:
        """Make the tables, or bring them to this program's version. Shards that open at once wait for each other."""
        await connection.execute(f"SET LOCAL statement_timeout = {_ms(MIGRATION_S)}")
        await connection.execute(f"SET LOCAL lock_timeout = {_ms(MIGRATION_S)}")
        await postgres_rows.lock_fences(connection, self._schema)
        name = self._schema
        tables = {
            row[0]
            for row in await connection.fetch("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = $1", name)
        }
        if not tables:
            if not make:
                raise Incompatible(f"the database has no world {self.world.name!r} (no tables in its schema {name})")
            if not await connection.fetchval("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", name):
                await connection.execute(f'CREATE SCHEMA "{name}"')
            for statement in schema.first_statements(TYPES):
                await connection.execute(statement)
            insert = "INSERT INTO world VALUES ($1, $2, $3, $4, $5)"
            await connection.execute(insert, *schema.identity_row(self.world))
        elif not {"schema_version", "world"} <= tables:
            raise Incompatible(f"the schema {name} of the database is another program's: give the world another name")
        found = schema.identity([tuple(row) for row in await connection.fetch("SELECT * FROM world")])
        schema.compare_identity(found, self.world)
        version = await connection.fetchval("SELECT version FROM schema_version")
        for number, step in schema.missing_steps(version or 0):
            for statement in step.before:
                await connection.execute(statement.format_map(TYPES), timeout=MIGRATION_S)
            old = [tuple(row) for row in await connection.fetch(step.read, timeout=MIGRATION_S)]
            for table, rows in step.convert(old, found).items():
                columns = TABLES[table].all_columns
                await connection.copy_records_to_table(table, records=rows, columns=columns, timeout=MIGRATION_S)
            for statement in step.after:
                await connection.execute(statement.format_map(TYPES), timeout=MIGRATION_S)
            await connection.execute("UPDATE schema_version SET version = $1", number)


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))
