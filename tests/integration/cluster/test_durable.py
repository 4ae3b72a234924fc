"""Shards are killed while people act: what was answered stays done, in the bodies they had, among all the ducks; a
backup that is made meanwhile has all that was answered before; and when every process was killed all goes on."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.regions import Layout
from isthmus.durable import leaves_of
from shard.durable.contract import Loaded, WorldIdentity
from shard.durable.opening import open_durable
from shard.durable.spans import span_of
from tests.integration.cluster.conftest import DUCKS, running
from tests.integration.cluster.running import Running
from tests.integration.cluster.test_acting import acting
from tests.integration.cluster.test_gateways import Person, people, until
from tests.integration.durable.servers import running as postgres_running

BOTH = "shard-0", "shard-1"


def entities(cluster: Running) -> int:
    """People and ducks that the first gateway mirrors."""
    return sum(int(count) for count in cluster.status(0)["kinds"].values())


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, f"sqlite:{tmp_path / 'world.sqlite'}") as made:
        yield made


@pytest.fixture
def on_postgres(tmp_path: Path) -> Iterator[Running]:
    with postgres_running() as server, running(tmp_path, server.url) as made:
        yield made


def test_what_was_answered_survives_killed_shards(on_sqlite: Running) -> None:
    asyncio.run(_killed(on_sqlite, ("shard-0",), BOTH))


def test_what_was_answered_survives_on_postgres_and_when_everything_is_killed(on_postgres: Running) -> None:
    asyncio.run(_killed(on_postgres, BOTH, everything=True))


async def _killed(cluster: Running, *kills: tuple[str, ...], everything: bool = False) -> None:
    async with acting(*cluster.urls) as (everybody, all_go_on):
        whole = DUCKS + len(everybody)
        await until("all are there", lambda: entities(cluster) == whole)
        for shards in kills:
            for name in shards:
                os.kill(cluster.pids()[name], signal.SIGKILL)
            await all_go_on(f"they go on when {' and '.join(shards)} were killed")
            await until("nobody is missing, and nobody is there twice", lambda: entities(cluster) == whole)
        if everything:
            await _backed_up(cluster, everybody)
            tick = cluster.status(0)["tick"]
            await asyncio.to_thread(cluster.all_killed_and_started_again)
            await all_go_on("they go on when every process was killed")
            await until("nobody is missing, and nobody is there twice", lambda: entities(cluster) == whole)
            assert all(len(set(person.sessions)) == 1 for person in everybody), "the sessions that they had"
            assert cluster.status(0)["tick"] > tick, "the world's time goes on"
            async with people(cluster.urls[0]) as newcomers:
                await until("newcomers are others", lambda: entities(cluster) == whole + len(newcomers))
                assert min(person.bodies[0] or 0 for person in newcomers) > max(p.bodies[-1] or 0 for p in everybody)


async def _backed_up(cluster: Running, everybody: list[Person]) -> None:
    """A backup while people act, brought back into a store of another engine: what was answered before is in it."""
    answered = {person.sessions[0]: person.done[-1] for person in everybody}
    file, elsewhere = cluster.folder / "ducks.backup", f"sqlite:{cluster.folder / 'elsewhere.sqlite'}"
    await asyncio.to_thread(cluster.command, "backup", "world.toml", str(file))
    await asyncio.to_thread(cluster.command, "restore", "world.toml", str(file), "--durable-url", elsewhere)
    found = await _whole(elsewhere)
    assert not found.damage
    assert len(found.entities) == DUCKS + len(everybody)
    stored = dict.fromkeys(answered, 0)
    for action in found.actions:
        stored[action.session] = max(stored[action.session], action.number)
    late = {session: (stored[session], number) for session, number in answered.items() if stored[session] < number}
    assert not late, f"(in the backup, answered before it): {late}"


async def _whole(url: str) -> Loaded:
    leaves = leaves_of(Layout.around(256.0, 1))
    store = await open_durable(url, WorldIdentity("Ducks", 1, leaves.side_m, leaves.level), make=False)
    try:
        return await store.load(*span_of(1, leaves.level))
    finally:
        await store.close()
