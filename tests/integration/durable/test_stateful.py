"""SQLite and the pure core against a simple account of what a store has to do, over any sequence of calls.

The account (``Book``) is written from the contract, with lists instead of tables. Two clients share the SQLite file,
and are closed and opened anew at any time.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shard.durable.contract import (
    ActionRow,
    Batch,
    Committed,
    Durable,
    EntityRow,
    Fenced,
    Gone,
    Limits,
    Loaded,
    PoseRow,
    WorldIdentity,
)
from shard.durable.model import DurableCore
from shard.durable.opening import open_durable
from shard.durable.spans import span_of

T = TypeVar("T")

LEVEL = 2
WORLD = WorldIdentity("book", 1, 64.0, LEVEL)
LIMITS = Limits(actions_per_session=3)
REGIONS = [1, 4, 5, 6, 7, 16, 17, 20, 31]
regions = st.sampled_from(REGIONS)
hops = st.integers(0, 4)
few = st.integers(0, 5)


def leaves(region: int) -> range:
    """As a range."""
    span = span_of(region, LEVEL)
    return range(span.first, span.last + 1)


def answer(do: Callable[[], T]) -> T | int:
    """What it returns, or the epoch by which it is fenced."""
    try:
        return do()
    except Fenced as fenced:
        return fenced.epoch


class Book:
    """What has been said, and what follows from it."""

    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}
        self.ticks: dict[int, int] = {}
        self.alive: dict[int, EntityRow] = {}
        self.gone: dict[int, int] = {}
        self.poses: dict[tuple[int, int], PoseRow] = {}
        self.actions: dict[tuple[int, int], ActionRow] = {}
        self.named: dict[int, tuple[int, int]] = {}
        """Tick and region of the batch that named a session, the newest."""

    def newest(self, region: int) -> int:
        mine = set(leaves(region))
        return max((epoch for other, epoch in self.epochs.items() if mine & set(leaves(other))), default=0)

    def fence(self, region: int, epoch: int) -> int | None:
        """The newest epoch, if it is refused."""
        if self.newest(region) > epoch:
            return self.newest(region)
        self.epochs[region] = epoch
        for other in self.epochs:
            if set(leaves(region)) & set(leaves(other)):
                self.epochs[other] = epoch
        return None

    def commit(self, batch: Batch) -> Committed | int:
        """What it comes to, or the newest epoch if it is fenced."""
        if self.epochs.get(batch.region) != batch.epoch:
            return self.newest(batch.region)
        self.ticks[batch.region] = max(self.ticks.get(batch.region, 0), batch.tick)
        refused = []
        for gone in batch.gone:
            if self.hop(gone.id) > gone.hop:
                refused.append(gone.id)
            else:
                self.alive.pop(gone.id, None)
                self.gone[gone.id] = gone.hop
        for row in batch.entities:
            if self.hop(row.id) > row.hop or self.gone.get(row.id, -1) == row.hop:
                refused.append(row.id)
            else:
                self.gone.pop(row.id, None)
                self.alive[row.id] = row
        self.poses.update({(pose.leaf, pose.second): pose for pose in batch.poses})
        for action in batch.actions:
            kept = sorted(number for session, number in self.actions if session == action.session)
            if len(kept) < LIMITS.actions_per_session or action.number > kept[0]:
                self.actions.setdefault((action.session, action.number), action)
            if batch.tick >= self.named.get(action.session, (0, 0))[0]:
                self.named[action.session] = (batch.tick, batch.region)
            kept = sorted(number for session, number in self.actions if session == action.session)
            for number in kept[: -LIMITS.actions_per_session]:
                del self.actions[action.session, number]
        return Committed(sorted(refused))

    def hop(self, id: int) -> int:
        return max(self.alive[id].hop if id in self.alive else -1, self.gone.get(id, -1))

    def load(self, first: int, last: int) -> Loaded:
        span = set(range(first, last + 1))
        ticks = [tick for region, tick in self.ticks.items() if span & set(leaves(region))]
        seconds: dict[int, int] = {}
        for at, second in self.poses:
            seconds[at] = max(second, seconds.get(at, 0))
        here = {session for session, (_, region) in self.named.items() if span & set(leaves(region))}
        return Loaded(
            max(ticks, default=0),
            [row for _, row in sorted(self.alive.items()) if row.leaf in span],
            [self.poses[pair] for pair in sorted(seconds.items()) if pair[0] in span],
            [action for (session, _), action in sorted(self.actions.items()) if session in here],
            [],
        )


class Stores(RuleBasedStateMachine):
    """Every call goes to the account, the core and SQLite; all three answer the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.runner = asyncio.Runner()
        self.book = Book()
        self.core = DurableCore(WORLD, LIMITS)
        self.stores = [self.open(), self.open()]
        self.last: Batch | None = None

    def open(self) -> Durable:
        return self.runner.run(open_durable(f"sqlite:{self.folder / 'world.db'}", WORLD, limits=LIMITS))

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    @rule(region=regions, above=st.integers(-2, 2), which=st.booleans())
    def fence(self, region: int, above: int, which: bool) -> None:
        epoch = max(1, self.book.newest(region) + above)
        expected = self.book.fence(region, epoch)
        assert answer(lambda: self.core.fence(region, epoch)) == expected
        assert answer(lambda: self.runner.run(self.stores[which].fence(region, epoch))) == expected

    @rule(
        region=regions,
        stale=st.sampled_from([0, 0, 0, 0, 1, -1]),
        tick=st.integers(0, 30),
        hop_by_id=st.dictionaries(st.integers(0, 7), st.tuples(hops, st.booleans(), few), max_size=5),
        poses=st.sets(st.tuples(few, few), max_size=3),
        actions=st.sets(st.tuples(few, few), max_size=4),
        data=st.binary(max_size=3),
        which=st.booleans(),
    )
    def commit(
        self,
        region: int,
        stale: int,
        tick: int,
        hop_by_id: dict[int, tuple[int, bool, int]],
        poses: set[tuple[int, int]],
        actions: set[tuple[int, int]],
        data: bytes,
        which: bool,
    ) -> None:
        epoch = max(1, self.book.epochs.get(region, 1) - stale)
        within = leaves(region)
        self.last = Batch(
            region,
            epoch,
            tick,
            [EntityRow(id, hop, within[n % len(within)], data) for id, (hop, stays, n) in hop_by_id.items() if stays],
            [Gone(id, hop) for id, (hop, stays, _) in hop_by_id.items() if not stays],
            [PoseRow(at, n, data) for at, n in {(within[n % len(within)], second) for n, second in poses}],
            [ActionRow(session, number, tick, data) for session, number in sorted(actions)],
        )
        self.commit_everywhere(self.last, which)

    @rule(which=st.booleans())
    def commit_again(self, which: bool) -> None:
        """As after a lost answer: at once."""
        if self.last is not None:
            self.commit_everywhere(self.last, which)

    def commit_everywhere(self, batch: Batch, which: bool) -> None:
        expected = self.book.commit(batch)
        assert answer(lambda: self.core.commit(batch, 0.0)) == expected
        assert answer(lambda: self.runner.run(self.stores[which].commit(batch))) == expected

    @rule(which=st.booleans())
    def reopen(self, which: bool) -> None:
        self.runner.run(self.stores[which].close())
        self.stores[which] = self.open()

    @rule(region=regions, which=st.booleans())
    def load(self, region: int, which: bool) -> None:
        span = span_of(region, LEVEL)
        expected = self.book.load(*span)
        assert self.core.load(*span) == expected
        assert self.runner.run(self.stores[which].load(*span)) == expected
        assert self.runner.run(self.stores[which].newest_epoch(region)) == self.book.newest(region)

    @invariant()
    def all_agree_on_the_whole(self) -> None:
        span = span_of(1, LEVEL)
        assert self.core.load(*span) == self.book.load(*span)


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_account_can_be_wrong() -> None:
    """That a store which forgets something would be noticed."""
    book, core = Book(), DurableCore(WORLD, LIMITS)
    book.fence(1, 1)
    core.fence(1, 1)
    batch = Batch(1, 1, 5, [EntityRow(1, 1, leaves(1)[0], b"")])
    assert book.commit(batch) == core.commit(batch, 0.0)
    core.commit(replace(batch, tick=6), 0.0)
    assert book.load(*span_of(1, LEVEL)) != core.load(*span_of(1, LEVEL))
