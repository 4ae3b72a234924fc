"""Walking: properties that hold for any world, start and command."""

from typing import Any

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from client.walk import Walker, walk_step
from kernels.walk import fit_at, push_walkers, walk_commands
from protocol.place import StaticMap
from protocol.walking import FIT, HEIGHT, RUN
from tests.worlds import ground, static_map

BOUNDS = (-16.0, -16.0, 16.0, 16.0)
WHOLE = st.integers(-16 * 8, 16 * 8)


@st.composite
def prisms(draw: st.DrawFn) -> dict[str, Any]:
    """A convex quadrilateral or triangle, perhaps floating, perhaps low enough to step upon."""
    x, z = draw(WHOLE) / 8, draw(WHOLE) / 8
    half = draw(st.integers(10, 32)) / 8
    lean = draw(st.integers(-8, 8)) / 8
    ring = [[x - half, z - half], [x + half, z - half + lean], [x + half + lean, z + half], [x - half, z + half]]
    if draw(st.booleans()):
        ring.pop(draw(st.integers(0, 3)))
    if shapely.Polygon(ring).exterior.is_ccw is False:
        ring.reverse()
    bottom = draw(st.sampled_from([0.0, 0.0, 0.0, 1.5, 2.0, 2.5]))
    return {"bottom_m": bottom, "top_m": bottom + draw(st.sampled_from([0.25, 0.375, 0.5, 1.0, 6.0])), "rings": [ring]}


# No deadlines: the first call compiles.
commands = st.tuples(st.integers(-128, 127), st.integers(-128, 127), st.integers(0, 3), st.integers(1, 30))


def walk(world: StaticMap, start: Any, script: list[Any], steps_per_s: int, budget: int = 10_000) -> Any:
    """One walker through one queue; pos, vel, flags, done, used, taken."""
    columns = np.array(script, int).reshape(-1, 4)
    pos, vel = np.array([start], float), np.zeros((1, 3))
    flags, done = np.zeros(1, np.uint8), np.zeros(1, np.uint8)
    used, taken = np.zeros(1, np.int64), np.zeros(1, np.int64)
    one = np.zeros(1, np.int64)
    move_x, move_z = columns[:, 0].astype(np.int8), columns[:, 1].astype(np.int8)
    buttons, steps = columns[:, 2].astype(np.uint8), columns[:, 3].astype(np.uint8)
    queue = (one, one + budget, one, one + len(columns), move_x, move_z, buttons, steps)
    walk_commands(world.walk, 1 / steps_per_s, *queue, pos, vel, flags, done, used, taken)
    return pos, vel, flags, done, used, taken


def clear(shapes: list[Any], each: list[dict[str, Any]], pos: Any) -> bool:
    """By shapely: no prism that stands in the body's way is nearer than FIT (less rounding)."""
    point = shapely.Point(pos[0], pos[2])
    return all(
        shape.distance(point) > FIT - 1e-9
        for shape, prism in zip(shapes, each, strict=True)
        if prism["top_m"] > pos[1] and prism["bottom_m"] < pos[1] + HEIGHT
    )


@settings(deadline=None)
@given(st.lists(prisms(), max_size=8), WHOLE, WHOLE, st.lists(commands, max_size=8), st.sampled_from([20, 60]))
def test_a_free_body_stays_free(each: list[Any], x: int, z: int, script: list[Any], steps_per_s: int) -> None:
    world = static_map(BOUNDS, each)
    shapes = [shapely.Polygon(prism["rings"][0]) for prism in each]
    fits = np.zeros(1, np.uint8)
    start = [x / 8, 0.0, z / 8]
    fit_at(world.walk, np.array([start]), fits)
    assert bool(fits[0]) == clear(shapes, each, start)
    if fits[0]:
        total = sum(command[3] for command in script)
        for steps in range(0, total + 1, 7):
            pos, vel, _, _, _, taken = walk(world, start, script, steps_per_s, steps)
            assert taken[0] == steps
            assert clear(shapes, each, pos[0])
            assert np.hypot(vel[0, 0], vel[0, 2]) <= RUN * (1 + 1e-12)
            assert pos[0, 1] >= 0.0
            assert (np.abs(pos[0, [0, 2]]) <= 16.0).all()


