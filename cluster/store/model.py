"""The store's meaning without any I/O: the map, its history, its leases, as a state machine that is told the time.

The simulator uses it directly: operations in, results and changes out; a watch is a cursor that its owner polls.
``memory.MemoryStore`` puts an event loop around it.

Invariants: revisions count up by one per writing transaction and ``_history`` has each of them from ``_oldest`` to
``revision``; every key of ``_lease_keys`` exists and names that lease. Time never runs backwards in here: an earlier
``now_s`` than before changes nothing.

Not responsible for: whether an answer reaches anybody.
"""

from dataclasses import dataclass

from cluster.store.contract import (
    Change,
    Compare,
    Delete,
    DeletePrefix,
    KeyAbsent,
    Lease,
    LeaseLost,
    Listing,
    Operation,
    Put,
    Record,
    Relisted,
    RevisionIs,
    Transaction,
    TransactionResult,
    ValueIs,
    WatchBatch,
    WatchItem,
    check_from_revision,
    check_key,
    check_ttl,
)

HISTORY_MAX = 10_000
"""Revisions that are kept for watches that are behind; one further behind gets ``Relisted``."""


@dataclass(slots=True)
class WatchCursor:
    """How far one watch has been told. Its owner keeps it; the core holds no reference to it."""

    prefix: str
    next_revision: int | None
    """None: the next thing to tell is the whole prefix."""


@dataclass(slots=True)
class _LeaseState:
    ttl_s: int
    ends_s: float
    keys: set[str]


