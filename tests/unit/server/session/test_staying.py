"""Resume, replacement, heartbeat, drain; presence and chat among live sessions."""

import numpy as np
import pytest

from protocol.codes import Close
from protocol.messages import Bye, Chat, Event, Move, Notice, Presence, Say, Welcome
from protocol.notices import NoticeCode
from server.session.actions import AttachBody, CloseView, DetachBody, OpenView, Post
from server.session.limits import SessionLimits
from server.session.states import State
from tests.counting import Work
from tests.unit.server.session.rig import Rig, closed, messages, of


def test_joins_are_counted_by_how_they_came() -> None:
    rig = Rig()
    [welcome] = messages(rig.join(0, "guest:a"), Welcome)
    rig.join(1, "guest:b")
    rig.join(2, "guest:b")
    assert rig.sessions.joins == {"new": 2, "replaced": 1}
    rig.sessions.lost(0, rig.now_s)
    assert messages(rig.join(3, "guest:a", resume=welcome.resume), Welcome)
    assert rig.sessions.joins == {"new": 2, "replaced": 1, "resumed": 1}


def test_resume_gets_the_same_body_with_a_rotated_ticket() -> None:
    rig = Rig()
    [welcome] = messages(rig.join(0), Welcome)
    actions = rig.sessions.lost(0, rig.now_s)
    assert actions == [CloseView(0), DetachBody(welcome.session, 1, remove=False)]
    assert rig.sessions.online == 1
    assert of(rig.tick(29.0), DetachBody) == []
    rig.connect(1)
    [asked] = rig.hello(1, None, resume=welcome.resume)
    assert isinstance(asked, AttachBody)
    assert (asked.session, asked.generation, asked.body) == (welcome.session, 2, welcome.body)
    [again] = messages(rig.attach(asked), Welcome)
    assert again.body == welcome.body
    assert again.resume != welcome.resume
    rig.heard_s[1] = rig.now_s + 60
    assert of(rig.tick(60.0), DetachBody) == []
    rig.connect(2)
    assert closed(rig.hello(2, None, resume=welcome.resume)) == {2: Close.TOKEN_MISSING}


def test_after_the_grace_the_body_is_removed_and_the_ticket_is_worth_nothing() -> None:
    rig = Rig()
    [welcome] = messages(rig.join(0), Welcome)
    rig.sessions.lost(0, rig.now_s)
    assert of(rig.tick(30.0), DetachBody) == [DetachBody(welcome.session, 1, remove=True)]
    assert rig.sessions.online == 0
    rig.connect(0)
    assert closed(rig.hello(0, None, resume=welcome.resume)) == {0: Close.TOKEN_MISSING}


def test_the_same_identity_replaces_its_older_session_and_keeps_the_body() -> None:
    rig = Rig()
    [welcome] = messages(rig.join(0, "user:a:Anna"), Welcome)
    rig.connect(1)
    actions = rig.hello(1, "user:a:Anna")
    assert closed(actions) == {0: Close.REPLACED}
    [asked] = of(actions, AttachBody)
    assert (asked.session, asked.generation, asked.body) == (welcome.session, 2, welcome.body)
    assert rig.sessions.lost(0, rig.now_s) == []
    assert rig.sessions.attached(asked.session, 1, 77, 7, 1, rig.now_s) == []
    assert len(of(rig.attach(asked), OpenView)) == 1
    assert rig.sessions.state(1) is State.LIVE


def test_an_identity_may_observe_besides_its_body() -> None:
    rig = Rig()
    rig.join(0, "user:a:Anna")
    assert closed(rig.join(1, "user:a:Anna 2", profile="observer")) == {}
    assert rig.sessions.state(0) is State.LIVE
    assert rig.sessions.state(1) is State.LIVE


def test_taking_over_while_attaching_asks_again_with_what_is_known() -> None:
    rig = Rig()
    rig.connect(0)
    rig.hello(0, "user:a:Anna")
    [first] = of(rig.tick(), AttachBody)
    rig.connect(1)
    actions = rig.hello(1, "user:a:Anna")
    [second] = of(actions, AttachBody)
    assert (second.session, second.generation, second.body) == (first.session, 2, None)
    assert rig.sessions.attached(first.session, 1, 900, 9, 1, rig.now_s) == []
    actions = rig.sessions.attached(second.session, 2, 900, 9, 1, rig.now_s)
    assert messages(actions, Welcome)[0].body == 900


