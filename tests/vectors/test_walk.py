"""The walker's vectors, read by both of our implementations: equal bit for bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.walk import Ground, Walker, walk_step
from kernels.walk import walk_commands
from tests.vectors.make_walk import PATH, cases
from tests.worlds import static_map

VECTORS: list[dict[str, Any]] = json.loads(Path(PATH).read_text())["cases"]
BY_NAME = pytest.mark.parametrize("case", VECTORS, ids=[each["name"] for each in VECTORS])


@BY_NAME
def test_python_twin(case: dict[str, Any]) -> None:
    ground = Ground(tuple(case["bounds_m"]))
    for key, prism in reversed(list(enumerate(case["prisms"]))):
        ground.add(key, prism["bottom_m"], prism["top_m"], [[(x, z) for x, z in ring] for ring in prism["rings"]])
    x, y, z = case["start"]["p"]
    body = Walker(x, y, z, bool(case["start"]["on_ground"]))
    body.vx, body.vy, body.vz = case["start"]["v"]
    states = iter(case["states"])
    for move_x, move_z, buttons, steps in case["commands"]:
        for _ in range(steps):
            walk_step(ground, body, move_x, move_z, buttons, 1 / case["steps_per_s"])
            assert [body.x, body.y, body.z, body.vx, body.vy, body.vz, int(body.on_ground)] == next(states)
    assert next(states, None) is None


@BY_NAME
def test_kernel(case: dict[str, Any]) -> None:
    """One step at a time, in a row among others, with the prisms in reverse order."""
    ground = static_map(case["bounds_m"], case["prisms"][::-1]).walk
    commands = np.array(case["commands"])
    pos = np.full((3, 3), 7.0)
    vel = np.full((3, 3), 5.0)
    flags = np.array([0, 2 | case["start"]["on_ground"], 1], np.uint8)
    pos[1], vel[1] = case["start"]["p"], case["start"]["v"]
    done, used, taken = np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64)
    first = 0
    for state in case["states"]:
        walk_commands(
            ground,
            1 / case["steps_per_s"],
            np.array([1]),
            np.array([1]),
            np.array([first]),
            np.array([len(commands) - first]),
            commands[:, 0].astype(np.int8),
            commands[:, 1].astype(np.int8),
            commands[:, 2].astype(np.uint8),
            commands[:, 3].astype(np.uint8),
            pos,
            vel,
            flags,
            done,
            used,
            taken,
        )
        first += int(used[0])
        assert taken[0] == 1
        assert [*pos[1], *vel[1], flags[1] & 1] == state
        assert flags[1] & 2
    assert (pos[[0, 2]] == 7.0).all()
    assert (vel[[0, 2]] == 5.0).all()


def test_the_file_is_what_the_maker_writes() -> None:
    assert json.loads(json.dumps(cases())) == VECTORS
