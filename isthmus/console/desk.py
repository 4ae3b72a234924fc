"""The operators' desk of a gateway: shows what the process knows, begins what is asked, samples the last hour.

Decides how often anything is computed: the map once a second however many operators look, a sample each EVERY_S, and
nothing while nobody asks. Invariant: an act begins when its *asked* entry is on the disk, and its end is written, too.
Not responsible for: HTTP (``server.http.operators``), what an act does (``acting``).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import structlog

from cluster.book import Book
from cluster.moves import Moves
from cluster.orders import Ban, Mute, ProfileChange
from cluster.store.contract import StoreError
from isthmus.clients import Clients
from isthmus.console.acting import Acting
from isthmus.console.keeping import OrdersUnusable
from isthmus.console.log import LogUnusable, OperatorLog
from isthmus.fleet.rates import Rates
from isthmus.operate import NotDone
from isthmus.status import Running
from server.console.access import Operator
from server.console.atlas import Window, atlas, cells
from server.console.audit import ASKED, DONE, FAILED, Entry
from server.console.history import EVERY_S, History
from server.console.people import people
from server.console.requests import Request, as_written
from server.core.explain import explain
from server.http.operators import Busy, Unwritten

_log = structlog.get_logger(__name__)
FRESH_S = 0.9
"""The page asks once a second."""
WINDOWS_MAX = 8
"""Windows whose heat is kept for FRESH_S."""
ACTING_MAX = 16
"""Acts at once."""
LOG_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a desk knows of its process. ``name``: the member's; ``side_m``: of the world's square; ``gateway_name``:
    the member's name of a gateway's number."""

    name: str
    side_m: float
    rate_hz: int
    book: Callable[[], Book]
    moves: Moves
    gateway_name: Callable[[int], str | None]


