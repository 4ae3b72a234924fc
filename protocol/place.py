"""A place: the static ground of a world, as a shard and a map server need it.

Decides how a place looks in memory and in bytes. Invariants: footprints and heights are whole grid units (1/128 m),
so every reader collides with the same numbers; rings are closed implicitly, outer ones positive, holes negative
(WALKING.md §2); arrays are never changed after construction. Not responsible for: where places come from
(``bridges``), walking on them (``kernels.walk``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final, Self

import msgpack
import numpy as np
import numpy.typing as npt

from protocol.layouts import GRID_PER_M
from protocol.walking import CELL_M, MARGIN_M, WalkMap

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]

FORMAT: Final = 1
CELLS_MAX: Final = 1 << 24


class PlaceError(ValueError):
    """A place that cannot be used, or bytes that are none; the text says which part and why."""


def _empty(dtype: str, *shape: int) -> Any:
    return np.zeros(shape or (0,), dtype)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise PlaceError(what)


def _require_starts(starts: npt.NDArray[Any], count: int, total: int, name: str) -> None:
    _require(starts.shape == (count + 1,), f"{name}: expected {count + 1} starts, got shape {starts.shape}")
    good = int(starts[0]) == 0 and int(starts[-1]) == total and bool(np.all(np.diff(starts) >= 0))
    _require(good, f"{name}: starts must ascend from 0 to {total}")


@dataclass(frozen=True, eq=False)
class StaticMap:
    """Prisms that nobody walks through, as columns (P prisms, R rings, N points); lengths in grid units of 1/128 m.

    Raises :class:`PlaceError` where the arrays contradict each other.
    """

    bounds: I32
    """[4]: min_x, min_z, max_x, max_z; bodies stay within."""
    key: U32 = field(default_factory=lambda: _empty("<u4"))
    """[P]: names a prism for ever within one version of the map."""
    bottom: I32 = field(default_factory=lambda: _empty("<i4"))
    top: I32 = field(default_factory=lambda: _empty("<i4"))
    ring_start: I32 = field(default_factory=lambda: _empty("<i4", 1))
    """[P + 1]: the rings of prism p are ``[ring_start[p], ring_start[p + 1])``."""
    point_start: I32 = field(default_factory=lambda: _empty("<i4", 1))
    """[R + 1]: the points of ring r."""
    point: I32 = field(default_factory=lambda: _empty("<i4", 0, 2))
    """[N, 2]: x, z."""

    def __post_init__(self) -> None:
        prisms = self.key.shape[0]
        rings = self.point_start.shape[0] - 1
        _require(self.bounds.shape == (4,), f"bounds: expected 4 numbers, got shape {self.bounds.shape}")
        _require(
            bool(self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]),
            f"bounds: min must be below max, got {self.bounds.tolist()}",
        )
        _require(self.bottom.shape == self.top.shape == (prisms,), "bottom, top: one for each key")
        _require(bool(np.all(self.bottom < self.top)), "each prism's bottom must be below its top")
        _require(np.unique(self.key).shape[0] == prisms, "keys of prisms must differ")
        _require(self.point.ndim == 2 and self.point.shape[1] == 2, f"point: expected [N, 2], got {self.point.shape}")
        _require_starts(self.ring_start, prisms, rings, "ring_start")
        _require_starts(self.point_start, rings, self.point.shape[0], "point_start")
        _require(bool(np.all(np.diff(self.ring_start) >= 1)), "each prism needs a ring")
        _require(bool(np.all(np.diff(self.point_start) >= 3)), "each ring needs at least 3 points")
        edge = self._edges
        _require(bool(np.all(np.any(edge[:, :2] != edge[:, 2:], axis=1))), "a ring repeats a point")

    def __len__(self) -> int:
        """How many prisms there are."""
        return int(self.key.shape[0])

    @cached_property
    def _edges(self) -> I32:
        """[N, 4]: ax, az, bx, bz in grid units; the edge that starts at each point."""
        following = np.arange(1, self.point.shape[0] + 1)
        if following.size:
            following[self.point_start[1:] - 1] = self.point_start[:-1]
        return np.concatenate([self.point, self.point[following]], axis=1)

    @cached_property
    def prism_of_edge(self) -> I32:
        """[N]: the prism that each point, and the edge that starts there, belongs to."""
        ring = np.repeat(np.arange(self.point_start.shape[0] - 1), np.diff(self.point_start))
        prism: I32 = np.repeat(np.arange(len(self)), np.diff(self.ring_start))[ring].astype(np.int32)
        return prism

    @cached_property
    def prism_bounds(self) -> I32:
        """[P, 4]: min_x, min_z, max_x, max_z of each footprint, grid units."""
        if not len(self):
            return np.zeros((0, 4), np.int32)
        begin = self.point_start[self.ring_start[:-1]]
        low = np.minimum.reduceat(self.point, begin)
        high = np.maximum.reduceat(self.point, begin)
        return np.concatenate([low, high], axis=1)

    @cached_property
    def walk(self) -> WalkMap:
        """The index that walk kernels read. Raises PlaceError if the bounds are too wide for a grid of cells."""
        bounds = self.bounds / GRID_PER_M
        cells_x = int((bounds[2] - bounds[0]) // CELL_M) + 1
        cells_z = int((bounds[3] - bounds[1]) // CELL_M) + 1
        _require(cells_x * cells_z <= CELLS_MAX, f"bounds of {cells_x} x {cells_z} cells of {CELL_M} m are too wide")
        edge = self._edges / GRID_PER_M
        prism = self.prism_of_edge
        bottom = self.bottom / GRID_PER_M
        top = self.top / GRID_PER_M
        edge_box = np.concatenate([np.minimum(edge[:, :2], edge[:, 2:]), np.maximum(edge[:, :2], edge[:, 2:])], axis=1)
        edge_cell, edge_item = _cells_under(edge_box, MARGIN_M, bounds, cells_x, cells_z)
        near = _near_cell(edge[edge_item], edge_cell, bounds, cells_z)
        edge_start, edge_order = _by_cell(edge_cell[near], edge_item[near], cells_x * cells_z)
        prism_cell, prism_item = _cells_under(self.prism_bounds / GRID_PER_M, 0.0, bounds, cells_x, cells_z)
        prism_start, prism_order = _by_cell(prism_cell, prism_item, cells_x * cells_z)
        heights = np.stack([bottom[prism], top[prism]], axis=1)
        return WalkMap(
            bounds=bounds,
            cells_x=cells_x,
            cells_z=cells_z,
            cell_edge_start=edge_start,
            cell_edge=np.ascontiguousarray(np.concatenate([edge, heights], axis=1)[edge_order]),
            cell_prism_start=prism_start,
            cell_prism=prism_order,
            prism_bottom=bottom,
            prism_top=top,
            prism_edge_start=self.point_start[self.ring_start],
            prism_edge=np.ascontiguousarray(edge),
        )


def _cells_under(
    box: F64, margin_m: float, bounds: F64, cells_x: int, cells_z: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All pairs (cell, item) where an item's box [n, 4], widened by ``margin_m``, touches a cell."""
    low = np.floor((box[:, :2] - margin_m - bounds[:2]) / CELL_M).astype(np.int64)
    high = np.floor((box[:, 2:] + margin_m - bounds[:2]) / CELL_M).astype(np.int64)
    last = np.array([cells_x - 1, cells_z - 1])
    low = np.clip(low, 0, last)
    high = np.clip(high, 0, last)
    wide = high - low + 1
    count = wide[:, 0] * wide[:, 1]
    item = np.repeat(np.arange(box.shape[0]), count)
    nth = np.arange(item.shape[0]) - np.repeat(np.cumsum(count) - count, count)
    ix = low[item, 0] + nth // wide[item, 1]
    iz = low[item, 1] + nth % wide[item, 1]
    return ix * cells_z + iz, item


