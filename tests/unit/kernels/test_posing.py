"""What a body may do with head and hands, and how exactly it is published, against plain arithmetic."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import judging, posing
from kernels.judging import judge
from kernels.posing import COLUMNS, MID_BIT, NEAR_BIT, Posed, Said, Told, all_poses, renew_poses, told
from protocol.poses import mid_sample, near_sample, pack_rotation, unpack_rotation
from tests.unit.protocol.test_poses import TURNS, apart

RATE_HZ, END_TICKS = 20, 20
PLACES = st.lists(st.integers(-32767, 32767), min_size=9, max_size=9)
HEAD_UP = [0, 1700, 0]


def columns(rows: int = 4) -> Posed:
    """Of a table of ``rows`` rows."""
    return Posed(*(np.zeros((rows, width) if width else rows, dtype) for _, dtype, width in COLUMNS))


def said(places: list[list[int]], turns: Any = None, back: Any = None, row: int = 1, tracked: int = 7) -> Said:
    """One message with these samples."""
    count = len(places)
    q = np.full((count, 3), pack_rotation((0, 0, 0, 1)), np.uint32) if turns is None else np.array(turns, np.uint32)
    return Said(
        np.array([row]), np.ones(1, np.uint32), np.array([count], np.uint8),
        np.array(back or [0] * count, np.uint8), np.full(count, tracked, np.uint8), np.zeros((count, 2), np.uint8),
        np.array(places, np.int16), q, np.zeros(1, np.uint8),
    )  # fmt: skip


class Body:
    """Row 1 of a table."""

    def __init__(self) -> None:
        self.posed = columns()
        self.counted = np.zeros(4, np.int64)
        self.generation = np.ones(4, np.uint32)
        self.attached = np.ones(4, np.uint8)
        self.ghost = np.zeros(4, np.uint8)
        self.tick = 0

    def hear(self, message: Said | None, ticks: int = 1) -> Told:
        """A step of ``ticks`` ticks in which this came, and what is published."""
        self.tick += ticks
        message = message or said([])._replace(row=np.zeros(0, np.int64), samples=np.zeros(0, np.uint8))
        if message.p.size == 0:
            message = message._replace(p=np.zeros((0, 9), np.int16), q=np.zeros((0, 3), np.uint32))
        judge(message, self.generation, self.attached, self.posed, self.tick, RATE_HZ, self.counted)
        out = told(8, 16)
        renew_poses(message, np.arange(4), self.generation, self.ghost, self.posed, self.tick, END_TICKS, out)
        return out

    @property
    def place(self) -> Any:
        """Newest places, [3, 3]."""
        return self.posed.p[1, :9].reshape(3, 3).astype(np.float64)


def flags(out: Told) -> list[int]:
    """What levels of row 1 are told, once for each time."""
    found: list[int] = out.flags[: out.counts[0]].tolist()
    return found


@settings(deadline=None)  # the first call compiles
@given(places=PLACES)
def test_what_nobody_can_do_is_brought_to_what_one_can(places: list[int]) -> None:
    body = Body()
    body.hear(said([places]))
    head, left, right = body.place
    assert np.hypot(head[0], head[2]) <= judging.HEAD_ASIDE_MAX + 1
    assert judging.HEAD_LOW <= head[1] <= judging.HEAD_HIGH
    for hand in (left, right):
        assert np.linalg.norm(hand - head) <= judging.REACH_MAX + 2
    given_places = np.array(places, np.float64).reshape(3, 3)
    if (head == given_places[0]).all() and all(np.linalg.norm(h - head) < judging.REACH_MAX for h in given_places[1:]):
        np.testing.assert_array_equal(body.place, given_places)
        assert body.counted.tolist() == [1, 0, 0, 0]
    else:
        assert body.counted[judging.REACHED] >= 1


@settings(max_examples=50, deadline=None)
@given(moves=st.lists(PLACES, min_size=2, max_size=6), ticks=st.integers(1, 9))
def test_nothing_is_faster_than_a_person(moves: list[list[int]], ticks: int) -> None:
    body = Body()
    body.hear(said([moves[0]]))
    for places in moves[1:]:
        before = body.place
        body.hear(said([places]), ticks)
        head, *hands = np.linalg.norm(body.place - before, axis=1)
        assert head <= judging.HEAD_SPEED_MAX * ticks / RATE_HZ + 2
        # A hand may be drawn along by the head that it must stay near.
        assert max(hands) <= (judging.HAND_SPEED_MAX + judging.HEAD_SPEED_MAX) * ticks / RATE_HZ + 4


def test_samples_within_a_message_are_judged_by_their_own_times() -> None:
    body = Body()
    body.hear(said([HEAD_UP + [0, 1000, 0] * 2]))
    jump = [0, 1700, 0, 900, 1200, 0, 0, 1000, 0]
    body.hear(said([HEAD_UP + [0, 1000, 0] * 2, jump], back=[20, 0]))
    assert body.counted[judging.HURRIED] == 1
    assert np.linalg.norm(body.place[1] - [0, 1000, 0]) == pytest.approx(20480 * 0.02, abs=3)


def test_who_may_not_is_not_heard() -> None:
    body = Body()
    for message in (said([HEAD_UP * 3], row=9), said([HEAD_UP * 3])._replace(generation=np.full(1, 2, np.uint32))):
        assert flags(body.hear(message)) == []
    body.attached[1] = 0
    assert flags(body.hear(said([HEAD_UP * 3]))) == []
    assert body.counted.tolist() == [0, 3, 0, 0]


def test_who_went_over_a_border_in_this_step_is_not_told_of() -> None:
    body = Body()
    body.ghost[1] = 1
    assert flags(body.hear(said([HEAD_UP * 3]))) == []


def test_what_does_not_move_is_not_told_but_once_more() -> None:
    body, rest = Body(), [*HEAD_UP, 300, 1100, -200, -300, 1100, -200]
    told_at: dict[int, list[int]] = {}
    for _ in range(40):
        out = body.hear(said([[v + body.tick % 2 for v in rest]]))
        if flags(out):
            told_at[body.tick] = flags(out)
    assert told_at == {1: [NEAR_BIT | MID_BIT], 1 + posing.AGAIN_TICKS: [NEAR_BIT | MID_BIT]}


def test_a_small_movement_is_for_near_ones_alone() -> None:
    body, rest = Body(), [*HEAD_UP, 300, 1100, -200, -300, 1100, -200]
    body.hear(said([rest]))
    out = body.hear(said([[*rest[:3], 310, *rest[4:]]]))
    assert flags(out) == [NEAR_BIT]
    out = body.hear(said([[*rest[:3], 370, *rest[4:]]]))
    assert flags(out) == [NEAR_BIT | MID_BIT]


@pytest.mark.parametrize("how", ["silence", "no head"])
def test_a_pose_ends_once(how: str) -> None:
    body = Body()
    body.hear(said([HEAD_UP * 3]))
    ends = []
    for _ in range(2 * END_TICKS):
        out = body.hear(None if how == "silence" else said([HEAD_UP * 3], tracked=6))
        ends += [
            body.tick for flag, count in zip(flags(out), out.samples, strict=False) if flag == NEAR_BIT and not count
        ]
    assert ends == [2 + END_TICKS if how == "silence" else 2]
    assert flags(body.hear(said([HEAD_UP * 3]))) == [NEAR_BIT | MID_BIT], "and begins again"


@settings(deadline=None)  # the first call compiles
@given(places=PLACES, turns=st.tuples(TURNS, TURNS, TURNS))
def test_what_is_told_is_what_was_said_within_its_units(places: list[int], turns: Any) -> None:
    body = Body()
    out = body.hear(said([places], [[pack_rotation(turn) for turn in turns]]))
    k, s, m = out.counts.tolist()
    assert (k, s, m) == (1, 1, 1)
    near = near_sample(
        out.near_p[0].tolist(), out.near_q[0].tolist(), int(out.near_meta[0, 0]), int(out.near_meta[0, 1]),
        out.near_meta[0, 2:].tolist(),
    )  # fmt: skip
    for part, place, turn in zip((near.head, near.left, near.right), body.place, turns, strict=True):
        assert part is not None
        np.testing.assert_allclose(np.array(part.p) * 1024, place, atol=2.01)
        assert apart(part.q, turn) <= 0.3
    mid = mid_sample(int(out.mid_head[0]), out.mid_hand[0].tolist())
    head = body.place[0]
    np.testing.assert_allclose(
        np.array(mid.head.p) * 1024, np.clip(head, [-1024, 256, -1024], [960, 2240, 960]), atol=64.01
    )
    for part, place in zip((mid.left, mid.right), body.place[1:], strict=True):
        assert part is not None
        reach = np.clip(place - np.array(mid.head.p) * 1024, -1024, 960)
        np.testing.assert_allclose((np.array(part.p) - mid.head.p) * 1024, reach, atol=64.01)
    assert apart(mid.head.q, turns[0]) <= 10.3
    snapshot = told(4, 4)
    all_poses(np.arange(4), body.posed, snapshot)
    assert snapshot.counts.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(snapshot.near_p[0], out.near_p[0])
    assert snapshot.mid_head[0] == out.mid_head[0]


def test_odd_bits_of_a_rotation_are_made_even() -> None:
    body = Body()
    out = body.hear(said([HEAD_UP * 3], [[2**32 - 1] * 3]))
    fields = [int(out.near_q[0, 0]) >> (10 * k) & 1023 for k in range(3)]
    assert fields == [1022] * 3
    assert sum(c * c for c in unpack_rotation(int(out.near_q[0, 0]))) == pytest.approx(1.0)
