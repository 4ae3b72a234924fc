"""POSE messages of many clients, taken in one call: the newest of each counts (STANDARD.md §11).

Invariant: any bytes end in a pose or in a connection that is named as wrong. Not responsible for: sockets
(``wsparse``), what people may do (``judging``).
"""

from typing import Final

import numpy as np

from kernels.jit import jit
from kernels.layout import I32, U8, U32, Int
from protocol.pose_layout import SAMPLE, SAMPLES_MAX

_SAMPLE_BYTES: Final = SAMPLE.itemsize


@jit
def _read_uint(data: U8, at: Int, end: Int) -> tuple[Int, Int]:
    """A msgpack integer below 2³²: (value, where it ends), or (0, -1)."""
    nothing = np.int64(0), np.int64(-1)
    if at >= end:
        return nothing
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, np.int64(at + 1)
    if lead < 0xCC or lead > 0xCE:
        return nothing
    size = np.int64(1) << (lead - 0xCC)
    if at + 1 + size > end:
        return nothing
    value = np.int64(0)
    for k in range(size):
        value = (value << 8) | np.int64(data[at + 1 + k])
    return value, np.int64(at + 1 + size)


@jit
def take_said(
    conn: I32, at: I32, size: I32, data: U8, speaks: U8, stamp: U32, fresh: U8, count: U8, samples: U8, bad: I32
) -> int:
    """POSE messages ``data[at : at + size]`` of connections int32[n]; the newest of each connection is kept.

    ``speaks``, ``fresh``, ``count`` uint8[conns], ``stamp`` uint32[conns], ``samples`` uint8[conns, 102]: of those that
    may have a pose, whether there is a new one, and what it is. Returns how many connections ``bad`` (int32[n]) names,
    whose message is not what the standard says. Writes to: all from ``stamp`` on.
    """
    wrong = 0
    for k in range(len(conn)):
        begin, end = np.int64(at[k]), np.int64(at[k]) + size[k]
        items = np.int64(data[begin]) - 0x90
        value, cursor = _read_uint(data, begin + 2, end)
        fits = 3 <= items <= 15 and cursor >= 0 and cursor + 2 <= end and data[cursor] == 0xC4
        length = np.int64(data[cursor + 1]) if fits else 0
        fits = fits and 0 < length <= SAMPLES_MAX * _SAMPLE_BYTES and length % _SAMPLE_BYTES == 0
        if not fits or cursor + 2 + length > end or (items == 3 and cursor + 2 + length != end):
            bad[wrong] = conn[k]
            wrong += 1
            continue
        take_pose(conn[k], value, data, cursor + 2, length, speaks, stamp, fresh, count, samples)
    return wrong


@jit
def take_pose(
    c: Int, value: Int, data: U8, at: Int, length: Int, speaks: U8, stamp: U32, fresh: U8, count: U8, samples: U8
) -> None:
    """One POSE with stamp ``value`` whose samples are ``data[at : at + length]``; arrays as in :func:`take_said`."""
    if speaks[c] == 0:
        return
    if speaks[c] == 2 and np.int32(np.uint32(value) - stamp[c]) <= 0:
        return
    speaks[c] = 2  # from the second on only newer ones count
    stamp[c] = value
    fresh[c] = 1
    count[c] = length // _SAMPLE_BYTES
    for k in range(length):
        samples[c, k] = data[at + k]
