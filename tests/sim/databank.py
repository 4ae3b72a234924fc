"""The durable store of a simulated cluster, behind a bad way: questions and answers are late and get lost.

It outlives every process, as a database does. An answer that is lost leaves it unknown whether a commit was done.
Checked with each question: who has loaded a region is the last to have fenced it, so that nobody else commits it any
more. Not responsible for: what is stored (``shard.durable.model`` is the production core).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from shard.durable.contract import Away, Committed, Fenced, WorldIdentity
from shard.durable.model import DurableCore
from shard.durable.spans import Span, span_of
from shard.journal.keeping import AskHops, CommitDraft, FenceRegion, LoadSpan, Question, Reply

TIMEOUT_S = 1.0
LATE_S = (3.0, 5.0)
"""As where a process, or the server, hangs in the middle of a transaction: longer than a lease."""


@dataclass
class BankFaults:
    """Part of the questions and of the answers that are lost, part of the commits that come ``LATE_S`` late, mean delay
    each way, and whether it is down."""

    lost_question: float = 0.0
    lost_answer: float = 0.0
    late: float = 0.0
    slow_s: float = 0.003
    down: bool = False


class Databank:
    """``later(delay_s, do)`` runs ``do`` after a time."""

    def __init__(
        self,
        world: WorldIdentity,
        rng: np.random.Generator,
        later: Callable[[float, Callable[[], None]], None],
        now_s: Callable[[], float],
        counts: Counter[str],
    ) -> None:
        self.core = DurableCore(world)
        self.faults = BankFaults()
        self._rng = rng
        self._later = later
        self._now_s = now_s
        self._counts = counts
        self._loaded_by: dict[Span, str] = {}
        """Who loaded a span, or fenced it after that."""
        self._commits: list[tuple[float, float]] = []
        """When each commit was asked, and when its answer was there."""
        self.trouble_s = -inf
        """When a question or an answer got lost last."""

    def worst_commit_s(self, since_s: float) -> float:
        """The longest time that a commit took, there and back, of those that were on their way after ``since_s``."""
        self._commits = [each for each in self._commits if each[1] >= since_s]
        return max((done_s - asked_s for asked_s, done_s in self._commits), default=0.0)

    def hops(self) -> dict[int, int]:
        """Of all entities that are durable."""
        whole = self.core.load(1 << 2 * self.core.world.leaf_level, (2 << 2 * self.core.world.leaf_level) - 1)
        return {row.id: row.hop for row in whole.entities}

    def has_answered(self, session: int, number: int) -> bool:
        """Whether an answer to an act is stored."""
        place = self.core._sessions.get(session)
        return place is not None and number in place.actions

    @property
    def answers(self) -> int:
        """How many are stored."""
        return sum(len(place.actions) for place in self.core._sessions.values())

    def ask(self, who: str, question: Question, deliver: Callable[[Reply], None]) -> None:
        """Carry a question there, and its answer back."""
        asked_s = self._now_s()

        def arrive() -> None:
            if self.faults.down or self._rng.random() < self.faults.lost_question:
                self._counts["database silent"] += 1
                self.trouble_s = self._now_s()
                self._later(TIMEOUT_S, lambda: deliver(Away("the simulated database does not answer")))
                return
            reply = self._reply(question)
            self._check(who, question, reply)
            if self._rng.random() < self.faults.lost_answer:
                self._counts["database answer lost"] += 1
                self.trouble_s = self._now_s()
                self._later(TIMEOUT_S, lambda: deliver(Away("the simulated answer got lost")))
            else:
                back_s = self._delay_s()
                if isinstance(question, CommitDraft):
                    self._commits.append((asked_s, self._now_s() + back_s))
                self._later(back_s, lambda: deliver(reply))

        late = isinstance(question, CommitDraft) and self.faults.late and self._rng.random() < self.faults.late
        self._later(float(self._rng.uniform(*LATE_S)) if late else self._delay_s(), arrive)

    def _check(self, who: str, question: Question, reply: Reply) -> None:
        """One writer: what was loaded is nobody's any more but the loader's."""
        match question:
            case FenceRegion() if reply is None:
                self._loaded_by.pop(span_of(question.region, self.core.world.leaf_level), None)
            case LoadSpan():
                self._loaded_by[Span(question.first_leaf, question.last_leaf)] = who
            case CommitDraft() if isinstance(reply, Committed):
                region = question.draft.batch.region
                loader = self._loaded_by.get(span_of(region, self.core.world.leaf_level), who)
                assert loader == who, f"{who} commits region {region}, which {loader} has loaded meanwhile"

    def _delay_s(self) -> float:
        return float(self._rng.exponential(self.faults.slow_s))

    def _reply(self, question: Question) -> Reply:
        try:
            match question:
                case FenceRegion():
                    self.core.fence(question.region, question.epoch)
                    return None
                case LoadSpan():
                    return self.core.load(question.first_leaf, question.last_leaf)
                case AskHops():
                    return self.core.hops(question.ids)
                case CommitDraft():
                    return self.core.commit(question.draft.batch, self._now_s())
        except Fenced as fenced:
            return fenced
