"""Entities in lanes: along a border, or to and fro across it, or at rest; restless, as the benchmark's motion is
(speeds change four times a second). Options: ``count``, ``x_m`` (least distance from the border), ``side`` of it,
``pace`` (m/s), ``across``.
"""

import numpy as np

from isthmus import Body, Rows, Script, World

LENGTH_M = 240.0
SPREAD_M = 8.0
TURN_S = 4.0
TO_AND_FRO_M = 3.0
CHANGE_TICKS = 5
CHANGE_M_S = 0.25
"""1 m/s² rms at four changes a second."""

script = Script("lanes")

pace = script.component("pace", "f8", unit="m/s")
across = script.component("across", "u1")
phase = script.component("phase", "f8", unit="s")

script.kind("walker", [pace, across, phase], Body(radius_m=0.3, mass_kg=70, height_m=1.75, friction=0.0))


@script.start
def populate(world: World) -> None:
    """All of them, on one side of the border."""
    count, x_m, side = int(world.options["count"]), float(world.options["x_m"]), float(world.options["side"])
    goes_across = bool(world.options["across"])
    pos = np.zeros((count, 3))
    pos[:, 0] = side * (x_m + world.random.uniform(0.5, TO_AND_FRO_M if goes_across else SPREAD_M, count))
    pos[:, 2] = world.random.uniform(-LENGTH_M, LENGTH_M, count)
    world.spawn(
        "walker",
        count,
        pos=pos,
        pace=np.full(count, float(world.options["pace"])),
        across=np.full(count, goes_across),
        phase=world.random.uniform(0.0, TURN_S, count),
    )


@script.every("walker")
def walk(world: World, walkers: Rows) -> None:
    """To and fro, each in a phase of its own."""
    if world.tick % CHANGE_TICKS:
        return
    at_s = world.tick / world.rate_hz + walkers.phase
    way = np.where(at_s % TURN_S < TURN_S / 2, 1.0, -1.0) * walkers.pace
    way = way + np.where(walkers.pace > 0.0, world.random.normal(0.0, CHANGE_M_S, len(walkers)), 0.0)
    walkers.vel[:, 0] = np.where(walkers.across, way, 0.0)
    walkers.vel[:, 2] = np.where(walkers.across, 0.0, way)
