"""Things for hands: cups to take, carry and throw, a bell to press, a cart to ride on, and teleport.

Try it: ``isthmus serve examples/hands/world.toml``. A headset's client says where the hands are (STANDARD.md §11);
others take things with arms of 1.5 m. Clients act: ``await me.act("grab", {"thing": id, "hand": "right"})``,
``release``, ``press``, ``sit``, ``stand``, ``teleport``.
"""

import numpy as np

from isthmus import Hands, Rows, Script, Teleport, World

script = Script("hands")
hands = Hands(script)
Teleport(script, range_m=8.0)

# What can be taken: it follows the hand, flies when it is let go, and has whatever components it needs.
hands.grabbable("cup", [script.component("colour", "u1", replicate=True)])
# What can be sat on; the cart moves, and takes its rider along, over borders, too.
hands.seat("cart", height_m=0.5)
rings = script.component("rings", "u4", replicate=True)
script.kind("bell", [rings])


@script.start
def lay_out(world: World) -> None:
    """Six cups in a row, as high as a table, a bell and a cart."""
    pos = np.zeros((6, 3))
    pos[:, 0], pos[:, 1], pos[:, 2] = np.arange(6) * 0.5 - 1.25, 0.9, -1.0
    world.spawn("cup", 6, pos=pos, colour=np.arange(6))
    world.spawn("bell", pos=[0.0, 1.2, -2.0])
    world.spawn("cart", pos=[6.0, 0.0, 0.0])


@hands.pressable("bell")
def ring(world: World, bells: Rows, people: Rows) -> list[int]:
    """Whoever presses it is told how often it was rung."""
    bells.rings += 1
    world.tell("ring", {"by": int(people.id[0])}, entity=int(bells.id[0]))
    return [int(bells.rings[0])]


@script.every("cart")
def drive(world: World, carts: Rows) -> None:
    """Round in a circle of 6 m, at walking speed."""
    angle = world.tick / world.rate_hz * 0.25
    carts.yaw[:] = -angle
    carts.vel[:, 0], carts.vel[:, 2] = -np.sin(angle) * 1.5, np.cos(angle) * 1.5
