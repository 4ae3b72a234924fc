"""When a view gets a frame, and how large: a slow client costs itself frames, never the tick or memory (DESIGN:
backpressure).

Sockets and proxies swallow megabytes before they push back, so only acknowledgements are believed. A view whose oldest
unacknowledged frame is older than its round trip and ``patience_ms`` is stalled: it gets nothing until all is
acknowledged. The window bounds the bytes in flight; it doubles while it is used up and frames are acknowledged about
as fast as ever, and halves when they queue (delay-based, the idea of TCP Vegas and LEDBAT, RFC 6817).

The delay of an empty path is not known where the path is narrow: even the least window then takes long to pass. A view
whose acknowledgements are late therefore gets, once in each round-trip window, a small frame alone on the path, and
nothing after it until it is acknowledged (the idea of BBR's ProbeRTT). Not responsible for: what is in a frame.
"""

import numpy as np

from kernels.jit import jit
from kernels.layout import FRAME_RING, I32, I64, U8, U32, Int, ViewState
from protocol.layouts import OWN_MOVED

WINDOW_FIRST_BYTES = 1024
WINDOW_LEAST_BYTES = 1024
"""Half a second at 2 KB/s. What a client shows is at most some two windows old: one on its way, one acknowledged."""
WINDOW_MOST_BYTES = 1 << 18
QUEUE_SHORT_MS = 150
"""Acknowledgements come at 4 to 10 Hz: so much delay says nothing about the network."""
QUEUE_LONG_MS = 300
RTT_WINDOW_MS = 15_000
RTT_FIRST_MS = 1000
PROBE_ABOVE_MS = 400
"""Acknowledgements later than this are not explained by an honest network and their own pace."""
PROBE_BYTES = 256
PROBE_IDLE, PROBE_WANTED, PROBE_SENT, PROBE_DONE = 0, 1, 2, 3


