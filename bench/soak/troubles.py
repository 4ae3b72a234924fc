"""What is done to the cluster, one thing after the other: a table of small functions, drawn in rounds from a seed.

Each returns what it did in a few words. Invariant: in each round every kind comes once, so that a soak of some length
has had them all, often. Raises ``SoakFailed`` when it could not be done: that is a failed disturbance, told in the
report and in the exit status, never left out. Not responsible for: whether people noticed (``people``).
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.soak.cluster import WORLD, SoakCluster, until
from bench.soak.people import Now
from client.shell.connection import ws_url
from cluster.regions import level_of, quarters

LEVEL_MAX = 2
"""Regions of 64 m: smaller ones than that are not made (cluster.region_level_max)."""


@dataclass(slots=True)
class Scene:
    """What a disturbance may use."""

    cluster: SoakCluster
    now: Now
    rng: np.random.Generator

    def one_of(self, names: list[Any]) -> Any:
        """Drawn."""
        return names[int(self.rng.integers(len(names)))]

    def ws(self, gateway: str) -> frozenset[str]:
        """Where people reach a gateway."""
        return frozenset({ws_url(self.cluster.urls[gateway])})


async def _regions(scene: Scene) -> list[dict[str, Any]]:
    return list((await scene.cluster.status())["regions"])


async def _killed(scene: Scene, name: str) -> str:
    before = scene.cluster.children.all[name].starts
    scene.cluster.kill(name)
    await until(f"{name} starts again", lambda: scene.cluster.children.all[name].starts > before)
    return name


async def kill_shard(scene: Scene) -> str:
    """kill -9 of a shard that has regions, if one of those that may be killed has any."""
    mortal = set(scene.cluster.mortal_shards)
    owners = {str(region["owner"]) for region in await _regions(scene)} & mortal
    scene.now.bodies = True
    return await _killed(scene, scene.one_of(sorted(owners or mortal)))


async def kill_gateway(scene: Scene) -> str:
    """kill -9 of a gateway."""
    name = scene.one_of(scene.cluster.mortal_gateways)
    scene.now.hurt, scene.now.going = scene.ws(name), True
    return await _killed(scene, name)


async def kill_placer(scene: Scene) -> str:
    """kill -9 of the placer."""
    return await _killed(scene, "placer-0")


async def _drained(scene: Scene, name: str) -> str:
    await scene.cluster.command("drain", str(WORLD), name)
    await until(f"the process of {name} ends", lambda: scene.cluster.pid(name) is None)
    await scene.cluster.launch(name)
    return name


async def drain_shard(scene: Scene) -> str:
    """A shard moves its regions away, ends, and comes back."""
    return await _drained(scene, scene.one_of(scene.cluster.mortal_shards))


async def drain_gateway(scene: Scene) -> str:
    """A gateway sends its people to the others, ends, and comes back."""
    name = scene.one_of(scene.cluster.mortal_gateways)
    scene.now.shut = scene.ws(name)
    return await _drained(scene, name)


async def move_region(scene: Scene) -> str:
    """An operator moves a region."""
    region = scene.one_of(await _regions(scene))
    to = scene.one_of([name for name in scene.cluster.shards if name != region["owner"]])
    await scene.cluster.command("region", "move", str(WORLD), str(region["region"]), to)
    return f"{region['region']} to {to}"


async def split_region(scene: Scene) -> str:
    """An operator cuts a region in four; if all are the smallest, he merges some first."""
    regions = [int(region["region"]) for region in await _regions(scene)]
    large = [region for region in regions if level_of(region) < LEVEL_MAX]
    region = scene.one_of(large) if large else int(await merge_region(scene))
    await scene.cluster.command("region", "split", str(WORLD), str(region))
    return str(region)


async def merge_region(scene: Scene) -> str:
    """An operator makes one region again of the quarters of another; if there are none, he splits one first."""
    regions = {int(region["region"]) for region in await _regions(scene)}
    whole = [r >> 2 for r in sorted(regions) if level_of(r) == LEVEL_MAX and regions >= set(quarters(r >> 2))]
    parent = scene.one_of(whole) if whole else int(await split_region(scene))
    await scene.cluster.command("region", "merge", str(WORLD), str(parent))
    return str(parent)


Trouble = Callable[[Scene], Awaitable[str]]
TROUBLES: dict[str, Trouble] = {
    "kill shard": kill_shard,
    "kill gateway": kill_gateway,
    "kill placer": kill_placer,
    "drain shard": drain_shard,
    "drain gateway": drain_gateway,
    "move region": move_region,
    "split region": split_region,
    "merge region": merge_region,
}


def drawn(rng: np.random.Generator) -> Iterator[str]:
    """Kinds of disturbances without end: all of them once, in some order, then again."""
    kinds = list(TROUBLES)
    while True:
        for k in rng.permutation(len(kinds)).tolist():
            yield kinds[k]
