"""The core of sessions: who is let in, what they are told, when they end (``states`` has the theory and the table).

Methods named in past tense take what happened; each returns what is to be done, in order. ``now_s`` is any monotonic
clock.

Invariants
* Who has which connection, identity and body is in ``register``, with invariants of its own.
* Of two AttachBody for one session the later has the higher generation; WELCOME is posted at most once for each
  generation.
* Every connection that was announced ends by CloseConn or by ``lost``; every session ends, and its body is then
  removed.
* Memory is bounded by ``capacity`` and ``SessionLimits.sessions_max``.
* ``tick`` runs a number of Python calls that does not depend on the number of sessions while nothing happens.

Not responsible for: INPUT and ACK (the gateway's core parses them in batches; it reports violations here), bytes,
sockets, tokens' syntax.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from cluster.orders import Orders
from protocol.acting import Act
from protocol.channels import Watch
from protocol.codes import Advice, Close
from protocol.layouts import PROTOCOL_VERSIONS
from protocol.mesh import Line, Word
from protocol.messages import (
    SCOPE_DIRECT,
    AskDatagrams,
    Bye,
    Chat,
    ClientMessage,
    Event,
    Hello,
    Notice,
    Say,
    ServerMessage,
    Token,
)
from protocol.notices import NoticeCode
from server.session.actions import (
    Action,
    AttachBody,
    CloseConn,
    CloseView,
    Conns,
    DetachBody,
    ForgetBody,
    GiveToken,
    OpenView,
    Post,
    RefreshKeys,
    TakeAct,
    TakeWatch,
)
from server.session.addresses import Addresses, is_loopback
from server.session.chat import ChatRefused, Floor, Voice
from server.session.company import Company, Elsewhere
from server.session.identity import Authenticate, Identity, KeyUnknown, TokenRefused
from server.session.limits import SessionLimits
from server.session.moderation import Moderation, no_wall_clock
from server.session.names import NameRefused
from server.session.record import BODILESS, Session, key_of
from server.session.register import Register
from server.session.roster import Listed
from server.session.states import State, Stimulus, after
from server.session.switching import Hands, Switching
from server.session.tickets import Ticket, Tickets, after_other_gateway
from server.session.world import World, welcome

PAST_MAX = 4096
NOT_RESUMED = "nothing is left here of your former session"
DATAGRAMS_VERSION = 1
"""Of STANDARD.md §9."""


class Sessions:
    """All sessions of one gateway. ``conn`` is an integer in [0, ``capacity``): the transport's slot."""

    def __init__(
        self,
        capacity: int,
        limits: SessionLimits,
        world: World,
        authenticate: Authenticate,
        random_bytes: Callable[[int], bytes],
        tickets: Tickets | None = None,
        gateway: int | None = None,
        unix_s: Callable[[], float] = no_wall_clock,
    ) -> None:
        self.capacity = capacity
        self.limits = limits
        self.headroom = True
        """Set by the gateway (``admission``): False refuses new sessions with 4100; resumes go on."""
        self.ready = True
        """Whether the world is known here: until then those who join wait, `attach_timeout_s` at most."""
        self._unready_s: float | None = None
        self.carriers: frozenset[int] = frozenset()
        """Set by the gateway: by which carriers of datagrams sessions may go on here."""
        self.rejected: Counter[str] = Counter()
        """How often something was refused or ended, by reason."""
        self.joins: Counter[str] = Counter()
        """How often somebody was welcomed, by ``Session.came``."""
        self.moderation = Moderation(unix_s)
        self._world = world
        self._authenticate = authenticate
        self._random_bytes = random_bytes
        self._tickets = Tickets.alone(random_bytes) if tickets is None else tickets
        # Ids start at random so that a restarted gateway's cannot be taken for old ones; below 2^53 for JavaScript's
        # sake.
        self._next_id = 1 + int.from_bytes(random_bytes(6), "big")
        self._out: list[Action] = []
        # Time limits of one kind have one length, so insertion order is order of time: a tick looks at the first alone.
        self._greeting: dict[int, float] = {}
        self._secure: set[int] = set()
        self._bound: dict[int, int] = {}
        """Connections on which one session alone may go on."""
        self._waiting: dict[int, Hello] = {}
        self._queue: dict[int, Session] = {}
        self._attaching: dict[int, float] = {}
        self._grace: dict[int, float] = {}
        self._register = Register(capacity)
        self._addresses = Addresses(limits.connections_per_address_max)
        self._company = Company(gateway, limits, random_bytes)
        self._gateway = gateway or 0
        self._floor = Floor(limits)
        self._past: dict[int, int] = {}
        """Generations of sessions that have ended here: an old ticket must not begin below what was said of them."""
        hands = Hands(
            do=lambda action: self._out.append(action),
            end=lambda session: self._end(session, Stimulus.DISMISSED),
            close=self._close,
            drop=lambda conn, reason, text, now_s: self._violated(conn, reason, Close.GOING_AWAY, text, now_s),
            tell=self._tell,
            seal=lambda session, conn: self._seal(session, self._world.window_bytes(conn)),
        )
        self.switching = Switching(capacity, limits.joins_per_tick, self._register, self._company, hands)

    # ------------------------------------------------------------------------------------------------------- figures
    @property
    def online(self) -> int:
        """People in the world, at other gateways and in their grace, too."""
        return self._company.online

    @property
    def held(self) -> int:
        """Sessions of this gateway."""
        return len(self._register.by_id)

    @property
    def held_elsewhere(self) -> int:
        """Sessions of other gateways that are known here."""
        return self._company.elsewhere

    @property
    def numbers(self) -> npt.NDArray[np.uint64]:
        """Of all sessions of this gateway, in any order."""
        return np.fromiter(self._register.by_id, np.uint64, len(self._register.by_id))

    @property
    def all(self) -> Iterable[Session]:
        """Sessions of this gateway, in any order; only to be looked at."""
        return self._register.by_id.values()

    @property
    def all_elsewhere(self) -> Iterable[Listed]:
        """Sessions of other gateways that are known here."""
        return self._company.all_elsewhere

    def find(self, session: int) -> Session | None:
        """A session of this gateway; only to be looked at."""
        return self._register.by_id.get(session)

    @property
    def live_conns(self) -> Conns:
        """int32[n], ascending: connections of live sessions. Not to be written to."""
        return self._register.live_conns

    def find_elsewhere(self, session: int) -> Listed | None:
        """A session as another gateway has it."""
        return self._company.of_session(session)

    def live_with(self, profile: str) -> Conns:
        """int32[n]: connections of live sessions of a profile."""
        conns = self.live_conns
        which = [self._register.by_conn[conn].profile == profile for conn in conns.tolist()]
        found: Conns = conns[np.array(which, np.bool_)]
        return found

    @property
    def draining(self) -> bool:
        """Whether clients are sent to other gateways."""
        return self.switching.draining

    def count(self) -> dict[State, int]:
        """Sessions by state, for metrics (GREETING: connections)."""
        return {
            State.GREETING: len(self._greeting),
            State.ADMITTING: len(self._queue),
            State.ATTACHING: len(self._attaching),
            State.LIVE: len(self.live_conns),
            State.DETACHED: len(self._grace),
            State.ENDED: 0,
        }

    def state(self, conn: int) -> State:
        """State of a connection; ENDED also for unknown ones."""
        if conn in self._greeting:
            return State.GREETING
        session = self._register.by_conn.get(conn)
        return State.ENDED if session is None else session.state

    def disowns(self, session: int, body: int) -> bool:
        """Whether a body that was given to a session of this gateway is not wanted: it has ended, or has another."""
        entry = self._register.by_id.get(session)
        return entry is None or (entry.state is State.LIVE and entry.body != body)

    def awaits(self, session: int, generation: int) -> bool:
        """Whether a session still waits for the body that it asked for under ``generation``."""
        entry = self._register.by_id.get(session)
        return entry is not None and entry.state is State.ATTACHING and entry.generation == generation

    # ---------------------------------------------------------------------------------------------- what happened
    def connected(
        self, conn: int, address: str, now_s: float, secure: bool = False, session: int | None = None
    ) -> list[Action]:
        """A connection was opened from ``address`` (IP address as text, or a path). ``secure``: nobody between can read
        what is said on it; ``session``: the only one that may go on here, if there is such a bound. Raises ValueError
        if ``conn`` is in use."""
        if not 0 <= conn < self.capacity or conn in self._greeting or conn in self._register.by_conn:
            raise ValueError(f"conn {conn}: already connected, or not in [0, {self.capacity})")
        if secure or is_loopback(address):
            self._secure.add(conn)
        if session is not None:
            self._bound[conn] = session
        if self._addresses.came(conn, address):
            self._greeting[conn] = now_s + self.limits.hello_timeout_s
        else:
            self._close(conn, Close.TOO_MANY_CONNECTIONS, "connections", f"too many connections from {address}")
        return self._take()

    def said(self, conn: int, message: ClientMessage, now_s: float) -> list[Action]:
        """A client's HELLO, CHAT, ACT, DATAGRAMS, WATCH or BYE arrived. INPUT and ACK are not for here; before WELCOME
        they are violations."""
        session = self._register.by_conn.get(conn)
        if conn in self._greeting:
            if isinstance(message, Hello) and conn not in self._waiting:
                self._greeted(conn, message, now_s, retried=False)
            elif isinstance(message, Bye):
                self._close(conn, Close.GOING_AWAY, "bye", "bye")
            else:
                self._violated(
                    conn, "order", Close.PROTOCOL, "the first message must be HELLO, and is sent once", now_s
                )
        elif session is not None:
            if isinstance(message, Bye):
                self._end(session, Stimulus.DISMISSED)
                self._close(conn, Close.GOING_AWAY, "bye", "bye")
            elif isinstance(message, Say) and session.state is State.LIVE:
                self._heard(session, conn, message, now_s)
            elif isinstance(message, Act) and session.state is State.LIVE:
                self._out.append(TakeAct(conn, message))
            elif isinstance(message, AskDatagrams) and session.state is State.LIVE:
                self._ask_datagrams(session, conn, message)
            elif isinstance(message, Watch) and session.state is State.LIVE:
                self._out.append(TakeWatch(conn, message))
            else:
                text = "only BYE may be said before WELCOME, and HELLO once"
                self._violated(conn, "order", Close.PROTOCOL, text, now_s)
        return self._take()

    def violated(self, conn: int, reason: str, code: Close, now_s: float, text: str = "") -> list[Action]:
        """A connection broke a rule, or must end for any reason that others found; counted by ``reason``."""
        self._violated(conn, reason, code, text or reason, now_s)
        return self._take()

    def lost(self, conn: int, now_s: float) -> list[Action]:
        """The connection is gone. Nothing if it was not known."""
        self._addresses.went(conn)
        self._secure.discard(conn)
        self._bound.pop(conn, None)
        self._greeting.pop(conn, None)
        self._waiting.pop(conn, None)
        session = self._register.by_conn.get(conn)
        if session is not None:
            self._drop(session, now_s)
        return self._take()

    def attached(
        self, session: int, generation: int, body_id: int, row: int, row_generation: int, now_s: float, acted: int = 0
    ) -> list[Action]:
        """The shard gave a body, whose newest act is ``acted``. Older generations are ignored, but tell the body that
        an ask in flight has got."""
        entry = self._register.by_id.get(session)
        if entry is not None and entry.state is State.ATTACHING:
            if entry.generation == generation:
                self._welcome(entry, body_id, row, row_generation, now_s, acted)
            elif entry.body is None:
                self._own_body(entry, body_id)
        return self._take()

    def refused(self, session: int, code: int, text: str) -> list[Action]:
        """The shard gave no body."""
        entry = self._register.by_id.get(session)
        if entry is not None and entry.state is State.ATTACHING and entry.conn is not None:
            conn = entry.conn
            self._end(entry, Stimulus.DISMISSED)
            self._close(conn, Close(code), "attach_refused", text)
        return self._take()

    def body_lost(self, session: int, now_s: float) -> list[Action]:
        """A region ended and took a live session's body along: its client comes back at once and gets another."""
        entry = self._register.by_id.get(session)
        if entry is not None and entry.state is State.LIVE and entry.conn is not None:
            text = "this part of the world broke down; you begin anew"
            entry.lost = True
            self._violated(entry.conn, "body_lost", Close.GOING_AWAY, text, now_s)
        return self._take()

    def reclaims(self, session: int, body: int) -> AttachBody | None:
        """A body is back that nobody has: asked for again by the session that is live in it here, and by no other."""
        entry = self._register.by_id.get(session)
        if entry is None or entry.state is not State.LIVE or entry.body != body or self.switching.has_left(entry):
            return None
        return AttachBody(session, entry.generation, entry.name, 0, entry.profile, body)

    def elsewhere(self, session: int, generation: int, gateway: int, now_s: float) -> list[Action]:
        """A region has given the body to another gateway, under ``generation``. If that one does not say by SWITCH_S
        that the session goes on there, nobody waited for the body any more, and the client here gets it back."""
        entry = self._register.by_id.get(session)
        if entry is not None and entry.generation < generation and not self.switching.has_left(entry):
            if entry.state is State.LIVE and entry.conn is not None:
                self.switching.body_given(entry, Elsewhere(session, generation, gateway, now_s))
            elif entry.state is State.ATTACHING:  # whoever comes last has it
                entry.generation = generation
                self._attach(entry, Stimulus.TAKEN_OVER, now_s)
        return self._take()

    # --------------------------------------------------------------------------------------------------- operators
    def obey(self, orders: Orders) -> list[Action]:
        """All that operators order now: what is new is carried out, what stands is kept to from now on."""
        news = self.moderation.take(orders)
        for kick in news.kicks:
            session = self._register.by_id.get(kick.session)
            if session is not None:
                self._dismiss(session, "kicked", kick.reason or "an operator has ended your session")
        for session in list(self._register.by_id.values()) if news.bans else ():
            banned = self.moderation.banned(session.identity)
            if banned is not None:
                self._dismiss(session, "banned", banned)
        for broadcast in news.broadcasts:
            self._post(self.live_conns, Notice(NoticeCode.OPERATOR, broadcast.text))
        return self._take()

    def _dismiss(self, session: Session, reason: str, text: str) -> None:
        conn = session.conn
        self._end(session, Stimulus.DISMISSED)
        if conn is not None:
            self._close(conn, Close.KICKED, reason, text)

    # ---------------------------------------------------------------------------------------------- other gateways
    def told(self, word: Word, now_s: float) -> list[Action]:
        """What another gateway said."""
        if isinstance(word, Line):
            self._hear(word)
        else:
            gone, doubled = self._company.heard(word, now_s)
            for elsewhere in gone:
                self.switching.went(elsewhere)
            for number in doubled:
                self._double(number)
        return self._take()

    def _double(self, number: int) -> None:
        session = self._register.by_id.get(number)
        if session is not None:
            conn = session.conn
            self._end(session, Stimulus.DISMISSED)
            if conn is not None:
                self._close(conn, Close.REPLACED, "replaced", "you came to another gateway as well")

    def to_tell(self, now_s: float) -> list[tuple[int | None, Word]]:
        """What other gateways are told now: (number or None for all, word)."""
        return self._company.take(now_s)

    def shard_event(self, session: int | None, entity: int | None, name: str, payload: object) -> list[Action]:
        """A behaviour said something to one session, or to all (None)."""
        event = Event(entity, name, payload)
        if session is None:
            self._post(self.live_conns, event)
        else:
            entry = self._register.by_id.get(session)
            if entry is not None and entry.state is State.LIVE:
                self._tell(entry, event)
        return self._take()

    def keys_refreshed(self, now_s: float) -> list[Action]:
        """The key set was fetched anew, or could not be: HELLOs that waited are looked at once more."""
        waiting, self._waiting = self._waiting, {}
        for conn, hello in waiting.items():
            self._greeted(conn, hello, now_s, retried=True)
        return self._take()

    def drain(self, url_of: Callable[[int, float], str | None], within_ms: int, now_s: float) -> list[Action]:
        """Send everybody to other gateways; ``url_of(conn, now_s)`` names one, or None if there is none.

        They are told as many at a time as may join in a tick. New sessions are refused from now on; who is still here
        after ``within_ms`` is closed with 4001.
        """
        self.switching.drain(url_of, now_s + within_ms / 1000, now_s)
        return self._take()

    def send(self, urls: Iterable[tuple[int, str]], within_ms: int, now_s: float) -> list[Action]:
        """Send these connections to other gateways, each to its address; who cannot go there stays."""
        self.switching.send(urls, now_s + within_ms / 1000, now_s)
        return self._take()

    def stopped(self, text: str, now_s: float) -> list[Action]:
        """The gateway ends: all connections are closed with 4000. Bodies keep their grace at the shard's discretion."""
        for conn in list(self._greeting):
            self._close(conn, Close.GOING_AWAY, "stopped", text)
        self._close_all(Close.GOING_AWAY, "stopped", text, now_s)
        return self._take()

    def tick(self, now_s: float, heard_s: npt.NDArray[np.float64]) -> list[Action]:
        """Time passed. ``heard_s`` (float64[capacity]): when each connection last said anything."""
        limits = self.limits
        while (conn := _expired(self._greeting, now_s)) is not None:
            self._close(conn, Close.HEARTBEAT, "hello_timeout", f"no HELLO within {limits.hello_timeout_s:g} s")
        while (session_id := _expired(self._attaching, now_s)) is not None:
            session = self._register.by_id[session_id]
            conn = session.conn
            assert conn is not None, "an attaching session has a connection"
            self._drop(session, now_s)
            self._close(conn, Close.STARTING, "attach_timeout", "this part of the world is starting")
        while (session_id := _expired(self._grace, now_s)) is not None:
            self._end(self._register.by_id[session_id], Stimulus.EXPIRED)
        for conn in self._register.silent_since(now_s - limits.heartbeat_timeout_s, heard_s):
            text = f"nothing heard for {limits.heartbeat_timeout_s:g} s"
            self._violated(conn, "heartbeat", Close.HEARTBEAT, text, now_s)
        self._let_in(now_s)
        news = self._company.tick(now_s)
        if news is not None:
            self._post(self.live_conns, news)
        self.switching.tick(now_s)
        if self.switching.is_over(now_s):
            self._close_all(Close.MOVED, "moved", "this gateway is drained; go on at another one", now_s)
        return self._take()

    # ------------------------------------------------------------------------------------------------------- joining
    def _let_in(self, now_s: float) -> None:
        if self.ready:
            self._unready_s = None
            for _ in range(min(self.limits.joins_per_tick, len(self._queue))):
                self._attach(self._queue.pop(next(iter(self._queue))), Stimulus.PACED, now_s)
            return
        self._unready_s = now_s if self._unready_s is None else self._unready_s
        if now_s - self._unready_s >= self.limits.attach_timeout_s:
            for session in list(self._queue.values()):
                conn = session.conn
                assert conn is not None, "a session that waits has a connection"
                self._drop(session, now_s)
                self._close(conn, Close.STARTING, "starting", "this world is starting")

    def _greeted(self, conn: int, hello: Hello, now_s: float, *, retried: bool) -> None:
        oldest, newest = PROTOCOL_VERSIONS
        if hello.version_min > newest or hello.version_max < oldest:
            text = f"this server speaks versions {oldest} to {newest} of the protocol"
            self._close(conn, Close.VERSION, "version", text)
            return
        if self.draining:
            self._close(conn, Close.FULL, "draining", "this gateway is being drained")
            return
        held = self._register.of_ticket(hello.resume)
        if held is not None and self._keeps_out(conn, held.identity):
            return
        bound = self._bound.get(conn)
        if bound is not None and (held is None or held.id != bound):
            text = "a connection over datagrams goes on with the session that its token was given to, and no other"
            self._close(conn, Close.GOING_AWAY, "token_session", text)
            return
        if held is not None and (held.profile in BODILESS) == (hello.profile in BODILESS):
            self._take_over(held, conn, hello, now_s)
            return
        ticket = self._tickets.open(hello.resume) if hello.resume else None
        if ticket is not None and (ticket.profile in BODILESS) == (hello.profile in BODILESS):
            if self._keeps_out(conn, ticket.identity):
                return
            self._adopt(ticket, conn, hello, now_s)
            return
        try:
            identity = self._authenticate(hello.token)
        except TokenRefused as refusal:
            text = f"{NOT_RESUMED}; {refusal.text}" if hello.resume else refusal.text
            self._close(conn, refusal.code, refusal.reason, text)
            return
        except KeyUnknown:
            if retried:
                self._close(
                    conn, Close.TOKEN_INVALID, "token_key", "the token names a key that its issuer does not list"
                )
            else:
                if not self._waiting:
                    self._out.append(RefreshKeys())
                self._waiting[conn] = hello
            return
        if self._keeps_out(conn, identity):
            return
        held = self._register.of_key(key_of(identity, hello.profile))
        if held is not None:
            self._take_over(held, conn, hello, now_s)
            return
        away = self._company.of_key(key_of(identity, hello.profile))
        if away is not None:
            p = away.person
            known = Ticket(p.session, p.generation, identity, p.name, hello.profile, p.body or None)
            self._adopt(known, conn, hello, now_s)
        else:
            self._join(conn, hello, identity, now_s)

    def _keeps_out(self, conn: int, identity: Identity) -> bool:
        text = self.moderation.banned(identity)
        if text is not None:
            self._close(conn, Close.KICKED, "banned", text)
        return text is not None

    def _join(self, conn: int, hello: Hello, identity: Identity, now_s: float) -> None:
        limits = self.limits
        if len(self._register.by_id) >= limits.sessions_max or len(self._queue) >= limits.joins_queued_max:
            self._close(conn, Close.FULL, "full", "the world is full")
            return
        if not self.headroom:
            self._close(conn, Close.FULL, "headroom", "the server is busy")
            return
        if identity.guest:
            wanted, suffix = hello.name or identity.name or "Guest", True
        elif identity.name is not None:
            wanted, suffix = identity.name, True
        else:
            wanted, suffix = hello.name or "", False
        try:
            name = self._company.take_name(wanted, suffix=suffix)
        except NameRefused as refusal:
            self._close(conn, Close.NAME, refusal.reason, str(refusal))
            return
        session = self._begin(self._next_id, identity, name, conn, hello, now_s)
        self._next_id += 1
        self._company.began(session)
        session.not_resumed = hello.resume is not None
        self._queue[session.id] = session

    def _adopt(self, ticket: Ticket, conn: int, hello: Hello, now_s: float) -> None:
        """A session of another gateway goes on here, with its body."""
        body, newest = ticket.body, ticket.generation
        listed = self._company.of_session(ticket.session)
        if listed is not None and listed.person.generation > newest:  # the ticket is not the last that was given
            body, newest = listed.person.body or None, listed.person.generation
        generation = after_other_gateway(max(newest, self._past.get(ticket.session, 0)), self._gateway)
        held = self._register.by_id.get(ticket.session)
        held = held or self._register.of_key(key_of(ticket.identity, hello.profile))
        if held is not None:
            if held.id == ticket.session:
                held.generation = max(held.generation, generation)
            self._take_over(held, conn, hello, now_s)
            return
        if len(self._register.by_id) >= self.limits.sessions_max:
            self._close(conn, Close.FULL, "full", "the world is full")
            return
        present = self._company.adopt(ticket.session, body)
        try:
            name = self._company.take_name(ticket.name, suffix=True)
        except NameRefused as refusal:
            self._close(conn, Close.NAME, refusal.reason, str(refusal))
            return
        session = self._begin(ticket.session, ticket.identity, name, conn, hello, now_s)
        session.came, session.generation, session.present, session.moved_s = "moved", generation, present, now_s
        session.window_bytes = ticket.window_bytes
        if body is not None:
            self._register.embody(session, body)
        self._attach(session, Stimulus.PACED, now_s)

    def _begin(self, number: int, identity: Identity, name: str, conn: int, hello: Hello, now_s: float) -> Session:
        del self._greeting[conn]
        session = Session(
            id=number,
            identity=identity,
            name=name,
            profile=hello.profile,
            state=after(State.GREETING, Stimulus.ACCEPTED),
            conn=None,
            schema_hash=hello.schema_hash,
            version=_version(hello),
            voice=Voice(self.limits, now_s),
        )
        self._register.add(session, conn)
        return session

    def _take_over(self, session: Session, conn: int, hello: Hello, now_s: float) -> None:
        """``conn`` has proved to be ``session``: it goes on there, and the older connection is closed."""
        del self._greeting[conn]
        older, state = session.conn, session.state
        if session.generation:
            session.came = "resumed" if older is None else "replaced"
        if older is not None:
            self._leave_conn(session)
            self._close(older, Close.REPLACED, "replaced", "a newer session of yours has taken over")
        self._register.bind(session, conn)
        session.profile = hello.profile
        session.schema_hash = hello.schema_hash
        session.version = _version(hello)
        if state is State.ADMITTING:
            session.state = after(state, Stimulus.TAKEN_OVER)
        else:
            self._grace.pop(session.id, None)
            self._attach(session, Stimulus.TAKEN_OVER, now_s)

    def _attach(self, session: Session, stimulus: Stimulus, now_s: float) -> None:
        session.state = after(session.state, stimulus)
        session.generation += 1
        self._attaching.pop(session.id, None)
        self._attaching[session.id] = now_s + self.limits.attach_timeout_s
        if session.profile in BODILESS:
            self._welcome(session, None, -1, 0, now_s)
        else:
            kind = self._world.body_kind(session.profile)
            body = None if session.lost else session.body
            ask = AttachBody(session.id, session.generation, session.name, kind, session.profile, body)
            self._out.append(ask)

    def _welcome(
        self, session: Session, body: int | None, row: int, row_generation: int, now_s: float, acted: int = 0
    ) -> None:
        session.state = after(session.state, Stimulus.ATTACHED)
        session.lost, session.welcomed = False, session.generation
        conn = session.conn
        assert conn is not None, "an attaching session has a connection"
        self.joins[session.came] += 1
        del self._attaching[session.id]
        if body is not None:
            self._own_body(session, body)
        self._company.embodied(session)
        self._register.go_live(conn, now_s)
        self.switching.welcomed(session, conn)
        ticket = self._seal(session)
        self._register.give_ticket(session, ticket)
        facts = self._world.facts(conn, session.profile)
        self._tell(session, welcome(facts, session, ticket, acted))
        window_bytes, session.window_bytes = session.window_bytes, 0  # the next connection may be another way
        self._out.append(
            OpenView(conn, session.id, session.generation, body, row, row_generation, session.profile, window_bytes)
        )
        self._tell(session, self._company.newcomer)
        if session.not_resumed:
            session.not_resumed = False
            self._notice(session, NoticeCode.NOT_RESUMED, f"{NOT_RESUMED}: this is a new one")

    def _seal(self, session: Session, window_bytes: int = 0) -> bytes:
        s = session
        return self._tickets.seal(Ticket(s.id, s.generation, s.identity, s.name, s.profile, s.body, window_bytes))

    def _own_body(self, session: Session, body: int) -> None:
        if session.body is not None and session.body != body:
            self._company.disembodied(session)
        self._register.embody(session, body)

    # ------------------------------------------------------------------------------------------------------- leaving
    def _violated(self, conn: int, reason: str, code: Close, text: str, now_s: float) -> None:
        session = self._register.by_conn.get(conn)
        if session is None and conn not in self._greeting:
            return
        if session is not None:
            if code.advice is Advice.RECONNECT_NOW:
                self._drop(session, now_s)
            else:
                self._end(session, Stimulus.DISMISSED)
        self._close(conn, code, reason, text)

    def _drop(self, session: Session, now_s: float) -> None:
        """The connection is gone: the body stays for the grace, if there is anything to come back to."""
        nothing = session.generation == 0 or (session.state is State.ATTACHING and session.body is None)
        if nothing or self.switching.has_left(session):
            self._end(session, Stimulus.DISMISSED)
            return
        self._leave_conn(session)
        self._attaching.pop(session.id, None)
        session.state = after(session.state, Stimulus.DROPPED)
        self._grace[session.id] = now_s + self.limits.resume_grace_s
        if session.profile not in BODILESS:
            self._out.append(DetachBody(session.id, session.generation, remove=False))

    def _end(self, session: Session, stimulus: Stimulus) -> None:
        self._leave_conn(session)
        session.state = after(session.state, stimulus)
        self._queue.pop(session.id, None)
        self._attaching.pop(session.id, None)
        self._grace.pop(session.id, None)
        elsewhere = self.switching.ended(session)
        self._register.remove(session)
        self._company.ended(session, elsewhere)
        has_had_a_body = session.generation > 0 and session.profile not in BODILESS
        if has_had_a_body:
            # Also of one that goes on elsewhere: it may come back with an older ticket, and what was said under this
            # generation may still be on its way to a region that was away.
            self._past[session.id] = max(session.generation, self._past.pop(session.id, 0))
            if len(self._past) > PAST_MAX:
                del self._past[next(iter(self._past))]
        if elsewhere is not None:
            self._out.append(ForgetBody(session.id))
        elif has_had_a_body:
            self._out.append(DetachBody(session.id, session.generation, remove=True))

    def _leave_conn(self, session: Session) -> None:
        conn = self._register.unbind(session)
        if conn is not None:
            self._out.append(CloseView(conn))

    def _close(self, conn: int, code: Close, reason: str, text: str) -> None:
        self.rejected[reason] += 1
        self._greeting.pop(conn, None)
        self._waiting.pop(conn, None)
        retry_ms = None
        if code.advice is Advice.RECONNECT_LATER:
            # Jittered: those who were refused together must not come back together.
            jitter = 0.5 + int.from_bytes(self._random_bytes(2), "big") / 65536
            wait_s = self.limits.starting_retry_s if code is Close.STARTING else self.limits.full_retry_s
            retry_ms = int(wait_s * jitter * 1000)
        self._out.append(CloseConn(conn, code, retry_ms, text))

    def _close_all(self, code: Close, reason: str, text: str, now_s: float) -> None:
        for conn in list(self._register.by_conn):
            self._violated(conn, reason, code, text, now_s)

    # ------------------------------------------------------------------------------------------------------- talking
    def _heard(self, session: Session, conn: int, say: Say, now_s: float) -> None:
        if session.body is None:
            self._notice(session, NoticeCode.CHAT_NOT_ALLOWED, "who has no body has no voice")
            return
        muted = self.moderation.muted(session.identity)
        if muted is not None:
            self._notice(session, NoticeCode.CHAT_NOT_ALLOWED, muted)
            return
        try:
            text = self._floor.admit(session.voice, say, now_s)
        except ChatRefused as refusal:
            if refusal.flood:
                self._violated(conn, "chat_flood", Close.TOO_MANY_MESSAGES, "too many chat messages", now_s)
            else:
                self._notice(session, refusal.code, str(refusal))
            return
        chat = Chat(say.scope, session.body, session.name, text)
        place_m = self._world.place(conn)
        hearers = self._register.audience(say, conn, self._near(place_m))
        away = self._company.of_body(say.to) if say.scope == SCOPE_DIRECT and say.to is not None else None
        if say.scope != SCOPE_DIRECT or away is not None:
            line = Line(self._gateway, say.scope, session.body, session.name, text, say.to or 0, *place_m)
            self._company.pass_on(line, None if away is None else away.gateway)
        if len(hearers):
            self._post(hearers, chat)
        elif away is not None:
            self._tell(session, chat)
        else:
            self._notice(session, NoticeCode.CHAT_NOBODY, "nobody is there to hear it")

    def _ask_datagrams(self, session: Session, conn: int, asked: AskDatagrams) -> None:
        """Whether a client may go on over datagrams: their keys must not be read by anybody else (STANDARD.md §9.1)."""
        if asked.carrier not in self.carriers:
            refusal = (
                "this server takes no datagrams" if not self.carriers else "this server takes no datagrams that way"
            )
        elif asked.version != DATAGRAMS_VERSION:
            refusal = f"this server speaks version {DATAGRAMS_VERSION} of datagrams"
        elif conn not in self._secure:
            refusal = "keys are given over TLS only"
        elif self.switching.has_left(session):
            refusal = "this session goes on at another gateway"
        else:
            self._out.append(GiveToken(conn, session.id, asked.carrier))
            return
        self.rejected["no_datagrams"] += 1
        self._tell(session, Token(None, text=refusal))

    def _hear(self, line: Line) -> None:
        """What was said at another gateway."""
        say = Say(line.scope, line.text, line.to)
        hearers = self._register.audience(say, None, self._near((line.x_m, line.z_m)))
        self._post(hearers, Chat(line.scope, line.sender, line.name, line.text))

    def _near(self, place_m: tuple[float, float]) -> Callable[[], Conns]:
        return lambda: self._world.near(place_m, self.limits.chat_near_radius_m)

    def _notice(self, session: Session, code: NoticeCode, text: str) -> None:
        self.rejected[code.name.lower()] += 1
        self._tell(session, Notice(code, text))

    def _tell(self, session: Session, message: ServerMessage) -> None:
        self._post(np.array([session.conn], np.int32), message)

    def _post(self, conns: Conns, message: ServerMessage) -> None:
        if len(conns):
            self._out.append(Post(conns, message))

    def _take(self) -> list[Action]:
        out, self._out = self._out, []
        return out


def _expired(deadlines: dict[int, float], now_s: float) -> int | None:
    """The first key whose time is over; keys are in order of time."""
    for key, deadline_s in deadlines.items():
        return key if deadline_s <= now_s else None
    return None


def _version(hello: Hello) -> int:
    """The newest version that its client and this release both speak."""
    return min(hello.version_max, PROTOCOL_VERSIONS[1])
