"""What the cluster asks of its coordination store: an ordered map with revisions, transactions, leases, watches.

The words and their meaning follow etcd v3, because that is what runs beyond one process; a store in memory means the
same. Decided here: the data that goes in and comes out, its limits, and which exception says what.

Invariants that every store keeps (tests/unit/cluster/store/contract_cases.py asks each of them):

* A *revision* counts the store's writing transactions. A transaction that changes nothing leaves it alone; one that
  changes many keys raises it by one. Reads are linearizable: they see every transaction that was answered before.
* A transaction happens as a whole or not at all.
* A record put with a lease lives as long as the lease; the end of a lease deletes its records in one transaction.
* A watch yields every change exactly once, in order, one batch per revision, or says ``Relisted`` and begins anew.

Not responsible for: what the records mean (the rest of ``cluster``), durable state of the world.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

KEY_BYTES_MAX = 512
TRANSACTION_BYTES_MAX = 1 << 20
"""Sum of all keys and values of a transaction; etcd refuses requests above 1.5 MiB (``--max-request-bytes``)."""
TRANSACTION_ITEMS_MAX = 128
"""Of each: compares, operations, and compared keys plus ``otherwise`` (etcd's ``--max-txn-ops``)."""
LEASE_TTL_S_MAX = 86_400


# ------------------------------------------------------------------------------------------------------------ errors


class StoreError(Exception):
    """Base of all that a store raises, besides ValueError for arguments that are wrong in themselves."""


class StoreUnavailable(StoreError):
    """No answer in time; asking again later is reasonable.

    ``unknown`` is true if the request may have been carried out all the same: a transaction's caller then has to
    read before it decides anything. It is false if the request certainly did nothing.
    """

    def __init__(self, text: str, *, unknown: bool = False) -> None:
        super().__init__(text)
        self.unknown = unknown


class LeaseLost(StoreError):
    """The store does not know this lease: it ended or was revoked, and its records are gone."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(f"lease {lease_id:x} is not known to the store (any more)")
        self.lease_id = lease_id


class StoreRefused(StoreError):
    """The store answered that it will not: rights, password, limits, configuration. The text says what to do."""


class StoreClosed(StoreError):
    """The store was closed by its owner."""

    def __init__(self) -> None:
        super().__init__("the store is closed")


# -------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class Record:
    """One key as it stands. Revisions: of the transaction that made the key, and of the one that put it last."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int | None = None
    """Id of the lease it lives by."""


@dataclass(frozen=True, slots=True)
class KeyAbsent:
    """True if the key does not exist."""

    key: str


@dataclass(frozen=True, slots=True)
class RevisionIs:
    """True if the key exists and was last put at ``mod_revision``."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class ValueIs:
    """True if the key exists and has this value."""

    key: str
    value: bytes


Compare = KeyAbsent | RevisionIs | ValueIs


@dataclass(frozen=True, slots=True)
class Put:
    """Set the key. Without a lease it is bound to none, also if it was before."""

    key: str
    value: bytes
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the key; nothing happens if it does not exist."""

    key: str


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    """Remove all keys that begin with ``prefix`` (not empty)."""

    prefix: str


Operation = Put | Delete | DeletePrefix


@dataclass(frozen=True, slots=True)
class Transaction:
    """``operations`` if all ``compares`` hold, else ``otherwise``. No compares: always ``operations``.

    In one list a key is put at most once, and not deleted as well. Raises ValueError for that and beyond the limits.
    """

    compares: tuple[Compare, ...] = ()
    operations: tuple[Operation, ...] = ()
    otherwise: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what a store would refuse, before anything travels."""
        _check_items("compares", len(self.compares))
        _check_items("operations", len(self.operations))
        _check_items("compared keys and otherwise", len(self.compared_keys) + len(self.otherwise))
        size_bytes = sum(check_key(compare.key) for compare in self.compares)
        for compare in self.compares:
            if isinstance(compare, RevisionIs) and compare.mod_revision <= 0:
                raise ValueError(f"RevisionIs({compare.key!r}): revisions begin with 1; KeyAbsent asks for absence")
            size_bytes += len(compare.value) if isinstance(compare, ValueIs) else 0
        size_bytes += _check_operations(self.operations) + _check_operations(self.otherwise)
        if size_bytes > TRANSACTION_BYTES_MAX:
            raise ValueError(f"a transaction of {size_bytes} bytes; {TRANSACTION_BYTES_MAX} are the most: split it")

    @property
    def compared_keys(self) -> tuple[str, ...]:
        """The keys of ``compares``, each once, in order."""
        return tuple(dict.fromkeys(compare.key for compare in self.compares))


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What became of a transaction.

    ``revision`` is the store's after it. If ``ok`` is false, ``found`` holds the compared keys that exist, as the
    comparison saw them (before ``otherwise``), so that nobody has to read again; otherwise it is empty.
    """

    ok: bool
    revision: int
    found: tuple[Record, ...] = ()

    def current(self, key: str) -> Record | None:
        """The compared key as it was found, or None if it did not exist."""
        return next((record for record in self.found if record.key == key), None)


@dataclass(frozen=True, slots=True)
class Lease:
    """A right that ends by itself.

    ``sent_s`` is the holder's own monotonic clock when it sent the request that was answered; the store began to
    count ``ttl_s`` after that, so a holder that stops at ``ends_s`` stops before the store gives its keys away.
    """

    id: int
    ttl_s: int
    sent_s: float

    @property
    def ends_s(self) -> float:
        """When the holder has to regard the lease as over, on its own clock."""
        return self.sent_s + self.ttl_s


class Listing(NamedTuple):
    """The records of a prefix, sorted by key, and the store's revision at which they were read."""

    records: tuple[Record, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """A key was put (``record``) or removed (None)."""

    key: str
    record: Record | None


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """What the transaction with this revision did to the watched prefix: at least one change, each key once."""

    revision: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Relisted:
    """Forget what was known of the prefix: these are its records, sorted by key, at this revision."""

    revision: int
    records: tuple[Record, ...]


WatchItem = WatchBatch | Relisted


# --------------------------------------------------------------------------------------------------------- interface


class Store(Protocol):
    """One client of the store. Every call may raise StoreUnavailable, StoreRefused and StoreClosed."""

    async def get(self, key: str) -> Record | None:
        """The record, or None."""

    async def list(self, prefix: str) -> Listing:
        """All records whose keys begin with ``prefix`` ("" for all), at one revision."""

    async def transact(self, transaction: Transaction) -> TransactionResult:
        """Carry it out. Raises LeaseLost if a put names a lease that is not known (nothing was done then)."""

    async def grant(self, ttl_s: int) -> Lease:
        """A new lease; the store may make it longer than asked (etcd: at least 1.5 election timeouts)."""

    async def keep_alive(self, lease: Lease) -> Lease:
        """Begin the lease's time anew; the answer counts from its own sending. Raises LeaseLost."""

    async def revoke(self, lease_id: int) -> None:
        """End the lease and delete its records now, whoever holds it. A lease that is over already is no error."""

    def watch(self, prefix: str, from_revision: int | None = None) -> AsyncGenerator[WatchItem, None]:
        """Follow a prefix: ``Relisted`` first, then a batch for each revision that touched it.

        With ``from_revision`` it begins with the batches from that revision on, or with ``Relisted`` if the store
        does not have them any more (or never had). While the store is away it waits and tries again; what it yields
        then goes on without gap or repetition, or begins anew with ``Relisted``. Ends when the store is closed;
        raises StoreRefused. Leave it with ``contextlib.aclosing``.
        """

    async def close(self) -> None:
        """End all watches and let go of all connections. Leases go on until they end or are revoked."""


# ------------------------------------------------------------------------------------------------------------ checks


def check_key(key: str) -> int:
    """Bytes of the key. Raises ValueError if it is empty, too long or no valid Unicode."""
    size_bytes = len(key.encode())
    if not 0 < size_bytes <= KEY_BYTES_MAX:
        raise ValueError(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {size_bytes}: {key[:40]!r}")
    return size_bytes


def check_ttl(ttl_s: int) -> None:
    """Raises ValueError unless it is a whole number of seconds in range."""
    if not 1 <= ttl_s <= LEASE_TTL_S_MAX:
        raise ValueError(f"a lease lasts 1 to {LEASE_TTL_S_MAX} s, not {ttl_s}")


def check_from_revision(from_revision: int | None) -> None:
    """Raises ValueError unless a watch can begin there."""
    if from_revision is not None and from_revision < 1:
        raise ValueError(f"revisions begin with 1; a watch cannot begin at {from_revision}")


def _check_items(what: str, count: int) -> None:
    if count > TRANSACTION_ITEMS_MAX:
        raise ValueError(f"a transaction with {count} {what}; {TRANSACTION_ITEMS_MAX} are the most: split it")


def _check_operations(operations: tuple[Operation, ...]) -> int:
    size_bytes = 0
    put: set[str] = set()
    for operation in operations:
        size_bytes += check_key(operation.prefix if isinstance(operation, DeletePrefix) else operation.key)
        if isinstance(operation, Put):
            size_bytes += len(operation.value)
            if operation.key in put:
                raise ValueError(f"{operation.key!r} is put twice in one transaction")
            put.add(operation.key)
    for operation in operations:
        match operation:
            case Delete(key) if key in put:
                raise ValueError(f"{key!r} is both put and deleted in one transaction")
            case DeletePrefix(prefix) if any(key.startswith(prefix) for key in put):
                raise ValueError(f"a key below {prefix!r} is put in the transaction that deletes the prefix")
            case _:
                pass
    return size_bytes
