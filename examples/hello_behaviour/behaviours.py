"""A first world: ducks that waddle about, come to whoever is near, and say so.

Try it: ``isthmus serve examples/hello_behaviour/world.toml``; then change a number here and start it again.
"""

from typing import Any

import numpy as np

from isthmus import Body, Refused, Rows, Script, World

PETTING_M = 2.0

script = Script("hello")

# What a duck has beside its place. Replicated components are seen by clients; mood travels in steps of 0.01.
mood = script.component("mood", "f4", unit="1", replicate=True, scale=0.01, default=0.5)
script.kind("duck", [mood], Body(radius_m=0.25, mass_kg=3, height_m=0.4))


@script.start
def hatch(world: World) -> None:
    """Runs once. Random numbers come from the world, so that the same seed gives the same world."""
    count = int(world.options.get("inhabitants_count", 20))
    pos = np.zeros((count, 3))
    pos[:, [0, 2]] = world.random.uniform(-15, 15, (count, 2))
    ducks = world.spawn("duck", count, pos=pos)
    world.after(5.0, "quack", ducks)


@script.every("duck", ticks=10)
def waddle(world: World, ducks: Rows) -> None:
    """Runs for all ducks at once: columns in, columns out, no loop over ducks."""
    ducks.yaw += world.random.normal(0.0, 0.5, len(ducks))
    who, _ = world.near(ducks.pos[:, 0], ducks.pos[:, 2], 4.0, kind="person")
    company = np.bincount(who, minlength=len(ducks)) > 0
    ducks.mood = np.clip(ducks.mood + np.where(company, 0.1, -0.02), 0.0, 1.0)
    speed = 0.2 + ducks.mood
    ducks.vel[:, 0] = -np.sin(ducks.yaw) * speed
    ducks.vel[:, 2] = -np.cos(ducks.yaw) * speed


@script.timer("quack", "duck")
def quack(world: World, ducks: Rows, values: np.ndarray) -> None:
    """One happy duck quacks; every duck's timer is set again, because a timer fires once."""
    happiest = int(np.argmax(ducks.mood))
    world.tell("quack", {"mood": float(ducks.mood[happiest])}, entity=int(ducks.id[happiest]))
    world.after(5.0, "quack", ducks.id)


@script.action("pet")
def pet(world: World, rows: Rows, payloads: list[Any]) -> list[Any]:
    """Runs when a client asks for it: ``await me.act("pet")``. ``rows`` is the one person whose act it is. It is done
    once, however often the client had to ask; who is refused has changed nothing."""
    _, near = world.near(rows.pos[:, 0], rows.pos[:, 2], PETTING_M, kind="duck")
    ducks = world.some("duck", near)
    if not len(ducks):
        raise Refused("no duck is near enough")
    ducks.mood = np.minimum(ducks.mood + 0.3, 1.0)
    return [{"petted": len(ducks), "mood": round(float(ducks.mood.mean()), 2)}]


@script.enter("person")
def greet(world: World, people: Rows) -> None:
    """Whoever comes in is told how many ducks there are."""
    for id_ in people.id:
        world.tell("hello", {"ducks": len(world.all("duck"))}, entity=int(id_))
