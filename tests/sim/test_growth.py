"""Regions that grow with what is in them: split when it is hot, merged when it is idle; and what becomes of a crowd
that gathers where nothing can be split any more."""

import numpy as np
import pytest

from cluster.out import Out
from cluster.regions import level_of, quarters
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.ticker import FAR_SLACK
from tests.sim import shards
from tests.sim.hosts import RATE_HZ, Host
from tests.sim.shards import Shards
from tests.sim.storms import totals

CROWD = 24
COST_S = 0.004
"""Of a tick, for each entity: a crowd in one region takes twice as long as a tick may."""
HOT, IDLE = 0.06, 0.001
"""Load of one entity."""


def test_hot_regions_are_split_and_idle_ones_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Shards(3)
    monkeypatch.setattr(shards, "LOAD_OF_ONE", HOT)
    world.run(30 * RATE_HZ)
    deepest = max(map(level_of, world.partition.regions))
    assert deepest == world.layout.level + 1, f"nothing was split: {world.partition.regions}"
    owners = {hosts[0].name for hosts in world.stepping().values()}
    assert len(owners) == 3
    monkeypatch.setattr(shards, "LOAD_OF_ONE", IDLE)
    for _ in range(150):
        if world.partition.all() == world.layout.all():
            break
        world.run(RATE_HZ)
    assert world.partition.all() == world.layout.all(), "what is idle is merged, up to what the world began with"
    world.check_nothing_lost()
    assert len(world.present()) == CROWD
    counts = totals(world)
    assert counts["change split"] == counts["change merged"] > 0
    assert counts["items of gone neighbours"] == 0


def gathering() -> Script:
    """People who come together in a corner of the world, and part again when they are told."""
    script = Script("gathering")
    script.kind("guest", [script.component("parted", "?")])

    @script.start
    def begin(world: World) -> None:
        angle = np.linspace(0, 2 * np.pi, CROWD, endpoint=False)
        pos = np.zeros((CROWD, 3))
        pos[:, 0], pos[:, 2] = 30 * np.cos(angle), 30 * np.sin(angle)
        world.spawn("guest", CROWD, pos=pos)

    @script.every("guest")
    def walk(world: World, guests: Rows) -> None:
        angle = np.asarray(guests.id) % CROWD * (2 * np.pi / CROWD)
        far = np.stack([45 * np.cos(angle), 45 * np.sin(angle)], axis=1)
        goal = np.where(np.asarray(guests.parted)[:, None], far, [[50.0, 50.0]])
        gap = goal - guests.pos[:, [0, 2]]
        away = np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-9)
        guests.vel[:, [0, 2]] = gap / away * np.minimum(8.0, 2.0 * away)

    return script


class Crowded(Shards):
    """Turns take as long as what is in them."""

    def make_tick(self, host: Host, tick: int) -> Out:
        if host.shard is not None:
            host.slow_s = COST_S * max((core.entities for core in host.shard.core.regions.values()), default=0)
        return super().make_tick(host, tick)

    def part(self) -> None:
        for hosts in self.stepping().values():
            assert hosts[0].shard is not None
            for core in hosts[0].shard.core.regions.values():
                core.state.table.columns["c.parted"][core.state.table.rows()] = True


def test_a_crowd_in_the_smallest_region_costs_itself_detail_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LOAD_OF_ONE", 0.02)
    world = Crowded(4, scripts=gathering)
    corner = quarters(quarters(1)[3])[3]
    world.run(40 * RATE_HZ)
    stepping = world.stepping()
    assert corner in stepping, f"it was not split: {world.partition.regions}"
    assert max(map(level_of, stepping)) == world.layout.level + 1, "no region is smaller"
    (host,) = stepping[corner]
    assert host.shard is not None
    assert host.shard.core.regions[corner].entities == CROWD
    assert host.ticker.level > 0
    assert host.shard.core.regions[corner].state.far_slack == FAR_SLACK[host.ticker.level] > 1.0
    assert world.tick - host.shard.core.tick <= 8, "it goes on, in larger steps"
    others = [other for hosts in stepping.values() for other in hosts if other is not host]
    assert others
    assert {other.ticker.level for other in others} == {0}
    world.part()
    world.run(60 * RATE_HZ)
    levels = {hosts[0].ticker.level for hosts in world.stepping().values()}
    assert levels == {0}, "when the crowd has parted everybody gets everything"
    world.check_nothing_lost()
    assert len(world.present()) == CROWD
