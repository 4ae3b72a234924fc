"""Cells of a quadtree: every place has one, numbers are paths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.regions import MARGIN_M, Layout

LAYOUTS = st.integers(0, 3).map(lambda level: Layout(2048.0, level))
PLACES = st.integers(-192_000, 192_000).map(lambda grid: grid / 128)


def test_numbers_are_paths() -> None:
    layout = Layout(256.0, 2)
    assert layout.all() == list(range(16, 32))
    assert Layout(256.0, 0).all() == [1]
    assert layout.number(0, 0) == 0b1_00_00
    assert layout.number(3, 0) == 0b1_01_01
    assert layout.number(0, 3) == 0b1_10_10
    assert int(Layout(256.0, 1).region_at(1.0, -1.0)) == 0b1_01


@settings(deadline=None)
@given(LAYOUTS, PLACES, PLACES)
def test_each_place_is_in_the_square_of_its_region(layout: Layout, x: float, z: float) -> None:
    region = int(layout.region_at(x, z))
    square = layout.square(region)
    half = layout.side_m / 2
    inside_x, inside_z = min(max(x, -half), np.nextafter(half, 0)), min(max(z, -half), np.nextafter(half, 0))
    assert square.x0 <= inside_x < square.x1
    assert square.z0 <= inside_z < square.z1


@settings(deadline=None)
@given(LAYOUTS)
def test_numbers_and_places_are_each_others_inverse(layout: Layout) -> None:
    for region in layout.all():
        assert layout.number(*layout.place(region)) == region
        square = layout.square(region)
        assert int(layout.region_at((square.x0 + square.x1) / 2, (square.z0 + square.z1) / 2)) == region


def test_a_region_is_never_narrower_than_two_margins() -> None:
    assert Layout.around(100.0, 2) == Layout(128.0, 2)
    assert Layout.around(128.0, 0).side_m == 128.0
    with pytest.raises(ValueError, match="lower the level"):
        Layout(2 * MARGIN_M, 1)
    with pytest.raises(ValueError, match="level"):
        Layout(1024.0, 99)
    with pytest.raises(ValueError, match="region 3"):
        Layout(1024.0, 1).square(3)
