"""Regions of several levels: every place has one, neighbours touch, circles find all that they touch."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.partition import Partition, is_within
from cluster.regions import Layout, level_of, quarters

SIDE_M = 2048.0
PLACES = st.integers(-192_000, 192_000).map(lambda grid: grid / 128)


@st.composite
def partitions(draw: st.DrawFn) -> Partition:
    """Some splits of an even beginning."""
    regions = Layout(SIDE_M, draw(st.integers(0, 2))).all()
    for _ in range(draw(st.integers(0, 5))):
        region = draw(st.sampled_from(sorted(regions)))
        if level_of(region) < 5:
            regions = [*(n for n in regions if n != region), *quarters(region)]
    return Partition.of(Layout(SIDE_M, 0), regions)


def test_what_nobody_tells_of_is_cut_evenly() -> None:
    assert Partition.of(Layout(256.0, 1)).all() == [4, 5, 6, 7]
    split = Partition.of(Layout(256.0, 1), [5, 16, 17, 18, 19])
    assert split.all() == [5, 6, 7, 16, 17, 18, 19]
    assert split.in_place_of(4) == [16, 17, 18, 19]
    assert split.in_place_of(4 << 4) == [16]
    assert split.in_place_of(20) == [5]
    merged = Partition.of(Layout(256.0, 2), [4])
    assert merged.all() == [4, *range(20, 32)], "larger ones than the layout has are regions too"


@settings(deadline=None)
@given(partitions(), PLACES, PLACES)
def test_each_place_is_in_the_square_of_its_region(partition: Partition, x: float, z: float) -> None:
    square = partition.square(int(partition.region_at(x, z)))
    half = SIDE_M / 2
    inside_x, inside_z = min(max(x, -half), np.nextafter(half, 0)), min(max(z, -half), np.nextafter(half, 0))
    assert square.x0 <= inside_x < square.x1
    assert square.z0 <= inside_z < square.z1


@settings(deadline=None)
@given(partitions())
def test_regions_are_the_whole_and_do_not_overlap(partition: Partition) -> None:
    assert sum(4.0 ** -level_of(region) for region in partition.all()) == 1.0
    assert not any(is_within(a, b) for a in partition.all() for b in partition.all() if a != b)


@settings(deadline=None)
@given(partitions())
def test_neighbours_are_mutual_and_touch(partition: Partition) -> None:
    for region in partition.all():
        near = partition.neighbours(region)
        square = partition.square(region)
        touching = {
            other
            for other in partition.all()
            if other != region
            and partition.square(other).x0 <= square.x1
            and partition.square(other).x1 >= square.x0
            and partition.square(other).z0 <= square.z1
            and partition.square(other).z1 >= square.z0
        }
        assert set(near) == touching
        assert all(region in partition.neighbours(other) for other in near)


@settings(deadline=None)
@given(partitions(), st.lists(st.tuples(PLACES, PLACES), max_size=4), st.floats(0.0, 700.0))
def test_a_square_around_a_circle_touches_what_is_near_it(
    partition: Partition, places: list[tuple[float, float]], radius_m: float
) -> None:
    x, z = np.array(places, np.float64).reshape(-1, 2).T
    seen = partition.seen(x, z, radius_m)
    assert len(seen) == len(places)
    for k in range(len(places)):
        found = seen.of(k).tolist()
        assert len(set(found)) == len(found)
        assert int(partition.region_at(x[k], z[k])) in found
        for region in partition.all():
            square = partition.square(region)
            away_m = max(square.x0 - x[k], x[k] - square.x1, square.z0 - z[k], z[k] - square.z1)
            if away_m < radius_m - 1e-6:
                assert region in found
            elif away_m > radius_m + 1e-6 and region in found:
                assert away_m > 0
                assert int(partition.region_at(*np.clip([x[k], z[k]], -SIDE_M / 2, SIDE_M / 2))) in found
