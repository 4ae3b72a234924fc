"""Head and hands in a region: published with its delta, over borders and moves, and gone when nobody says them."""

from typing import Any

import numpy as np
import pytest

from kernels.posing import MID_BIT, NEAR_BIT
from protocol.link import RegionDelta, Upward
from protocol.pose_layout import SAMPLE
from protocol.poses import Part, Sample, encode_samples, near_sample
from shard.config import ShardConfig
from shard.phases.poses import END_S
from shard.region import RegionCore
from tests.unit.shard.seam import TWO, Body, Net, Seam
from tests.unit.shard.worlds import attach

RATE_HZ = 20


def sample(reach_m: float = 0.3) -> Sample:
    """Somebody who holds the right hand ``reach_m`` ahead."""
    return Sample(Part((0.0, 1.7, 0.0)), None, Part((0.2, 1.4, -reach_m)))


def pose(row: int, generation: int, *samples: Sample) -> Upward:
    """What a gateway tells of one body's pose."""
    message = Upward(1, 0, 0, pose_row=np.array([row], np.uint32), pose_generation=np.array([generation], np.uint32))
    message.pose_count = np.array([len(samples)], np.uint8)
    message.pose_sample = np.frombuffer(encode_samples(samples), np.uint8).reshape(-1, SAMPLE.itemsize)
    return message


class Room:
    """A region with one body."""

    def __init__(self) -> None:
        self.core = RegionCore(ShardConfig(seed=1))
        self.tick = self.seq = 0
        _, _, _, self.row, self.generation, *_ = self.step(attach(1, 7)).attached[0]

    def step(self, *messages: Upward) -> RegionDelta:
        """One tick."""
        self.tick += 1
        for message in messages:
            self.seq += 1
            message.gateway, message.seq, message.tick = 1, 100 + self.seq, self.tick
        delta = self.core.step(self.tick, [Upward.decode(m.encode()) for m in messages]).delta
        return RegionDelta.decode(delta.encode())

    def say(self, *samples: Sample) -> RegionDelta:
        """One tick in which the body's client said this."""
        return self.step(pose(self.row, self.generation, *samples))


def right_hand(delta: RegionDelta, k: int = -1) -> Any:
    """Where the right hand of a near sample is."""
    tracked = int(delta.pose_near_meta[k, 1])
    told = near_sample(delta.pose_near_p[k].tolist(), delta.pose_near_q[k].tolist(), 0, tracked, (0, 0))
    assert told.right is not None
    return np.array(told.right.p)


def test_a_pose_goes_out_with_the_delta_of_its_tick() -> None:
    room = Room()
    delta = room.say(sample(0.3), sample(0.35), sample(0.4))
    assert delta.pose_row.tolist() == [room.row]
    assert delta.pose_flags.tolist() == [NEAR_BIT | MID_BIT]
    assert delta.pose_count.tolist() == [3]
    assert len(delta.pose_near_p) == 3
    assert len(delta.pose_mid_head) == 1
    np.testing.assert_allclose(right_hand(delta), [0.2, 1.4, -0.4], atol=0.004)
    assert not len(room.step().pose_row), "nothing is told of what is not said"
    snapshot = room.core.snapshot_delta(9)
    assert snapshot.pose_row.tolist() == [room.row]
    np.testing.assert_allclose(right_hand(snapshot), [0.2, 1.4, -0.4], atol=0.004)


def test_a_silent_headset_has_no_pose_any_more() -> None:
    room = Room()
    room.say(sample())
    ends = [
        room.tick for _ in range(2 * RATE_HZ) if (d := room.step()).pose_flags.tolist() == [1] and not d.pose_count[0]
    ]
    assert ends == [2 + round(END_S * RATE_HZ) + 1]
    assert not len(room.core.snapshot_delta(9).pose_row)


@pytest.mark.parametrize("broken", ["count", "sample", "row", "zero"])
def test_columns_that_contradict_each_other_are_left_out(broken: str) -> None:
    room = Room()
    message = pose(room.row, room.generation, sample())
    match broken:
        case "count":
            message.pose_count = np.array([2], np.uint8)
        case "sample":
            message.pose_sample = message.pose_sample[:0]
        case "row":
            message.pose_row = np.array([room.row, room.row], np.uint32)
        case "zero":
            message.pose_count, message.pose_sample = np.zeros(1, np.uint8), message.pose_sample[:0]
    assert not len(room.step(message).pose_row)


def test_a_moved_region_goes_on_where_the_hands_were() -> None:
    room = Room()
    room.say(sample(0.3))
    other = RegionCore(ShardConfig(seed=1, epoch=2))
    other.restore(room.core.dump())
    room.core = other
    assert not len(room.say(sample(0.3)).pose_row), "it is known what was told"
    np.testing.assert_allclose(right_hand(room.say(sample(0.5))), [0.2, 1.4, -0.5], atol=0.004)


class Walker:
    """A body that walks over a border and back, its hand always moving, and a gateway that follows it."""

    def __init__(self, seed: int) -> None:
        self.seam = Seam(TWO, seed=seed, net=Net(lost=0.1, repeated=0.1, late=0.2))
        self.body: Body = self.seam.join(7, 4, (-1.0, 0.0))
        self.told: list[tuple[int, int]] = []
        """(tick, region) that told of the pose."""

    def turn(self) -> None:
        for region, result in self.seam.results.items():
            if len(result.delta.pose_row):
                self.told.append((self.seam.tick, region))
                assert result.delta.pose_count[0] == 1, "it never ends"
        self.seam.walk(self.body, 127 if self.seam.tick // 40 % 2 == 0 else -127)
        reach = 0.3 + 0.02 * (self.seam.tick % 10)
        self.seam.say(self.body.region, pose(self.body.row, self.body.generation, sample(reach)))


@pytest.mark.parametrize("seed", range(3))
def test_hands_are_told_on_both_sides_of_a_border(seed: int) -> None:
    walker = Walker(seed)
    walker.seam.run(300, walker.turn)
    assert walker.body.moves >= 3
    ticks = [tick for tick, _ in walker.told]
    assert {region for _, region in walker.told} == {4, 5}
    assert len(ticks) == len(set(ticks)), "one region tells of it in each tick"
    assert max(np.diff(ticks)) <= 8, "a crossing costs no more than words that get lost on its way"
    assert len(ticks) > 270