def test_a_connection_lost_while_attaching_removes_a_new_body_but_keeps_an_old_one() -> None:
    rig = Rig()
    rig.connect(0)
    rig.hello(0, "user:a:Anna")
    [asked] = of(rig.tick(), AttachBody)
    assert rig.sessions.lost(0, rig.now_s) == [DetachBody(asked.session, 1, remove=True)]
    [welcome] = messages(rig.join(1, "user:a:Anna"), Welcome)
    rig.sessions.lost(1, rig.now_s)
    rig.connect(2)
    rig.hello(2, None, resume=welcome.resume)
    assert rig.sessions.lost(2, rig.now_s) == [DetachBody(welcome.session, 2, remove=False)]
    rig.connect(3)
    [asked] = of(rig.hello(3, None, resume=welcome.resume), AttachBody)
    assert (asked.generation, asked.body) == (3, welcome.body)


def test_bye_removes_at_once() -> None:
    rig = Rig()
    [welcome] = messages(rig.join(0), Welcome)
    actions = rig.sessions.said(0, Bye(), rig.now_s)
    assert of(actions, DetachBody) == [DetachBody(welcome.session, 1, remove=True)]
    assert list(closed(actions)) == [0]


def test_a_missed_heartbeat_closes_that_session_alone_and_keeps_its_body() -> None:
    rig = Rig()
    rig.join(0)
    rig.join(1)
    rig.heard_s[0] = rig.now_s + 9
    actions = rig.tick(10.5)
    assert closed(actions) == {1: Close.HEARTBEAT}
    assert [detached.remove for detached in of(actions, DetachBody)] == [False]
    assert rig.sessions.count()[State.DETACHED] == 1


@pytest.mark.parametrize(("code", "removed"), [(Close.PROTOCOL, True), (Close.TOO_SLOW, False)])
def test_a_violation_keeps_the_body_only_if_the_client_shall_come_back_now(code: Close, removed: bool) -> None:
    rig = Rig()
    rig.join(0)
    actions = rig.sessions.violated(0, "because", code, rig.now_s)
    assert closed(actions) == {0: code}
    assert of(actions, DetachBody)[0].remove is removed
    assert rig.sessions.rejected["because"] == 1
    assert rig.sessions.violated(0, "because", code, rig.now_s) == []


def test_drain_sends_everybody_elsewhere_with_tickets_of_their_own() -> None:
    rig = Rig()
    rig.join(0)
    rig.join(1)
    actions = rig.sessions.drain(lambda conn, now_s: f"wss://{conn}.example/ws", 2000, rig.now_s)
    moves = messages(actions, Move)
    assert len({move.ticket for move in moves}) == 2
    assert [move.url for move in moves] == ["wss://0.example/ws", "wss://1.example/ws"]
    rig.connect(2)
    assert closed(rig.hello(2, "guest:c")) == {2: Close.FULL}
    rig.sessions.said(0, Bye(), rig.now_s)
    assert closed(rig.tick(2.0)) == {1: Close.MOVED}


def test_who_finds_no_other_gateway_with_room_is_told_when_there_is_one_again() -> None:
    rig = Rig()
    rig.join(0)
    rig.join(1)
    urls: list[str | None] = [None, None, "wss://a/ws", None, "wss://b/ws"]
    told: list[str] = []
    for actions in [rig.sessions.drain(lambda conn, now_s: urls.pop(0), 2000, rig.now_s), *(rig.tick() for _ in "abc")]:
        told += [move.url for move in messages(actions, Move)]
    assert told == ["wss://a/ws", "wss://b/ws"]


def test_stopping_closes_all() -> None:
    rig = Rig()
    rig.join(0)
    rig.connect(1)
    rig.connect(2)
    rig.hello(2, "guest:c")
    assert closed(rig.sessions.stopped("bye", rig.now_s)) == dict.fromkeys((0, 1, 2), Close.GOING_AWAY)


