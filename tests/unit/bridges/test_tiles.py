"""Map tiles: what is cut here is what a client reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.places import load_place
from bridges.tiles import INDEX_PATH, TILE, MapFile, map_files
from client.tiles import MapError, MapIndex, Prism, add_tile, decode_index, decode_prisms
from client.walk import Walker, walk_step
from kernels.walk import walk_step as kernel_step
from protocol.place import Place


@pytest.fixture(scope="module")
def helsinki(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return load_place("helsinki", tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def files(helsinki: Place) -> dict[str, MapFile]:
    return map_files(helsinki)


@pytest.fixture(scope="module")
def index(files: dict[str, MapFile]) -> MapIndex:
    return decode_index(files[INDEX_PATH].body)


def test_index_names_every_file(helsinki: Place, files: dict[str, MapFile], index: MapIndex) -> None:
    assert {index.tile_path(*tile) for tile in index.tiles} | {INDEX_PATH} == set(files)
    assert index.attribution == helsinki.attribution
    assert index.anchor == helsinki.anchor
    sizes = {(x, z): size for x, z, size in json.loads(files[INDEX_PATH].body)["tiles"]}
    assert all(len(files[index.tile_path(*tile)].body) == size for tile, size in sizes.items())
    assert max(sizes.values()) < 64_000
    assert [path for path, file in files.items() if not file.immutable] == [INDEX_PATH]
    assert all(file.etag.startswith('"') and file.etag.endswith('"') for file in files.values())


def test_the_same_place_gives_the_same_files(helsinki: Place, files: dict[str, MapFile]) -> None:
    assert map_files(Place.decode(helsinki.encode())) == files


def test_all_tiles_together_hold_all_prisms_unchanged(
    helsinki: Place, files: dict[str, MapFile], index: MapIndex
) -> None:
    found: dict[int, Prism] = {}
    for tile in index.tiles:
        for each in decode_prisms(files[index.tile_path(*tile)].body, index.grid_per_m):
            assert found.setdefault(each.key, each) == each
    ground = helsinki.ground
    assert sorted(found) == ground.key.tolist()
    for prism, key in enumerate(ground.key.tolist()):
        rings = range(ground.ring_start[prism], ground.ring_start[prism + 1])
        points = [ground.point[ground.point_start[r] : ground.point_start[r + 1]] / 128 for r in rings]
        assert [[list(point) for point in ring] for ring in found[key].rings] == [ring.tolist() for ring in points]
        assert (found[key].bottom_m, found[key].top_m) == (ground.bottom[prism] / 128, ground.top[prism] / 128)


def test_a_client_walks_on_tiles_as_the_server_on_the_place(
    helsinki: Place, files: dict[str, MapFile], index: MapIndex
) -> None:
    """Bit for bit, with no more than the tiles around, from places all over the town, scraping along what is there."""
    rng = np.random.default_rng(5)
    for x, z in helsinki.spawn_m[rng.integers(0, len(helsinki.spawn_m), 40)]:
        ground = index.ground()
        for tile in index.tiles_near(x, z, 64.0):
            add_tile(ground, files[index.tile_path(*tile)].body, index.grid_per_m)
        body = Walker(x, 0.0, z)
        pos, vel, on_ground = np.array([x, 0.0, z]), np.zeros(3), True
        for move_x, move_z in rng.integers(-128, 128, (4, 2)).tolist():
            for _ in range(100):
                walk_step(ground, body, move_x, move_z, 1, 1 / 60)
                on_ground = kernel_step(helsinki.ground.walk, pos, vel, on_ground, move_x, move_z, 1, 1 / 60)
            assert [*pos, *vel, on_ground] == [body.x, body.y, body.z, body.vx, body.vy, body.vz, body.on_ground]


def test_a_prism_is_in_each_tile_it_touches(helsinki: Place, files: dict[str, MapFile], index: MapIndex) -> None:
    for key, (x0, z0, x1, z1) in zip(helsinki.ground.key.tolist(), helsinki.ground.prism_bounds // TILE, strict=True):
        for tile in ((x0, z0), (x1, z1)):
            prisms = decode_prisms(files[index.tile_path(int(tile[0]), int(tile[1]))].body, index.grid_per_m)
            assert key in [prism.key for prism in prisms]


@given(draw=st.data())
def test_broken_bytes_raise_map_errors_only(draw: st.DataObject, files: dict[str, MapFile]) -> None:
    body = bytearray(files[draw.draw(st.sampled_from(sorted(files)))].body)
    for _ in range(draw.draw(st.integers(1, 4))):
        body[draw.draw(st.integers(0, len(body) - 1))] = draw.draw(st.integers(0, 255))
    cut = bytes(body[: draw.draw(st.sampled_from([len(body), len(body) - 1, 7, 0]))])
    for decode in (decode_index, lambda raw: decode_prisms(raw, 128)):
        try:
            decode(cut)
        except MapError:
            pass


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="format 9"):
        decode_index(b'{"format": 9}')
    with pytest.raises(MapError, match="not a map tile"):
        decode_prisms(b"\xc1", 128)
