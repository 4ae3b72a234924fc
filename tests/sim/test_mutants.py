"""The checks of the simulator can fail: cores with one mistake each are found within a few seeds."""

from dataclasses import replace
from typing import Any

import pytest

from cluster.asks import Answer
from cluster.book import Book
from cluster.member import MemberCore
from cluster.store.contract import Lease
from protocol.border import Border, Channel
from shard.border import crossing
from tests.sim.test_shards import run

SEEDS = 50


def keep_at_the_source(patch: pytest.MonkeyPatch) -> None:
    """What was committed stays at its source as well."""
    patch.setattr(crossing, "_leave_ghosts", lambda state, rows, region: None)


def apply_commits_again(patch: pytest.MonkeyPatch) -> None:
    """Repeated items are applied each time they come, and hops are not looked at."""

    def take(self: Channel, message: Border) -> list[tuple[int, bytes]]:
        taken(self, replace(message, items=[]))
        again = list(enumerate(message.items, message.base))
        self.taken = max([self.taken, *(number for number, _ in again)])
        return again

    taken = Channel.take
    patch.setattr(Channel, "take", take)
    patch.setattr(crossing, "_known_hop", lambda state, entity: -1)


def count_leases_from_the_reply(patch: pytest.MonkeyPatch) -> None:
    """A lease begins when its answer comes, and the clock it is looked at with is a second late."""

    def late(self: MemberCore, number: int, answer: Answer, now_s: float) -> list[Any]:
        if isinstance(answer, Lease):
            answer = Lease(answer.id, answer.ttl_s, now_s + 1.0)
        return answered(self, number, answer, now_s)

    answered = MemberCore.answered
    patch.setattr(MemberCore, "answered", late)


def never_stop(patch: pytest.MonkeyPatch) -> None:
    """A member forgets that its lease ends."""
    patch.setattr(MemberCore, "owned_lease", lambda self, now_s: self.lease is not None)


def look_at_no_epoch(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers that a region has had a newer owner."""
    patch.setattr(Book, "saw", lambda self, region, epoch: None)
    patch.setattr(Book, "is_stale", lambda self, region, epoch: False)


@pytest.mark.parametrize(
    "mutant",
    [keep_at_the_source, apply_commits_again, count_leases_from_the_reply, never_stop, look_at_no_epoch],
    ids=lambda m: m.__name__,
)
def test_a_mutant_is_found(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    for seed in range(SEEDS):
        try:
            run(seed, durable=seed % 2 == 1)  # where nothing is durable a new owner begins at once
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} was not found within {SEEDS} seeds")
