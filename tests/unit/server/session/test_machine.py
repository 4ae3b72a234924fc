"""Any order of events: the invariants of the header of ``sessions`` hold after each, and everything ends when time has
passed."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.codes import Close
from protocol.messages import Bye, Say, Welcome
from server.session.actions import Action, AttachBody, CloseConn, CloseView, DetachBody, OpenView, Post
from server.session.limits import SessionLimits
from server.session.states import TRANSITIONS, ForbiddenTransition, State, Stimulus, after
from tests.unit.server.session.rig import Rig

CONNS = 6
LIMITS = SessionLimits(sessions_max=4, joins_queued_max=3, joins_per_tick=2, connections_per_address_max=5)
conns = st.integers(0, CONNS - 1)
tokens = st.sampled_from(["guest:a", "guest:b", "user:c:C", "user:d", "rotated:e:E", "expired:f", None])
profiles = st.sampled_from(["desktop", "desktop", "observer", "device"])


class SessionMachine(RuleBasedStateMachine):
    """Plays client, transport and shard at once, and keeps its own account of what must be so."""

    @initialize()
    def start(self) -> None:
        self.rig = Rig(LIMITS, capacity=CONNS)
        self.open: set[int] = set()
        self.viewing: dict[int, int] = {}
        self.generations: dict[int, int] = {}
        self.asked: list[AttachBody] = []
        self.bodies: dict[int, int] = {}
        self.tickets: list[bytes] = []
        self.ended: set[int] = set()
        self.welcomed: set[tuple[int, int]] = set()

    def done(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case CloseConn():
                    assert action.conn in self.open, "a connection is closed once, and only if it was open"
                    assert action.conn not in self.viewing, "the view is closed before its connection"
                    self.open.discard(action.conn)
                case AttachBody():
                    assert action.session not in self.ended, "an ended session asks for nothing"
                    assert action.generation > self.generations.get(action.session, 0), "generations grow"
                    self.generations[action.session] = action.generation
                    self.asked.append(action)
                case DetachBody():
                    assert action.session not in self.viewing.values(), "the view is closed before its body is left"
                    assert action.generation == self.generations[action.session]
                    if action.remove:
                        self.ended.add(action.session)
                        self.bodies.pop(action.session, None)
                case OpenView():
                    assert action.conn in self.open
                    assert action.conn not in self.viewing, "a connection has one view"
                    assert action.session not in self.viewing.values(), "a session has one live connection"
                    self.viewing[action.conn] = action.session
                case CloseView():
                    del self.viewing[action.conn]
                case Post() if isinstance(action.message, Welcome):
                    [conn] = action.conns.tolist()
                    assert conn in self.open
                    assert conn not in self.viewing, "WELCOME comes before the view"
                    once = (action.message.session, action.message.generation)
                    assert once not in self.welcomed
                    self.welcomed.add(once)
                    self.tickets.append(action.message.resume)
                case Post():
                    assert set(action.conns.tolist()) <= set(self.viewing), "only live sessions are told anything"

    def greet(self, conn: int, token: str | None, profile: str, resume: bytes | None, version: int = 1) -> None:
        """HELLO on ``conn``, over a new connection if there is none."""
        if conn not in self.open:
            self.open.add(conn)
            self.done(self.rig.connect(conn))
        values = {"name": "Sam", "profile": profile, "resume": resume, "version_min": version, "version_max": version}
        self.done(self.rig.hello(conn, token, **values))

    def answer(self, asked: AttachBody) -> None:
        """What the shard does: it keeps one body for each session until it is removed."""
        if asked.session not in self.bodies:
            self.bodies[asked.session] = self.rig.next_body
            self.rig.next_body += 1
        body = self.bodies[asked.session]
        self.done(self.rig.sessions.attached(asked.session, asked.generation, body, body % 100, 1, self.rig.now_s))
        if asked.session in self.ended:
            del self.bodies[asked.session]

    def some_open(self, pick: int) -> int:
        return sorted(self.open)[pick % len(self.open)]

    @rule(conn=conns, address=st.sampled_from(["127.0.0.1", "192.0.2.1"]))
    def connect(self, conn: int, address: str) -> None:
        if conn not in self.open:
            self.open.add(conn)
            self.done(self.rig.connect(conn, address))

    @rule(conn=conns, token=tokens, profile=profiles, version=st.sampled_from([1, 1, 1, 2]))
    def hello(self, conn: int, token: str | None, profile: str, version: int) -> None:
        self.greet(conn, token, profile, None, version)

    @rule(conn=conns, token=tokens, profile=profiles)
    def join(self, conn: int, token: str | None, profile: str) -> None:
        self.greet(conn, token, profile, None)
        self.done(self.rig.tick(0.0))
        for asked in self.asked:
            self.answer(asked)
        self.asked.clear()

    @precondition(lambda self: self.tickets)
    @rule(conn=conns, token=tokens, profile=profiles, ticket=st.integers(0, 3))
    def resume(self, conn: int, token: str | None, profile: str, ticket: int) -> None:
        self.greet(conn, token, profile, self.tickets[-1 - ticket % len(self.tickets)])

    @precondition(lambda self: self.open)
    @rule(pick=conns, scope=st.integers(0, 2), text=st.sampled_from(["hi", "", "\u0000"]), times=st.integers(1, 20))
    def say(self, pick: int, scope: int, text: str, times: int) -> None:
        conn = self.some_open(pick)
        self.rig.world.near_conns = np.arange(CONNS, dtype=np.int32)
        to = next(iter(self.bodies.values()), None)
        for _ in range(times):
            self.done(self.rig.sessions.said(conn, Say(scope, text, to), self.rig.now_s))

    @precondition(lambda self: self.open)
    @rule(pick=conns)
    def bye(self, pick: int) -> None:
        self.done(self.rig.sessions.said(self.some_open(pick), Bye(), self.rig.now_s))

    @precondition(lambda self: self.open)
    @rule(pick=conns, code=st.sampled_from(list(Close)))
    def violate(self, pick: int, code: Close) -> None:
        self.done(self.rig.sessions.violated(self.some_open(pick), "test", code, self.rig.now_s))

    @precondition(lambda self: self.open)
    @rule(pick=conns)
    def lose(self, pick: int) -> None:
        conn = self.some_open(pick)
        self.open.discard(conn)
        self.done(self.rig.sessions.lost(conn, self.rig.now_s))

    @rule(conn=conns)
    def lose_again(self, conn: int) -> None:
        if conn not in self.open:
            self.done(self.rig.sessions.lost(conn, self.rig.now_s))

    @precondition(lambda self: self.asked)
    @rule(pick=st.integers(0, 100), refused=st.sampled_from([False, False, False, True]), keep=st.booleans())
    def shard_answers(self, pick: int, refused: bool, keep: bool) -> None:
        asked = self.asked[pick % len(self.asked)]
        if not keep:
            self.asked.remove(asked)
        if refused:
            self.done(self.rig.sessions.refused(asked.session, Close.STARTING, "not now"))
        else:
            self.answer(asked)

    @rule(known=st.booleans())
    def keys(self, known: bool) -> None:
        self.rig.keys_known = known
        self.done(self.rig.sessions.keys_refreshed(self.rig.now_s))

    @rule(session=st.booleans())
    def event(self, session: bool) -> None:
        to = next(iter(self.generations), None) if session else None
        self.done(self.rig.sessions.shard_event(to, None, "bell", None))

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0, 6.0, 11.0, 31.0]), heard=st.sets(conns), headroom=st.booleans())
    def tick(self, seconds: float, heard: set[int], headroom: bool) -> None:
        self.rig.sessions.headroom = headroom
        self.rig.heard_s[list(heard)] = self.rig.now_s + seconds
        self.done(self.rig.tick(seconds))

    @invariant()
    def one_live_session_each(self) -> None:
        sessions = self.rig.sessions
        assert sessions.live_conns.tolist() == sorted(self.viewing)
        assert len(set(self.viewing.values())) == len(self.viewing)
        for conn in range(CONNS):
            if conn not in self.open:
                assert sessions.state(conn) is State.ENDED

    @invariant()
    def memory_is_bounded(self) -> None:
        counts = self.rig.sessions.count()
        assert counts[State.GREETING] <= CONNS
        assert sum(counts.values()) - counts[State.GREETING] <= LIMITS.sessions_max
        assert 0 <= self.rig.sessions.online <= LIMITS.sessions_max

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        for seconds in (0.0, 0.0, 11.0, 11.0, 31.0, 31.0):
            self.done(self.rig.tick(seconds))
        assert self.open == set() == set(self.viewing)
        sessions = self.rig.sessions
        assert set(sessions.count().values()) == {0}
        assert sessions.online == 0
        assert set(self.generations) == self.ended, "every body asked for was removed in the end"
        for index in ("by_id", "by_conn", "by_body", "_by_key", "_by_ticket"):
            assert not getattr(sessions._register, index), f"{index} still holds something"
        for waiting in ("_queue", "_grace", "_waiting"):
            assert not getattr(sessions, waiting), f"{waiting} still holds something"
        for conn in range(CONNS):
            self.done(sessions.lost(conn, self.rig.now_s))
        assert len(sessions._addresses) == 0
        assert len(sessions._company._names) == 0


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("stimulus", Stimulus)
def test_the_table_allows_what_it_lists_and_nothing_else(state: State, stimulus: Stimulus) -> None:
    if (state, stimulus) in TRANSITIONS:
        assert after(state, stimulus) is TRANSITIONS[state, stimulus]
    else:
        with pytest.raises(ForbiddenTransition):
            after(state, stimulus)


def test_nothing_follows_the_end_and_every_state_leads_to_it() -> None:
    assert all(state is not State.ENDED for state, _ in TRANSITIONS)
    reached = {State.ENDED}
    for _ in State:
        reached |= {state for (state, _), following in TRANSITIONS.items() if following in reached}
    assert reached == set(State)
