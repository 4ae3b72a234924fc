"""The world of most scenarios: inhabitants stroll over a square, people are set down where the world says, and machines
report what they measure.

``world.options`` has nothing of its own here; the scenario moves people. A machine's reading is a component that
everybody near it is told of.
"""

from typing import Any

import numpy as np

from isthmus import Refused, Rows, Script, World

EXTENT_M = 512.0
MARGIN_M = 8.0
SPAWN_M = 40.0
"""People come in within so much of the middle."""
TURN_RAD = 0.05

script = Script("load")

heading = script.component("heading", "f4", unit="rad")
reading = script.component("reading", "f4", replicate=True)
reports = script.component("reports", "u4", replicate=True)

script.kind("inhabitant", [heading])
script.extend("person", [reading, reports])


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


@script.action("report")
def report(world: World, rows: Rows, payloads: list[Any]) -> list[int]:
    """A machine says what it measures: ``{"reading": 21.5}``. Answer: how many reports this body has made."""
    value = payloads[0].get("reading") if isinstance(payloads[0], dict) else None
    if not isinstance(value, int | float):
        raise Refused("a report is a map with a number as its reading")
    rows.reading[:] = value
    rows.reports += 1
    return [int(rows.reports[0])]
