"""Reads the map's index and tiles (``protocol/MAP.md``) and fills the ground that a client's body walks on.

Decides what a client takes from the map. Invariants: bad bytes raise MapError and change nothing; prisms are kept by
key. Not responsible for: fetching over HTTP, drawing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from client.walk import Ground, Point

FORMAT = 1


class MapError(ValueError):
    """An index or tile that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class MapIndex:
    """The map's index. Lengths in metres; ``tiles``: those that are not empty."""

    version: str
    title: str
    attribution: str
    anchor: tuple[float, float, float]
    grid_per_m: int
    bounds_m: tuple[float, float, float, float]
    tile_m: float
    path: str
    tiles: frozenset[tuple[int, int]]

    def tile_at(self, x: float, z: float) -> tuple[int, int]:
        """The tile that holds a place (metres)."""
        return int(x // self.tile_m), int(z // self.tile_m)

    def tiles_near(self, x: float, z: float, radius_m: float) -> list[tuple[int, int]]:
        """Listed tiles that touch the square of ``radius_m`` around (x, z)."""
        x0, z0 = self.tile_at(x - radius_m, z - radius_m)
        x1, z1 = self.tile_at(x + radius_m, z + radius_m)
        return [(i, k) for i in range(x0, x1 + 1) for k in range(z0, z1 + 1) if (i, k) in self.tiles]

    def tile_path(self, x: int, z: int) -> str:
        """URL path of a tile."""
        return self.path.replace("{x}", str(x)).replace("{z}", str(z))

    def ground(self) -> Ground:
        """An empty ground with the map's bounds, to add tiles to."""
        return Ground(self.bounds_m)


@dataclass(frozen=True, slots=True)
class Prism:
    """A prism of the map: metres, rings of (x, z) without the repeated point."""

    key: int
    bottom_m: float
    top_m: float
    rings: list[list[Point]]


def decode_index(data: bytes) -> MapIndex:
    """Raises MapError if ``data`` is not an index of this format."""
    try:
        raw = json.loads(data)
        if raw["format"] != FORMAT:
            raise MapError(f"map index of format {raw['format']!r}, this client reads {FORMAT}")
        unit = int(raw["grid_per_m"])
        latitude, longitude, height_m = (float(each) for each in raw["anchor"])
        min_x, min_z, max_x, max_z = (int(each) / unit for each in raw["bounds"])
        return MapIndex(
            version=str(raw["version"]),
            title=str(raw["title"]),
            attribution=str(raw["attribution"]),
            anchor=(latitude, longitude, height_m),
            grid_per_m=unit,
            bounds_m=(min_x, min_z, max_x, max_z),
            tile_m=int(raw["tile"]) / unit,
            path=str(raw["path"]),
            tiles=frozenset((int(x), int(z)) for x, z, _ in raw["tiles"]),
        )
    except MapError:
        raise
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise MapError(f"not a map index: {error!r}") from error


def decode_prisms(data: bytes, grid_per_m: int) -> list[Prism]:
    """The prisms of a tile. Raises MapError if ``data`` is not a tile of this format."""
    try:
        raw = msgpack.unpackb(data, strict_map_key=False)
        if raw["format"] != FORMAT:
            raise MapError(f"map tile of format {raw['format']!r}, this client reads {FORMAT}")
        return list(_prisms(raw, grid_per_m))
    except MapError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, msgpack.UnpackException) as error:
        raise MapError(f"not a map tile: {error!r}") from error


def add_tile(ground: Ground, data: bytes, grid_per_m: int) -> int:
    """Add a tile's prisms to the ground; how many were new. Raises MapError for bad bytes, and then adds nothing."""
    prisms = decode_prisms(data, grid_per_m)
    return sum(ground.add(each.key, each.bottom_m, each.top_m, each.rings) for each in prisms)


def _prisms(raw: dict[str, Any], unit: int) -> Iterator[Prism]:
    keys = np.frombuffer(raw["prism_key"], "<u4").tolist()
    bottoms = (np.frombuffer(raw["prism_bottom"], "<i4") / unit).tolist()
    tops = (np.frombuffer(raw["prism_top"], "<i4") / unit).tolist()
    ring_counts = np.frombuffer(raw["prism_rings"], "<u2").tolist()
    point_counts = np.frombuffer(raw["ring_points"], "<u2").tolist()
    points = [(x, z) for x, z in (np.frombuffer(raw["ring_xz"], "<i4").reshape(-1, 2) / unit).tolist()]
    if sum(ring_counts) != len(point_counts) or sum(point_counts) != len(points):
        raise MapError("map tile: counts of rings and points do not add up")
    if any(count < 3 for count in point_counts) or any(count < 1 for count in ring_counts):
        raise MapError("map tile: a prism without rings, or a ring of less than 3 points")
    ring_at = point_at = 0
    for key, bottom_m, top_m, count in zip(keys, bottoms, tops, ring_counts, strict=True):
        if not bottom_m < top_m:
            raise MapError(f"map tile: prism {key} has no height")
        rings = []
        for _ in range(count):
            rings.append(points[point_at : point_at + point_counts[ring_at]])
            point_at += point_counts[ring_at]
            ring_at += 1
        yield Prism(key, bottom_m, top_m, rings)
