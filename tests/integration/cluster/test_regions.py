"""Splits and merges of regions as an operator asks for them: real processes, and people who notice nothing."""

import asyncio
import json
from pathlib import Path

from tests.integration.cluster.conftest import DUCKS, running
from tests.integration.cluster.running import Running
from tests.integration.cluster.test_cluster import shows
from tests.integration.cluster.test_gateways import PEOPLE, Person, people, until


def test_regions_are_split_and_merged_under_people_who_walk(tmp_path: Path) -> None:
    with running(tmp_path, f"sqlite:{tmp_path / 'world.sqlite'}") as cluster:
        asyncio.run(_change(cluster))


async def _change(cluster: Running) -> None:
    async with people(cluster.urls[0]) as some, people(cluster.urls[1]) as others:
        everybody = [*some, *others]
        bodies = [person.bodies[0] for person in everybody]
        walking = asyncio.create_task(_walk(everybody))
        await until("one world", lambda: shows(cluster, 0, person=2 * PEOPLE, duck=DUCKS))
        for region in (4, 7):
            said = await asyncio.to_thread(cluster.command, "region", "split", "world.toml", str(region))
            assert said.startswith(f"region {region} is split")
        listed = await asyncio.to_thread(cluster.command, "region", "list", "world.toml")
        assert len(listed.splitlines()) == 11, listed
        await asyncio.to_thread(cluster.command, "region", "move", "world.toml", "19", "shard-0")
        await asyncio.to_thread(cluster.command, "region", "move", "world.toml", "18", "shard-1")
        await until("everybody is seen", lambda: any(shows(cluster, k, person=2 * PEOPLE) for k in (0, 1)))
        for cell in (4, 28):  # cells, and one of a cell's quarters
            said = await asyncio.to_thread(cluster.command, "region", "merge", "world.toml", str(cell))
            assert said.endswith(f"are one: {min(cell, 7)}\n")
        # People who walk together may all be sent to one gateway: then that one sees everything.
        await until("nobody is lost", lambda: any(shows(cluster, k, person=2 * PEOPLE, duck=DUCKS) for k in (0, 1)))
        heard = [person.client.core.acknowledged_seq for person in everybody]
        await until(
            "all are steered",
            lambda: all(p.client.core.acknowledged_seq > n + 20 for p, n in zip(everybody, heard, strict=True)),
        )
        walking.cancel()
        assert [set(person.bodies) for person in everybody] == [{body} for body in bodies]
        assert not [person.losses for person in everybody if person.losses]
    logs = [json.loads(line) for k in (0, 1) for line in cluster.log(f"shard-{k}").splitlines() if line.startswith("{")]
    assert sum(entry["event"] == "region_split" for entry in logs) == 2
    assert sum(entry["event"] == "region_merged" for entry in logs) == 2


async def _walk(everybody: list[Person]) -> None:
    """To and fro over the borders in the middle."""
    steps = 0
    while True:
        steps += 1
        for k, person in enumerate(everybody):
            east, south = (steps // 60 + k) % 2, (steps // 45) % 2
            person.client.core.steer(1.0 if east else -1.0, 1.0 if south else -1.0)
        await asyncio.sleep(0.05)
