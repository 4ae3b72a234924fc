"""The register of sessions: which one is found by what, and who is live.

Invariants: a connection belongs to at most one session and a session to at most one connection; of an identity there is
at most one session with a body, and one observer (``record.key_of``); a body belongs to at most one session; a resume
ticket opens one session and only until the next is given. Not responsible for: states, and what anybody is told
(``sessions``).
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from protocol.messages import SCOPE_NEAR, SCOPE_WORLD, Say
from server.session.actions import Conns
from server.session.record import Session


class Register:
    """Sessions by id, connection and body in dicts that only this class changes. ``conn`` is in [0, ``capacity``)."""

    def __init__(self, capacity: int) -> None:
        self.by_id: dict[int, Session] = {}
        self.by_conn: dict[int, Session] = {}
        self.by_body: dict[int, Session] = {}
        self._by_key: dict[tuple[str, str, bool], Session] = {}
        self._by_ticket: dict[bytes, Session] = {}
        self._live = np.zeros(capacity, np.bool_)
        self._live_from_s = np.zeros(capacity, np.float64)
        self._live_conns: Conns = np.zeros(0, np.int32)
        self._live_stale = False

    # ------------------------------------------------------------------------------------------------------- finding
    def of_ticket(self, ticket: bytes | None) -> Session | None:
        """Whom a resume ticket opens."""
        return self._by_ticket.get(_ticket_hash(ticket)) if ticket else None

    def of_key(self, key: tuple[str, str, bool]) -> Session | None:
        """Whom an identity has already (``record.key_of``)."""
        return self._by_key.get(key)

    @property
    def live_conns(self) -> Conns:
        """int32[n], ascending: connections of live sessions. Not to be written to."""
        if self._live_stale:
            self._live_conns = np.flatnonzero(self._live).astype(np.int32)
            self._live_stale = False
        return self._live_conns

    def live_among(self, conns: Conns) -> Conns:
        """Those of ``conns`` (int32[n]) that are live."""
        live: Conns = conns[self._live[conns]]
        return live

    def silent_since(self, since_s: float, heard_s: npt.NDArray[np.float64]) -> list[int]:
        """Live connections that have said nothing since then, nor become live."""
        heard = np.maximum(heard_s, self._live_from_s)
        silent: list[int] = np.flatnonzero(self._live & (heard < since_s)).tolist()
        return silent

    def audience(self, say: Say, speaker: int | None, near: Callable[[], Conns]) -> Conns:
        """Live connections that hear a line, the speaker's among them: that is how a client knows that it was passed
        on (None: it is at another gateway). Empty if nobody is there to hear it. ``near`` is asked only when it
        matters."""
        own = np.array([] if speaker is None else [speaker], np.int32)
        if say.scope == SCOPE_WORLD:
            return self.live_conns
        if say.scope == SCOPE_NEAR:
            return self.live_among(np.union1d(near(), own).astype(np.int32))
        other = self.by_body.get(say.to) if say.to is not None else None
        if other is None or other.conn is None or not self._live[other.conn]:
            return np.zeros(0, np.int32)
        return np.unique(np.append(own, np.int32(other.conn)))

    # ------------------------------------------------------------------------------------------------------ changing
    def add(self, session: Session, conn: int) -> None:
        """A session is born on ``conn``."""
        self.by_id[session.id] = session
        self._by_key[session.key] = session
        self.bind(session, conn)

    def bind(self, session: Session, conn: int) -> None:
        """From now on the session, which has none, has this connection."""
        session.conn = conn
        self.by_conn[conn] = session

    def unbind(self, session: Session) -> int | None:
        """The session has no connection any more; returns it if it was live."""
        conn, session.conn = session.conn, None
        if conn is None:
            return None
        del self.by_conn[conn]
        if not self._live[conn]:
            return None
        self._live[conn] = False
        self._live_stale = True
        return conn

    def go_live(self, conn: int, now_s: float) -> None:
        """The session of ``conn`` was given what it asked for."""
        self._live[conn] = True
        self._live_from_s[conn] = now_s
        self._live_stale = True

    def give_ticket(self, session: Session, ticket: bytes) -> None:
        """``ticket`` opens the session; the one before does not."""
        self._by_ticket.pop(session.ticket_hash, None)
        session.ticket_hash = _ticket_hash(ticket)
        self._by_ticket[session.ticket_hash] = session

    def embody(self, session: Session, body: int) -> None:
        """The session has this body, and no other."""
        if session.body is not None:
            del self.by_body[session.body]
        session.body = body
        self.by_body[body] = session

    def remove(self, session: Session) -> None:
        """The session, unbound before, is found by nothing any more."""
        del self.by_id[session.id]
        del self._by_key[session.key]
        self._by_ticket.pop(session.ticket_hash, None)
        if session.body is not None:
            del self.by_body[session.body]


def _ticket_hash(ticket: bytes) -> bytes:
    # Looked up by digest: what can be timed or dumped does not let anybody in.
    return hashlib.sha256(ticket).digest()
