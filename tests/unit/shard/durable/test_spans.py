"""Spans of leaves, against the world's own layout of regions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.regions import Layout, level_of
from shard.durable.spans import Span, span_of

LEVEL = 5
regions = st.integers(0, LEVEL).flatmap(lambda level: st.integers(1 << 2 * level, (2 << 2 * level) - 1))


@given(regions)
def test_a_span_holds_the_leaves_below_its_region(region: int) -> None:
    span = span_of(region, LEVEL)
    up = 2 * (LEVEL - level_of(region))
    assert [n for n in Layout(1 << 12, LEVEL).all() if n >> up == region] == list(range(span.first, span.last + 1))


@given(regions, regions)
def test_regions_overlap_if_one_lies_in_the_other(a: int, b: int) -> None:
    low, high = sorted((a, b), key=level_of)
    inside = high >> 2 * (level_of(high) - level_of(low)) == low
    assert span_of(a, LEVEL).overlaps(span_of(b, LEVEL)) == inside


def test_what_is_no_region_or_too_small_is_a_mistake() -> None:
    for number in (-4, 0, 2, 3, 8, 15, 32):
        with pytest.raises(ValueError, match="no number of a region"):
            level_of(number)
    with pytest.raises(ValueError, match="smaller than the leaves"):
        span_of(16, 1)
    assert span_of(1, 0) == Span(1, 1)
