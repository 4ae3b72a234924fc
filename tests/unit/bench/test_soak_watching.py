"""Samples of the soak: each life of a process has series of its own, and what moves between processes is added up."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bench.soak.cluster import SoakCluster
from bench.soak.watching import Watching


class Two:
    """Two shards whose logs and process ids a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards, self.gateways = ["shard-0", "shard-1"], list[str]()
        self.pids: dict[str, int | None] = {"shard-0": 10, "shard-1": 11, "placer-0": 12}
        self.children = SimpleNamespace(all=dict.fromkeys(self.pids))
        for name in self.pids:
            self.log(name).touch()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def pid(self, name: str) -> int | None:
        return self.pids[name]

    def tells(self, name: str, tasks: int, entities: int, end: str = "\n") -> None:
        told = {
            "event": "figures",
            "asyncio_tasks": tasks,
            "memory_blocks": 1,
            "link_waiting_bytes": 0,
            "held": {"claims": 3, "bodies": entities},
            "simulated_entities": entities,
        }
        with self.log(name).open("a") as log:
            log.write(json.dumps(told) + end)


def _watching(cluster: Two) -> Watching:
    watching = Watching(cast(SoakCluster, cluster), cast(Any, None), 1.0)
    _look(watching, cluster)
    return watching


def _look(watching: Watching, cluster: Two) -> None:
    for name in cluster.pids:
        watching.look(name, 1.0)


def test_a_life_has_series_of_its_own_and_none_of_the_former_ones_samples(tmp_path: Path) -> None:
    cluster = Two(tmp_path)
    watching = _watching(cluster)
    cluster.tells("shard-1", 5, 100)
    _look(watching, cluster)
    cluster.tells("shard-1", 50, 100)  # and then it was killed, before anybody looked
    cluster.pids["shard-1"] = 21
    _look(watching, cluster)
    cluster.tells("shard-1", 7, 20)
    _look(watching, cluster)
    assert watching.series["shard-1#1", "tasks"] == [(1.0, 5)]
    assert watching.series["shard-1#2", "tasks"] == [(1.0, 7)]


def test_a_line_that_is_not_whole_is_read_when_it_is(tmp_path: Path) -> None:
    cluster = Two(tmp_path)
    watching = _watching(cluster)
    cluster.tells("shard-0", 5, 100, end="")
    _look(watching, cluster)
    assert ("shard-0#1", "tasks") not in watching.series
    with cluster.log("shard-0").open("a") as log:
        log.write("\n")
    _look(watching, cluster)
    assert watching.series["shard-0#1", "tasks"] == [(1.0, 5)]


def test_what_moves_between_processes_is_added_up_without_the_dead(tmp_path: Path) -> None:
    cluster = Two(tmp_path)
    watching = _watching(cluster)
    cluster.tells("shard-0", 5, 150)
    cluster.tells("shard-1", 5, 66)
    _look(watching, cluster)
    assert watching.sums() == {"entities": 216.0, "held: bodies": 216.0}
    assert watching.series["shard-0#1", "held: claims"] == [(1.0, 3)]
    cluster.pids["shard-1"] = None
    _look(watching, cluster)
    assert watching.sums()["entities"] == 150
