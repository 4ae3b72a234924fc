"""The capacity model: linear parts grow evenly, pairs with the square, and what fails first is named."""

from dataclasses import fields, replace

import pytest

from bench.capacity.model import Costs, Estimate, Limits, World, check, estimate, without
from bench.capacity.page import ASSUMED, HOW, text

ONES = Costs(**{field.name: 1.0 for field in fields(Costs)})
NOTHING = Costs(**{field.name: 0.0 for field in fields(Costs)})
LIMITS = Limits(1e3, 4.0, 1e3, 1e8, 1e9, 1e9, 1e4)


def _need(estimated: Estimate, resource: str) -> float:
    return next(need.demand for need in estimated.needs if need.resource.startswith(resource))


def test_gateways_are_as_many_as_their_cpu_asks_for() -> None:
    costs = replace(NOTHING, client_us=20.0, visible_us=0.6)
    made = estimate(World(10, 10_000, visible=50.0), costs, LIMITS)
    assert made.gateways == 15  # 10,000 clients, 20 ticks, 50 us: 10 cores, at 0.7 each
    assert made.gateway_cores == pytest.approx(10.0)


def test_a_shards_core_is_the_sum_of_what_is_in_it() -> None:
    costs = replace(NOTHING, rest_us=1.0, moving_us=2.0, region_us=100.0, body_us=3.0, ghost_us=5.0, crossing_us=1e3)
    world = World(10, 1_000, inhabitants=1_000, moving_part=0.25, regions=4, border_part=0.1, crossings_part=0.01)
    # 750 rest, 250 and 100 bodies move; 110 ghosts; 3.5 crossings a second.
    ticks_us = 20 * (750 * 1.0 + 350 * 2.0 + 4 * 100.0 + 100 * 3.0 + 110 * 5.0)
    made = estimate(world, costs, LIMITS)
    assert _need(made, "a shard's core") == pytest.approx((ticks_us + 3.5 * 1e3) / 1e6)
    assert made.shard_cores == pytest.approx(10 * (ticks_us + 3.5 * 1e3) / 1e6)


def test_what_pairs_of_members_cost_grows_with_the_square() -> None:
    costs = replace(NOTHING, member_puts=0.5, etcd_event_us=10.0, link_us=100.0)
    small, large = (estimate(World(shards, 1), costs, LIMITS) for shards in (98, 998))
    assert (small.members, large.members) == (100, 1000)
    assert small.links == 100 * 99 // 2
    assert small.etcd_puts_per_s == pytest.approx(50.0)
    assert large.etcd_events_per_s == pytest.approx(100 * small.etcd_events_per_s)
    assert _need(large, "etcd: telling") == pytest.approx(100 * _need(small, "etcd: telling"))
    assert _need(large, "a member's core: beats") == pytest.approx(999 * 100e-6)


def test_a_delta_goes_to_each_gateway_that_mirrors_its_region() -> None:
    costs = replace(NOTHING, rows_part=1.0, row_bytes=30.0, client_us=35.0)
    world = World(10, 100_000, inhabitants=0, regions=4, mirror_part=2.0)
    made = estimate(world, costs, LIMITS)
    assert made.gateways == 100
    # 100 gateways that mirror twice their part of 40 regions: five for each region.
    assert made.delta_bytes_per_s == pytest.approx(100_000 * 20 * 30.0 * 5)
    alone = estimate(replace(world, clients=1_000), costs, LIMITS)
    assert alone.gateways == 1
    assert alone.delta_bytes_per_s == pytest.approx(1_000 * 20 * 30.0), "never to more gateways than there are"


def test_what_fails_first_is_named_and_what_comes_next() -> None:
    made = estimate(World(100, 10), replace(NOTHING, commits=10.0, member_puts=10.0), LIMITS)
    assert made.bottleneck.resource == "PostgreSQL: transactions"
    assert not made.holds
    assert made.bottleneck.share == pytest.approx(4.0)
    assert without(made, [made.bottleneck.resource]).resource == "etcd: writes"
    assert estimate(World(1, 10), replace(NOTHING, commits=10.0), LIMITS).holds


def test_nothing_is_reckoned_from_nonsense() -> None:
    with pytest.raises(ValueError, match="shards and clients"):
        estimate(World(0, 10), ONES, LIMITS)
    with pytest.raises(ValueError, match="ghost_us = -1"):
        check(replace(ONES, ghost_us=-1.0))
    check(ONES)


def test_the_page_explains_every_cost_limit_and_assumption() -> None:
    estimates = [estimate(World(shards, 1_000_000), ONES, LIMITS) for shards in (10, 1_000)]
    page = text(ONES, LIMITS, estimates, "Measured nowhere.")
    assert set(HOW) == {field.name for field in fields(Costs)}
    assert set(ASSUMED) == {field.name for field in fields(World)}
    for word in (*HOW, *(field.name for field in fields(Limits)), "1,000 shards, 1,000,000 clients"):
        assert word in page
    for each in estimates:
        assert each.bottleneck.resource in page
        assert each.bottleneck.remedy in page
