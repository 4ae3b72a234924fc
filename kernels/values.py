"""Views that are told by datagrams: STRUCTURE into their reliable streams, VALUES by what was acknowledged
(STANDARD.md §9.4).

Theory of operation. A slot remembers the record that is known to have come (``base``) and two that are on their way
(``older``, ``newer``). What is due is written as the difference to ``base``, so no datagram needs any other one; when
``older`` is acknowledged it becomes ``base``, and ``newer`` takes its place, so the base follows at the pace of round
trips whatever gets lost. A delta says where its entity is at the message's tick, also of a state that is older.

Invariants: a base was acknowledged; a message fits a datagram; ``frame`` counts messages with values. Not responsible
for: what is due (``interest``), pace (``pace``), sealing and sending (``server.transport``).
"""

import numpy as np

from kernels.crowds import crowd_due, write_crowd
from kernels.encode import MESSAGE_ROOM_BYTES, look_from_body, put_origin, put_own, write_structure
from kernels.interest import Scratch, age_and_yaw, record_of, select, version_of
from kernels.jit import jit
from kernels.layout import (
    FRAME_RING,
    I32,
    I64,
    U8,
    U32,
    U64,
    VECTOR,
    YAW_SHIFT,
    Grid,
    Int,
    OnWay,
    Records,
    Sent,
    ViewState,
)
from kernels.pace import WINDOW_LEAST_BYTES
from kernels.put import put_bin, put_u16, put_uint
from protocol.layouts import VELOCITY_PER_GRID, VELOCITY_SHIFT

VALUES = 28
RELIABLE, UNRELIABLE = 1, 2
"""Kinds of messages, as in a datagram's parts."""
VALUES_BYTES_MAX = 1140
"""What a datagram has for one message, when its stream part is small."""
_HEAD_BYTES = 90
"""Of a message, at most: numbers, own state, origin, pads."""
_DELTA_BYTES = 10
_FULL_BYTES = 16
_BASE_MAX = 255
_BASE_SHIFT = np.uint64(56)
MESSAGES_MAX = 32
"""Of one view in one tick."""
_ACK_BITS = 64
_LOST_AFTER = 3
"""A frame that is not acknowledged when a so much later one is, is given up as a base to come."""
_LOST_MAX = 18
"""Of 61 frames: 30 %. A fifth may be lost at random (DESIGN §7), and sending less would not help that."""
_BACK_OFF_LEAST_MS = 200
_HALF = VELOCITY_PER_GRID // 2


@jit
def is_acked(frame: Int, newest: Int, earlier: Int) -> bool:
    """Whether an acknowledgement of ``newest`` and the bits ``earlier`` names ``frame``."""
    back = np.int64(np.int32(np.uint32(newest) - np.uint32(frame)))
    if back == 0:
        return True
    return bool(1 <= back <= _ACK_BITS and (np.uint64(earlier) >> np.uint64(back - 1)) & np.uint64(1) != 0)


