"""Write STRUCTURE and FRAME messages of many views, WebSocket headers included, into one buffer (STANDARD.md §4).

The bytes are those of ``protocol.frames``; tests compare them. Not responsible for: what is told (``interest``), to
whom a
frame goes now (``pace``), sending (``server.transport``).
"""

import numpy as np

from kernels.crowds import crowd_due, write_crowd
from kernels.interest import Scratch, age_and_yaw, record_of, select
from kernels.jit import jit
from kernels.layout import FRAME_RING, I32, I64, U8, VECTOR, Grid, Int, Records, ViewState
from kernels.put import put_bin, put_int, put_u16, put_u32, put_uint
from kernels.wsframe import write_header

BINARY = 2
MESSAGE_ROOM_BYTES = 40_000
"""Free space that a view's messages need at most: twice the frame limit, and headers."""


@jit
def put_origin(out: U8, at: Int, view: Records) -> int:
    """The array [x, y, z] of a view's centre."""
    out[at] = 0x93
    at = put_int(out, at + 1, view.x)
    at = put_int(out, at, view.y)
    return put_int(out, at, view.z)


@jit
def seal(out: U8, at: Int, end: Int) -> int:
    """Put the WebSocket header before the message that begins at ``at + 4`` and ends at ``end``; returns its end.

    A short message moves down by two bytes, so that messages follow each other without a gap.
    """
    length = end - at - 4
    begin = write_header(out, at, length, BINARY)
    if begin != at + 4:
        for k in range(length):
            out[begin + k] = out[at + 4 + k]
    return begin + length


@jit
def put_own(out: U8, p: Int, now_ms: Int, view: Records) -> int:
    """The own body's state if there is a new one (layouts.OWN), else nil; returns where the next value goes."""
    if not view.own_due:
        out[p] = 0xC0
        return p + 1
    view.own_due = 0
    out[p] = 0xC4
    out[p + 1] = 32
    p += 2
    put_u32(out, p, np.int64(view.own_seq))
    put_u32(out, p + 4, np.int64(view.stamp))
    put_u16(out, p + 8, min(max(now_ms - view.stamp_ms, 0), 65535))
    out[p + 10] = view.own_flags
    out[p + 11] = view.own_steps
    put_u32(out, p + 12, np.int64(view.own_px))
    put_u32(out, p + 16, np.int64(view.own_py))
    put_u32(out, p + 20, np.int64(view.own_pz))
    put_u16(out, p + 24, view.own_vx)
    put_u16(out, p + 26, view.own_vy)
    put_u16(out, p + 28, view.own_vz)
    put_u16(out, p + 30, 0)
    return p + 32


@jit
def look_from_body(view: Records, hot: Records, cold: Records) -> None:
    """A view's centre follows its body."""
    if view.body >= 0 and hot[view.body].serial == view.body_serial:
        view.x = hot[view.body].x
        view.z = hot[view.body].z
        view.y = cold[view.body].py


