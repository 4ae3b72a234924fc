"""Who is given a token, and what may be said on a connection that came of one."""

import pytest

from protocol.codes import Close
from protocol.messages import CARRIER_UDP, CARRIER_WEBTRANSPORT, AskDatagrams, Token, Welcome
from server.session.actions import AttachBody, GiveToken
from tests.unit.server.session.rig import Rig, closed, messages, of

ASK = AskDatagrams(1)


def rig_with_datagrams() -> Rig:
    rig = Rig()
    rig.sessions.carriers = frozenset({CARRIER_UDP})
    return rig


def joined(rig: Rig, conn: int, address: str, secure: bool) -> Welcome:
    actions = rig.sessions.connected(conn, address, rig.now_s, secure)
    actions += rig.hello(conn, f"guest:{conn}") + rig.tick(0.0)
    [asked] = of(actions, AttachBody)
    [welcome] = messages(rig.attach(asked), Welcome)
    return welcome


@pytest.mark.parametrize(("address", "secure"), [("127.0.0.1", False), ("::1", False), ("198.51.100.7", True)])
def test_keys_are_given_where_nobody_else_reads_them(address: str, secure: bool) -> None:
    rig = rig_with_datagrams()
    welcome = joined(rig, 0, address, secure)
    assert rig.sessions.said(0, ASK, rig.now_s) == [GiveToken(0, welcome.session)]


def test_without_tls_there_are_no_keys() -> None:
    rig = rig_with_datagrams()
    joined(rig, 0, "198.51.100.7", False)
    [token] = messages(rig.sessions.said(0, ASK, rig.now_s), Token)
    assert token.address is None
    assert "TLS" in token.text
    assert not token.key_up
    assert rig.sessions.rejected["no_datagrams"] == 1
    rig.sessions.lost(0, rig.now_s)
    joined(rig, 0, "198.51.100.8", True)
    assert of(rig.sessions.said(0, ASK, rig.now_s), GiveToken)
    rig.sessions.lost(0, rig.now_s)
    joined(rig, 0, "198.51.100.9", False)  # a slot that was another's tells nothing about who has it now
    assert not of(rig.sessions.said(0, ASK, rig.now_s), GiveToken)


def test_a_server_without_datagrams_and_one_of_another_version_say_so() -> None:
    rig = Rig()
    rig.join(0)
    [token] = messages(rig.sessions.said(0, ASK, rig.now_s), Token)
    assert (token.address, token.text) == (None, "this server takes no datagrams")
    rig.sessions.carriers = frozenset({CARRIER_UDP})
    [token] = messages(rig.sessions.said(0, AskDatagrams(2), rig.now_s), Token)
    assert (token.address, token.text) == (None, "this server speaks version 1 of datagrams")


def test_a_carrier_is_given_where_it_is_offered() -> None:
    rig = rig_with_datagrams()
    rig.join(0)
    over_webtransport = AskDatagrams(1, CARRIER_WEBTRANSPORT)
    [token] = messages(rig.sessions.said(0, over_webtransport, rig.now_s), Token)
    assert (token.address, token.text) == (None, "this server takes no datagrams that way")
    rig.sessions.carriers = frozenset({CARRIER_WEBTRANSPORT})
    [given] = of(rig.sessions.said(0, over_webtransport, rig.now_s), GiveToken)
    assert given.carrier == CARRIER_WEBTRANSPORT
    assert not of(rig.sessions.said(0, ASK, rig.now_s), GiveToken)


def test_before_welcome_nobody_asks() -> None:
    rig = rig_with_datagrams()
    rig.connect(0)
    assert closed(rig.sessions.said(0, ASK, rig.now_s)) == {0: Close.PROTOCOL}
    rig.connect(1)
    rig.hello(1, "guest:1")
    assert closed(rig.sessions.said(1, ASK, rig.now_s)) == {1: Close.PROTOCOL}


def test_hello_over_datagrams_takes_the_session_over_and_back() -> None:
    rig = rig_with_datagrams()
    welcome = joined(rig, 0, "198.51.100.7", True)
    rig.sessions.connected(9, "198.51.100.7", rig.now_s, session=welcome.session)
    actions = rig.hello(9, None, resume=welcome.resume)
    assert closed(actions) == {0: Close.REPLACED}
    [asked] = of(actions, AttachBody)
    assert asked.body == welcome.body
    [again] = messages(rig.attach(asked), Welcome)
    assert again.generation > welcome.generation
    rig.sessions.connected(1, "198.51.100.7", rig.now_s, True)
    actions = rig.hello(1, None, resume=again.resume)
    assert closed(actions) == {9: Close.REPLACED}
    [asked] = of(actions, AttachBody)
    assert asked.body == welcome.body


@pytest.mark.parametrize("which", ["another's ticket", "no ticket", "an old ticket"])
def test_a_token_is_good_for_its_own_session_alone(which: str) -> None:
    rig = rig_with_datagrams()
    mine, others = joined(rig, 0, "127.0.0.1", False), joined(rig, 1, "127.0.0.1", False)
    rig.sessions.connected(9, "127.0.0.1", rig.now_s, session=mine.session)
    resume = {"another's ticket": others.resume, "no ticket": None, "an old ticket": b"old"}[which]
    actions = rig.hello(9, "guest:9", resume=resume)
    assert closed(actions) == {9: Close.GOING_AWAY}
    assert not of(actions, AttachBody)
    assert rig.sessions.rejected["token_session"] == 1
    rig.sessions.lost(9, rig.now_s)
    rig.connect(9)
    assert not closed(rig.hello(9, "guest:9"))


def test_a_television_goes_on_over_datagrams_like_everybody() -> None:
    rig = rig_with_datagrams()
    actions = rig.join(0, profile="tv")
    [asked] = of(rig.sessions.said(0, ASK, rig.now_s), GiveToken)
    [welcome] = messages(actions, Welcome)
    assert asked == GiveToken(0, welcome.session)
    rig.sessions.connected(9, "127.0.0.1", rig.now_s, session=welcome.session)
    actions = rig.hello(9, None, resume=welcome.resume, profile="tv") + rig.tick(0.0)
    [again] = messages(actions, Welcome)
    assert (again.session, again.profile) == (welcome.session, "tv")
    assert closed(actions) == {0: Close.REPLACED}
