"""Acts on their way from clients to their bodies, and answers on their way back.

Decides what is said to a body's owner now: what is new, at the pace that the session may act with; and again what is
not answered, when the body came to another owner, a message got lost, or AGAIN_S passed. Invariants: the acts of one
connection go out and are answered in the order of their numbers, each answer once; at most ACTS_UNANSWERED_MAX wait
for each connection. Nothing is kept beyond a connection: a client says again what was not answered. Not responsible
for: which region has a body (``gateway``), doing anything once (the shard).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from protocol.acting import Act, Answer, AnswerCode
from protocol.codes import ProtocolViolation
from protocol.limits import ACTS_UNANSWERED_MAX
from server.session.buckets import TokenBucket
from server.session.limits import SessionLimits

AGAIN_S = 0.5
"""Longer than a few ticks, several times shorter than anybody's patience."""
NEVER_S = -1.0e9


@dataclass(slots=True)
class _Waiting:
    act: Act
    seen: tuple[int, int]
    said_s: float = NEVER_S
    admitted: bool = False
    """Whether it was counted against the session's pace: what is said again is not."""
    answer: Answer | None = None
    """It came before that of an earlier act, and waits for it."""


@dataclass(slots=True)
class _Actor:
    """One connection. ``body`` None: an observer."""

    body: int | None
    pace: TokenBucket
    newest: int = 0
    waiting: deque[_Waiting] = field(default_factory=deque)


class Acts:
    """All connections' acts."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._actors: dict[int, _Actor] = {}
        self._busy: dict[int, None] = {}
        """Connections with acts that are not answered, in the order in which they began to wait."""
        self.taken = 0
        self.answered = 0
        """For metrics."""

    def begin(self, conn: int, body: int | None, now_s: float) -> None:
        """A connection was welcomed."""
        self.end(conn)
        self._actors[conn] = _Actor(body, TokenBucket(self._limits.acts_per_s, self._limits.acts_burst, now_s))

    def end(self, conn: int) -> None:
        """It is over."""
        self._actors.pop(conn, None)
        self._busy.pop(conn, None)

    def said(self, conn: int, act: Act, seen: tuple[int, int]) -> Answer | None:
        """A client acts, which can have shown ticks from ``seen[0]`` to ``seen[1]`` (``seeing``); the answer if it can
        be given here. Raises ProtocolViolation."""
        actor = self._actors.get(conn)
        if actor is None:
            raise ProtocolViolation("order", "ACT before WELCOME")
        # The first one may have any number: what is below was answered on another connection.
        if actor.newest and act.number != actor.newest + 1:
            text = f"ACT: number {act.number} follows {actor.newest}"
            raise ProtocolViolation("act_order", text)
        if len(actor.waiting) >= ACTS_UNANSWERED_MAX:
            text = f"ACT: {ACTS_UNANSWERED_MAX} are not answered yet"
            raise ProtocolViolation("acts_unanswered", text)
        actor.newest = act.number
        self.taken += 1
        if actor.body is None:
            self.answered += 1
            return Answer(act.number, AnswerCode.REFUSED, "an observer has no body to act with")
        actor.waiting.append(_Waiting(act, seen))
        self._busy[conn] = None
        return None

    def again(self, conn: int) -> None:
        """All that is not answered is said once more with the next messages."""
        actor = self._actors.get(conn)
        for waiting in () if actor is None else actor.waiting:
            waiting.said_s = NEVER_S

    def drain(self, now_s: float) -> list[tuple[int, list[list[Any]]]]:
        """What is to be said now: (connection, [number, name, payload, body, first, oldest, newest] of each)."""
        out = []
        for conn in self._busy:
            actor = self._actors[conn]
            first = actor.waiting[0].act.number
            entries = []
            for waiting in actor.waiting:
                if waiting.answer is not None or now_s - waiting.said_s < AGAIN_S:
                    continue
                if not waiting.admitted and not actor.pace.take(now_s):
                    break
                waiting.admitted, waiting.said_s = True, now_s
                act = waiting.act
                entries.append([act.number, act.name, act.payload, actor.body, first, *waiting.seen])
            if entries:
                out.append((conn, entries))
        return out

    def heard(self, conn: int, answer: Answer) -> list[Answer]:
        """A region answers; returns what the client is told now."""
        actor = self._actors.get(conn)
        if actor is None or not actor.waiting:
            return []
        at = answer.number - actor.waiting[0].act.number
        if not 0 <= at < len(actor.waiting):
            return []  # it was answered before
        actor.waiting[at].answer = answer
        told = []
        while actor.waiting and (first := actor.waiting[0].answer) is not None:
            actor.waiting.popleft()
            told.append(first)
        if not actor.waiting:
            self._busy.pop(conn, None)
        self.answered += len(told)
        return told
