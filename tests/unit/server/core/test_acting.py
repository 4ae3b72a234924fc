"""Acts at a gateway: their way to the body's region and back, in order, bounded, said again until they are answered."""

from typing import Any

import pytest

from protocol.acting import Act, Answer
from protocol.codes import Close, ProtocolViolation
from protocol.layouts import GRID_PER_M
from protocol.limits import ACTS_UNANSWERED_MAX
from protocol.link import RegionDelta, Upward
from protocol.messages import Bye, Hello, Welcome, decode_server, encode_client
from server.core.acting import AGAIN_S, Acts
from server.core.mirror import NOWHERE
from server.core.outgoing import Deliver, Output
from server.core.regions import LINGER_S
from server.session.actions import CloseConn
from server.session.limits import SessionLimits
from tests.unit.server.core.test_arriving import BODY, ROW
from tests.unit.server.core.test_arriving import Rig as Arriving
from tests.unit.server.core.test_mirror_regions import A, B, delta, entering
from tests.unit.server.session.rig import seeded

SESSION = 5 << 40


class Rig(Arriving):
    """A client whose body is in region B, at a gateway that is told what region B says."""

    def __init__(self, acted: int = 3) -> None:
        super().__init__()
        self.come()
        self.seq = 40
        self.entry[-1] = acted
        told = self.delta(snapshot=True)
        entering(told, ROW, BODY)
        told.attached = [self.entry]
        self.receive(told)
        self.out = self.core.take()

    def delta(self, region: int = B, snapshot: bool = False) -> RegionDelta:
        self.seq += 1
        return delta(region, self.seq, self.seq, snapshot=snapshot)

    def act(self, number: int, name: str = "ring", payload: Any = None) -> None:
        self.core.said(0, encode_client(Act(number, name, payload)), self.now_s)

    def answer(self, *answers: list[Any], region: int = B) -> None:
        """The region answers [number, code, value]."""
        told = self.delta(region)
        told.answers = [[SESSION, *answer, 1] for answer in answers]
        self.receive(told)

    def told(self) -> list[Answer]:
        """Answers that the client got since it was asked last."""
        out: list[Output] = self.core.take()
        decoded = [(o, decode_server(o.data)) for o in out if isinstance(o, Deliver)]
        found = [(o, message) for o, message in decoded if isinstance(message, Answer)]
        assert all(o.sseq is not None for o, _ in found), "they are counted as structure"
        self.closed = [o.code for o in out if isinstance(o, CloseConn)]
        return [message for _, message in found]

    def asked(self, ticks: int = 1) -> list[tuple[int, list[Any]]]:
        """(region, entry of ``Upward.acts``) of all that regions are told."""
        return [(up.region, entry) for up in self.pass_time(ticks) for entry in up.acts]


def test_a_welcome_tells_the_newest_act() -> None:
    rig = Rig(acted=3)
    welcomes = [decode_server(o.data) for o in rig.out if isinstance(o, Deliver)]
    assert [w.acted for w in welcomes if isinstance(w, Welcome)] == [3]


def test_an_act_goes_to_the_region_of_the_body_and_its_answer_comes_back() -> None:
    rig = Rig()
    rig.act(4, "buy", {"what": "apple"})
    generation = rig.entry[1]
    [(region, entry)] = rig.asked()
    assert (region, entry[:7]) == (B, [SESSION, generation, 4, "buy", {"what": "apple"}, BODY, 4])
    assert entry[7] <= entry[8], "the ticks that it can have shown"
    rig.answer([4, 0, "thanks"])
    assert rig.told() == [Answer(4, 0, "thanks")]
    rig.answer([4, 0, "thanks"])
    assert rig.told() == [], "a client is told once"
    assert rig.asked(20) == []


def test_it_is_said_again_until_it_is_answered() -> None:
    rig = Rig()
    rig.act(4)
    again = int(AGAIN_S * 20)
    assert len(rig.asked(again)) == 1
    assert len(rig.asked(again)) == 1
    rig.answer([4, 0, None])
    assert rig.asked(2 * again) == []


def test_it_is_said_to_the_next_region_when_the_body_has_crossed() -> None:
    rig = Rig()
    rig.act(4)
    rig.act(5)
    assert len(rig.asked()) == 2
    rig.core.regions.want(A, rig.now_s)
    came = entering(delta(A, 3, 42, snapshot=True), 9, BODY, hop=1, version=2)
    came.attached = [[SESSION, rig.entry[1], BODY, 9, 1, 1, 4]]
    rig.receive(came)
    assert [(region, entry[2], entry[6]) for region, entry in rig.asked()] == [(A, 4, 4), (A, 5, 4)]


def test_it_is_said_again_when_its_message_got_lost() -> None:
    rig = Rig()
    rig.act(4)
    assert len(rig.asked()) == 1
    sent = rig.core.regions.links[B].seq
    rig.asked(3)
    told = rig.delta()
    told.heard = [[1, sent + 3, 0b111]]
    rig.receive(told)
    assert [entry[2] for _, entry in rig.asked()] == [4]


