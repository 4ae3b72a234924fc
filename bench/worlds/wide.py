"""A wide plane with things that stand where they were put, and people who are set down anywhere among them."""

import numpy as np

from isthmus import Body, Rows, Script, World

EXTENT_M, MARGIN_M = 3960.0, 10.0

script = Script("wide")
script.kind("thing", [], Body(radius_m=0.4, mass_kg=25, height_m=0.8, drag_per_s=0.98))


def _anywhere(world: World, count: int) -> np.ndarray:
    pos = np.zeros((count, 3))
    pos[:, [0, 2]] = world.random.uniform(MARGIN_M - EXTENT_M / 2, EXTENT_M / 2 - MARGIN_M, (count, 2))
    return pos


@script.start
def populate(world: World) -> None:
    """Things, evenly over the plane."""
    count = int(world.options["inhabitants_count"])
    world.spawn("thing", count, pos=_anywhere(world, count))


@script.enter("person")
def scatter(world: World, people: Rows) -> None:
    """Whoever comes in is set down somewhere among the things."""
    people.pos = _anywhere(world, len(people))
