"""Many shard processes under every fault at once: one writer, nobody doubled, nobody lost, and the same from a seed.

Many seeds: ``make seeds`` (``tests.sim.seeds``).
"""

from tests.sim.hosts import RATE_HZ
from tests.sim.shards import LinkFaults, Shards
from tests.sim.storms import Storm, move_something, totals

STORM_S = 35
CROSSINGS = 10
CALM_S = 16
"""Longer than a lease, an election, its settling and the hand-overs that waited."""


def run(seed: int, **how: object) -> Shards:
    """One storm from one seed, the calm after it, and all checks."""
    world = Shards(seed, **how)  # type: ignore[arg-type]
    world.run(5 * RATE_HZ)
    Storm(world).run(STORM_S * RATE_HZ, world.run)
    world.run(CALM_S * RATE_HZ)
    assert set(world.stepping()) == set(world.layout.all()), "a region has no owner when the faults have stopped"
    world.check_nothing_lost()
    assert world.counts["crossed"] >= CROSSINGS
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
