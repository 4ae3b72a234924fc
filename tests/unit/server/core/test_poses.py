"""Who is told of whose head and hands: by distance, by profile, within a budget, and what a bad POSE costs."""

from typing import Any

import numpy as np
import pytest

from protocol.messages import Pose, encode_client, pack
from protocol.poses import Part, Sample, encode_samples
from server.core.poses import PoseRules
from tests.unit.server.core.headsets import RATE_HZ, Room, waving


def still(height_m: float = 1.7) -> list[Sample]:
    """One sample of somebody who does nothing."""
    return [Sample(Part((0.0, height_m, 0.0)), Part((-0.3, 1.0, -0.2)), Part((0.3, 1.0, -0.2)))]


def test_near_ones_see_each_sample_farther_ones_fewer_and_far_ones_none() -> None:
    room = Room(["vr", "vr", "vr", "vr"], [(0, 0), (2, 0), (10, 0), (60, 0)])
    near, mid, far = room.clients[1:]
    for _ in range(40):
        room.say({0: waving(room.tick, 0)})
        room.step()
        held = near.pose_of(room.bodies[0])
        assert [sample.back_ms for sample in held.samples] == [32, 16, 0]
        wanted = waving(room.tick - 1, 0)
        for got, want in zip(held.samples, wanted, strict=True):
            assert want.right is not None
            np.testing.assert_allclose(got.right.p, want.right.p, atol=0.005)
    assert len(near.messages) == 40
    assert 8 <= len(mid.messages) <= 11, "five times a second"
    got, want = mid.pose_of(room.bodies[0]).samples[0], waving(room.tick - 1, 0)[-1]
    assert want.left is not None
    np.testing.assert_allclose(got.left.p, want.left.p, atol=0.3)
    assert not far.messages
    assert room.clients[0].pose_of(room.bodies[0]) is None, "nobody is told of the own hands"


def test_who_goes_out_of_range_or_takes_the_headset_off_has_no_pose_any_more() -> None:
    room = Room(["vr", "vr"], [(0, 0), (2, 0)])
    body, client = room.bodies[0], room.clients[1]
    room.say({0: still()})
    room.step()
    assert client.pose_of(body) is not None
    for place, known in (((2, 0), True), ((15, 0), True), ((30, 0), False), ((10, 0), True), ((0.5, 0), True)):
        room.put([place, (2, 0)])
        for _ in range(15):
            room.say({0: still(1.7 + 0.1 * (room.tick % 2))})
            room.step()
        assert (client.pose_of(body) is not None) == known, place
    for _ in range(30):
        room.step()
    assert client.pose_of(body) is None


def test_what_rests_costs_nothing() -> None:
    room = Room(["vr", "vr"], [(0, 0), (2, 0)])
    for _ in range(60):
        room.say({0: still(), 1: still()})
        room.step()
    assert [len(client.messages) for client in room.clients] == [2, 2], "once, and once more"


@pytest.mark.parametrize("near_m", [1.0, 12.0, 30.0], ids=["mid", "both", "near"])
def test_a_crowd_stays_within_the_budget_and_nobody_starves(near_m: float) -> None:
    count = 60
    rules = PoseRules(near_radius_m=near_m, mid_radius_m=30.0, bytes_per_s=300 * RATE_HZ)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    room = Room(["vr"] * count, np.stack([12 * np.cos(angle), 12 * np.sin(angle)], 1), rules)
    client = room.clients[0]
    for other in room.clients[1:]:
        other.decodes = False
    heard: dict[int, list[int]] = {}
    for _ in range(100):
        room.say({conn: waving(room.tick, conn) for conn in range(count)})
        room.step()
        for number, held in client.poses.held.items():
            if held.tick == room.tick:
                heard.setdefault(number, []).append(room.tick)
    assert client.pose_bytes_most <= 300
    assert len(heard) == count - 1
    most = {number: max(np.diff(ticks)) for number, ticks in heard.items()}
    assert max(most.values()) <= 16, most


