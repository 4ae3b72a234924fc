"""Joining: versions, tokens, room, pace, names; what is asked of the shard and what is told to the client."""

import numpy as np
import pytest

from protocol.codes import Close
from protocol.limits import RESUME_BYTES_MAX
from protocol.messages import Bye, Presence, Say, Welcome
from server.session.actions import AttachBody, CloseConn, CloseView, DetachBody, OpenView, Post, RefreshKeys
from server.session.limits import SessionLimits
from server.session.states import State
from tests.unit.server.session.rig import SCHEMA, SCHEMA_HASH, Rig, closed, messages, of


def test_a_join_asks_for_a_body_then_welcomes_and_opens_the_view() -> None:
    rig = Rig()
    assert rig.connect(3) == []
    assert rig.hello(3, "guest:a", name="Anna", profile="vr") == []
    assert rig.sessions.state(3) is State.ADMITTING
    [asked] = rig.tick()
    assert isinstance(asked, AttachBody)
    assert (asked.name, asked.kind, asked.profile, asked.body, asked.generation) == ("Anna", 1, "vr", None, 1)
    welcomed, opened, present = rig.attach(asked)
    assert isinstance(welcomed, Post)
    assert isinstance(welcomed.message, Welcome)
    assert welcomed.conns.dtype == np.int32
    assert welcomed.message.body == 1000
    assert welcomed.message.schema == SCHEMA
    assert 32 <= len(welcomed.message.resume) <= RESUME_BYTES_MAX
    assert opened == OpenView(3, asked.session, 1, 1000, 0, 1, "vr")
    assert isinstance(present, Post)
    assert present.message == Presence(1)
    assert rig.sessions.state(3) is State.LIVE
    assert rig.sessions.online == 1


def test_the_schema_is_left_out_if_the_hash_matches() -> None:
    actions = Rig().join(0, schema_hash=SCHEMA_HASH)
    assert messages(actions, Welcome)[0].schema is None


def test_an_observer_gets_a_view_without_a_body_and_is_not_counted() -> None:
    rig = Rig()
    actions = rig.join(0, profile="observer")
    assert of(actions, AttachBody) == []
    assert messages(actions, Welcome)[0].body is None
    assert of(actions, OpenView)[0].body is None
    assert rig.sessions.online == 0
    assert of(rig.sessions.said(0, Bye(), rig.now_s), DetachBody) == []


@pytest.mark.parametrize(
    ("token", "fields", "code"),
    [
        ("guest:a", {"version_min": 2, "version_max": 3}, Close.VERSION),
        (None, {}, Close.TOKEN_MISSING),
        (None, {"resume": b"unknown"}, Close.TOKEN_MISSING),
        ("expired:a", {}, Close.TOKEN_EXPIRED),
        ("user:a", {"name": None}, Close.NAME),
        ("guest:a", {"name": "Ad\u043cin"}, None),
        ("guest:a", {"name": "\u0430dmin"}, Close.NAME),
        ("guest:a", {"name": "x\u200by"}, Close.NAME),
        ("guest:a", {"name": None}, None),
    ],
)
def test_what_hello_is_refused_for(token: str | None, fields: dict[str, object], code: Close | None) -> None:
    rig = Rig()
    rig.connect(0)
    actions = rig.hello(0, token, **fields)
    assert closed(actions) == ({} if code is None else {0: code})
    assert rig.sessions.rejected.total() == len(closed(actions))


