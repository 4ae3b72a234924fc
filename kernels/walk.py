"""The walker's rule for many bodies at once, as ``protocol/WALKING.md`` defines it; section numbers are that page's.

Decides where bodies are after commands or pushes. Invariants: bit for bit what the page says, whatever the order of
rows and prisms; a body that overlaps no obstacle never comes to overlap one; no operation but + - * / sqrt and
comparisons. Not responsible for: which commands are due and how much time a client may spend (the shard), building
the map (``protocol.place``).
"""

from math import inf, sqrt

import numpy as np
import numpy.typing as npt

from kernels.jit import jit
from protocol.layouts import BUTTON_JUMP, BUTTON_RUN
from protocol.walking import (
    ACCEL_AIR,
    ACCEL_GROUND,
    CELL_M,
    FALL,
    FIT,
    FLAG_ON_GROUND,
    GRAVITY,
    HEIGHT,
    JUMP,
    MOVE,
    PUSH_MAX_M,
    PUSHES,
    RADIUS,
    REACH,
    RUN,
    STEP,
    SUBMOVES,
    TOUCH,
    WALK,
    WalkMap,
)

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
I8 = npt.NDArray[np.int8]
U8 = npt.NDArray[np.uint8]

_TOUCH2 = TOUCH * TOUCH
_FIT2 = FIT * FIT
_MOVE2 = MOVE * MOVE
_REACH2 = REACH * REACH


@jit
def _cell(ground: WalkMap, x: float, z: float) -> int:
    """Number of the cell that holds (x, z), clamped to the grid's rim."""
    ix = int((x - ground.bounds[0]) / CELL_M)
    iz = int((z - ground.bounds[1]) / CELL_M)
    ix = min(max(ix, 0), ground.cells_x - 1)
    iz = min(max(iz, 0), ground.cells_z - 1)
    return ix * ground.cells_z + iz


@jit
def _nearest(ax: float, az: float, bx: float, bz: float, x: float, z: float) -> tuple[float, float, float]:
    """An edge's nearest point to (x, z) and the squared distance (§2)."""
    ex = bx - ax
    ez = bz - az
    dot = (x - ax) * ex + (z - az) * ez
    len2 = ex * ex + ez * ez
    if dot <= 0.0:
        qx, qz = ax, az
    elif dot >= len2:
        qx, qz = bx, bz
    else:
        t = dot / len2
        qx = ax + t * ex
        qz = az + t * ez
    dx = x - qx
    dz = z - qz
    return qx, qz, dx * dx + dz * dz


@jit
def _inside(ground: WalkMap, prism: int, x: float, z: float) -> bool:
    """Whether (x, z) is within a prism's footprint, by the even-odd rule (§2)."""
    odd = False
    for i in range(ground.prism_edge_start[prism], ground.prism_edge_start[prism + 1]):
        az = ground.prism_edge[i, 1]
        bz = ground.prism_edge[i, 3]
        if (az > z) != (bz > z):
            ax = ground.prism_edge[i, 0]
            if x < ax + ((z - az) / (bz - az)) * (ground.prism_edge[i, 2] - ax):
                odd = not odd
    return odd


@jit
def floor_and_ceiling(ground: WalkMap, x: float, y: float, z: float) -> tuple[float, float]:
    """Heights in metres of what a body with its feet at (x, y, z) would stand on and hit its head at (§2)."""
    lowest = 0.0
    ceil = inf
    cell = _cell(ground, x, z)
    over = y + STEP
    head = y + HEIGHT
    edges = ground.cell_edge
    for i in range(ground.cell_edge_start[cell], ground.cell_edge_start[cell + 1]):
        top = edges[i, 5]
        bottom = edges[i, 4]
        if top <= over:
            if top > lowest and _nearest(edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], x, z)[2] < _FIT2:
                lowest = top
        elif (
            bottom >= head
            and bottom < ceil
            and _nearest(edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], x, z)[2] < _FIT2
        ):
            ceil = bottom
    for i in range(ground.cell_prism_start[cell], ground.cell_prism_start[cell + 1]):
        prism = ground.cell_prism[i]
        top = ground.prism_top[prism]
        bottom = ground.prism_bottom[prism]
        if top <= over:
            if top > lowest and _inside(ground, prism, x, z):
                lowest = top
        elif bottom >= head and bottom < ceil and _inside(ground, prism, x, z):
            ceil = bottom
    return lowest, ceil


