"""Head and hands in a shard: their columns, and what of them is published (STANDARD.md §11).

A level is published when it is off by more than its tolerance; once more AGAIN_TICKS after the last change, because a
message may get lost; and not at all while nothing moves. Invariants: what is published was judged (``judging``);
positions are in pose units (1/1024 m) from the body's feet, in the world's axes. Not responsible for: what a body may
do, who sees what (``poses``), messages.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.jit import jit
from kernels.layout import I64, U8, U32, Int
from protocol.pose_layout import (
    CHEST,
    COARSE_HALF,
    COARSE_ROTATION_BITS,
    COARSE_ROTATION_HALF,
    COARSE_UNITS,
    FINE_HALF,
    FINE_UNITS,
    NO_HAND,
    PARTS,
    ROTATION_BITS,
    ROTATION_HALF,
)

I16 = npt.NDArray[np.int16]
U16 = npt.NDArray[np.uint16]

NEWEST: Final = 0
NEAR: Final = 1
MID: Final = 2
LEVELS: Final = 3
NEAR_BIT: Final = 1
MID_BIT: Final = 2

NEAR_PLACE: Final = 4
NEAR_ROTATION: Final = 6
"""Tolerances of the near level: 4 mm on each axis, about 1° (in units of a fine component)."""
MID_PLACE: Final = 56
MID_ROTATION: Final = 50
"""And of the mid level: 5.5 cm, about 8°; above what its units round off."""
GRIP: Final = 1
AGAIN_TICKS: Final = 10

PLACE: Final = 3 * PARTS
FINE_MASK: Final = (1 << ROTATION_BITS) - 1
_CHEST_FINE: Final = CHEST // FINE_UNITS
_CHEST_COARSE: Final = CHEST // COARSE_UNITS


class Posed(NamedTuple):
    """Columns of a shard's table, by row; three levels beside each other: NEWEST as it came and was judged, NEAR and
    MID as published last.

    ``p`` int16[rows, 27], ``q`` uint32[rows, 9], ``grip`` uint8[rows, 6], ``tracked`` uint8[rows, 3] (0: no pose),
    ``tick`` int64[rows, 3], ``again`` uint8[rows]: levels that are to be told once more.
    """

    p: I16
    q: U32
    grip: U8
    tracked: U8
    tick: I64
    again: U8


COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("v.p", "<i2", LEVELS * PLACE),
    ("v.q", "<u4", LEVELS * PARTS),
    ("v.grip", "u1", LEVELS * 2),
    ("v.tracked", "u1", LEVELS),
    ("v.tick", "<i8", LEVELS),
    ("v.again", "u1", 0),
)
"""Name, dtype and width of each."""


class Said(NamedTuple):
    """POSEs as gateways told them: of each its row int64[k], generation uint32[k] and how many ``samples`` uint8[k]; of
    all samples in order ``back`` and ``tracked`` uint8[s], ``grip`` uint8[s, 2], ``p`` int16[s, 9], ``q`` uint32[s, 3].
    ``known`` uint8[k] is written by ``judge``: whose row is the one that was meant."""

    row: I64
    generation: U32
    samples: U8
    back: U8
    tracked: U8
    grip: U8
    p: I16
    q: U32
    known: U8


class Told(NamedTuple):
    """What is published: ``row`` uint32[k], ``flags`` uint8[k] (NEAR_BIT, MID_BIT), ``samples`` uint8[k]: how many near
    ones (0 with NEAR_BIT: no pose any more); of all near samples in order ``near_p``, ``near_q`` uint32[s, 3] and
    ``near_meta`` uint8[s, 4] (back_ms, tracked, grips); of all with MID_BIT in order ``mid_head`` uint32[m],
    ``mid_hand`` uint16[m, 2]. ``counts`` int64[3]: k, s, m."""

    row: U32
    flags: U8
    samples: U8
    near_p: U32
    near_q: U32
    near_meta: U8
    mid_head: U32
    mid_hand: U16
    counts: I64


def told(rows: int, samples: int) -> Told:
    """Room for ``rows`` bodies with ``samples`` near samples in all."""
    return Told(
        np.zeros(rows, np.uint32),
        np.zeros(rows, np.uint8),
        np.zeros(rows, np.uint8),
        np.zeros((samples, PARTS), np.uint32),
        np.zeros((samples, PARTS), np.uint32),
        np.zeros((samples, 4), np.uint8),
        np.zeros(rows, np.uint32),
        np.zeros((rows, 2), np.uint16),
        np.zeros(3, np.int64),
    )


# -------------------------------------------------------------------------------------------------------------- publish
@jit
def _differs(posed: Posed, row: Int, level: Int, said: Said, s: Int, place: Int, turn: Int) -> bool:
    """Whether a sample is farther from what is published than a level tolerates."""
    if posed.tracked[row, level] != said.tracked[s]:
        return True
    for hand in range(2):
        was, now = np.int64(posed.grip[row, 2 * level + hand]), np.int64(said.grip[s, hand])
        if abs((was >> 4) - (now >> 4)) > GRIP or abs((was & 15) - (now & 15)) > GRIP:
            return True
    for c in range(PLACE):
        if abs(np.int64(posed.p[row, PLACE * level + c]) - said.p[s, c]) > place:
            return True
    for part in range(PARTS):
        was, now = np.int64(posed.q[row, PARTS * level + part]), np.int64(said.q[s, part])
        if was >> (3 * ROTATION_BITS) != now >> (3 * ROTATION_BITS):
            return True
        for k in range(3):
            if abs((was >> (ROTATION_BITS * k) & FINE_MASK) - (now >> (ROTATION_BITS * k) & FINE_MASK)) > turn:
                return True
    return False


@jit
def _note(posed: Posed, row: Int, level: Int, tick: Int, again: bool) -> None:
    """The newest sample is what a level has published; ``again``: to be told once more."""
    for c in range(PLACE):
        posed.p[row, PLACE * level + c] = posed.p[row, c]
    for part in range(PARTS):
        posed.q[row, PARTS * level + part] = posed.q[row, part]
    posed.grip[row, 2 * level] = posed.grip[row, 0]
    posed.grip[row, 2 * level + 1] = posed.grip[row, 1]
    posed.tracked[row, level] = posed.tracked[row, NEWEST]
    posed.tick[row, level] = tick
    bit = np.uint8(1 << (level - 1))
    if again:
        posed.again[row] |= bit
    else:
        posed.again[row] &= ~bit


@jit
def _fine(value: Int) -> Int:
    return (np.int64(value) + FINE_UNITS // 2) // FINE_UNITS


@jit
def _coarse(value: Int) -> Int:
    return (np.int64(value) + COARSE_UNITS // 2) // COARSE_UNITS


@jit
def _near_places(p: I16, s: Int, first: Int, tracked: Int, out: U32, n: Int) -> None:
    """A sample's places (nine columns from ``first``) as the near level tells them: hands from the head as told."""
    for part in range(PARTS):
        packed = np.int64(0)
        for c in range(3):
            if tracked >> part & 1 == 0:
                break
            from_c = _CHEST_FINE if c == 1 else 0
            if part > 0:
                from_c += min(max(_fine(p[s, first + c]) - from_c, -FINE_HALF), FINE_HALF - 1)
            offset = min(max(_fine(p[s, first + 3 * part + c]) - from_c, -FINE_HALF), FINE_HALF - 1)
            packed |= (offset + FINE_HALF) << (10 * c)
        out[n, part] = np.uint32(packed)


