"""The whole cluster under every fault at once: people keep their bodies over borders, moves and dead gateways, and when
the faults stop everybody sees what is there."""

from collections import Counter

from tests.sim.checkers import check_components, check_one_body_each, check_visible
from tests.sim.shards import RATE_HZ, LinkFaults
from tests.sim.storefront import StoreFaults
from tests.sim.test_shards import calm, move_something, totals
from tests.sim.whole import Whole

SEEDS = 10
STORM_S = 25
SETTLE_S = 16
"""Longer than a lease, an election, a session's grace and a client's longest wait."""
FAULTS = (
    "crossed", "killed", "gateway killed", "gateway drained", "session moved", "paused", "store away",
    "cut from the store", "cut from a shard", "cut from a gateway", "message lost", "message doubled", "answer lost",
    "moved in", "moved out", "begun",
)  # fmt: skip


def storm(world: Whole, seconds: int, kills: bool = True) -> None:
    """Everything goes wrong."""
    rng = world.rng
    end = world.tick + seconds * RATE_HZ
    while world.tick < end:
        world.faults = LinkFaults(0.05, 0.02, 0.001, float(rng.choice([0.002, 0.02])))
        world.front.faults = StoreFaults(float(rng.choice([0.0, 0.3])), float(rng.choice([0.02, 0.2])))
        shards = [name for name in world.hosts if name.startswith("s")]
        gateways = [name for name in world.hosts if name.startswith("g")]
        shard, gateway = str(rng.choice(shards)), str(rng.choice(gateways))
        match int(rng.integers(10)):
            case 0:
                world.hosts[shard].paused = True
                world.counts["paused"] += 1
            case 1 | 2:
                calm(world)
            case 3:
                world.isolate(shard, ["store"])
                world.counts["cut from the store"] += 1
            case 4:
                world.isolate(shard, [other for other in shards if other != shard])
                world.counts["cut from a shard"] += 1
            case 5:
                world.isolate("store", list(world.hosts))
                world.counts["store away"] += 1
            case 6:
                world.isolate(gateway, [shard])
                world.counts["cut from a gateway"] += 1
            case 7 if kills:
                world.kill(shard)
                world.begin_shard(shard)
            case 8 if kills:
                if rng.random() < 0.5:
                    world.kill_gateway(int(gateway[1:]))
                else:
                    world.drain_gateway(int(gateway[1:]))
            case _:
                move_something(world)
        live(world, int(rng.integers(10, 60)))
    calm(world)


def live(world: Whole, ticks: int) -> None:
    """People walk about meanwhile."""
    for _ in range(ticks // 2):
        world.run(2)
        world.folk.disturb()


def check(world: Whole) -> None:
    """When the faults have stopped: everybody is in, has a body of his own, and sees what is there."""
    world.truth.strict = True
    live(world, 3 * RATE_HZ)
    assert sum(check_visible(world, person) for person in world.folk.all) > 20
    world.run((8 - world.tick) % 15)  # ducks change their mood each 15 ticks: all has arrived
    for person in world.folk.all:
        check_components(world, person)
    check_one_body_each(world)
    for door in world.doors.values():
        online = door.core.sessions.online
        assert online == len(world.folk.all), f"a gateway believes that {online} people are in the world"
    assert world.truth.checked > 1000


def run(seed: int) -> Whole:
    """One storm from one seed, the calm after it, and all checks."""
    world = Whole(seed)
    live(world, 6 * RATE_HZ)
    storm(world, STORM_S)
    live(world, SETTLE_S * RATE_HZ)
    assert set(world.stepping()) == set(world.layout.all()), "a region has no owner when the faults have stopped"
    check(world)
    return world


def test_people_walk_over_borders_and_notice_nothing() -> None:
    world = Whole(2)
    live(world, 20 * RATE_HZ)
    bodies = {person.number: person.core.welcome.body for person in world.folk.all if person.core.welcome}
    before = sum(person.core.stats.corrections for person in world.folk.all)
    live(world, 30 * RATE_HZ)
    check(world)
    assert len(bodies) == len(world.folk.all)
    assert bodies == {person.number: person.core.welcome.body for person in world.folk.all if person.core.welcome}
    assert world.counts["crossed"] > 200
    assert sum(person.core.stats.corrections for person in world.folk.all) - before < 30
    assert not [reason for reason in world.counts if reason in ("closed 4000", "closed 4101", "closed 4300")]


def test_people_keep_their_bodies_whatever_happens_to_gateways() -> None:
    world = Whole(3)
    live(world, 8 * RATE_HZ)
    bodies = {person.number: person.core.welcome.body for person in world.folk.all if person.core.welcome}
    assert len(bodies) == len(world.folk.all)
    for number in range(6):
        if number % 2:
            world.kill_gateway(number // 2 % 2)
        else:
            assert world.drain_gateway(number // 2 % 2)
        live(world, 6 * RATE_HZ)
        now = {person.number: person.core.welcome.body for person in world.folk.all if person.core.welcome}
        assert now == bodies, f"after number {number}"
    check(world)


def test_storms() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            counts += totals(run(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    never = [what for what in FAULTS if not counts[what]]
    assert not never, f"these never happened: {never}"
