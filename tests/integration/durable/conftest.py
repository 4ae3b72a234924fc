"""Both engines for the same tests: a SQLite file, and a schema of a PostgreSQL server that all tests share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.durable.places import PostgresPlace, SqlitePlace
from tests.integration.durable.servers import Server, running

EnginePlace = SqlitePlace | PostgresPlace


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """For tests that do it no harm."""
    with running() as one:
        yield one


@pytest.fixture
def own_server() -> Iterator[Server]:
    """For a test that stops it."""
    with running() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EnginePlace]:
    """One empty store of each engine."""
    engine: EnginePlace
    if request.param == "sqlite":
        engine = SqlitePlace(tmp_path / "world.db")
    else:
        shared: Server = request.getfixturevalue("server")
        engine = PostgresPlace(shared.url)
    await engine.clear()
    yield engine
    await engine.close()
