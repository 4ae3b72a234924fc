"""Cameras: what viewers are told, and that whoever comes later sees the same picture."""

from dataclasses import replace
from math import hypot

import pytest

from client.channels import Television
from protocol.layouts import GRID_PER_M
from server.core.cameras import ChannelSpec, Waypoint
from tests.unit.server.core.theatre import LIVE, RATE_HZ, SQUARE, Theatre

FOLLOW = ChannelSpec("who", "Somebody", "follow", follow_kind="person", distance_m=10.0, height_m=5.0, radius_m=40.0)
FLIGHT = ChannelSpec(
    "flight", "A flight", "path", radius_m=60.0,
    path=(
        Waypoint(0.0, (0.0, 20.0, 100.0), (0.0, 0.0, 60.0)),
        Waypoint(4.0, (100.0, 20.0, 100.0), (100.0, 0.0, 60.0)),
        Waypoint(10.0, (100.0, 40.0, 0.0), (60.0, 0.0, 0.0)),
    ),
)  # fmt: skip


def pose(tv: Television, tick: float) -> tuple[float, ...]:
    found = tv.pose(tick, RATE_HZ)
    assert found is not None
    return (*found[0], *found[1])


def test_a_fixed_camera_says_it_once() -> None:
    theatre = Theatre((replace(SQUARE, bearing=0.0, distance_m=20.0, height_m=6.0),))
    one = theatre.come(0)
    theatre.run(100)
    assert len(one.cameras) == 1
    assert pose(one.tv, theatre.tick) == pytest.approx((60.0, 6.0, 80.0, 60.0, 1.2, 60.0), abs=0.01)


def test_following_is_tied_to_the_entity_and_says_nothing_while_it_walks() -> None:
    theatre = Theatre((FOLLOW,))
    one = theatre.come(0, "who")
    theatre.run(30)
    told = one.cameras[-1].entity
    assert told is not None
    assert one.cameras[-1].text == str(told), "its name"
    count = len(one.cameras)
    for _ in range(40):
        theatre.move(0, 0)
        theatre.show()
        row = theatre.mirror.row_of(told)
        assert row >= 0
        x, z = (int(theatre.mirror.hot[row][name]) / GRID_PER_M for name in "xz")
        shown = pose(one.tv, theatre.tick)
        assert hypot(shown[3] - x, shown[5] - z) < 3.0, "it looks at whom it follows"
        assert (shown[0] - shown[3], shown[2] - shown[5]) == pytest.approx((0.0, 10.0), abs=0.01)
    assert len(one.cameras) == count


def test_when_whom_it_followed_is_gone_it_finds_another_one() -> None:
    theatre = Theatre((FOLLOW,))
    one = theatre.come(0, "who")
    theatre.run(30)
    first = one.cameras[-1].entity
    theatre.world.alive[theatre.world.id == first] = False
    gone = theatre.world.step(theatre.tick + 1, 0, 0, 0)
    theatre.tick += 1
    gone.leave_row = (theatre.world.id == first).nonzero()[0].astype("u4")
    assert theatre.mirror.apply(gone)
    theatre.mirror.advance(theatre.tick)
    theatre.show()
    theatre.run(30)
    assert one.cameras[-1].entity not in (None, first)
    late = theatre.come(1, "who")
    theatre.run(6)
    assert late.cameras[-1].entity == one.cameras[-1].entity


def test_nobody_to_follow_shows_the_place() -> None:
    theatre = Theatre((replace(FOLLOW, follow_kind="unicorn", place_m=(10.0, 0.0, 20.0)),))
    one = theatre.come(0, "who")
    theatre.run(40)
    assert [camera.entity for camera in one.cameras] == [None]
    assert pose(one.tv, theatre.tick)[3:] == pytest.approx((10.0, 1.2, 20.0), abs=0.01)


def test_a_name_is_found() -> None:
    theatre = Theatre()
    entity = int(theatre.world.id[theatre.world.alive][7])
    theatre = Theatre((replace(FOLLOW, follow_name=str(entity)),))
    one = theatre.come(0, "who")
    theatre.run(8)
    assert one.cameras[-1].entity == entity


def test_a_path_is_flown_and_a_late_comer_flies_along() -> None:
    theatre = Theatre((FLIGHT,))
    first = theatre.come(0, "flight")
    theatre.run(50)
    late = theatre.come(1, "flight")
    theatre.run(6)
    for _ in range(15 * RATE_HZ):
        theatre.run(1)
        tick = first.tv.records.tick
        assert pose(late.tv, tick) == pytest.approx(pose(first.tv, tick), abs=0.3)
        into_s = tick / RATE_HZ % 10.0
        if into_s < 3.5 and into_s > 0.5:
            assert pose(first.tv, tick)[0] == pytest.approx(100.0 * into_s / 4.0, abs=1.0)
    assert len(first.cameras) < 12, "a leg is told once"


def test_a_director_glides_within_a_shot_and_cuts_between() -> None:
    theatre = Theatre((LIVE,))
    one = theatre.come(0, "live")
    theatre.run(100 * RATE_HZ)
    assert one.cameras[0].move_ms == 0
    assert any(camera.move_ms for camera in one.cameras)
    late = theatre.come(1, "live")
    theatre.run(6)
    assert pose(late.tv, theatre.tick + 60) == pose(one.tv, theatre.tick + 60)
