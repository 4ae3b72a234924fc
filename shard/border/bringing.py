"""Things that go to somebody across a border: put where that one is, so far inside that region that they cross at once.

Not responsible for: why they go (``behaviours.hands``), the crossing itself (``crossing``).
"""

import numpy as np
import numpy.typing as npt

from shard.border.links import CROSS_M
from shard.state import ShardState

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
INSIDE_M = CROSS_M + 0.1


def bring(state: ShardState, ids: U64, to: U64, beside_m: F64) -> None:
    """Each of these, if it is here, to an entity (a ghost, or one that is here), float64[3] metres beside it."""
    table = state.table
    rows, targets = table.find(ids), table.find(to)
    known = (rows >= 0) & (targets >= 0)
    known[known] = ~table.ghost[rows[known]]
    rows, targets = rows[known], targets[known]
    pos = table.pos[targets] + beside_m
    for neighbour in state.links.neighbours.values():
        there = table.ghost[targets] & (table.columns["g.from"][targets] == neighbour.region)
        x0, z0, x1, z1 = neighbour.square_m
        low, high = [x0 + INSIDE_M, z0 + INSIDE_M], [x1 - INSIDE_M, z1 - INSIDE_M]
        pos[np.ix_(there, [0, 2])] = np.clip(pos[np.ix_(there, [0, 2])], low, high)
    table.pos[rows], table.vel[rows] = pos, 0.0
