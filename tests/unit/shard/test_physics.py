"""Contacts: props are pushed, walkers are pushed but never into walls, heights are kept apart."""

import ctypes

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels.waking import glide
from protocol.layouts import OWN_MOVED
from shard.behaviours.api import Body, Script
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.physics.pool import Pool
from shard.physics.space import Space
from shard.region import RegionCore
from shard.world.checks import broken
from tests.unit.shard.worlds import attach, boxes, command, inputs, place


def prop(pos: list[float], vel: list[float], body: Body) -> Script:
    script = Script("prop")
    script.kind("prop", [], body)

    @script.start
    def begin(world: World) -> None:
        world.spawn("prop", pos=pos, vel=vel)

    return script


def test_a_walker_pushes_a_ball_away() -> None:
    script = prop([2.0, 0, 0], [0, 0, 0], Body(radius_m=0.3, mass_kg=2, drag_per_s=0.3))
    core = RegionCore(ShardConfig(), place(boxes()), [script])
    given_ = core.step(1, [attach(1, 1)]).delta.attached[0]
    core.state.table.pos[given_[3]] = 0
    for tick in range(2, 60):
        core.step(tick, [inputs(tick, given_, [(tick, command(127))])])
    ball = core.state.table.rows(2)[0]
    assert core.state.table.pos[ball, 0] > core.state.table.pos[given_[3], 0] + 0.5
    assert core.state.table.pos[ball, 0] > 5


def test_a_heavy_crate_pushes_a_walker_and_never_into_a_wall() -> None:
    """The crate is driven against somebody who stands with the back to a wall."""
    script = Script("crusher")
    script.kind("crate", [], Body(radius_m=0.5, mass_kg=2000, square=True))

    @script.start
    def begin(world: World) -> None:
        world.spawn("crate", pos=[-3.0, 0, 0])

    @script.every("crate")
    def drive(world: World, crates: Rows) -> None:
        crates.vel[:] = [2.0, 0, 0]

    core = RegionCore(ShardConfig(), place(boxes((3, -5, 4, 5, 0, 5))), [script])
    row = core.step(1, [attach(1, 1)]).delta.attached[0][3]
    core.state.table.pos[row] = 0
    moved = 0
    for tick in range(2, 120):
        delta = core.step(tick).delta
        moved += sum(flag & OWN_MOVED for flag in delta.own_flags.tolist())
        assert broken(core.state) == []
    assert moved
    assert core.state.table.pos[row, 0] > 1.5
    assert core.state.table.pos[row, 0] <= 3 - 0.3125 + 1e-9


@pytest.mark.parametrize(("y", "passes"), [(0.0, False), (8.0, True)])
def test_bands_keep_heights_apart(y: float, passes: bool) -> None:
    """A ball on a roof's height passes over a low wall and over a person who stands below."""
    script = prop([-4.0, y, 0], [4.0, 0, 0], Body(radius_m=0.3, mass_kg=5))
    core = RegionCore(ShardConfig(), place(boxes((2, -5, 3, 5, 0, 3))), [script])
    row = core.step(1, [attach(1, 1)]).delta.attached[0][3]
    core.state.table.pos[row] = 0
    for tick in range(2, 60):
        core.step(tick)
    ball = core.state.table.rows(2)[0]
    assert (core.state.table.pos[ball, 0] > 5) == passes
    assert (core.state.table.pos[row, 0] == 0) == passes


def test_nothing_fast_leaves_the_world_or_passes_a_wall() -> None:
    script = prop([0, 0, 0], [500.0, 0, 3.0], Body(radius_m=0.25, mass_kg=1, elasticity=1.0))
    core = RegionCore(ShardConfig(), place(boxes((5, -60, 5.25, 60, 0, 3))), [script])
    for tick in range(1, 400, 4):
        core.step(tick + 3)
        assert (core.state.table.pos[core.state.table.rows(), 0] < 5).all()


