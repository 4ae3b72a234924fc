"""What a region remembers of its sessions' acts: the answers, which of them are committed, and who waits for that.

Theory of operation. A body takes the acts of its session in order of number; column ``o.acted`` is the newest one
taken. Its answers are kept here by session, the newest ANSWERS_KEPT, and go wherever the body goes, as its column does.
So an act that is said again is known by its number, and gets the answer that it got before. The answers of one step get
one number of the journal; the shell is told of them, stores them with what the step changed, and says ``commit``. Only
then may a client be told.

Invariants
* An answer is told only when its journal number is committed; without a durable store that is so at once.
* An answer that is not committed stays in its region, and so does its body (``holds``): what an act changed in this
  region and what it is answered are committed by one owner, in one transaction.
* Bounded: ANSWERS_KEPT answers of each body, of which at most ACTS_UNANSWERED_MAX are not committed.

Not responsible for: carrying acts out (``phases.actions``), storing anything.
"""

from collections import deque
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from protocol.limits import ACTS_UNANSWERED_MAX, ANSWERS_KEPT
from protocol.messages import pack

HOLD_S = 1.0
"""A body that should cross takes no new acts for so long, so that its last one can be committed and it can go."""


@dataclass(slots=True)
class Kept:
    """One answer. ``encoded``: msgpack of [code, value]; ``journal``: its number there; None: it is committed, 0: the
    journal has not been told of it yet."""

    number: int
    encoded: bytes
    journal: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """For the journal: what an act of a session was answered at ``tick``, as number ``journal``."""

    journal: int
    session: int
    number: int
    tick: int
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """An act as it came, for the behaviours of this step."""

    number: int
    name: str
    payload: Any
    first: int
    """All of the session's acts below were answered."""
    seen: tuple[int, int] | None = None
    """Oldest and newest tick that the client can have shown when it said this; None: not known."""


