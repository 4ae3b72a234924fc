"""A served world between two starts: its store is made one of version 1, a bit of it flips, and it is cut. People and
their things are there each time; what is damaged is named, and all else is served."""

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shard.durable.schema import VERSION
from tests.integration.cluster.test_acting import acting
from tests.integration.cluster.test_gateways import PEOPLE, until
from tests.integration.durable.older import make_version_1, version
from tests.integration.durable.test_served import command, ducks
from tests.integration.durable.test_trouble import DUCKS, end, write
from tests.integration.server import Server, launch, serving, until_ready

UNAVAILABLE = 69


def test_a_store_that_is_old_then_damaged_then_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "kept" / "world.sqlite"
    monkeypatch.setenv("ISTHMUS_DURABLE_URL", f"sqlite:{store}")
    world = write(tmp_path)
    asyncio.run(_old_and_damaged(world, store))
    cut(store)
    process = launch(world)
    assert process.wait(60) == UNAVAILABLE
    assert process.stdout is not None
    process.stdout.close()
    said = " ".join((tmp_path / "stderr.txt").read_text().split())
    assert "is damaged" in said
    assert "back up what can be read, and restore it elsewhere" in said
    told = command("backup", world, tmp_path / "world.backup")
    monkeypatch.setenv("ISTHMUS_DURABLE_URL", f"sqlite:{tmp_path / 'kept' / 'elsewhere.sqlite'}")
    command("restore", world, tmp_path / "world.backup")
    with serving(world) as server:
        entities = goes_on(server)["entities"]
        assert 0 < entities < DUCKS + PEOPLE
        assert f"{entities} entity" in told
        assert 0 < ducks(server) <= entities


async def _old_and_damaged(world: Path, store: Path) -> None:
    process = launch(world, port=None)
    try:
        async with acting(until_ready(process, world).url) as (everybody, all_go_on):

            async def served_again() -> Server:
                nonlocal process
                process = launch(world, port=None)
                server = await asyncio.to_thread(until_ready, process, world)
                await all_go_on("everybody has come back, with all that they had done")
                return server

            end(process, signal.SIGTERM)
            make_version_1(store)
            server = await served_again()
            assert version(store) == VERSION
            assert goes_on(server) == {"entities": DUCKS + len(everybody), "damaged": 0}

            end(process, signal.SIGTERM)
            damaged = flip_a_bit_of_a_duck(store, {person.bodies[-1] for person in everybody})
            server = await served_again()
            assert goes_on(server) == {"entities": DUCKS + len(everybody) - 1, "damaged": 1}
            [event] = events(server, "durable_damaged")
            assert (event["what"], event["why"]) == (f"entity {damaged}", "the checksum does not fit")
            assert server.metric("isthmus_durable_damaged_total") == 1
            await until("all others are shown", lambda: ducks(server) == DUCKS - 1)
    finally:
        end(process, signal.SIGTERM)


def events(server: Server, name: str) -> list[dict[str, object]]:
    """What a server has logged under a name."""
    lines = (json.loads(line) for line in server.log.splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == name]


def goes_on(server: Server) -> dict[str, int]:
    """With how much a world went on."""
    [event] = events(server, "world_goes_on")
    return {key: int(str(event[key])) for key in ("entities", "damaged")}


def flip_a_bit_of_a_duck(store: Path, bodies: set[int | None]) -> int:
    """In the file's bytes; which one it was."""
    with closing(sqlite3.connect(store)) as connection:
        rows = connection.execute("SELECT id, data FROM entity WHERE leaf <> 0 ORDER BY id").fetchall()
    number, data = next((number, data) for number, data in rows if number not in bodies)
    content = bytearray(store.read_bytes())
    assert content.count(data) == 1
    content[content.index(data) + len(data) // 2] ^= 4
    store.write_bytes(content)
    return int(number)


def cut(store: Path) -> None:
    """Take a piece of the file's end, with rows of entities in it."""
    with closing(sqlite3.connect(store)) as connection:
        rows = connection.execute("SELECT data FROM entity WHERE leaf <> 0").fetchall()
    content = store.read_bytes()
    last = max(content.rindex(data) for (data,) in rows)
    store.write_bytes(content[: last // 4096 * 4096])
