"""The mirror's kernels: take over what shards published, extrapolate it to now, sort it into cells.

Deltas are worked out here once per entity and tick, whoever gets them. Not responsible for: views (``interest``,
``encode``).
"""

import numpy as np
import numpy.typing as npt

from kernels.jit import jit
from kernels.layout import FITS, I32, I64, U8, YAW_SHIFT, Grid, Int, Records
from protocol.layouts import GRID_PER_M, VELOCITY_PER_GRID, VELOCITY_SHIFT

I16 = npt.NDArray[np.int16]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
HALF = VELOCITY_PER_GRID // 2
CELLS_MAX = 1 << 16
OUTER_BIT = np.uint32(1 << 31)
OUTER_YAW = 32
"""1/256 turns."""


@jit
def pack_delta(dx: Int, dy: Int, dz: Int, dvx: Int, dvy: Int, dvz: Int, yaw: Int, fits: bool) -> Int:
    """Bytes dx dy dz dvx dvy dvz yaw, lowest first, and FITS; yaw is there in any case."""
    packed = np.uint64(yaw) << YAW_SHIFT
    if fits:
        packed |= FITS
        packed |= np.uint64(dx & 255) | np.uint64(dy & 255) << np.uint64(8) | np.uint64(dz & 255) << np.uint64(16)
        packed |= np.uint64(dvx & 255) << np.uint64(24) | np.uint64(dvy & 255) << np.uint64(32)
        packed |= np.uint64(dvz & 255) << np.uint64(40)
    return packed


@jit
def take_renewals(
    rows: I64,
    version: U32,
    p: I32,
    v: I16,
    yaw: U8,
    age: U16,
    flags: U8,
    tick: Int,
    fresh: bool,
    hot: Records,
    cold: Records,
) -> None:
    """Take over renewed near states, and the far ones flagged with them.

    ``rows`` int64[n] mirror rows; the columns are those of RegionDelta. ``fresh``: no delta is worked out (snapshots).
    Writes to: ``hot``, ``cold``. Deterministic: yes.
    """
    for i in range(len(rows)):
        h = hot[rows[i]]
        c = cold[rows[i]]
        record_tick = np.int32(tick - np.int64(age[i]))
        px, py, pz = np.int64(p[i, 0]), np.int64(p[i, 1]), np.int64(p[i, 2])
        vx, vy, vz = np.int64(v[i, 0]), np.int64(v[i, 1]), np.int64(v[i, 2])
        known = not fresh and h.version != 0
        dt = np.int64(np.int32(record_tick - h.tick))
        dx = px - (np.int64(c.px) + ((np.int64(c.vx) * dt + HALF) >> VELOCITY_SHIFT))
        dy = py - (np.int64(c.py) + ((np.int64(c.vy) * dt + HALF) >> VELOCITY_SHIFT))
        dz = pz - (np.int64(c.pz) + ((np.int64(c.vz) * dt + HALF) >> VELOCITY_SHIFT))
        dvx, dvy, dvz = vx - c.vx, vy - c.vy, vz - c.vz
        least = min(min(min(dx, dy), dz), min(min(dvx, dvy), dvz))
        most = max(max(max(dx, dy), dz), max(max(dvx, dvy), dvz))
        fits = known and least >= -128 and most <= 127 and age[i] == 0
        h.near = pack_delta(dx, dy, dz, dvx, dvy, dvz, yaw[i], fits)
        h.prev = h.version
        h.version = version[i]
        h.tick = record_tick
        c.px, c.py, c.pz = px, py, pz
        c.vx, c.vy, c.vz = vx, vy, vz
        if flags[i] & 1:
            known = not fresh and h.far_version != 0
            dt = np.int64(np.int32(record_tick - h.far_tick))
            dx = px - (np.int64(c.far_px) + ((np.int64(c.far_vx) * dt + HALF) >> VELOCITY_SHIFT))
            dy = py - (np.int64(c.far_py) + ((np.int64(c.far_vy) * dt + HALF) >> VELOCITY_SHIFT))
            dz = pz - (np.int64(c.far_pz) + ((np.int64(c.far_vz) * dt + HALF) >> VELOCITY_SHIFT))
            dvx, dvy, dvz = vx - c.far_vx, vy - c.far_vy, vz - c.far_vz
            least = min(min(min(dx, dy), dz), min(min(dvx, dvy), dvz))
            most = max(max(max(dx, dy), dz), max(max(dvx, dvy), dvz))
            fits = known and least >= -128 and most <= 127 and age[i] == 0
            h.far = pack_delta(dx, dy, dz, dvx, dvy, dvz, yaw[i], fits)
            h.far_prev = h.far_version
            h.far_version = version[i]
            h.far_tick = record_tick
            c.far_px, c.far_py, c.far_pz = px, py, pz
            c.far_vx, c.far_vy, c.far_vz = vx, vy, vz


