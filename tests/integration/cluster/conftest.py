"""The fixture of all cluster tests."""

import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cluster.running import Running
from tests.integration.server import CROWD, READY_S

DUCKS = 40
ACTING = """

count, newest, doubled = (script.component(f"deeds_{what}", "u4") for what in ("count", "newest", "doubled"))
script.extend("person", [count, newest, doubled])


@script.action("deed")
def deed(world, rows, payloads):
    rows.deeds_doubled += payloads[0] <= rows.deeds_newest
    rows.deeds_newest[:] = payloads[0]
    rows.deeds_count += 1
    return [[int(rows.deeds_count[0]), int(rows.deeds_doubled[0])]]
"""
"""A person's deeds are numbered: one that was done before is noticed."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Running]:
    """What a shard alone holds goes with it."""
    with running(tmp_path, "memory:") as made:
        yield made


@pytest.fixture
def durable_cluster(tmp_path: Path) -> Iterator[Running]:
    """What was committed outlives every process."""
    with running(tmp_path, f"sqlite:{tmp_path / 'world.sqlite'}") as made:
        yield made


@contextmanager
def running(tmp_path: Path, durable_url: str) -> Iterator[Running]:
    """Two shards, two gateways."""
    world = tmp_path / "world.toml"
    world.write_text('[world]\nname = "Ducks"\nbehaviours = "behaviours.py"\nextent_m = 256.0\n')
    (tmp_path / "behaviours.py").write_text(CROWD.replace("COUNT", str(DUCKS)) + ACTING)
    line = [sys.executable, "-m", "isthmus", "cluster", str(world), "--shards", "2", "--gateways", "2"]
    line += ["--gateway-port", "0", "--cluster-region-level", "1", "--durable-url", durable_url]
    with (tmp_path / "errors").open("w") as errors:
        # Unbuffered: of two lines that come at once the second would be out of select's sight.
        process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
    assert process.stdout is not None
    urls: list[str] = []
    try:
        while len(urls) < 2:
            ready, _, _ = select.select([process.stdout], [], [], 2 * READY_S)
            told = process.stdout.readline().decode() if ready else ""
            assert told, f"no gateway after {2 * READY_S:g} s: {(tmp_path / 'errors').read_text()[-2000:]}"
            found = re.search(r"(https?://\S+)/$", told.strip())
            if found:
                urls.append(found[1])
        yield Running(process, urls, tmp_path, process.stdout.readline().decode().split()[-1])
    finally:
        process.terminate()
        process.stdout.close()
        assert process.wait(60) == 0
        alive = [pid for pid in Running(process, urls, tmp_path).pids().values() if Path(f"/proc/{pid}").exists()]
        assert not alive, "all children end with their cluster"
