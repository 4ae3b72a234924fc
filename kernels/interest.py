"""What one view is told in one frame: leaves, enters, component states and due updates, within its byte budget.

An update is due while the version a slot holds differs from the published one of its level. The level becomes near at
once, far only when the far state is the newest one, and outermost when that one was just renewed: so a slot holds a
state of its level and its error stays bounded.
Columns are bound to local names first: a field of a named tuple costs numba a reference count at each use.
Invariants: a number in use is LIVE or LEAVING; at most ``cap`` slots are LIVE; a slot holds what was written, nothing
else.
Not responsible for: bytes (``encode``), when a view gets a frame (``pace``).
"""

from typing import NamedTuple

import numpy as np

from kernels.jit import jit
from kernels.layout import (
    FAR,
    FITS,
    FRAME_RING,
    FREE,
    HOT,
    I32,
    I64,
    LEAVING,
    LIVE,
    NEAR,
    OUT,
    SLOT,
    U8,
    U32,
    U64,
    VECTOR,
    YAW_SHIFT,
    Grid,
    Int,
    OnWay,
    Records,
)
from kernels.mirror import cell_along

ENTER_BYTES = 28
STATE_BYTES = 4
LEAVE_BYTES = 2
DELTA_BYTES = 9
FULL_BYTES = 16
VALUE_BYTES = 11
"""An update in a datagram: 10 bytes, or 16 if it cannot be a delta."""
OVERHEAD_BYTES = 120
"""WebSocket and message headers, pads and own state of one frame, rounded up."""
REACH = 32767
"""Farthest a record may be from the frame's origin, grid units on each axis."""
RINGS = 64
WAITED_MAX = 60_000
CROWD_ACROSS = 16
"""Cells of a crowd along one side of a view; 32 m each, so that the widest view fits."""
CROWD_CELLS = 3 * CROWD_ACROSS * CROWD_ACROSS
LINES_MAX = 1024
"""Lines of cells that a view's circle may cover; far above 2 × radius / cell size."""


class Scratch(NamedTuple):
    """Working space of one thread, reused for every view.

    ``mark`` uint32[rows]: the stamp of the view that knows the row; ``stamp`` uint32[1]; ``row``, ``distance2``:
    candidates; ``free``, ``leave``, ``state``, ``full`` int32[numbers], ``delta`` int32[numbers + VECTOR]: slots;
    ``delta_packed`` uint64[numbers + VECTOR]; ``enter`` int32[numbers]: candidates that enter, ``enter_slot`` their
    slots; ``state_full`` uint8[numbers]; ``ring`` int64[RINGS]; ``first``, ``end``: int32[LINES_MAX], runs of sorted
    rows; ``counts`` int64[8]: what ``select`` counted; ``cells`` int64[CROWD_CELLS]: sums of a crowd.
    """

    mark: U32
    stamp: U32
    row: I32
    distance2: I64
    free: I32
    leave: I32
    enter: I32
    enter_slot: I32
    enter_level: U8
    state: I32
    state_full: U8
    delta: I32
    delta_packed: U64
    full: I32
    ring: I64
    first: I32
    end: I32
    counts: I64
    cells: I64


def scratch(rows: Int, numbers: Int) -> Scratch:
    """Working space for mirrors of up to ``rows`` rows and views of up to ``numbers`` numbers."""

    def slots() -> I32:
        return np.zeros(numbers, np.int32)

    def flags() -> U8:
        return np.zeros(numbers, np.uint8)

    return Scratch(
        np.zeros(rows, np.uint32),
        np.zeros(1, np.uint32),
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int64),
        slots(),
        slots(),
        slots(),
        slots(),
        flags(),
        slots(),
        flags(),
        np.zeros(numbers + VECTOR, np.int32),
        np.zeros(numbers + VECTOR, np.uint64),
        slots(),
        np.zeros(RINGS, np.int64),
        np.zeros(LINES_MAX, np.int32),
        np.zeros(LINES_MAX, np.int32),
        np.zeros(8, np.int64),
        np.zeros(CROWD_CELLS, np.int64),
    )


