"""The elected placer asks for splits of what is hot for long and merges of what is idle for long, and as operators
wish; never beyond the two levels, and never to and fro."""

from collections.abc import Sequence

from cluster import plan
from cluster.placer import AskMerge, AskMove, AskSplit, PlacerCore
from cluster.records import MERGE, SPLIT, RegionRecord, WishRecord, region_key, wish_key, write
from cluster.regions import Layout, quarters
from cluster.store.contract import Delete, Put, Transaction
from tests.unit.cluster.fleet import Fleet, Process

LONG_S = plan.HOT_S + 6.0


def placer(layout: Layout) -> PlacerCore:
    return PlacerCore(layout, layout.level + 1)


class Growing(Fleet):
    """Shards that report loads; what is asked is noted, and splits and merges are written at once."""

    def __init__(self) -> None:
        self.epoch = 10
        self.weights: dict[int, float] = {}
        self.asked: list[AskSplit | AskMerge | AskMove] = []
        super().__init__(1, shards=2, level=1, placers=1, placer=placer)
        self.run(6.0)
        assert self.all_owned()

    def do(self, process: Process, actions: Sequence[object]) -> None:
        super().do(process, actions)
        self.asked += [action for action in actions if isinstance(action, AskSplit | AskMerge | AskMove)]

    def measure(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            for name in ("s0", "s1"):
                parts = {r: self.weights.get(r, 0.01) for r, names in self.acting().items() if names == [name]}
                self.processes[name].member.report(sum(parts.values()), parts)
            self.run(1.0)

    def wish(self, cell: int, what: str) -> None:
        self.store.transact(Transaction((), (Put(wish_key(cell), write(WishRecord(what))),)))

    def give(self, region: int, name: str, former: list[int]) -> None:
        """As its owner writes it."""
        self.epoch += 1
        lease = self.processes[name].member.lease
        assert lease is not None
        puts = [Put(region_key(region), write(RegionRecord(name, lease.id, self.epoch)))]
        self.store.transact(Transaction((), (*puts, *(Delete(region_key(n)) for n in former))))


def test_a_hot_region_is_split_when_it_has_been_hot_for_long() -> None:
    fleet = Growing()
    owner = fleet.acting()[5][0]
    fleet.weights = {5: plan.SPLIT_FROM + 0.2}
    fleet.measure(3.0)
    fleet.weights = {}
    fleet.measure(6.0)
    assert fleet.asked == [], "it was hot for a moment"
    fleet.weights = {5: plan.SPLIT_FROM + 0.2}
    fleet.measure(LONG_S)
    assert [(type(asked), asked.owner, asked.region) for asked in fleet.asked[:1]] == [(AskSplit, owner, 5)]


def test_one_of_the_smallest_regions_is_left_to_the_overload_policy() -> None:
    fleet = Growing()
    owner = fleet.acting()[5][0]
    for region in quarters(5):
        fleet.give(region, owner, [5])
    fleet.run(0.5)
    fleet.weights = {20: 0.9}
    fleet.measure(LONG_S)
    assert not [asked for asked in fleet.asked if isinstance(asked, AskSplit)]


def test_what_is_idle_for_long_is_brought_together_and_merged() -> None:
    fleet = Growing()
    for region, name in zip(quarters(5), ("s0", "s0", "s1", "s0"), strict=True):
        fleet.give(region, name, [5])
    fleet.run(0.5)
    fleet.measure(plan.IDLE_S - 10.0)
    assert fleet.asked == []
    fleet.measure(20.0)
    moves = [asked for asked in fleet.asked if isinstance(asked, AskMove)]
    assert {(move.region, move.owner, move.to) for move in moves} == {(22, "s1", "s0")}
    assert not [asked for asked in fleet.asked if isinstance(asked, AskMerge)]
    fleet.give(22, "s0", [])
    fleet.measure(plan.IDLE_S + 40.0)
    merges = [asked for asked in fleet.asked if isinstance(asked, AskMerge)]
    assert merges
    assert (merges[0].owner, merges[0].region, set(merges[0].epochs)) == ("s0", 5, set(quarters(5)))


def test_a_world_is_not_merged_beyond_what_it_began_with() -> None:
    fleet = Growing()
    fleet.measure(plan.IDLE_S + 20.0)
    fleet.wish(1, MERGE)
    fleet.measure(5.0)
    assert fleet.asked == []


def test_operators_have_their_wishes() -> None:
    fleet = Growing()
    fleet.wish(6, SPLIT)
    fleet.run(1.0)
    assert [(type(asked), asked.region) for asked in fleet.asked] == [(AskSplit, 6)]
    owner = fleet.acting()[6][0]
    for region in quarters(6):
        fleet.give(region, owner, [6])
    fleet.wish(6, MERGE)
    fleet.run(5.0)
    assert [(type(asked), asked.region) for asked in fleet.asked[1:]][:1] == [(AskMerge, 6)]


def test_what_splits_and_what_merges_are_far_apart() -> None:
    """A region that was split for its load alone is not merged, and four that were merged are not split."""
    assert plan.MERGE_TO * 2 <= plan.SPLIT_FROM
    hosts = [plan.Host("a", 0.6, {16: 0.13, 17: 0.13, 18: 0.13, 19: 0.13})]
    assert plan.hot(hosts) == set()
    assert plan.idle(hosts, 1) == set()
