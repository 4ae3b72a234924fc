"""The failsafe: a world that goes on while the store answers nobody, as Patroni's failsafe mode lets a primary go on.

Rule: once the store has not answered for AWAY_S, a member asks every member that it last knew, each PERIOD_S. If all
consent within the period, it may act for GRANT_S from when it *sent* the question. One objection, or one silence,
gives nothing, and the member stops when what it has runs out. A member consents if the store does not answer it
either, it knows of no newer epoch of the asker's regions, and it has not called the asker's life over. The store does
not come back to all at once: both asking and consenting go on for LINGER_S.

Why this is safe: nothing of a life is given away while its claim stands (``claims``). Only those whom the claim names
may remove it, they do so only a good while after their last consent, and they never consent again. All of them are
asked, so who acts knows that its claim stands. A process that the asker does not know cannot give its regions away,
whatever the store tells it. A member that knows nobody has nobody who could vouch for it: it stops.
Invariant: a consent counts for its own round alone. Not responsible for: who is asked through which link.
"""

from dataclasses import dataclass, field

from cluster.asks import NEVER_S
from cluster.book import Book
from protocol.failsafe import Consent, Objection, Question, Word

AWAY_S = 1.2
"""A little over a keep-alive's interval: one lost answer is no emergency."""
PERIOD_S = 0.5
AGAIN_S = 0.1
"""A question that has no answer yet is put again within its round: links lose messages."""
GRANT_S = 1.5
"""Three periods: one lost round does not stop the world."""
LINGER_S = 1.0
"""Who was trying in vain may hear of the store's return, and have a lease again, by so much later than others."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a word to a member."""

    member: str
    word: Word


@dataclass(slots=True)
class FailsafeCore:
    """One member's failsafe. ``until_s``: until when it may act because all consented; give it to ``MemberCore``."""

    name: str
    until_s: float = NEVER_S
    rounds: int = 0
    objections: int = 0
    grants: int = 0
    _asked_s: float = NEVER_S
    _again_s: float = NEVER_S
    _missing: set[str] = field(default_factory=set)
    _objected: bool = False
    _away_s: float = NEVER_S
    """When the store was last away for this member as one that asks."""
    _vain_s: float = NEVER_S
    """When this member last consented because the store did not answer it."""

    def is_away(self, answered_s: float, now_s: float) -> bool:
        """Whether the store counts as not answering. ``answered_s``: when it last did."""
        return now_s - answered_s >= AWAY_S

    def tick(self, book: Book, claims: dict[int, int], answered_s: float, now_s: float) -> list[Tell]:
        """Time passed. ``claims``: regions and epochs that this member owns."""
        if self.is_away(answered_s, now_s):
            self._away_s = now_s
        if not claims or now_s - self._away_s >= LINGER_S:
            self._missing.clear()
            self._asked_s = NEVER_S
            return []
        if now_s - self._asked_s < PERIOD_S:
            if now_s - self._again_s < AGAIN_S:
                return []
            self._again_s = now_s
            return [Tell(member, Question(self.rounds, claims)) for member in sorted(self._missing)]
        self.rounds += 1
        self._asked_s, self._again_s, self._objected = now_s, now_s, False
        self._missing = {*book.members, *book.confirmers} - {self.name}
        return [Tell(member, Question(self.rounds, claims)) for member in sorted(self._missing)]

    def heard(self, member: str, word: Word, book: Book, answered_s: float, now_s: float) -> list[Tell]:
        """A member asked or answered."""
        match word:
            case Question():
                return [Tell(member, self._answer(word, book, answered_s, now_s))]
            case Consent():
                if word.round == self.rounds and member in self._missing:
                    self._missing.discard(member)
                    self._grant()
            case Objection():
                for region, epoch in word.epochs.items():
                    book.saw(region, epoch)
                if word.round == self.rounds and member in self._missing:
                    self._objected = True
                    self.objections += 1
        return []

    def _grant(self) -> None:
        if not self._missing and not self._objected:
            self.grants += 1
            self.until_s = max(self.until_s, self._asked_s + GRANT_S)

    def _answer(self, question: Question, book: Book, answered_s: float, now_s: float) -> Consent | Objection:
        newer = {
            region: book.epochs[region] for region, epoch in question.claims.items() if book.is_stale(region, epoch)
        }
        if newer:
            return Objection(question.round, "newer epochs are known here", newer)
        if not all(book.may_go_on(region, epoch) for region, epoch in question.claims.items()):
            return Objection(question.round, "the owner is not known here, or its life is over", {})
        if self.is_away(answered_s, now_s):
            self._vain_s = now_s
        elif now_s - self._vain_s >= LINGER_S:
            return Objection(question.round, "the store answers here", {})
        return Consent(question.round)
