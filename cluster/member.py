"""One process's membership: its lease, its record, and the regions that are its own as long as the lease lasts.

Theory of operation. OUT --grant--> JOINING --put record if the name is free--> IN --revoke--> GONE. In IN the lease is
renewed every third of its time. It counts from the *sending* of the last request that was answered, and the member
stops STOP_BEFORE_S before its end: the store ends a lease at the earliest when its whole time has passed since it
heard the request, so it never gives away what is still acted on. A region is owned when the store's record names this
name and this lease; a process that came back under its old name has another lease and owns nothing of the former.

With the failsafe (``failsafe``) a member acts beyond its lease while the store is away. When the store is back and the
lease is gone, the regions are claimed anew under the new lease, epoch + 1, if their records are still as they were.

Invariants: a region is owned as long as the lease that its record names, or as the failsafe allows; of two
:class:`Own` for one region the later has the higher epoch.
Not responsible for: who should own what (``placer``), watching the store (the shell hands every item to ``watched``),
stopping a region that was lost (whoever hears :class:`Lose`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from types import MappingProxyType

import msgspec

from cluster.asks import NEVER_S, Answer, Ask, Asking, Failed, Grant, Read, Renew, Revoke
from cluster.book import Book, Owner
from cluster.claims import SETTLE_S, Claims
from cluster.deaths import Deaths
from cluster.failsafe import AWAY_S
from cluster.records import IDS, MemberRecord, RegionRecord, claim_key, member_key, region_key, write
from cluster.regions import level_of
from cluster.store.contract import (
    Delete,
    KeyAbsent,
    Lease,
    Put,
    Record,
    RevisionIs,
    Transaction,
    TransactionResult,
    WatchItem,
)

LEASE_S = 3
RENEWALS = 3
"""Keep-alives within the time of a lease."""
STOP_BEFORE_S = 0.5
RETRY_S = 0.25
"""After a request that failed."""
LOAD_EVERY_S = 2.0
"""Least time between two reports of load: each is a write that all members hear of."""
NOTHING_HELD: Mapping[int, tuple[int, float]] = MappingProxyType({})
ID_BLOCK = 1 << 20
"""Entity ids taken at once."""


class State(Enum):
    """Where a membership stands."""

    OUT = auto()
    JOINING = auto()
    IN = auto()
    LEAVING = auto()
    GONE = auto()


@dataclass(frozen=True, slots=True)
class Own:
    """The region is this member's now, under ``epoch``. ``move``: the planned move it came by; 0: none, so it begins
    without what a former owner held. ``again``: it was owned already and goes on under the new epoch."""

    region: int
    epoch: int
    move: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Reshape:
    """Regions ``former`` of this member were split or merged, as it asked for: it owns ``now`` in their place, (region,
    epoch) each, with all that they hold."""

    former: tuple[int, ...]
    now: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Lose:
    """The region is not this member's any more: neither step, nor publish, nor acknowledge anything of it."""

    region: int


@dataclass(frozen=True, slots=True)
class Ids:
    """Entity ids [first, first + count) are this member's for ever."""

    first: int
    count: int


Action = Ask | Own | Reshape | Lose | Ids


@dataclass(frozen=True, slots=True)
class _Held:
    """Under which epoch and which lease a region is owned."""

    epoch: int
    lease: int


