"""Published states: when does what viewers extrapolate differ too much from what the shard knows?

For each entity and level one state (tick, grid position, velocity, yaw) stands for it on the wire until extrapolating
it is off
by more than the level's tolerance, or it is older than ``age_ticks_max`` while moving. A far renewal renews near too,
so that a
far state always is a near state as well, with the same version. Not responsible for: who sees what.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.jit import jit
from kernels.layout import F64, I32, I64, U8, U32
from protocol.layouts import GRID_PER_M, SHOWN_PER_M, VELOCITY_PER_GRID

I16 = npt.NDArray[np.int16]


class Published(NamedTuple):
    """Published states by row: ``version`` uint32[n] (0: none yet), ``tick`` int64[n], ``p`` int32[n, 3] grid, ``v``
    int16[n, 3]
    wire velocity, ``yaw`` uint8[n]; the same for the far level."""

    version: U32
    tick: I64
    p: I32
    v: I16
    yaw: U8
    far_version: U32
    far_tick: I64
    far_p: I32
    far_v: I16
    far_yaw: U8


def published(rows: int) -> Published:
    """Empty published states for ``rows`` rows."""
    levels = [
        (
            np.zeros(rows, np.uint32),
            np.zeros(rows, np.int64),
            np.zeros((rows, 3), np.int32),
            np.zeros((rows, 3), np.int16),
            np.zeros(rows, np.uint8),
        )
        for _ in range(2)
    ]
    return Published(*levels[0], *levels[1])


@jit
def renew(
    rows: U32,
    pos: F64,
    vel: F64,
    yaw: F64,
    rate_hz: float,
    tick: int,
    tolerance_m: F64,
    yaw_tolerance: I64,
    age_ticks_max: int,
    state: Published,
    out_row: U32,
    out_flags: U8,
) -> int:
    """Renew what is due; returns how many rows were written to ``out_row`` and ``out_flags`` (1: far too).

    Shapes and dtypes: ``rows`` uint32[k] live rows; ``pos`` float64[n, 3] m, ``vel`` float64[n, 3] m/s, ``yaw``
    float64[n] rad by row;
    ``tolerance_m`` float64[2] and ``yaw_tolerance`` int64[2] (1/256 turn) for near and far; ``out_*`` have length >= k.
    A row with version 0 is new: both levels are renewed. Cost: about 15 ns a row. Writes to: ``state``, ``out_*``.
    Deterministic: yes.
    """
    count = 0
    scale = SHOWN_PER_M / rate_hz
    near2 = tolerance_m[0] * tolerance_m[0]
    far2 = tolerance_m[1] * tolerance_m[1]
    turn = 256.0 / (2.0 * np.pi)
    for k in range(len(rows)):
        i = rows[k]
        wire_yaw = np.int64(np.floor(yaw[i] * turn + 0.5)) & 255
        new = state.version[i] == 0
        near_due = new
        far_due = new
        if not new:
            dt = tick - state.tick[i]
            far_dt = tick - state.far_tick[i]
            error2 = 0.0
            far_error2 = 0.0
            moving = False
            far_moving = False
            for a in range(3):
                shown = (VELOCITY_PER_GRID * np.int64(state.p[i, a]) + np.int64(state.v[i, a]) * dt) / SHOWN_PER_M
                error2 += (shown - pos[i, a]) * (shown - pos[i, a])
                shown = (
                    VELOCITY_PER_GRID * np.int64(state.far_p[i, a]) + np.int64(state.far_v[i, a]) * far_dt
                ) / SHOWN_PER_M
                far_error2 += (shown - pos[i, a]) * (shown - pos[i, a])
                moving |= state.v[i, a] != 0
                far_moving |= state.far_v[i, a] != 0
            turned = abs(((wire_yaw - np.int64(state.yaw[i]) + 128) & 255) - 128)
            far_turned = abs(((wire_yaw - np.int64(state.far_yaw[i]) + 128) & 255) - 128)
            near_due = error2 > near2 or turned > yaw_tolerance[0] or (moving and dt >= age_ticks_max)
            far_due = far_error2 > far2 or far_turned > yaw_tolerance[1] or (far_moving and far_dt >= age_ticks_max)
        if not (near_due or far_due):
            continue
        state.version[i] += np.uint32(1)
        if state.version[i] == 0:  # 0 means new
            state.version[i] = np.uint32(1)
        state.tick[i] = tick
        state.yaw[i] = wire_yaw
        for a in range(3):
            state.p[i, a] = np.int32(np.rint(pos[i, a] * GRID_PER_M))
            state.v[i, a] = np.int16(min(max(np.rint(vel[i, a] * scale), -32767.0), 32767.0))
        if far_due:
            state.far_version[i] = state.version[i]
            state.far_tick[i] = tick
            state.far_yaw[i] = wire_yaw
            for a in range(3):
                state.far_p[i, a] = state.p[i, a]
                state.far_v[i, a] = state.v[i, a]
        out_row[count] = i
        out_flags[count] = 1 if far_due else 0
        count += 1
    return count