@settings(deadline=None)
@given(st.lists(prisms(), max_size=8), WHOLE, WHOLE, st.lists(commands, min_size=1, max_size=6))
def test_kernel_and_plain_python_agree_whatever_the_order_of_prisms(
    each: list[Any], x: int, z: int, script: list[Any]
) -> None:
    pos, vel, flags, *_ = walk(static_map(BOUNDS, each[::-1]), [x / 8, 0.0, z / 8], script, 60)
    there = ground(BOUNDS, each)
    body = Walker(x / 8, 0.0, z / 8, on_ground=False)
    for move_x, move_z, buttons, steps in script:
        for _ in range(steps):
            walk_step(there, body, move_x, move_z, buttons, 1 / 60)
    assert [*pos[0], *vel[0], flags[0]] == [body.x, body.y, body.z, body.vx, body.vy, body.vz, body.on_ground]


@settings(deadline=None)
@given(st.lists(commands, min_size=1, max_size=6), st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_a_queue_may_be_consumed_in_any_portions(script: list[Any], portions: list[int]) -> None:
    world = static_map(BOUNDS, [{"bottom_m": 0.0, "top_m": 4.0, "rings": [[[1, -3], [3, -3], [3, 3], [1, 3]]]}])
    columns = np.array(script)
    total = int(columns[:, 3].sum())
    pos, vel, flags = np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1, np.uint8)
    done, used, taken = np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64)
    zero = np.zeros(1, np.int64)
    first = walked = 0
    for portion in [*portions, total]:
        queue = (zero, zero + portion, zero + first, zero + len(script) - first)
        moves = (columns[:, 0].astype(np.int8), columns[:, 1].astype(np.int8))
        rest = (columns[:, 2].astype(np.uint8), columns[:, 3].astype(np.uint8))
        walk_commands(world.walk, 1 / 60, *queue, *moves, *rest, pos, vel, flags, done, used, taken)
        first += int(used[0])
        walked += int(taken[0])
        assert taken[0] == min(portion, total - (walked - taken[0]))
        assert first * 30 >= walked - 30
    assert (first, walked, done[0]) == (len(script), total, 0)
    whole = walk(world, [0.0, 0.0, 0.0], script, 60)
    assert (pos == whole[0]).all()
    assert (vel == whole[1]).all()
    assert flags == whole[2]


@settings(deadline=None)
@given(
    st.lists(prisms(), max_size=8),
    WHOLE,
    WHOLE,
    st.tuples(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True)),
)
def test_a_push_never_ends_in_a_wall(each: list[Any], x: int, z: int, push: tuple[float, float]) -> None:
    world = static_map(BOUNDS, each)
    shapes = [shapely.Polygon(prism["rings"][0]) for prism in each]
    pos = np.array([[x / 8, 0.0, z / 8]])
    vel = np.array([[1.0, 0.5, -2.0]])
    before = pos.copy()
    if clear(shapes, each, pos[0]):
        push_walkers(world.walk, np.zeros(1, np.int64), np.array([push]), pos, vel)
        assert clear(shapes, each, pos[0])
        assert np.hypot(*(pos - before)[0, [0, 2]]) <= 4 * 0.25
        assert vel[0].tolist() == [1.0, 0.5, -2.0]


def test_other_flags_and_rows_stay() -> None:
    world = static_map(BOUNDS, [])
    pos, vel = np.zeros((3, 3)), np.zeros((3, 3))
    flags = np.array([4, 6, 2], np.uint8)
    one = np.ones(1, np.int64)
    moves = (np.array([127], np.int8), np.zeros(1, np.int8))
    rest = (np.ones(1, np.uint8), np.ones(1, np.uint8))
    done, used, taken = np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64)
    walk_commands(world.walk, 1 / 60, one, one, one - 1, one, *moves, *rest, pos, vel, flags, done, used, taken)
    assert flags.tolist() == [4, 7, 2]
    assert not pos[[0, 2]].any()
    assert pos[1, 0] > 0.0
