"""Acts at a shard: each is done once and answered once, whatever is repeated, and only what is committed is told."""

from typing import Any

import numpy as np
import pytest

from protocol.acting import AnswerCode
from protocol.limits import ACTS_UNANSWERED_MAX, ANSWERS_KEPT
from protocol.link import RegionDelta, Upward
from protocol.messages import unpack
from shard.behaviours.api import DeclarationError, Script
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.core import ShardCore
from shard.region import RegionCore, RegionStep
from tests.unit.shard.actors import act, coins, shop
from tests.unit.shard.worlds import attach

GATEWAY = 1


class Room:
    """One region with one body, and its gateway."""

    def __init__(self, **options: Any) -> None:
        self.core = RegionCore(ShardConfig(bounds_half_m=64.0, **options), None, [shop()])
        self.step(attach(0, 7))
        self.row = self.core.state.row_of_session[7]

    def step(self, *said: Upward) -> RegionStep:
        tick = self.core.tick + 1
        for k, message in enumerate(said):
            message.gateway, message.seq, message.tick = GATEWAY, tick * 64 + k, tick
        self.result = self.core.step(tick, said)
        return self.result

    def answers(self, *said: Upward) -> list[list[Any]]:
        """[number, code, value] of what is told in the next step."""
        delta = RegionDelta.decode(self.step(*said).delta.encode())
        assert all(answer[0] == 7 and answer[4] == GATEWAY for answer in delta.answers)
        return [answer[1:4] for answer in delta.answers]

    @property
    def coins(self) -> int:
        return coins(self.core.state.table, self.row)


def test_an_act_is_done_and_answered_in_the_step_that_takes_it() -> None:
    room = Room()
    assert room.answers(act((1, "pay", 3))) == [[1, 0, 7]]
    assert room.coins == 7
    assert GATEWAY in room.result.gateways, "its gateway is told, subscribed or not"
    assert [(a.session, a.number, a.tick, unpack(a.encoded)) for a in room.result.answered] == [(7, 1, 2, [0, 7])]
    assert room.answers() == []


def test_what_is_said_again_is_answered_again_and_not_done() -> None:
    room = Room()
    first = room.answers(act((1, "pay", 3), (2, "pay", 2)))
    assert first == [[1, 0, 7], [2, 0, 5]]
    assert room.answers(act((1, "pay", 3), (2, "pay", 2))) == first
    assert room.answers(act((2, "pay", 2), (3, "ring", None))) == [[2, 0, 5], [3, 0, None]]
    assert room.coins == 5


def test_acts_are_done_in_order_and_one_that_comes_too_early_is_left() -> None:
    room = Room()
    assert room.answers(act((2, "pay", 1)), act((3, "pay", 1))) == []
    assert room.answers(act((3, "pay", 20)), act((2, "pay", 4)), act((1, "pay", 5))) == [
        [1, 0, 5], [2, 0, 1], [3, 1, "only 10 coins"]
    ]  # fmt: skip


def test_who_is_refused_has_changed_nothing() -> None:
    room = Room()
    before = room.core.entities, room.core.state.table.pos[room.row].tolist()
    assert room.answers(act((1, "pay", 11))) == [[1, AnswerCode.REFUSED, "only 10 coins"]]
    assert room.coins == 10
    assert (room.core.entities, room.core.state.table.pos[room.row].tolist()) == before
    assert room.answers(act((1, "pay", 11), (2, "pay", 10))) == [[1, 1, "only 10 coins"], [2, 0, 0]]


def test_a_refused_act_has_changed_nobody_else_either() -> None:
    room = Room()
    rung = room.core.state.table.columns["c.rung"]
    assert room.answers(act((1, "ring", "broken"))) == [[1, 1, "it has no clapper"]]
    assert (rung.max(), room.result.delta.events) == (0, [])
    assert room.answers(act((2, "ring", None))) == [[2, 0, None]]
    assert rung.max() == 1
    assert [event[2] for event in room.result.delta.events] == ["ring"]


def test_an_action_with_a_mistake_is_switched_off_and_the_world_goes_on() -> None:
    room = Room()
    ((number, code, _text),) = room.answers(act((1, "break", None)))
    assert (number, code, room.coins) == (1, AnswerCode.FAILED, 10)
    assert [fault.behaviour for fault in room.result.faults] == ["shop.break_"]
    answered = room.answers(act((2, "break", None), (3, "pay", 1)))
    assert [code for _, code, _ in answered] == [AnswerCode.FAILED, AnswerCode.DONE]
    assert room.result.faults == []