@jit
def write_structure(
    out: U8,
    at: Int,
    tick: Int,
    view: Records,
    slots: Records,
    hot: Records,
    cold: Records,
    outer: Records,
    blobs: U8,
    s: Scratch,
    n: I64,
) -> int:
    """One STRUCTURE message at ``out[at + 4:]``, room for its header before it; returns its end."""
    s_leave = s.leave
    s_enter = s.enter
    s_enter_slot = s.enter_slot
    s_enter_level = s.enter_level
    s_state = s.state
    s_state_full = s.state_full
    leaves, enters, states, enter_bytes, state_bytes = n[0], n[1], n[2], n[5], n[6]
    begin = at + 4
    out[begin] = 0x96
    out[begin + 1] = 17
    out[begin + 2] = 0xCE
    for k in range(4):
        out[begin + 3 + k] = (view.sseq >> np.uint32(8 * (3 - k))) & np.uint32(255)
    p = put_uint(out, begin + 7, tick)
    p = put_uint(out, p, np.int64(view.frame))
    p = put_origin(out, p, view)
    columns = 8 + enters * 28 + leaves * 2 + states * 4 + enter_bytes + state_bytes
    p = put_bin(out, p, begin, columns, 8)
    put_u16(out, p, enters)
    put_u16(out, p + 2, leaves)
    put_u16(out, p + 4, states)
    put_u16(out, p + 6, 0)
    ids = p + 8
    numbers = ids + 8 * enters
    kinds = numbers + 2 * enters
    places = kinds + 2 * enters
    sizes = places + 12 * enters
    leave_numbers = sizes + 2 * enters
    state_numbers = leave_numbers + 2 * leaves
    state_sizes = state_numbers + 2 * states
    ages = state_sizes + 2 * states
    yaws = ages + enters
    blob = yaws + enters
    for k in range(enters):
        h = hot[s_enter[k]]
        c = cold[s_enter[k]]
        entity = c.id
        for b in range(8):
            out[ids + 8 * k + b] = (entity >> np.uint64(8 * b)) & np.uint64(255)
        put_u16(out, numbers + 2 * k, s_enter_slot[k])
        put_u16(out, kinds + 2 * k, c.kind)
        put_u16(out, sizes + 2 * k, c.full_bytes)
        px, py, pz, vx, vy, vz = record_of(s_enter_level[k], c, outer, s_enter[k])
        age, yaw = age_and_yaw(s_enter_level[k], tick, h, outer, s_enter[k])
        at_k = places + 2 * k
        put_u16(out, at_k, px - view.x)
        put_u16(out, at_k + 2 * enters, py - view.y)
        put_u16(out, at_k + 4 * enters, pz - view.z)
        put_u16(out, at_k + 6 * enters, vx)
        put_u16(out, at_k + 8 * enters, vy)
        put_u16(out, at_k + 10 * enters, vz)
        out[ages + k] = age
        out[yaws + k] = np.uint8(yaw)
        for b in range(c.full_bytes):
            out[blob + b] = blobs[c.full_at + b]
        blob += c.full_bytes
    for k in range(leaves):
        put_u16(out, leave_numbers + 2 * k, s_leave[k])
    for k in range(states):
        c = cold[slots[s_state[k]].row]
        size = np.int64(c.full_bytes) if s_state_full[k] else np.int64(c.changed_bytes)
        source = np.int64(c.full_at) if s_state_full[k] else np.int64(c.changed_at)
        put_u16(out, state_numbers + 2 * k, s_state[k])
        put_u16(out, state_sizes + 2 * k, size)
        for b in range(size):
            out[blob + b] = blobs[source + b]
        blob += size
    return int(blob)


@jit
def write_frame(
    out: U8,
    at: Int,
    tick: Int,
    now_ms: Int,
    view: Records,
    slots: Records,
    hot: Records,
    cold: Records,
    outer: Records,
    s: Scratch,
    n: I64,
) -> int:
    """One FRAME message with its header at ``out[at:]``; returns its end."""
    s_delta = s.delta
    s_delta_packed = s.delta_packed
    s_full = s.full
    deltas, fulls = n[3], n[4]
    begin = at + 4
    out[begin] = 0x98
    out[begin + 1] = 18
    p = put_uint(out, begin + 2, np.int64(view.stream))
    p = put_uint(out, p, np.int64(view.frame))
    p = put_uint(out, p, tick)
    p = put_uint(out, p, np.int64(view.sseq))
    p = put_own(out, p, now_ms, view)
    if fulls > 0:
        p = put_origin(out, p, view)
    else:
        out[p] = 0xC0
        p += 1
    if deltas + fulls == 0:
        out[p] = 0xC0
        return seal(out, at, p + 1)
    p = put_bin(out, p, begin, 4 + deltas * 9 + fulls * 16, 2)
    put_u16(out, p, deltas)
    put_u16(out, p + 2, fulls)
    d_number = p + 4
    f_number = d_number + 2 * deltas
    f_place = f_number + 2 * fulls
    d_change = f_place + 12 * fulls
    d_yaw = d_change + 6 * deltas
    f_age = d_yaw + deltas
    f_yaw = f_age + fulls
    # Slices begin at zero, so that their indices are plainly not negative and the loops become vector instructions.
    # Whole vectors: what is written beyond a column's end is overwritten by what follows it.
    whole = (deltas + VECTOR - 1) // VECTOR * VECTOR
    numbers = out[d_number : d_number + 2 * whole]
    for k in range(whole):
        numbers[2 * k] = np.uint8(s_delta[k] & 255)
        numbers[2 * k + 1] = np.uint8(s_delta[k] >> 8)
    for byte in range(7):  # dx dy dz dvx dvy dvz yaw
        column = out[d_change + byte * deltas : d_change + byte * deltas + whole]
        shift = np.uint64(8 * byte)
        for k in range(whole):
            column[k] = np.uint8(s_delta_packed[k] >> shift)
    for k in range(fulls):
        i = s_full[k]
        row = slots[i].row
        h = hot[row]
        c = cold[row]
        px, py, pz, vx, vy, vz = record_of(slots[i].level, c, outer, row)
        age, yaw = age_and_yaw(slots[i].level, tick, h, outer, row)
        put_u16(out, f_number + 2 * k, i)
        e = f_place + 2 * k
        put_u16(out, e, px - view.x)
        put_u16(out, e + 2 * fulls, py - view.y)
        put_u16(out, e + 4 * fulls, pz - view.z)
        put_u16(out, e + 6 * fulls, vx)
        put_u16(out, e + 8 * fulls, vy)
        put_u16(out, e + 10 * fulls, vz)
        out[f_age + k] = age
        out[f_yaw + k] = np.uint8(yaw)
    return seal(out, at, f_yaw + fulls)


