"""Where nobody may stand, worked out apart from the walking rule: the place's prisms as shapely polygons."""

from pathlib import Path

import numpy as np
import shapely

from bridges.places import load_place
from protocol.layouts import GRID_PER_M
from protocol.walking import HEIGHT, STEP
from tests.e2e.served import ROOT

CACHE: Path = ROOT / ".isthmus"
Point = tuple[float, float]


class Footprints:
    """Those prisms that somebody on the ground cannot walk through or climb."""

    def __init__(self) -> None:
        ground = load_place("helsinki", CACHE).ground
        walls = (ground.bottom < HEIGHT * GRID_PER_M) & (ground.top > STEP * GRID_PER_M)
        polygons = []
        for prism in np.flatnonzero(walls).tolist():
            rings = [
                ground.point[ground.point_start[ring] : ground.point_start[ring + 1]] / GRID_PER_M
                for ring in range(int(ground.ring_start[prism]), int(ground.ring_start[prism + 1]))
            ]
            polygons.append(shapely.Polygon(rings[0], rings[1:]))
        self._tree = shapely.STRtree(polygons)

    def gap(self, at: Point) -> float:
        """Metres from a point to the nearest footprint; 0 inside one."""
        point = shapely.Point(at)
        nearest = self._tree.nearest(point)
        assert nearest is not None
        return float(shapely.distance(point, self._tree.geometries[nearest]))

    def nearest_wall(self, at: Point) -> Point:
        """The nearest point of a footprint."""
        point = shapely.Point(at)
        nearest = self._tree.nearest(point)
        assert nearest is not None
        ends = shapely.get_coordinates(shapely.shortest_line(point, self._tree.geometries[nearest]))
        return float(ends[1, 0]), float(ends[1, 1])