@jit
def _mid_head(p: I16, q: U32, row: Int) -> Int:
    """The newest head of a row as the mid level tells it."""
    turn = np.int64(q[row, 0])
    packed = turn >> (3 * ROTATION_BITS) << (3 * COARSE_ROTATION_BITS)
    for k in range(3):
        turned = (turn >> (ROTATION_BITS * k) & FINE_MASK) - ROTATION_HALF
        rounded = (2 * turned * COARSE_ROTATION_HALF + ROTATION_HALF) // (2 * ROTATION_HALF)
        packed |= (rounded + COARSE_ROTATION_HALF) << (COARSE_ROTATION_BITS * k)
    for c in range(3):
        place = _coarse(p[row, c]) - (_CHEST_COARSE if c == 1 else 0)
        offset = min(max(place, -COARSE_HALF), COARSE_HALF - 1)
        packed |= (offset + COARSE_HALF) << (3 * COARSE_ROTATION_BITS + 2 + 5 * c)
    return packed


@jit
def _mid_hand(p: I16, row: Int, hand: Int, grip: Int) -> Int:
    """The newest hand of a row, likewise: from the head as told."""
    packed = np.int64(0)
    for c in range(3):
        from_c = _CHEST_COARSE if c == 1 else 0
        from_c += min(max(_coarse(p[row, c]) - from_c, -COARSE_HALF), COARSE_HALF - 1)
        offset = _coarse(p[row, 3 * (1 + hand) + c]) - from_c
        packed |= (min(max(offset, -COARSE_HALF), COARSE_HALF - 1) + COARSE_HALF) << (5 * c)
    if grip >> 4 >= 8 or grip & 15 >= 8:
        packed |= 1 << 15
    return packed