class Acting:
    """The acts of one region. ``durable``: somebody says ``commit``."""

    def __init__(self, durable: bool, rate_hz: int) -> None:
        self.durable = durable
        self._hold_ticks = int(HOLD_S * rate_hz)
        self.journal = 0
        """Newest number given."""
        self._kept: dict[int, deque[Kept]] = {}
        self._waiting: deque[tuple[int, Kept]] = deque()
        """(session, answer) that are not committed, in the order of the journal."""
        self._committed = 0
        self._put_off: dict[int, int] = {}
        """Sessions whose bodies cannot cross for want of a commit: since which tick."""
        self.clear_step()

    def clear_step(self) -> None:
        """What one step collects."""
        self.heard: dict[int, dict[int, Heard]] = {}
        """By session and number."""
        self.told: list[tuple[int, int, bytes]] = []
        """(session, number, answer) that clients are told."""

    def __len__(self) -> int:
        """Sessions whose answers are remembered."""
        return len(self._kept)

    # ---------------------------------------------------------------------------------------------------------- acts
    def uncommitted(self, session: int) -> int:
        """How many answers of a session wait to be committed."""
        return sum(kept.journal is not None for kept in self._kept.get(session, ()))

    def has_room(self, session: int, tick: int) -> bool:
        """Whether a session's body may take another act now; one that it does not take is said again."""
        since = self._put_off.get(session)
        if since is not None and tick - since < self._hold_ticks:
            return False
        return not self.durable or self.uncommitted(session) < ACTS_UNANSWERED_MAX

    def answer(self, session: int, number: int, code: int, value: object) -> None:
        """An act was carried out, or refused."""
        kept = Kept(number, pack([code, value]), 0)
        self._kept.setdefault(session, deque(maxlen=ANSWERS_KEPT)).append(kept)
        self._waiting.append((session, kept))

    def again(self, session: int, number: int) -> bool:
        """An act that was taken before is said again: it gets the answer that it got, once that is committed. False if
        nobody remembers it."""
        for kept in self._kept.get(session, ()):
            if kept.number == number:
                if kept.journal is None:
                    self.told.append((session, number, kept.encoded))
                return True
        return False

    # ------------------------------------------------------------------------------------------------------- journal
    def commit(self, upto: int) -> None:
        """What has these numbers of the journal is stored for good."""
        self._committed = max(self._committed, min(upto, self.journal))

    def close_step(self, tick: int) -> list[Answered]:
        """At the end of a step's behaviours: number its answers, and free those that are committed. Returns what the
        journal has not been told of."""
        new = list(takewhile(lambda entry: entry[1].journal == 0, reversed(self._waiting)))[::-1]
        if new:
            self.journal += 1
            for _, kept in new:
                kept.journal = self.journal
        answered = [Answered(self.journal, session, kept.number, tick, kept.encoded) for session, kept in new]
        if not self.durable:
            self._committed = self.journal
        self.release()
        return answered

    def release(self) -> None:
        """What is committed by now may be told, and makes room."""
        while self._waiting and 0 < (self._waiting[0][1].journal or 0) <= self._committed:
            session, kept = self._waiting.popleft()
            kept.journal = None
            self.told.append((session, kept.number, kept.encoded))

    def waiting(self) -> list[tuple[int, int, bytes]]:
        """(session, number, answer) of all that are not committed."""
        return [(session, kept.number, kept.encoded) for session, kept in self._waiting]

    def remembered(self, session: int) -> list[tuple[int, bytes]]:
        """(number, answer) of a session's acts, oldest first."""
        return [(kept.number, kept.encoded) for kept in self._kept.get(session, ())]

    # --------------------------------------------------------------------------------------------------------- bodies
    def holds(self, sessions: Iterable[int], tick: int) -> bool:
        """Whether any of these sessions' bodies must stay until an answer is committed; asked when it is to cross."""
        if not self._waiting:
            return False
        held = [session for session in sessions if session and self.uncommitted(session)]
        for session in held:
            since = self._put_off.get(session)
            if since is None or tick - since >= 2 * self._hold_ticks:  # a store that stands still must not stop acting
                self._put_off[session] = tick
        return bool(held)

    def forget(self, session: int) -> None:
        """The session's body is gone, or another session's."""
        self._kept.pop(session, None)
        self._put_off.pop(session, None)
        if self._waiting:
            self._waiting = deque(entry for entry in self._waiting if entry[0] != session)

    def take(self, sessions: Iterable[int]) -> list[tuple[int, list[tuple[int, bytes]]]]:
        """For those whose bodies leave: what they remember goes along. All of it is committed (``holds``)."""
        out = []
        for session in sessions:
            kept = self._kept.get(session)
            if kept:
                assert all(answer.journal is None for answer in kept), "an answer that is not committed does not cross"
                out.append((session, [(answer.number, answer.encoded) for answer in kept]))
            self.forget(session)
        return out

    def give(self, session: int, answers: Sequence[tuple[int, bytes]]) -> None:
        """A body has come with what it remembers."""
        self._kept[session] = deque((Kept(*answer) for answer in answers), maxlen=ANSWERS_KEPT)

    # ----------------------------------------------------------------------------------------------------------- dump
    @classmethod
    def shared(cls, formers: Iterable["Acting"], sessions: Container[int], own: "Acting") -> "Acting":
        """What several regions remember of some sessions, for one that takes their place (``own``: it, still empty).
        What was not committed is told to the journal anew."""
        kept: list[Any] = []
        waiting: list[Any] = []
        put_off: list[Any] = []
        for former in formers:
            _, *lists = former.state()
            for all_of, found in zip((kept, waiting, put_off), lists, strict=True):
                all_of += [entry for entry in found if entry[0] in sessions]
        own.load([0, kept, waiting, put_off])
        return own

    def state(self) -> list[Any]:
        """For a dump, between two steps."""
        kept = [
            [session, [[k.number, k.encoded, k.journal is None] for k in answers]]
            for session, answers in sorted(self._kept.items())
        ]
        waiting = [[session, kept.number] for session, kept in self._waiting]
        return [self.journal, kept, waiting, sorted(self._put_off.items())]

    def load(self, state: list[Any]) -> None:
        """Inverse of :meth:`state`. What was not committed is told to the journal anew, under a number of this life's:
        nobody knows what became of the one before."""
        self.journal, kept, waiting, put_off = state
        self._committed = self.journal
        self._kept = {
            session: deque(
                (Kept(number, encoded, None if done else 0) for number, encoded, done in answers), ANSWERS_KEPT
            )
            for session, answers in kept
        }
        by_number = {(session, k.number): k for session, answers in self._kept.items() for k in answers}
        self._waiting = deque((session, by_number[session, number]) for session, number in waiting)
        self._put_off = dict(put_off)
