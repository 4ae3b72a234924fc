"""Splits and merges at their owner: when the records are written, what every outcome of that leads to, and that nobody
is let go as long as a write of ours may still be carried out."""

from collections.abc import Sequence

import pytest

from cluster import reshaping
from cluster.asks import Answer, Ask, Failed
from cluster.member import Lose, Own, Reshape
from cluster.records import RegionRecord, region_key, write
from cluster.regions import quarters
from cluster.reshaping import AGAIN_S, GIVE_UP_S, Hold, Prepare, Release, Reshaping
from cluster.store.contract import Put, RevisionIs, Transaction
from tests.unit.cluster.fleet import Fleet, Process

UNKNOWN = Failed(unknown=True)


class Changing(Fleet):
    """A fleet of which one shard splits and merges."""

    def __init__(self) -> None:
        self.core = Reshaping()
        self.still = self.prepared = True
        self.asked: list[Ask] = []
        self.done: list[reshaping.Action] = []
        self.news: list[object] = []
        super().__init__(1, shards=2)
        self.run(5.0)
        assert self.all_owned()
        self.region = min(self.shard.member.owned(self.clock_s))

    @property
    def shard(self) -> Process:
        return self.processes["s0"]

    @property
    def clock_s(self) -> float:
        return self.now_s + self.shard.offset_s

    def do(self, process: Process, actions: Sequence[object]) -> None:
        super().do(process, actions)
        if process.name == "s0":
            self.news += [action for action in actions if isinstance(action, Own | Lose | Reshape)]

    def heard(self, actions: Sequence[reshaping.Action]) -> None:
        for action in actions:
            if isinstance(action, Ask):
                self.asked.append(action)
            else:
                self.done.append(action)

    def turn(self) -> None:
        member = self.shard.member
        partition = member.book.partition(self.layout)
        actions = self.core.tick(
            member, partition, lambda regions: self.prepared, lambda region: self.still, self.clock_s
        )
        self.heard(actions)

    def answer(self, answer: Answer = None, *, really: bool = True) -> None:
        """The store carries out what was asked (``really``), and says so, or ``answer``."""
        ask = self.asked.pop()
        assert isinstance(ask.question, Transaction)
        result = self.store.transact(ask.question) if really else None
        self.heard(self.core.answered(ask.number, answer or result, self.clock_s))


def test_a_split_is_prepared_holds_still_and_is_written_at_once() -> None:
    fleet = Changing()
    before = fleet.shard.member.book.regions[fleet.region].record.epoch
    fleet.still = fleet.prepared = False
    fleet.heard(fleet.core.split(fleet.region, fleet.clock_s))
    fleet.turn()
    assert fleet.done == [Prepare((fleet.region,), tuple(quarters(fleet.region)))]
    fleet.prepared = True
    fleet.turn()
    assert isinstance(fleet.done[-1], Hold)
    fleet.turn()
    assert fleet.asked == []
    assert fleet.core.is_changing(fleet.region)
    fleet.still = True
    fleet.turn()
    fleet.answer()
    assert fleet.partition.all() == sorted({*range(4, 8), *quarters(fleet.region)} - {fleet.region})
    fleet.news = []
    fleet.run(0.2)
    assert fleet.news == [Reshape((fleet.region,), tuple((n, before + 1) for n in quarters(fleet.region)))]
    assert fleet.core.ended([fleet.region], done=True) == []
    assert not fleet.core.changes
    assert fleet.all_owned()
    fleet.heard(fleet.core.merge(fleet.region, fleet.clock_s))
    fleet.turn()
    fleet.turn()
    fleet.answer()
    fleet.run(0.2)
    assert fleet.partition.all() == [4, 5, 6, 7]
    assert fleet.news[-1] == Reshape(tuple(quarters(fleet.region)), ((fleet.region, before + 2),))
    assert fleet.core.counts == {"asked": 2, "split": 1}, "the merge is counted when its owner hears of it"


def test_who_does_not_come_to_rest_is_let_go() -> None:
    fleet = Changing()
    fleet.still = False
    fleet.heard(fleet.core.split(fleet.region, fleet.clock_s))
    fleet.turn()
    fleet.run(GIVE_UP_S + 0.1)
    fleet.turn()
    assert fleet.done[-1] == Release((fleet.region,))
    assert fleet.core.counts["given up"] == 1


def test_nothing_is_written_when_a_neighbour_has_changed() -> None:
    fleet = Changing()
    fleet.heard(fleet.core.split(fleet.region, fleet.clock_s))
    fleet.turn()
    other = next(iter(fleet.processes["s1"].stepped))
    fleet.kill("s1")
    fleet.run(5.0)
    fleet.turn()  # the neighbour has another owner, and the watch has told: what it promised is asked anew by ``still``
    assert fleet.shard.member.book.regions[other].record.owner == "s0"
    ask = fleet.asked[-1]
    fleet.deaf = {"s0"}
    entry = fleet.shard.member.book.regions[other]
    fleet.store.transact(Transaction((), (Put(f"region/{other}", b"else"),)))
    assert isinstance(ask.question, Transaction)
    assert RevisionIs(region_key(other), entry.revision) in ask.question.compares
    fleet.answer()
    assert fleet.done[-1] == Release((fleet.region,))
    assert fleet.core.counts["refused"] == 1


@pytest.mark.parametrize("really", [True, False])
def test_a_write_that_nobody_knows_of_is_settled_before_anybody_is_let_go(really: bool) -> None:
    fleet = Changing()
    fleet.deaf = {"s0"}
    fleet.heard(fleet.core.split(fleet.region, fleet.clock_s))
    fleet.turn()
    fleet.turn()
    late = fleet.asked[-1]
    fleet.answer(UNKNOWN, really=really)
    fleet.turn()
    assert not isinstance(fleet.done[-1], Release)
    fleet.run(AGAIN_S + 0.1)
    fleet.turn()
    fleet.answer()
    assert isinstance(fleet.done[-1], Release) == (not really)
    assert isinstance(late.question, Transaction)
    assert not fleet.store.transact(late.question).ok, "it can not be carried out any more"
    fleet.deaf = set()
    fleet.run(0.2)
    assert any(isinstance(news, Reshape) for news in fleet.news) == really


def test_what_is_lost_is_let_go_and_a_region_changes_once_at_a_time() -> None:
    fleet = Changing()
    fleet.heard(fleet.core.split(fleet.region, fleet.clock_s))
    assert fleet.core.split(fleet.region, fleet.clock_s) == []
    assert fleet.core.merge(fleet.region, fleet.clock_s) == []
    assert fleet.core.ended([fleet.region], done=False) == [Release((fleet.region,))]
    assert fleet.core.ended([fleet.region], done=False) == []
    fleet.turn()
    assert fleet.asked == []


def test_a_part_that_is_anothers_by_the_time_the_watch_tells_is_let_go() -> None:
    fleet = Changing()
    fleet.deaf = {"s0"}
    fleet.heard(fleet.core.split(fleet.region, fleet.clock_s))
    fleet.turn()
    fleet.turn()
    fleet.answer()
    first = quarters(fleet.region)[0]
    lease = fleet.processes["s1"].member.lease
    assert lease is not None
    record = RegionRecord("s1", lease.id, 9)
    fleet.store.transact(Transaction((), (Put(f"region/{first}", write(record)),)))
    fleet.deaf, fleet.news = set(), []
    fleet.run(0.3)
    assert fleet.news == [Reshape((fleet.region,), tuple((n, 2) for n in quarters(fleet.region))), Lose(first)]
    assert fleet.all_owned()
