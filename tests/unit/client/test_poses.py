"""A client's own head and hands on their way out, others' as they are told, and what its hands hold meanwhile."""

from math import pi
from typing import Any

import numpy as np
import pytest

from client import ActAnswered, ActLost, ClientConfig, Send, Told
from client.core import ClientCore
from client.hands import OwnHands
from client.poses import POSE_EVERY_MS
from protocol.frames import Structure, encode_structure
from protocol.messages import T_POSE, Pose, Schema, encode_server
from protocol.poses import Part, Poses, Sample, encode_poses, samples_of
from tests.unit.client.test_acting import Talk


class Headset(Talk):
    """A client of profile vr that is welcomed."""

    def __init__(self, profile: str = "vr") -> None:
        super().__init__()
        config = ClientConfig(url="ws://a/ws", name="Ada", token="t", profile=profile)
        self.core, self.links = ClientCore(config, lambda: 0.5), []
        self.core.start(self.now_ms)
        self.turn()
        self.welcome()

    def wait(self, ms: float) -> list[Pose]:
        """Time passes; what is said of the pose."""
        before = len(self.said[self.links[-1]])
        self.now_ms += ms
        self.core.advance(self.now_ms)
        self.turn()
        return [message for message in self.said[self.links[-1]][before:] if isinstance(message, Pose)]

    def hear_bytes(self, data: bytes) -> None:
        self.core.receive(self.links[-1], data, self.now_ms)
        self.turn()


def at(height_m: float) -> Sample:
    return Sample(Part((0.0, height_m, 0.0)))


def test_the_newest_three_samples_go_out_in_the_rhythm_of_inputs() -> None:
    client = Headset()
    said = []
    for k in range(20):
        client.core.set_pose(at(1.0 + k / 128), client.now_ms)
        said += client.wait(16.0)
    assert 5 <= len(said) <= 7
    assert all(np.diff([pose.stamp_ms for pose in said]) >= POSE_EVERY_MS)
    rows = [samples_of(pose) for pose in said[1:]]
    assert {len(r) for r in rows} == {3}
    assert all((np.diff(r["back_ms"].astype(int)) == -16).all() for r in rows)
    heights = [int(h) for r in rows for h in r["p"][:, 0, 1]]
    assert heights == sorted(heights)


def test_what_is_old_is_not_said() -> None:
    client = Headset()
    client.core.set_pose(at(1.0), client.now_ms)
    assert not client.wait(300.0)
    client.core.set_pose(at(1.0), client.now_ms)
    assert client.core.next_ms() <= client.now_ms + POSE_EVERY_MS
    assert len(client.wait(60.0)) == 1
    assert not client.wait(60.0), "nothing is said twice"


def test_poses_may_be_lost_on_their_way() -> None:
    """A reliable one would hold up acts, and come late (STANDARD.md §9.3)."""
    client = Headset()
    client.core.set_pose(at(1.0), client.now_ms)
    client.core.advance(client.now_ms + POSE_EVERY_MS)
    said = [action for action in client.core.take_actions() if isinstance(action, Send) and action.data[1] == T_POSE]
    assert [action.may_be_lost for action in said] == [True]


def test_only_headsets_say_poses() -> None:
    client = Headset("desktop")
    client.core.set_pose(at(1.0), client.now_ms)
    assert not client.wait(100.0)


def entering(sseq: int, number: int, entity: int) -> bytes:
    """Somebody enters."""
    one = np.ones(1, "<u2")
    return encode_structure(
        Structure(
            sseq, 10, 0, (0, 0, 0), np.array([entity], "<u8"), one * number, one, np.zeros((1, 3), "<i2"),
            np.zeros((1, 3), "<i2"), np.zeros(1, "u1"), np.zeros(1, "u1"), [b"\x80"],
        )
    )  # fmt: skip


