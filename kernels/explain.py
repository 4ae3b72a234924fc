"""What there is to say of each entity that a view knows: the numbers by which :func:`kernels.interest.select` decides.

For the operators' interest debugger: called for one view when somebody asks, never in a tick. Invariant: every rule
here is a function of ``interest``, so that what is told of a decision is what decided it. Not responsible for: words
(``server.core.explain``)."""

import numpy as np

from kernels.encode import look_from_body
from kernels.interest import Scratch, next_level, on_its_way, priority, reach, runs, select, version_of
from kernels.jit import jit
from kernels.layout import FAR, I64, LIVE, NEAR, Grid, Int, OnWay, Records, Sent, ViewState

DISTANCE2, LEVEL, DUE, ON_WAY, RANK, AGE = range(6)
COLUMNS = 6
UNKNOWN = -1
"""Distance of what is not there any more."""


@jit
def explain_slots(
    view: Records,
    slots: Records,
    tick: Int,
    enter_radius2: Int,
    hot: Records,
    outer: Records,
    way: OnWay | None,
    out: I64,
) -> None:
    """Of each LIVE slot below ``view.high``, int64[numbers, COLUMNS]: squared distance (grid units), the level that it
    is told at next, whether an update is due, whether that is on its way already, its priority where not all fits, and
    for how many ticks the newest record of that level has been there. Other rows are 0. Writes to: ``out``."""
    x, z = np.int64(view.x), np.int64(view.z)
    near2 = np.int64(view.near_radius) * view.near_radius
    near_leave2 = np.int64(view.near_leave_radius) * view.near_leave_radius
    outer2 = np.int64(view.outer_radius) * view.outer_radius
    outer_leave2 = np.int64(view.outer_leave_radius) * view.outer_leave_radius
    next_frame = np.uint32(view.frame + np.uint32(1))
    for i in range(view.high):
        slot = slots[i]
        out[i, :] = 0
        if slot.status != LIVE:
            continue
        row = slot.row
        h = hot[row]
        if h.serial != slot.serial:
            out[i, DISTANCE2] = UNKNOWN
            continue
        dx, dz = np.int64(h.x) - x, np.int64(h.z) - z
        distance2 = dx * dx + dz * dz
        level = next_level(slot.level, distance2, near2, near_leave2, outer2, outer_leave2, tick, h, outer, row)
        target = version_of(level, h, outer, row)
        recorded = h.tick if level == NEAR else h.far_tick if level == FAR else outer[row].tick
        out[i, DISTANCE2] = distance2
        out[i, LEVEL] = level
        out[i, DUE] = slot.held != target
        if way is not None:
            out[i, ON_WAY] = on_its_way(way.older[i], target, next_frame, way) or on_its_way(
                way.newer[i], target, next_frame, way
            )
        out[i, RANK] = priority(slot.waited, distance2, enter_radius2, h.weight)
        out[i, AGE] = np.int64(np.int32(np.int32(tick) - recorded))


@jit
def _look(
    tick: Int,
    budget: Int,
    state: ViewState,
    hot: Records,
    cold: Records,
    outer: Records,
    grid: Grid,
    s: Scratch,
    n: I64,
    out: I64,
    reached: I64,
    way: OnWay | None,
) -> None:
    view, slots = state.views[0], state.slot[0]
    look_from_body(view, hot, cold)
    x, z = np.int64(view.x), np.int64(view.z)
    around, _, enter_radius2, leave_radius2 = reach(view, x, z, runs(x, z, view.radius, grid, s), grid, s)
    reached[0], reached[1], reached[2] = around, enter_radius2, leave_radius2
    explain_slots(view, slots, tick, enter_radius2, hot, outer, way, out)
    select(view, slots, tick, budget, hot, cold, outer, grid, s, n, way)


@jit
def look_on(
    tick: Int,
    budget: Int,
    state: ViewState,
    hot: Records,
    cold: Records,
    outer: Records,
    grid: Grid,
    s: Scratch,
    n: I64,
    out: I64,
    reached: I64,
) -> None:
    """A frame of ``tick`` within ``budget`` bytes for a copy of one view, ``state`` (its index is 0): what
    :func:`kernels.interest.select` would have it told. ``n`` int64[8]: as there; ``out``: as of :func:`explain_slots`,
    before that frame; ``reached`` int64[3]: how many are within the radius, squared radius of enters, of leaves. Writes
    to: ``state``, ``s``, ``n``, ``out``, ``reached``."""
    _look(tick, budget, state, hot, cold, outer, grid, s, n, out, reached, None)


@jit
def look_on_values(
    tick: Int,
    budget: Int,
    now_ms: Int,
    slack_ms: Int,
    state: ViewState,
    sent: Sent,
    hot: Records,
    cold: Records,
    outer: Records,
    grid: Grid,
    s: Scratch,
    n: I64,
    out: I64,
    reached: I64,
) -> None:
    """As :func:`look_on`, of a view that is told by datagrams; ``sent``: a copy of what it was sent. Writes to
    ``sent``, too."""
    way = OnWay(sent.older[0], sent.newer[0], state.sent_ms[0], now_ms, state.views[0].rtt_ms + slack_ms)
    _look(tick, budget, state, hot, cold, outer, grid, s, n, out, reached, way)
