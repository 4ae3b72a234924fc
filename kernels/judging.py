"""What a body may do with head and hands (STANDARD.md §11).

Decides by figures alone: a head is near the body that it belongs to, hands are within reach of the head, and nothing is
faster than a person; what is not so is brought to the nearest place that is, and counted. Not responsible for: what is
published of it (``posing``).
"""

from typing import Final

import numpy as np

from kernels.jit import jit
from kernels.layout import I64, U8, U32, Int
from kernels.posing import FINE_MASK, I16, NEWEST, PLACE, Posed, Said
from protocol.pose_layout import PARTS, ROTATION_BITS, ROTATION_HALF, TRACKED_ALL

HEAD_ASIDE_MAX: Final = 1024
"""A head is at most 1 m beside its body's axis: who steps farther in the room walks, and the body follows."""
HEAD_LOW: Final = 205
HEAD_HIGH: Final = 2662
"""0.2 m (who lies down) to 2.6 m over the feet."""
REACH_MAX: Final = 1280
"""A hand is at most 1.25 m from the head: the arm of somebody of two metres, stretched downwards."""
HEAD_SPEED_MAX: Final = 10240.0
HAND_SPEED_MAX: Final = 20480.0
"""10 and 20 m/s: above what people do, with room for a message that was late and made the next one look fast."""
STEP_LEAST_S: Final = 0.011
"""Two samples are never closer in time: a headset's frame at 90 Hz."""

TAKEN, STRANGE, REACHED, HURRIED = 0, 1, 2, 3
"""Cells of ``counted``: messages taken, messages for a row that is another's, places and speeds out of bounds."""


@jit
def _draw_near(p: I16, s: Int, at: Int, x: float, y: float, z: float, most: float) -> bool:
    """Bring a part (three columns from ``at``) within ``most`` of a place; whether it was farther."""
    dx, dy, dz = p[s, at] - x, p[s, at + 1] - y, p[s, at + 2] - z
    square = dx * dx + dy * dy + dz * dz
    if square <= most * most:
        return False
    scale = most / np.sqrt(square)
    p[s, at] = np.int16(x + dx * scale)
    p[s, at + 1] = np.int16(y + dy * scale)
    p[s, at + 2] = np.int16(z + dz * scale)
    return True


@jit
def _hold_head(p: I16, s: Int) -> bool:
    """Keep a head over its body; whether it was elsewhere."""
    x, z = np.float64(p[s, 0]), np.float64(p[s, 2])
    square = x * x + z * z
    held = False
    if square > HEAD_ASIDE_MAX * HEAD_ASIDE_MAX:
        scale = HEAD_ASIDE_MAX / np.sqrt(square)
        p[s, 0] = np.int16(x * scale)
        p[s, 2] = np.int16(z * scale)
        held = True
    if p[s, 1] < HEAD_LOW:
        p[s, 1] = HEAD_LOW
        held = True
    elif p[s, 1] > HEAD_HIGH:
        p[s, 1] = HEAD_HIGH
        held = True
    return held


@jit
def judge(said: Said, generation: U32, attached: U8, posed: Posed, tick: Int, rate_hz: Int, counted: I64) -> None:
    """Bring what was said within bounds, and note the newest sample of each body.

    ``generation`` uint32[rows], ``attached`` uint8[rows]: the table's; ``counted`` int64[4] is added to (TAKEN …).
    Writes to: ``said.p``, ``said.q``, ``said.tracked``, ``said.known``, ``posed``, ``counted``. Deterministic: yes.
    """
    first = np.int64(0)
    for k in range(len(said.row)):
        row = said.row[k]
        begin = first
        first += said.samples[k]
        is_known = row < len(generation) and generation[row] == said.generation[k] and attached[row] != 0
        said.known[k] = is_known
        if not is_known:
            counted[STRANGE] += 1
            continue
        counted[TAKEN] += 1
        age = tick - posed.tick[row, NEWEST]
        before: Int = np.int64(posed.tracked[row, NEWEST]) if 2 * age <= rate_hz else np.int64(0)
        elapsed_s = max(age / rate_hz, STEP_LEAST_S)
        for s in range(begin, first):
            tracked: Int = np.int64(said.tracked[s]) & TRACKED_ALL
            if tracked & 1 == 0:
                tracked = np.int64(0)  # without a head there is no pose
            said.tracked[s] = tracked
            if s > begin:
                elapsed_s = max((np.int64(said.back[s - 1]) - np.int64(said.back[s])) / 1000.0, STEP_LEAST_S)
            for part in range(PARTS):
                if tracked >> part & 1 == 0:
                    for c in range(3):
                        said.p[s, 3 * part + c] = 0
                    said.q[s, part] = 0
                    continue
                fastest = HEAD_SPEED_MAX if part == 0 else HAND_SPEED_MAX
                at = 3 * part
                if before >> part & 1:
                    was = posed.p[row]
                    x, y, z = np.float64(was[at]), np.float64(was[at + 1]), np.float64(was[at + 2])
                    counted[HURRIED] += _draw_near(said.p, s, at, x, y, z, fastest * elapsed_s)
                if part == 0:
                    counted[REACHED] += _hold_head(said.p, s)
                else:
                    x, y, z = np.float64(said.p[s, 0]), np.float64(said.p[s, 1]), np.float64(said.p[s, 2])
                    counted[REACHED] += _draw_near(said.p, s, at, x, y, z, np.float64(REACH_MAX))
                said.q[s, part] = _tidy(said.q[s, part])
            for c in range(PLACE):
                posed.p[row, c] = said.p[s, c]
            for part in range(PARTS):
                posed.q[row, part] = said.q[s, part]
            posed.grip[row, 0] = said.grip[s, 0]
            posed.grip[row, 1] = said.grip[s, 1]
            posed.tracked[row, NEWEST] = tracked
            before = tracked
        posed.tick[row, NEWEST] = tick


@jit
def _tidy(q: Int) -> Int:
    """Components are at most 1022."""
    out = np.int64(q) >> (3 * ROTATION_BITS) << (3 * ROTATION_BITS)
    for k in range(3):
        component: Int = np.int64(q) >> (ROTATION_BITS * k) & FINE_MASK
        if component > 2 * ROTATION_HALF:
            component = np.int64(2 * ROTATION_HALF)
        out |= component << (ROTATION_BITS * k)
    return np.uint32(out)
