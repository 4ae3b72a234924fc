"""Writes ``protocol/vectors/walk.json``: run ``python -m tests.vectors.make_walk`` after a change of WALKING.md.

The expected states come from the plain Python twin; the kernel and the page must agree with them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from client.walk import Ground, Walker, walk_step

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "walk.json"
RUN, JUMP = 1, 2
Ring = list[list[float]]


def box(x0: float, z0: float, x1: float, z1: float) -> Ring:
    return [[x0, z0], [x1, z0], [x1, z1], [x0, z1]]


def prism(bottom_m: float, top_m: float, *rings: Ring) -> dict[str, Any]:
    return {"bottom_m": bottom_m, "top_m": top_m, "rings": list(rings)}


HOUSE = prism(0.0, 12.0, box(2.0, -4.0, 10.0, 4.0))
COURTYARD = prism(0.0, 20.0, box(-10.0, -10.0, 10.0, 10.0), [[-5.0, -5.0], [-5.0, 5.0], [5.0, 5.0], [5.0, -5.0]])
WEDGE = prism(0.0, 9.0, [[0.0, 0.0], [12.0, -3.0], [12.0, 3.0]])
NOTCH = prism(0.0, 9.0, [[0.0, 0.0], [8.0, -4.0], [8.0, 4.0], [0.0, 0.5], [7.0, 0.25]])
STAIRS = [prism(0.0, 0.1875 * (i + 1), box(2.0 + 0.5 * i, -2.0, 2.5 + 0.5 * i, 2.0)) for i in range(6)]
SLAB = prism(2.5, 3.0, box(-3.0, -3.0, 3.0, 3.0))
LOW_SLAB = prism(1.9375, 3.0, box(2.0, -3.0, 8.0, 3.0))
LEDGE = prism(0.0, 0.875, box(2.0, -3.0, 6.0, 3.0))
PODIUM = prism(0.0, 0.25, box(2.0, -3.0, 8.0, 3.0))


def case(
    name: str,
    prisms: list[dict[str, Any]],
    start: list[float],
    commands: list[list[int]],
    *,
    rate: int = 60,
    v: tuple[float, float, float] = (0.0, 0.0, 0.0),
    on_ground: bool = True,
    bounds: tuple[float, float, float, float] = (-64.0, -64.0, 64.0, 64.0),
) -> dict[str, Any]:
    """One walk: ``commands`` are [move_x, move_z, buttons, steps]; a state follows for each walk step."""
    ground = Ground(bounds)
    for key, each in enumerate(prisms):
        ground.add(key, each["bottom_m"], each["top_m"], [[(x, z) for x, z in ring] for ring in each["rings"]])
    x, y, z = start
    body = Walker(x, y, z, on_ground)
    body.vx, body.vy, body.vz = v
    h = 1 / rate
    states = []
    for move_x, move_z, buttons, steps in commands:
        for _ in range(steps):
            walk_step(ground, body, move_x, move_z, buttons, h)
            states.append([body.x, body.y, body.z, body.vx, body.vy, body.vz, int(body.on_ground)])
    return {
        "name": name,
        "steps_per_s": rate,
        "bounds_m": list(bounds),
        "prisms": prisms,
        "start": {"p": start, "v": list(v), "on_ground": int(on_ground)},
        "commands": commands,
        "states": states,
    }


def wander(seed: int, count: int) -> list[list[int]]:
    """Restless commands, jumps among them."""
    rng = np.random.default_rng(seed)
    return [
        [
            int(rng.integers(-128, 128)),
            int(rng.integers(-128, 128)),
            int(rng.integers(0, 2)) | (JUMP if rng.random() < 0.2 else 0),
            int(rng.integers(1, 13)),
        ]
        for _ in range(count)
    ]


def cases() -> list[dict[str, Any]]:
    village = [
        HOUSE,
        prism(0.0, 7.5, box(-9.0, -6.0, -2.0, -1.5)),
        prism(0.0, 0.375, box(-8.0, 2.0, -3.0, 7.0)),
        LOW_SLAB,
    ]
    many = [
        prism(
            0.0,
            3.0 + i % 5,
            [[x, z], [x + 2.25, z - 0.5], [x + 2.5, z + 1.75], [x + 0.75, z + 2.5], [x - 0.5, z + 1.5]],
        )
        for i, (x, z) in enumerate((3.5 * a, 3.25 * b) for a in range(-3, 4) for b in range(-3, 4) if (a, b) != (0, 0))
    ]
    return [
        case(
            "open ground: start, run, turn, stop",
            [],
            [0.0, 0.0, 0.0],
            [[127, 0, 0, 30], [0, -127, RUN, 40], [90, 90, 0, 20], [0, 0, 0, 30]],
        ),
        case("longer wishes are cut", [], [0.0, 0.0, 0.0], [[127, 127, RUN, 40], [-128, -128, 0, 40], [50, 20, 0, 30]]),
        case("straight into a wall", [HOUSE], [0.0, 0.0, 0.25], [[127, 0, RUN, 60], [0, 0, 0, 10], [-127, 0, 0, 20]]),
        case(
            "sliding along a wall and round its corner",
            [HOUSE],
            [0.0, 0.0, 0.0],
            [[127, 90, RUN, 90], [127, -60, 0, 90]],
        ),
        case(
            "a corner head on, and beside it",
            [HOUSE],
            [0.0, 0.0, -6.0],
            [[127, 127, 0, 60], [0, -127, 0, 5], [127, 100, RUN, 60]],
        ),
        case(
            "a courtyard's inner corner",
            [COURTYARD],
            [0.0, 0.0, 0.0],
            [[127, 127, RUN, 120], [127, 20, 0, 30], [-127, 127, RUN, 90]],
        ),
        case(
            "a sharp wedge from its tip",
            [WEDGE],
            [-2.0, 0.0, 0.0],
            [[127, 0, RUN, 60], [127, 3, 0, 60], [127, -80, RUN, 60]],
        ),
        case(
            "into a narrowing notch",
            [NOTCH],
            [-1.0, 0.0, 0.25],
            [[127, 0, RUN, 80], [120, 40, 0, 40], [-127, 0, 0, 40]],
        ),
        case("up and down stairs", STAIRS, [0.0, 0.0, 0.0], [[127, 0, 0, 150], [-127, 0, RUN, 90]]),
        case("a step and off its edge", [PODIUM], [0.0, 0.0, 0.0], [[127, 0, RUN, 120]]),
        case(
            "jump in the open, and again while held",
            [],
            [0.0, 0.0, 0.0],
            [[0, 0, JUMP, 60], [127, 0, JUMP | RUN, 60], [0, 127, 0, 30]],
        ),
        case(
            "jump upon a ledge and fall off",
            [LEDGE],
            [0.0, 0.0, 0.0],
            [[127, 0, RUN, 8], [127, 0, RUN | JUMP, 1], [127, 0, RUN, 110]],
        ),
        case(
            "a late jump at a ledge", [LEDGE], [1.6875, 0.0, 0.0], [[127, 0, 0, 20], [127, 0, JUMP, 3], [127, 0, 0, 60]]
        ),
        case("head against a slab", [SLAB], [0.0, 0.0, 0.0], [[0, 0, JUMP, 40], [127, 0, JUMP, 100]]),
        case(
            "no room to step up under a slab", [LOW_SLAB, PODIUM], [0.0, 0.0, 0.0], [[127, 0, 0, 60], [127, 127, 0, 90]]
        ),
        case(
            "a long fall upon a roof", [HOUSE], [4.0, 95.0, 0.0], [[127, 0, 0, 200], [127, 0, 0, 200]], on_ground=False
        ),
        case("a fall past a wall", [HOUSE], [1.75, 30.0, 0.0], [[127, 0, RUN, 200]], on_ground=False),
        case("the world's bounds", [], [62.0, 0.0, -62.0], [[127, -127, RUN, 60], [127, 0, 0, 20], [-127, 127, 0, 10]]),
        case(
            "twenty steps a second", [HOUSE, WEDGE], [0.0, 0.0, 3.0], [[127, -20, RUN, 40], [60, 127, RUN, 40]], rate=20
        ),
        case(
            "ten steps a second, thrown fast",
            [HOUSE],
            [0.0, 0.0, 0.0],
            [[0, 0, 0, 20]],
            rate=10,
            v=(30.0, 3.0, 7.0),
            on_ground=False,
        ),
        case("start within a wall's margin", [HOUSE], [1.75, 0.0, 0.0], [[0, 0, 0, 5], [-127, 0, 0, 20]]),
        case("too deep in a wall to be set free", [HOUSE], [2.0, 0.0, 0.5], [[0, 0, 0, 5], [0, 127, 0, 20]]),
        case("restless in a village", village, [0.0, 0.0, 0.0], wander(1, 120)),
        case("restless among many corners", many, [0.0, 0.0, 0.0], wander(2, 160), bounds=(-14.0, -14.0, 14.0, 14.0)),
        case("restless in a courtyard", [COURTYARD, PODIUM], [0.0, 0.0, 0.0], wander(3, 100)),
    ]


def main() -> None:
    text = ",\n".join(json.dumps(each, separators=(",", ":")) for each in cases())
    PATH.write_text(f'{{"version":1,"cases":[\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
