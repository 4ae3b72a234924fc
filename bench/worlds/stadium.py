"""A stadium: everybody who comes in is set down in a circle of 60 m across, and walks about as they like."""

import numpy as np

from isthmus import Rows, Script, World

RADIUS_M = 30.0

script = Script("stadium")


@script.enter("person")
def seat(world: World, people: Rows) -> None:
    """Anywhere in the circle, evenly."""
    angle = world.random.uniform(0, 2 * np.pi, len(people))
    far = RADIUS_M * np.sqrt(world.random.uniform(0, 1, len(people)))
    pos = np.zeros((len(people), 3))
    pos[:, 0], pos[:, 2] = far * np.sin(angle), far * np.cos(angle)
    people.pos = pos