@jit
def take_far(
    rows: I64, version: U32, p: I32, v: I16, yaw: U8, age: U16, tick: Int, hot: Records, cold: Records
) -> None:
    """Take over the far states of a snapshot. Shapes as in :func:`take_renewals`. Writes to: ``hot``, ``cold``."""
    for i in range(len(rows)):
        h = hot[rows[i]]
        c = cold[rows[i]]
        h.far_prev = np.uint32(0)
        h.far_version = version[i]
        h.far_tick = np.int32(tick - np.int64(age[i]))
        h.far = np.uint64(yaw[i]) << YAW_SHIFT
        c.far_px, c.far_py, c.far_pz = p[i, 0], p[i, 1], p[i, 2]
        c.far_vx, c.far_vy, c.far_vz = v[i, 0], v[i, 1], v[i, 2]


@jit
def extrapolate(high: Int, tick: Int, hot: Records, cold: Records, bounds: I64) -> tuple[int, bool]:
    """Shown ground positions (grid units) of all occupied rows below ``high`` at ``tick``.

    Writes ``hot.x``, ``hot.z`` and ``bounds`` int64[4] (least x, least z, greatest x, greatest z). Returns how many
    are occupied, and whether any of them is not where it was.
    """
    low_x = low_z = np.int64(1 << 40)
    high_x = high_z = np.int64(-(1 << 40))
    count = 0
    moved = False
    for i in range(high):
        h = hot[i]
        if h.serial == 0:
            continue
        c = cold[i]
        dt = np.int64(np.int32(np.int32(tick) - h.tick))
        # A delta may be used in the tick that it was published for, and in no other.
        if dt != 0:
            h.near &= ~FITS
        if h.far_tick != np.int32(tick):
            h.far &= ~FITS
        x = np.int64(c.px) + ((np.int64(c.vx) * dt + HALF) >> VELOCITY_SHIFT)
        z = np.int64(c.pz) + ((np.int64(c.vz) * dt + HALF) >> VELOCITY_SHIFT)
        moved |= x != h.x or z != h.z
        h.x = x
        h.z = z
        low_x, high_x = min(low_x, x), max(high_x, x)
        low_z, high_z = min(low_z, z), max(high_z, z)
        count += 1
    bounds[0], bounds[1], bounds[2], bounds[3] = low_x, low_z, high_x, high_z
    return count, moved


@jit
def renew_outer(high: Int, tick: Int, tolerance: Int, hot: Records, cold: Records, outer: Records, counter: U32) -> int:
    """Bring the outermost level's records up to date, after :func:`extrapolate`: one is renewed when it is
    ``tolerance`` grid units off the far level's, or an eighth of a turn.

    The far record as it is at ``tick`` is taken, rounded to the grid, so that a renewal is a delta for whoever holds
    the one before. ``counter`` uint32[1]: versions given. Returns how many were renewed. Writes to: ``outer``,
    ``counter``.
    """
    count = 0
    tolerance2 = np.int64(tolerance) * tolerance
    for i in range(high):
        h = hot[i]
        if h.serial == 0:
            continue
        c = cold[i]
        o = outer[i]
        dt = np.int64(np.int32(np.int32(tick) - h.far_tick))
        x = np.int64(c.far_px) + ((np.int64(c.far_vx) * dt + HALF) >> VELOCITY_SHIFT)
        y = np.int64(c.far_py) + ((np.int64(c.far_vy) * dt + HALF) >> VELOCITY_SHIFT)
        z = np.int64(c.far_pz) + ((np.int64(c.far_vz) * dt + HALF) >> VELOCITY_SHIFT)
        yaw = np.int64((h.far >> YAW_SHIFT) & np.uint64(255))
        known = o.serial == h.serial
        dx = dy = dz = dvx = dvy = dvz = np.int64(0)
        if known:
            dt = np.int64(np.int32(np.int32(tick) - o.tick))
            dx = x - (np.int64(o.px) + ((np.int64(o.vx) * dt + HALF) >> VELOCITY_SHIFT))
            dy = y - (np.int64(o.py) + ((np.int64(o.vy) * dt + HALF) >> VELOCITY_SHIFT))
            dz = z - (np.int64(o.pz) + ((np.int64(o.vz) * dt + HALF) >> VELOCITY_SHIFT))
            turned = (yaw - np.int64((o.delta >> YAW_SHIFT) & np.uint64(255)) + 128) % 256 - 128
            rests = c.far_vx == 0 and c.far_vy == 0 and c.far_vz == 0
            moves = o.vx != 0 or o.vy != 0 or o.vz != 0
            # Who stands still is told at once: the record would drift away again and again.
            if dx * dx + dy * dy + dz * dz <= tolerance2 and abs(turned) <= OUTER_YAW and not (rests and moves):
                o.delta &= ~FITS
                continue
            dvx, dvy, dvz = np.int64(c.far_vx) - o.vx, np.int64(c.far_vy) - o.vy, np.int64(c.far_vz) - o.vz
        least = min(min(min(dx, dy), dz), min(min(dvx, dvy), dvz))
        most = max(max(max(dx, dy), dz), max(max(dvx, dvy), dvz))
        counter[0] += np.uint32(1)
        o.prev = o.version
        o.version = counter[0] | OUTER_BIT
        fits = bool(known and least >= -128 and most <= 127)
        o.delta = pack_delta(dx, dy, dz, dvx, dvy, dvz, yaw, fits)
        o.serial = h.serial
        o.tick = tick
        o.px, o.py, o.pz = x, y, z
        o.vx, o.vy, o.vz = c.far_vx, c.far_vy, c.far_vz
        count += 1
    return count


