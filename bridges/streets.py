"""Ways that people walk become one connected graph, clear of buildings.

Decides what is walkable, how wide it is, and where people appear. Invariants: every point of an edge, and of its
width to both sides, is at least CLEAR_M from each footprint; the graph is one piece. Not responsible for: who walks
there.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import shapely

from bridges.footprints import metres, solid_shapes
from protocol.place import STREET_KINDS, StaticMap, StreetGraph
from protocol.walking import HEIGHT, RADIUS

F64 = npt.NDArray[np.float64]

CLEAR_M = 0.42
RIM_M = 2.0
SPAWN_GAP_M = 4.0
SPAWNS_MAX = 2048
LENGTH_MIN_M = 0.01

KIND_OF = {
    "path": "path",
    "footway": "footway",
    "steps": "steps",
    "pedestrian": "pedestrian",
    "living_street": "pedestrian",
    "cycleway": "cycleway",
    "service": "service",
    "track": "path",
    "residential": "street",
    "unclassified": "street",
    "tertiary": "main",
    "tertiary_link": "main",
    "secondary": "main",
    "secondary_link": "main",
    "primary": "main",
    "primary_link": "main",
}
WIDTH_M = {
    "path": 1.5,
    "footway": 2.5,
    "steps": 2.5,
    "pedestrian": 6.0,
    "cycleway": 3.0,
    "service": 4.0,
    "street": 7.0,
    "main": 12.0,
}
_HIDDEN = frozenset({"yes", "building_passage", "culvert"})
_CLOSED = frozenset({"no", "private"})

assert CLEAR_M > RADIUS
assert set(WIDTH_M) == set(STREET_KINDS)


class Line(Protocol):
    """A way in metres of the plane."""

    nodes: list[int]
    tags: Mapping[str, str]
    point_m: F64


def on_surface(tags: Mapping[str, str]) -> bool:
    """Whether a way is in the open, at ground level."""
    hidden = tags.get("tunnel") in _HIDDEN or tags.get("indoor") == "yes" or tags.get("covered") == "yes"
    return not hidden and not tags.get("layer", "0").startswith("-") and not tags.get("level", "0").startswith("-")


def walkable(tags: Mapping[str, str]) -> bool:
    """Whether people walk along a way with these tags. On main roads they do not: pavements are ways of their own."""
    kind = KIND_OF.get(tags.get("highway", ""))
    if kind is None or kind == "main" or not on_surface(tags) or tags.get("area") == "yes":
        return False
    return tags.get("foot", "yes") not in _CLOSED and not (tags.get("access") in _CLOSED and "foot" not in tags)


def width_of(tags: Mapping[str, str]) -> float:
    """Width in metres: as tagged, else what is usual for the kind."""
    return metres(tags.get("width")) or WIDTH_M[KIND_OF[tags["highway"]]]


def streets_of(ways: Sequence[Line], ground: StaticMap, bounds_m: tuple[float, float, float, float]) -> StreetGraph:
    """The largest connected piece of all edges that are clear of buildings and within the bounds."""
    number: dict[int, int] = {}
    points: list[F64] = []
    edges: dict[tuple[int, int], tuple[float, int]] = {}
    for way in ways:
        kind = STREET_KINDS.index(KIND_OF[way.tags["highway"]])
        ids = []
        for node, point in zip(way.nodes, way.point_m, strict=True):
            if node not in number:
                number[node] = len(points)
                points.append(point)
            ids.append(number[node])
        for a, b in pairwise(ids):
            if a != b:
                edges.setdefault((min(a, b), max(a, b)), (width_of(way.tags), kind))
    node_m = np.array(points).reshape(-1, 2)
    edge = np.array(list(edges), np.int32).reshape(-1, 2)
    width_m = np.array([width for width, _ in edges.values()])
    kind_of = np.array([kind for _, kind in edges.values()], np.uint8)

    low = np.array(bounds_m[:2]) + RIM_M
    high = np.array(bounds_m[2:]) - RIM_M
    inside = np.all((node_m >= low) & (node_m <= high), axis=1)
    long = np.linalg.norm(node_m[edge[:, 0]] - node_m[edge[:, 1]], axis=1) > LENGTH_MIN_M
    room_m = _room(node_m[edge], ground)
    keep = inside[edge].all(axis=1) & long & (room_m >= CLEAR_M)
    edge, width_m, kind_of, room_m = edge[keep], width_m[keep], kind_of[keep], room_m[keep]
    keep = _largest_piece(edge, node_m.shape[0])
    edge, width_m, kind_of, room_m = edge[keep], width_m[keep], kind_of[keep], room_m[keep]
    used, renumbered = np.unique(edge, return_inverse=True)
    return StreetGraph(
        node_m=node_m[used],
        edge=renumbered.reshape(-1, 2).astype(np.int32),
        width_m=np.minimum(width_m, 2.0 * (room_m - CLEAR_M)).astype(np.float32),
        kind=kind_of,
    )


def _room(ends_m: F64, ground: StaticMap) -> F64:
    """[e]: how far each straight edge [e, 2, 2] is from the nearest footprint (0: it crosses one)."""
    room_m = np.full(ends_m.shape[0], np.inf)
    solids = solid_shapes(ground, HEIGHT)
    if solids and ends_m.shape[0]:
        tree = shapely.STRtree(solids)
        (nearest, _), distance = tree.query_nearest(
            shapely.linestrings(ends_m), return_distance=True, all_matches=False
        )
        room_m[nearest] = distance
    return room_m


def _largest_piece(edge: npt.NDArray[np.int32], nodes: int) -> npt.NDArray[np.bool_]:
    """[e]: which edges belong to the connected piece with most edges (labels flow along edges until they rest)."""
    label = np.arange(nodes)
    while True:
        least = np.minimum(label[edge[:, 0]], label[edge[:, 1]])
        new = label.copy()
        np.minimum.at(new, edge[:, 0], least)
        np.minimum.at(new, edge[:, 1], least)
        new = new[new]
        if np.array_equal(new, label):
            break
        label = new
    piece = label[edge[:, 0]]
    largest: npt.NDArray[np.bool_] = piece == (np.bincount(piece).argmax() if piece.size else 0)
    return largest


def spawns_of(streets: StreetGraph) -> F64:
    """[s, 2] points on the streets, SPAWN_GAP_M or more apart, nearest to the origin first."""
    a = streets.node_m[streets.edge[:, 0]]
    b = streets.node_m[streets.edge[:, 1]]
    pieces = np.ceil(streets.length_m / SPAWN_GAP_M).astype(int)
    item = np.repeat(np.arange(pieces.shape[0]), pieces)
    nth = np.arange(item.shape[0]) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    points = a[item] + (b - a)[item] * ((nth + 0.5) / pieces[item])[:, None]
    taken: dict[tuple[int, int], list[F64]] = {}
    out: list[F64] = []
    for point in points[np.argsort(np.sum(points * points, axis=1), kind="stable")]:
        cx, cz = int(point[0] // SPAWN_GAP_M), int(point[1] // SPAWN_GAP_M)
        near = [at for ix in (cx - 1, cx, cx + 1) for iz in (cz - 1, cz, cz + 1) for at in taken.get((ix, iz), ())]
        if all(np.sum((at - point) ** 2) >= SPAWN_GAP_M**2 for at in near):
            taken.setdefault((cx, cz), []).append(point)
            out.append(point)
            if len(out) == SPAWNS_MAX:
                break
    return np.array(out).reshape(-1, 2)
