"""Resume tickets that other gateways open, and sessions that go on there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import Close
from protocol.limits import RESUME_BYTES_MAX
from protocol.messages import Move, Notice, Welcome
from protocol.notices import NoticeCode
from server.session.actions import AttachBody, CloseConn, DetachBody, ReleaseBody
from server.session.identity import Identity
from server.session.states import State
from server.session.tickets import LIFETIME_S, Ticket, Tickets, after_other_gateway
from tests.unit.server.session.rig import Rig, closed, messages, of, seeded

TICKET = Ticket(7 << 40, 3, Identity("test", "ann", None, frozenset({"b", "a"})), "Ann", "person", 1000)


def pair() -> tuple[Rig, Rig]:
    return Rig(seed=1), Rig(seed=2)


def forged(ticket: bytes | None) -> bytes:
    """As one of a life whose key is gone."""
    assert ticket is not None
    return bytes(each ^ 1 for each in ticket)


def tickets(seed: int, now_s: float = 100.0, key: bytes = b"k" * 32) -> Tickets:
    return Tickets.of_cluster(key, seeded(seed), lambda: now_s)


def test_another_gateway_opens_what_was_sealed_and_nobody_else_does() -> None:
    sealed = tickets(1).seal(TICKET)
    assert tickets(2).open(sealed) == TICKET
    assert tickets(1).open(sealed) is None, "a gateway knows its own sessions without it"
    assert tickets(2, key=b"other").open(sealed) is None
    assert tickets(2, 100.0 + LIFETIME_S - 1).open(sealed) is not None
    assert tickets(2, 101.0 + LIFETIME_S).open(sealed) is None


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
def test_what_was_not_sealed_is_never_opened(data: bytes, at: int, flip: int) -> None:
    assert tickets(2).open(data) is None
    sealed = bytearray(tickets(1).seal(TICKET))
    sealed[at % len(sealed)] ^= flip
    assert tickets(2).open(bytes(sealed)) is None


def test_a_ticket_fits_the_wire_whatever_the_issuer_says() -> None:
    roles = frozenset(f"a very long role, number {k}" for k in range(100))
    sealed = tickets(1).seal(replace(TICKET, identity=replace(TICKET.identity, roles=roles)))
    assert len(sealed) <= RESUME_BYTES_MAX
    assert tickets(2).open(sealed) is None


def test_a_cluster_without_a_key_seals_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        Tickets.of_cluster(b"", seeded(), lambda: 0.0)


def test_a_session_goes_on_at_another_gateway_with_its_body() -> None:
    a, b = pair()
    [welcome] = messages(a.join(0, "guest:ann", name="Ann"), Welcome)
    b.connect(5)
    [ask] = of(b.hello(5, None, resume=welcome.resume), AttachBody)
    assert (ask.session, ask.body, ask.name) == (welcome.session, welcome.body, "Ann")
    assert ask.generation > welcome.generation
    [again] = messages(b.attach(ask), Welcome)
    assert (again.session, again.body) == (welcome.session, welcome.body)
    assert b.sessions.joins == {"moved": 1}
    assert again.resume != welcome.resume


def test_who_resumed_meanwhile_still_has_a_lower_generation_than_the_next_gateway() -> None:
    a, b = pair()
    [first] = messages(a.join(0, "guest:ann"), Welcome)
    newest = first
    for conn in range(1, 4):
        a.sessions.lost(conn - 1, a.now_s)
        a.connect(conn)
        [ask] = of(a.hello(conn, None, resume=newest.resume), AttachBody)
        [newest] = messages(a.attach(ask), Welcome)
    b.connect(0)
    [ask] = of(b.hello(0, None, resume=first.resume), AttachBody)
    assert ask.generation > newest.generation
    assert after_other_gateway(ask.generation, 0) > ask.generation


def test_an_old_ticket_does_not_begin_below_what_was_said_of_a_session_that_has_ended() -> None:
    a, b = pair()
    [first] = messages(a.join(0, "guest:ann"), Welcome)
    b.connect(0)
    [ask] = of(b.hello(0, None, resume=first.resume), AttachBody)
    [there] = messages(b.attach(ask), Welcome)
    b.sessions.lost(0, b.now_s)
    b.connect(1)
    [again] = of(b.hello(1, None, resume=there.resume), AttachBody)
    b.attach(again)
    b.sessions.lost(1, b.now_s)
    [gone] = of(b.tick(30.0), DetachBody)
    assert gone.remove
    b.connect(2)
    [last] = of(b.hello(2, None, resume=first.resume), AttachBody)
    assert last.session == gone.session
    assert last.generation > gone.generation


def test_two_gateways_that_go_on_from_one_ticket_do_not_come_to_one_generation() -> None:
    assert after_other_gateway(7, 1) != after_other_gateway(7, 2)


def test_a_ticket_comes_back_to_a_gateway_that_still_has_the_session() -> None:
    a, b = pair()
    [welcome] = messages(a.join(0, "guest:ann"), Welcome)
    b.connect(0)
    [ask] = of(b.hello(0, None, resume=welcome.resume), AttachBody)
    [there] = messages(b.attach(ask), Welcome)
    a.sessions.lost(0, a.now_s)  # it never heard that the body went elsewhere
    a.connect(1)
    [back] = of(a.hello(1, None, resume=there.resume), AttachBody)
    assert back.session == welcome.session
    assert back.generation > ask.generation


def test_a_drained_client_looks_on_until_it_has_switched() -> None:
    a, b = pair()
    [welcome] = messages(a.join(0, "guest:ann"), Welcome)
    [move] = messages(a.sessions.drain(lambda conn, now_s: "wss://b/ws", 5000, a.now_s), Move)
    b.connect(0)
    [ask] = of(b.hello(0, None, resume=move.ticket), AttachBody)
    assert ask.body == welcome.body
    actions = a.sessions.elsewhere(ask.session, ask.generation, 2, a.now_s)
    assert closed(actions) == {}
    assert [release.conn for release in of(actions, ReleaseBody)] == [0]
    assert a.sessions.elsewhere(ask.session, ask.generation, 2, a.now_s) == []
    a.sessions.lost(0, a.now_s)
    assert a.sessions.count()[State.DETACHED] == 0, "there is nothing to come back to here"


def test_who_lost_the_body_to_a_gateway_that_does_not_have_the_session_gets_it_back() -> None:
    a, _ = pair()
    [welcome] = messages(a.join(0, "guest:ann"), Welcome)
    assert a.sessions.elsewhere(welcome.session, 1, 2, a.now_s) == [], "an older ask"
    given = after_other_gateway(1, 1) + 5
    assert closed(a.sessions.elsewhere(welcome.session, given, 2, a.now_s)) == {}
    a.heard_s[:] = a.now_s + 2
    assert closed(a.tick(0.5)) == {}
    assert closed(a.tick(0.6)) == {0: Close.GOING_AWAY}
    a.connect(1)
    [ask] = of(a.hello(1, None, resume=welcome.resume), AttachBody)
    assert ask.body == welcome.body
    assert ask.generation > given


def test_who_still_waits_for_a_body_that_another_gateway_got_asks_above_it() -> None:
    a, b = pair()
    [welcome] = messages(a.join(0, "guest:ann"), Welcome)
    b.connect(0)
    [ask] = of(b.hello(0, None, resume=welcome.resume), AttachBody)
    [again] = of(b.sessions.elsewhere(ask.session, ask.generation + 7, 3, b.now_s), AttachBody)
    assert again.generation > ask.generation + 7
    assert b.sessions.elsewhere(ask.session, ask.generation + 7, 3, b.now_s) == []


def test_a_body_that_ended_with_its_region_is_not_looked_for() -> None:
    rig = Rig()
    [welcome] = messages(rig.join(0, "guest:ann"), Welcome)
    rig.sessions.body_lost(welcome.session, rig.now_s)
    rig.connect(1)
    [ask] = of(rig.hello(1, None, resume=welcome.resume), AttachBody)
    assert ask.body is None
    [again] = messages(rig.attach(ask), Welcome)
    assert again.body != welcome.body


def test_who_comes_with_a_ticket_that_opens_nothing_is_told() -> None:
    a, b = pair()
    [welcome] = messages(a.join(0, "guest:ann"), Welcome)
    told = b.join(0, "guest:ann", resume=forged(welcome.resume))
    [anew] = messages(told, Welcome)
    assert anew.session != welcome.session
    [notice] = messages(told, Notice)
    assert (notice.code, "former session" in notice.text) == (NoticeCode.NOT_RESUMED, True)
    b.connect(1)
    [refused] = of(b.hello(1, None, resume=forged(welcome.resume)), CloseConn)
    assert (refused.code, "former session" in refused.text) == (Close.TOKEN_MISSING, True)
