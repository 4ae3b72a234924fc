"""A served world whose store is in trouble, and people who walk and act in it meanwhile: the world goes on, answers
stop, operators are told; when the trouble is over everything is answered once. Then the server is killed: people come
back with their tickets into their bodies, and all that they were answered is there."""

import asyncio
import json
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cluster.conftest import ACTING
from tests.integration.cluster.test_acting import acting
from tests.integration.cluster.test_gateways import Person, until
from tests.integration.durable.disks import fill, mounted, remount
from tests.integration.durable.servers import Server as Postgres
from tests.integration.durable.servers import free_port
from tests.integration.server import Server, launch, until_ready, write_world

GoOn = Callable[[str], Awaitable[None]]
Trouble = Callable[[Server, list[Person], GoOn], Awaitable[None]]
DUCKS = 60
TICKS = 10
LOG_BYTES = 1 << 16
"""More than a server logs here, and less than its store writes."""


def write(folder: Path) -> Path:
    """A world whose people act, at a port that it has again after a restart."""
    world = write_world(folder, f"[gateway]\nport = {free_port()}\n", ducks=DUCKS)
    with (folder / "crowd.py").open("a") as script:
        script.write(ACTING)
    return world


async def goes_on_without_answers(server: Server, everybody: list[Person], why: str) -> None:
    """While the store is away."""

    def told() -> bool:
        return server.metric("isthmus_durable_away") == 1 and bool(warnings(server))

    await until("operators are told", told)
    assert any("acts are not answered" in warning for warning in server.status()["warnings"])
    [*_, event] = [json.loads(line) for line in server.log.splitlines() if '"durable_away"' in line]
    assert why in event["why"], event
    assert "nothing needs a restart" in event["remedy"]
    answered = [len(person.done) for person in everybody]
    ticks = [person.client.core.records.tick for person in everybody]
    places = [person.client.core.position for person in everybody]
    for person in everybody:
        person.client.core.steer(1.0, 0.0)
    await until(
        "people see frames and walk",
        lambda: all(
            person.client.core.records.tick > tick + TICKS and person.client.core.position != place
            for person, tick, place in zip(everybody, ticks, places, strict=True)
        ),
    )
    for person in everybody:
        person.client.core.steer(0.0, 0.0)
    assert not any(person.losses for person in everybody), "nobody is sent away"
    assert [len(person.done) for person in everybody] == answered, "nothing is answered that is not stored"


def warnings(server: Server) -> list[str]:
    """What /readyz says while it says yes."""
    return list(json.loads(server.get("/readyz")).get("warnings", []))


async def is_back(server: Server, go_on: GoOn) -> None:
    """The trouble is over: no restart was needed, and all that was asked is answered once."""
    await go_on("answers come again")
    await until("operators are told", lambda: not warnings(server) and server.metric("isthmus_durable_away") == 0)
    assert '"durable_back"' in server.log


async def killed_and_served_again(world: Path, run: Trouble) -> None:
    """``run`` with people in a world that is served; then kill -9, and the same people in it again."""
    process = launch(world, port=None)
    try:
        server = until_ready(process, world)
        async with acting(server.url) as (everybody, all_go_on):
            await run(server, everybody, all_go_on)
            end(process, signal.SIGKILL)
            process = launch(world, port=None)
            server = await asyncio.to_thread(until_ready, process, world)
            await all_go_on("everybody has come back")
            assert '"world_goes_on"' in server.log
            assert server.metric("isthmus_durable_damaged_total") == 0
            assert server.metric("isthmus_joins_total", kind="moved") == len(everybody)
            assert all(len(set(person.sessions)) == 1 for person in everybody), "the sessions that they had"
        end(process, signal.SIGTERM)
        assert process.returncode == 0, server.log
        assert "Traceback" not in server.log
    finally:
        end(process, signal.SIGKILL)


def end(process: "subprocess.Popen[str]", how: signal.Signals) -> None:
    """It, and what belongs to it here."""
    process.send_signal(how)
    process.wait(15)
    assert process.stdout is not None
    process.stdout.close()


def shorten_log(store: Path) -> None:
    """Let SQLite's write-ahead log begin anew: what it has of the disk already would be enough for a while."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_disk_that_is_full_then_fails_then_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "disk"
    monkeypatch.setenv("ISTHMUS_DURABLE_URL", f"sqlite:{folder / 'world.sqlite'}")
    folder.mkdir()
    with mounted(folder, "24m") as disk:
        if disk is None:
            with capfd.disabled():
                sys.stdout.write("\nLEFT OUT: full and read-only disks need root and mount. One that fails is tried.\n")
        asyncio.run(_disk(tmp_path, folder, is_own=disk is not None))


async def _disk(tmp_path: Path, folder: Path, *, is_own: bool) -> None:
    store = folder / "world.sqlite"

    async def run(server: Server, everybody: list[Person], go_on: GoOn) -> None:
        ballast = folder / "ballast"
        if is_own:

            def no_room() -> bool:
                shorten_log(store)
                fill(ballast)
                return server.metric("isthmus_durable_away") == 1

            await until("there is no room", no_room)
            await goes_on_without_answers(server, everybody, "full")
            ballast.unlink()
            await is_back(server, go_on)
        # As the kernel does it: writing fails, and then nothing may be written any more.
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (LOG_BYTES, hard))
        await goes_on_without_answers(server, everybody, "I/O")
        if is_own:
            await until("the disk is read-only", lambda: remount(folder, "ro"))
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
        if is_own:
            await until("that is told", lambda: "readonly" in server.log)
            await goes_on_without_answers(server, everybody, "readonly")
            assert remount(folder, "rw")
        await is_back(server, go_on)

    await killed_and_served_again(write(tmp_path), run)


def test_a_database_that_is_stopped(tmp_path: Path, own_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(server: Server, everybody: list[Person], go_on: GoOn) -> None:
        await asyncio.to_thread(own_server.stop)
        await goes_on_without_answers(server, everybody, "")
        await asyncio.to_thread(own_server.start)
        await is_back(server, go_on)

    monkeypatch.setenv("ISTHMUS_DURABLE_URL", own_server.url)
    asyncio.run(killed_and_served_again(write(tmp_path), run))
