"""The one elected placer: gives away regions that nobody owns, and asks owners to move, split and merge regions.

Theory of operation. The key ``placer`` is put if it is absent, with the lease of this process's membership; its value
names that life, and every record that a placer writes is written only while the key has that value, so a placer that
has been replaced writes nothing. Orphans are regions without a record, or whose record names a life of a member that
the store has ended. Planned moves, splits and merges are only asked for: owners
carry them out (``moving``, ``reshaping``). Regions stay between two levels: those that the world begins with, and
the smallest.

Waiting: nothing of a life is given away while its claim stands; each transaction compares that it is gone. A placer
that is new, or that could not reach the store lately, first waits SETTLE_S, so that members which the failsafe let go
on can take up their leases and their regions again.
Invariant: epochs of records only grow, and stay above every epoch that this process has seen. Not responsible for: how
load is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster import plan
from cluster.asks import NEVER_S, Answer, Ask, Asking
from cluster.book import Book
from cluster.claims import SETTLE_S
from cluster.member import MemberCore, State
from cluster.partition import is_within
from cluster.plan import Host
from cluster.records import MERGE, PLACER, SPLIT, RegionRecord, claim_key, region_key, write
from cluster.regions import Layout, level_of, quarters
from cluster.store.contract import KeyAbsent, Put, RevisionIs, Transaction, ValueIs

PLACE_EVERY_S = 0.25
BALANCE_EVERY_S = 5.0
REST_S = 30.0
"""A region that was moved stays for so long at least."""
MOVES_MAX = 2
"""Planned moves that are asked for and not done yet."""
ASK_AGAIN_S = 3.0
"""What has not come about by then is asked for again, or something else."""
RECORDS_MAX = 60
"""Records written in one transaction; the store takes 128 items, and claims are compared too."""


@dataclass(frozen=True, slots=True)
class AskMove:
    """Ask the member ``owner``, who owns ``region`` under ``epoch``, to move it to ``to``."""

    owner: str
    region: int
    epoch: int
    to: str


@dataclass(frozen=True, slots=True)
class AskSplit:
    """Ask the member ``owner``, who owns ``region`` under ``epoch``, to split it."""

    owner: str
    region: int
    epoch: int


@dataclass(frozen=True, slots=True)
class AskMerge:
    """Ask the member ``owner``, who owns all quarters of the cell ``region`` under ``epochs``, to merge them."""

    owner: str
    region: int
    epochs: dict[int, int]


Action = Ask | AskMove | AskSplit | AskMerge


class PlacerCore:
    """A candidate, and the placer once elected. It lives beside the ``MemberCore`` of its process."""

    def __init__(self, layout: Layout, level_max: int | None = None) -> None:
        self.layout = layout
        self.level_max = layout.level if level_max is None else level_max
        self.placed = 0
        """Records written for orphans."""
        self.elections = 0
        self._asking: Asking[Action] = Asking()
        self._busy = False
        self._settled_s = NEVER_S
        self._elected: str | None = None
        self._place_s = NEVER_S
        self._balance_s = NEVER_S
        self._moved_s: dict[int, float] = {}
        self._asked: dict[int, tuple[float, str | None]] = {}
        """By region or cell: when something was asked for, and of a move the member that is to give the region away."""
        self._hot_s: dict[int, float] = {}
        """Since when a region is hot."""
        self._idle_s: dict[int, float] = {}
        """Since when a cell is idle."""

    def is_placer(self, member: MemberCore, now_s: float) -> bool:
        """Whether this process places now."""
        return member.owned_lease(now_s) and member.book.placer is not None and member.book.placer == self._life(member)

    @staticmethod
    def _life(member: MemberCore) -> str | None:
        return None if member.lease is None else f"{member.name}/{member.lease.id:x}"

    def answered(self, number: int, answer: Answer, now_s: float) -> list[Action]:
        """The store answered a question of this core."""
        return list(self._asking.answered(number, answer, now_s))

    def _was_asked(self, answer: Answer, now_s: float) -> Sequence[Action]:
        self._busy = False  # the watch tells what became of it
        return ()

    def tick(self, member: MemberCore, now_s: float) -> list[Action]:
        """Time passed."""
        if member.state is not State.IN or not member.owned_lease(now_s):
            self._elected, self._busy = None, False
            self._asking.forget()
            return []
        book, life = member.book, self._life(member)
        assert life is not None
        assert member.lease is not None
        if book.placer is None:
            if self._busy:
                return []
            self._busy = True
            candidacy = Transaction((KeyAbsent(PLACER),), (Put(PLACER, life.encode(), member.lease.id),))
            return [self._asking.ask(candidacy, self._was_asked)]
        if book.placer != life:
            return []
        if self._elected != life:
            self._elected, self._busy = life, False
            self.elections += 1
            self._settled_s = max(self._settled_s, now_s + SETTLE_S if book.regions else now_s)
        if self._busy or now_s < max(self._settled_s, member.settled_s) or now_s - self._place_s < PLACE_EVERY_S:
            return []
        self._place_s = now_s
        partition = book.partition(self.layout)
        orphans = [region for region in partition.all() if book.owner(region) is None]
        orphans = [region for region in orphans if not self._is_claimed(region, book)]
        if orphans:
            return self._place(orphans, book, life)
        return self._move(book, now_s)

    @staticmethod
    def _is_claimed(region: int, book: Book) -> bool:
        entry = book.regions.get(region)
        return entry is not None and (entry.record.owner, entry.record.lease) in book.claims

    def _hosts(self, book: Book) -> list[Host]:
        owned: dict[str, dict[int, float]] = {}
        for region in book.regions:
            owner = book.owner(region)
            if owner is not None:
                weight = owner.record.regions.get(region, plan.WEIGHT_LEAST)
                owned.setdefault(owner.name, {})[region] = weight
        return [
            Host(m.name, m.record.load, owned.get(m.name, {}), m.record.draining) for m in book.shards()
        ]  # fmt: skip

    def _place(self, orphans: list[int], book: Book, life: str) -> list[Action]:
        given = plan.assign(orphans[:RECORDS_MAX], self._hosts(book), book.partition(self.layout))
        compares: list[ValueIs | RevisionIs | KeyAbsent] = [ValueIs(PLACER, life.encode())]
        puts = []
        for region, name in given.items():
            entry, key = book.regions.get(region), region_key(region)
            compares.append(KeyAbsent(key) if entry is None else RevisionIs(key, entry.revision))
            if entry is not None:
                compares.append(KeyAbsent(claim_key(entry.record.owner, entry.record.lease)))
            epoch = max(book.epochs.get(region, 0), 0 if entry is None else entry.record.epoch) + 1
            puts.append(Put(key, write(RegionRecord(name, book.members[name].lease, epoch))))
        if not puts:
            return []
        self._busy = True
        self.placed += len(puts)
        return [self._asking.ask(Transaction(tuple(dict.fromkeys(compares)), tuple(puts)), self._was_asked)]

    @staticmethod
    def _asked_for(book: Book) -> list[plan.Move]:
        """What operators want, as far as it can be had."""
        takers = {member.name for member in book.shards() if not member.record.draining}
        owners = {region: book.owner(region) for region in book.asks}
        return [
            plan.Move(region, owner.name, to)
            for region, to in sorted(book.asks.items())
            if (owner := owners[region]) is not None and to in takers and owner.name != to
        ]

    def _move(self, book: Book, now_s: float) -> list[Action]:
        hosts, partition = self._hosts(book), book.partition(self.layout)
        self._asked = {
            region: (at_s, source)
            for region, (at_s, source) in self._asked.items()
            if now_s - at_s < ASK_AGAIN_S and not self._has_gone(region, source, book)
        }
        changes, gathering = self._change(book, hosts, now_s)
        wanted = [*self._asked_for(book), *plan.drain(hosts, partition), *gathering]
        if not wanted and not changes and now_s - self._balance_s >= BALANCE_EVERY_S:
            self._balance_s = now_s
            best = plan.balance(hosts, partition, self._rested(book, now_s))
            wanted = [] if best is None else [best]
        asked: list[Action] = [change for change in changes if self._may_ask(change.region, None, now_s)]
        asked += [
            AskMove(move.source, move.region, book.regions[move.region].record.epoch, move.target)
            for move in wanted
            if self._may_ask(move.region, move.source, now_s)
        ]
        return asked

    @staticmethod
    def _has_gone(region: int, source: str | None, book: Book) -> bool:
        """Whether a move that was asked for is done: the next one need not wait."""
        owner = book.owner(region)
        return source is not None and owner is not None and owner.name != source

    def _may_ask(self, cell: int, source: str | None, now_s: float) -> bool:
        """Whether something may be asked now for what is in a cell; then it counts as asked."""
        lately = any(is_within(cell, other) or is_within(other, cell) for other in self._asked)
        if lately or len(self._asked) >= MOVES_MAX:
            return False
        self._asked[cell] = now_s, source
        self._moved_s[cell] = now_s
        return True

    def _rested(self, book: Book, now_s: float) -> frozenset[int]:
        """Regions that nobody wants anywhere, and that neither moved nor changed lately."""
        lately = [cell for cell, at_s in self._moved_s.items() if now_s - at_s < REST_S]
        return frozenset(
            r for r in book.regions.keys() - book.asks.keys()
            if not any(is_within(r, cell) or is_within(cell, r) for cell in lately)
        )  # fmt: skip

    def _change(self, book: Book, hosts: list[Host], now_s: float) -> tuple[list[AskSplit | AskMerge], list[plan.Move]]:
        """What is to be split and merged now, as operators wish or loads want it; and moves that have to come before
        a merge."""
        self._hot_s = {r: self._hot_s.get(r, now_s) for r in plan.hot(hosts)}
        self._idle_s = {c: self._idle_s.get(c, now_s) for c in plan.idle(hosts, self.layout.level)}
        rested = self._rested(book, now_s)
        owners = {region: host.name for host in hosts for region in host.regions}
        wished = [r for r, what in sorted(book.wishes.items()) if what == SPLIT and r in owners]
        wished = [r for r in wished if level_of(r) < self.level_max]
        hot = [(n, r) for n, r in plan.split(hosts, self.level_max, self._hot_s, now_s) if r in rested]
        changes: list[AskSplit | AskMerge] = [
            AskSplit(name, region, book.regions[region].record.epoch)
            for name, region in [*((owners[r], r) for r in wished), *hot]
        ]
        cells = [c for c, what in sorted(book.wishes.items()) if what == MERGE and level_of(c) >= self.layout.level]
        cells += [
            c for c, since_s in sorted(self._idle_s.items())
            if now_s - since_s >= plan.IDLE_S and rested.issuperset(quarters(c))
        ]  # fmt: skip
        moves: list[plan.Move] = []
        for cell in cells[:MOVES_MAX]:
            if not all(region in owners for region in quarters(cell)):
                continue
            gathering = plan.gather(cell, hosts)
            moves += gathering
            if not gathering:
                epochs = {region: book.regions[region].record.epoch for region in quarters(cell)}
                changes.append(AskMerge(owners[quarters(cell)[0]], cell, epochs))
        return changes, moves
