"""The autoscaler that is simulated does what Kubernetes documents; what the manifests say keeps headroom and rests, and
careless settings do not."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.autoscale import simulate
from bench.autoscale.__main__ import CHANGES, REVERSALS, SHORT_S
from bench.autoscale.day import Day
from bench.autoscale.hpa import DOWN, SYNC_S, UP, Autoscaler, Direction, Policy, Rules
from bench.autoscale.judge import judge
from bench.autoscale.plant import SCRAPE_S, GatewayShares, Measured, Pods, ShardShares
from bench.autoscale.settings import GATEWAY, SHARD, read
from bench.capacity.page import PAGE
from bench.capacity.page import read as read_costs
from bench.written import PAGE as SCALING
from bench.written import marks, replaced

COSTS, LIMITS = read_costs(PAGE.read_text())
NOW = (Policy(True, 100, 15.0),)
AT_ONCE = Rules(1, 1000, (100.0,), Direction(0.0, (Policy(False, 1000, 15.0),)), Direction(0.0, NOW))


# ------------------------------------------------------------------------------ as Kubernetes documents it
@pytest.mark.parametrize(
    ("replicas", "value", "decided"),
    [
        (2, 400.0, 4),
        (4, 200.0, 2),
        (4, 430.0, 4),
        (4, 361.0, 4),
        (4, 441.0, 5),
        (4, 359.0, 4),
        (4, 299.0, 3),
        (3, 0.0, 1),
    ],
)
def test_as_many_as_the_ratio_says_unless_it_is_near_one(replicas: int, value: float, decided: int) -> None:
    assert Autoscaler(AT_ONCE).decide(0.0, replicas, [value]) == decided


def test_the_metric_that_asks_for_most_counts_and_a_missing_one_takes_nothing_away() -> None:
    rules = replace(AT_ONCE, targets=(100.0, 10.0))
    assert Autoscaler(rules).decide(0.0, 2, [300.0, 50.0]) == 5
    assert Autoscaler(rules).decide(0.0, 4, [100.0, None]) == 4
    assert Autoscaler(rules).decide(0.0, 2, [None, 50.0]) == 5
    assert Autoscaler(rules).decide(0.0, 4, [None, None]) == 4


def test_policies_are_those_of_the_documentation() -> None:
    """Scaling down by 10 % or 4 pods a minute, the larger: from 80 to 10 it is 8 first, then 8 (7.2 rounded up), and at
    last 4 by 4."""
    down = Direction(0.0, (Policy(False, 4, 60.0), Policy(True, 10, 60.0)))
    scaler, counts = Autoscaler(replace(AT_ONCE, down=down)), [80]
    for minute in range(20):
        counts.append(scaler.decide(60.0 * minute, counts[-1], [1000.0]))
    assert counts[:3] == [80, 72, 64]
    assert counts[-1] == 10
    assert {a - b for a, b in pairwise(counts) if b < 40 and b > 10} == {4}
    least = Autoscaler(replace(AT_ONCE, down=replace(down, select="Min")))
    assert least.decide(0.0, 80, [1000.0]) == 76
    disabled = Autoscaler(replace(AT_ONCE, down=replace(down, select="Disabled")))
    assert disabled.decide(0.0, 80, [1000.0]) == 80


def test_the_most_that_was_wanted_within_the_window_stays() -> None:
    scaler = Autoscaler(replace(AT_ONCE, down=Direction(300.0, NOW)))
    assert scaler.decide(0.0, 5, [500.0]) == 5
    for at_s in np.arange(SYNC_S, 300.0, SYNC_S).tolist():
        assert scaler.decide(at_s, 5, [200.0]) == 5
    assert scaler.decide(300.0, 5, [200.0]) == 2


@given(
    st.integers(1, 5),
    st.integers(0, 20),
    st.lists(st.one_of(st.none(), st.floats(0.0, 1e5)), min_size=1, max_size=60),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.floats(0.0, 600.0),
)
def test_bounds_and_policies_hold_whatever_is_measured(
    least: int, more: int, values: list[float | None], select: str, window_s: float
) -> None:
    policies = (Policy(True, 50, 60.0), Policy(False, 2, 60.0))
    direction = Direction(window_s, policies, select)
    scaler, replicas = Autoscaler(Rules(least, least + more, (100.0,), direction, direction)), least
    counts: list[int] = []
    for k, value in enumerate(values):
        counts.append(replicas)
        replicas = scaler.decide(SYNC_S * k, replicas, [value])
        assert least <= replicas <= least + more
        if value is None or select == "Disabled":
            assert replicas == counts[-1]
        low, high = min(counts[-4:]), max(counts[-4:])  # a minute is four looks
        assert replicas <= max(low + 2, np.ceil(1.5 * high))
        assert replicas >= min(high - 2, int(0.5 * low))


# ------------------------------------------------------------------------------ what it is told to scale
def test_a_pod_starts_late_and_ends_at_once() -> None:
    pods, rng = Pods(2), np.random.default_rng(1)
    assert pods.scale(5, 0.0, rng) == 0
    assert (pods.wanted, pods.ready, pods.started(10.0)) == (5, 2, 0)
    assert (pods.started(150.0), pods.ready) == (3, 5)
    assert pods.scale(3, 160.0, rng) == 2
    assert (pods.wanted, pods.ready) == (3, 3)


@given(st.integers(1, 8), st.lists(st.integers(-3, 3), max_size=20), st.floats(0.1, 10.0))
def test_no_work_is_lost_however_many_there_are(count: int, changes: list[int], cores: float) -> None:
    shards, gateways = ShardShares(np.full(count, 1.0 / count)), GatewayShares(np.full(count, 1.0 / count))
    for change in changes:
        for shares in (shards, gateways):
            shares.more(max(0, change))
            shares.less(min(max(0, -change), len(shares.parts) - 1))
        shards.balance(cores)
        gateways.balance(5.0)
        gateways.join(0.01)
        for shares in (shards, gateways):
            assert shares.parts.sum() == pytest.approx(1.0)
            assert (shares.parts >= -1e-9).all()


def test_what_has_ended_counts_until_its_samples_are_out_of_the_window() -> None:
    query = Measured(60.0)
    assert query.answer(0.0) is None
    query.scrape(0.0, np.array([1.0, 1.0, 4.0]))
    for at_s in (10.0, 20.0, 30.0, 40.0, 50.0):
        query.scrape(at_s, np.array([2.0, 2.0]))
        assert query.answer(at_s) == pytest.approx(4.0 + 4.0 - 2.0 / (at_s / 10 + 1))
    assert query.answer(60.0) == pytest.approx(4.0)


# ------------------------------------------------------------------------------ what the manifests say
@pytest.mark.parametrize(("path", "run"), [(SHARD, simulate.shards), (GATEWAY, simulate.gateways)])
@pytest.mark.parametrize("seed", [11, 12])
def test_a_day_of_what_the_manifest_says_has_headroom_and_rests(path: Path, run: simulate.Run, seed: int) -> None:
    judged = judge(run(read(path), COSTS, LIMITS, Day(), seed))
    assert judged.short_s <= SHORT_S
    assert judged.reversals <= REVERSALS
    assert judged.changes <= CHANGES
    assert judged.most < read(path).rules.most, "the bound is not what holds it"
    fixed = 24 * judged.most
    assert judged.replica_hours < 0.7 * fixed, "and it saves what a fixed number would cost"


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 0.1), st.floats(0.0, 3_000.0), st.floats(1.0, 5.0))
def test_an_evening_has_headroom_and_rests_whatever_the_noise_and_the_crowd(
    seed: int, noise: float, match: float, at_h: float
) -> None:
    day = Day(noise=noise, match=match, match_from_s=at_h * 3600, match_to_s=(at_h + 1.5) * 3600)
    for path, run in ((SHARD, simulate.shards), (GATEWAY, simulate.gateways)):
        judged = judge(run(read(path), COSTS, LIMITS, day, seed, 8.0))
        assert judged.short_s <= SHORT_S
        assert judged.reversals <= REVERSALS + 1


@pytest.mark.parametrize(("path", "run"), [(SHARD, simulate.shards), (GATEWAY, simulate.gateways)])
def test_careless_settings_flap_so_that_these_tests_can_fail(path: Path, run: simulate.Run) -> None:
    careful = read(path)
    careless = judge(run(simulate.restless(careful), COSTS, LIMITS, Day(), 11, 14.0))
    assert careless.reversals > 50
    default = replace(careful, rules=replace(careful.rules, up=UP, down=DOWN))
    assert sum(judge(run(default, COSTS, LIMITS, Day(), seed)).reversals for seed in (11, 12)) > 2 * REVERSALS


def test_too_few_replicas_have_no_headroom_so_that_these_tests_can_fail() -> None:
    few = read(SHARD)
    judged = judge(simulate.shards(replace(few, rules=replace(few.rules, most=6)), COSTS, LIMITS, Day(), 11))
    assert judged.short_s > SHORT_S


@pytest.mark.parametrize(("path", "target"), [(SHARD, "isthmus-shard"), (GATEWAY, "isthmus-gateway")])
def test_what_the_manifests_name(path: Path, target: str) -> None:
    made = read(path)
    assert made.target == target
    assert made.rules.least >= 2, "whoever ends needs another one to give its regions or people to"
    assert all(trigger.empty_is_error for trigger in made.triggers), "no answer must not end anybody"
    assert all(trigger.window_s >= 4 * SCRAPE_S for trigger in made.triggers), "rate needs some samples"


def test_a_manifest_that_says_more_than_is_tried_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.yaml"
    path.write_text(SHARD.read_text().replace("  minReplicaCount: 2", "  minReplicaCount: 2\n  idleReplicaCount: 0"))
    with pytest.raises(ValueError, match="idleReplicaCount"):
        read(path)
    path.write_text(SHARD.read_text().replace("type: Percent", "type: Pod"))
    with pytest.raises(ValueError, match="Percent or Pods"):
        read(path)


# ------------------------------------------------------------------------------ the page
def test_only_what_is_between_the_marks_of_a_page_is_written() -> None:
    begin, end = marks("upgrade")
    page = f"before\n{begin}\nold\n{end}\nafter\n"
    assert replaced(page, "upgrade", "new\n") == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"
    for broken in ("", begin, end + begin, page + page):
        with pytest.raises(ValueError, match="once each"):
            replaced(broken, "upgrade", "new")
    for part in ("upgrade", "autoscale"):
        replaced(SCALING.read_text(), part, "x")