def test_the_region_of_a_body_stays_mirrored_however_far_away_that_is() -> None:
    """It waits there for the store, and walks on."""
    rig = Rig()
    rig.core.regions.links[B].sent.clear()  # what it was asked for has been heard
    view = rig.core.views.state.views
    view["x"][0], view["z"][0] = -60 * GRID_PER_M, 60 * GRID_PER_M
    for _ in range(round((LINGER_S + 1) * 20)):
        rig.core._heard_s[0] = rig.now_s
        rig.pass_time()
    assert rig.core.regions.is_wanted(B)
    rig.core.bodies.region[0] = NOWHERE
    for _ in range(round((LINGER_S + 1) * 20)):
        rig.core._heard_s[0] = rig.now_s
        rig.pass_time()
    assert not rig.core.regions.is_wanted(B), "the test can fail"


def test_answers_are_told_in_order() -> None:
    rig = Rig()
    for number in (4, 5, 6):
        rig.act(number)
    rig.asked()
    rig.answer([6, 0, "c"], [5, 0, "b"])
    assert rig.told() == []
    assert [entry[2] for _, entry in rig.asked(11)] == [4], "what is answered is not said again"
    rig.answer([4, 1, "a"])
    assert [(a.number, a.code, a.value) for a in rig.told()] == [(4, 1, "a"), (5, 0, "b"), (6, 0, "c")]


@pytest.mark.parametrize(("numbers", "closed"), [([4, 6], True), ([4, 4], True), ([1, 2], False), ([900, 901], False)])
def test_numbers_follow_each_other_on_a_connection(numbers: list[int], closed: bool) -> None:
    rig = Rig()
    for number in numbers:
        rig.act(number)
    rig.told()
    assert rig.closed == ([Close.PROTOCOL] if closed else [])


def test_more_than_may_be_unanswered_closes_that_session() -> None:
    rig = Rig()
    for number in range(1, ACTS_UNANSWERED_MAX + 1):
        rig.act(number)
    rig.asked()
    rig.answer([1, 0, None])
    rig.act(ACTS_UNANSWERED_MAX + 1)
    assert len(rig.told()) == 1
    assert rig.closed == []
    rig.act(ACTS_UNANSWERED_MAX + 2)
    rig.told()
    assert rig.closed == [Close.PROTOCOL]
    assert rig.core.sessions.rejected["acts_unanswered"] == 1
    assert rig.asked(20) == []


def test_bad_bytes_close_that_session() -> None:
    rig = Rig()
    rig.core.said(0, bytes([0x94, 5, 1, 0xA0, 0xC0]), rig.now_s)
    rig.told()
    assert rig.closed == [Close.PROTOCOL]


def test_who_acts_before_welcome_is_closed() -> None:
    rig = Rig()
    rig.core.connected(1, "10.0.0.2", rig.now_s)
    rig.core.said(1, encode_client(Act(1, "ring")), rig.now_s)
    rig.told()
    assert rig.closed == [Close.PROTOCOL]


def test_an_observer_is_refused() -> None:
    rig = Rig()
    rig.core.connected(1, "10.0.0.2", rig.now_s)
    rig.core.said(1, encode_client(Hello(1, 1, "x", "Ob", profile="observer")), rig.now_s)
    rig.pass_time(2)
    rig.told()
    rig.core.said(1, encode_client(Act(1, "ring")), rig.now_s)
    assert [(answer.number, answer.code) for answer in rig.told()] == [(1, 1)]
    assert rig.asked() == []


def test_nothing_is_kept_of_a_connection_that_is_over() -> None:
    rig = Rig()
    rig.act(4)
    rig.core.said(0, encode_client(Bye()), rig.now_s)
    assert rig.asked(20) == []
    rig.answer([4, 0, None])
    assert rig.told() == []


def test_who_acts_faster_than_allowed_waits() -> None:
    acts = Acts(SessionLimits(acts_per_s=2.0, acts_burst=3.0))
    acts.begin(0, BODY, 0.0)
    for number in range(1, 9):
        acts.said(0, Act(number, "ring"), (0, 9))
    said = [entry[0] for _, entries in acts.drain(0.0) for entry in entries]
    assert said == [1, 2, 3]
    assert [entry[0] for _, entries in acts.drain(0.4) for entry in entries] == []
    assert [entry[0] for _, entries in acts.drain(0.55) for entry in entries] == [1, 2, 3, 4], "again costs nothing"
    for number in range(1, 9):
        acts.heard(0, Answer(number, 0))
    assert acts.drain(9.0) == []
    with pytest.raises(ProtocolViolation):
        acts.said(3, Act(1, "ring"), (0, 9))


def test_acts_of_any_order_of_answers_are_answered_once_each() -> None:
    draw = seeded(3)
    for _ in range(50):
        acts = Acts(SessionLimits())
        acts.begin(0, BODY, 0.0)
        for number in range(1, 11):
            acts.said(0, Act(number, "ring"), (0, 9))
        told: list[int] = []
        while len(told) < 10:
            told += [answer.number for answer in acts.heard(0, Answer(draw(1)[0] % 14, 0))]
        assert told == list(range(1, 11))


def test_upward_carries_acts() -> None:
    up = Upward(1, 2, 3, 4, acts=[[7, 1, 1, "ring", {"a": [1, None]}, 9, 1, 40, 44]])
    assert Upward.decode(up.encode()).acts == up.acts
