"""Many shard processes under every fault at once: one writer, nobody doubled, nobody lost, and the same from a seed."""

from collections import Counter

from shard.process import ShardOut
from tests.sim.shards import RATE_HZ, LinkFaults, Shards
from tests.sim.storefront import StoreFaults

SEEDS = 6
STORM_S = 25
CALM_S = 14
"""Longer than a lease, an election, its settling and the hand-overs that waited."""
WALKED = (
    "crossed", "killed", "paused", "store away", "cut from the store", "cut from a shard", "message lost",
    "message doubled", "answer lost", "moved in", "moved out", "lost region", "begun",
)  # fmt: skip


def storm(world: Shards, seconds: int, kills: bool = True) -> None:
    """Everything goes wrong."""
    rng = world.rng
    end = world.tick + seconds * RATE_HZ
    while world.tick < end:
        world.faults = LinkFaults(0.05, 0.02, 0.001, float(rng.choice([0.002, 0.08])))
        world.front.faults = StoreFaults(float(rng.choice([0.0, 0.3])), float(rng.choice([0.02, 0.4])))
        names = [name for name in world.hosts if name.startswith("s")]
        name = str(rng.choice(names))
        match int(rng.integers(8)):
            case 0:
                world.hosts[name].paused = True
                world.counts["paused"] += 1
            case 1 | 2:
                calm(world)
            case 3:
                world.isolate(name, ["store"])
                world.counts["cut from the store"] += 1
            case 4:
                world.isolate(name, [other for other in names if other != name])
                world.counts["cut from a shard"] += 1
            case 5:
                world.isolate("store", list(world.hosts))
                world.counts["store away"] += 1
            case 6 if kills:
                world.kill(name)
                world.begin_shard(name)
            case _:
                move_something(world)
        world.run(int(rng.integers(10, 60)))
    calm(world)


def calm(world: Shards) -> None:
    """No faults any more."""
    world.cut.clear()
    world.faults, world.front.faults = LinkFaults(), StoreFaults()
    for host in world.hosts.values():
        host.paused = False


def move_something(world: Shards) -> None:
    """Somebody's region goes to somebody else, as an operator may ask."""
    regions = world.stepping()
    if not regions:
        return
    region = int(world.rng.choice(sorted(regions)))
    host = regions[region][0]
    others = [name for name in world.hosts if name.startswith("s") and name != host.name]
    assert host.shard is not None
    now_s = world.now_s + host.offset_s
    out = ShardOut()
    host.shard._move(host.shard.ask_move(region, str(world.rng.choice(others)), now_s), now_s, out)
    world._do(host, out)


def totals(world: Shards) -> Counter[str]:
    """What happened, processes' own counters included."""
    counts = Counter(world.counts)
    for host in world.hosts.values():
        if host.shard is not None:
            own = host.shard.counts
            counts["moved in"] += own["regions moved in"]
            counts["moved out"] += own["regions moved out"]
            counts["lost region"] += own["regions lost"]
            counts["begun"] += own["regions begun"]
    return counts


def run(seed: int, kills: bool = True, **how: object) -> Shards:
    """One storm from one seed, the calm after it, and all checks."""
    world = Shards(seed, **how)  # type: ignore[arg-type]
    world.run(5 * RATE_HZ)
    storm(world, STORM_S, kills)
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
        move_something(world)
        world.run(RATE_HZ)
    assert totals(world)["moved in"] == 12
    assert len(world.present()) == 24
    world.run(5 * RATE_HZ)
    world.check_nothing_lost()


def test_storms() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        counts += totals(run(seed))
    never = [what for what in WALKED if not counts[what]]
    assert not never, f"these never happened: {never}"


def test_bad_links_alone_lose_nobody_at_all() -> None:
    for seed in range(100, 103):
        world = Shards(seed)
        world.run(5 * RATE_HZ)
        world.faults = LinkFaults(0.2, 0.1, 0.005, 0.15)
        for _ in range(20):
            move_something(world)
            world.run(RATE_HZ)
        calm(world)
        world.run(5 * RATE_HZ)
        assert len(world.present()) == 24


def test_a_seed_replays() -> None:
    assert run(11).digest() == run(11).digest()
