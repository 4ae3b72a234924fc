"""Reading a server's metrics."""

import pytest

from bench.process import ChildFailed
from bench.served import histogram_quantile, parse_metrics, phases, total

TEXT = """# HELP isthmus_ticks_total Ticks.
# TYPE isthmus_ticks_total counter
isthmus_ticks_total{shard="a"} 40
isthmus_ticks_total{shard="b"} 2.0
isthmus_tick_seconds_bucket{le="0.01"} 900
isthmus_tick_seconds_bucket{le="0.05"} 999
isthmus_tick_seconds_bucket{le="+Inf"} 1000
isthmus_tick_seconds_count 1000
"""


def test_totals_and_quantiles() -> None:
    samples = parse_metrics(TEXT)
    assert total(samples, "isthmus_ticks_total") == 42
    assert histogram_quantile(samples, "isthmus_tick_seconds", 0.9) == 0.01
    assert histogram_quantile(samples, "isthmus_tick_seconds", 0.99) == 0.05
    assert histogram_quantile(samples, "isthmus_tick_seconds", 0.9999) == float("inf")


def test_phases_are_told_for_a_tick_the_longest_first() -> None:
    text = "".join(
        f'isthmus_tick_phase_seconds_total{{phase="{name}"}} {seconds}\n'
        for name, seconds in (("publish", 0.5), ("send", 2.0), ("border", 0.0))
    )
    assert list(phases(parse_metrics(text), 10).items()) == [("send", 0.2), ("publish", 0.05)]


def test_a_metric_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ChildFailed, match="isthmus_nothing"):
        total({}, "isthmus_nothing")
