"""The crowd's world: inhabitants stroll over an empty plane, crates and balls lie between them to be pushed.

Density is even: ``world.extent_m`` is chosen so that a view of 50 m holds about 50. People are set down anywhere on the
plane when they enter, since a plane's own spawn points are close together.
"""

import numpy as np

from isthmus import Body, Rows, Script, World

EXTENT_M = 970.0
MARGIN_M = 10.0
TURN_TICKS = 40

script = Script("crowd")

pace = script.component("pace", "f4", unit="m/s")
heading = script.component("heading", "f4", unit="rad")

script.kind("inhabitant", [pace, heading], Body(radius_m=0.3, mass_kg=70, height_m=1.75, friction=0.0))
script.kind("ball", [], Body(radius_m=0.3, mass_kg=2, height_m=0.6, drag_per_s=0.4, elasticity=0.6, turns=True))
script.kind("crate", [], Body(radius_m=0.4, mass_kg=25, height_m=0.8, drag_per_s=0.98, turns=True, square=True))


def _anywhere(world: World, count: int) -> np.ndarray:
    pos = np.zeros((count, 3))
    pos[:, [0, 2]] = world.random.uniform(MARGIN_M - EXTENT_M / 2, EXTENT_M / 2 - MARGIN_M, (count, 2))
    return pos


@script.start
def populate(world: World) -> None:
    """Inhabitants and props, evenly over the plane."""
    count, props = int(world.options["inhabitants_count"]), int(world.options["props_count"])
    world.spawn(
        "inhabitant",
        count,
        pos=_anywhere(world, count),
        pace=world.random.uniform(1.0, 1.8, count),
        heading=world.random.uniform(0, 2 * np.pi, count),
    )
    balls = props // 2
    world.spawn("ball", balls, pos=_anywhere(world, balls))
    world.spawn("crate", props - balls, pos=_anywhere(world, props - balls))


@script.enter("person")
def scatter(world: World, people: Rows) -> None:
    """Whoever comes in is set down somewhere on the plane."""
    people.pos = _anywhere(world, len(people))


@script.every("inhabitant")
def stroll(world: World, crowd: Rows) -> None:
    """Walk on; every two seconds or so, or at the edge of the plane, take another heading."""
    turns = world.random.random(len(crowd)) < world.dt_s * world.rate_hz / TURN_TICKS
    crowd.heading[turns] += world.random.normal(0.0, 0.8, int(turns.sum()))
    out = np.abs(crowd.pos[:, [0, 2]]).max(axis=1) > EXTENT_M / 2 - MARGIN_M
    crowd.heading[out] = np.arctan2(crowd.pos[out, 0], crowd.pos[out, 2])  # towards the middle
    crowd.vel[:, 0] = -np.sin(crowd.heading) * crowd.pace
    crowd.vel[:, 2] = -np.cos(crowd.heading) * crowd.pace
    crowd.yaw = crowd.heading
