"""Head and hands in a gateway: taken from regions, and written for all views (STANDARD.md §11).

Decides who is told of whose pose now: near ones of each change, farther ones of the newest at a lower rate, nobody
beyond; within a budget, in turn where it does not suffice. A view keeps for each number the tick of the pose that it
was told; an update is due while the held one is newer. Invariants: only numbers that live in a view's stream are named;
who leaves the range, or has no pose any more, is told of once more. The bytes are those of ``protocol.poses``; tests
compare them. Not responsible for: what people may do with their hands (``posing``), whether a view follows its frames
(``pace``).
"""

from typing import Final, NamedTuple

import numpy as np

from kernels.encode import seal
from kernels.jit import jit
from kernels.layout import I32, I64, LIVE, U8, U32, Int, Records, ViewState
from kernels.posing import MID_BIT, NEAR_BIT, U16
from kernels.put import put_bin, put_u16, put_u32, put_uint
from protocol.pose_layout import MID_ENTRY_BYTES, NEAR_ENTRY_BYTES, NEAR_SAMPLE_BYTES, PARTS, SAMPLES_MAX

OVERHEAD_BYTES: Final = 40
"""WebSocket and message headers, counts and pads, rounded up."""
DEBT_TICKS: Final = 4
"""What frames took too much (who joins gets all around) is made up for by so many ticks with few poses."""
ALIGN: Final = 4

POSE_ROW = np.dtype(
    [
        ("serial", "<u4"),  # of the mirror's occupant that it is about; 0: nobody
        ("near_tick", "<i4"),  # when each level was renewed, modulo 2**32
        ("mid_tick", "<i4"),
        ("count", "u1"),  # near samples; 0: no pose any more
        ("mid", "u1"),  # whether there is a mid sample
        ("pad", "<u2"),
    ]
)
"""What every view looks at, by mirror row."""

POSE_SLOT = np.dtype(
    [
        ("serial", "<u4"),
        ("held", "<i4"),  # tick of the pose that it was told
        ("told", "<i4"),  # tick when it was
        ("level", "u1"),
        ("pad", "u1"),
        ("pad2", "<u2"),
    ]
)
"""What one view was told under one number."""
NONE, HOLDS_MID, HOLDS_NEAR = 0, 1, 2


class PoseStore(NamedTuple):
    """By mirror row: ``row`` POSE_ROW[rows], and the encoded samples ``near_p``, ``near_q`` uint32[rows, 3, 3],
    ``near_meta`` uint8[rows, 3, 4], ``mid_head`` uint32[rows], ``mid_hand`` uint16[rows, 2]."""

    row: Records
    near_p: U32
    near_q: U32
    near_meta: U8
    mid_head: U32
    mid_hand: U16


class PoseScratch(NamedTuple):
    """Slots of one view, int32[numbers] each: ``near`` and ``mid`` are due, ``gone`` have no pose any more, ``turned``
    is room to turn them in; ``counts`` int64[4]."""

    near: I32
    mid: I32
    gone: I32
    turned: I32
    counts: I64


def scratch(numbers: Int) -> PoseScratch:
    """For views of up to ``numbers`` numbers."""
    near, mid, gone, turned = (np.zeros(numbers, np.int32) for _ in range(4))
    return PoseScratch(near, mid, gone, turned, np.zeros(4, np.int64))


class PoseRanges(NamedTuple):
    """Squared ranges in grid units, with those at which one leaves again; ``mid_every`` ticks between two mid updates
    of one entity. Bytes of one view and tick: ``budget`` at most, ``total`` with all that its frames have, and
    ``least`` in any case."""

    near2: int
    near_leave2: int
    mid2: int
    mid_leave2: int
    mid_every: int
    budget: int
    total: int
    least: int


