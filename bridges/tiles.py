"""Cuts a place into the files that clients fetch (``protocol/MAP.md``).

Decides which tile holds what, and the bytes. Invariants: the same place gives the same bytes and version; a prism,
line or area is in each tile that its bounding box touches. Not responsible for: serving the files.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import numpy as np
import numpy.typing as npt

from protocol.layouts import GRID_PER_M
from protocol.place import AREA_KINDS, LINE_KINDS, Place

FORMAT: Final = 1
TILE: Final = 128 * GRID_PER_M
"""Side of a tile in grid units."""
INDEX_PATH: Final = "/map/index.json"
TILE_TYPE: Final = "application/vnd.msgpack"
INDEX_TYPE: Final = "application/json"

I32 = npt.NDArray[np.int32]
Indexes = npt.NDArray[np.int64]
Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MapFile:
    """One file as it is served. ``immutable``: it never changes under its path."""

    body: bytes
    content_type: str
    etag: str
    """In its quotes, as the header has it."""
    immutable: bool


def map_files(place: Place) -> dict[str, MapFile]:
    """All files of a place by their URL path, the index at INDEX_PATH."""
    tiles = _tiles(place)
    head = {
        "format": FORMAT,
        "title": place.title,
        "attribution": place.attribution,
        "anchor": list(place.anchor),
        "grid_per_m": GRID_PER_M,
        "bounds": place.ground.bounds.tolist(),
        "tile": TILE,
        "line_kinds": list(LINE_KINDS),
        "area_kinds": list(AREA_KINDS),
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for cell, body in tiles.items():
        digest.update(b"%d %d %d " % (*cell, len(body)) + body)
    version = digest.hexdigest()[:16]
    index = {
        **head,
        "version": version,
        "path": f"/map/{version}/{{x}}_{{z}}.bin",
        "tiles": [[x, z, len(body)] for (x, z), body in tiles.items()],
    }
    files = {INDEX_PATH: _file(json.dumps(index, ensure_ascii=False).encode(), INDEX_TYPE, immutable=False)}
    for (x, z), body in tiles.items():
        files[f"/map/{version}/{x}_{z}.bin"] = _file(body, TILE_TYPE, immutable=True)
    return files


def _file(body: bytes, content_type: str, *, immutable: bool) -> MapFile:
    return MapFile(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:16]}"', immutable)


def _tiles(place: Place) -> dict[Cell, bytes]:
    """The bytes of all tiles that are not empty, in order of x, then z."""
    ground = place.ground
    scenery = place.scenery
    area_points = scenery.area_point_start[scenery.area_ring_start]
    prisms = _by_tile(ground.prism_bounds)
    lines = _by_tile(_boxes(scenery.line_point, scenery.line_start))
    areas = _by_tile(_boxes(scenery.area_point, area_points))
    trees = _by_tile(np.tile(scenery.tree, 2))
    lamps = _by_tile(np.tile(scenery.lamp, 2))
    names = _by_tile(np.tile(scenery.name_point, 2))
    none = np.zeros(0, np.int64)
    out: dict[Cell, bytes] = {}
    for cell in sorted({*prisms, *lines, *areas, *trees, *lamps, *names}):
        prism = prisms.get(cell, none)
        line = lines.get(cell, none)
        area = areas.get(cell, none)
        prism_ring = _ranges(ground.ring_start, prism)
        area_ring = _ranges(scenery.area_ring_start, area)
        keys = ground.key[prism]
        tile: dict[str, Any] = {
            "format": FORMAT,
            "x": cell[0],
            "z": cell[1],
            "prism_key": _column(keys, "<u4"),
            "prism_bottom": _column(ground.bottom[prism], "<i4"),
            "prism_top": _column(ground.top[prism], "<i4"),
            "prism_rings": _column(np.diff(ground.ring_start)[prism], "<u2"),
            "ring_points": _column(np.diff(ground.point_start)[prism_ring], "<u2"),
            "ring_xz": _column(ground.point[_ranges(ground.point_start, prism_ring)], "<i4"),
            "prism_name": {key: scenery.prism_name[key] for key in keys.tolist() if key in scenery.prism_name},
            "line_key": _column(line, "<u4"),
            "line_kind": _column(scenery.line_kind[line], "u1"),
            "line_width": _column(np.rint(scenery.line_width_m[line] * GRID_PER_M), "<u2"),
            "line_points": _column(np.diff(scenery.line_start)[line], "<u2"),
            "line_xz": _column(scenery.line_point[_ranges(scenery.line_start, line)], "<i4"),
            "area_key": _column(area, "<u4"),
            "area_kind": _column(scenery.area_kind[area], "u1"),
            "area_rings": _column(np.diff(scenery.area_ring_start)[area], "<u2"),
            "area_ring_points": _column(np.diff(scenery.area_point_start)[area_ring], "<u2"),
            "area_xz": _column(scenery.area_point[_ranges(scenery.area_point_start, area_ring)], "<i4"),
            "tree_xz": _column(scenery.tree[trees.get(cell, none)], "<i4"),
            "lamp_xz": _column(scenery.lamp[lamps.get(cell, none)], "<i4"),
            "names": [
                [scenery.name[i], scenery.name_kind[i], *scenery.name_point[i].tolist()]
                for i in names.get(cell, none).tolist()
            ],
        }
        out[cell] = msgpack.packb(tile)
    return out


def _column(values: npt.NDArray[Any], dtype: str) -> bytes:
    """A column's bytes. Raises OverflowError where a value does not fit its type."""
    target = np.dtype(dtype)
    if values.size:
        limits = np.iinfo(target)
        if values.min() < limits.min or values.max() > limits.max:
            raise OverflowError(f"a map column of {dtype} holds {values.min()}..{values.max()}: split that shape")
    return values.astype(target).tobytes()


def _by_tile(boxes: I32) -> Mapping[Cell, Indexes]:
    """Which of the boxes [n, 4] (min_x, min_z, max_x, max_z) touch which tile."""
    found: dict[Cell, list[int]] = {}
    for i, (x0, z0, x1, z1) in enumerate((boxes // TILE).tolist()):
        for x in range(x0, x1 + 1):
            for z in range(z0, z1 + 1):
                found.setdefault((x, z), []).append(i)
    return {cell: np.array(items, np.int64) for cell, items in found.items()}


def _boxes(points: I32, starts: I32) -> I32:
    """[n, 4]: the bounding boxes of CSR shapes."""
    if starts.shape[0] == 1:
        return np.zeros((0, 4), np.int32)
    begin = starts[:-1]
    return np.concatenate([np.minimum.reduceat(points, begin), np.maximum.reduceat(points, begin)], axis=1)


def _ranges(starts: I32, items: Sequence[int] | Indexes) -> Indexes:
    """All indexes within the CSR ranges of ``items``, in their order."""
    parts = [np.arange(starts[i], starts[i + 1]) for i in items]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