@jit
def back_off(view: Records, newest: Int, earlier: Int, now_ms: Int) -> None:
    """Fewer bytes on their way if so many of the last frames were lost that it is not chance, once in a round trip."""
    if newest <= _ACK_BITS or now_ms - view.backed_ms < max(np.int64(view.rtt_ms), _BACK_OFF_LEAST_MS):
        return
    lost = 0
    for bit in range(_LOST_AFTER, _ACK_BITS):  # the newest ones may still come
        lost += (np.uint64(earlier) >> np.uint64(bit)) & np.uint64(1) == 0
    if lost > _LOST_MAX:
        view.backed_ms = now_ms
        view.window_bytes = max(np.int64(view.window_bytes) * 3 // 4, WINDOW_LEAST_BYTES)


@jit
def take_value_acks(conn: U32, frame: U32, earlier: U64, now_ms: Int, state: ViewState, sent: Sent) -> None:
    """What views hold now. ``conn``, ``frame`` uint32[n], ``earlier`` uint64[n], in arrival order; of views below
    ``sent.first`` nothing is taken, nor is ``earlier`` looked at. Writes to: ``state.slot``, ``sent``."""
    for k in range(len(conn)):
        v = conn[k]
        if v < sent.first:
            continue
        view = state.views[v]
        if not view.active or np.int32(view.frame - frame[k]) < 0:
            continue
        back_off(view, frame[k], earlier[k], now_ms)
        if view.own_frame != 0 and is_acked(view.own_frame, frame[k], earlier[k]):
            view.own_frame = 0
        slots = state.slot[v]
        base, older, newer = sent.base[v - sent.first], sent.older[v - sent.first], sent.newer[v - sent.first]
        for i in range(view.high):
            if older[i].frame == 0:
                continue
            if newer[i].frame != 0 and is_acked(newer[i].frame, frame[k], earlier[k]):
                base[i] = newer[i]
                slots[i].held = newer[i].version
                older[i].frame = 0
                newer[i].frame = 0
            elif is_acked(older[i].frame, frame[k], earlier[k]):
                base[i] = older[i]
                slots[i].held = older[i].version
                older[i] = newer[i]
                newer[i].frame = 0
            elif np.int32(frame[k] - older[i].frame) >= _LOST_AFTER:
                older[i] = newer[i]
                newer[i].frame = 0


@jit
def along(p: Int, v: Int, dt: Int) -> int:
    """Where a record is after ``dt`` ticks, rounded as STANDARD.md §4 does."""
    return int(np.int64(p) + ((np.int64(v) * np.int64(dt) + _HALF) >> VELOCITY_SHIFT))


@jit
def fits(value: Int) -> bool:
    """Whether it is a signed byte."""
    return bool(-128 <= value <= 127)


@jit
def write_values(
    out: U8,
    at: Int,
    pos: Int,
    due: Int,
    tick: Int,
    now_ms: Int,
    view: Records,
    slots: Records,
    base: Records,
    older: Records,
    newer: Records,
    hot: Records,
    cold: Records,
    outer: Records,
    s: Scratch,
    done: I64,
) -> int:
    """One VALUES message at ``out[at:]`` with what is due of ``s.delta[pos:due]`` as far as it fits; returns its end.

    ``done`` int64[3]: where the next message goes on, and how many deltas and fulls this one has. Writes to: ``out``,
    ``view``, ``older``, ``newer``, ``s``, ``done``.
    """
    room = VALUES_BYTES_MAX - _HEAD_BYTES
    deltas = fulls = 0
    frame = np.uint32(view.frame)
    # ``s.free`` and ``s.full`` are lists that nobody needs any more; a delta's bytes and base go where it was listed.
    while pos < due:
        i = s.delta[pos]
        slot = slots[i]
        h = hot[slot.row]
        c = cold[slot.row]
        px, py, pz, vx, vy, vz = record_of(slot.level, c, outer, slot.row)
        version = version_of(slot.level, h, outer, slot.row)
        age, yaw = age_and_yaw(slot.level, tick, h, outer, slot.row)
        b = base[i]
        back = np.int64(np.uint32(frame - b.frame))
        is_delta = b.frame != 0 and back <= _BASE_MAX
        if is_delta:
            qx, qy, qz = along(px, vx, age), along(py, vy, age), along(pz, vz, age)
            dt = np.int64(np.int32(np.int32(tick) - b.tick))
            dx, dy, dz = (
                qx - along(b.px, b.vx, dt),
                qy - along(b.py, b.vy, dt),
                qz - along(b.pz, b.vz, dt),
            )
            dvx, dvy, dvz = vx - b.vx, vy - b.vy, vz - b.vz
            is_delta = fits(dx) and fits(dy) and fits(dz) and fits(dvx) and fits(dvy) and fits(dvz)
            if is_delta:
                if room < _DELTA_BYTES:
                    break
                room -= _DELTA_BYTES
                packed = (
                    np.uint64(dx & 255) | np.uint64(dy & 255) << np.uint64(8) | np.uint64(dz & 255) << np.uint64(16)
                )
                packed |= np.uint64(dvx & 255) << np.uint64(24) | np.uint64(dvy & 255) << np.uint64(32)
                packed |= np.uint64(dvz & 255) << np.uint64(40) | (np.uint64(yaw) & np.uint64(255)) << YAW_SHIFT
                s.delta_packed[deltas] = packed | np.uint64(back) << _BASE_SHIFT
                s.free[deltas] = i
                deltas += 1
                px, py, pz = np.int64(qx), np.int64(qy), np.int64(qz)
                age = np.int64(0)
        if not is_delta:
            if room < _FULL_BYTES:
                break
            room -= _FULL_BYTES
            s.full[fulls] = i
            fulls += 1
        if older[i].frame == 0:
            to = older[i]
        else:
            to = newer[i]
        to.frame = frame
        to.version = version
        to.tick = np.int32(tick - age)
        to.px, to.py, to.pz = px, py, pz
        to.vx, to.vy, to.vz = vx, vy, vz
        pos += 1
    done[0], done[1], done[2] = pos, deltas, fulls

    out[at] = 0x98
    out[at + 1] = VALUES
    p = put_uint(out, at + 2, np.int64(view.stream))
    p = put_uint(out, p, np.int64(frame))
    p = put_uint(out, p, tick)
    p = put_uint(out, p, np.int64(view.sseq))
    if view.own_due:
        view.own_frame = frame
    p = put_own(out, p, now_ms, view)
    if fulls > 0:
        p = put_origin(out, p, view)
    else:
        out[p] = 0xC0
        p += 1
    if deltas + fulls == 0:
        out[p] = 0xC0
        return p + 1
    p = put_bin(out, p, at, 4 + deltas * _DELTA_BYTES + fulls * _FULL_BYTES, 2)
    put_u16(out, p, deltas)
    put_u16(out, p + 2, fulls)
    d_number = p + 4
    f_number = d_number + 2 * deltas
    f_place = f_number + 2 * fulls
    d_change = f_place + 12 * fulls
    f_age = d_change + 8 * deltas
    f_yaw = f_age + fulls
    for k in range(deltas):
        put_u16(out, d_number + 2 * k, s.free[k])
    # Whole vectors, as in ``encode``: what is written beyond a column's end is overwritten by what follows it.
    whole = (deltas + VECTOR - 1) // VECTOR * VECTOR
    for byte in range(8):  # dx dy dz dvx dvy dvz yaw base
        column = out[d_change + byte * deltas : d_change + byte * deltas + whole]
        shift = np.uint64(8 * byte)
        for k in range(whole):
            column[k] = np.uint8(s.delta_packed[k] >> shift)
    for k in range(fulls):
        i = s.full[k]
        slot = slots[i]
        # Where it was just noted: the same numbers.
        if newer[i].frame == frame:
            r = newer[i]
        else:
            r = older[i]
        h = hot[slot.row]
        _, yaw = age_and_yaw(slot.level, tick, h, outer, slot.row)
        put_u16(out, f_number + 2 * k, i)
        e = f_place + 2 * k
        put_u16(out, e, np.int64(r.px) - view.x)
        put_u16(out, e + 2 * fulls, np.int64(r.py) - view.y)
        put_u16(out, e + 4 * fulls, np.int64(r.pz) - view.z)
        put_u16(out, e + 6 * fulls, r.vx)
        put_u16(out, e + 8 * fulls, r.vy)
        put_u16(out, e + 10 * fulls, r.vz)
        out[f_age + k] = np.int32(tick) - r.tick
        out[f_yaw + k] = np.uint8(yaw)
    return f_yaw + fulls


@jit
def encode_values(
    chosen: I32,
    budgets: I32,
    first: Int,
    tick: Int,
    now_ms: Int,
    keepalive_ms: Int,
    slack_ms: Int,
    state: ViewState,
    sent: Sent,
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
    out_kind: U8,
    totals: I64,
) -> Int:
    """As :func:`kernels.encode.encode_views`, for views of datagrams: messages without headers, with their kinds.

    ``slack_ms``: what is on its way may take this much longer than the round trip. ``totals[0]``: messages.
    """
    at = 0
    written = 0
    n = s.counts
    done = s.ring  # int64, idle by then
    index = first
    while index < len(chosen) and at + MESSAGE_ROOM_BYTES <= len(out) and written + MESSAGES_MAX <= len(out_view):
        v = chosen[index]
        view = state.views[v]
        slots = state.slot[v]
        u = v - sent.first
        base, older, newer = sent.base[u], sent.older[u], sent.newer[u]
        look_from_body(view, hot, cold)
        ring = view.own_frame & np.uint32(FRAME_RING - 1)
        if view.own_frame != 0 and now_ms - state.sent_ms[v, ring] > view.rtt_ms + slack_ms:
            view.own_due = 1  # it was lost, and of a body that stands no newer state would follow
        way = OnWay(older, newer, state.sent_ms[v], now_ms, view.rtt_ms + slack_ms)
        select(view, slots, tick, budgets[index], hot, cold, outer, grid, s, n, way)
        index += 1
        totals[8] += n[7]
        structure = n[0] + n[1] + n[2] > 0
        due = n[3]
        if not structure and due == 0 and not view.own_due and now_ms - view.sent_ms < keepalive_ms:
            continue
        begin = at
        if structure:
            view.sseq += np.uint32(1)
            end = write_structure(out, at, tick, view, slots, hot, cold, outer, blobs, s, n)
            for k in range(n[1]):
                base[s.enter_slot[k]].frame = 0
            out_view[written], out_at[written], out_bytes[written], out_kind[written] = (
                v,
                at + 4,
                end - at - 4,
                RELIABLE,
            )
            written += 1
            at = end
        totals[1] += n[0]
        totals[2] += n[1]
        totals[3] += n[2]
        pos = 0
        messages = 0
        while messages == 0 or (pos < due and messages < MESSAGES_MAX - 2):
            view.frame += np.uint32(1)
            end = write_values(
                out, at, pos, due, tick, now_ms, view, slots, base, older, newer, hot, cold, outer, s, done
            )
            pos = done[0]
            totals[4] += done[1]
            totals[5] += done[2]
            out_view[written], out_at[written], out_bytes[written], out_kind[written] = v, at, end - at, UNRELIABLE
            written += 1
            messages += 1
            view.written_bytes += end - at
            ring = view.frame & np.uint32(FRAME_RING - 1)
            state.sent_ms[v, ring] = now_ms
            state.sent_bytes[v, ring] = view.written_bytes
            at = end
            totals[7] += 1
        if crowd_due(view, tick):
            end = write_crowd(out, at, tick, view, slots, hot, cold, grid, s)
            out_view[written], out_kind[written] = v, UNRELIABLE
            out_at[written], out_bytes[written] = at, end - at
            written += 1
            at = end
        view.sent_ms = now_ms
        view.allowance -= at - begin
        totals[6] += at - begin
    totals[0] = written
    return index


assert VALUES_BYTES_MAX > _HEAD_BYTES + _FULL_BYTES
assert MESSAGES_MAX * VALUES_BYTES_MAX <= MESSAGE_ROOM_BYTES