@pytest.mark.parametrize(
    ("speaks", "found"), [((1, 1), 1), ((1, 2), 2), ((2, 2), 2), ((2, 3), 2), ((3, 4), None), ((0, 0), None)]
)
def test_two_successive_versions_are_served_each_client_in_the_newest_of_its_own(
    speaks: tuple[int, int], found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.session.sessions.PROTOCOL_VERSIONS", (1, 2))
    rig, said = Rig(), {"version_min": speaks[0], "version_max": speaks[1]}
    rig.join(0, "guest:other", version_min=1, version_max=2)
    if found is None:
        rig.connect(1)
        assert closed(rig.hello(1, "guest:a", **said)) == {1: Close.VERSION}
        return
    [told] = messages(rig.join(1, "guest:a", **said), Welcome)
    assert told.version == found
    rig.connect(2)
    [asked] = of(rig.hello(2, "guest:a", resume=told.resume, version_min=1, version_max=1), AttachBody)
    [again] = messages(rig.attach(asked), Welcome, 2)
    assert (again.session, again.version) == (told.session, 1), "each connection says anew what its client speaks"


def test_the_first_message_must_be_hello() -> None:
    rig = Rig()
    rig.connect(0)
    assert closed(rig.sessions.said(0, Say(0, "hi"), rig.now_s)) == {0: Close.PROTOCOL}
    assert rig.sessions.lost(0, rig.now_s) == []


def test_a_second_hello_closes_and_removes_the_body() -> None:
    rig = Rig()
    rig.join(0)
    actions = rig.hello(0, "guest:0")
    assert closed(actions) == {0: Close.PROTOCOL}
    assert of(actions, DetachBody)[0].remove
    assert of(actions, CloseView) == [CloseView(0)]


def test_silence_before_hello_is_limited() -> None:
    rig = Rig()
    rig.connect(0)
    assert rig.tick(4.9) == []
    assert closed(rig.tick(0.2)) == {0: Close.HEARTBEAT}


def test_full_and_busy_are_refused_with_a_jittered_retry_but_resumes_are_not() -> None:
    rig = Rig(SessionLimits(sessions_max=1))
    rig.join(0, "user:a:Anna")
    retries = set()
    for conn in range(1, 9):
        rig.connect(conn)
        [action] = rig.hello(conn, f"guest:{conn}")
        assert isinstance(action, CloseConn)
        assert action.code == Close.FULL
        assert action.retry_after_ms is not None
        assert 2500 <= action.retry_after_ms < 7500
        retries.add(action.retry_after_ms)
    assert len(retries) > 4
    rig.sessions.headroom = False
    rig.sessions.lost(0, rig.now_s)
    rig.connect(20)
    actions = rig.hello(20, "user:a:Anna")
    assert [ask.generation for ask in of(actions, AttachBody)] == [2]
    rig = Rig()
    rig.sessions.headroom = False
    rig.connect(0)
    assert closed(rig.hello(0, "guest:a")) == {0: Close.FULL}
    assert rig.sessions.rejected == {"headroom": 1}


def test_who_comes_before_the_world_is_known_waits() -> None:
    rig = Rig()
    rig.sessions.ready = False
    rig.connect(0)
    assert not closed(rig.hello(0, "guest:a"))
    rig.heard_s[:] = rig.now_s
    assert not of(rig.tick(), AttachBody)
    rig.sessions.ready = True
    assert len(of(rig.tick(), AttachBody)) == 1


def test_a_world_that_does_not_become_known_is_said_to_be_starting() -> None:
    rig = Rig()
    rig.sessions.ready = False
    rig.connect(0)
    rig.hello(0, "guest:a")
    rig.tick()
    rig.now_s += rig.limits.attach_timeout_s
    rig.heard_s[:] = rig.now_s
    assert closed(rig.tick()) == {0: Close.STARTING}


def test_a_thousand_joins_in_three_seconds_all_succeed_at_a_bounded_pace() -> None:
    rig = Rig()
    actions = []
    asked_each_tick = []
    conn = 0
    for tick in range(60):
        for _ in range(1000 // 60 + (tick < 1000 % 60)):
            rig.connect(conn)
            actions += rig.hello(conn, f"guest:{conn}", name="Guest")
            conn += 1
        rig.heard_s[:] = rig.now_s
        ticked = rig.tick()
        asks = of(ticked, AttachBody)
        asked_each_tick.append(len(asks))
        for asked in asks:
            actions += rig.attach(asked)
    assert conn == 1000
    assert closed(actions) == {}
    assert len(messages(actions, Welcome)) == 1000
    assert max(asked_each_tick) <= rig.limits.joins_per_tick
    assert rig.sessions.online == 1000


def test_a_thousand_joins_at_once_wait_for_their_turn() -> None:
    rig = Rig()
    for conn in range(1000):
        rig.connect(conn)
        assert rig.hello(conn, f"guest:{conn}") == []
    for _ in range(20):
        assert len(of(rig.tick(), AttachBody)) == 50
    assert of(rig.tick(), AttachBody) == []


def test_connections_per_address_are_limited_except_loopback() -> None:
    rig = Rig(SessionLimits(connections_per_address_max=2))
    assert [closed(rig.connect(conn, "192.0.2.1")) for conn in range(3)] == [{}, {}, {2: Close.TOO_MANY_CONNECTIONS}]
    rig.sessions.lost(2, rig.now_s)
    rig.sessions.lost(0, rig.now_s)
    assert rig.connect(3, "192.0.2.1") == []
    for conn in range(10, 20):
        assert rig.connect(conn, "::1") == []
    with pytest.raises(ValueError, match="already connected"):
        rig.connect(3)
    with pytest.raises(ValueError, match="not in"):
        rig.connect(10**6)


def test_an_unknown_key_makes_the_keys_be_fetched_once_and_the_hellos_looked_at_again() -> None:
    rig = Rig()
    rig.keys_known = False
    rig.connect(0)
    rig.connect(1)
    assert rig.hello(0, "rotated:a:A") == [RefreshKeys()]
    assert rig.hello(1, "rotated:b:B") == []
    rig.keys_known = True
    assert rig.sessions.keys_refreshed(rig.now_s) == []
    assert len(of(rig.tick(), AttachBody)) == 2
    rig.keys_known = False
    rig.connect(2)
    assert rig.hello(2, "rotated:c:C") == [RefreshKeys()]
    assert closed(rig.sessions.keys_refreshed(rig.now_s)) == {2: Close.TOKEN_INVALID}


def test_a_shard_may_refuse_and_may_be_silent() -> None:
    rig = Rig()
    for conn in (0, 1):
        rig.connect(conn)
        rig.hello(conn, f"guest:{conn}")
    first, second = of(rig.tick(), AttachBody)
    actions = rig.sessions.refused(first.session, Close.FULL, "no room here")
    assert closed(actions) == {0: Close.FULL}
    assert rig.sessions.attached(first.session, 1, 5, 5, 1, rig.now_s) == []
    actions = rig.tick(10.1)
    assert closed(actions) == {1: Close.STARTING}
    assert of(actions, DetachBody) == [DetachBody(second.session, 1, remove=True)]
    assert rig.sessions.count()[State.ATTACHING] == 0


def test_guests_get_a_suffix_and_others_are_refused_when_a_name_is_taken() -> None:
    rig = Rig()
    rig.join(0, "user:a", name="Paul")
    asked = of(rig.join(1, "guest:b", name="\u0420aul"), AttachBody)
    assert asked[0].name.startswith("\u0420aul ")
    vouched = of(rig.join(2, "user:c:Paul"), AttachBody)
    assert vouched[0].name.startswith("Paul ")
    rig.connect(3)
    assert closed(rig.hello(3, "user:d", name="PAUL")) == {3: Close.NAME}
    rig.sessions.said(0, Bye(), rig.now_s)
    assert of(rig.join(4, "user:d", name="PAUL"), AttachBody)[0].name == "PAUL"
