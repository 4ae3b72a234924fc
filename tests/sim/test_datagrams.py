"""People over datagrams on bad networks: what they see is right and fresh, and their sessions go on over each change.

The whole matrix, and more seeds of it: ``make seeds``, ``python -m tests.sim --of datagrams``.
"""

from collections import Counter
from functools import cache

import pytest

from tests.sim import matrix
from tests.sim.hosts import RATE_HZ
from tests.sim.matrix import Cell, Outcome
from tests.sim.test_whole import check
from tests.sim.whole import Whole, live

CELLS = [Cell(loss, "all") for loss in matrix.LOSSES]
CUT_S = 4
BACK_S = 10
"""A client that fell back asks again after 10 s at most, the first time."""


@cache
def outcome(cell: Cell) -> Outcome:
    """Of a cell, once for all tests."""
    return matrix.run(cell, seed=1)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_views_converge_over_datagrams(cell: Cell) -> None:
    result = outcome(cell)
    assert result.seen > 20, "the run must have had something to see"
    assert result.looked > 5000
    for fault in ("datagram lost", "datagram doubled", "datagram overtaken", "datagram to a former address"):
        assert result.counts[fault], f"{fault} never occurred"
    assert result.counts["fell back after silence"] == matrix.PEOPLE
    assert result.counts["went on over datagrams"] == 2 * matrix.PEOPLE
    assert result.counts["went on from another address"] == matrix.PEOPLE
    assert result.counts["stream said again"]


def test_the_same_seed_gives_the_same_hash() -> None:
    assert matrix.run(CELLS[0], seed=1).hash == outcome(CELLS[0]).hash


def test_bodies_and_acts_are_kept_over_all_changes_of_the_carrier() -> None:
    """To datagrams and back, three times, while gateways are drained and killed, addresses change, and somebody says
    all again that he has seen."""
    world = Whole(3, shards=2, people=8, datagrams=2)
    air = world.folk.air
    live(world, 8 * RATE_HZ)
    bodies = [person.core.welcome.body for person in world.folk.all if person.core.welcome]
    assert len(set(bodies)) == len(world.folk.all)
    for turn in range(3):
        for faults in (air.up_faults, air.down_faults):
            faults.loss, faults.reorder, faults.duplicate = 0.2, 0.04, 0.1
        air.down_faults.cut, air.up_faults.cut = True, turn % 2 == 0
        live(world, RATE_HZ)
        if turn == 1:
            assert world.drain_gateway(0)
        elif turn == 2:
            world.kill_gateway(1)
        live(world, (CUT_S - 1) * RATE_HZ)
        assert not any(person.core.on_datagrams for person in world.folk.all)
        air.calm()
        for _ in range(BACK_S):
            live(world, RATE_HZ)
            for endpoint in air.endpoints:
                endpoint.move()
            air.replay()
        now = [person.core.welcome.body for person in world.folk.all if person.core.welcome]
        assert now == bodies, f"after turn {turn}"
    check(world, kept=True)
    world.folk.tally()
    wanted = {"went on over datagrams": 12, "fell back after silence": 8, "datagram replayed": 100}
    seen = Counter({what: world.counts[what] for what in wanted})
    assert all(seen[what] >= least for what, least in wanted.items()), seen
