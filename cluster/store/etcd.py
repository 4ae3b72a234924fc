"""The store beyond one process: ``contract.Store`` over etcd v3, through its JSON gateway (docs/adr/0008).

Two promises that matter most: a transaction whose answer was lost is not repeated (``StoreUnavailable.unknown``), and
a lease counts from the sending of the request that was answered.

Not responsible for: HTTP, endpoints, tokens (``etcd_http``), the wire (``etcd_wire``), resuming (``etcd_watch``).
"""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import msgspec

from cluster.store import etcd_wire as wire
from cluster.store.contract import (
    Lease,
    LeaseLost,
    Listing,
    Put,
    Record,
    Relisted,
    StoreUnavailable,
    Transaction,
    TransactionResult,
    WatchItem,
    check_from_revision,
    check_key,
    check_ttl,
)
from cluster.store.etcd_config import EtcdConfig
from cluster.store.etcd_http import Answer, EtcdHttp
from cluster.store.etcd_watch import Relist, WatchState, follow, to_record
from cluster.store.etcd_wire import EtcdProblem, ProblemKind

PAGE_RECORDS = 1_000
RELISTS_MAX = 3
"""Times a listing begins anew because compaction overtook it between two pages."""


_T = TypeVar("_T")


class EtcdStore:
    """A client of an etcd cluster."""

    def __init__(self, config: EtcdConfig, *, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        """To be made inside a running event loop; connects when first asked.

        ``clock``: monotonic seconds, the one that ``Lease.sent_s`` is told in. ``jitter``: uniform in [0, 1). Raises
        ValueError for files of the configuration that cannot be used.
        """
        self._config = config
        self._namespace = config.namespace.encode()
        self._http = EtcdHttp(config, clock=clock, jitter=jitter)

    async def get(self, key: str) -> Record | None:
        """See ``contract.Store``."""
        check_key(key)
        answer = await self._http.call("/v3/kv/range", wire.encode_range(self._namespace + key.encode()))
        kvs = _decode(wire.RANGE, answer).kvs
        return self._record(kvs[0]) if kvs else None

    async def list(self, prefix: str) -> Listing:
        """See ``contract.Store``. Large prefixes are read in pages, all at one revision."""
        relist = await self._relist(prefix)
        return Listing(relist.item.records, relist.item.revision)

    async def transact(self, transaction: Transaction) -> TransactionResult:
        """See ``contract.Store``."""
        reads = transaction.compared_keys
        body = wire.encode_transaction(self._namespace, transaction)
        try:
            answer = await self._http.call("/v3/kv/txn", body, repeatable=False)
        except EtcdProblem as error:
            raise LeaseLost(_lease_of(transaction)) from error
        result = _decode(wire.TRANSACTION, answer, unknown=True)
        found = () if result.succeeded else result.responses[: len(reads)]
        records = (kv for one in found if one.response_range for kv in one.response_range.kvs)
        return TransactionResult(result.succeeded, result.header.revision, tuple(map(self._record, records)))

    async def grant(self, ttl_s: int) -> Lease:
        """See ``contract.Store``. Repeated if its answer is lost: a lease that nobody knows ends by itself."""
        check_ttl(ttl_s)
        answer = await self._http.call("/v3/lease/grant", wire.encode_grant(ttl_s))
        lease = _decode(wire.LEASE, answer)
        return Lease(lease.id, lease.ttl_s, answer.sent_s)

    async def keep_alive(self, lease: Lease) -> Lease:
        """See ``contract.Store``."""
        answer = await self._http.call("/v3/lease/keepalive", wire.encode_lease(lease.id))
        line = _decode(wire.KEEP_ALIVE, answer)
        if line.error is not None:
            raise StoreUnavailable(f"etcd did not keep the lease alive: {line.error.message}")
        if line.result is None or line.result.ttl_s <= 0:
            raise LeaseLost(lease.id)
        return Lease(lease.id, line.result.ttl_s, answer.sent_s)

    async def revoke(self, lease_id: int) -> None:
        """See ``contract.Store``."""
        try:
            await self._http.call("/v3/lease/revoke", wire.encode_lease(lease_id))
        except EtcdProblem:
            return  # not known (any more): what was wanted

    def watch(self, prefix: str, from_revision: int | None = None) -> AsyncGenerator[WatchItem, None]:
        """See ``contract.Store``."""
        check_from_revision(from_revision)
        below = self._namespace + prefix.encode()
        state = WatchState(self._namespace, below, from_revision)
        probe = wire.encode_range(below, limit=1)
        return follow(self._http, state, lambda: self._relist(prefix), probe, self._config.watch_probe_s)

    async def close(self) -> None:
        """See ``contract.Store``."""
        await self._http.close()

    async def _relist(self, prefix: str) -> Relist:
        for _ in range(RELISTS_MAX):
            try:
                return await self._read_pages(self._namespace + prefix.encode())
            except EtcdProblem as error:
                if error.kind is not ProblemKind.COMPACTED:
                    raise
        raise StoreUnavailable(f"compaction overtook the listing of {prefix!r} {RELISTS_MAX} times")

    async def _read_pages(self, start: bytes) -> Relist:
        end = wire.prefix_end(start)
        records: list[Record] = []
        revision = cluster_id = 0
        while True:
            body = wire.encode_range(start, end, limit=PAGE_RECORDS, revision=revision)
            page = _decode(wire.RANGE, await self._http.call("/v3/kv/range", body))
            records.extend(map(self._record, page.kvs))
            revision = revision or page.header.revision
            cluster_id = cluster_id or page.header.cluster_id
            if not page.more:
                return Relist(Relisted(revision, tuple(records)), cluster_id)
            start = page.kvs[-1].key + b"\0"

    def _record(self, kv: wire.KeyValue) -> Record:
        return to_record(kv, len(self._namespace))


def _decode(decoder: msgspec.json.Decoder[_T], answer: Answer, *, unknown: bool = False) -> _T:
    """A typed answer; StoreUnavailable if something else than etcd answered."""
    try:
        return wire.decode(decoder, answer.body)
    except EtcdProblem as error:
        raise StoreUnavailable(error.problem.text, unknown=unknown) from error


def _lease_of(transaction: Transaction) -> int:
    """The lease that etcd did not find: it does not say which; transactions name one, if any."""
    operations = transaction.operations + transaction.otherwise
    return next(one.lease for one in operations if isinstance(one, Put) and one.lease is not None)
