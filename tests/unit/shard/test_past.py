"""Looking back: what a person saw when it pointed, bounded by a second, by who was there, and by what is kept."""

from typing import Any

import numpy as np
import pytest

from shard.behaviours.api import Body, DeclarationError, Script
from shard.behaviours.world import World
from shard.config import ShardConfig
from shard.region import RegionCore

RATE_HZ = 20


def core(look_back_s: float | None = 1.0) -> RegionCore:
    """A ball that runs along x with 2 m/s, and a post."""
    script = Script("past")
    script.kind("ball", [])
    script.kind("post", [], Body(radius_m=0.2, height_m=2.0))
    if look_back_s is not None:
        script.look_back(look_back_s)

    @script.start
    def begin(world: World) -> None:
        world.spawn("ball", vel=[2.0, 0.0, 0.0])
        world.spawn("post", pos=[0.0, 0.0, -5.0])

    made = RegionCore(ShardConfig(seed=1), None, [script])
    for tick in range(1, 61):
        made.step(tick)
    return made


def seen(made: RegionCore, tick: float, kind: str = "ball", **options: Any) -> Any:
    ids, pos = made.state.world.seen_by(0, tick, kind, **options)
    assert len(ids) == len(pos)
    return pos


def test_a_place_is_that_of_the_tick_that_was_shown() -> None:
    made = core()
    now = seen(made, 60.0)[0]
    np.testing.assert_allclose(now, made.state.table.pos[made.state.table.rows(2)][0], atol=1e-4)
    np.testing.assert_allclose(seen(made, 50.0)[0], now - [1.0, 0.0, 0.0], atol=1e-4)
    np.testing.assert_allclose(seen(made, 50.5)[0], now - [0.95, 0.0, 0.0], atol=1e-4)


@pytest.mark.parametrize(("tick", "kept"), [(-1e300, 41.0), (0.0, 41.0), (1e300, 60.0), (float("nan"), 60.0)])
def test_nobody_looks_back_further_than_a_second_or_ahead(tick: float, kept: float) -> None:
    made = core()
    np.testing.assert_allclose(seen(made, tick), seen(made, kept))
    assert len(made.state.past._ring) == RATE_HZ


def test_who_was_not_there_is_left_out() -> None:
    made = core()
    table = made.state.table
    table.end(table.rows(2))
    assert not len(seen(made, 50.0))
    made.state.begin(2, made.state.ids.take(1), {})
    made.step(61)
    assert len(seen(made, 61.0)) == 1
    assert not len(seen(made, 60.0))


def test_only_those_around_a_person_count() -> None:
    made = core()
    world = made.state.world
    post = int(made.state.table.id[made.state.table.rows(3)][0])
    ids, _ = world.seen_by(post, 60.0, radius_m=3.0)
    assert post not in ids.tolist()
    assert len(ids) == 0, "the ball is 6 m away"
    assert len(world.seen_by(post, 60.0, radius_m=20.0)[0]) == 1


def test_a_ray_meets_what_was_shown_and_not_what_is() -> None:
    made = core()
    world, ball = made.state.world, int(made.state.table.id[made.state.table.rows(2)][0])
    x = float(seen(made, 50.0)[0][0])
    assert world.pointed_at(0, 50.0, [x, 0.25, 4.0], [0, 0, -1], 10.0)[0] == ball
    assert world.pointed_at(0, 60.0, [x, 0.25, 4.0], [0, 0, -1], 10.0) == (0, np.inf)
    post, distance = world.pointed_at(0, 60.0, [0.0, 1.0, 0.0], [0, 0, -2.0], 10.0)
    assert post == int(made.state.table.id[made.state.table.rows(3)][0])
    assert distance == pytest.approx(4.0)
    assert world.pointed_at(0, 60.0, [0.0, 1.0, 0.0], [0, 0, 1.0], 10.0)[0] == 0, "behind"
    assert world.pointed_at(0, 60.0, [0.0, 1.0, 0.0], [0, 0, -1.0], 3.0)[0] == 0, "too short"
    with pytest.raises(ValueError, match="ray"):
        world.pointed_at(0, 60.0, [0.0, 1.0, 0.0], [0, 0, 0], 3.0)


def test_a_script_that_did_not_ask_is_told_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="look_back"):
        seen(core(None), 60.0)
    for seconds in (0.0, 1.5):
        with pytest.raises(DeclarationError, match="look_back"):
            Script("x").look_back(seconds)
