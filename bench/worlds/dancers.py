"""Dancers who change heading and speed every 250 ms, so that each tick of a channel has something to tell."""

import numpy as np

from isthmus import Rows, Script, World

HALF_M = 60.0
ACCELERATION_M_S2 = 1.0
SPEED_MOST_M_S = 1.5

script = Script("dancers")
vx = script.component("vx", "f4", unit="m/s")
vz = script.component("vz", "f4", unit="m/s")
script.kind("dancer", [vx, vz])


@script.start
def gather(world: World) -> None:
    """All of them, anywhere on the square."""
    count = int(world.options["inhabitants_count"])
    pos = np.zeros((count, 3))
    pos[:, [0, 2]] = world.random.uniform(-HALF_M, HALF_M, (count, 2))
    world.spawn("dancer", count, pos=pos)


@script.every("dancer", ticks=5)
def turn(world: World, dancers: Rows) -> None:
    """Another step."""
    push = world.random.normal(0.0, ACCELERATION_M_S2, (len(dancers), 2))
    dancers.vx = np.clip(dancers.vx + push[:, 0], -SPEED_MOST_M_S, SPEED_MOST_M_S)
    dancers.vz = np.clip(dancers.vz + push[:, 1], -SPEED_MOST_M_S, SPEED_MOST_M_S)


@script.every("dancer")
def move(world: World, dancers: Rows) -> None:
    """Along, and back from the edge of the square."""
    step = np.stack([dancers.vx, np.zeros(len(dancers)), dancers.vz], axis=1) / 20.0
    dancers.vel[:] = step * 20.0
    dancers.pos[:] = np.clip(dancers.pos + step, -HALF_M, HALF_M)
