"""Where operators' orders (``cluster.orders``) are kept: in the coordination store of a cluster, which tells all
gateways, or in a file beside the world of one process.

Invariant: an order counts here when whoever keeps it has it, and standing ones are there again after a restart. Not
responsible for: carrying them out (``server``).
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from cluster.book import Book
from cluster.orders import (
    PASSING_S,
    STANDING_MAX,
    Ban,
    Mute,
    Order,
    Orders,
    ProfileChange,
    Standing,
    order_key,
    write_order,
)
from cluster.store.contract import Delete, Put, Store, Transaction
from server.session.moderation import is_over

CLEARED_MAX = 64
"""Orders whose time is over that go with a new one."""


class OrdersUnusable(Exception):
    """Orders cannot be read or kept; the text says why."""


class Keeper(Protocol):
    """Whoever keeps orders."""

    @property
    def orders(self) -> Orders:
        """All that are known now."""

    async def give(self, order: Order) -> None:
        """Keep an order. Raises OrdersUnusable, StoreError."""

    async def take_back(self, key: str) -> bool:
        """An order counts no more; False if there is none with this key. Raises OrdersUnusable, StoreError."""


def _room_for(order: Order, orders: Orders) -> None:
    if isinstance(order, Standing) and order_key(order) not in orders and len(orders) >= STANDING_MAX:
        raise OrdersUnusable(f"{len(orders)} orders stand already, more are not kept: take some back")


def _is_over(order: Order) -> bool:
    return isinstance(order, Ban | Mute) and is_over(order, time.time())


class StoreKeeper:
    """Of a cluster: ``book`` is what its watch tells."""

    def __init__(self, store: Store, book: Callable[[], Book]) -> None:
        self._store, self._book = store, book

    @property
    def orders(self) -> Orders:
        """All that are known now."""
        return self._book().orders

    async def give(self, order: Order) -> None:
        """Keep an order. Those whose time is over go with it."""
        _room_for(order, self.orders)
        lease = None if isinstance(order, Standing) else (await self._store.grant(PASSING_S)).id
        over = [key for key, known in self.orders.items() if _is_over(known) and key != order_key(order)]
        deletes = (Delete(key) for key in over[:CLEARED_MAX])
        await self._store.transact(Transaction((), (Put(order_key(order), write_order(order), lease), *deletes)))

    async def take_back(self, key: str) -> bool:
        """An order counts no more."""
        there = key in self.orders
        await self._store.transact(Transaction((), (Delete(key),)))
        return there


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    orders: list[Ban | Mute | ProfileChange]


class FileKeeper:
    """Of a world of one process. ``obey`` is told all orders whenever they change, and once at the beginning."""

    def __init__(self, path: Path | None, obey: Callable[[Orders], None]) -> None:
        """``path`` None: nothing outlives the process. Raises OrdersUnusable."""
        self._path, self._obey = path, obey
        kept: list[Ban | Mute | ProfileChange] = []
        try:
            if path is not None and path.exists():
                kept = msgspec.json.decode(path.read_bytes(), type=_Kept).orders
        except (OSError, msgspec.MsgspecError, ValueError) as problem:
            raise OrdersUnusable(
                f"{path}, which keeps bans and what else operators ordered, cannot be read: {problem}. Mend it, or "
                "move it away to begin without any"
            ) from problem
        self._orders: dict[str, Order] = {order_key(order): order for order in kept}
        self._lock = asyncio.Lock()
        obey(self._orders)

    @property
    def orders(self) -> Orders:
        """All that are known now."""
        return self._orders

    async def give(self, order: Order) -> None:
        """Keep an order, if it stands."""
        _room_for(order, self._orders)
        if isinstance(order, Standing):
            async with self._lock:
                await self._replace({**self._orders, order_key(order): order})
        else:
            self._obey({**self._orders, order_key(order): order})
            self._obey(self._orders)

    async def take_back(self, key: str) -> bool:
        """An order counts no more."""
        async with self._lock:
            if key not in self._orders:
                return False
            await self._replace({known: order for known, order in self._orders.items() if known != key})
        return True

    async def _replace(self, orders: dict[str, Order]) -> None:
        orders = {key: order for key, order in orders.items() if not _is_over(order)}
        kept = _Kept([order for order in orders.values() if isinstance(order, Standing)])
        try:
            if self._path is not None:
                data = msgspec.json.format(msgspec.json.encode(kept))
                await asyncio.to_thread(_write_whole, self._path, data)
        except OSError as problem:
            raise OrdersUnusable(f"{self._path} cannot be written: {problem}") from problem
        self._orders = orders
        self._obey(orders)


def _write_whole(path: Path, data: bytes) -> None:
    """The file has the old content or the new one, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(file, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
