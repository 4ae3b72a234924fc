"""Questions of a core to the store, and their answers: so that cores wait for nothing and a shell decides nothing.

A core returns :class:`Ask`; its shell (or the simulator) asks the store and calls ``answered`` with the number of the
question and what came of it. Invariant: an answer is used once; one to a question of a life that is over (``forget``)
changes nothing. Not responsible for: reaching the store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from cluster.store.contract import Lease, Record, Transaction, TransactionResult

A = TypeVar("A")
NEVER_S = float("-inf")
"""Before any time of any clock."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A new lease; answered by :class:`Lease`."""

    ttl_s: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Keep a lease alive; answered by the renewed :class:`Lease`."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Revoke:
    """End a lease, one's own or that of a life that is over; answered by None."""

    lease: int


@dataclass(frozen=True, slots=True)
class Read:
    """One record, or None."""

    key: str


Question = Grant | Renew | Revoke | Read | Transaction


@dataclass(frozen=True, slots=True)
class Ask:
    """Put ``question`` to the store, and tell ``answered(number, answer)``."""

    number: int
    question: Question


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no answer. ``unknown``: it may have been carried out all the same; ``lease_lost``: the store knows that
    lease no more (nothing was done)."""

    unknown: bool = False
    lease_lost: bool = False


Answer = Lease | Record | TransactionResult | Failed | None


class Asking(Generic[A]):
    """Numbers questions and remembers what is to be done with each answer. ``A``: the actions of the core."""

    def __init__(self) -> None:
        self._number = 0
        self._then: dict[int, Callable[[Answer, float], Sequence[A]]] = {}

    def ask(self, question: Question, then: Callable[[Answer, float], Sequence[A]]) -> Ask:
        """A question whose answer is for ``then``."""
        self._number += 1
        self._then[self._number] = then
        return Ask(self._number, question)

    def answered(self, number: int, answer: Answer, now_s: float) -> Sequence[A]:
        """What follows from an answer; nothing if nobody waits for it any more."""
        then = self._then.pop(number, None)
        return () if then is None else then(answer, now_s)

    def forget(self) -> None:
        """Nobody waits for anything any more."""
        self._then.clear()

    @property
    def waiting(self) -> int:
        """Questions without an answer."""
        return len(self._then)