def test_what_frames_take_is_the_poses_loss() -> None:
    count, ticks = 20, 60
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    rules = PoseRules(bytes_per_s=800 * RATE_HZ, stream_bytes_per_s=1000 * RATE_HZ)
    room = Room(["vr"] * count, np.stack([3 * np.cos(angle), 3 * np.sin(angle)], 1), rules)
    views = room.core.views.state.views
    for client in room.clients:
        client.decodes = client is room.clients[0]
    before = [client.pose_bytes for client in room.clients]
    for _ in range(ticks):
        room.say({conn: waving(room.tick, conn) for conn in range(count)})
        views["written_bytes"][0] += 900  # as if its frames were large, and acknowledged
        views["acked_bytes"][0] += 900
        room.step()
    most, least = ((room.clients[k].pose_bytes - before[k]) / ticks for k in (1, 0))
    assert 600 < most <= 800
    assert 100 < least <= 200, "a quarter of what poses may have is theirs in any case"


def test_only_headsets_have_poses_and_observers_are_not_told() -> None:
    room = Room(["vr", "desktop", "observer", "device"], [(0, 0), (1, 0), (0, 0), (0, 2)])
    for _ in range(10):
        room.say({conn: waving(room.tick, conn) for conn in range(4)})
        room.step()
    assert room.clients[1].pose_of(room.bodies[0]) is not None
    assert not room.clients[0].messages
    assert not room.clients[2].messages
    assert not room.clients[3].messages
    assert not room.closed


def test_the_newest_stamp_counts() -> None:
    room = Room(["vr", "vr"], [(0, 0), (2, 0)])
    for stamp, height in ((2**32 - 50, 1.5), (2**32 - 100, 1.0), (3, 1.6), (2**32 - 1, 1.0)):
        room.say({0: still(height)}, stamp)
        room.step()
    assert room.clients[1].pose_of(room.bodies[0]).samples[0].head.p[1] == pytest.approx(1.6, abs=0.01)


def test_a_decoded_pose_is_taken_like_one_in_columns() -> None:
    room = Room(["vr", "vr"], [(0, 0), (2, 0)])
    room.core.said(0, encode_client(Pose(7, encode_samples(still(1.3)))), room.tick / RATE_HZ)
    room.step()
    assert room.clients[1].pose_of(room.bodies[0]).samples[0].head.p[1] == pytest.approx(1.3, abs=0.01)


SAMPLES = encode_samples(still())
BAD = {
    "no samples": pack([8, 1, b""]),
    "cut": pack([8, 1, SAMPLES[:-1]]),
    "too many": pack([8, 1, SAMPLES * 4]),
    "no stamp": pack([8, SAMPLES]),
    "negative": pack([8, -1, SAMPLES]),
    "nothing": pack([8]),
    "text": pack([8, 1, "x"]),
    "tail": pack([8, 1, SAMPLES]) + b"\0",
    "short": pack([8, 1, SAMPLES])[:-3],
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_a_malformed_pose_ends_that_session_alone(data: bytes) -> None:
    room = Room(["vr", "vr"], [(0, 0), (2, 0)])
    room.say_raw({1: data})
    room.step()
    assert list(room.closed) == [1]
    assert "POSE" in room.closed[1]


def test_unknown_items_behind_a_pose_are_ignored() -> None:
    room = Room(["vr", "vr"], [(0, 0), (2, 0)])
    room.say_raw({0: pack([8, 5, SAMPLES, "more"])})
    room.step()
    assert not room.closed
    assert room.clients[1].pose_of(room.bodies[0]) is not None


def test_blocked_and_stalled_views_get_nothing() -> None:
    room = Room(["vr", "vr", "vr"], [(0, 0), (2, 0), (0, 2)])
    room.blocked[1] = 1
    room.core.views.state.views["stalled"][2] = 1
    room.say({0: still()})
    before = [len(client.messages) for client in room.clients]
    for batch in room.core.poses.frames(room.tick, room.core.mirror, room.core.views.state, 0, 3, room.blocked):
        raise AssertionError(batch.conn.tolist())
    assert [len(client.messages) for client in room.clients] == before


@pytest.mark.parametrize("rules", [{"near_radius_m": 30.0}, {"mid_hz": 0.0}, {"hysteresis": 0.5}])
def test_rules_that_contradict_themselves_are_refused(rules: Any) -> None:
    with pytest.raises(ValueError, match="poses"):
        PoseRules(**rules)


def test_a_budget_in_which_no_pose_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="no pose fits"):
        PoseRules(bytes_per_s=500).ranges(RATE_HZ)
