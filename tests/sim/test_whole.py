"""The whole cluster under every fault at once: people keep their bodies over borders, moves and dead gateways, and when
the faults stop everybody sees what is there.

Many seeds: ``make seeds`` (``tests.sim.seeds``), which also sees that each fault and each transition has occurred.
"""

import os
import subprocess
import sys

from tests.sim.checkers import (
    check_components,
    check_deeds,
    check_one_body_each,
    check_poses,
    check_steers,
    check_television,
    check_visible,
)
from tests.sim.hosts import RATE_HZ
from tests.sim.storms import Storm, move_something, totals
from tests.sim.whole import Whole, live
from tests.sim.world import CHANNEL

COME_S = 5
STORM_S = 36
SETTLE_S = 22
"""Longer than a lease, an election, a session's grace and a client's longest wait."""
WAIT_S = 12
"""Who came while his part of the world was starting is told to come again so much later."""
CALM_S = 3
SETTLED_S = 10
CROSSINGS = 50
CUTS = ("cut from a shard", "cut one way", "cut from the store", "hears no store")


def check(world: Whole, *, kept: bool = False) -> None:
    """When the faults have stopped: everybody is in, has a body of his own, sees what is there, and has done once what
    he asked for. ``kept``: no shard has died."""
    world.truth.strict = True
    live(world, CALM_S * RATE_HZ)
    for _ in range(SETTLED_S * RATE_HZ):  # a region may be on its way, or a person to other gateways or to datagrams
        now_ms = world.folk.clock.now_ms
        if all(world.truth.knows(p.core.records.tick) and p.is_settled(now_ms) for p in world.folk.all):
            break
        live(world, 1)
    assert sum(check_visible(world, person) for person in world.folk.all) > 20
    for viewer in world.folk.televisions:
        viewer.core.watch()
    world.run(2 * RATE_HZ)  # nobody begins to act any more: all that was asked for is answered
    for person in world.folk.all:
        check_deeds(world, person, kept=kept)
        waiting = person.deeds.waiting
        assert not waiting, f"person {person.number} waits for answers: {waiting}"
    world.counts["deeds answered"] += sum(person.deeds.answered for person in world.folk.all)
    world.counts["deeds lost"] += sum(person.deeds.lost for person in world.folk.all)
    world.counts["deeds stored"] += world.bank.answers
    world.run((8 - world.tick) % 15)  # ducks change their mood each 15 ticks: all has arrived
    for person in world.folk.all:
        check_components(world, person)
        check_steers(person)
        world.counts["hands known"] += check_poses(world, person)
    for viewer in world.folk.televisions:
        world.counts["shown on television"] += check_television(world, viewer, CHANNEL)
    check_one_body_each(world)
    for door in world.doors.values():
        online = door.core.sessions.online
        assert online == len(world.folk.all), f"a gateway believes that {online} people are in the world"
    assert world.truth.checked > 1000


def run(seed: int) -> Whole:
    """One storm from one seed, the calm after it, and all checks: 60 s of the world's time."""
    world = Whole(seed, durable=seed % 2 == 1, televisions=2)
    live(world, COME_S * RATE_HZ)
    Storm(world).run(STORM_S * RATE_HZ, lambda ticks: live(world, ticks))
    live(world, SETTLE_S * RATE_HZ)
    for _ in range(WAIT_S * RATE_HZ):
        if all(person.core.connected for person in world.folk.all):
            break
        live(world, 1)
    assert set(world.stepping()) == set(world.partition.all()), "a region has no owner when the faults have stopped"
    check(world)
    world.counts["killed"] += 2 * world.counts["two killed"]
    cuts = sum(world.counts[what] for what in CUTS)
    assert world.counts["killed"] >= 1
    assert cuts >= 2, "too little has happened"
    assert world.counts["crossed"] >= CROSSINGS
    return world


def test_people_walk_over_borders_and_notice_nothing() -> None:
    world = Whole(2)
    live(world, 20 * RATE_HZ)
    bodies = {person.number: person.core.welcome.body for person in world.folk.all if person.core.welcome}
    before = sum(person.core.stats.corrections for person in world.folk.all)
    live(world, 30 * RATE_HZ)
    check(world, kept=True)
    assert len(bodies) == len(world.folk.all)
    assert bodies == {person.number: person.core.welcome.body for person in world.folk.all if person.core.welcome}
    assert world.counts["crossed"] > 200
    assert sum(person.core.stats.corrections for person in world.folk.all) - before < 30
    assert not [reason for reason in world.counts if reason in ("closed 4000", "closed 4101", "closed 4300")]


def test_moves_of_regions_cost_people_nothing() -> None:
    world = Whole(5)
    live(world, 8 * RATE_HZ)
    before = sum(person.core.stats.corrections for person in world.folk.all)
    for _ in range(8):
        move_something(world, world.rng)
        live(world, 2 * RATE_HZ)
    assert totals(world)["regions moved in"] >= 8
    left_out = sum(int(core.state.counted[4]) for core in world.cores)
    assert left_out == 0, f"{left_out} commands never came to their body's owner"
    assert sum(person.core.stats.corrections for person in world.folk.all) - before < 16
    # Whoever goes on over datagrams has replaced himself.
    assert world.counts["closed 4303"] == world.counts["went on over datagrams"]
    assert not [why for why in world.counts if why.startswith("closed") and why != "closed 4303"]
    check(world, kept=True)


def test_people_keep_their_bodies_whatever_happens_to_gateways() -> None:
    world = Whole(3, durable=True)
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
    check(world, kept=True)


def test_the_same_seed_gives_the_same_hash_in_another_process() -> None:
    program = [sys.executable, "-m", "tests.sim", "--seed", "4", "--of", "whole"]
    told = [
        subprocess.run(program, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert told[0].stdout == told[1].stdout
    assert "crossed" in told[0].stdout
