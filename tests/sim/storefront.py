"""The way to the store in a simulation: slow, lossy, cut off, one way or both; behind it the store's own core.

Invariant: a question is carried out at most once; whether its answer comes is another matter. Time is the caller's.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cluster.asks import Answer, Failed, Grant, Question, Read, Renew, Revoke
from cluster.store.contract import Lease, LeaseLost, Transaction
from cluster.store.model import StoreCore

STORE = "store"
"""Its name among those that can be cut off."""
TIMEOUT_S = 1.0
"""After this a question counts as failed."""


@dataclass
class StoreFaults:
    """How bad the way is: part of the questions and of the answers that are lost, mean delay each way."""

    lost_question: float = 0.0
    lost_answer: float = 0.0
    slow_s: float = 0.01


class StoreFront:
    """``later(delay_s, do)`` runs ``do`` after a time; ``passes(a, b)`` says whether anything gets from a to b."""

    def __init__(
        self,
        rng: np.random.Generator,
        later: Callable[[float, Callable[[], None]], None],
        now_s: Callable[[], float],
        passes: Callable[[str, str], bool],
        counts: Counter[str],
    ) -> None:
        self.core = StoreCore()
        self.faults = StoreFaults()
        self._rng = rng
        self._later = later
        self._now_s = now_s
        self._passes = passes
        self._counts = counts

    def ask(self, who: str, question: Question, sent_s: float, deliver: Callable[[Answer], None]) -> None:
        """Carry a question there, and its answer back. ``sent_s``: now, on the asker's clock."""
        unknown = isinstance(question, Transaction)

        def arrive() -> None:
            if not self._passes(who, STORE) or self._rng.random() < self.faults.lost_question:
                self._counts["question lost"] += 1
                self._later(TIMEOUT_S, lambda: deliver(Failed(unknown=unknown)))
                return
            answer = self._answer(question, sent_s)
            if not self._passes(STORE, who) or self._rng.random() < self.faults.lost_answer:
                self._counts["answer lost"] += 1
                self._later(TIMEOUT_S, lambda: deliver(Failed(unknown=unknown)))
            else:
                self._later(float(self._rng.exponential(self.faults.slow_s)), lambda: deliver(answer))

        self._later(float(self._rng.exponential(self.faults.slow_s)), arrive)

    def _answer(self, question: Question, sent_s: float) -> Answer:
        core, now_s = self.core, self._now_s()
        try:
            match question:
                case Grant():
                    lease = core.grant(question.ttl_s, now_s)
                    return Lease(lease.id, lease.ttl_s, sent_s)
                case Renew():
                    lease = core.keep_alive(question.lease.id, now_s)
                    return Lease(lease.id, lease.ttl_s, sent_s)
                case Revoke():
                    core.revoke(question.lease)
                    return None
                case Read():
                    return core.get(question.key)
                case Transaction():
                    return core.transact(question)
        except LeaseLost:
            return Failed(lease_lost=True)