class MemberCore:
    """One member. ``book`` is what it knows of the world; ``now_s``: its own monotonic clock."""

    def __init__(self, name: str, record: MemberRecord, lease_s: int = LEASE_S) -> None:
        self.name = name
        self.state = State.OUT
        self.book = Book()
        self.lease: Lease | None = None
        self.failsafe_until_s = NEVER_S
        """Set by the failsafe: until then the member acts although its lease is over."""
        self.answered_s = NEVER_S
        """When the store last answered anything."""
        self._raising: dict[int, int] = {}
        """By region: the revision of its record that is asked to be raised."""
        self.settled_s = -1.0e9
        """Until then no life is called over and nothing is placed: the store was away, and others may be late."""
        self.renewals_failed = 0
        self.lost_leases = 0
        self._record = record
        self._put_record: MemberRecord | None = None
        self._lease_s = lease_s
        self._owned: dict[int, _Held] = {}
        self._given: dict[int, int] = {}
        """Epochs under which regions were handed over or given up: an old record must not give them back."""
        self._former: Lease | None = None
        """A lease that has run out here, and that the store may still know."""
        self._asking: Asking[Action] = Asking()
        self._busy = False
        self._retry_s = NEVER_S
        self._sent_s = NEVER_S
        self._load_s = NEVER_S
        self._putting = False
        self._taking_ids = False
        self._claiming = 0
        self._claims = Claims(name)
        self._deaths = Deaths()

    # ------------------------------------------------------------------------------------------------------ asked
    def may_act(self, now_s: float) -> bool:
        """Whether this member may step, publish and acknowledge for the regions that are its own."""
        return self.owned_lease(now_s) or self.failsafe_until_s > now_s

    def owned_lease(self, now_s: float) -> bool:
        """Whether the lease itself, not the failsafe, lets this member act."""
        return self.lease is not None and now_s < self.lease.ends_s - STOP_BEFORE_S

    @property
    def acts_until_s(self) -> float:
        """When this member has to stop unless something new is heard."""
        until_s = self.failsafe_until_s if self.lease is None else self.lease.ends_s - STOP_BEFORE_S
        return max(until_s, self.failsafe_until_s)

    def owned(self, now_s: float) -> dict[int, int]:
        """Regions and their epochs: those that this member may step at ``now_s``."""
        if self.failsafe_until_s > now_s:
            return {region: held.epoch for region, held in self._owned.items()}
        if self.lease is None or not self.owned_lease(now_s):
            return {}
        return {region: held.epoch for region, held in self._owned.items() if held.lease == self.lease.id}

    @property
    def claims(self) -> dict[int, int]:
        """Regions and epochs that the member held last, for the failsafe's question."""
        return {region: held.epoch for region, held in self._owned.items()}

    # ------------------------------------------------------------------------------------------------- what happened
    def watched(self, item: WatchItem, now_s: float) -> list[Action]:
        """The watch of the whole namespace told something."""
        was_in = self.lease is not None and self.book.is_alive(self.name, self.lease.id)
        self.book.watched(item)
        self._store_spoke(now_s)
        if was_in and self.lease is not None and not self.book.is_alive(self.name, self.lease.id):
            return self._lost_lease(now_s)  # somebody took this process for dead, perhaps
        return self._compare(now_s)

    def _compare(self, now_s: float) -> list[Action]:
        """What is owned, against what the store has told."""
        actions: list[Action] = self._reshaped() if self.owned_lease(now_s) else []
        for region, held in sorted(self._owned.items()):
            entry = self.book.regions.get(region)
            if entry is None or (entry.record.epoch > held.epoch and not self._is_mine(entry.record)):
                del self._owned[region]
                actions.append(Lose(region))
        if self.lease is None or not self.owned_lease(now_s):
            return actions
        for region, entry in sorted(self.book.regions.items()):
            epoch, before = entry.record.epoch, self._owned.get(region)
            newer = before is None or epoch > before.epoch
            if newer and self._is_mine(entry.record):
                if region in self._given and epoch <= self._given[region]:
                    continue
                if self.book.is_stale(region, epoch):
                    # The durable store refused it before the watch told of it, or a newer record is on its way.
                    actions += self._raise(region, entry)
                    continue
                self._owned[region] = _Held(epoch, self.lease.id)
                actions.append(Own(region, epoch, entry.record.move, again=before is not None))
        return actions

    def _reshaped(self) -> list[Action]:
        """Splits and merges of own regions that the store tells of."""
        regions = self.book.regions
        if self._owned.keys() <= regions.keys():
            return []
        found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for region, entry in sorted(regions.items()):
            former = tuple(entry.record.former)
            was_mine = former and all(n in self._owned and n not in regions for n in former)
            if was_mine and self._is_mine(entry.record) and not self.book.is_stale(region, entry.record.epoch):
                found.setdefault(former, []).append((region, entry.record.epoch))
        actions: list[Action] = []
        for former, now in found.items():
            if sum(4.0 ** -level_of(n) for n, _ in now) != sum(4.0 ** -level_of(n) for n in former):
                continue  # some of it is another's already
            assert self.lease is not None
            for region in former:
                del self._owned[region]
            self._owned |= {region: _Held(epoch, self.lease.id) for region, epoch in now}
            actions.append(Reshape(former, tuple(now)))
        return actions

    def _is_mine(self, record: RegionRecord) -> bool:
        return self.lease is not None and record.owner == self.name and record.lease == self.lease.id

    def saw_epoch(self, region: int, epoch: int) -> list[Action]:
        """A message named an epoch of a region; a newer one than ours ends our ownership at once."""
        self.book.saw(region, epoch)
        held = self._owned.get(region)
        if held is None or epoch <= held.epoch:
            return []
        del self._owned[region]
        return [Lose(region)]

    def overtaken(self, region: int, epoch: int) -> list[Action]:
        """The durable store knows the region under a newer epoch. If that is nobody's (the coordination store was set
        back), the record is raised above it; whoever owns it now has raised it already."""
        self.book.saw(region, epoch)
        self._owned.pop(region, None)
        entry = self.book.regions.get(region)
        if self.lease is None or entry is None or not self._is_mine(entry.record) or entry.record.epoch > epoch:
            return [Lose(region)]
        return [Lose(region), *self._raise(region, entry)]

    def _raise(self, region: int, entry: Owner) -> list[Action]:
        """Ask once for the own record of a region to be raised above every epoch that is known."""
        if self.lease is None or self._raising.get(region) == entry.revision:
            return []
        self._raising[region] = entry.revision
        key = region_key(region)
        raised = Put(key, write(RegionRecord(self.name, self.lease.id, self.book.epochs[region] + 1)))

        def answered(answer: Answer, now_s: float) -> Sequence[Action]:
            self._raising.pop(region, None)
            return ()

        return [self._asking.ask(Transaction((RevisionIs(key, entry.revision),), (raised,)), answered)]

    def took_over(self, region: int, epoch: int, lease: int, now_s: float) -> bool:
        """A planned move has brought the region: its former owner says so, perhaps before the watch does. False: this
        member may not own anything now, or the record names a former life of it (``lease``)."""
        if (
            self.lease is None
            or self.lease.id != lease
            or not self.owned_lease(now_s)
            or self.book.is_stale(region, epoch)
        ):
            return False
        self._owned[region] = _Held(epoch, self.lease.id)
        self.book.saw(region, epoch)
        return True

    def refused(self, peer: str, generation: int, address: str, now_s: float) -> list[Action]:
        """The process ``generation`` of ``peer`` ended its link, and then nobody listened at ``address``."""
        life = self._deaths.refused(peer, generation, address, self.book, now_s) if self.state is State.IN else None
        return [] if life is None else [self._asking.ask(Revoke(life), lambda answer, now_s: ())]

    @property
    def record(self) -> MemberRecord:
        """What is told of this member, now or with the next chance."""
        return self._record

    @property
    def lives_ended(self) -> int:
        """Lives of others that this member has found dead."""
        return self._deaths.found

    def gave_away(self, region: int) -> None:
        """A planned move has handed the region over: the member knows it before its watch says so."""
        held = self._owned.pop(region, None)
        if held is not None:
            self._given[region] = held.epoch

    def answered(self, number: int, answer: Answer, now_s: float) -> list[Action]:
        """The store answered a question, or did not (:class:`Failed`)."""
        if not isinstance(answer, Failed) or answer.lease_lost:
            self._store_spoke(now_s)
        return list(self._asking.answered(number, answer, now_s))

    def _store_spoke(self, now_s: float) -> None:
        if now_s - self.answered_s >= AWAY_S:  # so long a silence lets this member consent to others' acting
            self.settled_s = now_s + SETTLE_S
        self.answered_s = max(self.answered_s, now_s)

    def report(
        self,
        load: float,
        regions: dict[int, float],
        sessions: int = 0,
        url: str | None = None,
        durable_away: bool = False,
        bytes_per_s: float = 0.0,
        held: Mapping[int, tuple[int, float]] = NOTHING_HELD,
    ) -> None:
        """The load now, as the record has it (``records.MemberRecord``); it is put there with the next chance
        (LOAD_EVERY_S)."""
        url = self._record.url if url is None else url
        self._record = msgspec.structs.replace(
            self._record, load=round(load, 2), sessions=sessions, url=url,
            regions={region: round(part, 3) for region, part in regions.items()}, durable_away=durable_away,
            bytes_per_s=round(bytes_per_s, -2),
            held={region: (count, round(rate, -2)) for region, (count, rate) in held.items()},
        )  # fmt: skip

    @property
    def told_to_drain(self) -> bool:
        """Whether an operator wants this life of the member drained."""
        return self.lease is not None and (self.name, self.lease.id) in self.book.drains

    def drain(self) -> None:
        """Ask the others to take over: shown in the record at once."""
        self._record = msgspec.structs.replace(self._record, draining=True)
        self._load_s = NEVER_S

    def leave(self) -> list[Action]:
        """Give the lease back: the record is gone at once. What is still owned is lost."""
        lost: list[Action] = self._lose_all()
        self.failsafe_until_s = NEVER_S
        if self.lease is None:
            self.state = State.GONE
            return lost
        self.state = State.LEAVING
        self._asking.forget()
        self._raising.clear()
        lease, self.lease = self.lease, None
        over = Transaction((), (Delete(claim_key(self.name, lease.id)),))
        return [
            *lost,
            self._asking.ask(over, lambda answer, now_s: ()),
            self._asking.ask(Revoke(lease.id), self._revoked),
        ]

    def _revoked(self, answer: Answer, now_s: float) -> Sequence[Action]:
        self.state = State.GONE  # if the store did not hear it, the lease ends by itself
        return ()

    # ------------------------------------------------------------------------------------------------------- time
    def tick(self, now_s: float) -> list[Action]:
        """Time passed: renew, join again, report."""
        actions: list[Action] = []
        if self.state in (State.LEAVING, State.GONE):
            return actions
        lapsed = sorted(self._owned.keys() - self.owned(now_s).keys())
        for region in lapsed:
            self._given[region] = self._owned.pop(region).epoch  # never again under this epoch: its state is gone
            actions.append(Lose(region))
        if lapsed and self._former is not None:  # it ran out here before the failsafe did
            actions.append(self._give_up(self._former))
        actions += self._compare(now_s)
        if self.lease is not None and now_s >= self.lease.ends_s - STOP_BEFORE_S and (lapsed or not self._busy):
            lease = self.lease
            self._out()
            if lapsed:  # a renewal that is under way must not keep alive what owns regions that nobody steps
                actions.append(self._give_up(lease))
            else:
                self._former = lease
        if self._busy or now_s < self._retry_s:
            return actions
        if self.state is State.OUT and self._former is not None:
            self._busy = True
            actions.append(self._asking.ask(Renew(self._former), partial(self._taken_up, now_s)))
        elif self.state is State.OUT:
            self._busy = True
            actions.append(self._asking.ask(Grant(self._lease_s), self._granted))
        elif self.state is State.IN:
            assert self.lease is not None
            if now_s - self._sent_s >= self._lease_s / RENEWALS:
                self._busy, self._sent_s = True, now_s
                actions.append(self._asking.ask(Renew(self.lease), self._renewed))
            if not self._putting and self._record != self._put_record and now_s - self._load_s >= LOAD_EVERY_S:
                actions += self._report(now_s)
            actions += self._claim(now_s)
            actions += self._speak_of_claims(now_s)
        return actions

    def _out(self) -> None:
        self.state, self.lease = State.OUT, None
        self._asking.forget()
        self._raising.clear()
        self._busy = self._putting = self._taking_ids = False
        self._claiming = 0
        self._put_record = None

    def _lose_all(self) -> list[Action]:
        lost: list[Action] = [Lose(region) for region in sorted(self._owned)]
        self._owned.clear()
        return lost

    def _give_up(self, lease: Lease) -> Ask:
        """Of a lease whose regions nobody steps any more: others shall have them."""
        self._former = None
        return self._asking.ask(Revoke(lease.id), lambda answer, now_s: ())

    def _taken_up(self, sent_s: float, answer: Answer, now_s: float) -> Sequence[Action]:
        """A store that was away gives all leases their whole time when it is back: as long as it knows ours nothing was
        given away, and all goes on under it."""
        self._busy = False
        if self._former is None:  # given up meanwhile
            return [self._give_up(answer)] if isinstance(answer, Lease) else ()
        if isinstance(answer, Lease):
            self.lease, self._former, self.state, self._sent_s = answer, None, State.IN, sent_s
        elif isinstance(answer, Failed) and answer.lease_lost:
            self.lost_leases += 1
            self._former = None
        else:
            self._retry_s = now_s + RETRY_S
        return ()

    def _granted(self, answer: Answer, now_s: float) -> Sequence[Action]:
        self._busy = False
        if not isinstance(answer, Lease):
            self._retry_s = now_s + RETRY_S
            return ()
        self.lease, self._sent_s, self.state = answer, answer.sent_s, State.JOINING
        self._busy = True
        return [self._join(answer)]

    def _join(self, lease: Lease) -> Ask:
        key = member_key(self.name)
        self._put_record = self._record
        puts = Put(key, write(self._record), lease.id), self._claims.write(lease, self.book)
        return self._asking.ask(Transaction((KeyAbsent(key),), puts), self._joined)

    def _joined(self, answer: Answer, now_s: float) -> Sequence[Action]:
        self._busy = False
        assert self.lease is not None
        if isinstance(answer, TransactionResult) and answer.ok:
            self.state = State.IN
            return ()
        # The name is taken, by a former life of this process until its lease ends, or by somebody else; or nobody knows
        # what became of the put. Both end with the lease.
        lease = self.lease
        self._out()
        self._retry_s = now_s + RETRY_S
        return [self._asking.ask(Revoke(lease.id), lambda answer, now_s: ())]

    def _speak_of_claims(self, now_s: float) -> list[Action]:
        """Keep the own claim as the members are, and call over the lives that are."""
        assert self.lease is not None
        asks: list[Action] = []
        again = any(held.lease != self.lease.id for held in self._owned.values())
        # While the failsafe's grant runs, nobody may be named who has not given it.
        if now_s >= self.failsafe_until_s and not again:
            change = self._claims.changed(self.lease, self.book, now_s)
            if change is not None:
                asks.append(self._asking.ask(change, lambda answer, now_s: ()))
        if now_s >= self.settled_s:
            calls = self._claims.over(self.lease, self.book, again, now_s)
            asks += [self._asking.ask(over, lambda answer, now_s: ()) for over in calls]
        return asks

    def _claim(self, now_s: float) -> list[Action]:
        """Back with a new lease while the failsafe kept the regions: write them anew, if nobody has touched them."""
        assert self.lease is not None
        asks: list[Action] = []
        for region, held in self._owned.items():
            entry = self.book.regions.get(region)
            if held.lease == self.lease.id or entry is None or entry.record.owner != self.name or self._claiming:
                continue
            claim = RegionRecord(self.name, self.lease.id, max(held.epoch, self.book.epochs.get(region, 0)) + 1)
            key = region_key(region)
            transaction = Transaction((RevisionIs(key, entry.revision),), (Put(key, write(claim)),))
            asks.append(self._asking.ask(transaction, partial(self._claimed, region, claim)))
        self._claiming += len(asks)
        return asks

    def _claimed(self, region: int, claim: RegionRecord, answer: Answer, now_s: float) -> Sequence[Action]:
        self._claiming -= 1
        self._retry_s = now_s + RETRY_S
        held = self._owned.get(region)
        if not isinstance(answer, TransactionResult) or not answer.ok or held is None or held.epoch >= claim.epoch:
            return ()  # the watch tells what became of it
        # The watch may come back long after the store has: until then the failsafe's grant would be over.
        self._owned[region] = _Held(claim.epoch, claim.lease)
        self.book.saw(region, claim.epoch)
        return [Own(region, claim.epoch, 0, again=True)]

    def _renewed(self, answer: Answer, now_s: float) -> Sequence[Action]:
        self._busy = False
        if isinstance(answer, Lease):
            if self.lease is not None and answer.sent_s >= self.lease.sent_s:
                self.lease = answer
            self.renewals_failed = 0
            return ()
        self.renewals_failed += 1
        self._sent_s = now_s - self._lease_s  # again after the pause
        self._retry_s = now_s + RETRY_S
        return self._lost_lease(now_s) if isinstance(answer, Failed) and answer.lease_lost else ()

    def _lost_lease(self, now_s: float) -> list[Action]:
        """The store says that the lease is over: what it gave is lost now, whatever time it had left."""
        self.lost_leases += 1
        self._out()
        return self.tick(now_s)

    def _report(self, now_s: float) -> list[Action]:
        member = self.book.members.get(self.name)
        if self.lease is None or member is None:
            return []
        self._putting, self._load_s, reported = True, now_s, self._record

        def put(answer: Answer, now_s: float) -> Sequence[Action]:
            self._putting = False
            if isinstance(answer, TransactionResult) and answer.ok:
                self._put_record = reported
            return ()

        key = member_key(self.name)
        operation = Put(key, write(reported), self.lease.id)
        return [self._asking.ask(Transaction((RevisionIs(key, member.revision),), (operation,)), put)]

    # -------------------------------------------------------------------------------------------------------- ids
    @property
    def is_taking_ids(self) -> bool:
        """Whether a block was asked for and has not come."""
        return self._taking_ids

    def take_ids(self) -> list[Action]:
        """Ask for another block of entity ids; :class:`Ids` follows, once for each ask that is not under way."""
        if self._taking_ids:
            return []
        self._taking_ids = True
        return [self._asking.ask(Read(IDS), self._ids_read)]

    def _ids_read(self, answer: Answer, now_s: float) -> Sequence[Action]:
        if isinstance(answer, Failed):
            self._taking_ids = False
            return ()
        assert answer is None or isinstance(answer, Record)
        first = 1 if answer is None else int(answer.value)
        compare = KeyAbsent(IDS) if answer is None else RevisionIs(IDS, answer.mod_revision)
        transaction = Transaction((compare,), (Put(IDS, str(first + ID_BLOCK).encode()),))

        def put(answer: Answer, now_s: float) -> Sequence[Action]:
            self._taking_ids = False
            # An unknown outcome wastes a block at worst: ids are never given twice.
            return (Ids(first, ID_BLOCK),) if isinstance(answer, TransactionResult) and answer.ok else ()

        return [self._asking.ask(transaction, put)]
