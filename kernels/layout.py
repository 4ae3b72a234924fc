"""Records that the gateway's kernels work on: one line of memory for what is looked at each tick, another for the rest.

A mirror row is an entity as its shard published it; a slot is what one view holds under one number. Invariants are
asserted
below. Not responsible for: allocation and growth (``server.core``), the wire (``protocol.layouts``).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

HOT = np.dtype(
    [
        ("x", "<i4"),  # shown position at the current tick, grid units
        ("z", "<i4"),
        ("serial", "<u4"),  # who occupies the row: a new one for each occupant; 0: nobody
        ("version", "<u4"),  # near level's published version
        ("prev", "<u4"),  # the version that the near delta refers to
        ("far_version", "<u4"),
        ("far_prev", "<u4"),
        ("state_version", "<u4"),  # components
        ("tick", "<i4"),  # record ticks, modulo 2**32
        ("far_tick", "<i4"),
        ("near", "<u8"),  # packed delta against ``prev``, see pack_delta
        ("far", "<u8"),  # the same against ``far_prev``
        ("state_tick", "<i4"),  # when ``state_changed`` was published
        ("weight", "<u4"),  # how often what waits of it is doubled, where not all fits: by kind
    ]
)
"""What every view looks at, for every entity it sees, each tick: one cache line."""

COLD = np.dtype(
    [
        ("px", "<i4"),  # near record
        ("py", "<i4"),
        ("pz", "<i4"),
        ("vx", "<i2"),
        ("vy", "<i2"),
        ("vz", "<i2"),
        ("kind", "<u2"),
        ("far_px", "<i4"),
        ("far_py", "<i4"),
        ("far_pz", "<i4"),
        ("far_vx", "<i2"),
        ("far_vy", "<i2"),
        ("far_vz", "<i2"),
        ("pad", "<u2"),
        ("id", "<u8"),
        ("full_at", "<u4"),  # all components, in the blob arena
        ("changed_at", "<u4"),
        ("full_bytes", "<u2"),
        ("changed_bytes", "<u2"),
        ("pad2", "<u4"),
    ]
)

OUTER = np.dtype(
    [
        ("version", "<u4"),
        ("prev", "<u4"),  # the version that the delta refers to
        ("tick", "<i4"),
        ("px", "<i4"),
        ("py", "<i4"),
        ("pz", "<i4"),
        ("vx", "<i2"),
        ("vy", "<i2"),
        ("vz", "<i2"),
        ("pad", "<u2"),
        ("delta", "<u8"),  # as ``near`` in HOT; the yaw is there in any case
        ("serial", "<u4"),  # whom the record is of
        ("pad2", "<u4"),
        ("pad3", "<u8"),
        ("pad4", "<u8"),
    ]
)
"""The outermost level's record of a row. The gateway makes it from the far one (``mirror.renew_outer``); its versions
have the highest bit, so that they are never a shard's."""

NEAR, FAR, OUT = 0, 1, 2
"""Levels of a slot."""

SLOT = np.dtype(
    [
        ("row", "<i4"),
        ("serial", "<u4"),
        ("held", "<u4"),  # version that the view holds
        ("state_held", "<u4"),
        ("leave_frame", "<u4"),  # the frame that told of the leave; the number is free when that is acknowledged
        ("status", "u1"),
        ("level", "u1"),
        ("waited", "<u2"),  # frames in which it was due and did not fit
    ]
)

FITS = np.uint64(1 << 56)
"""Bit of a packed delta: its six differences fit their bytes, and it was published at the current tick."""
YAW_SHIFT = np.uint64(48)

VECTOR = 16
"""Items of a column that are written at once."""

FREE = 0
LIVE = 1
LEAVING = 2

FRAME_RING = 256
"""Frames whose time and size a view remembers; no more than that may be unacknowledged."""

HELD = np.dtype(
    [
        ("frame", "<u4"),  # the datagram's; 0: nothing
        ("version", "<u4"),
        ("tick", "<i4"),
        ("px", "<i4"),
        ("py", "<i4"),
        ("pz", "<i4"),
        ("vx", "<i2"),
        ("vy", "<i2"),
        ("vz", "<i2"),
        ("pad", "<u2"),
    ]
)
"""A record as a datagram carried it (STANDARD.md §9.4)."""

