"""Gateways that tell each other who is in the world: presence, names, chat and identities across them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol import mesh
from protocol.codes import Close, ProtocolViolation
from protocol.mesh import Again, Line, Roll
from protocol.messages import SCOPE_DIRECT, SCOPE_NEAR, SCOPE_WORLD, Bye, Chat, Move, Notice, Presence, Say, Welcome
from server.session.actions import Action, AttachBody, ReleaseBody
from server.session.limits import SessionLimits
from server.session.roster import FORGET_AFTER_S
from tests.unit.server.session.rig import Rig, closed, messages, of


class Gateways:
    """Rigs by gateway number, with links that can be cut. What each does is kept in ``did``."""

    def __init__(self, count: int = 2) -> None:
        limits = SessionLimits(presence_interval_s=1e-6)
        self.rigs = {number: Rig(limits, seed=number, gateway=number) for number in range(1, count + 1)}
        self.did: dict[int, list[Action]] = {number: [] for number in self.rigs}
        self.cut: set[tuple[int, int]] = set()
        for number, rig in self.rigs.items():
            rig.next_body = 1000 * number

    def join(self, gateway: int, conn: int, token: str | None = None, **fields: object) -> Welcome:
        [welcome] = messages(self.rigs[gateway].join(conn, token, **fields), Welcome)
        return welcome

    def pass_time(self, seconds: float = 0.05, ticks: int = 1) -> None:
        for _ in range(ticks):
            for number, rig in self.rigs.items():
                rig.heard_s[:] = rig.now_s
                self.did[number] += rig.tick(seconds)
            for number, rig in self.rigs.items():
                for to, word in rig.sessions.to_tell(rig.now_s):
                    for other in self.rigs if to is None else [to]:
                        if other != number and (number, other) not in self.cut:
                            word = mesh.decode(mesh.encode(word))
                            self.did[other] += self.rigs[other].sessions.told(word, self.rigs[other].now_s)

    def told(self, gateway: int) -> list[Action]:
        out, self.did[gateway] = self.did[gateway], []
        return out

    def present(self, gateway: int) -> dict[int, str]:
        """Whom a client of this gateway believes to be in the world."""
        rig = self.rigs[gateway]
        there = dict(rig.sessions._company.newcomer.joined)
        assert len(there) == rig.sessions.online
        return there


def test_people_of_all_gateways_are_present_at_each() -> None:
    world = Gateways(3)
    for gateway in (1, 2, 3):
        world.join(gateway, 0, f"guest:{gateway}", name=f"Person {gateway}")
    world.pass_time(ticks=3)
    for gateway in (1, 2, 3):
        assert world.present(gateway) == {1000: "Person 1", 2000: "Person 2", 3000: "Person 3"}
    world.rigs[1].sessions.said(0, Bye(), world.rigs[1].now_s)
    world.pass_time(ticks=3)
    for gateway in (2, 3):
        assert 1000 not in world.present(gateway)
        assert any(1000 in news.left for news in messages(world.told(gateway), Presence))


def test_a_name_that_is_in_use_at_another_gateway_is_not_given_again() -> None:
    world = Gateways()
    world.pass_time(ticks=2)
    world.join(1, 0, "guest:a", name="Anna")
    world.pass_time(ticks=2)
    rig = world.rigs[2]
    rig.connect(0)
    assert closed(rig.hello(0, "user:b", name="Anna")) == {0: Close.NAME}
    world.join(2, 1, "guest:c", name="Anna")
    world.pass_time(ticks=3)
    assert sorted(world.present(1).values())[0] == "Anna"
    assert sorted(world.present(1).values())[1].startswith("Anna ")
    world.rigs[1].sessions.said(0, Bye(), 0.0)
    world.pass_time(ticks=2)
    world.join(2, 5, "user:b", name="Anna")


def test_an_identity_that_comes_to_another_gateway_takes_its_body_along() -> None:
    world = Gateways(3)
    world.pass_time(ticks=2)
    first = world.join(1, 0, "user:ann:Ann")
    world.pass_time(ticks=3)
    there = world.rigs[2]
    there.connect(4)
    [ask] = of(there.hello(4, "user:ann:Ann"), AttachBody)
    assert (ask.session, ask.body, ask.name) == (first.session, first.body, "Ann")
    there.attach(ask)
    for gateway in (1, 2, 3):
        world.told(gateway)
    world.pass_time(ticks=3)
    assert closed(world.told(1)) == {0: Close.REPLACED}
    for gateway in (1, 2, 3):
        assert world.present(gateway) == {first.body: "Ann"}
        assert not messages(world.told(gateway), Presence), "nobody came or went"
    world.pass_time(1.0, ticks=5)
    assert world.present(3) == {first.body: "Ann"}
    there.sessions.said(4, Bye(), there.now_s)
    world.pass_time(ticks=3)
    assert [world.present(gateway) for gateway in (1, 2, 3)] == [{}, {}, {}]


def test_the_gateway_before_may_hear_of_it_from_the_region_first() -> None:
    world = Gateways()
    world.pass_time(ticks=2)
    first = world.join(1, 0, "user:ann:Ann")
    world.pass_time(ticks=3)
    there, here = world.rigs[2], world.rigs[1]
    there.connect(4)
    [ask] = of(there.hello(4, None, resume=first.resume), AttachBody)
    [release] = here.sessions.elsewhere(first.session, ask.generation, 2, here.now_s)
    assert isinstance(release, ReleaseBody)
    there.attach(ask)
    world.pass_time(ticks=3)
    assert closed(world.told(1)) == {0: Close.REPLACED}
    world.pass_time(ticks=60)
    assert [world.present(gateway) for gateway in (1, 2)] == [{first.body: "Ann"}] * 2


def test_a_drained_client_is_closed_when_it_does_not_switch_by_itself() -> None:
    world = Gateways()
    world.pass_time(ticks=2)
    world.join(1, 0, "user:ann:Ann")
    there, here = world.rigs[2], world.rigs[1]
    [move] = messages(here.sessions.drain(lambda conn, now_s: "wss://b/ws", 60_000, here.now_s), Move)
    there.connect(4)
    [ask] = of(there.hello(4, None, resume=move.ticket), AttachBody)
    there.attach(ask)
    world.pass_time(ticks=2)
    assert closed(world.told(1)) == {}
    world.pass_time(ticks=25)
    assert closed(world.told(1)) == {0: Close.MOVED}


def test_a_detached_session_that_went_on_elsewhere_ends() -> None:
    world = Gateways()
    world.pass_time(ticks=2)
    first = world.join(1, 0, "user:ann:Ann")
    world.rigs[1].sessions.lost(0, world.rigs[1].now_s)
    there = world.rigs[2]
    there.connect(4)
    [ask] = of(there.hello(4, None, resume=first.resume), AttachBody)
    there.attach(ask)
    world.pass_time(ticks=3)
    assert [rig.sessions.held for rig in world.rigs.values()] == [0, 1]


def test_what_is_said_is_heard_at_all_gateways() -> None:
    world = Gateways()
    first, second = world.join(1, 0, "guest:a", name="Ann"), world.join(2, 0, "guest:b", name="Bob")
    world.pass_time(ticks=3)
    here = world.rigs[1]
    for scope, to in ((SCOPE_WORLD, None), (SCOPE_DIRECT, second.body)):
        assert messages(here.sessions.said(0, Say(scope, "hello", to), here.now_s), Chat, 0), "the speaker hears it"
        world.told(2)
        world.pass_time()
        [chat] = messages(world.told(2), Chat)
        assert (chat.scope, chat.sender, chat.name, chat.text) == (scope, first.body, "Ann", "hello")
    world.rigs[2].world.near_conns = world.rigs[2].sessions.live_conns
    here.sessions.said(0, Say(SCOPE_NEAR, "near", None), here.now_s)
    world.pass_time()
    assert [chat.text for chat in messages(world.told(2), Chat)] == ["near"]
    nobody = here.sessions.said(0, Say(SCOPE_DIRECT, "who?", 77), here.now_s)
    assert messages(nobody, Notice)


def test_a_word_that_got_lost_is_asked_for() -> None:
    world = Gateways()
    world.pass_time(ticks=2)
    world.cut = {(1, 2)}
    for conn in range(3):
        world.join(1, conn)
    world.pass_time(ticks=2)
    assert world.present(2) == {}
    world.cut = set()
    world.pass_time(1.0, ticks=3)
    assert len(world.present(2)) == 3


def test_a_gateway_that_is_silent_for_long_is_gone_with_its_people() -> None:
    world = Gateways()
    world.join(1, 0)
    world.pass_time(ticks=3)
    world.cut = {(1, 2)}
    world.pass_time(1.0, ticks=int(SessionLimits().resume_grace_s + FORGET_AFTER_S) - 2)
    assert len(world.present(2)) == 1
    world.pass_time(1.0, ticks=5)
    assert world.present(2) == {}


@settings(max_examples=60, deadline=None)
@example([("join", 2, 3), ("cut", 1, 0), ("join", 1, 3), ("leave", 1, 3)])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "leave", "lose", "cut", "mend", "wait"]), st.integers(1, 3), st.integers(0, 5)
        ),
        max_size=40,
    )
)
def test_all_agree_in_the_end(story: list[tuple[str, int, int]]) -> None:
    """Identities join anywhere, also where they are not; links break and come back: in the end each identity is at one
    gateway, and all gateways say so."""
    world = Gateways(3)
    conns = 0
    at: dict[int, list[tuple[int, int]]] = {}
    for what, gateway, number in story:
        rig = world.rigs[gateway]
        if what == "join":
            conns += 1
            rig.join(conns, f"user:{number}:Person {number}")
            at.setdefault(number, []).append((gateway, conns))
        elif what in ("leave", "lose") and at.get(number):
            where, conn = at[number].pop()
            sessions = world.rigs[where].sessions
            _ = sessions.said(conn, Bye(), rig.now_s) if what == "leave" else sessions.lost(conn, rig.now_s)
        elif what == "cut":
            world.cut.add((gateway, 1 + (gateway + number) % 3))
        elif what == "mend":
            world.cut.clear()
        world.pass_time()
    world.cut.clear()
    world.pass_time(1.0, ticks=10)
    views = [world.present(gateway) for gateway in (1, 2, 3)]
    assert views[0] == views[1] == views[2]
    held = sum(rig.sessions.held for rig in world.rigs.values())
    names = [name.split(" ")[1] for name in views[0].values()]
    assert held == len(views[0])
    assert len(set(names)) == len(names), "an identity is in the world once"


@given(st.binary(max_size=200))
def test_bad_bytes_are_a_violation_and_nothing_else(data: bytes) -> None:
    try:
        word = mesh.decode(data)
    except ProtocolViolation:
        return
    assert isinstance(word, Roll | Again | Line)


def test_words_are_themselves_after_the_wire() -> None:
    line = Line(3, SCOPE_NEAR, 1 << 60, "Å", "ö", 0, 1.5, -2.5)
    assert mesh.decode(mesh.encode(line)) == line
    with pytest.raises(ProtocolViolation):
        mesh.decode(mesh.encode(line)[:-1])