# --------------------------------------------------------------------------------------------------------- from regions
@jit
def take_told(
    rows: I64,
    flags: U8,
    count: U8,
    near_p: U32,
    near_q: U32,
    near_meta: U8,
    mid_head: U32,
    mid_hand: U16,
    tick: Int,
    hot: Records,
    store: PoseStore,
) -> None:
    """Take over a region's poses (the columns of RegionDelta) for mirror rows int64[k] (-1: not mirrored).

    The caller has seen to it that samples are as many as ``count`` and ``flags`` say. Writes to: ``store``.
    """
    near = np.int64(0)
    mid = np.int64(0)
    for k in range(len(rows)):
        first_near, first_mid = near, mid
        near += count[k]
        mid += flags[k] & MID_BIT != 0
        if rows[k] < 0:
            continue
        r = rows[k]
        row = store.row[r]
        if row.serial != hot[r].serial:
            row.serial = hot[r].serial
            row.count = 0
            row.mid = 0
            row.near_tick = row.mid_tick = tick
        if flags[k] & NEAR_BIT:
            row.near_tick = tick
            row.count = min(np.int64(count[k]), SAMPLES_MAX)
            for s in range(row.count):
                for part in range(PARTS):
                    store.near_p[r, s, part] = near_p[first_near + s, part]
                    store.near_q[r, s, part] = near_q[first_near + s, part]
                for c in range(4):
                    store.near_meta[r, s, c] = near_meta[first_near + s, c]
        if flags[k] & MID_BIT:
            row.mid_tick = tick
            row.mid = 1
            store.mid_head[r] = mid_head[first_mid]
            store.mid_hand[r, 0], store.mid_hand[r, 1] = mid_hand[first_mid, 0], mid_hand[first_mid, 1]


# ------------------------------------------------------------------------------------------------------------ for views
@jit
def choose_poses(
    view: Records,
    slots: Records,
    told: Records,
    tick: Int,
    r: PoseRanges,
    hot: Records,
    rows: Records,
    s: PoseScratch,
) -> None:
    """Which slots of a view are due, in ascending order; ``s.counts`` gets how many are near, mid and gone, and how
    many samples the near ones have.

    ``told`` POSE_SLOT[numbers]: forgets numbers that live no more. Writes to: ``told``, ``s``.
    """
    near, mid, gone, samples = 0, 0, 0, np.int64(0)
    x, z = np.int64(view.x), np.int64(view.z)
    for i in range(view.high):
        slot = slots[i]
        mine = told[i]
        if slot.status != LIVE or mine.serial != slot.serial:
            mine.level = NONE
            mine.serial = slot.serial
            if slot.status != LIVE:
                continue
        pose = rows[slot.row]
        level = NONE
        if pose.serial == slot.serial and pose.count > 0:
            h = hot[slot.row]
            dx, dz = np.int64(h.x) - x, np.int64(h.z) - z
            distance2 = dx * dx + dz * dz
            if distance2 <= (r.near_leave2 if mine.level == HOLDS_NEAR else r.near2):
                level = HOLDS_NEAR
            elif pose.mid and distance2 <= (r.mid2 if mine.level == NONE else r.mid_leave2):
                level = HOLDS_MID
        if level == NONE:
            if mine.level != NONE:
                s.gone[gone] = i
                gone += 1
        elif level == HOLDS_NEAR:
            if mine.level != HOLDS_NEAR or np.int32(pose.near_tick - mine.held) > 0:
                s.near[near] = i
                near += 1
                samples += pose.count
        elif mine.level == NONE or (
            np.int32(pose.mid_tick - mine.held) > 0 and np.int32(np.int32(tick) - mine.told) >= r.mid_every
        ):
            s.mid[mid] = i
            mid += 1
    s.counts[0], s.counts[1], s.counts[2], s.counts[3] = near, mid, gone, samples


@jit
def _first_from(slots: I32, count: Int, cursor: Int) -> Int:
    """Where in ``slots[:count]`` (ascending) those from ``cursor`` on begin; 0 if there are none."""
    for k in range(count):
        if slots[k] >= cursor:
            return np.int64(k)
    return np.int64(0)