@jit
def take_acks(conn: U32, frame: U32, stamp: U32, now_ms: Int, state: ViewState, forged: I32) -> int:
    """Note acknowledged frames and clock stamps, in arrival order.

    ``conn``, ``frame``, ``stamp`` uint32[n]; ``forged`` int32[>= n] gets the views that acknowledged a frame never
    written;
    returns how many. An acknowledgement that is older than one before is not an error. Writes to: ``state``,
    ``forged``.
    """
    bad = 0
    for k in range(len(conn)):
        v = conn[k]
        view = state.views[v]
        if not view.active:
            continue
        view.heard_ms = now_ms
        view.stamp = stamp[k]
        view.stamp_ms = now_ms
        ahead = np.int64(np.int32(view.frame - frame[k]))
        if ahead < 0:
            forged[bad] = v
            bad += 1
            continue
        if np.int32(frame[k] - view.acked) <= 0 or ahead >= FRAME_RING:
            continue
        is_used_up = 2 * (view.written_bytes - view.acked_bytes) >= view.window_bytes
        view.acked = frame[k]
        ring = frame[k] & np.uint32(FRAME_RING - 1)
        sample = max(now_ms - state.sent_ms[v, ring], 0)
        view.acked_bytes = state.sent_bytes[v, ring]
        if now_ms >= view.rtt_window_end_ms:
            if view.rtt_window_end_ms > 0:
                view.rtt_ms = view.rtt_window_ms
            view.rtt_window_ms = sample
            view.rtt_window_end_ms = now_ms + RTT_WINDOW_MS
            if view.probe == PROBE_DONE:
                view.probe = PROBE_IDLE
        view.rtt_window_ms = min(np.int64(view.rtt_window_ms), sample)
        view.rtt_ms = min(np.int64(view.rtt_ms), sample)
        if view.probe == PROBE_SENT:
            view.probe = PROBE_DONE
        elif view.probe == PROBE_IDLE and sample > PROBE_ABOVE_MS:
            view.probe = PROBE_WANTED
        queue = sample - view.rtt_ms
        if queue > QUEUE_LONG_MS:
            view.window_bytes = max(np.int64(view.window_bytes) // 2, WINDOW_LEAST_BYTES)
        elif queue < QUEUE_SHORT_MS and is_used_up and view.probe != PROBE_WANTED:
            view.window_bytes = min(2 * np.int64(view.window_bytes), WINDOW_MOST_BYTES)
    return bad


@jit
def choose(
    high: Int,
    tick: Int,
    now_ms: Int,
    patience_ms: Int,
    frame_bytes_max: Int,
    blocked: U8,
    state: ViewState,
    chosen: I32,
    budgets: I32,
    counts: I64,
) -> int:
    """Which of the views below ``high`` may get a frame now, and of how many bytes; returns how many.

    ``blocked`` uint8[views]: the carrier still holds an unsent tail. ``counts`` int64[2]: active views, stalled or
    blocked ones.
    Writes to: ``state``, ``chosen``, ``budgets``, ``counts``.
    """
    count = 0
    active = 0
    held = 0
    for v in range(high):
        view = state.views[v]
        if not view.active:
            continue
        active += 1
        if tick < view.next_tick:
            continue
        flight = np.int64(np.int32(view.frame - view.acked))
        flight_bytes = view.written_bytes - view.acked_bytes
        if view.values:
            # What is lost is never acknowledged: once in a round trip a small frame asks whether anybody is there.
            oldest = (view.acked + np.uint32(1)) & np.uint32(FRAME_RING - 1)
            late = flight > 0 and now_ms - state.sent_ms[v, oldest] > view.rtt_ms + patience_ms
            if flight == 0:
                flight_bytes = np.int64(0)
            elif late or flight >= FRAME_RING - 64:
                if now_ms - view.backed_ms > view.rtt_ms + patience_ms:
                    view.backed_ms = now_ms
                    view.window_bytes = max(np.int64(view.window_bytes) // 2, WINDOW_LEAST_BYTES)
                if blocked[v] or now_ms - view.sent_ms < view.rtt_ms or flight >= FRAME_RING - 1:
                    held += 1
                    continue
                chosen[count] = v
                budgets[count] = PROBE_BYTES
                count += 1
                continue
        elif flight == 0:
            view.stalled = 0
            flight_bytes = np.int64(0)
        elif not view.stalled:
            oldest = (view.acked + np.uint32(1)) & np.uint32(FRAME_RING - 1)
            if now_ms - state.sent_ms[v, oldest] > view.rtt_ms + patience_ms or flight >= FRAME_RING - 1:
                view.stalled = 1
                view.window_bytes = max(np.int64(view.window_bytes) // 2, WINDOW_LEAST_BYTES)
        budget = min(np.int64(frame_bytes_max), view.window_bytes - flight_bytes)
        measures = not view.values and (view.probe == PROBE_WANTED or view.probe == PROBE_SENT)
        if view.bytes_per_s > 0:
            # A second's worth is saved at most: what a quiet view leaves is there for the next who enter.
            gained = np.int64(view.bytes_per_s) * (now_ms - view.refilled_ms) // 1000
            view.allowance = min(view.allowance + gained, np.int64(view.bytes_per_s))
            view.refilled_ms = now_ms
            budget = min(budget, view.allowance)
        if view.stalled or blocked[v] or budget < WINDOW_LEAST_BYTES // 4 or (measures and flight > 0):
            held += 1
            continue
        if measures:
            view.probe = PROBE_SENT
            budget = min(budget, np.int64(PROBE_BYTES))
        # Views of one kind take turns, and one that was late is in turn again.
        view.next_tick = tick + view.every - (tick + v) % view.every
        chosen[count] = v
        budgets[count] = budget
        count += 1
    counts[0] = active
    counts[1] = held
    return count


@jit
def take_owns(
    rows: I64, serials: U32, seq: U32, steps: U8, flags: U8, p: I32, v: I32, hot_view: I32, state: ViewState
) -> None:
    """Own states of bodies, by mirror row (int64[n]); ``hot_view`` int32[rows] names the view whose body a row is, or
    -1.

    A state that no frame has told yet is replaced, but that something else moved the body stays said.
    """
    for k in range(len(rows)):
        index = hot_view[rows[k]]
        if index < 0:
            continue
        view = state.views[index]
        if view.body_serial != serials[k]:
            continue
        untold = view.own_flags & OWN_MOVED if view.own_due or view.own_frame != 0 else 0
        view.own_due = 1
        view.own_seq = seq[k]
        view.own_steps = steps[k]
        view.own_flags = flags[k] | untold
        view.own_px, view.own_py, view.own_pz = p[k, 0], p[k, 1], p[k, 2]
        view.own_vx, view.own_vy, view.own_vz = v[k, 0], v[k, 1], v[k, 2]
