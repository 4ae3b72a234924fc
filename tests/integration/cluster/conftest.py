"""The fixture of all cluster tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cluster.running import Running, start
from tests.integration.server import CROWD

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


@contextmanager
def running(tmp_path: Path, durable_url: str, flags: Sequence[str] = ()) -> Iterator[Running]:
    """Two shards, two gateways, in a world that is kept in ``durable_url``."""
    (tmp_path / "world.toml").write_text('[world]\nname = "Ducks"\nbehaviours = "behaviours.py"\nextent_m = 256.0\n')
    (tmp_path / "behaviours.py").write_text(CROWD.replace("COUNT", str(DUCKS)) + ACTING)
    made = start(tmp_path, durable_url, flags=flags)
    try:
        yield made
    finally:
        made.process.terminate()
        assert made.process.stdout is not None
        made.process.stdout.close()
        assert made.process.wait(60) == 0
        alive = [pid for pid in made.pids().values() if Path(f"/proc/{pid}").exists()]
        assert not alive, "all children end with their cluster"
