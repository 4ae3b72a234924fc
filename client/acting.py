"""A client's acts: numbered, kept until they are answered, said again on a new connection (STANDARD.md §8).

Invariants: at most ACTS_UNANSWERED_MAX wait; numbers of one session count up by one without a gap; an act that was said
under one body is never said under another, for nobody would know that it was done before. Not responsible for:
connections (``core``).
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from client.events import ActAnswered, ActLost
from protocol.acting import Act, Answer, check_name, check_value
from protocol.codes import ProtocolViolation
from protocol.limits import ACT_PAYLOAD_BYTES_MAX, ACTS_UNANSWERED_MAX
from protocol.messages import Welcome, pack


class TooManyActsError(RuntimeError):
    """So many acts are not answered yet that no other one may be said."""


@dataclass(slots=True)
class _Waiting:
    key: int
    name: str
    payload: Any
    number: int = 0
    """0: it has not been said yet."""


class Acts:
    """Of one client core. ``key`` names an act for its program, whatever its number on the wire is."""

    def __init__(self) -> None:
        self._keys = 0
        self._newest = 0
        self._waiting: deque[_Waiting] = deque()
        self._who: tuple[int, int | None] | None = None
        """Session and body that the numbers belong to."""

    @property
    def unanswered(self) -> int:
        """How many wait for their answer."""
        return len(self._waiting)

    def add(self, name: str, payload: Any) -> int:
        """One more; returns its key. Raises TooManyActsError, and ValueError for what cannot be said."""
        if len(self._waiting) >= ACTS_UNANSWERED_MAX:
            raise TooManyActsError(f"{ACTS_UNANSWERED_MAX} acts are not answered yet")
        try:
            check_name(name)
            check_value(payload, f"the payload of {name!r}")
            size = len(pack(payload))
        except (ProtocolViolation, OverflowError) as error:
            raise ValueError(str(error)) from None
        if size > ACT_PAYLOAD_BYTES_MAX:
            raise ValueError(f"the payload of {name!r} has {size} bytes, at most {ACT_PAYLOAD_BYTES_MAX} are allowed")
        self._keys += 1
        self._waiting.append(_Waiting(self._keys, name, payload))
        return self._keys

    def say(self) -> list[Act]:
        """On a connection that is welcomed: those that have not been said, with their numbers."""
        out = []
        for waiting in self._waiting:
            if not waiting.number:
                self._newest += 1
                waiting.number = self._newest
                out.append(Act(waiting.number, waiting.name, waiting.payload))
        return out

    def welcomed(self, welcome: Welcome) -> tuple[list[Act], list[ActLost]]:
        """A new connection: what to say on it, and the acts of which nobody can know any more whether they were done,
        because their body is gone."""
        who = welcome.session, welcome.body
        before, self._who = self._who, who
        lost = []
        if before != who:
            lost = [ActLost(waiting.key) for waiting in self._waiting if waiting.number]
            self._waiting = deque(waiting for waiting in self._waiting if not waiting.number)
        if before is None or before[0] != who[0]:
            self._newest = welcome.acted
        elif not self._waiting or not self._waiting[0].number:
            self._newest = max(self._newest, welcome.acted)
        again = [Act(w.number, w.name, w.payload) for w in self._waiting if w.number]
        return again + self.say(), lost

    def answered(self, answer: Answer) -> ActAnswered:
        """The server answers the oldest one. Raises ProtocolViolation for any other."""
        if not self._waiting or self._waiting[0].number != answer.number:
            raise ProtocolViolation("answer", f"ANSWER to act {answer.number}, which is not the oldest that waits")
        return ActAnswered(self._waiting.popleft().key, answer.code, answer.value)

    def end(self) -> list[ActLost]:
        """The client is done: what was not answered never will be."""
        lost = [ActLost(waiting.key) for waiting in self._waiting]
        self._waiting.clear()
        return lost
