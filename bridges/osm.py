"""Imports an OpenStreetMap extract (.osm.pbf) as a :class:`protocol.place.Place`.

Decides which features of OpenStreetMap are read and what they mean here; geometry is made into ground, streets and
scenery by ``footprints``, ``streets`` and ``scenery``. Invariant: the same file and options give the same place. Not
responsible for: finding and caching (``places``), tiles (``tiles``). Tags as described in the OpenStreetMap wiki:
Simple 3D Buildings, Key:highway, Key:layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import osmium
import shapely

from bridges.footprints import building_height_m, ground_of
from bridges.plane import Plane
from bridges.scenery import area_kind, line_kind, name_kind, scenery_of
from bridges.streets import spawns_of, streets_of, walkable
from protocol.place import Place, PlaceError

ATTRIBUTION = "© OpenStreetMap contributors (ODbL)"

F64 = npt.NDArray[np.float64]
Tags = Mapping[str, str]


@dataclass
class Way:
    """An open or closed line: node ids, tags and, once projected, points [n, 2] (x, z metres)."""

    nodes: list[int]
    degrees: list[tuple[float, float]]
    tags: Tags
    point_m: F64 = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass
class Area:
    """A multipolygon with its tags; ``shape`` in degrees, then in metres of the plane."""

    number: int
    shape: Any
    tags: Tags


@dataclass
class Spot:
    """A tagged node."""

    degrees: tuple[float, float]
    tags: Tags
    point_m: F64 = field(default_factory=lambda: np.zeros(2))


@dataclass
class Features:
    """What one pass over the file collects."""

    box: tuple[float, float, float, float]
    """west, south, east, north in degrees."""
    buildings: list[Area] = field(default_factory=list)
    areas: list[Area] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)


def import_osm(path: Path, title: str, anchor: tuple[float, float] | None = None) -> Place:
    """The place that the file at ``path`` shows. ``anchor``: latitude, longitude; by default its box's middle.

    Raises PlaceError if the file cannot be read or shows no place.
    """
    features = read(path)
    west, south, east, north = features.box
    if anchor is None:
        anchor = (round((south + north) / 2, 5), round((west + east) / 2, 5))
    plane = Plane(*anchor)
    _project(features, plane)
    corners = plane.to_plane(np.array([[west, south], [east, south], [east, north], [west, north]]))
    bounds_m = (
        float(np.floor(corners[:, 0].min())),
        float(np.floor(corners[:, 1].min())),
        float(np.ceil(corners[:, 0].max())),
        float(np.ceil(corners[:, 1].max())),
    )
    ground, prism_name = ground_of(features.buildings, bounds_m)
    streets = streets_of([way for way in features.ways if walkable(way.tags)], ground, bounds_m)
    return Place(
        title=title,
        anchor=(anchor[0], anchor[1], 0.0),
        attribution=ATTRIBUTION,
        ground=ground,
        streets=streets,
        spawn_m=spawns_of(streets),
        scenery=scenery_of(features.ways, features.areas, features.spots, prism_name, bounds_m),
    )


def read(path: Path) -> Features:
    """All features of the file that are used. Raises PlaceError if it cannot be read or has no extent."""
    try:
        processor = osmium.FileProcessor(str(path)).with_locations().with_areas()
        header = processor.header.box()
        found = Features(_box(header) if header.valid() else (np.inf, np.inf, -np.inf, -np.inf))
        wkb = osmium.geom.WKBFactory()
        for thing in processor:
            if thing.tags:
                _collect(found, thing, wkb)
    except (RuntimeError, OSError) as error:
        raise PlaceError(f"{path} cannot be read as OpenStreetMap data: {error}") from error
    if not found.box[0] < found.box[2]:
        if not found.buildings:
            raise PlaceError(f"{path} has neither a bounding box nor buildings: give an extract of a built-up place")
        west, south, east, north = shapely.total_bounds([area.shape for area in found.buildings])
        found.box = (float(west), float(south), float(east), float(north))
    return found


def _box(box: Any) -> tuple[float, float, float, float]:
    return box.bottom_left.lon, box.bottom_left.lat, box.top_right.lon, box.top_right.lat


def _collect(found: Features, thing: Any, wkb: Any) -> None:
    """Keep one object of the file if it is of a kind that is used."""
    tags = dict(thing.tags)
    if thing.is_node():
        if name_kind(tags) or tags.get("natural") == "tree" or tags.get("highway") == "street_lamp":
            found.spots.append(Spot((thing.location.lon, thing.location.lat), tags))
    elif thing.is_way():
        if line_kind(tags) is not None or walkable(tags):
            placed = [node for node in thing.nodes if node.location.valid()]
            if len(placed) >= 2:
                found.ways.append(Way([n.ref for n in placed], [(n.lon, n.lat) for n in placed], tags))
    elif thing.is_area():
        wanted = found.buildings if building_height_m(tags) is not None else found.areas
        if wanted is found.buildings or area_kind(tags) is not None:
            try:
                shape = shapely.from_wkb(bytes.fromhex(wkb.create_multipolygon(thing)))
            except (RuntimeError, shapely.errors.ShapelyError):
                return  # a ring that does not close at the extract's edge: no area can be told
            wanted.append(Area(thing.id, shape, tags))


def _project(features: Features, plane: Plane) -> None:
    """Fill in all metres, in few calls of the projection."""
    areas = features.buildings + features.areas
    for area, shape in zip(areas, shapely.transform([a.shape for a in areas], plane.to_plane), strict=True):
        area.shape = shape
    degrees = [at for way in features.ways for at in way.degrees] + [spot.degrees for spot in features.spots]
    points = plane.to_plane(np.array(degrees, float).reshape(-1, 2))
    at = 0
    for way in features.ways:
        way.point_m = points[at : at + len(way.degrees)]
        at += len(way.degrees)
    for spot in features.spots:
        spot.point_m = points[at]
        at += 1
