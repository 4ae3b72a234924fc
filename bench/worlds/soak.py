"""The soak's world: ducks drift over all borders, and a person's deeds are numbered, so that one that was done twice,
or forgotten after it was answered, shows.
"""

import numpy as np

from isthmus import Rows, Script, World

EXTENT_M = 256.0
MARGIN_M = 4.0

script = Script("soak")

heading = script.component("heading", "f4", unit="rad")
count = script.component("deeds_count", "u4")
newest = script.component("deeds_newest", "u4")
doubled = script.component("deeds_doubled", "u4")

script.kind("duck", [heading])
script.extend("person", [count, newest, doubled])


def _anywhere(world: World, many: int) -> np.ndarray:
    pos = np.zeros((many, 3))
    pos[:, [0, 2]] = world.random.uniform(MARGIN_M - EXTENT_M / 2, EXTENT_M / 2 - MARGIN_M, (many, 2))
    return pos


@script.start
def populate(world: World) -> None:
    """Ducks, evenly over the plane."""
    many = int(world.options["inhabitants_count"])
    world.spawn("duck", many, pos=_anywhere(world, many), heading=world.random.uniform(0, 2 * np.pi, many))


@script.every("duck")
def drift(world: World, ducks: Rows) -> None:
    """On, with small turns; at the edge of the plane towards the middle."""
    ducks.heading[:] += world.random.normal(0.0, 0.05, len(ducks))
    out = np.abs(ducks.pos[:, [0, 2]]).max(axis=1) > EXTENT_M / 2 - MARGIN_M
    ducks.heading[out] = np.arctan2(ducks.pos[out, 0], ducks.pos[out, 2])
    step_m = 0.8 * world.dt_s
    ducks.pos[:, 0] -= np.sin(ducks.heading) * step_m
    ducks.pos[:, 2] -= np.cos(ducks.heading) * step_m


@script.action("deed")
def deed(world: World, rows: Rows, payloads: list[int]) -> list[list[int]]:
    """Payload: the number of the deed in this body, from 1. Answer: how many were done, and how many of them twice."""
    rows.deeds_doubled += payloads[0] <= rows.deeds_newest
    rows.deeds_newest[:] = payloads[0]
    rows.deeds_count += 1
    return [[int(rows.deeds_count[0]), int(rows.deeds_doubled[0])]]