@jit
def _push_out(
    ground: WalkMap, cell: int, x: float, y: float, z: float, vx: float, vz: float
) -> tuple[bool, float, float, float, float]:
    """Push (x, z) off the nearest obstacle until it touches none (§5.2): whether it fits, place, velocity."""
    over = y + STEP
    head = y + HEIGHT
    edges = ground.cell_edge
    begin = ground.cell_edge_start[cell]
    end = ground.cell_edge_start[cell + 1]
    for _ in range(PUSHES):
        best = _TOUCH2
        qx = 0.0
        qz = 0.0
        nearest = -1
        for i in range(begin, end):
            if edges[i, 5] > over and edges[i, 4] < head:
                px, pz, d2 = _nearest(edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], x, z)
                if d2 < best or (nearest >= 0 and d2 == best and (px < qx or (px == qx and pz < qz))):
                    best, qx, qz, nearest = d2, px, pz, i
        if nearest < 0:
            return True, x, z, vx, vz
        if best > 0.0:
            d = sqrt(best)
            nx = (x - qx) / d
            nz = (z - qz) / d
        else:
            ex = edges[nearest, 2] - edges[nearest, 0]
            ez = edges[nearest, 3] - edges[nearest, 1]
            d = sqrt(ex * ex + ez * ez)
            nx = ez / d
            nz = -ex / d
        x = qx + nx * RADIUS
        z = qz + nz * RADIUS
        vn = vx * nx + vz * nz
        if vn < 0.0:
            vx = vx - vn * nx
            vz = vz - vn * nz
    for i in range(begin, end):
        if edges[i, 5] > over and edges[i, 4] < head:
            if _nearest(edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], x, z)[2] < _FIT2:
                return False, x, z, vx, vz
    return True, x, z, vx, vz


@jit
def _submove(ground: WalkMap, pos: F64, vel: F64, ux: float, uz: float) -> tuple[bool, float, float]:
    """One sub-move (§5) of a body (pos, vel: float64[3], in place): accepted, then floor and ceiling where it is."""
    x0 = pos[0]
    z0 = pos[2]
    y = pos[1]
    vx = vel[0]
    vz = vel[2]
    x = x0 + ux
    z = z0 + uz
    min_x, min_z, max_x, max_z = ground.bounds[0], ground.bounds[1], ground.bounds[2], ground.bounds[3]
    if x < min_x:
        x = min_x
        vx = max(vx, 0.0)
    elif x > max_x:
        x = max_x
        vx = min(vx, 0.0)
    if z < min_z:
        z = min_z
        vz = max(vz, 0.0)
    elif z > max_z:
        z = max_z
        vz = min(vz, 0.0)
    cell = _cell(ground, x0, z0)
    fits = True
    if ground.cell_edge_start[cell] < ground.cell_edge_start[cell + 1]:
        fits, x, z, vx, vz = _push_out(ground, cell, x, y, z, vx, vz)
        fits = (
            fits
            and min_x <= x <= max_x
            and min_z <= z <= max_z
            and (x - x0) * (x - x0) + (z - z0) * (z - z0) <= _REACH2
        )
    if fits:
        lowest, ceil = floor_and_ceiling(ground, x, y, z)
        if lowest + HEIGHT <= ceil:
            pos[0] = x
            pos[2] = z
            vel[0] = vx
            vel[2] = vz
            if lowest > y:
                pos[1] = lowest
            return True, lowest, ceil
    vel[0] = 0.0
    vel[2] = 0.0
    lowest, ceil = floor_and_ceiling(ground, x0, y, z0)
    return False, lowest, ceil


@jit
def _move(ground: WalkMap, pos: F64, vel: F64, mx: float, mz: float) -> tuple[float, float]:
    """Move one body horizontally by (mx, mz) metres (§5), in place; floor and ceiling at the end."""
    l2 = mx * mx + mz * mz
    if l2 <= _MOVE2:
        _, lowest, ceil = _submove(ground, pos, vel, mx, mz)
        return lowest, ceil
    length = sqrt(l2)
    n = 2
    while n < SUBMOVES and length > n * MOVE:
        n += 1
    if length > n * MOVE:
        k = (SUBMOVES * MOVE) / length
        mx = mx * k
        mz = mz * k
    ux = mx / n
    uz = mz / n
    accepted, lowest, ceil = _submove(ground, pos, vel, ux, uz)
    for _ in range(1, n):
        if not accepted:
            break
        accepted, lowest, ceil = _submove(ground, pos, vel, ux, uz)
    return lowest, ceil


@jit
def walk_step(
    ground: WalkMap, pos: F64, vel: F64, on_ground: bool, move_x: int, move_z: int, buttons: int, h: float
) -> bool:
    """One walk step (§4) of ``h`` seconds for one body (pos, vel: float64[3], in place); whether it ends on the
    ground."""
    wx = move_x / 127
    wz = move_z / 127
    l2 = wx * wx + wz * wz
    if l2 > 1.0:
        length = sqrt(l2)
        wx = wx / length
        wz = wz / length
    speed = RUN if buttons & BUTTON_RUN else WALK
    dvx = wx * speed - vel[0]
    dvz = wz * speed - vel[2]
    most = (ACCEL_GROUND if on_ground else ACCEL_AIR) * h
    d2 = dvx * dvx + dvz * dvz
    if d2 > most * most:
        k = most / sqrt(d2)
        dvx = dvx * k
        dvz = dvz * k
    vel[0] = vel[0] + dvx
    vel[2] = vel[2] + dvz

    lowest, ceil = _move(ground, pos, vel, vel[0] * h, vel[2] * h)

    y = pos[1]
    vy = vel[1]
    if on_ground:
        if buttons & BUTTON_JUMP:
            vy = JUMP
        elif lowest >= y - STEP:
            pos[1] = lowest
            vel[1] = 0.0
            return True
        else:
            vy = -(GRAVITY * h)
    else:
        vy = vy - GRAVITY * h
        vy = max(vy, -FALL)
    y = y + vy * h
    if y + HEIGHT > ceil:
        y = ceil - HEIGHT
        vy = min(vy, 0.0)
    landed = bool(y <= lowest)
    if landed:
        y = lowest
        vy = 0.0
    pos[1] = y
    vel[1] = vy
    return landed


