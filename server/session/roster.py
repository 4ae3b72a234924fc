"""Who is in the world by other gateways, and what those are told of the sessions here.

Theory. Each gateway tells the others its own sessions: changes once a tick, in numbered rolls. Who misses one asks for
all of them. A session is where its generation is highest; so a session that changes its gateway is never away in
between, in whichever order its two gateways tell. A gateway that says nothing for ``forget_s`` is gone, and those of
its people whom no other gateway has told of are, too.

Invariants: a session is never listed here and among the own ones at once (``adopted``); what is listed is bounded by
what the others may have. Not responsible for: what is done about it (``sessions``), links.
"""

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.mesh import KEY_BYTES, Again, Line, Person, Roll, Word
from server.session.record import Session

FORGET_AFTER_S = 5.0
"""A gateway that is silent is gone with its people so long after their bodies have stopped waiting for them
(``SessionLimits.resume_grace_s``)."""
BEAT_S = 1.0
HANDED_S = 2.0


def digest(key: tuple[str, str, bool]) -> bytes:
    """What other gateways recognise an identity by (``record.key_of``)."""
    issuer, subject, observer = key
    text = f"{len(issuer)}:{issuer}{subject}{'!' if observer else ''}"
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Listed:
    """One session of another gateway."""

    gateway: int
    person: Person


@dataclass(slots=True)
class Changes:
    """What a word changed: sessions listed now, and listed no more. ``rivals``: an own session and one listed now have
    the same identity."""

    came: list[Listed] = field(default_factory=list)
    left: list[Listed] = field(default_factory=list)
    rivals: list[tuple[int, int]] = field(default_factory=list)


UNKNOWN = -2
"""In the place of the last word's number: no word follows it."""


@dataclass(slots=True)
class _Other:
    seq: int = 0
    heard_s: float = 0.0


