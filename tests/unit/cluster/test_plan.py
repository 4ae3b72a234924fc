"""Who should own what: even, together, quiet."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.partition import Partition
from cluster.plan import BUSY, Host, assign, balance, drain
from cluster.regions import Layout

REGIONS = Partition.of(Layout(1024.0, 2))
ALL = frozenset(REGIONS.all())


@settings(deadline=None)
@given(st.integers(1, 6), st.data())
def test_every_orphan_gets_a_host_that_does_not_drain_and_shares_are_even(count: int, data: st.DataObject) -> None:
    draining = data.draw(st.integers(0, count - 1))
    hosts = [Host(f"h{k}", 0.0, {}, draining=k < draining) for k in range(count)]
    given_to = assign(REGIONS.all(), hosts, REGIONS)
    assert set(given_to) == ALL
    shares = [sum(name == host.name for name in given_to.values()) for host in hosts if not host.draining]
    assert sum(shares) == len(ALL)
    assert max(shares) - min(shares) <= 2
    assert given_to == assign(REGIONS.all(), hosts, REGIONS)


def test_neighbours_stay_together() -> None:
    hosts = [Host("a", 0.1, {16: 0.05, 17: 0.05}), Host("b", 0.1, {31: 0.05, 30: 0.05})]
    assert assign([18], hosts, REGIONS) == {18: "a"}
    assert assign([28], hosts, REGIONS) == {28: "b"}
    assert assign([19, 29], hosts, REGIONS) == {19: "a", 29: "b"}


def test_nobody_takes_anything_where_all_drain() -> None:
    assert assign(REGIONS.all(), [Host("a", 0.0, {}, draining=True)], REGIONS) == {}
    assert assign(REGIONS.all(), [], REGIONS) == {}


def test_a_draining_host_is_emptied() -> None:
    hosts = [Host("a", 0.5, {16: 0.2, 17: 0.3}, draining=True), Host("b", 0.1, {18: 0.1}), Host("c", 0.1, {31: 0.1})]
    moves = drain(hosts, REGIONS)
    assert {move.region for move in moves} == {16, 17}
    assert all(move.source == "a" and move.target in "bc" for move in moves)


@pytest.mark.parametrize(
    ("leaving", "others", "last"),
    [
        (4, {0, 1, 2, 3}, {3}),  # there shall be fewer: 3 may be the next
        (2, {0, 1, 3, 4}, {1}),  # another release: 4 and 3 have begun anew
        (0, {1, 2, 3, 4}, set()),
    ],
)
def test_what_a_shard_gives_away_does_not_go_to_the_one_that_ends_next(
    leaving: int, others: set[int], last: set[int]
) -> None:
    regions = dict.fromkeys(sorted(ALL)[:4], 0.02)
    hosts = [Host(f"shard-{leaving}", 0.1, regions, draining=True)]
    hosts += [Host(f"shard-{k}", 0.1, {31 - k: 0.02}) for k in sorted(others)]
    targets = {move.target for move in drain(hosts, REGIONS)}
    assert not targets & {f"shard-{k}" for k in last}
    names = {f"shard-{k}" for k in last}
    busy = [host if host.draining or host.name in names else replace(host, load=0.9) for host in hosts]
    if last:
        given_to = [move.target for move in drain(busy, REGIONS)]
        assert given_to.count(names.pop()) >= len(given_to) / 2, "load counts more"


def test_what_is_not_busy_stays() -> None:
    hosts = [Host("a", BUSY - 0.01, {16: 0.17, 17: 0.17}), Host("b", 0.0, {})]
    assert balance(hosts, REGIONS, ALL) is None


def test_the_busiest_gives_what_helps_most_and_then_nothing_swings_back() -> None:
    loads = {"a": {16: 0.3, 17: 0.3, 18: 0.2}, "b": {31: 0.05}}
    for _ in range(10):
        hosts = [Host(name, sum(regions.values()), regions) for name, regions in loads.items()]
        move = balance(hosts, REGIONS, ALL)
        if move is None:
            break
        loads[move.target][move.region] = loads[move.source].pop(move.region)
    else:
        raise AssertionError("regions move for ever")
    assert {name: len(regions) for name, regions in loads.items()} == {"a": 2, "b": 2}


def test_a_region_that_has_just_moved_stays() -> None:
    hosts = [Host("a", 0.9, {16: 0.45, 17: 0.45}), Host("b", 0.0, {})]
    assert balance(hosts, REGIONS, frozenset()) is None
    assert balance(hosts, REGIONS, frozenset({17})) is not None