class StoreCore:
    """The coordination store as a pure state machine. ``now_s`` is monotonic seconds from any origin."""

    def __init__(self, *, history_max: int = HISTORY_MAX) -> None:
        self.revision = 1
        """An empty store begins at 1, as etcd does."""
        self._records: dict[str, Record] = {}
        self._leases: dict[int, _LeaseState] = {}
        self._leases_made = 0
        self._history: dict[int, tuple[Change, ...]] = {}
        self._oldest = 2
        self._history_max = history_max
        self._now_s = float("-inf")

    # ---------------------------------------------------------------------------------------------------- the map

    def get(self, key: str) -> Record | None:
        """The record, or None."""
        check_key(key)
        return self._records.get(key)

    def list(self, prefix: str) -> Listing:
        """All records below the prefix, sorted by key."""
        below = sorted(key for key in self._records if key.startswith(prefix))
        return Listing(tuple(self._records[key] for key in below), self.revision)

    def transact(self, transaction: Transaction) -> TransactionResult:
        """Carry it out. Raises LeaseLost, then nothing was done."""
        ok = all(self._holds(compare) for compare in transaction.compares)
        found = () if ok else tuple(self._records[key] for key in transaction.compared_keys if key in self._records)
        operations = transaction.operations if ok else transaction.otherwise
        for operation in operations:
            if isinstance(operation, Put) and operation.lease is not None and operation.lease not in self._leases:
                raise LeaseLost(operation.lease)
        self._commit(tuple(change for operation in operations for change in self._apply(operation)))
        return TransactionResult(ok, self.revision, found)

    def _holds(self, compare: Compare) -> bool:
        record = self._records.get(compare.key)
        match compare:
            case KeyAbsent():
                return record is None
            case RevisionIs(_, mod_revision):
                return record is not None and record.mod_revision == mod_revision
            case ValueIs(_, value):
                return record is not None and record.value == value

    def _apply(self, operation: Operation) -> tuple[Change, ...]:
        match operation:
            case Put(key, value, lease):
                return (self._put(key, value, lease),)
            case Delete(key):
                return (self._remove(key),) if key in self._records else ()
            case DeletePrefix(prefix):
                return tuple(self._remove(record.key) for record in self.list(prefix).records)

    def _put(self, key: str, value: bytes, lease: int | None) -> Change:
        before = self._records.get(key)
        revision = self.revision + 1
        record = Record(key, value, before.create_revision if before else revision, revision, lease)
        if before is not None and before.lease is not None:
            self._leases[before.lease].keys.discard(key)
        if lease is not None:
            self._leases[lease].keys.add(key)
        self._records[key] = record
        return Change(key, record)

    def _remove(self, key: str) -> Change:
        record = self._records.pop(key)
        if record.lease is not None:
            self._leases[record.lease].keys.discard(key)
        return Change(key, None)

    def _commit(self, changes: tuple[Change, ...]) -> None:
        if not changes:
            return
        self.revision += 1
        self._history[self.revision] = changes
        self.compact(self.revision - self._history_max + 1)

    # --------------------------------------------------------------------------------------------------- the leases

    def grant(self, ttl_s: int, now_s: float) -> Lease:
        """A new lease that ends ``ttl_s`` after ``now_s``."""
        check_ttl(ttl_s)
        self.advance(now_s)
        self._leases_made += 1
        self._leases[self._leases_made] = _LeaseState(ttl_s, self._now_s + ttl_s, set())
        return Lease(self._leases_made, ttl_s, now_s)

    def keep_alive(self, lease_id: int, now_s: float) -> Lease:
        """Begin its time anew. Raises LeaseLost."""
        self.advance(now_s)
        state = self._leases.get(lease_id)
        if state is None:
            raise LeaseLost(lease_id)
        state.ends_s = self._now_s + state.ttl_s
        return Lease(lease_id, state.ttl_s, now_s)

    def revoke(self, lease_id: int) -> None:
        """End it now, with its records; nothing happens if it is over."""
        state = self._leases.get(lease_id)
        if state is None:
            return
        changes = tuple(self._remove(key) for key in sorted(state.keys))
        del self._leases[lease_id]
        self._commit(changes)

    def advance(self, now_s: float) -> tuple[int, ...]:
        """It is ``now_s``: end the leases whose time is over, and say which."""
        self._now_s = max(self._now_s, now_s)
        over = [lease_id for lease_id, state in self._leases.items() if state.ends_s <= self._now_s]
        for lease_id in over:
            self.revoke(lease_id)
        return tuple(over)

    def resume(self, now_s: float) -> None:
        """The store was away until ``now_s`` and is back: all leases get their full time, as under a new etcd leader.

        Who was cut off from it meanwhile can thus take its lease up again.
        """
        self._now_s = max(self._now_s, now_s)
        for state in self._leases.values():
            state.ends_s = self._now_s + state.ttl_s

    def next_end_s(self) -> float | None:
        """When the next lease ends if nobody keeps it alive."""
        return min((state.ends_s for state in self._leases.values()), default=None)

    # -------------------------------------------------------------------------------------------------- the watches

    def watch(self, prefix: str, from_revision: int | None = None) -> WatchCursor:
        """A cursor for :meth:`poll`: the whole prefix first, or the changes from a revision on."""
        check_from_revision(from_revision)
        return WatchCursor(prefix, from_revision)

    def poll(self, cursor: WatchCursor) -> tuple[WatchItem, ...]:
        """What the cursor has not been told yet, and move it on."""
        first = cursor.next_revision
        cursor.next_revision = self.revision + 1
        if first is None or first < self._oldest or first > self.revision + 1:
            listing = self.list(cursor.prefix)
            return (Relisted(listing.revision, listing.records),)
        batches: list[WatchItem] = []
        for revision in range(first, self.revision + 1):
            changes = tuple(change for change in self._history[revision] if change.key.startswith(cursor.prefix))
            if changes:
                batches.append(WatchBatch(revision, changes))
        return tuple(batches)

    def compact(self, revision: int) -> None:
        """Forget the history before ``revision``; watches that have not been told it get ``Relisted``."""
        for old in range(self._oldest, min(revision, self.revision + 1)):
            del self._history[old]
            self._oldest = old + 1
