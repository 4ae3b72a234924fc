"""Makes protocol/vectors/crowd.json anew: `python -m tests.vectors.generate_crowds`.

The file is the reference of the wire once it is committed; make it anew only together with a change of STANDARD.md.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from protocol.crowds import Crowd, encode

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "crowd.json"


def _told() -> list[Crowd]:
    return [
        Crowd(
            1, 1000, 32,
            np.array([-2, 0, 5], "<i2"), np.array([3, -1, -32768], "<i2"), np.array([17, 1, 65535], "<u2"),
            np.array([40, 0, -32768], "<i2"), np.array([-7, 0, 32767], "<i2"),
        ),
        Crowd(2**32 - 1, 2**33, 32),
    ]  # fmt: skip


def messages() -> list[dict[str, Any]]:
    """What a client is told: bytes and what they say, cell by cell."""
    out = []
    for crowd in _told():
        columns = (crowd.x, crowd.z, crowd.count, crowd.vx, crowd.vz)
        cells = [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        out.append(
            {
                "hex": encode(crowd).hex(),
                "stream": crowd.stream,
                "tick": crowd.tick,
                "side_m": crowd.side_m,
                "cells": cells,
            }
        )
    return out


def main() -> None:
    """Write the file."""
    PATH.write_text(json.dumps(messages(), indent=1) + "\n")


if __name__ == "__main__":
    main()
