"""Splitting and merging regions: what they hold goes on in those that take their place, and nothing is under way then.

``Seam`` checks after every tick: one home for each entity, or one commit on its way; hops only grow; acknowledged
numbers never go back.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cluster.regions import quarters, square_of
from protocol.link import Upward
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.region import RegionCore
from shard.reshape import reshape
from tests.unit.shard.seam import FOUR, Body, Net, Seam
from tests.unit.shard.test_crossing import crowd

BAD = Net(lost=0.1, repeated=0.1, late=0.3)
SIDE_M = 128.0
STILL_TICKS = 200


class Changing(Seam):
    """Regions that are split and merged, as their owner does it."""

    def hold(self, regions: Sequence[int], each: Callable[[], None] | None = None) -> None:
        """They hold still, and all around them."""
        for region in regions:
            self.cores[region].hold(self.tick + 1)
        for _ in range(STILL_TICKS):
            if all(self.cores[region].is_still for region in regions):
                return
            self.run(1, each)
        raise AssertionError("they do not come to rest")

    def split(self, region: int, each: Callable[[], None] | None = None) -> None:
        self._change([region], quarters(region), each)

    def merge(self, cell: int, each: Callable[[], None] | None = None) -> None:
        self._change(quarters(cell), [cell], each)

    def _change(self, former: list[int], now: list[int], each: Callable[[], None] | None) -> None:
        self.hold(former, each)
        epoch = 1 + max(self.epochs[region] for region in former)
        olds: dict[int, RegionCore] = {region: self.cores.pop(region) for region in former}
        for region in former:
            del self.squares[region], self.asks[region]
        for region in now:
            square = square_of(SIDE_M, region)
            self.squares[region] = square.x0, square.z0, square.x1, square.z1
            self.epochs[region], self.asks[region] = epoch, []
        for body in self.bodies.values():
            if body.region in former:  # until its new region tells
                body.region = 0
        made = {region: self._make(region) for region in now}
        reshape(olds, made)
        self.cores |= made
        for region, core in self.cores.items():
            core.regroup({other: square for other, square in self.squares.items() if other != region})


def milling(seam: Seam, bodies: list[Body]) -> Callable[[], None]:
    heading = seam.rng.uniform(0, 7, len(bodies))

    def go() -> None:
        for k, body in enumerate(bodies):
            if seam.rng.random() < 0.05:
                heading[k] = seam.rng.uniform(0, 7)
            seam.walk(body, round(127 * np.cos(heading[k])), round(127 * np.sin(heading[k])), 1)

    return go


@pytest.mark.parametrize("seed", range(2))
def test_walkers_go_on_through_splits_and_merges_over_a_bad_network(seed: int) -> None:
    seam = Changing(dict(FOUR), seed=seed, net=BAD)
    bodies = crowd(seam, 8, spread_m=9.0)
    go = milling(seam, bodies)
    for cell in (4, 7, 5):
        seam.run(20, go)
        seam.split(cell, go)
        seam.run(60, go)
    seam.merge(4, go)
    seam.run(60, go)
    seam.crash(5 << 2)
    seam.run(20, go)
    seam.merge(7, go)
    assert sorted(seam.cores) == [4, 6, 7, 20, 21, 22, 23]
    seam.run(60, go)
    seam.net = Net()
    seam.run(60)
    well = [body for body in bodies if body.entity not in seam.excused]
    assert len(well) >= 4
    assert all(body.seq == body.acknowledged for body in well)
    assert seam.total("entities come") > 10
    assert seam.total("items of gone neighbours") == 0
    assert seam.faults == []


def clocks() -> Script:
    """Ducks swim, and keep a clock by a timer and one by messages."""
    script = Script("clocks")
    ticks = script.component("ticks", "i8", replicate=True)
    script.kind("duck", [ticks, script.component("laps", "i8"), script.component("told", "i8")])

    @script.start
    def begin(world: World) -> None:
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        pos, vel = np.zeros((12, 3)), np.zeros((12, 3))
        pos[:, 0], pos[:, 2] = -20 + 4 * np.cos(angle), -20 + 4 * np.sin(angle)
        vel[:, 0], vel[:, 2] = 5 * np.cos(angle), 5 * np.sin(angle)
        world.spawn("duck", 12, pos=pos, vel=vel)

    @script.enter("duck")
    def entered(world: World, ducks: Rows) -> None:
        world.after(0.25, "lap", ducks.id)

    @script.timer("lap", "duck")
    def lap(world: World, ducks: Rows, values: "np.ndarray") -> None:
        ducks.laps += 1
        world.after(0.25, "lap", ducks.id)
        world.send(ducks.id, "hello")

    @script.message("hello", "duck")
    def hello(world: World, ducks: Rows, payloads: "np.ndarray") -> None:
        ducks.told += 1

    @script.every("duck")
    def tick(world: World, ducks: Rows) -> None:
        ducks.ticks += 1
        for axis in (0, 2):
            out = np.abs(ducks.pos[:, axis]) > 60
            ducks.vel[out & (np.sign(ducks.pos[:, axis]) * ducks.vel[:, axis] > 0), axis] *= -1

    return script


def test_timers_messages_and_components_go_on() -> None:
    seam = Changing(dict(FOUR), lambda: [clocks()])
    seam.run(7)
    assert len(seam.own(4)) == 12
    seam.split(4)
    assert {len(seam.own(region)) for region in quarters(4)} != {12}, "they are spread"
    seam.run(40)
    seam.split(6)
    seam.run(40)
    seam.merge(4)
    seam.run(41)
    for region, core in seam.cores.items():
        table = core.state.table
        rows = table.rows()
        ticks, laps, told = (table.columns[f"c.{name}"][rows] for name in ("ticks", "laps", "told"))
        assert (np.abs(ticks - seam.tick) <= 1 + 2 * table.hop[rows]).all(), region
        assert (np.abs(laps - ticks // 5) <= 1 + table.hop[rows]).all(), region
        assert (np.abs(told - laps) <= 1).all(), region
    assert sum(len(seam.own(region)) for region in seam.cores) == 12
    assert seam.faults == []


def pokers() -> Script:
    """Two crates at a border: one pokes the other in every tick."""
    script = Script("pokers")
    script.kind("crate", [script.component("sent", "i8"), script.component("poked", "i8")])

    @script.start
    def begin(world: World) -> None:
        world.spawn("crate", 2, pos=np.array([[-2.0, 0.0, -2.0], [-2.0, 0.0, 2.0]]))

    @script.every("crate")
    def poke(world: World, crates: Rows) -> None:
        _, near = world.near(crates.pos[:1, 0], crates.pos[:1, 2], 10.0, kind="crate")
        others = np.setdiff1d(near, crates.id)
        if len(others):
            crates.sent[0] += len(others)
            world.send(others, "poke")

    @script.message("poke", "crate")
    def poked(world: World, crates: Rows, payloads: "np.ndarray") -> None:
        ids = np.asarray(crates.id)
        crates.poked += np.array([np.count_nonzero(ids == id_) for id_ in ids])  # a late one comes with the next

    return script


@pytest.mark.parametrize("net", [Net(), BAD])
def test_acts_wait_while_a_region_changes_and_are_done_once(net: Net) -> None:
    seam = Changing(dict(FOUR), lambda: [pokers()], net=net)
    seam.run(40)
    assert {len(seam.own(4)), len(seam.own(6))} == {1}
    for change, cell in ((seam.split, 4), (seam.split, 6), (seam.merge, 4)):
        change(cell)
        seam.run(15)
    for core in seam.cores.values():  # nobody pokes any more; all that was said arrives
        for behaviour in core.state.runner.behaviours:
            behaviour.enabled = behaviour.name.rpartition(".")[2] != "poke"
    seam.net = Net()
    seam.run(20)
    totals = np.zeros(2, np.int64)
    for core in seam.cores.values():
        rows = core.state.table.rows()
        totals += [core.state.table.columns[f"c.{name}"][rows].sum() for name in ("sent", "poked")]
    assert totals[0] == totals[1] > 100
    assert seam.faults == []


def test_who_hangs_together_goes_to_one_quarter_and_a_newcomer_finds_its_body() -> None:
    seam = Changing(dict(FOUR))
    rider, horse = seam.join(1, 4, (-33.0, -40.0)), seam.join(2, 4, (-31.0, -40.0))
    core = seam.cores[4]
    core.state.attachments.attach([rider.entity], [horse.entity])
    seam.split(4)
    assert seam.home(rider.entity) == seam.home(horse.entity) == 17
    seam.run(1)
    assert (rider.region, horse.region) == (17, 17)
    for region in quarters(4):  # a gateway whose word was lost asks everywhere, and for no other body
        seam.say(region, Upward(0, 0, 0, attach=[[1, 1, "P1", 0, "desktop", 0]]))
    seam.run(1)
    assert rider.region == 17
    assert sum(len(seam.own(region)) for region in seam.cores) == 2


def test_an_idle_hold_is_given_back() -> None:
    seam = Changing(dict(FOUR))
    body = seam.join(1, 4, (-1.0, -30.0))
    seam.hold([4])
    seam.run(20, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 4, "nobody crosses while the region holds still"
    assert seam.pos(body.entity)[0] > 1.0
    seam.cores[4].hold(0)
    seam.run(30)
    assert seam.home(body.entity) == 5
