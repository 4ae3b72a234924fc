"""Many shard processes under every fault at once: one writer, nobody doubled, nobody lost, and the same from a seed.

Many seeds: ``make seeds`` (``tests.sim.seeds``).
"""

from shard.process import ShardOut
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
    assert set(world.stepping()) == set(world.partition.all()), "a region has no owner when the faults have stopped"
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
    world = Shards(4, grows=False)  # what is about to be split is not moved
    world.run(5 * RATE_HZ)
    for _ in range(12):
        move_something(world, world.rng)
        world.run(RATE_HZ)
    assert len(world.present()) == 24
    world.run(5 * RATE_HZ)
    world.check_nothing_lost()
    assert totals(world)["regions moved in"] >= 12  # the placer may move some as well


def test_a_region_meant_for_a_targets_former_life_is_not_lost() -> None:
    """Started anew under its old name, a shard has another lease than the member that the others still see."""
    world = Shards(5)
    world.run(5 * RATE_HZ)
    owners = {region: hosts[0] for region, hosts in world.stepping().items()}
    target = owners[next(iter(owners))]
    region, owner = next((region, host) for region, host in owners.items() if host is not target)
    before = {id_ for id_, (there, _) in world.entities().items() if owners[there] is not target}
    world.kill(target.name, again_s=0.1, silently=True)
    world.run(4)
    assert owner.shard is not None
    assert target.name in owner.shard.member.book.members
    out, now_s = ShardOut(), owner.now_s(world.now_s)
    owner.shard._move(owner.shard.ask_move(region, target.name, now_s), now_s, out)
    assert out.sends
    world.do(owner, out)
    world.run(8 * RATE_HZ)
    assert before <= world.present()


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
