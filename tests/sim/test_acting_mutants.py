"""People act while they walk over borders and messages are lost: each act is done once. With a mistake in the cores
that is found."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.border import Commit
from server.core.acting import Acts
from shard.acting import Acting
from shard.border import crossing
from shard.border.links import Neighbour
from shard.state import ShardState
from tests.sim.checkers import check_deeds
from tests.sim.databank import BankFaults
from tests.sim.hosts import RATE_HZ
from tests.sim.shards import LinkFaults
from tests.sim.whole import Whole, live

SEEDS = 4
WALK_S = 20


def forget_acts_at_crossings(patch: pytest.MonkeyPatch) -> None:
    """A body that comes over a border does not know what it has done."""
    honest = crossing._begin

    def begin(state: ShardState, neighbour: Neighbour, item: Commit, number: int) -> None:
        honest(state, neighbour, item, number)
        for session, row in state.row_of_session.items():
            if state.table.columns["h.number"][row] == number:
                state.table.columns["o.acted"][row] = 0
                state.acting.forget(session)

    patch.setattr(crossing, "_begin", begin)


def answer_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """What is said again is answered, stored or not."""

    def again(self: Acting, session: int, number: int) -> bool:
        found = [kept for kept in self._kept.get(session, ()) if kept.number == number]
        self.told += [(session, number, kept.encoded) for kept in found]
        return bool(found)

    patch.setattr(Acting, "again", again)


def cross_with_what_is_not_stored(patch: pytest.MonkeyPatch) -> None:
    """A body does not wait for the store: its answer counts as told."""
    patch.setattr(Acting, "holds", lambda self, sessions, tick: False)


def say_each_act_once(patch: pytest.MonkeyPatch) -> None:
    """A gateway does not say again what is not answered."""
    honest = Acts.drain

    def drain(self: Acts, now_s: float) -> list[tuple[int, list[list[Any]]]]:
        out = honest(self, now_s)
        for actor in self._actors.values():
            for waiting in actor.waiting:
                waiting.said_s = max(waiting.said_s, 1e12 if waiting.admitted else waiting.said_s)
        return out

    patch.setattr(Acts, "drain", drain)
    patch.setattr(Acts, "again", lambda self, conn: None)


MUTANTS = [forget_acts_at_crossings, answer_before_the_commit, cross_with_what_is_not_stored, say_each_act_once]


def walk(seed: int) -> Whole:
    """Nobody dies; all that people asked for is answered in the end."""
    world = Whole(seed, durable=True)
    world.faults, world.bank.faults = LinkFaults(loss=0.05, late=0.01), BankFaults(slow_s=0.1)
    live(world, WALK_S * RATE_HZ)
    world.faults = LinkFaults()
    world.run(3 * RATE_HZ)
    assert world.counts["crossed"] > 20
    for person in world.folk.all:
        check_deeds(world, person, kept=True)
        assert not person.deeds.waiting, f"person {person.number} waits for answers: {person.deeds.waiting}"
        assert person.deeds.answered
    return world


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_act_is_done_once_and_answered(seed: int) -> None:
    walk(seed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_mutant_is_found(mutant: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    for seed in range(SEEDS):
        try:
            walk(seed)
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} was not found within {SEEDS} seeds")
