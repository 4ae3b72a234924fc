"""What a shard asks of the durable store, for each of its regions: fence, load, commit, and again when it was away.

Theory of operation. A region that begins anew is fenced under its epoch and then loaded; one that moved here, or whose
epoch was raised, is fenced alone. What is loaded may have departures under way, of entities that have gone on since:
how far they have come is asked as well. Batches are carried one after the other, each until it is committed:

    begin --> FENCING --> LOADING --> (ASKING) --> KEPT        take --> FENCING --> KEPT -- put --> COMMITTING --> KEPT

Invariants: nothing is loaded or committed before the epoch is written; a store that is away costs nothing but time, its
question is asked again (RETRY_S); a store that knows a newer epoch ends all this with :class:`Overtaken`. Not
responsible for: what is in a batch (``journal``), reaching the store, whose regions they are (``cluster``).
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from shard.durable.contract import Away, Committed, Fenced, Incompatible, Loaded
from shard.durable.spans import span_of
from shard.journal.journal import Draft
from shard.journal.notes import leaving

RETRY_S = 0.25


# ------------------------------------------------------------------------------------------------------- what is asked
@dataclass(frozen=True, slots=True)
class FenceRegion:
    """``Durable.fence``."""

    region: int
    epoch: int


@dataclass(frozen=True, slots=True)
class LoadSpan:
    """``Durable.load``."""

    first_leaf: int
    last_leaf: int


@dataclass(frozen=True, slots=True)
class CommitDraft:
    """``Durable.commit``."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class AskHops:
    """``Durable.hops``."""

    ids: tuple[int, ...]


Question = FenceRegion | LoadSpan | AskHops | CommitDraft
Hops = dict[int, int]
Reply = Loaded | Hops | Committed | Fenced | Away | Incompatible | None


# ----------------------------------------------------------------------------------------------------- what comes of it
@dataclass(frozen=True, slots=True)
class Found:
    """What the store holds for a region that begins; ``hops``: how far those have come who were leaving it."""

    region: int
    epoch: int
    loaded: Loaded
    hops: Hops


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch is durable."""

    region: int
    tick: int
    refused: list[int]


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The store knows the region under a newer epoch."""

    region: int
    epoch: int


News = Found | Kept | Overtaken


class _Phase(Enum):
    FENCING = auto()
    LOADING = auto()
    ASKING = auto()
    KEPT = auto()
    COMMITTING = auto()


@dataclass(slots=True)
class _Region:
    epoch: int
    loads: bool
    phase: _Phase = _Phase.FENCING
    draft: Draft | None = None
    loaded: Loaded | None = None
    asked: int = 0
    """Number of the question under way; 0: none."""
    retry_s: float = -inf


class Keeping:
    """Of one shard. ``counts``, for metrics: fenced, loaded, committed, away, overtaken."""

    def __init__(self, leaf_level: int) -> None:
        self.leaf_level = leaf_level
        self.counts: Counter[str] = Counter()
        self.away = ""
        """Why the store could not be used last; empty: it can."""
        self._regions: dict[int, _Region] = {}
        self._region_of: dict[int, int] = {}
        """By number of a question."""
        self._number = 0

    def begin(self, region: int, epoch: int) -> None:
        """A region begins without state: fence, then load."""
        self._regions[region] = _Region(epoch, loads=True)

    def take(self, region: int, epoch: int) -> None:
        """A region goes on under a new epoch with the state that it has."""
        self._regions[region] = _Region(epoch, loads=False)

    def drop(self, region: int) -> None:
        """It is another's: nothing more is asked for it, and answers are of no interest."""
        self._regions.pop(region, None)

    def put(self, region: int, draft: Draft) -> None:
        """Carry a batch."""
        self._regions[region].draft = draft

    def keeps(self, region: int) -> bool:
        """Whether batches of it are carried."""
        return region in self._regions

    def waits(self, region: int) -> bool:
        """Whether a batch of it is not committed yet."""
        kept = self._regions.get(region)
        return kept is not None and kept.draft is not None

    @property
    def waiting(self) -> int:
        """Regions with a batch that is not committed yet."""
        return sum(region.draft is not None for region in self._regions.values())

    @property
    def oldest_tick(self) -> int | None:
        """Of the oldest batch that is not committed yet; None if all are."""
        return min((region.draft.batch.tick for region in self._regions.values() if region.draft), default=None)

    def due(self, now_s: float) -> list[tuple[int, Question]]:
        """What is to be asked now, [(number, question)]; answer each with :meth:`answered`."""
        out: list[tuple[int, Question]] = []
        for number, region in self._regions.items():
            if region.asked or now_s < region.retry_s:
                continue
            question = self._question(number, region)
            if question is not None:
                self._number += 1
                region.asked = self._number
                self._region_of[self._number] = number
                out.append((self._number, question))
        return out

    def _question(self, number: int, region: _Region) -> Question | None:
        match region.phase:
            case _Phase.FENCING:
                return FenceRegion(number, region.epoch)
            case _Phase.LOADING:
                return LoadSpan(*span_of(number, self.leaf_level))
            case _Phase.ASKING:
                assert region.loaded is not None
                return AskHops(leaving(region.loaded))
            case _ if region.draft is not None and region.draft.batch.epoch == region.epoch:
                region.phase = _Phase.COMMITTING
                return CommitDraft(region.draft)
            case _:
                return None

    def answered(self, number: int, reply: Reply, now_s: float) -> list[News]:
        """The answer to a question."""
        at = self._region_of.pop(number, 0)
        region = self._regions.get(at)
        if region is None or region.asked != number:
            return []
        region.asked = 0
        match reply:
            case Away() | Incompatible():
                self.counts["away"] += 1
                self.away = str(reply)
                region.retry_s = now_s + RETRY_S
                return []
            case Fenced():
                self.counts["overtaken"] += 1
                del self._regions[at]
                return [Overtaken(at, reply.epoch)]
        self.away = ""
        return self._done(at, region, reply)

    def _done(self, at: int, region: _Region, reply: Loaded | Hops | Committed | None) -> list[News]:
        match reply:
            case Loaded() if leaving(reply):
                region.loaded, region.phase = reply, _Phase.ASKING
                return []
            case Loaded():
                return self._found(at, region, reply, {})
            case dict():
                assert region.loaded is not None
                return self._found(at, region, region.loaded, reply)
            case Committed():
                self.counts["committed"] += 1
                draft, region.draft, region.phase = region.draft, None, _Phase.KEPT
                assert draft is not None
                return [Kept(at, draft.batch.tick, reply.refused)]
            case None:
                self.counts["fenced"] += 1
                region.phase = _Phase.LOADING if region.loads else _Phase.KEPT
                return []

    def _found(self, at: int, region: _Region, loaded: Loaded, hops: Hops) -> list[News]:
        self.counts["loaded"] += 1
        region.loaded, region.phase = None, _Phase.KEPT
        return [Found(at, region.epoch, loaded, hops)]
