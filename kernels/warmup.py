"""Compiles every kernel by calling it on a small world: what ``isthmus warmup`` and start-up run (DESIGN §5).

Not responsible for: showing progress (``isthmus.warmup``), kernels of shards and transports that have lists of their
own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.encode import encode_views
from kernels.explain import COLUMNS, look_on, look_on_values
from kernels.interest import scratch
from kernels.layout import COLD, FRAME_RING, HELD, HOT, OUTER, SLOT, VIEW, Sent, ViewState
from kernels.mirror import empty_grid, extrapolate, renew_outer, sort_into_cells, take_far, take_renewals
from kernels.pace import choose, take_acks, take_owns
from kernels.pose_intake import take_pose, take_said
from kernels.poses import (
    POSE_ROW,
    POSE_SLOT,
    PoseRanges,
    PoseStore,
    take_told,
    write_poses,
)
from kernels.poses import scratch as pose_scratch
from kernels.publish import published, renew
from kernels.values import encode_values, take_value_acks

Step = tuple[str, Callable[[], object]]


def _publish() -> None:
    one = np.zeros(1, np.uint32)
    place = np.zeros((1, 3))
    tolerances = np.array([0.01, 0.1]), np.array([2, 8], np.int64)
    flags = np.zeros(1, np.uint8)
    renew(one, place, place, np.zeros(1), 20.0, 1, *tolerances, 40, published(1), one.copy(), flags)


def _mirror() -> None:
    hot, cold = np.zeros(4, HOT), np.zeros(4, COLD)
    rows, number = np.zeros(1, np.int64), np.zeros(1, np.uint32)
    p, v, yaw, age = (
        np.zeros((1, 3), np.int32),
        np.zeros((1, 3), np.int16),
        np.zeros(1, np.uint8),
        np.zeros(1, np.uint16),
    )
    # Columns of a decoded delta are read-only, those of one made in place are not: numba compiles for each.
    for writable in (True, False):
        columns: list[Any] = [np.array(c) for c in (number, p, v, yaw, age, yaw)]
        for column in columns:
            column.flags.writeable = writable
        number_c, p_c, v_c, yaw_c, age_c, flags_c = columns
        take_renewals(rows, number_c, p_c, v_c, yaw_c, age_c, flags_c, 1, False, hot, cold)
        take_far(rows, number_c, p_c, v_c, yaw_c, age_c, 1, hot, cold)
    bounds = np.zeros(4, np.int64)
    extrapolate(4, 1, hot, cold, bounds)
    renew_outer(4, 1, 50, hot, cold, np.zeros(4, OUTER), np.zeros(1, np.uint32))
    sort_into_cells(4, hot, bounds, 1024, empty_grid(4), np.zeros(4, np.int32))


def _views() -> None:
    views = ViewState(
        np.zeros(1, VIEW),
        np.zeros((1, 8), SLOT),
        np.zeros((1, FRAME_RING), np.int64),
        np.zeros((1, FRAME_RING), np.int64),
    )
    one, index, byte = np.zeros(1, np.uint32), np.zeros(1, np.int32), np.zeros(1, np.uint8)
    long, counts = np.zeros(1, np.int64), np.zeros(9, np.int64)
    take_acks(one, one, one, 1, views, index)
    place = np.zeros((1, 3), np.int32)
    take_owns(long, one, one, byte, byte, place, place, index - 1, views)
    choose(1, 1, 1, 250, 16384, byte, views, index, index.copy(), counts)
    views.views["body"] = -1
    buffer = np.zeros(65536, np.uint8)
    hot, cold, outer = np.zeros(4, HOT), np.zeros(4, COLD), np.zeros(4, OUTER)
    sent = Sent(0, *(np.zeros((1, 8), HELD) for _ in range(3)))
    take_value_acks(one, one, np.zeros(1, np.uint64), 1, views, sent)
    chosen = np.zeros(1, np.int32)
    budgets = np.full(1, 4096, np.int32)
    out = (buffer, np.zeros(1, np.int32), long, long.copy(), counts)
    seen = (hot, cold, outer, empty_grid(4), np.zeros(8, np.uint8), scratch(4, 8))
    encode_views(chosen, budgets, 0, 1, 1, 1000, views, *seen, *out)
    room = (np.zeros(64, np.int32), np.zeros(64, np.int64), np.zeros(64, np.int64), np.zeros(64, np.uint8))
    encode_values(chosen, budgets, 0, 1, 1, 1000, 150, views, sent, *seen, buffer, *room, counts)
    told = (np.zeros(8, np.int64), np.zeros((8, COLUMNS), np.int64), np.zeros(3, np.int64))
    looked = (hot, cold, outer, empty_grid(4), scratch(4, 8))
    look_on(1, 4096, views, *looked, *told)
    look_on_values(1, 4096, 1, 150, views, sent, *looked, *told)


def _poses() -> None:
    byte, index, one, long = np.zeros(1, np.uint8), np.zeros(1, np.int32), np.zeros(1, np.uint32), np.zeros(1, np.int64)
    data, samples = np.zeros(128, np.uint8), np.zeros((1, 102), np.uint8)
    kept = byte, one, byte.copy(), byte.copy(), samples
    take_said(index, index.copy(), np.full(1, 100, np.int32), data, *kept, index.copy())
    take_pose(0, 1, data, 0, 34, *kept)
    store = PoseStore(
        np.zeros(4, POSE_ROW),
        np.zeros((4, 3, 3), np.uint32),
        np.zeros((4, 3, 3), np.uint32),
        np.zeros((4, 3, 4), np.uint8),
        np.zeros(4, np.uint32),
        np.zeros((4, 2), np.uint16),
    )
    part, meta, hand = np.zeros((1, 3), np.uint32), np.zeros((1, 4), np.uint8), np.zeros((1, 2), np.uint16)
    hot = np.zeros(4, HOT)
    take_told(long, byte, byte.copy(), part, part.copy(), meta, one, hand, 1, hot, store)
    views = ViewState(
        np.zeros(1, VIEW),
        np.zeros((1, 8), SLOT),
        np.zeros((1, FRAME_RING), np.int64),
        np.zeros((1, FRAME_RING), np.int64),
    )
    room = pose_scratch(8)
    told = np.zeros((1, 8), POSE_SLOT)
    write_poses(
        0, 1, 1, byte, byte.copy(), np.zeros((1, 2), np.int32), np.zeros((1, 2), np.int64),
        told, PoseRanges(1, 1, 1, 1, 1, 500, 900, 100), views, hot, store,
        room,
        np.zeros(4096, np.uint8), index.copy(), long, long.copy(), np.zeros(5, np.int64),
    )  # fmt: skip


def steps() -> list[Step]:
    """(name, call) of each step, in the order in which a tick needs them."""
    return [
        ("published states", _publish),
        ("mirror", _mirror),
        ("views and frames", _views),
        ("head and hands", _poses),
    ]
