"""A PostgreSQL that stops, fails over, hangs up: Away, and then it goes on by itself."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from shard.durable import postgres
from shard.durable.contract import Away, Batch, Committed, Incompatible
from shard.durable.opening import open_durable
from shard.durable.postgres import PostgresDurable, schema_name
from tests.integration.durable.places import PostgresPlace
from tests.integration.durable.servers import Server, free_port
from tests.unit.shard.durable.contract_cases import WORLD, entity, put, whole


@pytest.fixture
async def place(server: Server) -> AsyncIterator[PostgresPlace]:
    """On the server that is shared."""
    one = PostgresPlace(server.url)
    await one.clear()
    yield one
    await one.close()


async def test_a_server_that_stops_and_starts(own_server: Server) -> None:
    store = await open_durable(own_server.url, WORLD)
    await put(store, entity(1))
    batch = Batch(1, 1, 11, [entity(2)])
    for mode in ("fast", "immediate"):
        own_server.stop(mode)
        for _ in range(2):
            for call in (store.commit(batch), store.fence(1, 1), whole(store), store.newest_epoch(1), store.prune()):
                with pytest.raises(Away, match="PostgreSQL"):
                    await call
        with pytest.raises(Away, match="PostgreSQL"):
            await open_durable(own_server.url, WORLD)
        own_server.start()
        assert await store.commit(batch) == Committed([])
        assert (await whole(store)).entities == [entity(1), entity(2)]
    await store.close()


async def test_a_server_that_became_a_standby(own_server: Server) -> None:
    """It is read, not written; once promoted it is written too."""
    store = await open_durable(own_server.url, WORLD)
    await put(store, entity(1))
    own_server.become_standby()
    with pytest.raises(Away, match="PostgreSQL"):
        await store.commit(Batch(1, 1, 11, [entity(2)]))  # on a connection that ended with the server
    for _ in range(2):
        with pytest.raises(Away, match="read-only"):
            await store.commit(Batch(1, 1, 11, [entity(2)]))
        with pytest.raises(Away, match="read-only"):
            await store.fence(1, 2)
    assert (await whole(store)).entities == [entity(1)]
    own_server.promote()
    assert await store.commit(Batch(1, 1, 11, [entity(2)])) == Committed([])
    await store.close()


async def test_connections_that_may_only_read_are_not_kept(place: PostgresPlace) -> None:
    """As those to a standby behind an address that leads to the new primary by now."""
    store = await place.open()
    await put(store, entity(1))
    administrator = await asyncpg.connect(place.url, server_settings={"default_transaction_read_only": "off"})
    try:
        await administrator.execute("ALTER ROLE isthmus SET default_transaction_read_only = on")
        assert isinstance(store, PostgresDurable)
        await store._pool.expire_connections()
        for _ in range(3):
            with pytest.raises(Away, match="read-only"):
                await store.commit(Batch(1, 1, 11, [entity(2)]))
    finally:
        await administrator.execute("ALTER ROLE isthmus RESET default_transaction_read_only")
        await administrator.close()
    assert await store.commit(Batch(1, 1, 11, [entity(2)])) == Committed([])


async def test_connections_that_an_administrator_ends(place: PostgresPlace, server: Server) -> None:
    store = await place.open()
    await put(store, entity(1))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'isthmus'"
    failed = 0
    for tick in range(11, 60):
        try:
            await store.commit(Batch(1, 1, tick, [entity(tick)]))
        except Away:
            failed += 1
            assert await store.commit(Batch(1, 1, tick, [entity(tick)])) == Committed([])
        if tick % 10 == 0:
            await asyncio.to_thread(server.psql, end)
    assert failed
    assert [row.id for row in (await whole(store)).entities] == [1, *range(11, 60)]


async def test_a_frozen_owner_keeps_nobody_waiting_for_ever(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction holds the region's row; the server ends it, and the new owner's fence comes through."""
    monkeypatch.setattr(postgres, "IDLE_S", 0.3)
    old, new = await place.open(), await place.open()
    assert isinstance(old, PostgresDurable)
    await put(old, entity(1))

    async def freeze(connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT 1 FROM region FOR UPDATE")
        await new.fence(1, 2)
        await connection.execute("SELECT 1")

    with pytest.raises(Away):
        await old._transact(freeze)


async def test_a_lock_that_is_held_for_long(place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_S", 0.2)
    old, new = await place.open(), await place.open()
    assert isinstance(old, PostgresDurable)
    await put(old, entity(1))
    async with old._connected() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM region FOR UPDATE")
        with pytest.raises(Away, match="lock timeout"):
            await new.fence(1, 2)
        with pytest.raises(Away, match="lock timeout"):
            await new.commit(Batch(1, 1, 11))
    await new.fence(1, 2)


async def test_a_server_that_answers_nothing(place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_S", 0.3)
    store = await place.open()
    assert isinstance(store, PostgresDurable)
    with pytest.raises(Away, match="statement timeout"):
        async with store._connected() as connection:
            await connection.execute("SELECT pg_sleep(30)")
    await put(store, entity(1))


async def test_tables_that_were_dropped(place: PostgresPlace) -> None:
    store = await place.open()
    await put(store, entity(1))
    await place.sql("DROP TABLE entity")
    with pytest.raises(Incompatible, match="somebody dropped them"):
        await whole(store)


async def test_a_mistake_of_ours_is_not_trouble(place: PostgresPlace) -> None:
    """Who is told Away tries again for ever."""
    store = await place.open()
    assert isinstance(store, PostgresDurable)
    with pytest.raises(asyncpg.PostgresError, match="syntax error"):
        async with store._connected() as connection:
            await connection.execute("SELEKT")
    await put(store, entity(1))


async def test_nobody_listens() -> None:
    with pytest.raises(Away, match="PostgreSQL"):
        await open_durable(f"postgresql://isthmus@127.0.0.1:{free_port()}/postgres", WORLD)


async def test_a_database_or_user_that_does_not_exist(server: Server) -> None:
    for url in (server.url.replace("/postgres", "/nowhere"), server.url.replace("isthmus@", "nobody@")):
        with pytest.raises(Away, match="does not exist"):
            await open_durable(url, WORLD)


async def test_commits_are_flushed_whatever_the_default(place: PostgresPlace) -> None:
    await place.sql("ALTER ROLE isthmus SET synchronous_commit = off")
    try:
        store = await place.open()
        assert isinstance(store, PostgresDurable)
        async with store._connected() as connection:
            assert await connection.fetchval("SHOW synchronous_commit") == "on"
    finally:
        await place.sql("ALTER ROLE isthmus RESET synchronous_commit")


def test_schemas_are_named_after_worlds() -> None:
    names = ["harbour", "Harbour", "harbour ", "häfen", "x" * 200, "x" * 199, "public", "pg_catalog"]
    schemas = [schema_name(name) for name in names]
    assert schemas[0] == "isthmus_harbour"
    assert len(set(schemas)) == len(names)
    assert all(name.startswith("isthmus_") and len(name) <= 63 and name.isascii() for name in schemas)


async def test_a_url_that_means_nothing() -> None:
    for url in ("harbour.db", "sqlite:", "mysql://x", "postgresql://[", "postgresql://h:port/x"):
        with pytest.raises(Incompatible, match=r"URL|names no durable store"):
            await open_durable(url, WORLD)