@jit
def encode_views(
    chosen: I32,
    budgets: I32,
    first: Int,
    tick: Int,
    now_ms: Int,
    keepalive_ms: Int,
    state: ViewState,
    hot: Records,
    cold: Records,
    outer: Records,
    grid: Grid,
    blobs: U8,
    s: Scratch,
    out: U8,
    out_view: I32,
    out_at: I64,
    out_bytes: I64,
    totals: I64,
) -> Int:
    """Cull, select and encode for ``chosen[first:]`` until ``out`` is full; returns the index of the first view not
    reached.

    ``chosen`` int32[k] views, ``budgets`` int32[k] bytes; ``out_*``: view, offset and length of each view's bytes,
    ``totals``
    int64[9]: views written (reset here), and added up: leaves, enters, states, deltas, fulls, bytes, frames, slots
    looked at.
    Writes to: ``state``, ``out*``, ``totals``, ``s``. Deterministic: yes.
    """
    at = 0
    written = 0
    n = s.counts
    index = first
    while index < len(chosen) and at + MESSAGE_ROOM_BYTES <= len(out):
        v = chosen[index]
        view = state.views[v]
        slots = state.slot[v]
        look_from_body(view, hot, cold)
        select(view, slots, tick, budgets[index], hot, cold, outer, grid, s, n, None)
        index += 1
        totals[8] += n[7]
        structure = n[0] + n[1] + n[2] > 0
        if not structure and n[3] + n[4] == 0 and not view.own_due and now_ms - view.sent_ms < keepalive_ms:
            continue
        view.frame += np.uint32(1)
        begin = at
        if structure:
            view.sseq += np.uint32(1)
            at = seal(out, at, write_structure(out, at, tick, view, slots, hot, cold, outer, blobs, s, n))
        at = write_frame(out, at, tick, now_ms, view, slots, hot, cold, outer, s, n)
        if crowd_due(view, tick):
            at = seal(out, at, write_crowd(out, at + 4, tick, view, slots, hot, cold, grid, s))
        view.sent_ms = now_ms
        view.written_bytes += at - begin
        view.allowance -= at - begin
        ring = view.frame & np.uint32(FRAME_RING - 1)
        state.sent_ms[v, ring] = now_ms
        state.sent_bytes[v, ring] = view.written_bytes
        out_view[written] = v
        out_at[written] = begin
        out_bytes[written] = at - begin
        written += 1
        for k in range(5):
            totals[1 + k] += n[k]
        totals[6] += at - begin
        totals[7] += 1
    totals[0] = written
    return index