@jit
def _tell_newest(posed: Posed, row: Int, flags: Int, back_ms: Int, out: Told) -> None:
    """The newest sample of a row, for the levels ``flags``; for both if there is no pose any more."""
    tracked = np.int64(posed.tracked[row, NEWEST])
    k = out.counts[0]
    out.row[k] = row
    out.flags[k] = flags if tracked != 0 else NEAR_BIT
    out.samples[k] = 0
    out.counts[0] = k + 1
    if tracked == 0:
        return
    if flags & NEAR_BIT:
        n = out.counts[1]
        out.samples[k] = 1
        out.counts[1] = n + 1
        _near_places(posed.p, row, 0, tracked, out.near_p, n)
        for part in range(PARTS):
            out.near_q[n, part] = posed.q[row, part]
        out.near_meta[n, 0], out.near_meta[n, 1] = back_ms, tracked
        out.near_meta[n, 2], out.near_meta[n, 3] = posed.grip[row, 0], posed.grip[row, 1]
    if flags & MID_BIT:
        m = out.counts[2]
        out.counts[2] = m + 1
        out.mid_head[m] = _mid_head(posed.p, posed.q, row)
        for hand in range(2):
            if tracked >> (1 + hand) & 1:
                out.mid_hand[m, hand] = _mid_hand(posed.p, row, hand, np.int64(posed.grip[row, hand]))
            else:
                out.mid_hand[m, hand] = NO_HAND


@jit
def renew_poses(
    said: Said, walkers: I64, generation: U32, ghost: U8, posed: Posed, tick: Int, end_ticks: Int, out: Told
) -> None:
    """What is to be published of ``said`` (after ``judge``), and of those of ``walkers`` (rows, int64[w]) who said
    nothing in this step: once more what they said last, or that they have no pose any more.

    ``generation``, ``ghost`` (uint8): the table's, for rows that have gone since. Writes to: ``posed``, ``out``.
    """
    out.counts[:] = 0
    first = np.int64(0)
    for k in range(len(said.row)):
        begin = first
        first += said.samples[k]
        row = said.row[k]
        if said.known[k] == 0 or generation[row] != said.generation[k] or ghost[row] != 0:
            continue
        last = first - 1
        if said.tracked[last] == 0:
            if posed.tracked[row, NEAR] != 0:
                _end(posed, row, tick, out)
            continue
        near = False
        for s in range(begin, first):
            near = near or (said.tracked[s] != 0 and _differs(posed, row, NEAR, said, s, NEAR_PLACE, NEAR_ROTATION))
        mid = _differs(posed, row, MID, said, last, MID_PLACE, MID_ROTATION)
        flags = (NEAR_BIT if near else 0) | (MID_BIT if mid else 0)
        due = flags | _due_again(posed, row, tick)
        if due == 0:
            continue
        entry, n = out.counts[0], out.counts[1]
        _tell_newest(posed, row, due, np.int64(said.back[last]), out)
        if near:  # the newest alone was written: all samples instead
            count = 0
            for s in range(begin, first):
                if said.tracked[s] == 0:
                    continue
                _near_places(said.p, s, 0, np.int64(said.tracked[s]), out.near_p, n + count)
                for part in range(PARTS):
                    out.near_q[n + count, part] = said.q[s, part]
                out.near_meta[n + count, 0], out.near_meta[n + count, 1] = said.back[s], said.tracked[s]
                out.near_meta[n + count, 2], out.near_meta[n + count, 3] = said.grip[s, 0], said.grip[s, 1]
                count += 1
            out.samples[entry] = count
            out.counts[1] = n + count
        if due & NEAR_BIT:
            _note(posed, row, NEAR, tick, near)
        if due & MID_BIT:
            _note(posed, row, MID, tick, mid)
    for k in range(len(walkers)):
        row = walkers[k]
        if posed.tracked[row, NEWEST] == 0 or posed.tick[row, NEWEST] == tick:
            continue
        if tick - posed.tick[row, NEWEST] > end_ticks:
            _end(posed, row, tick, out)
            continue
        due = _due_again(posed, row, tick)
        if due != 0:
            _tell_newest(posed, row, due, 0, out)
            for level in (NEAR, MID):
                if due >> (level - 1) & 1:
                    _note(posed, row, level, tick, False)


@jit
def _due_again(posed: Posed, row: Int, tick: Int) -> Int:
    due = 0
    for level in (NEAR, MID):
        if posed.again[row] >> (level - 1) & 1 and tick - posed.tick[row, level] >= AGAIN_TICKS:
            due |= 1 << (level - 1)
    return due


@jit
def _end(posed: Posed, row: Int, tick: Int, out: Told) -> None:
    """There is no pose any more."""
    posed.tracked[row, NEWEST] = 0
    _tell_newest(posed, row, NEAR_BIT, 0, out)
    for level in (NEAR, MID):
        posed.tracked[row, level] = 0
        posed.tick[row, level] = tick
    posed.again[row] = 0


@jit
def all_poses(rows: I64, posed: Posed, out: Told) -> None:
    """The newest sample of all rows that have a pose, for a snapshot. Writes to: ``out``."""
    out.counts[:] = 0
    for k in range(len(rows)):
        if posed.tracked[rows[k], NEWEST] != 0:
            _tell_newest(posed, rows[k], NEAR_BIT | MID_BIT, 0, out)
