"""Small static worlds for tests, written in metres."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from client.walk import Ground
from protocol.layouts import GRID_PER_M
from protocol.place import StaticMap


def static_map(bounds_m: Sequence[float], prisms: Sequence[Mapping[str, Any]]) -> StaticMap:
    """A map of prisms ``{bottom_m, top_m, rings}``; keys count from 0."""
    rings = [ring for prism in prisms for ring in prism["rings"]]
    points = np.array([point for ring in rings for point in ring], float).reshape(-1, 2)
    return StaticMap(
        bounds=grid(bounds_m),
        key=np.arange(len(prisms), dtype=np.uint32),
        bottom=grid([prism["bottom_m"] for prism in prisms]),
        top=grid([prism["top_m"] for prism in prisms]),
        ring_start=starts([len(prism["rings"]) for prism in prisms]),
        point_start=starts([len(ring) for ring in rings]),
        point=grid(points),
    )


def ground(bounds_m: Sequence[float], prisms: Sequence[Mapping[str, Any]]) -> Ground:
    """The same world for the plain Python walker."""
    min_x, min_z, max_x, max_z = bounds_m
    out = Ground((min_x, min_z, max_x, max_z))
    for key, prism in enumerate(prisms):
        out.add(key, prism["bottom_m"], prism["top_m"], [[(x, z) for x, z in ring] for ring in prism["rings"]])
    return out


def grid(values: Any) -> Any:
    """Metres as int32 grid units."""
    return np.rint(np.asarray(values, float) * GRID_PER_M).astype(np.int32)


def starts(counts: Sequence[int]) -> Any:
    """CSR starts int32 from counts."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