def test_what_rests_has_no_body_until_somebody_comes_near() -> None:
    script = Script("field")
    script.kind("ball", [], Body(radius_m=0.3, mass_kg=2, drag_per_s=0.3))

    @script.start
    def begin(world: World) -> None:
        pos = np.zeros((64, 3))
        pos[:, 0], pos[:, 2] = 8.0 * (np.arange(64) % 8) - 28.0, 8.0 * (np.arange(64) // 8) - 28.0
        world.spawn("ball", 64, pos=pos)

    core = RegionCore(ShardConfig(), place(boxes()), [script])
    given_ = core.step(1, [attach(1, 1)]).delta.attached[0]
    table = core.state.table
    balls, has_body = table.rows(2), table.columns["p.body"]
    table.pos[given_[3]] = [0.0, 0.0, 0.0]
    core.step(2)
    assert not has_body[balls].any()
    table.pos[given_[3]] = table.pos[balls[0]] - [1.5, 0.0, 0.0]
    before = table.pos[balls].copy()
    for tick in range(3, 30):
        core.step(tick, [inputs(tick, given_, [(tick, command(127))])])
    assert has_body[given_[3]] or table.pos[balls[0], 0] > before[0, 0] + 0.3
    moved = np.flatnonzero((table.pos[balls] != before).any(axis=1))
    assert moved.tolist() == [0]


@given(st.floats(-7, 7), st.floats(-7, 7), st.floats(-3, 3), st.integers(1, 4))
def test_what_glides_goes_as_in_the_space(vx: float, vz: float, turning: float, steps: int) -> None:
    space = Space(boxes(), Pool())
    space.add(0, Body(radius_m=0.3, turns=True), False, 0)
    states = np.array([[1.0, 2.0, 0.5, vx, vz, turning], [0.0] * 6])
    expected = space.step(states, 0.05, steps)[0].copy()
    pos, vel = np.array([[1.0, 0.0, 2.0]]), np.array([[vx, 0.0, vz]])
    yaw, spin = np.array([-0.5]), np.array([-turning])
    ones = np.ones(1)
    glide(np.zeros(1, np.int64), np.ones(1, np.uint8), ones, 1e3 * ones, 0.05, steps, pos, vel, yaw, spin)
    assert [pos[0, 0], pos[0, 2], -yaw[0], vel[0, 0], vel[0, 2], -spin[0]] == expected.tolist()


MOVE = st.tuples(st.integers(-128, 127), st.integers(-128, 127), st.integers(0, 3), st.integers(1, 12))


@settings(max_examples=25, deadline=None)
@given(st.lists(MOVE, min_size=10, max_size=60), st.integers(0, 2**16))
def test_walkers_are_never_inside_walls(moves: list[tuple[int, int, int, int]], seed: int) -> None:
    walls = boxes((1, -3, 2, 3, 0, 4), (-3, 1, 1.25, 2, 0, 4), (-2, -2, -1.5, -1.5, 0, 0.4), half_m=6.0)
    script = Script("crowd")
    script.kind("duck", [], Body(radius_m=0.4, mass_kg=300))

    @script.start
    def begin(world: World) -> None:
        world.spawn("duck", 12, pos=world.random.uniform(-5, 5, (12, 3)) * [1, 0, 1])

    @script.every("duck")
    def storm(world: World, ducks: Rows) -> None:
        ducks.vel[:, [0, 2]] = world.random.normal(0, 4, (len(ducks), 2))
        world.push(world.all("person").id, world.random.normal(0, 1, 2))

    core = RegionCore(ShardConfig(seed=seed), place(walls, [(0, 0), (-4, -4)]), [script])
    given_ = core.step(1, [attach(1, 1, 2)]).delta.attached
    for tick, (x, z, buttons, steps) in enumerate(moves, 2):
        made = command(x, z, steps, buttons)
        core.step(tick, [inputs(tick, body, [(tick, made)]) for body in given_])
        assert broken(core.state) == []


def test_scraping_along_walls_alone_is_never_corrected() -> None:
    """Own state is flagged as moved only by something else: walls are the walker's own rule."""
    core = RegionCore(ShardConfig(), place(boxes((1, -50, 2, 50, 0, 4), (-50, 40, 1, 41, 0, 4))))
    given_ = core.step(1, [attach(1, 1)]).delta.attached[0]
    for tick in range(2, 300):
        own = core.step(tick, [inputs(tick, given_, [(tick, command(100, 80, buttons=1))])]).delta
        assert not (own.own_flags & OWN_MOVED).any()
    assert np.linalg.norm(core.state.table.pos[given_[3]]) > 20


@pytest.mark.parametrize("ticks", [1, 2, 4])
def test_people_who_run_at_each_other_stop_also_in_long_steps(ticks: int) -> None:
    core = RegionCore(ShardConfig(), place(boxes()))
    left, right = core.step(ticks, [attach(1, 1, 2)]).delta.attached
    pos = core.state.table.pos
    pos[left[3]], pos[right[3]] = [-3.03, 0, 0], [3.0, 0, 0]
    for tick in range(2 * ticks, 80, ticks):
        said = [
            inputs(tick + part, body, [(tick + part, command(way, buttons=1))])
            for part in range(ticks)
            for body, way in ((left, 127), (right, -127))
        ]
        core.step(tick, said)
        assert pos[left[3], 0] < pos[right[3], 0]
    assert pos[right[3], 0] - pos[left[3], 0] == pytest.approx(0.625, abs=0.02)


def test_who_passes_beside_another_in_a_long_step_is_not_held() -> None:
    core = RegionCore(ShardConfig(), place(boxes()))
    left, right = core.step(1, [attach(1, 1, 2)]).delta.attached
    pos = core.state.table.pos
    pos[left[3]], pos[right[3]] = [-2.0, 0, 0], [2.0, 0, 0.7]
    for tick in range(2, 40):
        said = [inputs(tick, body, [(tick, command(way, buttons=1))]) for body, way in ((left, 127), (right, -127))]
        own = core.step(tick, said).delta
        assert not (own.own_flags & OWN_MOVED).any()
    assert pos[left[3], 0] > 5 > -5 > pos[right[3], 0]


def test_a_crowd_in_one_place_comes_apart() -> None:
    core = RegionCore(ShardConfig(), place(boxes()))
    core.step(1, [attach(1, *range(1, 41))])
    rows = core.state.table.rows()
    core.state.table.pos[rows] = 0.0
    for tick in range(2, 120):
        core.step(tick)
        assert broken(core.state) == []
    pos = core.state.table.pos[rows][:, [0, 2]]
    gap = np.hypot(*(pos[:, None] - pos[None]).transpose(2, 0, 1)) + np.eye(len(pos))
    assert gap.min() > 0.5
    assert np.abs(pos).max() < 6


class _MallInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.sampled_from([0.3, 0.4]))))
@example([(row, False, 0.3) for row in (*range(180), *range(180), 7, 8)])
def test_each_row_keeps_its_own_body(changes: list[tuple[int, bool, float]]) -> None:
    """Bodies come and go, and serve one row after the other: the order is Chipmunk's own."""
    space, held = Space(boxes((3, -5, 4, 5, 0, 5)), Pool()), set[int]()
    for row, walker, radius_m in changes:
        if row in held:
            space.remove(row)
        else:
            space.add(row, Body(radius_m=radius_m), walker, 0)
        held ^= {row}
    order = space.order
    assert order.tolist() == space.held()
    assert sorted(order[order >= 0].tolist()) == sorted(held)
    states = np.zeros((len(order), 6))
    states[:, 0] = 10.0 * np.arange(len(order))
    states[:, 1] = 100.0
    states[-1] = 0.0
    assert np.array_equal(space.step(states, 0.05, 1), states), "they touch nobody"


