"""Which regions changed their owner lately, as the store told it: what an operator looks at first.

Decides what counts as a move, and how it came about. Invariants: at most KEPT_MAX moves are kept; a move is told once,
and never one to an older epoch (a store restored from a backup); who owned a region when this process first heard of it
came there by no move. Of several changes that one answer of the store brings at once the last alone is known.
Not responsible for: why somebody wanted it (``placer``), carrying it out (``moving``).
"""

from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum

from cluster.book import Book
from cluster.records import RegionRecord

KEPT_MAX = 64


class How(StrEnum):
    """How a region came to its owner."""

    PLANNED = "planned"
    """The owner before gave it, with all that was in it."""
    LOST = "lost"
    """The owner before was gone: the placer gave it away."""
    BACK = "back"
    """The owner before has it again, in another life or after the store was away."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One move, heard of at ``at_s``."""

    region: int
    source: str
    target: str
    epoch: int
    how: How
    at_s: float


class Moves:
    """Feed it the book after each news of the store."""

    def __init__(self) -> None:
        self.recent: deque[Moved] = deque(maxlen=KEPT_MAX)
        """The newest last."""
        self.counts: Counter[How] = Counter()
        """For metrics."""
        self._last: dict[int, RegionRecord] = {}

    def watched(self, book: Book, now_s: float) -> None:
        """The store told something; ``book`` knows it already."""
        for region, entry in book.regions.items():
            record, before = entry.record, self._last.get(region)
            if before is not None and record.epoch <= before.epoch:
                continue
            self._last[region] = record
            if before is None or (before.owner, before.lease) == (record.owner, record.lease):
                continue
            how = How.PLANNED if record.move else How.BACK if before.owner == record.owner else How.LOST
            self.recent.append(Moved(region, before.owner, record.owner, record.epoch, how, now_s))
            self.counts[how] += 1
