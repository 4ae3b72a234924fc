"""Splitting a region into its quarters, and merging four into one: their one owner's side, as a state machine.

Theory of operation. The regions hold still together with their neighbours (``shard.border.holding``). Then one
transaction takes the records of the former and puts those of the new ones, same owner, an epoch above all of them; it
compares that neither these nor their neighbours have changed, so that what the neighbours promised still holds. The
owner steps the former until its watch tells of the new records (``MemberCore``: Reshape), and the new ones from then
on: whatever becomes of the answer, the store decides, and nobody else can own either meanwhile.

    PREPARING --> HOLDING --still--> WRITING --done, or seen--> (the watch tells)
                     |                  |--refused, not done--> (released)
                     `--GIVE_UP_S-->    `--unknown--> SETTLING --the records stand, written once more--> (released)
                   (released)                            `--they do not--> WRITTEN (the watch tells)

Invariant: neighbours are released only when no write of ours can be carried out any more. Not responsible for: who asks
for it (``placer``), what regions hold (``shard.reshape``), moves (a region that is on its way is not changed).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from cluster.asks import Answer, Ask, Asking, Failed
from cluster.member import MemberCore
from cluster.partition import Partition
from cluster.records import RegionRecord, region_key, write
from cluster.regions import quarters
from cluster.store.contract import Delete, KeyAbsent, Put, RevisionIs, Transaction, TransactionResult

GIVE_UP_S = 4.0
"""Until all hold still: a batch of each region and its commit, over and over while somebody has just said something."""
AGAIN_S = 0.5
CHANGES_MAX = 2
"""At once, of one shard."""
COMPARED_MAX = 100
"""The store takes 128 items in one transaction."""


class Phase(Enum):
    """Where a change stands."""

    PREPARING = auto()
    HOLDING = auto()
    WRITING = auto()
    SETTLING = auto()
    WRITTEN = auto()


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make what ``now`` will need, while ``former`` go on."""

    former: tuple[int, ...]
    now: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """These regions hold still; each says ``number``."""

    regions: tuple[int, ...]
    number: int


@dataclass(frozen=True, slots=True)
class Release:
    """They go on as before."""

    regions: tuple[int, ...]


Action = Ask | Prepare | Hold | Release


@dataclass(slots=True)
class _Change:
    former: tuple[int, ...]
    now: tuple[int, ...]
    since_s: float
    phase: Phase = Phase.PREPARING
    busy: bool = False


