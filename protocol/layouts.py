"""Numbers, units and dtypes that both ends of a stream share (STANDARD.md §1, §4).

Invariants are asserted here, where the layouts are declared. Not responsible for: encoding (``frames``, ``link``).
"""

import numpy as np

PROTOCOL_VERSIONS = (1, 1)
"""Oldest and newest version of the wire that this release speaks, as a server and as a client: two at most, of which
STANDARD.md describes the newest."""
PROTOCOL_VERSION = PROTOCOL_VERSIONS[1]
SUBPROTOCOL = "isthmus.v1"

GRID_PER_M = 128
"""Grid units in a metre: a position is off by at most 3.9 mm on each axis."""
VELOCITY_PER_GRID = 16
"""Velocity units in one grid unit per tick: 2 s of extrapolation at 20 Hz add at most 1.25 grid units."""
SHOWN_PER_M = GRID_PER_M * VELOCITY_PER_GRID
"""Denominator of the shown position: (16·p + v·dt) / 2048 metres."""
VELOCITY_SHIFT = 4
"""log2 of VELOCITY_PER_GRID, for the integer extrapolation that delta records refer to."""
YAW_STEPS = 256
COMMAND_YAW_STEPS = 65536
MOVE_UNIT = 127
AGE_MAX = 255

COMMAND = np.dtype(
    [
        ("move_x", "i1"),
        ("move_z", "i1"),
        ("yaw", "<u2"),
        ("pitch", "i1"),
        ("buttons", "u1"),
        ("steps", "u1"),
        ("zero", "u1"),
    ]
)
"""One command of an INPUT."""
COMMANDS_PER_INPUT_MAX = 8
STEPS_PER_COMMAND_MAX = 30

BUTTON_RUN = 1
BUTTON_JUMP = 2

OWN = np.dtype(
    [
        ("seq", "<u4"),
        ("stamp", "<u4"),
        ("hold_ms", "<u2"),
        ("flags", "u1"),
        ("steps", "u1"),
        ("p", "<i4", (3,)),
        ("v", "<i2", (3,)),
        ("zero", "<u2"),
    ]
)
"""The state of a client's own body in a FRAME."""
OWN_ON_GROUND = 1
OWN_MOVED = 2

assert COMMAND.itemsize == 8
assert OWN.itemsize == 32
assert 1 << VELOCITY_SHIFT == VELOCITY_PER_GRID
assert SHOWN_PER_M == 2048
