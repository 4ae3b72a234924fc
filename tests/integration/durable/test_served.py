"""A served world goes on after a stop; it is backed up while served, and brought back (kill -9: test_trouble)."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.server import REPOSITORY, Server, launch, serving, write_world

DUCKS = 60
PATIENCE_S = 20.0


def ducks(server: Server) -> int:
    """How many the gateway shows."""
    return int(server.status()["kinds"].get("duck", 0))


def until_all_are_there(server: Server) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while ducks(server) != DUCKS:
        assert time.monotonic() < end_s, f"{ducks(server)} ducks, {DUCKS} were expected"
        time.sleep(0.1)


def command(*words: str | Path) -> str:
    line = [sys.executable, "-m", "isthmus", *map(str, words)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_world_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, store = write_world(tmp_path, ducks=DUCKS), tmp_path / "kept" / "world.sqlite"
    monkeypatch.setenv("ISTHMUS_DURABLE_URL", f"sqlite:{store}")
    with serving(world) as server:
        until_all_are_there(server)
        assert "world_goes_on" not in server.log
        told = command("backup", world, tmp_path / "world.backup")
        assert f"{DUCKS} entity" in told
    with serving(world) as server:  # it was told to stop
        until_all_are_there(server)
        assert f'"entities": {DUCKS}' in server.log
    monkeypatch.setenv("ISTHMUS_DURABLE_URL", f"sqlite:{tmp_path / 'elsewhere.sqlite'}")
    assert f"{DUCKS} entity" in command("restore", world, tmp_path / "world.backup")
    with serving(world) as server:
        until_all_are_there(server)
        assert '"world_goes_on"' in server.log


def test_another_worlds_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_DURABLE_URL", f"sqlite:{tmp_path / 'world.sqlite'}")
    with serving(write_world(tmp_path)):
        pass
    other = write_world(tmp_path / "other", toml="seed = 9\n")
    process = launch(other)
    assert process.wait(60) == 78
    assert process.stdout is not None
    process.stdout.close()
    assert "seed is 1 there and 9 here" in (tmp_path / "other" / "stderr.txt").read_text().replace("\n", " ")
