"""``python -m bench.reshaping``: what a split and a merge of a region cost, by how much is in it.

One shard's core with things that move about and touch; a durable journal whose batches are committed at once. Measured:
the pause (rows, timers, answers and bodies go over: the process does nothing else meanwhile), the ticks before it in
which bodies are made ahead, the first tick after it, and an ordinary tick. Ratios are to the tick of 50 ms.

Exit status: 0 when a region of 3,000 pauses for one tick at most, else 1.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.report import Target, record, show_targets
from cluster.partition import Partition
from cluster.regions import Layout, quarters
from shard.behaviours.api import Body, Script
from shard.behaviours.world import World
from shard.border.links import Square
from shard.config import ShardConfig
from shard.core import Geometry, ShardCore

SIDE_M = 512.0
SIZES = (500, 1_500, 3_000, 6_000)
JUDGED = 3_000
ROUNDS = 5
TICK_MS = 50.0
SETTLE_TICKS = 30
REGION = 4
WHOLE = Partition.of(Layout(SIDE_M, 1))
CUT = Partition.of(Layout(SIDE_M, 1), [*quarters(REGION), 5, 6, 7])


@dataclass
class Pause:
    """Medians over the rounds, ms."""

    entities: int
    tick_ms: float
    ahead_ms: float
    split_ms: float
    after_split_ms: float
    merge_ms: float
    after_merge_ms: float


def crates(count: int) -> Script:
    """Crates all over one region, each on its way."""
    script = Script("crates")
    script.kind("crate", [script.component("mark", "i8", replicate=True)], body=Body(0.3))

    @script.start
    def begin(world: World) -> None:
        rng = np.random.default_rng(1)
        pos, vel = np.zeros((count, 3)), np.zeros((count, 3))
        pos[:, [0, 2]] = rng.uniform(-SIDE_M / 2 + 1, -1, (count, 2))
        vel[:, [0, 2]] = rng.normal(0.0, 1.0, (count, 2))
        world.spawn("crate", count, pos=pos, vel=vel)

    return script


def geometry(partition: Partition) -> Callable[[int], Geometry]:
    """Where each region is, and who is beside it."""

    def square(region: int) -> Square:
        found = partition.square(region)
        return found.x0, found.z0, found.x1, found.z1

    return lambda region: (square(region), [(other, square(other)) for other in partition.neighbours(region)])


class Run:
    """One world."""

    def __init__(self, count: int) -> None:
        config = ShardConfig(durable=True, leaves=Layout(SIDE_M, 4), bounds_half_m=SIDE_M / 2)
        self.core = ShardCore(config, None, [crates(count)])
        self.core.add_region(REGION, 1, *geometry(WHOLE)(REGION), start=True)
        for _ in range(SETTLE_TICKS):
            self.tick()

    def tick(self) -> float:
        """One more; returns how long it took, ms."""
        began_s = time.perf_counter()
        result = self.core.step(self.core.tick + 1)
        for region, draft in result.drafts:
            self.core.regions[region].journaled(draft.batch.tick, [])
        return 1000 * (time.perf_counter() - began_s)

    def change(
        self, former: Sequence[int], now: Sequence[int], epoch: int, partition: Partition
    ) -> tuple[float, float]:
        """Split or merge; returns the longest tick before it, and the pause, ms."""
        where = geometry(partition)
        self.core.prepare(former, {region: where(region)[0] for region in now})
        ahead_ms = 0.0
        while not self.core.is_prepared(former):
            ahead_ms = max(ahead_ms, self.tick())
        began_s = time.perf_counter()
        self.core.reshape(former, dict.fromkeys(now, epoch), where)
        return ahead_ms, 1000 * (time.perf_counter() - began_s)


def measure(count: int) -> Pause:
    """Split and merge a region with so many, ROUNDS times."""
    run = Run(count)
    rows = []
    for nth in range(ROUNDS):
        tick_ms = statistics.median(run.tick() for _ in range(10))
        ahead_ms, split_ms = run.change([REGION], quarters(REGION), 2 * nth + 2, CUT)
        after_split_ms = run.tick()
        for _ in range(SETTLE_TICKS):
            run.tick()
        ahead_again_ms, merge_ms = run.change(quarters(REGION), [REGION], 2 * nth + 3, WHOLE)
        after_merge_ms = run.tick()
        rows.append((tick_ms, max(ahead_ms, ahead_again_ms), split_ms, after_split_ms, merge_ms, after_merge_ms))
    return Pause(count, *(round(statistics.median(column), 2) for column in zip(*rows, strict=True)))


def main() -> int:
    """Run and judge."""
    console = Console()
    measure(64)  # kernels and caches
    gc.collect()
    gc.freeze()  # as a shard does before it begins
    found = [measure(count) for count in SIZES]
    table = Table(title="Splits and merges of a region", box=None, pad_edge=False, title_justify="left")
    for heading in ("entities", "tick ms", "ahead, most ms", "split ms", "next ms", "merge ms", "next ms"):
        table.add_column(heading, justify="right")
    for pause in found:
        table.add_row(*(f"{value:,}" for value in asdict(pause).values()))
    console.print(table)
    judged = next(pause for pause in found if pause.entities == JUDGED)
    targets = [
        Target(f"a tick before either, of {JUDGED:,}, in ticks of 50 ms", judged.ahead_ms / TICK_MS, 1.0),
        Target(f"split of {JUDGED:,}, in ticks of 50 ms", judged.split_ms / TICK_MS, 1.0),
        Target(f"merge into {JUDGED:,}, in ticks of 50 ms", judged.merge_ms / TICK_MS, 1.0),
    ]
    record({"reshaping": [asdict(pause) for pause in found]}, targets)
    show_targets(console, targets)
    return int(any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