class Roster:
    """``gateway``: the own number. ``grace_s``: how long bodies wait for their people. Words to send are taken by
    ``take``: to one gateway, or to all (None)."""

    def __init__(self, gateway: int, grace_s: float) -> None:
        self.gateway = gateway
        self.forget_s = grace_s + FORGET_AFTER_S
        self._others: dict[int, _Other] = {}
        self._listed: dict[int, Listed] = {}
        self._by_key: dict[bytes, int] = {}
        self._by_body: dict[int, int] = {}
        self._before: dict[int, int] = {}
        """At which gateway listed sessions were before they came to where they are, until that one said that it has
        them no more: it may not have heard that they went."""
        self._own: dict[int, Person] = {}
        self._own_by_key: dict[bytes, int] = {}
        self._stale: set[int] = set()
        self._ended: dict[int, int] = {}
        self._handed: deque[tuple[float, int, int]] = deque()
        self._ask_whole: set[int] = set()
        self._seq = 0
        self._told_s = -BEAT_S
        self._lines: list[tuple[int | None, Word]] = []

    # ------------------------------------------------------------------------------------------------------- finding
    def of_key(self, key: tuple[str, str, bool]) -> Listed | None:
        """The session that an identity has at another gateway."""
        session = self._by_key.get(digest(key))
        return None if session is None else self._listed[session]

    def of_body(self, body: int) -> Listed | None:
        """Whose body it is, at another gateway."""
        session = self._by_body.get(body)
        return None if session is None else self._listed[session]

    def of_session(self, session: int) -> Listed | None:
        """A session as another gateway has it."""
        return self._listed.get(session)

    @property
    def all(self) -> Iterable[Listed]:
        """All sessions of other gateways, in any order."""
        return self._listed.values()

    def __len__(self) -> int:
        """Sessions of other gateways."""
        return len(self._listed)

    # ----------------------------------------------------------------------------------------------------- own sessions
    def note(self, session: Session) -> None:
        """An own session began, or changed."""
        person = self._own[session.id] = _person(session, session.generation)
        self._own_by_key[person.key] = session.id
        self._stale.add(session.id)

    def ended(self, session: Session) -> None:
        """An own session ended."""
        self._forget_own(session.id)
        self._ended[session.id] = session.generation

    def _forget_own(self, session: int) -> None:
        person = self._own.pop(session, None)
        self._stale.discard(session)
        if person is not None and self._own_by_key.get(person.key) == session:
            del self._own_by_key[person.key]

    def adopted(self, session: int) -> Listed | None:
        """A session goes on here: returns what was known of it, and lists it no more."""
        self._before.pop(session, None)
        return self._remove(session)

    def handed_over(self, session: Session, now_s: float) -> None:
        """An own session goes on at another gateway, which has told of it: the others hear only later that it is not
        here any more, so that it is never away for those whom that gateway has not told yet."""
        self._forget_own(session.id)
        self._handed.append((now_s + HANDED_S, session.id, session.generation))

    # ------------------------------------------------------------------------------------------------------------ words
    def heard(self, word: Roll | Again, now_s: float) -> Changes:
        """What another gateway told."""
        changes = Changes()
        if isinstance(word, Again):
            self._ask_whole.add(word.gateway)
            return changes
        other = self._others.get(word.gateway)
        if other is None:
            other = self._others[word.gateway] = _Other()
        other.heard_s = now_s
        if not word.whole and word.seq != other.seq + 1:
            self._lines.append((word.gateway, Again(self.gateway)))
            return changes
        if word.whole:
            self._leave(self._gone_from(word), changes)
            there = {person.session for person in word.came}
            self._let_go(word.gateway, [s for s in self._before if s not in there])
        other.seq = word.seq
        self._let_go(word.gateway, (session for session, _ in word.left))
        for person in word.came:
            self._arrive(Listed(word.gateway, person), changes)
        self._leave((s for s, g in word.left if s in self._listed and self._listed[s].person.generation <= g), changes)
        return changes

    def _gone_from(self, word: Roll) -> list[int]:
        there = {person.session for person in word.came}
        return [s for s, listed in self._listed.items() if listed.gateway == word.gateway and s not in there]

    def _let_go(self, gateway: int, sessions: Iterable[int]) -> None:
        """A gateway says that it does not have these, which may be elsewhere by now."""
        for session in sessions:
            if self._before.get(session) == gateway:
                del self._before[session]

    def _arrive(self, listed: Listed, changes: Changes) -> None:
        person = listed.person
        own = self._own.get(person.session)
        known = self._listed.get(person.session)
        if own is not None and own.generation >= person.generation:
            return
        if known is not None:
            if known.person.generation > person.generation:
                return
            before = known.gateway if known.gateway != listed.gateway else self._before.get(person.session)
            self._before.pop(person.session, None)
            self._leave([person.session], changes)
            if before is not None:
                self._before[person.session] = before
        self._put(listed)
        changes.came.append(listed)
        rival = self._own_by_key.get(person.key)
        if rival is not None and rival != person.session:
            changes.rivals.append((rival, person.session))

    def _leave(self, sessions: Iterable[int], changes: Changes) -> None:
        for session in list(sessions):
            listed = self._remove(session)
            if listed is not None:
                changes.left.append(listed)
                before = self._before.pop(session, None)
                if before is not None:
                    self.ask_again(before)

    def ask_again(self, gateway: int) -> None:
        """Have another gateway tell of all its people; if that gets lost, at its next word once more."""
        other = self._others.get(gateway)
        if other is not None:
            other.seq = UNKNOWN
        self._lines.append((gateway, Again(self.gateway)))

    def say(self, line: Line, gateway: int | None) -> None:
        """Pass a line on to one gateway, or to all."""
        self._lines.append((gateway, line))

    def tick(self, now_s: float) -> Changes:
        """Time passed: gateways that have been silent for too long are gone."""
        changes = Changes()
        for gateway, other in list(self._others.items()):
            if now_s - other.heard_s > self.forget_s:
                del self._others[gateway]
                self._leave((s for s, listed in self._listed.items() if listed.gateway == gateway), changes)
        return changes

    def take(self, now_s: float) -> list[tuple[int | None, Word]]:
        """Words to send: (gateway or None for all, word)."""
        out, self._lines = self._lines, []
        while self._handed and self._handed[0][0] <= now_s:
            _, session, generation = self._handed.popleft()
            if session not in self._own:
                self._ended[session] = generation
        if self._stale or self._ended or now_s - self._told_s >= BEAT_S:
            self._told_s = now_s
            self._seq += 1
            came = [self._own[session] for session in sorted(self._stale)]
            out.append((None, Roll(self.gateway, self._seq, False, came, sorted(self._ended.items()))))
            self._stale, self._ended = set(), {}
        for gateway in sorted(self._ask_whole):
            out.append((gateway, Roll(self.gateway, self._seq, True, list(self._own.values()), [])))
        self._ask_whole = set()
        return out

    def _put(self, listed: Listed) -> None:
        person = listed.person
        self._listed[person.session] = listed
        self._by_key[person.key] = person.session
        if person.body:
            self._by_body[person.body] = person.session

    def _remove(self, session: int) -> Listed | None:
        listed = self._listed.pop(session, None)
        if listed is not None:
            person = listed.person
            if self._by_key.get(person.key) == session:
                del self._by_key[person.key]
            if self._by_body.get(person.body) == session:
                del self._by_body[person.body]
        return listed


def _person(session: Session, generation: int) -> Person:
    return Person(session.id, generation, digest(session.key), session.name, session.body or 0, session.present)