class Reshaping:
    """All changes of one shard, by cell. ``counts``, for metrics: asked, split, merged, given up, refused, settled."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.changes: dict[int, _Change] = {}
        self._asking: Asking[Action] = Asking()
        self._number = 0

    def split(self, region: int, now_s: float) -> list[Action]:
        """Begin to split a region of ours."""
        return self._begin(region, (region,), tuple(quarters(region)), now_s)

    def merge(self, cell: int, now_s: float) -> list[Action]:
        """Begin to make one region of the quarters of a cell, all of them ours."""
        return self._begin(cell, tuple(quarters(cell)), (cell,), now_s)

    def _begin(self, cell: int, former: tuple[int, ...], now: tuple[int, ...], now_s: float) -> list[Action]:
        if len(self.changes) >= CHANGES_MAX or any(self.is_changing(region) for region in (*former, *now)):
            return []
        self.changes[cell] = _Change(former, now, now_s)
        self.counts["asked"] += 1
        return [Prepare(former, now)]

    def is_changing(self, region: int) -> bool:
        """Whether a region is about to be split or merged: it is not moved meanwhile."""
        return any(region in change.former for change in self.changes.values())

    def ended(self, regions: Sequence[int], *, done: bool) -> list[Action]:
        """Some regions were split or merged (``done``), or lost."""
        actions: list[Action] = []
        for cell, change in list(self.changes.items()):
            if any(region in change.former for region in regions):
                del self.changes[cell]
                if done:
                    self.counts["split" if len(change.now) > 1 else "merged"] += 1
                else:
                    actions.append(Release(change.former))
        return actions

    def tick(
        self,
        member: MemberCore,
        partition: Partition,
        is_prepared: Callable[[Sequence[int]], bool],
        still: Callable[[int], bool],
        now_s: float,
    ) -> list[Action]:
        """Time passed; ``still``: whether a region and its neighbours hold still."""
        actions: list[Action] = []
        for cell, change in list(self.changes.items()):
            if change.busy:
                continue
            if change.phase is Phase.PREPARING:
                if is_prepared(change.former):
                    self._number = max(self._number + 1, int(now_s * 1000))
                    change.phase, change.since_s = Phase.HOLDING, now_s
                    actions.append(Hold(change.former, self._number))
            elif change.phase is Phase.HOLDING:
                if all(still(region) for region in change.former):
                    actions += self._write(cell, change, member, partition, now_s)
                elif now_s - change.since_s >= GIVE_UP_S:
                    actions += self._release(cell, "given up")
            elif now_s - change.since_s >= AGAIN_S:  # nobody knows what became of it, or the watch is late
                actions += self._take_back(cell, change, member, now_s)
        return actions

    def answered(self, number: int, answer: Answer, now_s: float) -> list[Action]:
        """The store answered a question of this core."""
        return list(self._asking.answered(number, answer, now_s))

    # --------------------------------------------------------------------------------------------------------- writing
    def _write(
        self, cell: int, change: _Change, member: MemberCore, partition: Partition, now_s: float
    ) -> Sequence[Action]:
        book = member.book
        around = {n for region in change.former for n in partition.neighbours(region)} - set(change.former)
        entries = {region: book.regions.get(region) for region in (*change.former, *sorted(around))}
        owned = member.owned(now_s)
        if (
            member.lease is None
            or not member.owned_lease(now_s)
            or len(entries) > COMPARED_MAX
            or any(entry is None or book.owner(region) is None for region, entry in entries.items())
            or any(entry.record.epoch != owned.get(r) for r in change.former if (entry := entries[r]) is not None)
        ):
            return self._release(cell, "refused")
        epoch = 1 + max(book.epochs.get(region, 0) for region in (*change.former, *change.now))
        compares = [
            RevisionIs(region_key(region), entry.revision) for region, entry in entries.items() if entry is not None
        ]
        record = RegionRecord(member.name, member.lease.id, epoch, former=list(change.former))
        puts = [Put(region_key(region), write(record)) for region in change.now]
        deletes = [Delete(region_key(region)) for region in change.former]
        absent = [KeyAbsent(region_key(region)) for region in change.now]
        change.phase, change.busy, change.since_s = Phase.WRITING, True, now_s
        transaction = Transaction((*compares, *absent), (*deletes, *puts))
        return [self._asking.ask(transaction, lambda answer, now_s: self._wrote(cell, change, answer, now_s))]

    def _wrote(self, cell: int, change: _Change, answer: Answer, now_s: float) -> Sequence[Action]:
        if self.changes.get(cell) is not change:
            return []
        change.busy, change.since_s = False, now_s
        if isinstance(answer, TransactionResult):
            if not answer.ok:
                return self._release(cell, "refused")
            change.phase = Phase.WRITTEN
            return []
        if isinstance(answer, Failed) and answer.unknown:
            change.phase = Phase.SETTLING
            self.counts["settled"] += 1
            return []
        return self._release(cell, "refused")

    def _take_back(self, cell: int, change: _Change, member: MemberCore, now_s: float) -> Sequence[Action]:
        """Write the former records as they are, if they are: then what we wrote before can not be done any more."""
        entries = {region: member.book.regions.get(region) for region in change.former}
        keys = [(region_key(region), entry) for region, entry in entries.items() if entry is not None]
        if len(keys) < len(entries):
            return []  # the watch has told of something, and the member will
        change.busy, change.since_s = True, now_s
        compares = tuple(RevisionIs(key, entry.revision) for key, entry in keys)
        puts = tuple(Put(key, write(entry.record)) for key, entry in keys)
        ask = self._asking.ask(
            Transaction(compares, puts), lambda answer, now_s: self._took_back(cell, change, answer, now_s)
        )
        return [ask]

    def _took_back(self, cell: int, change: _Change, answer: Answer, now_s: float) -> Sequence[Action]:
        if self.changes.get(cell) is not change:
            return []
        change.busy, change.since_s = False, now_s
        if isinstance(answer, TransactionResult) and answer.ok:
            return self._release(cell, "refused")
        return []

    def _release(self, cell: int, why: str) -> list[Action]:
        self.counts[why] += 1
        return [Release(self.changes.pop(cell).former)]