@jit
def runs(x: Int, z: Int, radius: Int, grid: Grid, s: Scratch) -> Int:
    """Runs of the sorted rows that cover the circle: cells of one line follow each other, so each line of cells is
    one run.

    Writes ``s.first``, ``s.end``; returns how many runs there are. Each run is cut to the circle's chord in its line
    of cells.
    """
    s_first = s.first
    s_end = s.end
    grid_start = grid.start
    grid_shape = grid.shape
    across, along, size = grid_shape[2], grid_shape[3], grid_shape[4]
    if across == 0:
        return np.int64(0)
    first_x, first_z = grid_shape[0], grid_shape[1]
    per_unit = 1.0 / size
    top = max(cell_along(z - radius - first_z, per_unit), 0)
    bottom = min(cell_along(z + radius - first_z, per_unit), along - 1)
    radius2 = np.float64(radius) * radius
    count = np.int64(0)
    for line in range(top, bottom + 1):
        low = first_z + line * size
        # One unit wider than the line, because rounding may have put a row that lies on its edge there.
        dz = max(max(low - 1 - z, z - (low + size)), 0)
        if dz > radius:
            continue
        half = np.int64(np.sqrt(radius2 - np.float64(dz) * dz)) + 1
        left = max(cell_along(x - half - first_x, per_unit), 0)
        right = min(cell_along(x + half - first_x, per_unit), across - 1)
        if left > right or count == len(s_first):
            continue
        s_first[count] = grid_start[line * across + left]
        s_end[count] = grid_start[line * across + right + 1]
        count += 1
    return count


@jit
def candidates(x: Int, z: Int, radius: Int, lines: Int, grid: Grid, s: Scratch) -> Int:
    """Rows within ``radius`` of (x, z), grid units, into ``s.row`` and ``s.distance2``; returns how many."""
    s_row = s.row
    s_distance2 = s.distance2
    s_first = s.first
    s_end = s.end
    grid_row = grid.row
    grid_x = grid.x
    grid_z = grid.z
    radius2 = np.int64(radius) * radius
    count = np.int64(0)
    for line in range(lines):
        for at in range(s_first[line], s_end[line]):
            dx = np.int64(grid_x[at]) - x
            dz = np.int64(grid_z[at]) - z
            distance2 = dx * dx + dz * dz
            s_row[count] = grid_row[at]
            s_distance2[count] = distance2
            count += distance2 <= radius2  # no branch: a part of the cells' rows is out of range
    return count


@jit
def strangers(x: Int, z: Int, radius2: Int, lines: Int, stamp: Int, grid: Grid, s: Scratch) -> Int:
    """Like :func:`candidates`, but only those that do not bear ``stamp``: whom the view does not know yet."""
    s_mark = s.mark
    s_row = s.row
    s_distance2 = s.distance2
    s_first = s.first
    s_end = s.end
    grid_row = grid.row
    grid_x = grid.x
    grid_z = grid.z
    count = np.int64(0)
    for line in range(lines):
        for at in range(s_first[line], s_end[line]):
            row = grid_row[at]
            dx = np.int64(grid_x[at]) - x
            dz = np.int64(grid_z[at]) - z
            distance2 = dx * dx + dz * dz
            s_row[count] = row
            s_distance2[count] = distance2
            count += (distance2 <= radius2) & (s_mark[row] != stamp)  # no branch, as above
    return count


@jit
def within(x: Int, z: Int, radius2: Int, lines: Int, grid: Grid, s: Scratch) -> Int:
    """How many rows are within the radius. In floating point (exact: squares stay far below 2**53), for vectors."""
    s_first = s.first
    s_end = s.end
    grid_x = grid.x
    grid_z = grid.z
    x_f, z_f, radius2_f = np.float64(x), np.float64(z), np.float64(radius2)
    count = np.int64(0)
    for line in range(lines):
        xs = grid_x[s_first[line] : s_end[line]]
        zs = grid_z[s_first[line] : s_end[line]]
        for k in range(len(xs)):
            dx = xs[k] - x_f
            dz = zs[k] - z_f
            count += np.int64(dx * dx + dz * dz <= radius2_f)
    return count


