"""The store of one process: an event loop around ``model.StoreCore``.

The clock is given (monotonic seconds); it defaults to the event loop's. Whoever turns a clock by hand calls
:meth:`MemoryStore.tick` afterwards. All users in a process share one object.

Not responsible for: what transactions mean (``model``), surviving the process.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from cluster.store.contract import (
    Lease,
    Listing,
    Record,
    StoreClosed,
    Transaction,
    TransactionResult,
    WatchItem,
)
from cluster.store.model import StoreCore, WatchCursor


class MemoryStore:
    """A ``contract.Store`` within one process."""

    def __init__(self, *, clock: Callable[[], float] | None = None, core: StoreCore | None = None) -> None:
        """To be made inside a running event loop. ``core`` may hold records already."""
        self._core = core or StoreCore()
        self._clock = clock or asyncio.get_running_loop().time
        self._news = asyncio.Event()
        self._closed = False

    async def get(self, key: str) -> Record | None:
        """See ``contract.Store``."""
        return self._now().get(key)

    async def list(self, prefix: str) -> Listing:
        """See ``contract.Store``."""
        return self._now().list(prefix)

    async def transact(self, transaction: Transaction) -> TransactionResult:
        """See ``contract.Store``."""
        result = self._now().transact(transaction)
        self._wake()
        return result

    async def grant(self, ttl_s: int) -> Lease:
        """See ``contract.Store``."""
        lease = self._now().grant(ttl_s, self._clock())
        self._wake()  # watches wait for the end of the next lease
        return lease

    async def keep_alive(self, lease: Lease) -> Lease:
        """See ``contract.Store``."""
        return self._now().keep_alive(lease.id, self._clock())

    async def revoke(self, lease_id: int) -> None:
        """See ``contract.Store``."""
        self._now().revoke(lease_id)
        self._wake()

    def watch(self, prefix: str, from_revision: int | None = None) -> AsyncGenerator[WatchItem, None]:
        """See ``contract.Store``. One that is read slowly costs no memory: what it misses becomes ``Relisted``."""
        return self._follow(self._core.watch(prefix, from_revision))

    async def close(self) -> None:
        """See ``contract.Store``."""
        self._closed = True
        self._wake()

    def tick(self) -> None:
        """The clock has been turned: end the leases whose time is over and tell the watches."""
        self._now()

    def _now(self) -> StoreCore:
        """The core, told what time it is."""
        if self._closed:
            raise StoreClosed
        if self._core.advance(self._clock()):
            self._wake()
        return self._core

    def _wake(self) -> None:
        """Wake all who wait for news now; who waits later waits for the next ones."""
        self._news.set()
        self._news = asyncio.Event()

    async def _follow(self, cursor: WatchCursor) -> AsyncGenerator[WatchItem, None]:
        while not self._closed:
            items = self._now().poll(cursor)
            for item in items:
                yield item
            if items:
                continue  # the reader may have taken its time
            end_s = self._core.next_end_s()
            delay_s = None if end_s is None else max(end_s - self._clock(), 0.0)
            try:
                async with asyncio.timeout(delay_s):
                    await self._news.wait()
            except TimeoutError:
                pass  # a lease may have ended: the next turn finds out
