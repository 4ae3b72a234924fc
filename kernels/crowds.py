"""A crowd that is beyond a view's cap, as counts by cell (STANDARD.md §12): so that a stadium of thousands costs almost
nothing, and still is full.

Decides who counts: everybody within the view's radius who is not told of one by one. Invariants: a message has at most
CELLS cells; nobody is both told of and counted in the same frame. Not responsible for: when one is written (``encode``,
``values``).
"""

import numpy as np

from kernels.interest import CROWD_ACROSS, Scratch, mark_known, runs
from kernels.jit import jit
from kernels.layout import U8, Grid, Int, Records
from kernels.put import put_bin, put_u16, put_uint

CROWD = 33
CELL_M = 32
CELL_SHIFT = 12
"""log2 of a cell's side in grid units."""
CELLS = CROWD_ACROSS * CROWD_ACROSS
"""``Scratch.cells`` holds counts, sums of velocity along x, and along z, CELLS of each."""


@jit
def crowd_due(view: Records, tick: Int) -> bool:
    """Whether a frame of this tick has one: once in ``crowd_every`` ticks while more are in range than are told of, and
    once more when they no longer are."""
    if view.crowd_every == 0 or tick < view.crowd_tick or not (view.crowded or view.crowd_told):
        return False
    view.crowd_tick = tick + view.crowd_every
    view.crowd_told = view.crowded
    return True


@jit
def write_crowd(
    out: U8, at: Int, tick: Int, view: Records, slots: Records, hot: Records, cold: Records, grid: Grid, s: Scratch
) -> int:
    """One CROWD message at ``out[at:]``; returns its end. Writes to: ``out``, ``s``."""
    cells = s.cells
    cells[:] = 0
    x, z = np.int64(view.x), np.int64(view.z)
    radius = np.int64(view.radius)
    radius2 = radius * radius
    first_x, first_z = (x - radius) >> CELL_SHIFT, (z - radius) >> CELL_SHIFT
    stamp = mark_known(slots, view.high, view.frame, hot, s)
    used: Int = 0
    for line in range(runs(x, z, radius, grid, s)):
        for k in range(s.first[line], s.end[line]):
            row = grid.row[k]
            dx, dz = np.int64(grid.x[k]) - x, np.int64(grid.z[k]) - z
            if s.mark[row] == stamp or dx * dx + dz * dz > radius2:
                continue
            if row == view.body and hot[row].serial == view.body_serial:
                continue
            cx = (np.int64(grid.x[k]) >> CELL_SHIFT) - first_x
            cz = (np.int64(grid.z[k]) >> CELL_SHIFT) - first_z
            if cx >= CROWD_ACROSS or cz >= CROWD_ACROSS:
                continue
            at_cell = cz * CROWD_ACROSS + cx
            used += cells[at_cell] == 0
            cells[at_cell] += 1
            cells[CELLS + at_cell] += cold[row].far_vx
            cells[2 * CELLS + at_cell] += cold[row].far_vz
    out[at] = 0x94
    out[at + 1] = CROWD
    p = put_uint(out, at + 2, np.int64(view.stream))
    p = put_uint(out, p, tick)
    p = put_bin(out, p, at, 4 + 10 * used, 2)
    put_u16(out, p, used)
    put_u16(out, p + 2, CELL_M)
    p += 4
    k = 0
    for cell in range(CELLS):
        count = cells[cell]
        if count == 0:
            continue
        put_u16(out, p + 2 * k, first_x + cell % CROWD_ACROSS)
        put_u16(out, p + 2 * (used + k), first_z + cell // CROWD_ACROSS)
        put_u16(out, p + 2 * (2 * used + k), min(count, 65535))
        put_u16(out, p + 2 * (3 * used + k), cells[CELLS + cell] // count)
        put_u16(out, p + 2 * (4 * used + k), cells[2 * CELLS + cell] // count)
        k += 1
    return p + 10 * used
