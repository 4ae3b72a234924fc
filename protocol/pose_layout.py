"""Numbers and layouts of head and hands (STANDARD.md §11), as messages, kernels and clients share them.

Invariants are asserted here. A *part* is the head (0), the left (1) or the right hand (2). Not responsible for:
messages (``poses``), what a server lets pass (``kernels.posing``).
"""

from typing import Final

import numpy as np

PARTS: Final = 3
HEAD: Final = 0
LEFT: Final = 1
RIGHT: Final = 2
TRACKED: Final = (1, 2, 4)
"""Bit of each part in ``tracked``."""
TRACKED_ALL: Final = 7

POSE_PER_M: Final = 1024
"""Units of a sample's positions in a metre: an eighth of a grid unit, so that 16 bits reach 32 m."""
SAMPLES_MAX: Final = 3
"""Of one message: a headset at 60 to 72 Hz in a tick of 50 ms."""
BACK_MS_MAX: Final = 255

CHEST: Final = 1280
"""Height over the body's feet that the head is told relative to, in pose units: 1.25 m."""

ROTATION_HALF: Final = 511
"""Fine: a component is (v - 511) / 511 / sqrt(2), v from 0 to 1022, so that no turn at all is told exactly."""
ROTATION_BITS: Final = 10
COARSE_ROTATION_HALF: Final = 15
COARSE_ROTATION_BITS: Final = 5

FINE_UNITS: Final = 4
"""Pose units in a unit of a near position: 1/256 m, 10 bits, within 2 m."""
FINE_HALF: Final = 512
COARSE_UNITS: Final = 64
"""Pose units in a unit of a mid position: 1/16 m, 5 bits, within 1 m."""
COARSE_HALF: Final = 16
NO_HAND: Final = 0xFFFF
"""A mid hand that is not tracked: a place 1.6 m from the head, farther than any hand may be."""

SAMPLE = np.dtype(
    [
        ("back_ms", "u1"),
        ("tracked", "u1"),
        ("grip", "u1", (2,)),
        ("q", "<u4", (PARTS,)),
        ("p", "<i2", (PARTS, 3)),
    ]
)
"""One sample of a POSE. ``grip``: left, right; grip × 16 + trigger, 0 to 15 each."""

POSES_BYTES_MAX: Final = 1100
"""Of a POSES message, so that it fits a datagram of 1,200 bytes."""
NEAR_SAMPLE_BYTES: Final = 28
"""Of one sample in a POSES message: a place and a rotation of each part, 4 bytes each; back_ms, tracked, two grips."""
NEAR_ENTRY_BYTES: Final = 3
"""Of one entity in a POSES message: number and count of samples."""
MID_ENTRY_BYTES: Final = 10

assert SAMPLE.itemsize == 34
assert SAMPLES_MAX * SAMPLE.itemsize < 256