def _near_cell(edge: F64, cell: npt.NDArray[np.int64], bounds: F64, cells_z: int) -> npt.NDArray[np.bool_]:
    """Which edges [n, 4] come within MARGIN_M of the circle around their cell: a long slanted one misses most of its
    box."""
    centre = np.stack([cell // cells_z, cell % cells_z], axis=1) * CELL_M + (bounds[:2] + CELL_M / 2)
    along = edge[:, 2:] - edge[:, :2]
    t = np.sum((centre - edge[:, :2]) * along, axis=1) / np.sum(along * along, axis=1)
    gap = centre - (edge[:, :2] + along * np.clip(t, 0.0, 1.0)[:, None])
    reach = CELL_M * 0.7072 + MARGIN_M
    near: npt.NDArray[np.bool_] = np.sum(gap * gap, axis=1) <= reach * reach
    return near


def _by_cell(cell: npt.NDArray[np.int64], item: npt.NDArray[np.int64], cells: int) -> tuple[I32, I32]:
    """CSR of pairs (cell, item): starts [cells + 1] and items in the order of cells."""
    order = np.argsort(cell, kind="stable")
    start = np.zeros(cells + 1, np.int32)
    np.cumsum(np.bincount(cell, minlength=cells), out=start[1:])
    return start, item[order].astype(np.int32)


@dataclass(frozen=True, eq=False)
class StreetGraph:
    """Where inhabitants walk: nodes (V) and straight edges (E), one connected piece. Raises PlaceError if
    inconsistent."""

    node_m: F64 = field(default_factory=lambda: _empty("<f8", 0, 2))
    """[V, 2]: x, z in metres."""
    edge: I32 = field(default_factory=lambda: _empty("<i4", 0, 2))
    """[E, 2]: the nodes at both ends."""
    width_m: F32 = field(default_factory=lambda: _empty("<f4"))
    """[E]: how wide the street is where walls leave it free: a body fits anywhere within half of it, to both sides."""
    kind: U8 = field(default_factory=lambda: _empty("u1"))
    """[E]: number in ``STREET_KINDS``."""

    def __post_init__(self) -> None:
        edges = self.edge.shape[0]
        _require(
            self.node_m.ndim == 2 and self.node_m.shape[1] == 2, f"node_m: expected [V, 2], got {self.node_m.shape}"
        )
        _require(self.edge.shape == (edges, 2), f"edge: expected [E, 2], got {self.edge.shape}")
        _require(self.width_m.shape == self.kind.shape == (edges,), "width_m, kind: one for each edge")
        if edges:
            inside = 0 <= int(self.edge.min()) and int(self.edge.max()) < self.node_m.shape[0]
            _require(inside, f"edge: nodes must be 0..{self.node_m.shape[0] - 1}")

    @cached_property
    def length_m(self) -> F64:
        """[E] length of each edge."""
        length: F64 = np.linalg.norm(self.node_m[self.edge[:, 1]] - self.node_m[self.edge[:, 0]], axis=1)
        return length

    @cached_property
    def neighbours(self) -> tuple[I32, I32, I32]:
        """CSR of the graph: starts [V + 1], then for each half-edge the node at its far end and its edge, [2E] each."""
        near = np.concatenate([self.edge[:, 0], self.edge[:, 1]])
        far = np.concatenate([self.edge[:, 1], self.edge[:, 0]])
        number = np.tile(np.arange(self.edge.shape[0], dtype=np.int32), 2)
        order = np.argsort(near, kind="stable")
        start = np.zeros(self.node_m.shape[0] + 1, np.int32)
        np.cumsum(np.bincount(near, minlength=self.node_m.shape[0]), out=start[1:])
        return start, far[order].astype(np.int32), number[order]


STREET_KINDS: Final = ("path", "footway", "steps", "pedestrian", "cycleway", "service", "street", "main")
AREA_KINDS: Final = ("park", "grass", "water", "square", "scrub")
LINE_KINDS: Final = ("tram", "rail", "path", "footway", "steps", "pedestrian", "cycleway", "service", "street", "main")


@dataclass(frozen=True, eq=False)
class Scenery:
    """What is drawn but not collided with; points are int32 [n, 2] (x, z) in grid units, shapes are CSR over them."""

    tree: I32 = field(default_factory=lambda: _empty("<i4", 0, 2))
    lamp: I32 = field(default_factory=lambda: _empty("<i4", 0, 2))
    line_kind: U8 = field(default_factory=lambda: _empty("u1"))
    """[L]: number in ``LINE_KINDS``."""
    line_width_m: F32 = field(default_factory=lambda: _empty("<f4"))
    line_start: I32 = field(default_factory=lambda: _empty("<i4", 1))
    line_point: I32 = field(default_factory=lambda: _empty("<i4", 0, 2))
    area_kind: U8 = field(default_factory=lambda: _empty("u1"))
    """[A]: number in ``AREA_KINDS``."""
    area_ring_start: I32 = field(default_factory=lambda: _empty("<i4", 1))
    area_point_start: I32 = field(default_factory=lambda: _empty("<i4", 1))
    area_point: I32 = field(default_factory=lambda: _empty("<i4", 0, 2))
    name_point: I32 = field(default_factory=lambda: _empty("<i4", 0, 2))
    name: tuple[str, ...] = ()
    name_kind: tuple[str, ...] = ()
    """``building``, ``street``, ``stop``, ``art``, …: what the name belongs to."""
    prism_name: Mapping[int, str] = field(default_factory=dict)
    """Prism key → name, for buildings that have one."""

    def __post_init__(self) -> None:
        _require_starts(self.line_start, self.line_kind.shape[0], self.line_point.shape[0], "line_start")
        rings = self.area_point_start.shape[0] - 1
        _require_starts(self.area_ring_start, self.area_kind.shape[0], rings, "area_ring_start")
        _require_starts(self.area_point_start, rings, self.area_point.shape[0], "area_point_start")
        _require(self.name_point.shape[0] == len(self.name) == len(self.name_kind), "name: a point and kind for each")


@dataclass(frozen=True, eq=False)
class Place:
    """One imported place. ``anchor``: latitude, longitude (degrees, WGS 84), height (m) of the origin; X east, Z
    south."""

    title: str
    anchor: tuple[float, float, float]
    attribution: str
    """Must be shown to whoever sees the place; may be empty."""
    ground: StaticMap
    streets: StreetGraph = field(default_factory=StreetGraph)
    spawn_m: F64 = field(default_factory=lambda: _empty("<f8", 0, 2))
    """[S, 2]: free places (x, z in metres) to enter the world at, in an order that spreads them."""
    scenery: Scenery = field(default_factory=Scenery)

    def __post_init__(self) -> None:
        latitude, longitude, height_m = self.anchor
        _require(
            -90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0 and np.isfinite(height_m),
            f"anchor must be latitude, longitude (degrees), height (m), got {self.anchor}",
        )
        _require(
            self.spawn_m.ndim == 2 and self.spawn_m.shape[1] == 2, f"spawn_m: expected [S, 2], got {self.spawn_m.shape}"
        )

    def encode(self) -> bytes:
        """The place as bytes: msgpack, arrays as [dtype, shape, little-endian bytes]."""
        packed: bytes = msgpack.packb({"format": FORMAT, **_plain(self)})
        return packed

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises PlaceError if ``data`` is not what :meth:`encode` wrote, or was written by another version of it."""
        try:
            raw = msgpack.unpackb(data, strict_map_key=False)
        except (ValueError, msgpack.UnpackException) as error:
            raise PlaceError(f"not a place: {error}") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise PlaceError(f"not a place of format {FORMAT}: import it again")
        try:
            latitude, longitude, height_m = raw["anchor"]
            return cls(
                title=str(raw["title"]),
                anchor=(float(latitude), float(longitude), float(height_m)),
                attribution=str(raw["attribution"]),
                ground=StaticMap(**_arrays(raw["ground"])),
                streets=StreetGraph(**_arrays(raw["streets"])),
                spawn_m=_arrays({"spawn": raw["spawn_m"]})["spawn"],
                scenery=Scenery(**_arrays(raw["scenery"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PlaceError(f"damaged place: {error}") from error


def _plain(value: Any) -> Any:
    """Dataclasses and arrays as what msgpack can write."""
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        return {"array": [little.dtype.str, list(value.shape), np.ascontiguousarray(little).tobytes()]}
    if isinstance(value, (Place, StaticMap, StreetGraph, Scenery)):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return dict(value) if isinstance(value, Mapping) else value


def _arrays(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`_plain` for one dataclass; arrays are read-only views of the bytes."""
    out: dict[str, Any] = {}
    for name, value in raw.items():
        if isinstance(value, dict) and set(value) == {"array"}:
            dtype, shape, data = value["array"]
            out[name] = np.frombuffer(data, np.dtype(dtype)).reshape(shape)
        else:
            out[name] = tuple(value) if isinstance(value, list) else value
    return out
