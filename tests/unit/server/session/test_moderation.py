"""What operators order of a gateway's sessions: kicks, bans, mutes, words to everybody."""

from cluster.orders import Ban, Broadcast, Kick, Mute, Order, order_key
from protocol.codes import Close
from protocol.messages import Notice, Say, Welcome
from protocol.notices import NoticeCode
from server.session.actions import Action, CloseConn, DetachBody
from server.session.moderation import Moderation
from server.session.roster import digest
from tests.unit.server.session.rig import Rig, messages, of


class Gateway(Rig):
    """With operators. ``unix_s`` is the wall clock."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed=seed)
        self.unix_s = 1_000_000.0
        self.sessions.moderation = Moderation(lambda: self.unix_s)
        self.orders: dict[str, Order] = {}
        self.sessions.obey({})

    def order(self, *orders: Order) -> list[Action]:
        self.orders = {**self.orders, **{order_key(order): order for order in orders}}
        return self.sessions.obey(self.orders)


def _key(subject: str, bodiless: bool = False) -> bytes:
    return digest(("test", subject, bodiless))


def _ban(subject: str, until_s: float = 0.0, *, bodiless: bool = False) -> Ban:
    return Ban(_key(subject, bodiless), until_s, "rude", "ada", subject)


def test_a_kick_ends_one_session_and_its_body_and_says_why() -> None:
    gateway = Gateway()
    gateway.join(0, "user:a:Anna")
    gateway.join(1, "user:b:Bert")
    session = gateway.sessions.find(next(s.id for s in gateway.sessions.all if s.name == "Anna"))
    assert session is not None
    actions = gateway.order(Kick(session.id, "rude", "ada"))
    closed = of(actions, CloseConn)
    assert [(c.conn, c.code, c.text, c.retry_after_ms) for c in closed] == [(0, Close.KICKED, "rude", None)]
    assert [d.remove for d in of(actions, DetachBody)] == [True]
    assert gateway.sessions.find(session.id) is None
    assert gateway.sessions.held == 1
    assert gateway.order() == [], "an order is carried out once"


def test_orders_of_before_a_gateway_lived_are_not_carried_out_but_bans_stand() -> None:
    gateway = Gateway()
    gateway.sessions.moderation = Moderation(lambda: gateway.unix_s)
    gateway.join(0, "user:a:Anna")
    session = next(iter(gateway.sessions.all))
    actions = gateway.order(Kick(session.id, "", "ada"), Broadcast(1, "hello", "ada"), _ban("b"))
    assert actions == []
    gateway.connect(1)
    assert of(gateway.hello(1, "user:b:Bert"), CloseConn)[0].code == Close.KICKED


def test_a_ban_ends_what_is_there_and_keeps_the_identity_out_with_and_without_a_body() -> None:
    gateway = Gateway()
    gateway.join(0, "user:a:Anna")
    until_s = gateway.unix_s + 3600
    actions = gateway.order(_ban("a", until_s, bodiless=True))
    text = of(actions, CloseConn)[0].text
    assert text.startswith("an operator has banned you until ")
    assert text.endswith(": rude")
    for conn, fields in ((1, {}), (2, {"profile": "observer"})):
        gateway.connect(conn)
        closed = of(gateway.hello(conn, "user:a:Anna", **fields), CloseConn)
        assert [(c.code, c.text) for c in closed] == [(Close.KICKED, text)]
    gateway.connect(3)
    assert not of(gateway.hello(3, "user:b:Bert"), CloseConn)
    gateway.unix_s = until_s
    gateway.connect(4)
    assert not of(gateway.hello(4, "user:a:Anna"), CloseConn), "its time is over"


def test_a_ticket_of_another_gateway_lets_nobody_in_who_is_banned() -> None:
    one, other = Gateway(), Gateway(seed=2)
    resume = messages(one.join(0, "user:a:Anna"), Welcome)[0].resume
    other.connect(0)
    assert not of(other.hello(0, None, resume=resume), CloseConn), "who is not banned goes on there"
    banned = Gateway(seed=3)
    banned.order(_ban("a"))
    banned.connect(0)
    assert [c.code for c in of(banned.hello(0, None, resume=resume), CloseConn)] == [Close.KICKED]


def test_who_is_muted_is_told_and_not_heard() -> None:
    gateway = Gateway()
    gateway.join(0, "user:a:Anna")
    gateway.join(1, "user:b:Bert")
    gateway.order(Mute(_key("a"), 0.0, "", "ada", "Anna"))
    said = gateway.sessions.said(0, Say(0, "hello"), gateway.now_s)
    notices = messages(said, Notice)
    assert [(notice.code, notice.text) for notice in notices] == [
        (NoticeCode.CHAT_NOT_ALLOWED, "an operator has muted you")
    ]
    gateway.orders = {}
    gateway.order()
    assert not messages(gateway.sessions.said(0, Say(0, "hello"), gateway.now_s), Notice)


def test_a_broadcast_reaches_everybody_once() -> None:
    gateway = Gateway()
    gateway.join(0, "user:a:Anna")
    gateway.join(1, "user:b:Bert")
    actions = gateway.order(Broadcast(7, "back at noon", "ada"))
    assert [(notice.code, notice.text) for notice in messages(actions, Notice)] == [
        (NoticeCode.OPERATOR, "back at noon")
    ]
    assert gateway.order() == []
