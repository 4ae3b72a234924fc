"""A world for headsets and televisions: cups to take, a bell to press, and people who wander beside the square."""

import numpy as np

from isthmus import Body, Hands, Rows, Script, Teleport, World

WANDER_M = 30.0

script = Script("studio")
hands = Hands(script)
Teleport(script, range_m=8.0)
colour = script.component("colour", "u1", replicate=True)
rings = script.component("rings", "u4", replicate=True)
hands.grabbable("cup", [colour])
script.kind("bell", [rings])
script.kind("inhabitant", [colour], Body(radius_m=0.3, mass_kg=70, height_m=1.75))


@script.start
def lay_out(world: World) -> None:
    """Six cups in a row, a bell, and people who keep away from both."""
    pos = np.zeros((6, 3))
    pos[:, 0], pos[:, 1], pos[:, 2] = np.arange(6) * 0.5 - 1.25, 0.9, -1.0
    world.spawn("cup", 6, pos=pos, colour=np.arange(6))
    world.spawn("bell", pos=[0.0, 1.2, -2.0])
    count = int(world.options["inhabitants_count"])
    around = np.zeros((count, 3))
    around[:, 0] = world.random.uniform(-WANDER_M, WANDER_M, count)
    around[:, 2] = world.random.uniform(-2 * WANDER_M, -15.0, count)
    world.spawn("inhabitant", count, pos=around, colour=np.arange(count) % 12, yaw=world.random.uniform(0, 6.28, count))


@hands.pressable("bell")
def ring(world: World, bells: Rows, people: Rows) -> list[int]:
    """Whoever presses it is told how often it was rung."""
    bells.rings += 1
    return [int(bells.rings[0])]


@script.every("inhabitant", ticks=10)
def wander(world: World, people: Rows) -> None:
    """At walking speed, with a turn now and then; back to the middle from the edges."""
    x, z = people.pos[:, 0], people.pos[:, 2]
    outside = (abs(x) > WANDER_M) | (z < -2 * WANDER_M) | (z > -12.0)
    home = np.arctan2(x, z + 1.2 * WANDER_M)
    people.yaw[:] = np.where(outside, home, people.yaw + world.random.normal(0.0, 0.3, len(people)))
    people.vel[:, 0], people.vel[:, 2] = -np.sin(people.yaw) * 1.2, -np.cos(people.yaw) * 1.2