def test_a_space_of_what_another_had_is_like_one_that_is_new() -> None:
    """Bodies and walls of a space that ended are used again, and nothing of before clings to them."""
    ground, square = boxes((3, -5, 4, 5, 0, 5), (60, -5, 61, 5, 0, 5)), (-8.0, -8.0, 8.0, 8.0)

    def run(space: Space) -> list[float]:
        for row in range(40):
            space.add(row, Body(radius_m=0.3, square=row % 2 == 1), row % 5 == 0, 0)
        states = np.zeros((41, 6))
        states[:40, 0] = np.arange(40) % 7 - 5.1
        states[:40, 1] = np.arange(40) // 7
        states[:40, 3] = 4.0
        for _ in range(60):
            states = space.step(states, 0.05, 1).copy()
        return states.ravel().tolist()

    expected = run(Space(ground, Pool(), square))
    pool = Pool()
    space = Space(boxes((-3, -3, -2, 3, 0, 5), (6, 6, 7, 7, 0, 5)), pool)
    run(space)
    pool.end(space)
    while pool.kept < 40 + 4 + 8:
        pool.tidy(7)
    assert run(Space(ground, pool, square)) == expected
    assert pool.kept == 4, "all bodies and walls but those that the smaller ground does not need"


def test_walls_are_where_bodies_may_be() -> None:
    near, far = (3, -5, 4, 5, 0, 5), (60, -5, 61, 5, 0, 5)
    assert Space(boxes(near, far), Pool(), (-8.0, -8.0, 8.0, 8.0)).build(100) == 4
    assert Space(boxes(near, far), Pool()).build(100) == 8


def test_steps_leave_no_memory_behind() -> None:
    """What C holds, which Python's own counters do not show; glibc's mallinfo2(3)."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("the C library has no mallinfo2")
    libc.mallinfo2.restype = _MallInfo
    space = Space(boxes((3, -5, 4, 5, 0, 5)), Pool())
    for row in range(30):
        space.add(row, Body(radius_m=0.3), False, 0)
    states = np.zeros((31, 6))
    states[:, 0] = np.arange(31) / 2

    def run(steps: int) -> int:
        for _ in range(steps):
            space.step(states, 0.05, 1)
            assert len(space.contacts())
        return int(libc.mallinfo2().uordblks)

    begun = run(200)
    assert run(2000) - begun < 2000 * 16, "bytes; 2,000 buffers that are never freed would be 320,000"