VIEW = np.dtype(
    [
        ("active", "u1"),
        ("stalled", "u1"),
        ("own_due", "u1"),
        ("own_flags", "u1"),
        ("own_steps", "u1"),
        ("waiting", "u1"),  # 1: an enter did not fit the last frame, so the next keeps room for it
        ("values", "u1"),  # told by datagrams: what it holds is what it acknowledged
        ("tight", "u1"),  # something that was due did not fit the last frame
        ("stream", "<u2"),
        ("body", "<i4"),  # mirror row of the own body, -1: none
        ("body_serial", "<u4"),
        ("x", "<i4"),  # centre, grid units; follows the body
        ("y", "<i4"),
        ("z", "<i4"),
        ("radius", "<i4"),  # grid units, as the next three
        ("leave_radius", "<i4"),
        ("near_radius", "<i4"),
        ("near_leave_radius", "<i4"),
        ("outer_radius", "<i4"),
        ("outer_leave_radius", "<i4"),
        ("cap", "<i4"),
        ("high", "<i4"),  # slots at and above were never used
        ("live", "<i4"),
        ("cursor", "<i4"),  # where the updates of a frame over budget begin
        ("frame", "<u4"),  # newest frame written
        ("acked", "<u4"),  # newest frame acknowledged
        ("sseq", "<u4"),
        ("own_seq", "<u4"),
        ("own_px", "<i4"),
        ("own_py", "<i4"),
        ("own_pz", "<i4"),
        ("own_vx", "<i2"),
        ("own_vy", "<i2"),
        ("own_vz", "<i2"),
        ("probe", "<u2"),  # pace.PROBE_*: whether the round trip is being measured with a small frame
        ("stamp", "<u4"),
        ("stamp_ms", "<i8"),  # when the stamp came, server's clock
        ("heard_ms", "<i8"),  # when anything came
        ("sent_ms", "<i8"),  # when the newest frame was written
        ("rtt_ms", "<i4"),  # least round trip of this window and the one before
        ("rtt_window_ms", "<i4"),
        ("rtt_window_end_ms", "<i8"),
        ("window_bytes", "<i4"),
        ("own_frame", "<u4"),  # of datagrams: the one that carried the own state last and is not acknowledged; 0: none
        ("written_bytes", "<i8"),
        ("acked_bytes", "<i8"),
        ("every", "<i4"),  # ticks from one frame to the next
        ("bytes_per_s", "<i4"),  # budget; 0: none
        ("next_tick", "<i8"),  # before it there is no frame
        ("allowance", "<i8"),  # bytes that may be written now
        ("refilled_ms", "<i8"),
        ("crowd_every", "<i4"),  # ticks; 0: never told of crowds
        ("crowded", "u1"),  # more are in range than the cap
        ("crowd_told", "u1"),
        ("crowd_tick", "<i8"),
        ("backed_ms", "<i8"),  # of datagrams: when less was sent because too many were lost or late
    ],
    align=True,
)

assert HOT.itemsize == 64
assert COLD.itemsize == 64
assert OUTER.itemsize == 64
assert SLOT.itemsize == 24
assert HELD.itemsize == 32
assert VIEW.itemsize % 8 == 0
assert FRAME_RING & (FRAME_RING - 1) == 0

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Records = Any
"""One record or an array of records of a dtype above: numba reads fields by name, for which NumPy has no static
type."""
Int = int | np.integer[Any]


class Grid(NamedTuple):
    """Mirror rows sorted by cell (counting sort): rows of cell c are ``row[start[c]:start[c + 1]]``, with their
    positions."""

    start: I32
    row: I32
    x: I32
    z: I32
    shape: I64
    """[first cell's x, first cell's z, cells along x, cells along z, cell size], grid units."""


class ViewState(NamedTuple):
    """All views of a gateway. ``views`` VIEW[views]; ``slot`` SLOT[views, numbers]; ``sent_ms``, ``sent_bytes``
    int64[views, FRAME_RING]."""

    views: Records
    slot: Records
    sent_ms: I64
    sent_bytes: I64


class Sent(NamedTuple):
    """What datagrams carried to views ``first`` and above: HELD[views, numbers] each.

    ``base``: the newest that is known to have come, which deltas refer to; ``older``, ``newer``: on their way. Of more
    than two the one between is forgotten: so one of them is old enough to be acknowledged, and one is new.
    """

    first: int
    base: Records
    older: Records
    newer: Records


class OnWay(NamedTuple):
    """The same of one view: HELD[numbers] each, and when its frames were sent, int64[FRAME_RING]. What was sent more
    than ``wait_ms`` before ``now_ms`` is not expected to be acknowledged any more."""

    older: Records
    newer: Records
    sent_ms: I64
    now_ms: Int
    wait_ms: Int
