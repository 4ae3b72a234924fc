"""Where walls are near enough that a body could meet one: a grid over the world's ground, made once for each map.

Decides how coarse the grid is. Invariant: whoever is in an unmarked cell is at least ``reach_m`` from every wall and
from the world's rim. Heights are left out: a wall counts on every floor. Not responsible for: the walls themselves
(``space``), who is held against the grid (``kernels.waking``).
"""

from functools import lru_cache

import numpy as np

from kernels.waking import Walls
from protocol.layouts import GRID_PER_M
from protocol.place import StaticMap

CELL_M = 4.0
CELLS_MAX = 1 << 22
_KEEP = 4
"""Maps that are remembered: all regions of a process have the same one."""


@lru_cache(maxsize=_KEEP)
def walls_of(ground: StaticMap, reach_m: float) -> Walls:
    """The grid for bodies that come at most ``reach_m`` metres far in a step, half their width included."""
    low, high = ground.bounds[:2] / GRID_PER_M, ground.bounds[2:] / GRID_PER_M
    # A wall's points are sampled twice in a cell and the cells around are marked: 3/4 of a cell is certain.
    size_m = max(CELL_M, reach_m / 0.75)
    while np.prod(np.floor((high - low) / size_m) + 1.0) > CELLS_MAX:
        size_m *= 2.0
    shape = (np.floor((high - low) / size_m) + 1.0).astype(np.int64)
    marked = np.zeros((shape[0] + 2, shape[1] + 2), np.uint8)
    edges = np.concatenate([ground.walk.prism_edge, _rim(low, high)])
    length = np.hypot(edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1])
    pieces = np.ceil(2.0 * length / size_m).astype(np.int64) + 1
    of = np.repeat(np.arange(len(edges)), pieces + 1)
    at = np.arange(len(of)) - np.repeat(np.cumsum(pieces + 1) - (pieces + 1), pieces + 1)
    part = (at / pieces[of])[:, None]
    points = edges[of, :2] * (1.0 - part) + edges[of, 2:] * part
    cells = np.clip(np.floor((points - low) / size_m), -1, shape).astype(np.int64) + 1
    marked[cells[:, 0], cells[:, 1]] = 1
    near = np.zeros(shape, np.uint8)
    for ix in range(3):
        for iz in range(3):
            near |= marked[ix : ix + shape[0], iz : iz + shape[1]]
    return Walls(near.ravel(), low.astype(np.float64), shape, size_m, 0.75 * size_m)


def _rim(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    (x0, z0), (x1, z1) = low, high
    return np.array([[x0, z0, x1, z0], [x1, z0, x1, z1], [x1, z1, x0, z1], [x0, z1, x0, z0]])
