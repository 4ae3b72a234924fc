"""Makes protocol/vectors/pose.json anew: `python -m tests.vectors.generate_poses`.

The file is the reference of the wire once it is committed; make it anew only together with a change of STANDARD.md.
"""

import json
from math import cos, sin
from pathlib import Path
from typing import Any

import numpy as np

from protocol.messages import Pose, encode_client
from protocol.poses import (
    Part,
    PoseRecords,
    Poses,
    Sample,
    decode_poses,
    encode_poses,
    encode_samples,
    pack_rotation,
    to_coarse,
    unpack_rotation,
)

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "pose.json"
TURNS = [
    (0.0, 0.0, 0.0, 1.0),
    (0.0, 0.0, 0.0, -1.0),
    (0.5, 0.5, 0.5, 0.5),
    (-0.5, 0.5, -0.5, 0.5),
    (0.0, sin(0.4), 0.0, cos(0.4)),
    (0.1, -0.7, 0.2, 0.6),
    (3.0, 0.0, -4.0, 0.0),
    (-0.001, 0.002, 0.9, -0.003),
]


def rotations() -> list[dict[str, Any]]:
    """Quaternions, what they are packed to, and what that says."""
    out = []
    for turn in TURNS:
        fine = pack_rotation(turn)
        coarse = to_coarse(fine)
        out.append(
            {
                "q": turn,
                "fine": fine,
                "says": unpack_rotation(fine),
                "coarse": coarse,
                "coarse_says": unpack_rotation(coarse, 15, 5),
            }
        )
    return out


def _said() -> list[Pose]:
    hand = Part((0.25, 1.125, -0.5), TURNS[5])
    head = Part((0.0625, 1.6875, 0.03125), TURNS[4])
    return [
        Pose(123_456, encode_samples([Sample(head, hand, Part((-0.3, 0.9, 0.1)), ((1.0, 0.2), (0.0, 0.0)))])),
        Pose(2**32 - 1, encode_samples([Sample(head, back_ms=33), Sample(head, right=hand, back_ms=16), Sample(head)])),
    ]


def _heard() -> list[Poses]:
    def places(*values: tuple[int, int, int]) -> list[int]:
        return [(x + 512) | (y + 512) << 10 | (z + 512) << 20 for x, y, z in values]

    q = [pack_rotation(turn) for turn in TURNS]
    near_p = [places((16, 112, -8), (-64, -128, 70), (511, -512, 0)), places((17, 110, -8), (0, 0, 0), (1, 2, 3))]
    near_p[1][1] = 0
    mid = to_coarse(q[4]) | (16 + 3) << 17 | (16 + 7) << 22 | (16 - 2) << 27
    return [
        Poses(
            1,
            1000,
            3,
            np.array([7, 9], "<u2"),
            np.array([2, 0], "u1"),
            np.array(near_p, "<u4"),
            np.array([[q[0], q[5], q[7]], [q[1], 0, q[2]]], "<u4"),
            np.array([16, 0], "u1"),
            np.array([7, 5], "u1"),
            np.array([[0xF3, 0x01], [0, 0xFF]], "u1"),
            np.array([300], "<u2"),
            np.array([mid], "<u4"),
            np.array([[(16 - 4) | (16 - 10) << 5 | (16 + 15) << 10 | 1 << 15, 0xFFFF]], "<u2"),
        ),
        Poses(1, 1004, 3, np.array([7], "<u2"), np.array([0], "u1")),
    ]


def _shown(records: PoseRecords) -> dict[str, Any]:
    def part(value: Part | None) -> Any:
        return None if value is None else {"p": value.p, "q": value.q}

    return {
        str(number): [
            {"back_ms": s.back_ms, "head": part(s.head), "left": part(s.left), "right": part(s.right), "grip": s.grip}
            for s in held.samples
        ]
        for number, held in sorted(records.held.items())
    }


def said() -> list[dict[str, Any]]:
    """What clients say."""
    return [{"stamp": pose.stamp_ms, "hex": encode_client(pose).hex()} for pose in _said()]


def heard() -> list[dict[str, Any]]:
    """What they are told, in order, and what is known after each message."""
    records = PoseRecords()
    for number in (7, 9, 300):
        records.entered(number, 3)
    out = []
    for message in _heard():
        data = encode_poses(message)
        decoded = decode_poses(data)
        assert decoded is not None
        records.apply(decoded)
        out.append({"hex": data.hex(), "held": _shown(records)})
    return out


def main() -> None:
    """Write the file."""
    PATH.write_text(json.dumps({"rotations": rotations(), "said": said(), "heard": heard()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
