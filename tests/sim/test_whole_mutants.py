"""The checks of the whole cluster can fail: with one mistake each in the cores a few seeds find it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from protocol.border import Commit
from server.core.gateway import GatewayCore
from server.core.inputs import Inputs
from server.core.views import Batch
from shard.acting import Acting
from shard.border import acts, crossing
from shard.border.links import Neighbour
from shard.state import ShardState
from tests.sim.checkers import check_deeds
from tests.sim.hosts import RATE_HZ
from tests.sim.whole import Whole, live

SEEDS = 5
CROSSING_S = 20


def drop_unacknowledged_inputs(patch: pytest.MonkeyPatch) -> None:
    """What was said to a body's former owner is neither forwarded nor said again to the next."""
    patch.setattr(Inputs, "again", lambda self, conn: None)
    patch.setattr(acts, "forward_inputs", lambda state, upward: None)


def reuse_numbers_early(patch: pytest.MonkeyPatch) -> None:
    """A number is free as soon as its leave was written, not when the client has acknowledged it."""
    honest = GatewayCore.frames

    def frames(self: GatewayCore, tick: int, now_s: float, blocked: npt.NDArray[np.uint8]) -> Iterator[Batch]:
        views = self.views.state.views
        views["acked"] = views["frame"]
        return honest(self, tick, now_s, blocked)

    patch.setattr(GatewayCore, "frames", frames)


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


def walk(seed: int) -> Whole:
    """People walk over borders, and every command of theirs is applied; some messages are lost."""
    world = Whole(seed, durable=True)
    world.carriers.delay_ms = 60.0
    world.faults.loss = 0.03
    live(world, CROSSING_S * RATE_HZ)
    assert world.counts["crossed"] > 20
    left_out = sum(int(core.state.counted[4]) for core in world.cores)
    assert left_out == 0, f"{left_out} commands never came to their body's owner"
    world.run(2 * RATE_HZ)
    for person in world.folk.all:
        check_deeds(world, person, kept=True)
    return world


def test_every_command_comes_to_the_owner_of_the_body() -> None:
    walk(1)


MUTANTS = [drop_unacknowledged_inputs, reuse_numbers_early, forget_acts_at_crossings, answer_before_the_commit]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_mutant_is_found(mutant: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    for seed in range(SEEDS):
        try:
            walk(seed)
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} was not found within {SEEDS} seeds")
