"""The durable store of a simulated cluster, behind a bad way: questions and answers are late and get lost.

It outlives every process, as a database does. An answer that is lost leaves it unknown whether a commit was done. Not
responsible for: what is stored (``shard.durable.model`` is the production core).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shard.durable.contract import Away, Fenced, WorldIdentity
from shard.durable.model import DurableCore
from shard.journal.keeping import AskHops, CommitDraft, FenceRegion, LoadSpan, Question, Reply

TIMEOUT_S = 1.0


@dataclass
class BankFaults:
    """Part of the questions and of the answers that are lost, mean delay each way, and whether it is down."""

    lost_question: float = 0.0
    lost_answer: float = 0.0
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

    def ask(self, question: Question, deliver: Callable[[Reply], None]) -> None:
        """Carry a question there, and its answer back."""

        def arrive() -> None:
            if self.faults.down or self._rng.random() < self.faults.lost_question:
                self._counts["database silent"] += 1
                self._later(TIMEOUT_S, lambda: deliver(Away("the simulated database does not answer")))
                return
            reply = self._reply(question)
            if self._rng.random() < self.faults.lost_answer:
                self._counts["database answer lost"] += 1
                self._later(TIMEOUT_S, lambda: deliver(Away("the simulated answer got lost")))
            else:
                self._later(self._delay_s(), lambda: deliver(reply))

        self._later(self._delay_s(), arrive)

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
