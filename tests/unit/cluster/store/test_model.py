"""StoreCore against a plain model of dictionaries, and its clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from cluster.store.contract import (
    TRANSACTION_ITEMS_MAX,
    Delete,
    DeletePrefix,
    KeyAbsent,
    Lease,
    LeaseLost,
    Operation,
    Put,
    Record,
    Relisted,
    RevisionIs,
    Transaction,
    ValueIs,
)
from cluster.store.model import StoreCore, WatchCursor

KEYS = st.sampled_from(["a", "a/", "a/1", "a/2", "b", "b/1"])
PREFIXES = st.sampled_from(["a", "a/", "b", "c"])
VALUES = st.binary(max_size=2)
HISTORY_MAX = 12


@dataclass
class Reader:
    """A cursor and the prefix as its owner was told it."""

    cursor: WatchCursor
    records: dict[str, Record] = field(default_factory=dict)
    revision: int = 0

    def read(self, core: StoreCore) -> None:
        for item in core.poll(self.cursor):
            if isinstance(item, Relisted):
                assert item.revision >= self.revision
                self.records = {record.key: record for record in item.records}
            else:
                assert item.revision > self.revision
                for change in item.changes:
                    if change.record is None:
                        del self.records[change.key]
                    else:
                        self.records[change.key] = change.record
            self.revision = item.revision


class CoreAgainstDictionaries(RuleBasedStateMachine):
    """Values and leases by key, ends by lease: the least that can be said about the store."""

    leases: "Bundle[Lease]" = Bundle("leases")
    readers: "Bundle[Reader]" = Bundle("readers")

    @initialize()
    def begin(self) -> None:
        self.core = StoreCore(history_max=HISTORY_MAX)
        self.now_s = 0.0
        self.values: dict[str, bytes] = {}
        self.key_lease: dict[str, int] = {}
        self.ends_s: dict[int, float] = {}
        self.mod_revision: dict[str, int] = {}
        self.all_readers: list[Reader] = []

    def drop(self, key: str) -> bool:
        self.key_lease.pop(key, None)
        self.mod_revision.pop(key, None)
        return self.values.pop(key, None) is not None

    def end(self, lease_id: int) -> None:
        del self.ends_s[lease_id]
        for key in [key for key, lease in self.key_lease.items() if lease == lease_id]:
            self.drop(key)

    def attempt(self, transaction: Transaction, expected: bool) -> None:
        """Carry it out in both."""
        operations = transaction.operations if expected else transaction.otherwise
        before = self.core.revision
        found = {key for key in transaction.compared_keys if key in self.values}
        if any(isinstance(one, Put) and one.lease is not None and one.lease not in self.ends_s for one in operations):
            with pytest.raises(LeaseLost):
                self.core.transact(transaction)
            assert self.core.revision == before
            return
        result = self.core.transact(transaction)
        assert result.ok is expected
        assert {record.key for record in result.found} == (set() if expected else found)
        changed = False
        for operation in operations:
            match operation:
                case Put(key, value, lease):
                    self.drop(key)
                    self.values[key] = value
                    self.mod_revision[key] = before + 1
                    if lease is not None:
                        self.key_lease[key] = lease
                    changed = True
                case Delete(key):
                    changed |= self.drop(key)
                case DeletePrefix(prefix):
                    for key in [key for key in self.values if key.startswith(prefix)]:
                        changed |= self.drop(key)
        assert result.revision == self.core.revision == before + changed

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: bytes) -> None:
        self.attempt(Transaction(operations=(Put(key, value),)), True)

    @rule(key=KEYS, value=VALUES, lease=leases)
    def put_with_lease(self, key: str, value: bytes, lease: Lease) -> None:
        self.attempt(Transaction(operations=(Delete(f"{key}x"), Put(key, value, lease.id))), True)

    @rule(key=KEYS, prefix=PREFIXES)
    def delete(self, key: str, prefix: str) -> None:
        self.attempt(Transaction(operations=(Delete(key), DeletePrefix(prefix))), True)

    @rule(key=KEYS, value=VALUES, guess=VALUES, otherwise=st.booleans())
    def compare_value(self, key: str, value: bytes, guess: bytes, otherwise: bool) -> None:
        instead: tuple[Operation, ...] = (Put("b", b"else"),) if otherwise else ()
        self.attempt(Transaction((ValueIs(key, guess),), (Put(key, value),), instead), self.values.get(key) == guess)

    @rule(key=KEYS, other=KEYS, stale=st.integers(0, 2))
    def compare_revision(self, key: str, other: str, stale: int) -> None:
        revision = max(self.mod_revision.get(key, 1) - stale, 1)
        holds = self.mod_revision.get(key) == revision and other not in self.values
        self.attempt(Transaction((RevisionIs(key, revision), KeyAbsent(other)), (Put(other, b""),)), holds)

    @rule(target=leases, ttl_s=st.integers(1, 5))
    def grant(self, ttl_s: int) -> Lease:
        lease = self.core.grant(ttl_s, self.now_s)
        assert lease.id not in self.ends_s
        assert lease.sent_s == self.now_s
        self.ends_s[lease.id] = self.now_s + ttl_s
        return lease

    @rule(target=leases, lease=consumes(leases))
    def keep_alive(self, lease: Lease) -> Lease | MultipleResults[Lease]:
        if lease.id not in self.ends_s:
            with pytest.raises(LeaseLost):
                self.core.keep_alive(lease.id, self.now_s)
            return multiple()
        self.ends_s[lease.id] = self.now_s + lease.ttl_s
        return self.core.keep_alive(lease.id, self.now_s)

    @rule(lease=leases)
    def revoke(self, lease: Lease) -> None:
        self.core.revoke(lease.id)
        if lease.id in self.ends_s:
            self.end(lease.id)

    @rule(seconds=st.floats(-2.0, 4.0))
    def time_goes_on(self, seconds: float) -> None:
        """Backwards too: a clock that jumps back ends nothing and prolongs nothing."""
        self.now_s = max(self.now_s, self.now_s + seconds)
        over = {lease for lease, end_s in self.ends_s.items() if end_s <= self.now_s}
        assert set(self.core.advance(self.now_s + min(seconds, 0.0))) == over
        for lease in over:
            self.end(lease)
        assert self.core.next_end_s() == min(self.ends_s.values(), default=None)

    @rule(target=readers, prefix=PREFIXES)
    def watch(self, prefix: str) -> Reader:
        reader = Reader(self.core.watch(prefix))
        self.all_readers.append(reader)
        return reader

    @rule(reader=readers)
    def read(self, reader: Reader) -> None:
        reader.read(self.core)
        assert reader.records.keys() == {key for key in self.values if key.startswith(reader.cursor.prefix)}

    @rule(reader=readers)
    def resume(self, reader: Reader) -> None:
        """A new cursor that goes on where the old one was."""
        if reader.revision:
            reader.cursor = self.core.watch(reader.cursor.prefix, reader.revision + 1)

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        self.core.compact(self.core.revision - back)

    @invariant()
    def agree(self) -> None:
        listing = self.core.list("")
        assert {record.key: record.value for record in listing.records} == self.values
        assert {record.key: record.mod_revision for record in listing.records} == self.mod_revision
        assert {record.key: record.lease for record in listing.records if record.lease} == self.key_lease
        assert all(a.key < b.key for a, b in pairwise(listing.records))

    def teardown(self) -> None:
        for reader in self.all_readers:
            reader.read(self.core)
            below = self.core.list(reader.cursor.prefix).records
            assert {record.key: record for record in below} == reader.records


TestCore = CoreAgainstDictionaries.TestCase
TestCore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_after_an_absence_leases_get_their_full_time() -> None:
    core = StoreCore()
    lease = core.grant(3, 0.0)
    core.transact(Transaction(operations=(Put("a", b"", lease.id),)))
    core.resume(100.0)
    assert core.advance(102.9) == ()
    assert core.get("a") is not None
    assert core.advance(103.0) == (lease.id,)
    assert core.get("a") is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Transaction(operations=(Put("a", b""), Put("a", b""))), "put twice"),
        (lambda: Transaction(operations=(Put("a", b""), Delete("a"))), "both put and deleted"),
        (lambda: Transaction(otherwise=(DeletePrefix("a"), Put("ab", b""))), "deletes the prefix"),
        (lambda: Transaction(operations=(DeletePrefix(""),)), "1 to 512 bytes"),
        (lambda: Transaction(otherwise=(Put("k" * 513, b""),)), "1 to 512 bytes"),
        (lambda: Transaction((RevisionIs("a", 0),)), "KeyAbsent asks for absence"),
        (lambda: Transaction(operations=many_puts(TRANSACTION_ITEMS_MAX + 1)), "split it"),
        (lambda: Transaction((KeyAbsent("a"),), otherwise=many_puts(TRANSACTION_ITEMS_MAX)), "split it"),
        (lambda: Transaction(operations=(Put("a", bytes(1 << 20)),)), "split it"),
    ],
)
def test_transactions_that_no_store_would_take(make: Callable[[], Transaction], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def many_puts(count: int) -> tuple[Put, ...]:
    return tuple(Put(str(n), b"") for n in range(count))