@pytest.mark.parametrize("name", ["nothing", "", "shop.pay"])
def test_an_unknown_name_is_answered(name: str) -> None:
    assert [code for _, code, _ in Room().answers(act((1, name, None)))] == [AnswerCode.UNKNOWN]


@pytest.mark.parametrize(
    "payload", [None, [], [1, 2], [{1: 2}], ["x" * 3000], [[[[[[[[[[1]]]]]]]]]], [1 << 70]], ids=str
)
def test_an_answer_that_cannot_be_told_is_a_mistake(payload: Any) -> None:
    assert [code for _, code, _ in Room().answers(act((1, "babble", payload)))] == [AnswerCode.FAILED]


@pytest.mark.parametrize("value", [None, 1.5, "text", b"\0", [1, {"a": [True]}]], ids=str)
def test_plain_answers_are_told(value: Any) -> None:
    assert Room().answers(act((1, "babble", [value]))) == [[1, 0, value]]


def test_each_act_has_randomness_of_its_own() -> None:
    rooms = [Room(), Room()]
    told = [room.answers(act((1, "dice", None), (2, "dice", None))) for room in rooms]
    assert told[0] == told[1], "and the same in the same world"
    assert told[0][0][2] != told[0][1][2]


def test_an_act_of_an_older_connection_is_not_taken() -> None:
    room = Room()
    again = room.step(attach(0, 7, generation=2))
    assert [entry[-1] for entry in again.delta.attached] == [0]
    assert room.answers(act((1, "pay", 3))) == []
    assert room.answers(act((1, "pay", 3), generation=2)) == [[1, 0, 7]]
    assert [entry[-1] for entry in room.step(attach(0, 7, generation=3)).delta.attached] == [1]


def test_a_body_remembers_its_newest_answers() -> None:
    room = Room()
    for number in range(1, ANSWERS_KEPT + 3):
        assert room.answers(act((number, "ring", None), first=number)) == [[number, 0, None]]
    told = room.answers(act((2, "ring", None), (3, "ring", None)))
    assert [[number, code] for number, code, _ in told] == [[2, AnswerCode.FORGOTTEN], [3, 0]]


def test_an_older_copy_of_a_body_goes_on_where_its_client_is() -> None:
    """A crash brought back a body that had done less; what its client has had answers to it does not say again."""
    room = Room()
    assert room.answers(act((8, "pay", 1), (9, "pay", 1), first=8)) == [[8, 0, 9], [9, 0, 8]]


def test_the_memory_ends_with_the_body() -> None:
    room = Room()
    room.answers(act((1, "pay", 3)))
    room.step(Upward(0, 0, 0, detach=[[7, 1, True, 0]]))
    assert room.answers(act((1, "pay", 3))) == []
    room.step(attach(0, 7, generation=2))
    room.row = room.core.state.row_of_session[7]
    assert room.answers(act((1, "pay", 1), generation=2)) == [[1, 0, 9]]


# -------------------------------------------------------------------------------------------------------------- commit
def test_a_durable_answer_waits_for_its_commit() -> None:
    room = Room(durable=True)
    assert room.answers(act((1, "pay", 1))) == []
    (first,) = room.result.answered
    assert room.coins == 9
    assert room.answers(act((1, "pay", 1), (2, "pay", 1))) == []
    (second,) = room.result.answered
    assert second.journal > first.journal
    assert room.answers(act((1, "pay", 1))) == [], "said again, and still not committed"
    assert room.result.answered == []
    room.core.state.acting.commit(first.journal)
    assert room.answers() == [[1, 0, 9]]
    room.core.state.acting.commit(second.journal + 10)
    assert room.answers(act((1, "pay", 1))) == [[1, 0, 9], [2, 0, 8]]
    assert room.answers(act((3, "pay", 1))) == [], "what is said to be committed has been told to the journal before"


