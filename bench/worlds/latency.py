"""People among others who stroll restlessly over a plane: heading and speed change every 250 ms, 1 m/s² rms.

One of ten is a person; the plane's side is such that about 50 are within 50 m of anybody. People are set down anywhere
when they enter; those who are measured, by their names ``mark-<number>``, in pairs, as ``peers/colyseus.mjs`` does it.
"""

import numpy as np

from isthmus import Body, Rows, Script, World

VISIBLE, RADIUS_M = 50, 50.0
ENTITIES_PER_INHABITANT = 10 / 9
GOLDEN_ANGLE, PAIR_M = 2.4, 4.0
CHANGE_TICKS = 5
ACCELERATION_M_S2 = 1.0 / np.sqrt(2)
"""On each of two axes."""
SPEED_MAX_M_S = 2.5

script = Script("latency")
ax = script.component("ax", "f8", unit="m/s²")
az = script.component("az", "f8", unit="m/s²")
script.kind("inhabitant", [ax, az], Body(radius_m=0.3, mass_kg=70, height_m=1.75, friction=0.0))


def _side_m(world: World) -> float:
    """Of the square that all are on. A circle of radius r around a point of a square of side s has 1 - 8r/(3πs) +
    r²/(2πs²) of its area inside, on average."""
    entities = int(world.options["inhabitants_count"]) * ENTITIES_PER_INHABITANT
    s = RADIUS_M
    for _ in range(50):
        inside = 1 - 8 * RADIUS_M / (3 * np.pi * s) + RADIUS_M**2 / (2 * np.pi * s**2)
        s = float(RADIUS_M * np.sqrt(np.pi * inside * entities / VISIBLE))
    return s


def _anywhere(world: World, count: int) -> np.ndarray:
    pos = np.zeros((count, 3))
    pos[:, [0, 2]] = world.random.uniform(-0.5, 0.5, (count, 2)) * _side_m(world)
    return pos


@script.start
def populate(world: World) -> None:
    """Inhabitants, evenly over the plane."""
    count = int(world.options["inhabitants_count"])
    vel = np.zeros((count, 3))
    vel[:, [0, 2]] = world.random.normal(0.0, 1.2, (count, 2))
    world.spawn("inhabitant", count, pos=_anywhere(world, count), vel=vel)


@script.enter("person")
def arrive(world: World, people: Rows) -> None:
    """Pairs on a ring, all others anywhere."""
    pos = _anywhere(world, len(people))
    for k, name in enumerate(people.name.tolist()):
        if name.startswith("mark-"):
            pair, second = divmod(int(name.removeprefix("mark-")), 2)
            angle, ring_m = GOLDEN_ANGLE * pair, _side_m(world) / 4
            pos[k] = ring_m * np.cos(angle) + PAIR_M * second, 0.0, ring_m * np.sin(angle)
    people.pos = pos


@script.every("inhabitant")
def stroll(world: World, crowd: Rows) -> None:
    """Velocities are linear between changes; back at the edge."""
    if world.tick % CHANGE_TICKS < round(world.dt_s * world.rate_hz):
        crowd.ax = world.random.normal(0.0, ACCELERATION_M_S2, len(crowd))
        crowd.az = world.random.normal(0.0, ACCELERATION_M_S2, len(crowd))
    vel = crowd.vel[:, [0, 2]] + np.stack([crowd.ax, crowd.az], axis=1) * world.dt_s
    vel *= np.minimum(1.0, SPEED_MAX_M_S / np.maximum(np.linalg.norm(vel, axis=1, keepdims=True), 0.01))
    place = crowd.pos[:, [0, 2]]
    vel = np.where(np.abs(place) > _side_m(world) / 2, -np.sign(place) * np.abs(vel), vel)
    crowd.vel[:, [0, 2]] = vel
    crowd.yaw = np.arctan2(-vel[:, 0], -vel[:, 1])
