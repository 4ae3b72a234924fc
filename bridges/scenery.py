"""What is drawn and not collided with: trees, lamps, rails, street surfaces, parks, water, names.

Decides what is worth drawing. Invariant: everything is on the grid and within the bounds. Not responsible for: how it
looks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely

from bridges.footprints import grid_ring
from bridges.streets import KIND_OF, Line, on_surface, width_of
from protocol.layouts import GRID_PER_M
from protocol.place import AREA_KINDS, LINE_KINDS, Scenery

SIMPLIFY_M = 0.25
AREA_MIN_M2 = 10.0
RAIL_WIDTH_M = 1.435
NAMES_MAX = 2000

_AREAS = {
    ("leisure", "park"): "park",
    ("leisure", "garden"): "park",
    ("leisure", "pitch"): "grass",
    ("landuse", "grass"): "grass",
    ("landuse", "forest"): "park",
    ("landuse", "recreation_ground"): "grass",
    ("landuse", "basin"): "water",
    ("natural", "water"): "water",
    ("natural", "scrub"): "scrub",
    ("place", "square"): "square",
    ("highway", "pedestrian"): "square",
}
_NAMED = {
    "tourism": {"artwork": "art", "museum": "museum", "gallery": "museum", "attraction": "sight", "hotel": "hotel"},
    "amenity": {"theatre": "theatre", "library": "library", "cinema": "theatre", "place_of_worship": "church"},
    "railway": {"tram_stop": "stop", "station": "stop", "subway_entrance": "stop"},
    "historic": {"memorial": "art", "monument": "art"},
    "place": {"square": "square"},
}


class Shaped(Protocol):
    """An area in metres of the plane."""

    number: int
    shape: Any
    tags: Mapping[str, str]


class Spotted(Protocol):
    """A node in metres of the plane."""

    tags: Mapping[str, str]
    point_m: npt.NDArray[np.float64]


def area_kind(tags: Mapping[str, str]) -> str | None:
    """Kind of a drawn area, or None."""
    return next((kind for (key, value), kind in _AREAS.items() if tags.get(key) == value), None)


def line_kind(tags: Mapping[str, str]) -> str | None:
    """Kind of a drawn line, or None."""
    if not on_surface(tags) or tags.get("area") == "yes":
        return None
    if tags.get("railway") in ("tram", "rail"):
        return tags["railway"]
    return KIND_OF.get(tags.get("highway", ""))


def name_kind(tags: Mapping[str, str]) -> str | None:
    """What a node's name belongs to, or None if it has none worth showing."""
    if "name" not in tags:
        return None
    return next((kinds[tags[key]] for key, kinds in _NAMED.items() if tags.get(key) in kinds), None)


def scenery_of(
    ways: Sequence[Line],
    areas: Sequence[Shaped],
    spots: Sequence[Spotted],
    prism_name: Mapping[int, str],
    bounds_m: tuple[float, float, float, float],
) -> Scenery:
    """Everything that is drawn, cut to the bounds."""
    frame = shapely.box(*bounds_m)
    kinds: list[int] = []
    widths: list[float] = []
    lines: list[npt.NDArray[np.int32]] = []
    streets: dict[str, Any] = {}
    for way in ways:
        kind = line_kind(way.tags)
        if kind is None:
            continue
        line = shapely.LineString(way.point_m)
        for part in shapely.get_parts(shapely.simplify(line, SIMPLIFY_M).intersection(frame)):
            if part.geom_type == "LineString" and part.length > 1.0:
                kinds.append(LINE_KINDS.index(kind))
                widths.append(RAIL_WIDTH_M if kind in ("tram", "rail") else width_of(way.tags))
                lines.append(_grid(np.asarray(part.coords)))
                name = way.tags.get("name")
                if (
                    name
                    and kind not in ("tram", "rail")
                    and (name not in streets or part.length > streets[name].length)
                ):
                    streets[name] = part
    area_kinds: list[int] = []
    rings_of: list[int] = []
    rings: list[npt.NDArray[np.int32]] = []
    for area in areas:
        drawn = area_kind(area.tags)
        shape = shapely.make_valid(shapely.simplify(area.shape, SIMPLIFY_M)).intersection(frame)
        for part in shapely.get_parts(shapely.set_precision(shape, 1 / GRID_PER_M)):
            if drawn is not None and part.geom_type == "Polygon" and part.area >= AREA_MIN_M2:
                whole = shapely.geometry.polygon.orient(part, 1.0)
                area_kinds.append(AREA_KINDS.index(drawn))
                rings_of.append(1 + len(whole.interiors))
                rings += [grid_ring(np.asarray(ring.coords)) for ring in (whole.exterior, *whole.interiors)]
    inside = [spot for spot in spots if frame.contains(shapely.Point(spot.point_m))]
    named = [(spot.tags["name"], kind, spot.point_m) for spot in inside if (kind := name_kind(spot.tags))]
    middles = {name: np.asarray(part.interpolate(0.5, normalized=True).coords[0]) for name, part in streets.items()}
    named += [(name, "street", at) for name, at in middles.items()]
    named = named[:NAMES_MAX]
    return Scenery(
        tree=_points([spot.point_m for spot in inside if spot.tags.get("natural") == "tree"]),
        lamp=_points([spot.point_m for spot in inside if spot.tags.get("highway") == "street_lamp"]),
        line_kind=np.array(kinds, np.uint8),
        line_width_m=np.array(widths, np.float32),
        line_start=_starts([len(line) for line in lines]),
        line_point=np.concatenate(lines) if lines else np.zeros((0, 2), np.int32),
        area_kind=np.array(area_kinds, np.uint8),
        area_ring_start=_starts(rings_of),
        area_point_start=_starts([len(ring) for ring in rings]),
        area_point=np.concatenate(rings) if rings else np.zeros((0, 2), np.int32),
        name_point=_points([at for _, _, at in named]),
        name=tuple(name for name, _, _ in named),
        name_kind=tuple(kind for _, kind, _ in named),
        prism_name=dict(prism_name),
    )


def _grid(points_m: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    return np.rint(points_m * GRID_PER_M).astype(np.int32)


def _points(points_m: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.int32]:
    return _grid(np.array(points_m, float).reshape(-1, 2))


def _starts(counts: Sequence[int]) -> npt.NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(np.array(counts, int))]).astype(np.int32)
