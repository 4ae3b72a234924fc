"""Everybody in the world, at this gateway and at others: their names, who is told of whom, who may speak to whom.

Decides what of the sessions here others are told (``roster``), and what of theirs people here are told (``presence``).
Invariants: people are told of a body as long as any gateway has a session for it; names that are in use anywhere are
not given again, but for two gateways that give the same one within a tick of each other. Not responsible for: states of
sessions.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from protocol.mesh import Again, Line, Roll, Word
from protocol.messages import Presence
from server.session.limits import SessionLimits
from server.session.names import NameBook
from server.session.presence import PresenceBook
from server.session.record import DEVICE, Session
from server.session.roster import Changes, Listed, Roster


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An own session that another gateway has by now."""

    session: int
    generation: int
    gateway: int
    since_s: float


class Company:
    """``gateway``: the number of this one among several; None if it is the only one, and then nothing is told."""

    def __init__(self, gateway: int | None, limits: SessionLimits, random_bytes: Callable[[int], bytes]) -> None:
        self.roster = None if gateway is None else Roster(gateway, limits.resume_grace_s)
        self._adopted: dict[int, int] = {}
        """From which gateway sessions came that go on here."""
        self._names = NameBook(limits.name_chars_max, limits.names_reserved, random_bytes)
        self._presence = PresenceBook(
            limits.presence_joined_max, limits.presence_left_max, limits.presence_newcomer_max
        )
        self._interval_s = limits.presence_interval_s
        self._due_s = 0.0

    @property
    def online(self) -> int:
        """People in the world, those in their grace included."""
        return self._presence.online

    @property
    def elsewhere(self) -> int:
        """Sessions of other gateways that are known here."""
        return 0 if self.roster is None else len(self.roster)

    @property
    def all_elsewhere(self) -> Iterable[Listed]:
        """Sessions of other gateways, in any order."""
        return () if self.roster is None else self.roster.all

    @property
    def newcomer(self) -> Presence:
        """What one who just came is told."""
        return self._presence.newcomer()

    # ----------------------------------------------------------------------------------------------------- own sessions
    def take_name(self, name: str, *, suffix: bool) -> str:
        """A name for a session to come. Raises NameRefused."""
        return self._names.take(name, suffix=suffix)

    def began(self, session: Session) -> None:
        """A session is born here."""
        if self.roster is not None:
            self.roster.note(session)

    def embodied(self, session: Session) -> None:
        """A session has got its body, or has it still."""
        if session.body is not None and session.profile != DEVICE:
            session.present = True
            self._presence.joined(session.body, session.name)
        if self.roster is not None:
            self.adopt(session.id, session.body)
            self.roster.note(session)

    def disembodied(self, session: Session) -> None:
        """A session's body was lost: it will have another one."""
        if session.present and session.body is not None:
            self._presence.left(session.body)
            session.present = False

    def ended(self, session: Session, elsewhere: Elsewhere | None) -> None:
        """A session is no more, or goes on at another gateway."""
        self._names.release(session.name)
        if self.roster is not None and elsewhere is not None:
            self._adopted.pop(session.id, None)
            self.roster.handed_over(session, elsewhere.since_s)
            if self.roster.of_body(session.body or 0) is None:
                self.disembodied(session)  # it goes on there in another body
            return
        if self.roster is not None:
            self.roster.ended(session)
            former = self._adopted.pop(session.id, None)
            if former is not None:
                self.roster.ask_again(former)  # its person may have stayed there
        self.disembodied(session)

    def adopt(self, session: int, body: int | None) -> bool:
        """A session of another gateway goes on here in ``body``: its name is free for it. Returns whether people have
        been told of that body (``Session.present``)."""
        known = None if self.roster is None else self.roster.adopted(session)
        if known is None:
            return False
        self._adopted[session] = known.gateway
        self._names.release(known.person.name)
        if known.person.present and known.person.body != body:
            self._presence.left(known.person.body)
            return False
        return known.person.present

    # --------------------------------------------------------------------------------------------------------- others
    def of_key(self, key: tuple[str, str, bool]) -> Listed | None:
        """The session that an identity has at another gateway."""
        return None if self.roster is None else self.roster.of_key(key)

    def of_session(self, session: int) -> Listed | None:
        """A session as another gateway has it."""
        return None if self.roster is None else self.roster.of_session(session)

    def of_body(self, body: int) -> Listed | None:
        """Whose body it is, at another gateway."""
        return None if self.roster is None else self.roster.of_body(body)

    def heard(self, word: Roll | Again, now_s: float) -> tuple[list[Elsewhere], list[int]]:
        """What another gateway told; returns the own sessions that it has by now, and those that must end because their
        identity has another one there: it came to both gateways at once, and of two the higher number stays."""
        assert self.roster is not None, "a gateway without others hears of none"
        changes = self.roster.heard(word, now_s)
        self._changed(changes)
        gone = [
            Elsewhere(listed.person.session, listed.person.generation, listed.gateway, now_s) for listed in changes.came
        ]
        return gone, [own for own, other in changes.rivals if own < other]

    def tick(self, now_s: float) -> Presence | None:
        """Time passed: what everybody here is told now."""
        if self.roster is not None:
            self._changed(self.roster.tick(now_s))
        if now_s < self._due_s:
            return None
        self._due_s = now_s + self._interval_s
        return self._presence.batch()

    def pass_on(self, line: Line, gateway: int | None) -> None:
        """What was said here is heard at one other gateway, or at all."""
        if self.roster is not None:
            self.roster.say(line, gateway)

    def take(self, now_s: float) -> list[tuple[int | None, Word]]:
        """Words for other gateways: (number or None for all, word)."""
        return [] if self.roster is None else self.roster.take(now_s)

    def _changed(self, changes: Changes) -> None:
        for listed in changes.left:
            self._names.release(listed.person.name)
            if listed.person.present:
                self._presence.left(listed.person.body)
        for listed in changes.came:
            self._came(listed)

    def _came(self, listed: Listed) -> None:
        self._names.hold(listed.person.name)
        if listed.person.present:
            self._presence.joined(listed.person.body, listed.person.name)