@jit
def mark_known(slots: Records, high: Int, next_frame: Int, hot: Records, s: Scratch) -> Int:
    """Mark the rows of those that the view knows, or lets go in this very frame; returns the stamp that they bear."""
    s_mark = s.mark
    s_stamp = s.stamp
    s_stamp[0] += np.uint32(1)
    if s_stamp[0] == 0:  # wrapped: old stamps must not look new
        s_mark[:] = 0
        s_stamp[0] = 1
    stamp: Int = s_stamp[0]
    for i in range(high):
        slot = slots[i]
        told = slot.status == LIVE or (slot.status == LEAVING and slot.leave_frame == next_frame)
        if told and hot[slot.row].serial == slot.serial:
            s_mark[slot.row] = stamp
    return stamp


@jit
def nearest_radius2(count: Int, cap: Int, radius: Int, s: Scratch) -> Int:
    """A squared radius that at most ``cap`` of the candidates are within: the greatest of RINGS rings of equal area."""
    s_distance2 = s.distance2
    s_ring = s.ring
    radius2 = np.int64(radius) * radius
    if count <= cap:
        return radius2
    s_ring[:] = 0
    for k in range(count):
        s_ring[min(s_distance2[k] * RINGS // (radius2 + 1), RINGS - 1)] += 1
    total = np.int64(0)
    for ring in range(RINGS):
        total += s_ring[ring]
        if total > cap:
            return (radius2 + 1) * ring // RINGS - 1
    return radius2


@jit
def in_reach(px: Int, py: Int, pz: Int, x: Int, y: Int, z: Int) -> bool:
    """Whether a record can be written relative to this origin."""
    return bool(abs(px - x) <= REACH and abs(py - y) <= REACH and abs(pz - z) <= REACH)


@jit
def version_of(level: Int, h: Records, outer: Records, row: Int) -> Int:
    """The published version of a level; ``h``: the row's HOT record."""
    if level == NEAR:
        return np.uint32(h.version)
    return np.uint32(h.far_version) if level == FAR else np.uint32(outer[row].version)


@jit
def record_of(level: Int, c: Records, outer: Records, row: Int) -> tuple[Int, Int, Int, Int, Int, Int]:
    """Position and velocity of a level's record; ``c``: the row's COLD record."""
    if level == NEAR:
        return np.int64(c.px), np.int64(c.py), np.int64(c.pz), np.int64(c.vx), np.int64(c.vy), np.int64(c.vz)
    if level == FAR:
        x, y, z = np.int64(c.far_px), np.int64(c.far_py), np.int64(c.far_pz)
        return x, y, z, np.int64(c.far_vx), np.int64(c.far_vy), np.int64(c.far_vz)
    o = outer[row]
    return np.int64(o.px), np.int64(o.py), np.int64(o.pz), np.int64(o.vx), np.int64(o.vy), np.int64(o.vz)


@jit
def next_level(
    level: Int,
    distance2: Int,
    near2: Int,
    near_leave2: Int,
    outer2: Int,
    outer_leave2: Int,
    tick: Int,
    h: Records,
    outer: Records,
    row: Int,
) -> Int:
    """The level that a slot of ``level`` goes over to; arguments that end in 2 are squares of grid units."""
    if distance2 <= near2:
        return NEAR
    if level == NEAR:
        return FAR if distance2 > near_leave2 and h.far_version == h.version else NEAR
    if level == OUT:
        return FAR if distance2 <= outer2 else OUT
    return OUT if distance2 > outer_leave2 and outer[row].tick == np.int32(tick) else level


@jit
def age_and_yaw(level: Int, tick: Int, h: Records, outer: Records, row: Int) -> tuple[Int, Int]:
    """Ticks since a level's record, 255 at most (older ones rest: their age does not matter), and its yaw."""
    if level == NEAR:
        record_tick, packed = h.tick, h.near
    elif level == FAR:
        record_tick, packed = h.far_tick, h.far
    else:
        record_tick, packed = outer[row].tick, outer[row].delta
    age = np.int64(np.int32(np.int32(tick) - record_tick))
    return min(age, np.int64(255)), np.int64((packed >> YAW_SHIFT) & np.uint64(255))


@jit
def on_its_way(sent: Records, version: Int, next_frame: Int, way: OnWay) -> bool:
    """Whether a version was sent, and may still be acknowledged."""
    if sent.frame == 0 or sent.version != version or np.uint32(next_frame - sent.frame) >= FRAME_RING:
        return False
    return bool(way.now_ms - way.sent_ms[sent.frame & np.uint32(FRAME_RING - 1)] <= way.wait_ms)


@jit
def reach(view: Records, x: Int, z: Int, lines: Int, grid: Grid, s: Scratch) -> tuple[Int, Int, Int, Int]:
    """Whom a view is told of: (how many are within its radius, how many of them it may be told of, the squared radius
    within which they enter, the one beyond which they leave). ``lines``: of :func:`runs`. Writes to: ``s``."""
    enter_radius2 = np.int64(view.radius) * view.radius
    leave_radius2 = np.int64(view.leave_radius) * view.leave_radius
    around = within(x, z, enter_radius2, lines, grid, s)
    present = around
    if around > view.cap:
        # Crowded: the nearest, and the same hysteresis on the smaller radius.
        enter_radius2 = nearest_radius2(candidates(x, z, view.radius, lines, grid, s), view.cap, view.radius, s)
        leave_radius2 = enter_radius2 * view.leave_radius // view.radius * view.leave_radius // view.radius
        present = within(x, z, enter_radius2, lines, grid, s)
    return around, present, enter_radius2, leave_radius2


@jit
def priority(waited: Int, distance2: Int, radius2: Int, weight: Int) -> Int:
    """Of an update that is due, 1 to RINGS - 1: grows with each frame in which it does not fit, and faster the nearer
    its entity is (up to sixteen times), doubled ``weight`` times. So the near come more often, people before things,
    and nobody waits for ever: who has waited RINGS frames is before all who have not."""
    # A metre is seen under an angle that shrinks with distance.
    away = np.sqrt(min(np.float64(distance2), np.float64(radius2)) / (np.float64(radius2) + 1.0))
    nearness = np.int64(16.0 / (1.0 + 15.0 * away))
    rank: Int = min(((np.int64(waited) + 1) * nearness) << np.int64(weight), np.int64(RINGS - 1))
    return rank


@jit
def least_priority(
    slots: Records,
    high: Int,
    x: Int,
    z: Int,
    radius2: Int,
    room: Int,
    hot: Records,
    outer: Records,
    next_frame: Int,
    s: Scratch,
    way: OnWay | None,
) -> Int:
    """The priority from which on updates are sent, so that no more come before others than fit ``room`` bytes: a
    priority accumulator (Fiedler, "State Synchronization") in one pass, without sorting."""
    s_ring = s.ring
    s_ring[:] = 0
    for i in range(high):
        slot = slots[i]
        h = hot[slot.row]
        if slot.status != LIVE or h.serial != slot.serial:
            continue
        target = version_of(slot.level, h, outer, slot.row)
        if slot.held == target:
            continue
        size = FULL_BYTES
        if way is not None:
            if on_its_way(way.older[i], target, next_frame, way) or on_its_way(way.newer[i], target, next_frame, way):
                continue
            size = VALUE_BYTES
        dx = np.int64(h.x) - x
        dz = np.int64(h.z) - z
        s_ring[priority(slot.waited, dx * dx + dz * dz, radius2, h.weight)] += size
    for rank in range(RINGS - 1, 0, -1):
        room -= s_ring[rank]
        if room < 0:
            return rank
    return 0


@jit
def select(
    view: Records,
    slots: Records,
    tick: Int,
    budget: Int,
    hot: Records,
    cold: Records,
    outer: Records,
    grid: Grid,
    s: Scratch,
    n: I64,
    way: OnWay | None,
) -> None:
    """Decide what this view is told; the slots change as if it were told already, because it will be.

    ``view``: one VIEW record; ``slots`` SLOT[numbers]; ``n`` int64[8] gets the counts: leaves, enters, states,
    updates that are
    deltas, updates that are full, blob bytes of enters, blob bytes of states, live slots looked at. ``way``: of a view
    that is told by datagrams: an update is due until it is acknowledged, unless it is on its way; all that are due are
    listed as deltas, and the slots do not change by them.
    Cost: about 10 ns for a known row, 3 ns for a candidate. Writes to: ``view``, ``slots``, ``s``, ``n``.
    """
    s_row = s.row
    s_distance2 = s.distance2
    s_free = s.free
    s_leave = s.leave
    s_enter = s.enter
    s_enter_slot = s.enter_slot
    s_enter_level = s.enter_level
    s_state = s.state
    s_state_full = s.state_full
    s_delta = s.delta
    s_delta_packed = s.delta_packed
    s_full = s.full
    next_frame = np.uint32(view.frame + np.uint32(1))
    x, y, z = np.int64(view.x), np.int64(view.y), np.int64(view.z)
    lines = runs(x, z, view.radius, grid, s)
    # Read once: the compiler cannot know that writing a slot leaves the view as it is.
    body, body_serial, acked = view.body, view.body_serial, view.acked
    around, present, enter_radius2, leave_radius2 = reach(view, x, z, lines, grid, s)
    view.crowded = 1 if around > view.cap else 0
    near2 = np.int64(view.near_radius) * view.near_radius
    near_leave2 = np.int64(view.near_leave_radius) * view.near_leave_radius
    outer2 = np.int64(view.outer_radius) * view.outer_radius
    outer_leave2 = np.int64(view.outer_leave_radius) * view.outer_leave_radius
    left = budget - OVERHEAD_BYTES
    # Updates come first, but must not keep newcomers out for ever.
    reserve = budget // 4 if view.waiting else 0

    least: Int = np.int64(0)
    if view.tight:
        least = least_priority(slots, view.high, x, z, enter_radius2, left - reserve, hot, outer, next_frame, s, way)
    leaves = enters = states = deltas = fulls = free = looked = 0
    enter_bytes = state_bytes = known = np.int64(0)
    high = view.high
    cursor = view.cursor if view.cursor < high else 0
    next_cursor = -1
    for k in range(high):
        i = cursor + k
        if i >= high:
            i -= high
        slot = slots[np.uint64(i)]
        if slot.status != LIVE:
            if slot.status == FREE or np.int32(acked - slot.leave_frame) >= 0:
                slot.status = FREE
                s_free[free] = i
                free += 1
            continue
        looked += 1
        row = slot.row
        h = hot[np.uint64(row)]  # unsigned: no test for an index from the end
        gone = h.serial != slot.serial
        distance2 = np.int64(0)
        if not gone:
            dx = np.int64(h.x) - x
            dz = np.int64(h.z) - z
            distance2 = dx * dx + dz * dz
            gone = distance2 > leave_radius2 or (row == body and h.serial == body_serial)
        if gone:
            slot.status = LEAVING
            slot.leave_frame = next_frame
            s_leave[leaves] = i
            leaves += 1
            left -= LEAVE_BYTES
            continue
        known += np.int64(distance2 <= enter_radius2)
        if slot.state_held != h.state_version:
            c = cold[row]
            only_changed = slot.state_held + np.uint32(1) == h.state_version and h.state_tick == np.int32(tick)
            size = np.int64(c.changed_bytes) if only_changed else np.int64(c.full_bytes)
            if left - reserve >= STATE_BYTES + size:
                left -= STATE_BYTES + size
                slot.state_held = h.state_version
                s_state[states] = i
                s_state_full[states] = not only_changed
                states += 1
                state_bytes += size
        level = next_level(slot.level, distance2, near2, near_leave2, outer2, outer_leave2, tick, h, outer, row)
        target = version_of(level, h, outer, row)
        if slot.held == target:
            slot.level = level
            continue
        near_delta = target == h.version and slot.held == h.prev and h.near & FITS != 0
        far_delta = target == h.far_version and slot.held == h.far_prev and h.far & FITS != 0
        out_delta = level == OUT and slot.held == outer[row].prev and outer[row].delta & FITS != 0
        is_delta = near_delta or far_delta or out_delta
        size = np.int64(DELTA_BYTES if is_delta else FULL_BYTES)
        if way is not None:
            if on_its_way(way.older[i], target, next_frame, way) or on_its_way(way.newer[i], target, next_frame, way):
                slot.level = level
                continue
            is_delta, size = False, np.int64(VALUE_BYTES)  # which of both it becomes is not known yet
        if left - reserve < size or (least > 0 and priority(slot.waited, distance2, enter_radius2, h.weight) < least):
            slot.waited = min(slot.waited + 1, WAITED_MAX)
            if next_cursor < 0:
                next_cursor = i
            continue
        if not is_delta:
            px, py, pz, _, _, _ = record_of(level, cold[row], outer, row)
            # What cannot be written relative to this origin is lost from sight.
            if not in_reach(px, py, pz, x, y, z):
                slot.status = LEAVING
                slot.leave_frame = next_frame
                s_leave[leaves] = i
                leaves += 1
                left -= LEAVE_BYTES
                continue
        left -= size
        slot.level = level
        slot.waited = 0
        if way is not None:
            s_delta[deltas] = i
            deltas += 1
            continue
        slot.held = target
        if is_delta:
            packed = outer[row].delta if out_delta else h.far
            s_delta[np.uint64(deltas)] = i
            s_delta_packed[np.uint64(deltas)] = h.near if near_delta else packed
            deltas += 1
        else:
            s_full[fulls] = i
            fulls += 1
    view.cursor = max(next_cursor, 0)
    view.tight = 1 if next_cursor >= 0 else 0

    live = looked - leaves
    numbers = len(slots)
    room = min(np.int64(view.cap) - live, np.int64(len(s_enter)))
    taken = 0
    waiting = 0
    if body >= 0 and hot[body].serial == body_serial:
        dx = np.int64(hot[body].x) - x
        dz = np.int64(hot[body].z) - z
        known += np.int64(dx * dx + dz * dz <= enter_radius2)
    found: Int = np.int64(0)
    if room > 0 and present != known:  # most views in most ticks know all who are in range
        found = strangers(x, z, enter_radius2, lines, mark_known(slots, high, next_frame, hot, s), grid, s)
    for phase in range(2):  # the near ones first
        if enters >= room:
            break
        for k in range(found):
            distance2 = s_distance2[k]
            if (distance2 <= near2) != (phase == 0):
                continue
            row = s_row[k]
            h = hot[row]
            if row == body and h.serial == body_serial:
                continue
            c = cold[row]
            level = FAR if distance2 > near2 else NEAR
            px, py, pz, _, _, _ = record_of(level, c, outer, row)
            ok = in_reach(px, py, pz, x, y, z)
            size = ENTER_BYTES + np.int64(c.full_bytes)
            if not ok or enters >= room:
                continue
            if left < size:
                waiting = 1
                continue
            if taken < free:
                i = s_free[taken]
                taken += 1
            elif high < numbers:
                i = high
                high += 1
            else:
                break
            left -= size
            enter_bytes += np.int64(c.full_bytes)
            slot = slots[i]
            slot.status = LIVE
            slot.row = row
            slot.serial = h.serial
            slot.level = level
            slot.held = version_of(level, h, outer, row)
            slot.state_held = h.state_version
            slot.waited = 0
            if way is not None:
                way.older[i].frame = 0
                way.newer[i].frame = 0
            s_enter[enters] = row
            s_enter_slot[enters] = i
            s_enter_level[enters] = level
            enters += 1
    view.high = high
    view.waiting = waiting
    view.live = live + enters
    n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7] = (
        leaves,
        enters,
        states,
        deltas,
        fulls,
        enter_bytes,
        state_bytes,
        looked,
    )


assert HOT.itemsize == 64
assert SLOT.itemsize == 24
