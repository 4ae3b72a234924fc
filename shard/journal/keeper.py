"""When a region that begins anew may be loaded, and who waits for whom to have written down what came from it.

Decides: a crashed region's entities may be where they went just before, in a neighbour's memory alone. So before it is
loaded each living owner of a neighbour is asked to settle: from then on that one drops what the former life still says,
and answers when a batch made after that is committed. Whoever does not answer is waited for as long as a lease lasts
(SETTLE_S). Invariant: what a settled neighbour has is in the store with its newer hop, so nobody is loaded twice. Not
responsible for: questions to the store (``keeping``), what a batch has (``journal``).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

from protocol.moving import Settle, Settled
from shard.journal.journal import Draft
from shard.journal.keeping import Keeping, Kept, News, Question, Reply

SETTLE_S = 3.5
"""As long as a lease and what it takes to see that it is over: then whoever has not answered owns nothing any more, or
has lost sight of us, and of the store as well if its batches are not there."""
AGAIN_S = 0.2
ASKED_MAX = 256
"""Neighbours' questions that wait at a time; who gets no answer asks again."""

Said = list[tuple[str, Settle | Settled]]


@dataclass(slots=True)
class _Settling:
    epoch: int
    waiting: set[str]
    until_s: float
    again_s: float = -inf


@dataclass(slots=True)
class _Asked:
    """``after``: the tick after which each own neighbour's batch must have been made."""

    member: str
    word: Settle
    after: dict[int, int]


@dataclass(slots=True)
class Keeper:
    """Of one shard. ``neighbours``: of a region, those that are simulated here, with their ticks."""

    keeping: Keeping
    neighbours: Callable[[int], dict[int, int]]
    _settling: dict[int, _Settling] = field(default_factory=dict)
    _asked: list[_Asked] = field(default_factory=list)

    def begin(self, region: int, epoch: int, owners: Iterable[str], now_s: float) -> None:
        """A region begins here that somebody else, or nobody, had before; ``owners`` of its neighbours."""
        self._settling[region] = _Settling(epoch, set(owners), now_s + SETTLE_S)

    def take(self, region: int, epoch: int, draft: Draft | None) -> None:
        """A region goes on here with what it has; ``draft``: a batch that was not committed before."""
        self.keeping.take(region, epoch)
        if draft is not None:
            self.keeping.put(region, draft)

    def drop(self, region: int) -> None:
        """A region is not here any more."""
        self._settling.pop(region, None)
        self.keeping.drop(region)
        for asked in self._asked:
            asked.after.pop(region, None)

    def due(self, members: Iterable[str], now_s: float) -> tuple[Said, list[tuple[int, Question]]]:
        """What is to be said to other members and asked of the store now; ``members``: who lives."""
        living, said = set(members), Said()
        for region, settling in list(self._settling.items()):
            settling.waiting &= living
            if not settling.waiting or now_s >= settling.until_s:
                del self._settling[region]
                self.keeping.begin(region, settling.epoch)
            elif now_s >= settling.again_s:
                settling.again_s = now_s + AGAIN_S
                said += [(member, Settle(region, settling.epoch)) for member in sorted(settling.waiting)]
        return said + self._answers(), self.keeping.due(now_s)

    def heard(self, member: str, word: Settle | Settled) -> None:
        """A word of another member, or of this one to itself."""
        match word:
            case Settled():
                settling = self._settling.get(word.region)
                if settling is not None and settling.epoch == word.epoch:
                    settling.waiting.discard(member)
            case Settle():
                if len(self._asked) < ASKED_MAX and all((a.member, a.word) != (member, word) for a in self._asked):
                    self._asked.append(_Asked(member, word, self.neighbours(word.region)))

    def answered(self, number: int, reply: Reply, now_s: float) -> list[News]:
        """The store answered."""
        news = self.keeping.answered(number, reply, now_s)
        for one in news:
            if isinstance(one, Kept):
                for asked in self._asked:
                    if one.tick > asked.after.get(one.region, one.tick):
                        del asked.after[one.region]
        return news

    def _answers(self) -> Said:
        said: Said = [(a.member, Settled(a.word.region, a.word.epoch)) for a in self._asked if not a.after]
        self._asked = [asked for asked in self._asked if asked.after]
        return said