def test_not_more_than_may_be_unanswered_wait_for_a_commit() -> None:
    room = Room(durable=True)
    room.answers(act(*((number, "ring", None) for number in range(1, 40))))
    assert len(room.result.answered) == ACTS_UNANSWERED_MAX
    room.core.state.acting.commit(room.result.answered[0].journal)
    assert len(room.answers(act((17, "ring", None)))) == ACTS_UNANSWERED_MAX
    assert [answered.number for answered in room.result.answered] == [17]


def test_a_dump_takes_answers_along_and_the_journal_is_told_anew_of_those_that_wait() -> None:
    room = Room(durable=True)
    room.answers(act((1, "pay", 1)))
    room.core.state.acting.commit(1)
    assert room.answers(act((2, "pay", 1))) == [[1, 0, 9]]
    dump = room.core.dump()
    room.core = RegionCore(ShardConfig(bounds_half_m=64.0, durable=True, start=False), None, [shop()])
    room.core.restore(dump)
    assert room.core.dump() == dump
    assert room.answers(act((1, "pay", 1), (2, "pay", 1))) == [[1, 0, 9]], "committed is what was; 2 is not"
    (again,) = room.result.answered
    assert (again.session, again.number, unpack(again.encoded)) == (7, 2, [0, 8])
    assert again.journal > 2
    room.core.state.acting.commit(again.journal)
    assert room.answers(act((3, "pay", 1))) == [[2, 0, 8]]
    assert room.coins == 7


def test_a_world_that_is_not_durable_tells_what_a_durable_one_had_not() -> None:
    room = Room(durable=True)
    room.answers(act((1, "pay", 1)))
    dump = room.core.dump()
    room.core = RegionCore(ShardConfig(bounds_half_m=64.0, start=False), None, [shop()])
    room.core.restore(dump)
    assert room.answers() == [[1, 0, 9]]


def test_answers_leave_a_process_when_they_are_committed() -> None:
    core = ShardCore(ShardConfig(durable=True), None, [shop()])
    core.add_region(4, 1)
    core.step(1, [Upward(9, 1, 1, 4, attach=[[7, 1, "A", "person", "desktop", 0]])])
    core.step(2, [Upward(9, 2, 2, 4, acts=[[7, 1, 1, "pay", 1, 0, 1]])])
    assert core.step(3).published[0].delta.answers == []
    core.regions[4].state.acting.commit(1)
    (published,) = core.step(4).published
    assert published.delta.answers == [[7, 1, 0, 9, 9]]
    assert published.snapshot().answers == published.delta.answers
    assert published.gateways == [9]


def test_two_scripts_may_not_declare_one_action() -> None:
    other = Script("other")
    other.action("pay")(lambda world, rows, payloads: None)
    with pytest.raises(DeclarationError, match="both the action 'pay'"):
        RegionCore(ShardConfig(), None, [shop(), other])
    with pytest.raises(DeclarationError, match="1 to 64 bytes"):
        other.action("x" * 65)


def test_what_an_action_only_looked_at_does_not_undo_what_it_wrote() -> None:
    script = Script("looks")
    script.kind("bell", [script.component("rung", "i4")])
    script.kind("wall")

    @script.start
    def begin(world: World) -> None:
        for _ in range(3):  # bells whose rows do not lie together
            world.spawn("bell", pos=[1.0, 0, 0])
            world.spawn("wall")

    @script.action("ring")
    def ring(world: World, rows: Rows, payloads: list[Any]) -> list[int]:
        bells = world.all("bell")
        least = int(bells.id[np.argmin(bells.rung)])
        assert bells.pos[0, 0] == 1.0
        chosen = world.some("bell", [least])
        chosen.rung += 1
        chosen.pos[:, 1] = 5.0
        return [int(bells.rung.sum())]

    core = RegionCore(ShardConfig(seed=1), None, [script])
    core.step(1, [attach(1, 7)])
    for tick in range(2, 5):
        core.step(tick, [numbered(act((tick - 1, "ring", None)), tick)])
    table = core.state.table
    bells = table.rows(core.state.registry.kind_number["bell"])
    assert table.columns["c.rung"][bells].tolist() == [1, 1, 1]
    assert table.pos[bells, 1].tolist() == [5.0, 5.0, 5.0]


def numbered(message: Upward, tick: int) -> Upward:
    """As the next message of a gateway."""
    message.gateway, message.seq, message.tick = 1, 1000 + tick, tick
    return message
