"""Central Helsinki for load: inhabitants with bodies who turn where a wall stops them, and machines that report."""

import numpy as np

from isthmus import Body, Rows, Script, World
from loadtest.worlds.machines import add_machines

TURN_RAD = 0.05
SLOW_PART = 0.3
AROUND_M = 60.0

script = Script("load_city")

heading = script.component("heading", "f4", unit="rad")
pace = script.component("pace", "f4", unit="m/s")

script.kind("inhabitant", [heading, pace], Body(radius_m=0.3, mass_kg=70, height_m=1.75, friction=0.0))
add_machines(script)


@script.start
def populate(world: World) -> None:
    """Around the places where people enter, wherever no wall is."""
    if world.place is None or not len(world.place.spawn_m):
        raise ValueError("this world needs a place where people can enter: set world.place in city.toml")
    count = int(world.options["inhabitants_count"])
    tries = world.place.spawn_m[world.random.integers(0, len(world.place.spawn_m), 8 * count)]
    tries = tries + world.random.uniform(-AROUND_M, AROUND_M, tries.shape)
    spots = tries[world.fits(tries[:, 0], tries[:, 1])][:count]
    world.spawn(
        "inhabitant",
        len(spots),
        pos=np.stack([spots[:, 0], np.zeros(len(spots)), spots[:, 1]], axis=1),
        heading=world.random.uniform(0, 2 * np.pi, len(spots)),
        pace=world.random.uniform(1.0, 1.8, len(spots)),
    )


@script.every("inhabitant")
def stroll(world: World, crowd: Rows) -> None:
    """On, with small turns; elsewhere where a wall is in the way."""
    stopped = np.hypot(crowd.vel[:, 0], crowd.vel[:, 2]) < SLOW_PART * crowd.pace
    crowd.heading[:] += world.random.normal(0.0, TURN_RAD, len(crowd))
    crowd.heading[stopped] += world.random.uniform(np.pi / 4, np.pi, int(stopped.sum()))
    crowd.vel[:, 0] = -np.sin(crowd.heading) * crowd.pace
    crowd.vel[:, 2] = -np.cos(crowd.heading) * crowd.pace
    crowd.yaw = crowd.heading
