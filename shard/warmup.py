"""Compiles the kernels that a shard uses, by running a small world: for ``isthmus warmup`` and start-up (DESIGN §5).

Not responsible for: showing progress, the gateway's kernels (``kernels.warmup``).
"""

from collections.abc import Callable

import numpy as np

from protocol.layouts import COMMAND
from protocol.link import Upward
from protocol.pose_layout import SAMPLE
from shard.behaviours.api import Body, Script
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.region import RegionCore

Step = tuple[str, Callable[[], object]]


def steps() -> list[Step]:
    """Named steps, each compiling or loading what it uses."""
    return [("shard", _small_world)]


def _small_world() -> None:
    """Two people walk into each other's ducks: every phase has something to do."""
    script = Script("warmup")
    script.kind("duck", [], Body(radius_m=0.3))

    @script.start
    def begin(world: World) -> None:
        world.spawn("duck", 2, pos=[0.0, 0.0, 0.3])

    @script.every("duck")
    def look(world: World, ducks: Rows) -> None:
        world.near(ducks.pos[:, 0], ducks.pos[:, 2], 5.0)
        world.ray(ducks.pos[:, 0], ducks.pos[:, 2], 0.0, 5.0)
        world.push([id_ for _, id_ in zip(range(1), world.all("person").id, strict=False)], [0.01, 0.0])

    core = RegionCore(ShardConfig(rows=8, bounds_half_m=32.0), None, [script])
    given = core.step(1, [Upward(0, 1, 1, attach=[[k, 1, "a", "person", "desktop", 0] for k in (1, 2)])]).delta.attached
    row, generation = np.array([given[0][3]], np.uint32), np.array([given[0][4]], np.uint32)
    for tick in range(2, 6):
        command = np.zeros(1, COMMAND)
        command["move_x"], command["steps"] = 127, 3
        columns = Upward(0, tick, tick, input_row=row, input_generation=generation)
        columns.input_seq, columns.input_command = np.array([tick], np.uint32), command
        columns.pose_row, columns.pose_generation = row, generation
        columns.pose_count, columns.pose_sample = np.ones(1, np.uint8), np.ones((1, SAMPLE.itemsize), np.uint8)
        core.step(tick, [columns])
    for tick in range(6, 20):  # nobody steers: the quiet walker comes to rest
        core.step(tick)
