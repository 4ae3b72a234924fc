"""Many shard processes under every fault at once: one writer, nobody doubled, nobody lost, and the same from a seed."""

import pytest

from tests.sim.hosts import RATE_HZ
from tests.sim.shards import LinkFaults, Shards
from tests.sim.storms import FAULTS, Storm, move_something, totals

SEEDS = 4
STORM_S = 35
CALM_S = 16
"""Longer than a lease, an election, its settling and the hand-overs that waited."""
FOUND: tuple[int, ...] = ()
"""Seeds that have found something once."""


def run(seed: int, **how: object) -> Shards:
    """One storm from one seed, the calm after it, and all checks."""
    world = Shards(seed, **how)  # type: ignore[arg-type]
    world.run(5 * RATE_HZ)
    Storm(world).run(STORM_S * RATE_HZ, world.run)
    world.run(CALM_S * RATE_HZ)
    assert set(world.stepping()) == set(world.layout.all()), "a region has no owner when the faults have stopped"
    world.check_nothing_lost()
    return world


def test_a_quiet_world_loses_nobody_over_many_crossings() -> None:
    world = Shards(3)
    world.run(60 * RATE_HZ)
    assert world.counts["crossed"] > 100
    assert len(world.present()) == 24
    world.check_nothing_lost()


def test_moves_of_regions_cost_nobody_anything() -> None:
    world = Shards(4)
    world.run(5 * RATE_HZ)
    for _ in range(12):
        move_something(world, world.rng)
        world.run(RATE_HZ)
    assert len(world.present()) == 24
    world.run(5 * RATE_HZ)
    world.check_nothing_lost()
    assert totals(world)["regions moved in"] == 12


@pytest.mark.parametrize("seed", [*range(SEEDS), *FOUND])
def test_storms(seed: int) -> None:
    counts = totals(run(seed))
    never = [what for what in FAULTS if not counts[what]]
    assert not never, f"these never happened: {never}"
    assert counts["crossed"] >= 50


def test_bad_links_alone_lose_nobody_at_all() -> None:
    for seed in range(100, 103):
        world = Shards(seed)
        world.run(5 * RATE_HZ)
        world.faults = LinkFaults(0.2, 0.1, 0.01, 0.005, 0.15)
        for _ in range(20):
            move_something(world, world.rng)
            world.run(RATE_HZ)
        world.faults = LinkFaults()
        world.run(5 * RATE_HZ)
        assert len(world.present()) == 24


def test_a_seed_replays() -> None:
    assert run(11).digest() == run(11).digest()
