"""Which inputs are followed, the same on both sides; and what is told of them."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.observe.lives import FOLLOW_S, U32, U64, GatewayLives, Life, ShardLives, chosen, hashes, life_of
from protocol.link import RegionDelta, Upward

SESSION = 0x1234_5678_9ABC_DEF0
ROW, GENERATION, REGION, CONN = 17, 3, 21, 5


def u64(*values: int) -> U64:
    return np.array(values, np.uint64)


def u32(*values: int) -> U32:
    return np.array(values, np.uint32)


def names(life: Life) -> list[str]:
    return [part.name for part in life.parts]


@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=50),
    st.floats(0.0, 1.0),
)
def test_both_sides_choose_the_same_whatever_comes_beside(inputs: list[tuple[int, int]], ratio: float) -> None:
    session, seq = u64(*(s for s, _ in inputs)), u32(*(n for _, n in inputs))
    together = set(chosen(session, seq, ratio).tolist())
    alone = {k for k in range(len(inputs)) if len(chosen(session[k : k + 1], seq[k : k + 1], ratio))}
    assert together == alone


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_numbers_of_a_trace_are_valid(session: int, seq: int) -> None:
    life = life_of(session, seq, 0.0)
    assert 0 < life.trace < 2**128
    assert 0 < life.root < 2**64
    assert (life.trace, life.root) == (life_of(session, seq, 9.0).trace, life_of(session, seq, 9.0).root)


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.3, 1.0])
def test_so_many_are_chosen_of_people_and_of_numbers(ratio: float) -> None:
    session = np.repeat(np.arange(200, dtype=np.uint64) * np.uint64(65_536), 500)
    seq = np.tile(np.arange(1, 501, dtype=np.uint32), 200)
    at = chosen(session, seq, ratio)
    assert len(at) == pytest.approx(ratio * len(seq), rel=0.1)
    assert len(np.unique(hashes(session, seq))) == len(seq)
    if ratio == 0.3:
        assert np.bincount(at // 500, minlength=200).min() > 90, "nobody is left out"


def forwarded(lives: GatewayLives, seq: int = 7) -> None:
    lives.taken(u64(SESSION), u32(CONN), u32(seq), 10.0)
    lives.forwarded(REGION, u32(CONN), u32(seq), 10.02)


def own(newest: int) -> tuple[U64, U32]:
    session, seq = np.zeros(8, np.uint64), np.zeros(8, np.uint32)
    session[CONN], seq[CONN] = SESSION, newest
    return session, seq


def test_a_gateway_follows_an_input_to_the_frame_that_tells_of_it() -> None:
    lives = GatewayLives(1.0, 20)
    forwarded(lives)
    lives.told(*own(6), 10.05)
    lives.sent(np.array([CONN], np.int32), 200, 10.05, 10.06, 10.07)
    assert lives.over(10.08) == [], "the command before is applied, this one is not"
    lives.told(*own(7), 10.10)
    lives.sent(np.array([CONN + 1], np.int32), 201, 10.10, 10.11, 10.12)
    assert lives.over(10.12) == [], "somebody else's frame"
    lives.sent(np.array([CONN], np.int32), 202, 10.14, 10.15, 10.16)
    (life,) = lives.over(10.17)
    assert life.done
    assert life.facts == {"region": REGION, "frame_tick": 202}
    assert names(life) == [
        "gateway.receive", "gateway.await_region", "gateway.await_frame", "gateway.encode", "gateway.send",
    ]  # fmt: skip
    assert life.whole is not None
    assert (life.whole.begin_s, life.whole.end_s) == (10.0, 10.16)
    for before, after in pairwise(life.parts):
        assert before.end_s == after.begin_s, "no gap"
    assert lives.over(99.0) == []


def test_what_nobody_answers_is_told_as_it_is() -> None:
    lives = GatewayLives(1.0, 20)
    forwarded(lives)
    assert lives.over(10.0 + FOLLOW_S) == []
    (life,) = lives.over(10.1 + FOLLOW_S)
    assert not life.done
    assert names(life) == ["gateway.receive"]


def test_a_connection_that_is_another_persons_by_now_answers_for_nobody() -> None:
    lives = GatewayLives(1.0, 20)
    forwarded(lives)
    session, seq = own(50)
    session[CONN] = 99
    lives.told(session, seq, 10.1)
    lives.sent(np.array([CONN], np.int32), 202, 10.1, 10.1, 10.1)
    assert lives.over(10.2) == []


def test_numbers_that_come_round_are_reached() -> None:
    lives = GatewayLives(1.0, 20)
    forwarded(lives, 2**32 - 1)
    lives.told(*own(3), 10.1)
    lives.sent(np.array([CONN], np.int32), 1, 10.1, 10.1, 10.1)
    assert [life.seq for life in lives.over(10.2)] == [2**32 - 1]


def test_no_more_than_so_many_are_begun_in_a_tick() -> None:
    lives = GatewayLives(1.0, 3)
    for first in (0, 5):
        lives.taken(np.full(5, SESSION), np.full(5, CONN, np.uint32), np.arange(first, first + 5, dtype=np.uint32), 1.0)
    lives.over(1.0)
    lives.taken(u64(SESSION), u32(CONN), u32(77), 1.0)
    assert [life.seq for life in lives.over(1.0 + 2 * FOLLOW_S)] == [0, 1, 2, 77]


@dataclass
class Delta:
    """What is looked at of a delta."""

    tick: int
    region: int = REGION
    own_row: Any = field(default_factory=lambda: u32(ROW))
    own_seq: Any = field(default_factory=lambda: u32(7))


def said(*seqs: int, number: int = 1) -> Upward:
    count = len(seqs)
    up = Upward(4, number, 100, REGION)
    up.input_row, up.input_generation = np.full(count, ROW, np.uint32), np.full(count, GENERATION, np.uint32)
    up.input_seq = u32(*seqs)
    return up


def of(*deltas: Delta) -> list[RegionDelta]:
    return [cast(RegionDelta, delta) for delta in deltas]


def test_a_shard_follows_an_input_through_its_step() -> None:
    lives, message = ShardLives(1.0, 20), said(7)
    lives.arrived(message, 20.0)
    lives.stepping([message], lambda up: u64(SESSION), 20.01)
    lives.stepped(of(Delta(100, own_seq=u32(6))), 20.02)
    assert lives.over(20.03) == [], "queued for the next tick"
    lives.stepping([], lambda up: u64(), 20.06)
    lives.stepped(of(Delta(101)), 20.07)
    (life,) = lives.over(20.08)
    assert (life.trace, life.root) == (life_of(SESSION, 7, 0.0).trace, life_of(SESSION, 7, 0.0).root)
    assert life.whole is None, "the root is the gateway's to tell"
    assert names(life) == ["shard.inbox", "shard.step", "shard.publish"]
    assert life.parts[0].begin_s == 20.0
    assert life.facts == {"region": REGION, "tick": 101}


def test_a_region_that_catches_up_tells_in_the_first_of_its_steps() -> None:
    lives = ShardLives(1.0, 20)
    lives.stepping([said(7)], lambda up: u64(SESSION), 20.0)
    nothing = Delta(101, own_row=u32(), own_seq=u32())
    lives.stepped(of(Delta(99, region=REGION + 1), Delta(100), nothing), 20.1)
    (life,) = lives.over(20.2)
    assert life.facts["tick"] == 100


def test_what_a_gateway_says_again_is_told_once() -> None:
    lives = ShardLives(1.0, 20)
    for number in (1, 2, 3):
        message = said(7, number=number)
        lives.arrived(message, 20.0 + number)
        lives.stepping([message], lambda up: u64(SESSION), 20.0 + number)
        lives.stepped(of(Delta(100 + number)), 20.0 + number)
        assert len(lives.over(20.0 + number)) == (number == 1)


def test_an_input_for_nobody_is_not_followed() -> None:
    lives = ShardLives(1.0, 20)
    lives.stepping([said(7)], lambda up: u64(0), 20.0)
    lives.stepped(of(Delta(100)), 20.0)
    assert lives.over(99.0) == []


def test_an_input_whose_body_has_left_is_told_as_it_is() -> None:
    lives = ShardLives(1.0, 20)
    lives.stepping([said(7)], lambda up: u64(SESSION), 20.0)
    lives.stepped([], 20.0)
    assert lives.over(20.0 + FOLLOW_S) == []
    (life,) = lives.over(20.1 + FOLLOW_S)
    assert not life.done
    assert names(life) == ["shard.inbox"]
