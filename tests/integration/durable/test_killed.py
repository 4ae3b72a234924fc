"""Whoever dies: what was acknowledged is there."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shard.durable.contract import Away, Durable, Fenced, Loaded
from shard.durable.opening import open_durable
from tests.integration.durable.committer import batch, check
from tests.integration.durable.conftest import EnginePlace
from tests.integration.durable.places import PostgresPlace
from tests.integration.durable.servers import Server
from tests.unit.shard.durable.contract_cases import WORLD, whole

HOME = Path(__file__).parents[3]


@contextmanager
def committing(url: str) -> Iterator["subprocess.Popen[str]"]:
    """The process; killed at the end if not before."""
    command = [sys.executable, "-m", "tests.integration.durable.committer", url]
    process = subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def eventually(store: Durable) -> Loaded:
    """All of the world, as soon as it can be had."""
    for _ in range(1000):
        with suppress(Away):
            return await whole(store)
        await asyncio.sleep(0.02)
    raise AssertionError("the store stays away")


@pytest.mark.parametrize("after", [1, 7, 150])
async def test_a_killed_process_has_lost_nothing(place: EnginePlace, after: int) -> None:
    def run() -> int:
        with committing(place.url) as process:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(after)]
            process.kill()
            lines += process.stdout.read().splitlines()
        return int(lines[-1])

    acknowledged = await asyncio.to_thread(run)
    store = await place.open()
    check(await whole(store), acknowledged)
    await store.fence(1, 2)
    with pytest.raises(Fenced):
        await store.commit(batch(1))


async def test_a_crashed_server_has_lost_nothing(own_server: Server) -> None:
    """Restarted in immediate mode while a client commits; what it was told is there, and it goes on."""
    store = await open_durable(own_server.url, WORLD)
    await store.fence(1, 1)
    acknowledged = 0
    acknowledgements = asyncio.Condition()
    over = asyncio.Event()

    async def commit() -> None:
        nonlocal acknowledged
        n = 0
        while not over.is_set():
            n += 1
            while True:
                with suppress(Away):
                    await store.commit(batch(n))
                    break
                await asyncio.sleep(0.02)
            async with acknowledgements:
                acknowledged = n
                acknowledgements.notify_all()

    async def reaches(count: int) -> None:
        async with acknowledgements:
            await acknowledgements.wait_for(lambda: acknowledged >= count)

    async def crash() -> None:
        for _ in range(3):
            await reaches(acknowledged + 30)
            await asyncio.to_thread(own_server.restart, "immediate")
            before = acknowledged
            check(await eventually(other), before)
        over.set()

    other = await open_durable(own_server.url, WORLD)
    async with asyncio.TaskGroup() as group:
        group.create_task(commit())
        group.create_task(crash())
    check(await whole(store), acknowledged)
    await store.close()
    await other.close()


async def test_postgres_places_share_a_server(server: Server) -> None:
    """Worlds in one database do not see each other."""
    here = PostgresPlace(server.url)
    await here.clear()
    await (await here.open()).fence(1, 5)
    other = await open_durable(server.url, type(WORLD)("Another harbour!", 1, 4.0, 2))
    assert await other.newest_epoch(1) == 0
    await other.close()
    await here.close()