@jit
def _keep_first(slots: I32, count: Int, first: Int, keep: Int, room: I32) -> None:
    """Make ``slots[:keep]`` those from ``first`` on, going round. ``room``: for the result on its way."""
    if first == 0:
        return
    for k in range(keep):
        at = first + k
        room[k] = slots[at - count if at >= count else at]
    for k in range(keep):
        slots[k] = room[k]


@jit
def write_poses(
    first: Int,
    high: Int,
    tick: Int,
    wants: U8,
    blocked: U8,
    cursor: I32,
    purse: I64,
    told: Records,
    r: PoseRanges,
    state: ViewState,
    hot: Records,
    store: PoseStore,
    s: PoseScratch,
    out: U8,
    out_view: I32,
    out_at: I64,
    out_bytes: I64,
    totals: I64,
) -> Int:
    """POSES messages, WebSocket headers included, of the views from ``first`` below ``high``, until ``out`` is full;
    returns the first view not reached.

    ``wants`` uint8[views]; ``cursor`` int32[views, 2]: the slots from which on near and mid ones are told next;
    ``purse`` int64[views, 2]: bytes that a view may still have, and what it had been written when that was reckoned;
    ``told`` POSE_SLOT[views, numbers]. ``totals`` int64[5]: messages (reset here), and added up: near and mid entities,
    samples, bytes. Views that are stalled, blocked or have used up their window are passed over. Writes to:
    ``state.views`` (bytes written), ``told``, ``cursor``, ``purse``, ``s``, ``out*``, ``totals``.
    """
    at = 0
    written = 0
    v = first
    while v < high and at + r.budget + OVERHEAD_BYTES <= len(out):
        view = state.views[v]
        n = v
        v += 1
        if wants[n] == 0 or view.active == 0:
            continue
        left = purse[n, 0] + r.total - (view.written_bytes - purse[n, 1])
        purse[n, 0] = max(min(left, r.budget), -DEBT_TICKS * r.total)
        purse[n, 1] = view.written_bytes
        if view.stalled != 0 or blocked[n] != 0 or view.high == 0:
            continue
        flight = view.written_bytes - view.acked_bytes if view.frame != view.acked else np.int64(0)
        budget = min(max(purse[n, 0], r.least), view.window_bytes - flight) - OVERHEAD_BYTES
        if budget < NEAR_ENTRY_BYTES + NEAR_SAMPLE_BYTES:
            continue
        slots, mine = state.slot[n], told[n]
        choose_poses(view, slots, mine, tick, r, hot, store.row, s)
        nears, mids, gones, samples = s.counts[0], s.counts[1], s.counts[2], s.counts[3]
        if nears + mids + gones == 0:
            continue
        # Those far away keep a third of the room; what the near ones leave is theirs, too.
        left = budget - min(MID_ENTRY_BYTES * mids, budget // 3)
        gones = min(gones, left // NEAR_ENTRY_BYTES)
        left -= NEAR_ENTRY_BYTES * gones
        whole = nears * NEAR_ENTRY_BYTES + samples * NEAR_SAMPLE_BYTES <= left
        near_fit = nears
        if not whole:
            near_fit = min(nears, left // (NEAR_ENTRY_BYTES + NEAR_SAMPLE_BYTES))
            samples = near_fit
        used = (near_fit + gones) * NEAR_ENTRY_BYTES + samples * NEAR_SAMPLE_BYTES
        mid_fit = min(mids, (budget - used) // MID_ENTRY_BYTES)
        # In turn: from where the last ones that found room ended. Each level has a turn of its own, else those far away
        # would always be looked at behind the same near ones.
        near_from, mid_from = _first_from(s.near, nears, cursor[n, 0]), _first_from(s.mid, mids, cursor[n, 1])
        begin = at
        _keep_first(s.near, nears, near_from, near_fit, s.turned)
        _keep_first(s.mid, mids, mid_from, mid_fit, s.turned)
        if near_fit > 0:
            cursor[n, 0] = s.near[near_fit - 1] + 1
        if mid_fit > 0:
            cursor[n, 1] = s.mid[mid_fit - 1] + 1
        at = _write(out, at, tick, view, slots, mine, near_fit, mid_fit, gones, samples, whole, store, s)
        view.written_bytes += at - begin
        purse[n, 0] -= at - begin
        purse[n, 1] = view.written_bytes
        if view.frame == view.acked:  # no frame is under way whose acknowledgement could tell that these came, too
            view.acked_bytes = view.written_bytes
        out_view[written], out_at[written], out_bytes[written] = n, begin, at - begin
        written += 1
        totals[1] += near_fit
        totals[2] += mid_fit
        totals[3] += samples
        totals[4] += at - begin
    totals[0] = written
    return v


@jit
def _write(
    out: U8,
    at: Int,
    tick: Int,
    view: Records,
    slots: Records,
    told: Records,
    nears: Int,
    mids: Int,
    gones: Int,
    samples: Int,
    whole: bool,
    store: PoseStore,
    s: PoseScratch,
) -> int:
    """One message with its header at ``out[at:]``; returns its end."""
    begin = at + 4
    out[begin], out[begin + 1] = 0x95, 32
    p = put_uint(out, begin + 2, np.int64(view.stream))
    p = put_uint(out, p, tick)
    p = put_uint(out, p, np.int64(view.sseq))
    entries = nears + gones
    size = 8 + samples * NEAR_SAMPLE_BYTES + entries * NEAR_ENTRY_BYTES + mids * MID_ENTRY_BYTES
    p = put_bin(out, p, begin, size, ALIGN)
    put_u16(out, p, entries)
    put_u16(out, p + 2, mids)
    put_u16(out, p + 4, samples)
    put_u16(out, p + 6, 0)
    parts = p + 8
    heads = parts + 24 * samples
    near_number = heads + 4 * mids
    mid_number = near_number + 2 * entries
    hands = mid_number + 2 * mids
    counts = hands + 4 * mids
    meta = counts + entries
    n = 0
    for k in range(nears):
        i = np.int64(s.near[k])
        row = np.int64(slots[i].row)
        pose = store.row[row]
        count = np.int64(pose.count)
        put_u16(out, near_number + 2 * k, i)
        out[counts + k] = count if whole else 1
        for sample in range(0 if whole else count - 1, count):
            for part in range(PARTS):
                put_u32(out, parts + 4 * ((2 * part) * samples + n), np.int64(store.near_p[row, sample, part]))
                put_u32(out, parts + 4 * ((2 * part + 1) * samples + n), np.int64(store.near_q[row, sample, part]))
            for c in range(4):
                out[meta + c * samples + n] = store.near_meta[row, sample, c]
            n += 1
        told[i].level, told[i].held, told[i].told = HOLDS_NEAR, pose.near_tick, np.int32(tick)
    for k in range(gones):
        i = np.int64(s.gone[k])
        put_u16(out, near_number + 2 * (nears + k), i)
        out[counts + nears + k] = 0
        told[i].level = NONE
    for k in range(mids):
        i = np.int64(s.mid[k])
        row = np.int64(slots[i].row)
        put_u32(out, heads + 4 * k, np.int64(store.mid_head[row]))
        put_u16(out, mid_number + 2 * k, i)
        put_u16(out, hands + 2 * k, np.int64(store.mid_hand[row, 0]))
        put_u16(out, hands + 2 * (mids + k), np.int64(store.mid_hand[row, 1]))
        told[i].level, told[i].held, told[i].told = HOLDS_MID, store.row[row].mid_tick, np.int32(tick)
    return seal(out, at, meta + 4 * samples)


assert POSE_ROW.itemsize == 16
assert POSE_SLOT.itemsize == 16
