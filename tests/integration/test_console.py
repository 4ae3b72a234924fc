"""The console of a world of one process: orders outlive it, the log is whole, and what needs a cluster says so."""

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.integration.cluster.running import bots, until
from tests.integration.server import REPOSITORY, Server, serving, write_world


class Console:
    """A script of an operator's."""

    def __init__(self, server: Server, secret: str) -> None:
        self._base, self._secret = f"{server.url}/api/operator", secret

    def get(self, path: str) -> Any:
        return self._ask(Request(f"{self._base}/{path}"))

    def act(self, **what: Any) -> dict[str, Any]:
        """Ask, and wait for what came of it."""
        body = json.dumps(what).encode()
        asked = self._ask(Request(f"{self._base}/acts", body, {"Content-Type": "application/json"}))["number"]

        def over() -> dict[str, Any] | None:
            return next((entry for entry in self.get("log")["entries"] if entry["of"] == asked), None)

        until(f"{what} to end", over)
        found = over()
        assert found is not None
        return found

    def _ask(self, request: Request) -> Any:
        request.add_header("Authorization", f"Bearer {self._secret}")
        with urlopen(request, timeout=5) as answer:
            return json.load(answer)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A world with a console, kept in SQLite."""
    secret = secrets.token_hex(32)
    (tmp_path / "operators").write_text(f"ada {secret}\n")
    (tmp_path / "operators").chmod(0o600)
    monkeypatch.setenv("ISTHMUS_DURABLE_URL", f"sqlite:{tmp_path / 'world.sqlite'}")
    toml = f'[console]\nsecrets_path = "operators"\nlog_path = "{tmp_path}/operators.jsonl"\n'
    return write_world(tmp_path, toml, ducks=5), secret


def _operate(console: Console) -> str:
    """Everything that an operator does, once; returns whom they have banned."""
    until("four people", lambda: console.get("overview")["online"] == 4)
    told = console.get("overview")
    assert (told["regions"]["region"], told["shards"][0]["regions"], told["is_cluster"]) == ([1], 1, False)
    until("all that is there to be counted", lambda: console.get("overview")["entities"] == 9)

    first, second = console.get("sessions")["sessions"][:2]
    interest = console.get(f"interest?session={first['session']}")
    assert interest["view"]["told_of"] + len(interest["not_told"]) >= 8

    kicked = console.act(do="kick", session=first["session"], reason="rude")
    assert (kicked["state"], kicked["operator"]) == ("done", "ada")
    assert console.act(do="kick", session=first["session"])["state"] == "failed", "nobody is there any more"
    moved = console.act(do="move", region=1, to="shard")
    assert (moved["state"], moved["result"][:25]) == ("failed", "this world is one process")
    assert console.act(do="ban", session=second["session"], hours=1, reason="rude")["state"] == "done"
    changed = console.act(do="profile", profile="desktop", values={"bytes_per_s": 9000, "radius_m": 20})
    assert changed["state"] == "done"
    [profile] = [row for row in console.get("orders")["profiles"] if row["profile"] == "desktop"]
    assert (profile["now"]["bytes_per_s"], profile["now"]["radius_m"]) == (9000, 20.0)
    third = next(row for row in console.get("sessions")["sessions"] if row["state"] == "live")
    assert console.get(f"interest?session={third['session']}")["view"]["radius_m"] == 20.0, "who is in, too"
    bad = console.act(do="profile", profile="desktop", values={"radius_m": 20_000})
    assert bad["state"] == "failed"
    assert "radius_m" in bad["result"]
    return str(second["name"])


def test_an_operator_of_one_process(world: tuple[Path, str]) -> None:
    path, secret = world
    with serving(path) as server:
        console = Console(server, secret)
        with pytest.raises(HTTPError, match="401"):
            Console(server, "x" * 40).get("overview")
        walkers = bots(server.url, 3, 4)
        try:
            banned = _operate(console)
        finally:
            walkers.terminate()
            walkers.wait(20)
    with serving(path) as server:
        console = Console(server, secret)
        orders = console.get("orders")
        assert [ban["name"] for ban in orders["bans"]] == [banned], "a ban outlives the process"
        [profile] = [row for row in orders["profiles"] if row["profile"] == "desktop"]
        assert profile["now"]["bytes_per_s"] == 9000
        assert console.act(do="profile", profile="desktop", values={})["state"] == "done"
        assert console.get("orders")["profiles"][0]["changed"] is None
    audit = [sys.executable, "-m", "isthmus", "audit", str(path.parent / "operators.jsonl")]
    printed = subprocess.run(audit, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "14 entries, none altered" in printed
