"""What is durable, checked in runs that go for it: shards that hang with a commit on its way, that are killed, and
neighbours that say again what crossed; and where people act. With one mistake in the journal a few seeds find it."""

from collections.abc import Callable
from typing import Any

import pytest

from shard.journal import journal, keeping
from shard.journal.journal import Draft, Journal
from shard.journal.keeping import Keeping
from tests.sim.databank import BankFaults
from tests.sim.hosts import RATE_HZ
from tests.sim.shards import LinkFaults, Shards
from tests.sim.storms import totals
from tests.sim.test_acting_mutants import walk

SEEDS = 50
ROUNDS = 3
LATE_TICKS = 12
"""Longer than the journal's period: each region has made a batch."""
HANG_TICKS = 6 * RATE_HZ
"""Longer than a lease, an election, and all that a new owner waits for."""


def acknowledge_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Answers, and what neighbours sent, count as durable as soon as a batch has been made."""
    honest = Journal.draft

    def draft(self: Journal, *, at_once: bool = False) -> Draft | None:
        made = honest(self, at_once=at_once)
        if made is not None:
            self.committed(made.batch.tick, [])
            self._under_way = made
        return made

    patch.setattr(Journal, "draft", draft)


def load_before_the_fence(patch: pytest.MonkeyPatch) -> None:
    """A region is loaded first, and its epoch written then."""
    begin, found = Keeping.begin, Keeping._found

    def begin_loading(self: Keeping, region: int, epoch: int) -> None:
        begin(self, region, epoch)
        self._regions[region].phase = keeping._Phase.LOADING
        self._regions[region].loads = False

    def then_fence(self: Keeping, at: int, region: Any, loaded: Any, hops: Any) -> Any:
        news = found(self, at, region, loaded, hops)
        region.phase = keeping._Phase.FENCING
        return news

    patch.setattr(Keeping, "begin", begin_loading)
    patch.setattr(Keeping, "_found", then_fence)


def write_seldom(patch: pytest.MonkeyPatch) -> None:
    """A batch is due when a pose may be too old already."""
    patch.setattr(journal, "JOURNAL_S", 2.0)


def hang(seed: int) -> Shards:
    """Each shard in turn hangs with a commit on its way, until another one has its regions; then it is killed."""
    world = Shards(seed)
    world.run(5 * RATE_HZ)
    for turn in range(ROUNDS):
        host = world.hosts[f"s{turn % 3}"]
        world.bank.faults = BankFaults(late=1.0)
        world.run(LATE_TICKS)
        world.bank.faults = BankFaults(slow_s=0.6)  # so that what hangs comes between a load and what follows it
        host.paused = True
        world.run(HANG_TICKS)
        host.paused, world.bank.faults = False, BankFaults()
        world.run(RATE_HZ)
        world.kill(host.name, again_s=0.2)
        world.run(2 * RATE_HZ)
    return world


def fall(seed: int) -> Shards:
    """Shards are killed, while links lose what says who crossed; the database is well."""
    world = Shards(seed)
    world.run(5 * RATE_HZ)
    for turn in range(ROUNDS):
        world.faults = LinkFaults(loss=0.3, late=0.05)
        world.run(RATE_HZ)
        world.kill(f"s{turn % 3}")
        world.run(RATE_HZ)
        world.faults = LinkFaults()
        world.run(5 * RATE_HZ)
    world.check_nothing_lost()
    return world


RUNS: list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[[int], Shards]]] = [
    (acknowledge_before_the_commit, walk),
    (load_before_the_fence, hang),
    (write_seldom, fall),
]


@pytest.mark.parametrize("run", [hang, fall], ids=lambda run: run.__name__)
def test_what_was_committed_is_never_undone(run: Callable[[int], Shards]) -> None:
    world = run(1)
    assert totals(world)["regions begun"] > 4
    assert world.poses.checked > 20


@pytest.mark.parametrize(("mutant", "run"), RUNS, ids=lambda each: each.__name__)
def test_a_mutant_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], run: Callable[[int], Shards], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    for seed in range(SEEDS):
        try:
            run(seed)
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} was not found within {SEEDS} seeds")