@jit
def cell_along(offset: Int, per_unit: float) -> int:
    """The cell on one axis, ``offset`` grid units from the first cell's edge: about ``offset * per_unit``.

    By multiplication, because a division of integers takes as long as ten of them. Never falls as ``offset`` rises
    (IEEE 754 rounding keeps order), so that whoever bounds a range with it misses no row; a row on an edge may be
    counted to the cell before. Negative offsets give 0 or less.
    """
    return int(np.int64(np.float64(offset) * per_unit))


@jit
def sort_into_cells(high: Int, hot: Records, bounds: I64, cell_units: Int, grid: Grid, cell_of: I32) -> int:
    """Counting sort of the occupied rows by cell; returns how many there are.

    Cells are ``cell_units`` wide, or wider where the world would need more than CELLS_MAX of them. ``grid.start`` has
    CELLS_MAX + 1 items, ``grid.row``, ``grid.x``, ``grid.z``, ``cell_of`` int32[>= high] are written. Rows of one
    cell stay in
    ascending order. Cost: about 6 ns a row.
    """
    width, depth = bounds[2] - bounds[0] + 1, bounds[3] - bounds[1] + 1
    if width <= 0:
        grid.shape[:] = 0
        return 0
    size = np.int64(cell_units)
    while (width // size + 1) * (depth // size + 1) > CELLS_MAX:
        size *= 2
    across, along = width // size + 1, depth // size + 1
    grid.shape[0], grid.shape[1], grid.shape[2], grid.shape[3], grid.shape[4] = (
        bounds[0],
        bounds[1],
        across,
        along,
        size,
    )
    cells = across * along
    first_x, first_z, per_unit = bounds[0], bounds[1], 1.0 / size
    start = grid.start
    start[: cells + 1] = 0
    for i in range(high):
        h = hot[i]
        if h.serial == 0:
            continue
        along_x, along_z = np.int64(h.x) - first_x, np.int64(h.z) - first_z
        cell = cell_along(along_z, per_unit) * across + cell_along(along_x, per_unit)
        cell_of[i] = cell
        start[cell + 1] += 1
    for cell in range(cells):
        start[cell + 1] += start[cell]
    count = start[cells]
    for k in range(high):
        i = high - 1 - k  # downwards, so that filling from the end keeps ascending order
        h = hot[i]
        if h.serial == 0:
            continue
        cell = cell_of[i]
        start[cell + 1] -= 1
        at = start[cell + 1]
        grid.row[at] = i
        grid.x[at] = h.x
        grid.z[at] = h.z
    # Filling moved each end to its cell's start: start[c + 1] is now where cell c begins.
    for cell in range(cells):
        start[cell] = start[cell + 1]
    start[cells] = count
    return int(count)


def empty_grid(rows: Int) -> Grid:
    """A grid for up to ``rows`` rows."""
    columns = [np.zeros(rows, np.int32) for _ in range(3)]
    return Grid(np.zeros(CELLS_MAX + 1, np.int32), columns[0], columns[1], columns[2], np.zeros(5, np.int64))


assert GRID_PER_M == 128