@jit
def walk_commands(
    ground: WalkMap,
    h: float,
    rows: I64,
    budget: I64,
    first: I64,
    count: I64,
    move_x: I8,
    move_z: I8,
    buttons: U8,
    steps: U8,
    pos: F64,
    vel: F64,
    flags: U8,
    done: U8,
    used: I64,
    taken: I64,
) -> None:
    """Let m walkers consume their queued commands, each up to its own number of walk steps of ``h`` seconds.

    Shapes: rows, budget, first, count, done, used, taken [m]; move_x, move_z, buttons, steps [c], columns of queued
    commands; pos, vel float64[n, 3] (feet in metres, m/s) and flags uint8[n] by row, changed in place.
    Walker k has the commands ``first[k] .. first[k] + count[k] - 1``, oldest first. ``budget[k]``: steps it may take.
    ``done[k]``: steps of its first command taken before; renewed to those of the first command that is left.
    Out: ``used[k]``: commands wholly applied (take these out of the queue); ``taken[k]``: steps taken.
    A walker whose queue runs dry stands still in time until its next command. Rows must be distinct.
    """
    for k in range(rows.shape[0]):
        row = rows[k]
        body = pos[row]
        speed = vel[row]
        on_ground = (flags[row] & FLAG_ON_GROUND) != 0
        left = budget[k]
        at = first[k]
        end = at + count[k]
        part = int(done[k])
        while left > 0 and at < end:
            on_ground = walk_step(ground, body, speed, on_ground, move_x[at], move_z[at], buttons[at], h)
            left -= 1
            part += 1
            if part >= steps[at]:
                at += 1
                part = 0
        flags[row] = (flags[row] & ~np.uint8(FLAG_ON_GROUND)) | (FLAG_ON_GROUND if on_ground else 0)
        done[k] = part
        used[k] = at - first[k]
        taken[k] = budget[k] - left


@jit
def push_walkers(ground: WalkMap, rows: I64, push: F64, pos: F64, vel: F64) -> None:
    """Move walkers by ``push`` float64[m, 2] (x, z metres; cut to PUSH_MAX_M) as far as static obstacles let them (§6).

    pos, vel float64[n, 3] by row, in place; velocity stays as it was. Pushes that are not finite are ignored.
    """
    for k in range(rows.shape[0]):
        body = pos[rows[k]]
        speed = vel[rows[k]]
        mx = push[k, 0]
        mz = push[k, 1]
        l2 = mx * mx + mz * mz
        if not l2 < inf:
            continue
        if l2 > PUSH_MAX_M * PUSH_MAX_M:
            cut = PUSH_MAX_M / sqrt(l2)
            mx = mx * cut
            mz = mz * cut
        vx = speed[0]
        vz = speed[2]
        _move(ground, body, speed, mx, mz)
        speed[0] = vx
        speed[2] = vz


@jit
def fit_at(ground: WalkMap, pos: F64, fits: U8) -> None:
    """Which places (pos float64[n, 3], feet) a body may be at: ``fits`` uint8[n] is 1 within bounds and clear of
    prisms."""
    for k in range(pos.shape[0]):
        fits[k] = _fits(ground, pos[k, 0], pos[k, 1], pos[k, 2])


@jit
def _fits(ground: WalkMap, x: float, y: float, z: float) -> bool:
    bounds = ground.bounds
    if not (bounds[0] <= x <= bounds[2] and bounds[1] <= z <= bounds[3]):
        return False
    cell = _cell(ground, x, z)
    head = y + HEIGHT
    edges = ground.cell_edge
    for i in range(ground.cell_edge_start[cell], ground.cell_edge_start[cell + 1]):
        if edges[i, 5] > y and edges[i, 4] < head:
            if _nearest(edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], x, z)[2] < _FIT2:
                return False
    for i in range(ground.cell_prism_start[cell], ground.cell_prism_start[cell + 1]):
        prism = ground.cell_prism[i]
        if ground.prism_top[prism] > y and ground.prism_bottom[prism] < head and _inside(ground, prism, x, z):
            return False
    return True
