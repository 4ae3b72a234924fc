"""Sessions that change their gateway: who was told to go where, and who is at another gateway by now.

Theory. MOVE tells a client where to go on, with a ticket. Until the other gateway has its body it is served here as
before; then it looks on for SWITCH_S at most, so that it has frames until it has switched, and closes this connection
itself. A session that went elsewhere without being told (another window, another device) is closed here at once. A
gateway that drains tells all its sessions, as many at a time as may join in a tick, and closes who is left in the end;
a session that was told for its own sake (``cluster.affinity``) stays if it could not go.

Invariants: there is one way to send a session away, ``_tell``; a session that is at another gateway ends here without
its body being touched. Not responsible for: where somebody should go, coming here from another gateway (``sessions``).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.codes import Close
from protocol.messages import Move
from server.session.actions import Action, Conns, ReleaseBody
from server.session.company import Company, Elsewhere
from server.session.record import Session
from server.session.register import Register
from server.session.states import State

SWITCH_S = 1.0
"""So long a client that was told to move may go on looking after its new gateway has its body: it closes the old link
itself when it has switched."""
NEVER_S = -1.0e9
DRAIN, AFFINITY = "drain", "affinity"
"""Why sessions are told to move."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What is done to a session or a connection by whoever has them (``sessions``)."""

    do: Callable[[Action], None]
    end: Callable[[Session], None]
    close: Callable[[int, Close, str, str], None]
    """A connection, its code, the reason by which it is counted, a text."""
    drop: Callable[[int, str, str, float], None]
    """As close with 4000 (come back at once), and its session waits for it."""
    tell: Callable[[Session, Move], None]
    seal: Callable[[Session, int], bytes]
    """The ticket of a session that is live on a connection."""


class Switching:
    """Of one gateway. ``moved``: sessions told to move, by reason."""

    def __init__(self, capacity: int, joins_per_tick: int, register: Register, company: Company, hands: Hands) -> None:
        self.moved: Counter[str] = Counter()
        self._joins_per_tick = joins_per_tick
        self._register, self._company, self._hands = register, company, hands
        self._elsewhere: dict[int, Elsewhere] = {}
        self._told_until_s = np.full(capacity, NEVER_S)
        self._moved_s = np.full(capacity, NEVER_S)
        self._drained_s = np.inf
        self._url_of: Callable[[int, float], str | None] = lambda conn, now_s: None
        self._queue: deque[int] = deque()

    # -------------------------------------------------------------------------------------------------------- asked
    @property
    def draining(self) -> bool:
        """Whether everybody is sent to other gateways."""
        return self._drained_s < np.inf

    def is_over(self, now_s: float) -> bool:
        """Whether who is still here has had time enough to go."""
        return now_s >= self._drained_s

    def staying(self, now_s: float) -> Conns:
        """int32[n]: live connections that were not told to move, or could not."""
        conns = self._register.live_conns
        staying: Conns = conns[self._told_until_s[conns] <= now_s]
        return staying

    def rested(self, conns: Conns, since_s: float) -> npt.NDArray[np.bool_]:
        """bool[n]: who has neither come from another gateway nor been told to move since then."""
        rested: npt.NDArray[np.bool_] = self._moved_s[conns] <= since_s
        return rested

    def has_left(self, session: Session) -> bool:
        """Whether another gateway has the session's body."""
        return session.id in self._elsewhere

    # ------------------------------------------------------------------------------------------------------- telling
    def welcomed(self, session: Session, conn: int) -> None:
        """A session is live on ``conn`` from now on."""
        self._told_until_s[conn], self._moved_s[conn] = NEVER_S, session.moved_s
        if self.draining:
            self._queue.append(session.id)

    def drain(self, url_of: Callable[[int, float], str | None], until_s: float, now_s: float) -> None:
        """Everybody goes; ``url_of(conn, now_s)`` names where, or None if nobody takes it."""
        self._drained_s, self._url_of = until_s, url_of
        self._queue = deque(self._register.by_conn[conn].id for conn in self._register.live_conns.tolist())
        self.tick(now_s)

    def send(self, urls: Iterable[tuple[int, str]], until_s: float, now_s: float) -> None:
        """These connections go, each to its address."""
        for conn, url in urls:
            session = self._register.by_conn.get(conn)
            if session is not None and session.state is State.LIVE and not self.has_left(session):
                self._tell(session, conn, url, until_s, now_s, AFFINITY)

    def tick(self, now_s: float) -> None:
        """Time passed: the next ones are told, and those end whose time to switch is over."""
        for elsewhere in [e for e in self._elsewhere.values() if e.since_s <= now_s - SWITCH_S]:
            self._settle(self._register.by_id[elsewhere.session], now_s)
        for _ in range(min(self._joins_per_tick, len(self._queue))):
            session = self._register.by_id.get(self._queue[0])
            if session is not None and session.conn is not None and session.state is State.LIVE:
                url = self._url_of(session.conn, now_s)
                if url is None:
                    return  # all others are full, or draining as well: perhaps not for long
                self._tell(session, session.conn, url, self._drained_s, now_s, DRAIN)
            self._queue.popleft()

    def _tell(self, session: Session, conn: int, url: str, until_s: float, now_s: float, why: str) -> None:
        self.moved[why] += 1
        session.moved_s = self._moved_s[conn] = now_s
        self._told_until_s[conn] = until_s
        within_ms = max(0, round((until_s - now_s) * 1000))
        self._hands.tell(session, Move(url, self._hands.seal(session, conn), within_ms))

    # -------------------------------------------------------------------------------------------------------- leaving
    def body_given(self, session: Session, elsewhere: Elsewhere) -> None:
        """A region has given a live session's body to another gateway, which may say so in a moment."""
        assert session.conn is not None, "a live session has a connection"
        self._elsewhere[session.id] = elsewhere
        self._hands.do(ReleaseBody(session.conn))

    def went(self, elsewhere: Elsewhere) -> None:
        """Another gateway says that a session goes on there."""
        session = self._register.by_id.get(elsewhere.session)
        if session is None:
            return
        # What a session asked for that nobody waits for any more does not count: it was never given.
        reached = session.welcomed if session.state is State.DETACHED else session.generation
        if reached >= elsewhere.generation:
            return
        conn, looks_on = session.conn, self.has_left(session)
        self._elsewhere.setdefault(session.id, elsewhere)
        if conn is not None and session.state is State.LIVE and self._was_told(conn, elsewhere.since_s):
            if not looks_on:
                self._hands.do(ReleaseBody(conn))
            return
        self._hands.end(session)
        if conn is not None:
            self._hands.close(conn, Close.REPLACED, "replaced", "you went on at another gateway")

    def _was_told(self, conn: int, now_s: float) -> bool:
        return self.draining or bool(self._told_until_s[conn] > now_s)

    def ended(self, session: Session) -> Elsewhere | None:
        """A session is no more: where it goes on, if another gateway has its body."""
        return self._elsewhere.pop(session.id, None)

    def _settle(self, session: Session, now_s: float) -> None:
        conn = session.conn
        assert conn is not None, "a session without a connection does not switch"
        if self._company.of_session(session.id) is not None:
            self._hands.end(session)
            self._hands.close(conn, Close.MOVED, "moved", "you went on at another gateway")
        else:
            session.generation = max(session.generation, self._elsewhere.pop(session.id).generation)
            self._hands.drop(conn, "unsettled", "another gateway had your body; come back", now_s)
