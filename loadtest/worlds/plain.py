"""The world of most scenarios: inhabitants stroll over a square, people are set down about its middle, machines report.

The scenario moves people; nothing here does.
"""

import numpy as np

from isthmus import Rows, Script, World
from loadtest.worlds.machines import add_machines

EXTENT_M = 512.0
MARGIN_M = 8.0
SPAWN_M = 40.0
"""People come in within so much of the middle."""
TURN_RAD = 0.05

script = Script("load")

heading = script.component("heading", "f4", unit="rad")
script.kind("inhabitant", [heading])
add_machines(script)


@script.start
def populate(world: World) -> None:
    """Inhabitants, evenly over the square."""
    count = int(world.options["inhabitants_count"])
    pos = np.zeros((count, 3))
    pos[:, [0, 2]] = world.random.uniform(MARGIN_M - EXTENT_M / 2, EXTENT_M / 2 - MARGIN_M, (count, 2))
    world.spawn("inhabitant", count, pos=pos, heading=world.random.uniform(0, 2 * np.pi, count))


@script.enter("person")
def scatter(world: World, people: Rows) -> None:
    """Nobody comes in on top of somebody else."""
    pos = np.zeros((len(people), 3))
    pos[:, [0, 2]] = world.random.uniform(-SPAWN_M, SPAWN_M, (len(people), 2))
    people.pos = pos


@script.every("inhabitant")
def stroll(world: World, crowd: Rows) -> None:
    """On, with small turns; at the edge of the square towards the middle."""
    crowd.heading[:] += world.random.normal(0.0, TURN_RAD, len(crowd))
    out = np.abs(crowd.pos[:, [0, 2]]).max(axis=1) > EXTENT_M / 2 - MARGIN_M
    crowd.heading[out] = np.arctan2(crowd.pos[out, 0], crowd.pos[out, 2])
    step_m = 1.2 * world.dt_s
    crowd.pos[:, 0] -= np.sin(crowd.heading) * step_m
    crowd.pos[:, 2] -= np.cos(crowd.heading) * step_m