def mid(number: int, tick: int, sseq: int) -> bytes:
    """A mid pose of a number."""
    head = 16 << 17 | 20 << 22 | 16 << 27 | 3 << 15 | 15 | 15 << 5 | 15 << 10
    one = np.ones(1, "<u2")
    return encode_poses(
        Poses(
            1,
            tick,
            sseq,
            mid_number=one * number,
            mid_head=np.array([head], "<u4"),
            mid_hand=np.full((1, 2), 65535, "<u2"),
        )
    )


def test_poses_of_others_are_known_by_their_ids() -> None:
    client = Headset("desktop")
    client.hear_bytes(entering(1, 3, 77))
    client.hear_bytes(mid(3, 11, 1))
    client.hear_bytes(mid(4, 11, 1))
    held = client.core.poses()
    assert list(held) == [77]
    assert held[77].samples[0].head.p == (0.0, 1.5, 0.0)
    client.sseq = 1
    client.hear(Schema({"kinds": [], "components": []}, b"12345678", 2))
    assert not client.core.poses()
    assert client.core.stats.violations == 0


def test_poses_that_break_the_standard_cost_a_reconnect() -> None:
    client = Headset()
    client.hear_bytes(mid(3, 11, 1)[:-1])
    client.hear_bytes(encode_poses(Poses(1, 1, 1, near_number=np.ones(1, "<u2"), near_samples=np.ones(1, "u1"))))
    assert client.core.stats.violations >= 1
    assert client.dropped


def test_a_snap_turn_is_in_the_next_command() -> None:
    client = Headset()
    client.core.steer(0.0, 1.0, pi / 2)
    client.core.snap_turn(-pi / 6)
    assert client.core.yaw == pytest.approx(pi / 3, abs=1e-4)
    client.core.snap_turn(-pi)
    assert client.core.yaw == pytest.approx(4 * pi / 3, abs=1e-4)


class Hands:
    """Own hands, and the acts that they say."""

    def __init__(self) -> None:
        self.acts: list[tuple[str, Any]] = []
        self.own = OwnHands(self.act)

    def act(self, name: str, payload: Any) -> int:
        self.acts.append((name, payload))
        return len(self.acts)


def test_a_grab_shows_at_once_and_is_taken_back_when_refused() -> None:
    hands = Hands()
    key = hands.own.grab(7, "left")
    assert hands.acts == [("grab", {"thing": 7, "hand": "left"})]
    assert hands.own.holds("left") == 7
    assert not hands.own.heard(ActAnswered(key + 1, 1, "of another act"))
    assert hands.own.heard(ActAnswered(key, 1, "somebody has it"))
    assert hands.own.holds("left") is None


def test_a_grab_that_is_granted_stays_until_it_is_let_go() -> None:
    hands = Hands()
    assert not hands.own.heard(ActAnswered(hands.own.grab(7), 0, {"thing": 7, "held": True}))
    assert hands.own.holds("right") == 7
    hands.own.grab(7, "left")
    assert (hands.own.holds("right"), hands.own.holds("left")) == (None, 7)
    hands.own.release("left")
    assert hands.own.holds("left") is None
    assert hands.acts[-1] == ("release", {"hand": "left"})


@pytest.mark.parametrize("held", [True, False])
def test_what_is_across_a_border_is_decided_by_an_event(held: bool) -> None:
    hands = Hands()
    assert not hands.own.heard(ActAnswered(hands.own.grab(7), 0, {"thing": 7, "held": None}))
    assert not hands.own.heard(Told(None, "grab", {"thing": 8, "held": False}))
    assert hands.own.heard(Told(None, "grab", {"thing": 7, "held": held})) != held
    assert hands.own.holds("right") == (7 if held else None)


def test_an_act_that_is_lost_holds_nothing() -> None:
    hands = Hands()
    assert hands.own.heard(ActLost(hands.own.grab(7)))
    assert hands.own.holds("right") is None


def test_a_stale_schema_message_is_no_pose() -> None:
    client = Headset()
    client.hear_bytes(encode_server(Schema({"kinds": [], "components": []}, b"12345678", 1)))
    assert not client.core.poses()
