"""`isthmus cluster` as an operator runs it: a real etcd, a placer, shards and gateways; bots at both gateways share one
world, and go on in it when a shard is killed."""

import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.integration.server import CROWD, READY_S

DUCKS = 40
BOTS = 12
PATIENCE_S = 40.0
"""A lease, an election and all that follows, on a busy machine."""


@dataclass(slots=True)
class Running:
    """``urls``: one for each gateway, without a slash at the end."""

    process: subprocess.Popen[str]
    urls: list[str]
    folder: Path
    etcd: str = ""

    def command(self, *line: str) -> str:
        """What an operator's command prints; it must succeed."""
        words = [sys.executable, "-m", "isthmus", *line, "--cluster-etcd-endpoints", self.etcd]
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=True, timeout=90).stdout

    def status(self, gateway: int) -> dict[str, Any]:
        with urlopen(f"{self.urls[gateway]}/api/status", timeout=5) as answer:
            return dict(json.load(answer))

    def pids(self) -> dict[str, int]:
        """Children by name, as the log tells."""
        events = [
            json.loads(line) for line in (self.folder / "errors").read_text().splitlines() if line.startswith("{")
        ]
        return {event["child"]: event["pid"] for event in events if event["event"] == "child_started"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Running]:
    world = tmp_path / "world.toml"
    world.write_text('[world]\nname = "Ducks"\nbehaviours = "behaviours.py"\nextent_m = 256.0\n')
    (tmp_path / "behaviours.py").write_text(CROWD.replace("COUNT", str(DUCKS)))
    line = [sys.executable, "-m", "isthmus", "cluster", str(world), "--shards", "2", "--gateways", "2"]
    line += ["--gateway-port", "0", "--cluster-region-level", "1"]
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    urls: list[str] = []
    try:
        while len(urls) < 2:
            ready, _, _ = select.select([process.stdout], [], [], 2 * READY_S)
            told = process.stdout.readline() if ready else ""
            assert told, f"no gateway after {2 * READY_S:g} s: {(tmp_path / 'errors').read_text()[-2000:]}"
            found = re.search(r"(https?://\S+)/$", told.strip())
            if found:
                urls.append(found[1])
        yield Running(process, urls, tmp_path, process.stdout.readline().split()[-1])
    finally:
        process.terminate()
        process.stdout.close()
        assert process.wait(60) == 0
        alive = [pid for pid in Running(process, urls, tmp_path).pids().values() if Path(f"/proc/{pid}").exists()]
        assert not alive, "all children end with their cluster"


def bots(url: str, seed: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "isthmus", "bots", str(BOTS), "--url", url, "--seed", str(seed)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def until(what: str, holds: Any) -> None:
    """Wait until ``holds()``; the last answer is shown."""
    end_s = time.monotonic() + PATIENCE_S
    while not (answer := holds()):
        assert time.monotonic() < end_s, f"{what} did not come about: {answer}"
        time.sleep(0.2)


def shows(cluster: Running, gateway: int, **counts: int) -> bool:
    """Whether a gateway mirrors so many of each kind."""
    kinds = cluster.status(gateway)["kinds"]
    return all(kinds.get(kind) == count for kind, count in counts.items())


def test_two_gateways_show_one_world_that_survives_a_shard(cluster: Running) -> None:
    crowds = [bots(cluster.urls[k], seed=k + 1) for k in (0, 1)]
    try:
        for k in (0, 1):
            until("everybody is in", lambda k=k: cluster.status(k)["sessions"] == BOTS)
            # Each gateway mirrors the other's people, and all ducks, whichever shards have them.
            until("one world", lambda k=k: shows(cluster, k, person=2 * BOTS, duck=DUCKS))
        owners = {entry["region"]: entry["owner"] for entry in cluster.status(0)["regions"]}
        assert set(owners.values()) == {"shard-0", "shard-1"}, "both shards have regions near the people"
        epochs = {entry["region"]: entry["epoch"] for entry in cluster.status(0)["regions"]}
        region = next(region for region, owner in owners.items() if owner == "shard-1")
        listed = cluster.command("region", "list", "world.toml")
        assert len(listed.splitlines()) == 5, listed
        moved = cluster.command("region", "move", "world.toml", str(region), "shard-0")
        assert moved.startswith(f"region {region} is at shard-0, epoch {epochs[region] + 1}")
        cluster.command("region", "move", "world.toml", str(region), "shard-1")
        epochs[region] += 2
        for k in (0, 1):
            until("a move changes nothing", lambda k=k: shows(cluster, k, person=2 * BOTS, duck=DUCKS))
            assert cluster.status(k)["rejected"].get("body_lost", 0) == 0
        subprocess.run(["kill", "-9", str(cluster.pids()["shard-1"])], check=True)

        def taken_over() -> bool:
            now = {entry["region"]: entry for entry in cluster.status(0)["regions"]}
            lost = [region for region, owner in owners.items() if owner == "shard-1"]
            return all(region in now and now[region]["epoch"] > epochs[region] for region in lost)

        until("another owner", taken_over)
        for k in (0, 1):
            until("everybody is back", lambda k=k: shows(cluster, k, person=2 * BOTS))
        cluster.command("drain", "world.toml", "shard-1")
        assert "shard-1" not in cluster.command("region", "list", "world.toml")
        for k in (0, 1):
            until("nobody is lost by a drain", lambda k=k: shows(cluster, k, person=2 * BOTS))
    finally:
        for crowd in crowds:
            crowd.terminate()
            crowd.wait(20)