def test_presence_is_told_in_capped_batches_once_a_second() -> None:
    rig = Rig()
    for conn in range(70):
        rig.join(conn)
    news = messages(rig.tick(1.0), Presence)
    rig.heard_s[:] = rig.now_s
    news += messages(rig.tick(1.0), Presence)
    assert [(batch.online, len(batch.joined)) for batch in news] == [(70, 50), (70, 20)]
    assert messages(rig.tick(1.0), Presence) == []
    known = messages(rig.join(100), Presence, 100)[0]
    assert len(known.joined) == 70
    rig.sessions.said(5, Bye(), rig.now_s)
    [batch] = messages(rig.tick(1.0), Presence)
    assert batch.left == (1005,)
    assert [name for _, name in batch.joined] == ["guest 100"]


def test_chat_reaches_the_world_those_near_or_one() -> None:
    rig = Rig()
    for conn in range(4):
        rig.join(conn)
    rig.world.near_conns = np.array([0, 2, 9], np.int32)

    def say(scope: int, to: int | None = None) -> list[int]:
        [post] = of(rig.sessions.said(0, Say(scope, " hi\u0000\n there ", to), rig.now_s), Post)
        assert isinstance(post.message, Chat)
        assert (post.message.text, post.message.sender, post.message.name) == ("hi there", 1000, "guest 0")
        return [int(conn) for conn in post.conns]

    assert say(0) == [0, 1, 2, 3]
    assert say(1) == [0, 2]
    assert say(2, 1003) == [0, 3]
    [notice] = messages(rig.sessions.said(0, Say(2, "hi", 5), rig.now_s), Notice)
    assert notice.code == NoticeCode.CHAT_NOBODY
    [notice] = messages(rig.sessions.said(0, Say(0, "\u0007 \u202e"), rig.now_s), Notice)
    assert notice.code == NoticeCode.CHAT_EMPTY


def test_chat_floods_are_told_then_closed_and_others_are_not_hurt() -> None:
    rig = Rig()
    rig.join(0)
    rig.join(1)
    actions = []
    for _ in range(16):
        actions += rig.sessions.said(0, Say(1, "x"), rig.now_s)
    assert len(messages(actions, Chat)) == 5
    assert [notice.code for notice in messages(actions, Notice)] == [NoticeCode.CHAT_TOO_FAST] * 10
    assert closed(actions) == {0: Close.TOO_MANY_MESSAGES}
    assert len(messages(rig.sessions.said(1, Say(1, "x"), rig.now_s), Chat)) == 1


def test_all_together_are_limited_in_talking_to_the_whole_world() -> None:
    rig = Rig(SessionLimits(world_chat_burst=3))
    actions = []
    for conn in range(5):
        rig.join(conn)
        actions += rig.sessions.said(conn, Say(0, "x"), rig.now_s)
    assert len(messages(actions, Chat)) == 3
    assert [notice.code for notice in messages(actions, Notice)] == [NoticeCode.CHAT_BUSY] * 2


def test_observers_have_no_voice() -> None:
    rig = Rig()
    rig.join(0, profile="observer")
    [notice] = messages(rig.sessions.said(0, Say(0, "x"), rig.now_s), Notice)
    assert notice.code == NoticeCode.CHAT_NOT_ALLOWED


def test_events_of_behaviours_reach_one_or_all() -> None:
    rig = Rig()
    [welcome] = messages(rig.join(0), Welcome)
    rig.join(1)
    [post] = of(rig.sessions.shard_event(None, 5, "bell", [1]), Post)
    assert (post.conns.tolist(), post.message) == ([0, 1], Event(5, "bell", [1]))
    [post] = of(rig.sessions.shard_event(welcome.session, None, "hint", None), Post)
    assert post.conns.tolist() == [0]
    assert rig.sessions.shard_event(1, None, "hint", None) == []


def work_of_an_idle_tick(people: int) -> Work:
    rig = Rig()
    for conn in range(people):
        rig.join(conn)
        if conn % 2:
            rig.sessions.lost(conn, rig.now_s)
    while messages(rig.tick(1.0), Presence):
        rig.heard_s[:] = rig.now_s
        rig.tick(0.0)
        if rig.sessions.count()[State.DETACHED] == 0:
            break
    work = Work()
    rig.heard_s[:] = rig.now_s
    with work.counting():
        rig.sessions.tick(rig.now_s, rig.heard_s)
    return work


def test_an_idle_tick_makes_as_many_calls_for_many_sessions_as_for_few() -> None:
    assert work_of_an_idle_tick(10) == work_of_an_idle_tick(400)
