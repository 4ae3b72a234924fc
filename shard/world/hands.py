"""What hands hold: things follow the hand that holds them, in the phase of motion.

A kind can be held if it has the components ``held_by`` (id of a person, 0: nobody) and ``held_hand`` (1 left, 2 right);
a thing is in a hand while it is attached to its holder, too. Invariants: where the hand is tracked the thing is in it,
in the same tick in which the hand is published; else it stays where it was on the holder. A thing in a hand has the
velocity with which it moved: let go, it flies on. Not responsible for: who may take what (``behaviours.hands``).
"""

import numpy as np
import numpy.typing as npt

from kernels.posing import NEWEST
from protocol.pose_layout import LEFT, POSE_PER_M, RIGHT
from shard.world.components import HELD_BY, HELD_HAND, Registry
from shard.world.table import Table

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def kinds_to_hold(registry: Registry) -> list[int]:
    """Numbers of the kinds that can be held."""
    return [
        n for n, kind in enumerate(registry.kinds, 1) if HELD_BY in kind.components and HELD_HAND in kind.components
    ]


def places(table: Table, rows: I64) -> tuple[F64, npt.NDArray[np.bool_]]:
    """Where head, left and right hand of bodies are, float64[k, 3, 3] metres in the world, and which are tracked,
    bool[k, 3]."""
    p = table.columns["v.p"][rows, :9].reshape(-1, 3, 3) / POSE_PER_M + table.pos[rows][:, None]
    tracked = table.columns["v.tracked"][rows, NEWEST]
    return p, (tracked[:, None] >> np.arange(3) & 1).astype(bool)


def reach(table: Table, kinds: list[int]) -> I64:
    """Put what is in tracked hands where those are (``Attachments.follow`` moves it then); returns all rows that are in
    hands."""
    rows = [table.rows(kind) for kind in kinds]
    held: I64 = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    held = held[table.columns["h.parent"][held] != 0]
    if not len(held):
        return held
    columns = table.columns
    held = held[(columns["c.held_by"][held] == columns["h.parent"][held]) & (columns["c.held_hand"][held] != 0)]
    holder = table.find(columns["h.parent"][held])
    held, holder = held[holder >= 0], holder[holder >= 0]
    hand = np.clip(columns["c.held_hand"][held].astype(np.int64), LEFT, RIGHT)
    where, tracked = places(table, holder)
    k = np.flatnonzero(tracked[np.arange(len(held)), hand])
    x, y, z = (where[k, hand[k]] - table.pos[holder[k]]).T
    cos, sin = np.cos(table.yaw[holder[k]]), np.sin(table.yaw[holder[k]])
    columns["h.offset"][held[k]] = np.stack([x * cos - z * sin, y, x * sin + z * cos], axis=1)
    return held


def note_speed(table: Table, held: I64, speed: F64, before: F64, dt_s: float) -> None:
    """Things in hands moved from ``before`` (float64[n, 3], by row) in ``dt_s``, and had the velocity ``speed``
    (float64[k, 3]): they have the mean of that and of this step's, for a hand is told of in jerks."""
    table.vel[held] = 0.5 * speed + 0.5 * (table.pos[held] - before[held]) / dt_s