class Desk:
    """Of one gateway. ``begin`` in a running event loop, ``close`` at the end."""

    def __init__(
        self, around: Surroundings, clients: Clients, running: Running, acting: Acting, log: OperatorLog, world: str
    ) -> None:
        self._around, self._clients, self._running = around, clients, running
        self._acting, self._log, self._world = acting, log, world
        self._history = History()
        self._rates = Rates()
        self._acts: set[asyncio.Task[None]] = set()
        self._sampling: asyncio.Task[None] | None = None
        self._atlas: dict[str, Any] = {}
        self._windows: dict[Window, dict[str, Any]] = {}
        self._made_s = float("-inf")

    def begin(self) -> None:
        """Sample from now on."""
        self._sampling = asyncio.get_running_loop().create_task(self._sample_on())

    async def close(self) -> None:
        """Sample no more. Acts that are under way are left where they are: the log has that they were asked."""
        tasks = [*self._acts, *([] if self._sampling is None else [self._sampling])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._log.close()

    # --------------------------------------------------------------------------------------------------------- seeing
    def overview(self, window: Window | None) -> Mapping[str, Any]:
        """Members, regions, the heat in a window."""
        now_s = time.monotonic()
        around, core = self._around, self._clients.gateway
        if now_s - self._made_s >= FRESH_S:
            self._made_s = now_s
            self._windows.clear()
            mirrored = {region: core.mirror.heard(region)[0] for region in core.mirror.regions}
            if core.partition is None:
                mirrored = {1: 1}
            self._atlas = atlas(around.book(), around.moves, mirrored, around.name, around.rate_hz, now_s)
        window = window or Window(-around.side_m / 2, -around.side_m / 2, around.side_m)
        if window not in self._windows:
            if len(self._windows) >= WINDOWS_MAX:
                self._windows.clear()
            hot = core.mirror.hot[: core.mirror.high]
            rows = np.flatnonzero(hot["serial"])
            self._windows[window] = cells(hot["x"][rows], hot["z"][rows], window)
        return {
            "world": self._world,
            "member": around.name,
            "is_cluster": core.partition is not None,
            "tick": self._running.tick,
            "rate_hz": around.rate_hz,
            "side_m": around.side_m,
            "at_s": round(time.time(), 1),
            "online": core.sessions.online,
            "sessions": core.sessions.held + core.sessions.held_elsewhere,
            "mirrored_entities": core.mirror.count,
            "warnings": self._running.warnings(),
            "log": self._log.newest[-1].number if self._log.newest else 0,
            "acting": len(self._acts),
            "cells": self._windows[window],
            **self._atlas,
        }

    def history(self, since: int) -> Mapping[str, Any]:
        """Samples of the last hour."""
        return self._history.since(since)

    def people(self, query: str, page: int, size: int) -> Mapping[str, Any]:
        """A page of sessions."""
        return people(self._clients.gateway, self._around.name, self._around.gateway_name, query, page, size)

    def interest(self, session: int, entity: int | None) -> Mapping[str, Any] | None:
        """What a session is told, and why."""
        now_ms = int(time.monotonic() * 1000)
        return explain(self._clients.gateway, session, entity, now_ms, self._clients.blocked())

    def orders(self) -> Mapping[str, Any]:
        """What stands, and what profiles come to."""
        orders = self._acting.keeper.orders.values()
        core = self._clients.gateway
        return {
            "bans": [_standing(order) for order in orders if isinstance(order, Ban)],
            "mutes": [_standing(order) for order in orders if isinstance(order, Mute)],
            "profiles": [
                {
                    "profile": name,
                    "now": msgspec.to_builtins(portion),
                    "rate_hz": round(self._around.rate_hz / portion.every_ticks, 2),
                    "sessions": len(core.sessions.live_with(name)),
                    "changed": next(
                        (
                            {"values": order.values, "by": order.by}
                            for order in orders
                            if isinstance(order, ProfileChange) and order.profile == name
                        ),
                        None,
                    ),
                }
                for name, portion in sorted(core.portions.items())
            ],
        }

    def log(self, before: int | None, count: int) -> Mapping[str, Any]:
        """The newest entries of the log, or those before one."""
        entries = self._log.before(before, min(count, LOG_SHOWN_MAX))
        return {"file": str(self._log.path), "entries": [msgspec.to_builtins(entry) for entry in entries]}

    # --------------------------------------------------------------------------------------------------------- acting
    async def act(self, operator: Operator, request: Request) -> Mapping[str, Any]:
        """Begin what is asked. Raises Busy, Unwritten."""
        if len(self._acts) >= ACTING_MAX:
            raise Busy(f"{ACTING_MAX} acts are under way: wait until one is done")
        try:
            asked = await self._log.write(operator.name, operator.how, ASKED, as_written(request))
        except LogUnusable as problem:
            _log.error("operator_log_unusable", why=str(problem))
            raise Unwritten(f"nothing was done, because it cannot be written down: {problem}") from problem
        task = asyncio.get_running_loop().create_task(self._carry_out(operator, request, asked))
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        return {"number": asked.number}

    async def _carry_out(self, operator: Operator, request: Request, asked: Entry) -> None:
        try:
            state, result = DONE, await self._acting.carry_out(operator, request)
        except (NotDone, OrdersUnusable, StoreError, OSError, ValueError) as problem:
            state, result = FAILED, str(problem)
        self._clients.metrics.operator_acts.labels(str(asked.what["do"]), state).inc()
        try:
            await self._log.write(operator.name, operator.how, state, asked.what, result, of=asked.number)
        except LogUnusable as problem:
            _log.error("operator_log_unusable", why=str(problem), of=asked.number, state=state, result=result)

    # ------------------------------------------------------------------------------------------------------- sampling
    async def _sample_on(self) -> None:
        while True:
            self._sample()
            await asyncio.sleep(EVERY_S)

    def _sample(self) -> None:
        book, clients, now_s = self._around.book(), self._clients, time.monotonic()
        shards = [member.record for member in book.shards()]
        loads = [record.load for record in shards] or [0.0]
        recent = list(self._running.tick_seconds)[-round(EVERY_S * self._around.rate_hz) :] or [0.0]
        self._history.add(
            time.time(),
            {
                "sessions": clients.gateway.sessions.held + clients.gateway.sessions.held_elsewhere,
                "entities": sum(count for record in shards for count, _ in record.held.values()),
                "load_mean": sum(loads) / len(loads),
                "load_max": max(loads),
                "tick_ms": float(np.percentile(recent, 99)) * 1000,
                "bytes_out": self._rates.per_s("out", clients.sent_bytes, now_s),
                "bytes_in": self._rates.per_s("in", clients.received_bytes, now_s),
                "without_owner": sum(book.owner(region) is None for region in book.regions),
            },
        )


def _standing(order: Ban | Mute) -> dict[str, Any]:
    return {
        "key": order.key.hex(),
        "name": order.name,
        "until_s": order.until_unix_s or None,
        "reason": order.reason,
        "by": order.by,
    }
