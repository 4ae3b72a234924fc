"""Drones that fly straight over every border, count the ticks that they were simulated in and the borders that they
crossed, and multiply where a crash has taken some: so crossings can be counted, and what they cost in ticks.

``world.inhabitants_count``: how many there are. The world's regions are the four quarters of its plane. Each region
tells its number of drones in a roll call.
"""

import numpy as np

from isthmus import Rows, Script, World

SPEED_M_S = 30.0
EXTENT_M = 256.0
EDGE_M = 1.0
BREED_TICKS = 20
SPREAD_TICKS = 400
"""Until then they have flown apart."""
ROLL_CALL_TICKS, REST_TICKS = 600, 60
"""All rest for so long before they are counted, so that nobody is on the way."""

script = Script("flight")

flown = script.component("flown", "i4")
since = script.component("since", "i8")
side = script.component("side", "u1")
heading = script.component("heading", "f8")
crossed = script.component("crossed", "i4", replicate=True)
missed = script.component("missed", "i4", replicate=True)

script.kind("drone", [flown, since, side, heading, crossed, missed])


def _side(rows: Rows) -> np.ndarray:
    return (rows.pos[:, 0] > 0) + 2 * (rows.pos[:, 2] > 0)


def _spawn(world: World, pos: np.ndarray) -> None:
    count = len(pos)
    angle = world.random.uniform(0.0, 2 * np.pi, count)
    vel = np.stack([np.cos(angle), np.zeros(count), np.sin(angle)], axis=1) * SPEED_M_S
    sides = (pos[:, 0] > 0) + 2 * (pos[:, 2] > 0)
    world.spawn("drone", count, pos=pos, vel=vel, heading=angle, since=np.full(count, world.tick), side=sides)


@script.start
def launch(world: World) -> None:
    """All at once, in the region of the origin: from there they spread."""
    count = int(world.options["inhabitants_count"])
    pos = np.zeros((count, 3))
    pos[:, [0, 2]] = world.random.uniform(0.1, 0.45, (count, 2)) * EXTENT_M
    _spawn(world, pos)


@script.every("drone")
def fly(world: World, drones: Rows) -> None:
    """Straight on, and back at the world's edge; all rest before a roll call."""
    drones.flown += round(world.dt_s * world.rate_hz)
    drones.missed = world.tick - drones.since - drones.flown
    moving = world.tick % ROLL_CALL_TICKS < ROLL_CALL_TICKS - REST_TICKS
    speed = np.linalg.norm(drones.vel, axis=1)
    drones.heading[speed > 0] = np.arctan2(drones.vel[:, 2], drones.vel[:, 0])[speed > 0]
    drones.vel[:, 0], drones.vel[:, 2] = np.cos(drones.heading), np.sin(drones.heading)
    drones.vel *= SPEED_M_S if moving else 0.0
    for axis in (0, 2):
        out = np.abs(drones.pos[:, axis]) > EXTENT_M / 2 - EDGE_M
        outwards = np.sign(drones.pos[:, axis]) * drones.vel[:, axis] > 0
        drones.vel[out & outwards, axis] *= -1.0
    now = _side(drones)
    drones.crossed += now != drones.side
    drones.side = now
    if world.tick // ROLL_CALL_TICKS != world.last_tick // ROLL_CALL_TICKS:
        world.tell("roll call", {"call": world.tick // ROLL_CALL_TICKS, "drones": len(drones)})


@script.every("drone", ticks=BREED_TICKS)
def breed(world: World, drones: Rows) -> None:
    """A region that has lost most of its drones gets some more."""
    lacking = int(world.options["inhabitants_count"]) // 8 - len(drones)
    if lacking > 0 and world.tick - drones.since.min() > SPREAD_TICKS:
        parents = world.random.integers(0, len(drones), min(lacking // 4 + 1, len(drones)))
        _spawn(world, drones.pos[parents].copy())
