"""The little world of the simulator: a square with houses, and ducks that waddle, change their mood, end and begin."""

import numpy as np

from client.walk import Ground
from protocol.place import Place
from server.core.cameras import ChannelSpec
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from tests.worlds import ground, static_map

HALF_M = 60.0
BOUNDS = (-HALF_M, -HALF_M, HALF_M, HALF_M)
DUCKS = 40
HOUSES = [
    {"bottom_m": 0.0, "top_m": 8.0, "rings": [[(x, z), (x + 9.0, z + 2.0), (x + 8.0, z + 8.0), (x - 1.0, z + 6.0)]]}
    for x, z in ((-30.0, -30.0), (-10.0, -12.0), (12.0, 5.0), (25.0, -28.0), (-28.0, 20.0), (6.0, 28.0))
]

CHANNEL = ChannelSpec("square", camera="fixed", radius_m=30.0, near_radius_m=15.0)
"""Looks at the origin."""


def walk_ground() -> Ground:
    """What clients predict on."""
    return ground(BOUNDS, HOUSES)


def place() -> Place:
    """What the shard walks on."""
    return Place("square", (60.0, 25.0, 0.0), "", static_map(BOUNDS, HOUSES))


def script() -> Script:
    """Behaviours whose every effect is seen by clients: motion, components, spawns, despawns, events."""
    made = Script("sim")
    mood = made.component("mood", "f4", unit="1", replicate=True, scale=0.25, default=0.5)
    rank = made.component("rank", "i4", replicate=True)
    made.kind("duck", [mood, rank])
    count, newest, doubled = (made.component(f"deeds_{what}", "u4") for what in ("count", "newest", "doubled"))
    made.extend("person", [count, newest, doubled])

    @made.action("deed")
    def deed(world: World, rows: Rows, payloads: list[int]) -> list[int]:
        """Each deed of a person has a number of its own, from 1 on: what was done before is noticed by the body."""
        rows.deeds_doubled += payloads[0] <= rows.deeds_newest
        rows.deeds_newest[:] = payloads[0]
        rows.deeds_count += 1
        return [int(rows.deeds_count[0])]

    @made.start
    def hatch(world: World) -> None:
        pos = np.zeros((DUCKS, 3))
        pos[:, [0, 2]] = world.random.uniform(-HALF_M, HALF_M, (DUCKS, 2))
        world.spawn("duck", DUCKS, pos=pos, rank=np.arange(DUCKS))

    @made.every("duck", ticks=5)
    def waddle(world: World, ducks: Rows) -> None:
        ducks.yaw += world.random.normal(0.0, 0.5, len(ducks))
        ducks.vel[:, 0] = -np.sin(ducks.yaw) * 2.0
        ducks.vel[:, 2] = -np.cos(ducks.yaw) * 2.0

    @made.every("duck")
    def swim(world: World, ducks: Rows) -> None:
        ducks.pos += ducks.vel / world.rate_hz
        ducks.pos[:, [0, 2]] = np.clip(ducks.pos[:, [0, 2]], -HALF_M, HALF_M)

    @made.every("duck", ticks=15)
    def feel(world: World, ducks: Rows) -> None:
        ducks.mood = np.where(
            world.random.random(len(ducks)) < 0.2, world.random.integers(0, 8, len(ducks)) / 4, ducks.mood
        )

    @made.every("duck", ticks=25)
    def replace(world: World, ducks: Rows) -> None:
        world.despawn(ducks.id[:1])
        pos = np.zeros((1, 3))
        pos[:, [0, 2]] = world.random.uniform(-HALF_M, HALF_M, (1, 2))
        world.spawn("duck", 1, pos=pos, rank=len(ducks))
        world.tell("replaced", {"count": len(ducks)}, entity=int(ducks.id[-1]))

    return made
