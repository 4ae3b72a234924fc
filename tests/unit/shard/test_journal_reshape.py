"""What is written down of regions that are split and merged: no row is written again for it, and who dies in between is
found by whoever comes after, with all that was pending."""

from dataclasses import replace

import numpy as np
import pytest

from cluster.partition import Partition
from cluster.regions import Layout
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.durable.model import DurableCore
from shard.durable.spans import span_of
from shard.region import RegionCore
from shard.reshape import reshape
from tests.unit.shard.test_journal import CONFIG, LEVEL, World_, seen, store
from tests.unit.shard.worlds import boxes, place

QUARTERS = [4, 5, 6, 7]
WHOLE, CUT = Partition.of(Layout(128.0, 0)), Partition.of(Layout(128.0, 1))


def stones() -> Script:
    """Stones that lie still, each with an alarm and a letter under way."""
    script = Script("stones")
    script.kind("stone", [script.component("rung", "i8"), script.component("read", "i8")])

    @script.start
    def begin(world: World) -> None:
        at = np.linspace(-60, 60, 12)
        x, z = np.meshgrid(at, at)
        pos = np.stack([x.ravel(), np.zeros(144), z.ravel()], axis=1)
        world.spawn("stone", 144, pos=pos)

    @script.enter("stone")
    def entered(world: World, stones: Rows) -> None:
        world.after(1.0, "alarm", stones.id)

    @script.timer("alarm", "stone")
    def ring(world: World, stones: Rows, values: "np.ndarray") -> None:
        stones.rung += 1
        world.after(0.75, "alarm", stones.id)
        world.send(stones.id, "letter")

    @script.message("letter", "stone")
    def read(world: World, stones: Rows, payloads: "np.ndarray") -> None:
        stones.read += 1

    return script


def make(region: int, epoch: int, tick: int = 0, *, start: bool = False) -> RegionCore:
    partition = CUT if region > 1 else WHOLE
    squares = {n: (s.x0, s.z0, s.x1, s.z1) for n in partition.regions for s in [partition.square(n)]}
    neighbours = tuple((n, squares[n]) for n in partition.neighbours(region))
    config = replace(
        CONFIG, region=region, square_m=squares[region], neighbours=neighbours, epoch=epoch, start=start,
        first_id=(epoch << 30) + (region << 20),
    )  # fmt: skip
    return RegionCore(config, place(boxes()), [stones()], tick=tick)


class Kept:
    """Regions and their store; each batch is committed in the tick in which it is made."""

    def __init__(self) -> None:
        self.store: DurableCore = store()
        self.cores = {1: make(1, 1, start=True)}
        self.rows = 0
        self.committed: World_ = {}

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            for core in self.cores.values():
                self._step(core)

    def _step(self, core: RegionCore) -> None:
        step = core.step(core.tick + 1)
        if step.draft is not None:
            self.rows += len(step.draft.batch.entities)
            core.journaled(step.draft.batch.tick, self.store.commit(step.draft.batch, 0.0).refused)
            self.committed |= seen(core)

    def change(self, former: list[int], now: list[int], epoch: int) -> None:
        olds = {region: self.cores.pop(region) for region in former}
        self.cores = {region: make(region, epoch, max(old.tick for old in olds.values())) for region in now}
        reshape(olds, self.cores)
        for region in now:
            self.store.fence(region, epoch)

    def again(self, epoch: int) -> None:
        """All processes died, and others come."""
        for region in list(self.cores):
            self.store.fence(region, epoch)
            core = make(region, epoch)
            loaded = self.store.load(*span_of(region, LEVEL))
            core.state.tick = loaded.tick
            assert core.begin_from(loaded, {}).damage == []
            self.cores[region] = core

    def all(self) -> World_:
        found: World_ = {}
        for core in self.cores.values():
            found |= seen(core)
        return found


def test_a_split_and_a_merge_write_no_rows() -> None:
    kept = Kept()
    kept.run(34)
    kept.rows = 0
    kept.change([1], QUARTERS, 2)
    kept.run(1)
    assert kept.rows == 0
    kept.change(QUARTERS, [1], 3)
    kept.run(1)
    assert kept.rows == 0
    kept.run(40)
    assert kept.rows >= 144, "alarms rang"


@pytest.mark.parametrize("stepped", [(), (4,), (5, 7), tuple(QUARTERS)])
def test_who_dies_behind_a_split_is_found(stepped: tuple[int, ...]) -> None:
    """``stepped``: whose first batch was committed before."""
    kept = Kept()
    kept.run(33)
    kept.change([1], QUARTERS, 2)
    for region in stepped:
        kept._step(kept.cores[region])
    kept.again(3)
    assert kept.all() == kept.committed
    kept.run(60)
    rung, read = ([entry[f"c.{name}"] for entry in kept.all().values()] for name in ("rung", "read"))
    assert len(set(rung)) == 1
    assert rung[0] >= 3
    assert min(read) >= rung[0] - 1


@pytest.mark.parametrize("stepped", [False, True])
def test_who_dies_behind_a_merge_is_found(stepped: bool) -> None:
    kept = Kept()
    kept.run(5)
    kept.change([1], QUARTERS, 2)
    kept.run(28)
    kept.change(QUARTERS, [1], 3)
    if stepped:
        kept.run(1)
    kept.again(4)
    assert kept.all() == kept.committed
    kept.run(60)
    rung, read = ([entry[f"c.{name}"] for entry in kept.all().values()] for name in ("rung", "read"))
    assert len(set(rung)) == 1
    assert min(read) >= rung[0] - 1


def test_a_batch_whose_fate_is_unknown_is_written_again_by_those_in_its_place() -> None:
    kept = Kept()
    for _ in range(9):
        kept.cores[1].step(kept.cores[1].tick + 1)  # nobody answers
    kept.change([1], QUARTERS, 2)
    kept.run(1)
    assert kept.rows == 144
    kept.again(3)
    assert len(kept.all()) == 144
