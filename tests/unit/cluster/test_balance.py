"""The elected placer asks for moves by the load that shards have measured and reported, and lets regions rest."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from cluster.placer import BALANCE_EVERY_S, MOVES_MAX, REST_S, AskMove
from cluster.records import RegionRecord, region_key, write
from cluster.store.contract import Put, RevisionIs, Transaction
from tests.unit.cluster.fleet import Fleet, Process

MOVE_S = 0.2
"""Dump, load and record of a region."""
REPORTED_S = 4.0
"""Reports are written every two seconds, and told by the watch."""


class Loaded(Fleet):
    """Two shards that report a load for each region that they own; moves are noted and not carried out."""

    def __init__(self) -> None:
        super().__init__(1, shards=2, level=1, placers=1)
        self.weights: dict[int, float] = {}
        self.asked: list[tuple[float, AskMove]] = []
        self.run(6.0)
        assert self.all_owned()

    def do(self, process: Process, actions: Sequence[object]) -> None:
        super().do(process, actions)
        self.asked += [(self.now_s, action) for action in actions if isinstance(action, AskMove)]

    def owned(self, name: str) -> list[int]:
        return sorted(region for region, names in self.acting().items() if names == [name])

    def measure(self, seconds: float) -> list[tuple[float, AskMove]]:
        """Shards measure and report for so long; returns what was asked for."""
        self.asked = []
        for _ in range(round(seconds)):
            for name in ("s0", "s1"):
                parts = {region: self.weights[region] for region in self.owned(name)}
                self.processes[name].member.report(sum(parts.values()), parts)
            self.run(1.0)
        return self.asked


def test_a_busy_shard_is_asked_to_give_its_heaviest_neighbourly_region_to_the_idle_one() -> None:
    fleet = Loaded()
    busy, idle = fleet.owned("s0"), fleet.owned("s1")
    assert (len(busy), len(idle)) == (2, 2)
    fleet.weights = {busy[0]: 0.4, busy[1]: 0.3, idle[0]: 0.02, idle[1]: 0.02}
    asked = fleet.measure(REPORTED_S + 2 * BALANCE_EVERY_S)
    assert asked
    assert {(move.owner, move.to) for _, move in asked} == {("s0", "s1")}
    assert asked[0][1].region in busy


def test_a_region_that_was_asked_for_rests() -> None:
    fleet = Loaded()
    busy, idle = fleet.owned("s0"), fleet.owned("s1")
    fleet.weights = {busy[0]: 0.4, busy[1]: 0.3, idle[0]: 0.02, idle[1]: 0.02}
    asked = fleet.measure(REPORTED_S + REST_S + 4 * BALANCE_EVERY_S)
    assert len(asked) >= 3, "both regions, and one of them again"
    for region in busy:
        times = [at_s for at_s, move in asked if move.region == region]
        assert all(later - earlier >= REST_S for earlier, later in pairwise(times))


def test_nothing_moves_while_measurements_are_even() -> None:
    fleet = Loaded()
    fleet.weights = {region: 0.2 + 0.02 * (region % 2) for region in fleet.acting()}
    assert fleet.measure(REPORTED_S + 4 * BALANCE_EVERY_S) == []


class Moving(Fleet):
    """Three shards that give away what they are asked for, MOVE_S later."""

    def do(self, process: Process, actions: Sequence[object]) -> None:
        super().do(process, actions)
        for action in actions:
            if isinstance(action, AskMove):
                self.later(MOVE_S, partial(self._move, action))

    def _move(self, asked: AskMove) -> None:
        book = self.processes["p0"].member.book
        revision = book.regions[asked.region].revision
        record = RegionRecord(asked.to, book.members[asked.to].lease, asked.epoch + 1, 1)
        key = region_key(asked.region)
        move = Transaction((RevisionIs(key, revision),), (Put(key, write(record)),))
        self.front.ask(asked.owner, move, self.now_s, lambda answer: None)


def test_a_shard_that_drains_is_empty_as_soon_as_its_moves_are_done() -> None:
    fleet = Moving(1, shards=3, level=2, placers=1)
    fleet.run(6.0)
    assert fleet.all_owned()
    regions = [region for region, names in fleet.acting().items() if names == ["s0"]]
    assert len(regions) > 2 * MOVES_MAX
    fleet.processes["s0"].member.drain()
    fleet.run(0.5 * len(regions) + 2.0)
    assert not [region for region, names in fleet.acting().items() if names == ["s0"]]
    assert fleet.all_owned(), "nothing was lost on the way"
    assert fleet.counts["move asked"] == len(regions), "each once"
