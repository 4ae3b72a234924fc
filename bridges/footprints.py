"""Building outlines become prisms on the grid.

Decides which buildings count, how high they are, and how outlines are cleaned. Invariants: every ring is valid,
simple, on the 1/128 m grid, outer rings positive and holes negative. Not responsible for: reading the file, drawing
roofs.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import shapely

from protocol.layouts import GRID_PER_M
from protocol.place import StaticMap

LEVEL_M = 3.2
DEFAULT_LEVELS = 5.0
SMALL_LEVELS = 1.0
SMALL_AREA_M2 = 40.0
AREA_MIN_M2 = 4.0
COURT_MIN_M2 = 6.0
SIMPLIFY_M = 0.1
HEIGHT_MAX_M = 1000.0
NOT_SOLID = frozenset({"no", "roof", "canopy", "bridge", "ruins", "construction", "underground"})

_METRES = re.compile(r"^\s*(\d+(?:[.,]\d+)?)\s*(?:m|metres?|meters?)?\s*$", re.IGNORECASE)
_FEET = re.compile(r"^\s*(\d+)\s*'\s*(?:(\d+)\s*\")?\s*$")


class Outline(Protocol):
    """An area in metres of the plane."""

    number: int
    shape: Any
    tags: Mapping[str, str]


def metres(text: str | None) -> float | None:
    """A length as OpenStreetMap writes it (``12``, ``12.5 m``, ``40'6"``), or None if it is none."""
    if text is None:
        return None
    if found := _METRES.match(text):
        return float(found[1].replace(",", "."))
    if found := _FEET.match(text):
        return (int(found[1]) * 12 + int(found[2] or 0)) * 0.0254
    return None


def building_height_m(tags: Mapping[str, str]) -> tuple[float, float | None] | None:
    """(bottom, top) in metres by the tags, top None if they do not tell; None if this is no solid building."""
    if tags.get("building", "no") in NOT_SOLID or tags.get("location") == "underground":
        return None
    layer = metres(tags.get("layer", "0").lstrip("-")) or 0.0
    if layer and tags["layer"].startswith("-"):
        return None
    bottom = metres(tags.get("min_height"))
    if bottom is None:
        bottom = (metres(tags.get("building:min_level")) or 0.0) * LEVEL_M
    top = metres(tags.get("height"))
    if top is None:
        levels = metres(tags.get("building:levels"))
        if levels is not None and levels > 0:
            top = (levels + (metres(tags.get("roof:levels")) or 0.0) * 0.5) * LEVEL_M
    if top is not None and not bottom < top <= HEIGHT_MAX_M:
        top = None
    return bottom, top


def ground_of(
    buildings: Sequence[Outline], bounds_m: tuple[float, float, float, float]
) -> tuple[StaticMap, dict[int, str]]:
    """All prisms within the bounds (min_x, min_z, max_x, max_z), and the names of those that have one by key."""
    heights: list[tuple[int, int]] = []
    rings_of: list[int] = []
    rings: list[np.ndarray[Any, np.dtype[np.int32]]] = []
    names: dict[int, str] = {}
    frame = shapely.box(*bounds_m)
    for building in sorted(buildings, key=lambda each: each.number):
        span = building_height_m(building.tags)
        if span is None or not building.shape.intersects(frame):
            continue
        for polygon in outlines(building.shape):
            bottom, top = span
            if top is None:
                levels = SMALL_LEVELS if polygon.area < SMALL_AREA_M2 else DEFAULT_LEVELS
                top = bottom + levels * LEVEL_M
            if name := building.tags.get("name"):
                names[len(heights)] = name
            heights.append((round(bottom * GRID_PER_M), max(round(top * GRID_PER_M), round(bottom * GRID_PER_M) + 1)))
            found = [polygon.exterior, *polygon.interiors]
            rings_of.append(len(found))
            rings += [grid_ring(np.asarray(ring.coords)) for ring in found]
    spans = np.array(heights, np.int32).reshape(-1, 2)
    ground = StaticMap(
        bounds=np.rint(np.array(bounds_m) * GRID_PER_M).astype(np.int32),
        key=np.arange(len(heights), dtype=np.uint32),
        bottom=np.ascontiguousarray(spans[:, 0]),
        top=np.ascontiguousarray(spans[:, 1]),
        ring_start=_starts(rings_of),
        point_start=_starts([len(ring) for ring in rings]),
        point=np.concatenate(rings) if rings else np.zeros((0, 2), np.int32),
    )
    return ground, names


def outlines(shape: Any) -> list[Any]:
    """Clean polygons of a shape: simplified, on the grid, valid, tiny pieces and courts dropped, orientation set."""
    clean = shapely.make_valid(shapely.simplify(shape, SIMPLIFY_M, preserve_topology=True))
    snapped = shapely.set_precision(clean, 1 / GRID_PER_M)
    out = []
    for part in shapely.get_parts(snapped):
        if part.geom_type == "Polygon" and part.area >= AREA_MIN_M2:
            courts = [ring for ring in part.interiors if shapely.Polygon(ring).area >= COURT_MIN_M2]
            out.append(shapely.geometry.polygon.orient(shapely.Polygon(part.exterior, courts), 1.0))
    return out


def grid_ring(coordinates: Any) -> np.ndarray[Any, np.dtype[np.int32]]:
    """A closed ring in metres as grid points [n, 2] without the repeated last one."""
    points: np.ndarray[Any, np.dtype[np.int32]] = np.rint(coordinates[:-1] * GRID_PER_M).astype(np.int32)
    return points


def solid_shapes(ground: StaticMap, below_m: float) -> list[Any]:
    """Polygons in metres of all prisms that stand in the way of somebody on the ground who is ``below_m`` tall."""
    shapes = []
    for prism in np.flatnonzero(ground.bottom < below_m * GRID_PER_M):
        first, last = ground.ring_start[prism], ground.ring_start[prism + 1]
        spans = pairwise(ground.point_start[first : last + 1])
        outer, *holes = [ground.point[a:b] / GRID_PER_M for a, b in spans]
        shapes.append(shapely.Polygon(outer, holes))
    return shapes


def _starts(counts: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.concatenate([[0], np.cumsum(np.array(counts, int))]).astype(np.int32)
