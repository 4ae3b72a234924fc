"""The walker's constants and the index of the static world that a walk step reads (WALKING.md §1, §2).

Decides the figures and the array layout that the server's kernel and the clients share. Invariants: a body's measures
are multiples of 1/128 m, so that heights compare exactly. Not responsible for: the step itself (``kernels.walk``,
``client.walk``), building the index (``protocol.place``).
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

RADIUS: Final = 0.3125
HEIGHT: Final = 1.8125
STEP: Final = 0.40625
WALK: Final = 3.0
RUN: Final = 6.0
ACCEL_GROUND: Final = 20.0
ACCEL_AIR: Final = 4.0
JUMP: Final = 4.0
GRAVITY: Final = 9.81
FALL: Final = 40.0
TOUCH: Final = RADIUS - 2.0**-20
FIT: Final = RADIUS - 2.0**-10
MOVE: Final = 0.15625
REACH: Final = 0.25
PUSHES: Final = 8
SUBMOVES: Final = 4
PUSH_MAX_M: Final = 0.5

CELL_M: Final = 4.0
MARGIN_M: Final = 0.75
"""One cell lists every edge within this of it: more than a sub-move can meet from a start in the cell."""

FLAG_ON_GROUND: Final = 1

assert RADIUS + REACH < MARGIN_M
assert REACH < FIT < TOUCH < RADIUS
assert SUBMOVES * MOVE > PUSH_MAX_M


class WalkMap(NamedTuple):
    """Arrays that a walk kernel reads: edges copied into the order of the grid's cells, and prisms.

    Cell (ix, iz) has number ``ix * cells_z + iz`` and covers CELL_M metres from ``bounds``' minimum; places
    outside of the grid are clamped to its rim. ``*_start`` are CSR: the items of cell c are ``[start[c], start[c +
    1])``.
    """

    bounds: npt.NDArray[np.float64]
    """min_x, min_z, max_x, max_z in metres."""
    cells_x: int
    cells_z: int
    cell_edge_start: npt.NDArray[np.int32]
    cell_edge: npt.NDArray[np.float64]
    """[k, 6]: ax, az, bx, bz, bottom, top of the edges within MARGIN_M of the cell."""
    cell_prism_start: npt.NDArray[np.int32]
    cell_prism: npt.NDArray[np.int32]
    """Prisms whose bounding box touches the cell."""
    prism_bottom: npt.NDArray[np.float64]
    prism_top: npt.NDArray[np.float64]
    prism_edge_start: npt.NDArray[np.int32]
    prism_edge: npt.NDArray[np.float64]
    """[e, 4]: ax, az, bx, bz of all edges of all rings, by prism."""
