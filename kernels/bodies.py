"""Between the shard's columns and the physics space's buffer: gather before a step, scatter after it.

A body is 6 float64 in the buffer: x, y, angle, vx, vy, turning; the space's (x, y) is our (x, z), its angle is -yaw.
Decides nothing else. Not responsible for: the space (``shard.physics``), walls for walkers (``kernels.walk``).
"""

import numpy as np

from kernels.jit import jit
from kernels.layout import F64, I64, U8

BODY_FLOATS = 6
STATIC = -1
"""In the place of a row: the static body, which stays at the origin."""
SPARE = -2
"""A body that no row has: it rests far outside of every world, apart from the others."""
_AWAY_M = 1e6
_APART_M = 32.0


@jit
def gather(
    order: I64,
    walker: U8,
    pos: F64,
    vel: F64,
    yaw: F64,
    spin: F64,
    before: F64,
    keep: F64,
    speed_max: F64,
    dt: float,
    out: F64,
) -> None:
    """Write bodies into ``out`` float64[b, 6] in the space's order (``order`` int64[b]: rows, STATIC or SPARE).

    Walkers (``walker`` uint8[n]) start from ``before`` float64[n, 3], where they were, with the velocity that takes
    them to ``pos`` in ``dt`` seconds. Others are slowed first: ``keep`` float64[n] is the factor of this step,
    ``speed_max`` float64[n] m/s caps what could pass through a wall. Writes to: ``out``, ``vel``.
    """
    for k in range(len(order)):
        row = order[k]
        if row < 0:
            out[k, :] = 0.0
            if row == SPARE:
                out[k, 0], out[k, 1] = _AWAY_M + _APART_M * k, _AWAY_M
        elif walker[row] != 0:
            out[k, 0] = before[row, 0]
            out[k, 1] = before[row, 2]
            out[k, 2] = 0.0
            out[k, 3] = (pos[row, 0] - before[row, 0]) / dt
            out[k, 4] = (pos[row, 2] - before[row, 2]) / dt
            out[k, 5] = 0.0
        else:
            factor = keep[row]
            speed2 = vel[row, 0] * vel[row, 0] + vel[row, 2] * vel[row, 2]
            if speed2 * factor * factor > speed_max[row] * speed_max[row]:
                factor = speed_max[row] / np.sqrt(speed2)
            vel[row, 0] *= factor
            vel[row, 2] *= factor
            spin[row] *= keep[row]
            out[k, 0] = pos[row, 0]
            out[k, 1] = pos[row, 2]
            out[k, 2] = -yaw[row]
            out[k, 3] = vel[row, 0]
            out[k, 4] = vel[row, 2]
            out[k, 5] = -spin[row]


@jit
def scatter(
    order: I64,
    walker: U8,
    turns: U8,
    sent: F64,
    held: F64,
    pos: F64,
    vel: F64,
    yaw: F64,
    spin: F64,
    dt: float,
    least_m: float,
    out_row: I64,
    out_push: F64,
) -> int:
    """Read bodies back from ``held`` float64[b, 6] (``sent``: what was gathered); returns how many walkers are pushed.

    A walker's push is where the space put it beyond ``pos``, plus what contacts did to its velocity, times ``dt`` (the
    length of the space's last step); pushes of at least ``least_m`` metres go to ``out_row`` int64[b], ``out_push``
    float64[b, 2], walkers' own columns stay. Only bodies with ``turns`` uint8[n] get yaw and spin. A body that came
    back not finite keeps its place and loses its velocity.
    """
    pushed = 0
    for k in range(len(order)):
        row = order[k]
        if row < 0:
            continue
        x = held[k, 0]
        z = held[k, 1]
        vx = held[k, 3]
        vz = held[k, 4]
        if not np.isfinite(x + z + vx + vz + held[k, 2] + held[k, 5]):
            if walker[row] == 0:
                vel[row, :] = 0.0
                spin[row] = 0.0
            continue
        if walker[row] != 0:
            px = x - pos[row, 0] + (vx - sent[k, 3]) * dt
            pz = z - pos[row, 2] + (vz - sent[k, 4]) * dt
            if px * px + pz * pz >= least_m * least_m:
                out_row[pushed] = row
                out_push[pushed, 0] = px
                out_push[pushed, 1] = pz
                pushed += 1
            continue
        pos[row, 0] = x
        pos[row, 2] = z
        vel[row, 0] = vx
        vel[row, 2] = vz
        if turns[row] != 0:
            yaw[row] = -held[k, 2]
            spin[row] = -held[k, 5]
    return pushed
