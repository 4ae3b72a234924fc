"""What a load run counts: percentiles that merge, the instability ratio of known series, tallies that add up."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.figures import RATES, SAMPLED, budget_names, rate, split_budget
from loadtest.histogram import ALPHA, LEAST, Histogram
from loadtest.instability import Instability, of_series, ratio
from loadtest.tally import Tally

VALUES = st.lists(st.floats(0.0, 1e7), min_size=1, max_size=200)
PARTS = st.floats(0.0, 1.0)


def histogram(values: list[float]) -> Histogram:
    found = Histogram()
    for value in values:
        found.add(value)
    return found


def nearest_rank(values: list[float], part: float) -> float:
    return sorted(values)[max(1, ceil(part * len(values) - 1e-9)) - 1]


@given(VALUES, PARTS)
def test_a_percentile_is_that_of_the_values_within_a_bucket(values: list[float], part: float) -> None:
    exact = nearest_rank(values, part)
    found = histogram(values).percentile(part)
    assert found is not None
    assert abs(found - exact) <= ALPHA * exact * (1 + 1e-9) + LEAST


@given(st.lists(VALUES, min_size=1, max_size=6), PARTS)
def test_merged_percentiles_are_those_of_the_union(workers: list[list[float]], part: float) -> None:
    union = [value for values in workers for value in values]
    merged = Histogram.of_all(histogram(values) for values in workers)
    alone = histogram(union)
    assert merged.counts == alone.counts
    assert merged.percentile(part) == alone.percentile(part)
    exact = nearest_rank(union, part)
    assert abs((merged.percentile(part) or 0.0) - exact) <= ALPHA * exact * (1 + 1e-9) + LEAST
    assert (merged.count, merged.max) == (len(union), max(union))


def test_a_mean_of_percentiles_would_not_have_done() -> None:
    quick, slow = histogram([10.0] * 1000), histogram([500.0] * 10)
    merged = Histogram.of_all([quick, slow]).percentile(0.99)
    assert merged == pytest.approx(10.0, rel=ALPHA)


@given(VALUES)
def test_a_histogram_survives_a_message(values: list[float]) -> None:
    sent = histogram(values)
    came = Histogram.of(sent.plain())
    assert (came.counts, came.count, came.sum, came.max) == (sent.counts, sent.count, sent.sum, sent.max)


@pytest.mark.parametrize(
    "plain", [None, [], [[[1, 2, 3]], 0, 0], [[[-1, 2]], 0, 0], [[[1, 0]], 0, 0], [[["x", 1]], 0, 0]]
)
def test_what_is_no_histogram_is_refused(plain: object) -> None:
    with pytest.raises(ValueError, match="histogram"):
        Histogram.of(plain)


def test_without_values_there_is_no_percentile() -> None:
    assert Histogram().percentile(0.5) is None
    assert Histogram().mean is None


# ------------------------------------------------------------------------------------------------ instability (ICPE 23)


def test_even_series_are_stable_also_if_every_tick_is_late() -> None:
    assert of_series([50.0] * 100, 50.0) == 0.0
    assert of_series([80.0] * 100, 50.0) == 0.0
    assert of_series([5.0, 50.0, 20.0] * 30, 50.0) == 0.0  # early ticks wait for their time


@pytest.mark.parametrize(("outlier", "every"), [(2, 2), (10, 20), (20, 2), (4, 100), (100, 3)])
def test_a_regular_outlier_gives_the_published_ratio(outlier: int, every: int) -> None:
    # An outlier of s·b in each λ ticks: ISR = (s − 1) / (s + λ − 1).
    series = ([50.0] * (every - 1) + [50.0 * outlier]) * 2000
    expected = (outlier - 1) / (outlier + every - 1)
    assert of_series(series, 50.0) == pytest.approx(expected, rel=0.002)


def test_order_matters_where_the_standard_deviation_does_not_see_it() -> None:
    apart, together = [50.0, 500.0] * 50, [50.0] * 50 + [500.0] * 50
    assert of_series(apart, 50.0) == pytest.approx(9 / 11, rel=0.02)
    assert of_series(together, 50.0) == pytest.approx(450.0 / (2 * 27_500.0))


def test_sums_of_many_series_add_up_and_interruptions_are_no_jumps() -> None:
    a, b = Instability(50.0), Instability(50.0)
    for each in (50.0, 150.0, 50.0):
        a.add(each)
    b.add(300.0)
    b.interrupted()
    b.add(50.0)
    assert b.jump_ms == 0.0
    assert ratio(a.jump_ms + b.jump_ms, a.span_ms + b.span_ms) == pytest.approx(200.0 / (2 * 600.0))
    assert ratio(0.0, 0.0) is None


# -------------------------------------------------------------------------------------------------------------- tallies


def test_what_workers_took_adds_up_at_the_master() -> None:
    master, workers = Tally(), [Tally(), Tally()]
    for number, worker in enumerate(workers):
        for second in (100, 101):
            cell = worker.cell(second, "desktop")
            cell.count("bytes_in", 10 + number)
            for k in range(50):
                cell.sample("input_delay_ms", 10.0 + k + 100 * number)
    for _ in range(2):
        for worker in workers:
            master.merge(worker.take())  # the second time there is nothing new
    whole = master.over("desktop", 100, 102)
    assert whole.counts["bytes_in"] == 42
    assert whole.histograms["input_delay_ms"].count == 200
    assert master.over("desktop", 101, 102).counts["bytes_in"] == 21
    assert [second for second, _ in master.series("desktop")] == [100, 101]


@pytest.mark.parametrize(
    "taken", [None, [1], [[1, "a", {}, {"x": 1}]], [["1", "a", {}, {}]], [[1, "a", {"x": "y"}, {}]]]
)
def test_what_is_no_tally_changes_nothing(taken: object) -> None:
    tally = Tally()
    with pytest.raises(ValueError, match=r"tally|histogram"):
        tally.merge([[1, "a", {"n": 1}, {}], *taken] if isinstance(taken, list) else taken)
    assert tally.entries() == []


def test_each_budget_name_says_what_it_is_of() -> None:
    for name in budget_names():
        found = split_budget(name)
        assert found in RATES.values() if not isinstance(found, tuple) else found[0] in SAMPLED.values()
    with pytest.raises(KeyError):
        split_budget("input_delay_ms")


def test_rates_are_per_client() -> None:
    counts = {"client_ms": 120_000.0, "frozen_ms": 500.0, "bytes_in": 2400.0, "corrections": 4.0, "errors": 3.0}
    assert rate("frozen_ms_per_min", counts) == 250.0
    assert rate("bytes_per_s", counts) == 20.0
    assert rate("corrections_per_min", counts) == 2.0
    assert rate("errors", counts) == 3.0
    assert rate("bytes_per_s", {}) is None
