"""Ducks on a square, so that a new cluster has something to show: they walk in circles of their own."""

import numpy as np

from isthmus import Body, Rows, Script, World

DUCKS = 40
script = Script("square")
script.kind("duck", [], Body(radius_m=0.25, mass_kg=3, height_m=0.4))


@script.start
def hatch(world: World) -> None:
    """Once, in a world that was never committed."""
    pos = np.zeros((DUCKS, 3))
    pos[:, [0, 2]] = world.random.uniform(-60.0, 60.0, (DUCKS, 2))
    world.spawn("duck", DUCKS, pos=pos)


@script.every("duck", ticks=10)
def walk(world: World, ducks: Rows) -> None:
    """Half a metre a second, and a little to the left."""
    ducks.yaw += 0.1
    ducks.vel[:, 0] = -0.5 * np.sin(ducks.yaw)
    ducks.vel[:, 2] = -0.5 * np.cos(ducks.yaw)
