"""Sixty inhabitants who turn every quarter of a second on a square of 40 m, all in sight of everybody."""

import numpy as np

from isthmus import Body, Rows, Script, World

COUNT = 60
HALF_M = 20.0
TURN_TICKS = 5
SPEED_M_S = 1.5

script = Script("lossy")
script.kind("inhabitant", [], Body(radius_m=0.2, mass_kg=70, height_m=1.75, friction=0.0))


@script.start
def populate(world: World) -> None:
    """All over the square."""
    pos = np.zeros((COUNT, 3))
    pos[:, [0, 2]] = world.random.uniform(-HALF_M, HALF_M, (COUNT, 2))
    world.spawn("inhabitant", COUNT, pos=pos)


@script.every("inhabitant", ticks=TURN_TICKS)
def turn(world: World, rows: Rows) -> None:
    """Another way, and back when it gets too far."""
    vel = world.random.normal(0.0, SPEED_M_S, (len(rows.pos), 2))
    out = np.abs(rows.pos[:, [0, 2]]) > HALF_M
    vel = np.where(out, -np.sign(rows.pos[:, [0, 2]]) * np.abs(vel), vel)
    rows.vel[:, [0, 2]] = vel
