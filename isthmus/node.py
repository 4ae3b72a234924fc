"""The tick loop of a process that is shard and gateway in one: reads the clock, hands on, decides nothing.

Order of a tick: what clients sent, the shard's step, its delta to the gateway (as link bytes, as between processes),
messages, frames. Invariants: the plan comes from ``shard.ticker``, every rule from a core. Not responsible for:
sockets (``clients``), HTTP (``front``).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from isthmus.clients import Clients
from isthmus.observe.observed import Observed
from protocol.link import RegionDelta, Upward
from server.session.admission import Headroom
from shard.core import ShardCore
from shard.journal.journal import Draft
from shard.ticker import Ticker

_log = structlog.get_logger(__name__)
RECENT_TICKS = 1200
"""Ticks that the status summarises: one minute at 20 Hz."""


class Node:
    """One process's world. ``run`` returns when ``stop`` was called and everybody has been told."""

    def __init__(
        self,
        shard: ShardCore,
        clients: Clients,
        rate_hz: int,
        headroom_close_at: float = 0.8,
        *,
        stepped: Callable[[Draft | None], None] = lambda draft: None,
        warnings: Callable[[], list[str]] = list,
        observed: Observed,
    ) -> None:
        """``stepped`` is told the batch to commit after each step, if there is one; ``warnings``: what an operator
        should see to; ``observed`` is told each tick."""
        self.warnings = warnings
        self.faults = 0
        """Behaviours that were stopped."""
        self._observed = observed
        self.shard = shard
        self.clients = clients
        self.tick_seconds: deque[float] = deque(maxlen=RECENT_TICKS)
        self.ticker = Ticker(time.monotonic(), rate_hz)
        self.started = asyncio.Event()
        """Set after the first tick."""
        self.shed_level = 0
        self.headroom = Headroom(1.0 / rate_hz, close_at=headroom_close_at, open_at=0.8 * headroom_close_at)
        self._tick_s = 1.0 / rate_hz
        self._stopping = False
        self._stepped = stepped
        shard.on_phase = clients.phases.begin

    @property
    def tick(self) -> int:
        """The world's tick that was made last."""
        return self.shard.tick

    def overview(self) -> dict[str, Any]:
        """For the status."""
        return {
            "regions": [
                {"region": number, "epoch": core.epoch, "entities": core.entities}
                for number, core in self.shard.regions.items()
            ]
        }

    async def run(self) -> None:
        """Run the world until it is stopped."""
        self.ticker.start_s = time.monotonic() - self.shard.tick * self._tick_s
        self.clients.start()
        while not self._stopping:
            plan = self.ticker.plan(time.monotonic(), self.shard.tick)
            if plan.tick is None:
                await asyncio.sleep(plan.wait_s)
                continue
            self.shed_level = plan.level
            self.shard.shed(plan.far_slack)
            self._tick(plan.tick)
            await asyncio.sleep(0)
        await self.clients.end("the server is shutting down")

    def stop(self) -> None:
        """End the world after the current tick."""
        self._stopping = True

    def _tick(self, tick: int) -> None:
        begun = time.monotonic()
        merged = tick - self.shard.tick
        clients, gateway = self.clients, self.clients.gateway
        clients.phases.begin("receive")
        clients.poll(begun)
        upward = [Upward.decode(data) for _, data in gateway.upward(tick)]
        clients.phases.begin("step")
        result = self.shard.step(tick, upward)
        for region, fault in result.faults:
            self.faults += 1
            _log.error("behaviour_quarantined", region=region, behaviour=fault.behaviour, text=fault.text)
        self._stepped(result.drafts[0][1] if result.drafts else None)
        clients.phases.begin("mirror")
        for published in result.published:
            delta = published.snapshot() if published.subscribe else published.delta
            gateway.receive(RegionDelta.decode(delta.encode()), begun)
        clients.send(tick, begun, self.headroom.admits)
        ended = time.monotonic()
        self.started.set()
        self.ticker.ended(ended, tick)
        self.headroom.ticked((ended - begun) / (merged * self._tick_s))
        self._note(tick, merged, begun, ended)

    def _note(self, tick: int, merged: int, begun: float, ended: float) -> None:
        planned = self.ticker.start_s + tick * self._tick_s
        self._observed.ticked(tick, planned, begun, ended, merged, self.shed_level)
        self.tick_seconds.append(ended - planned)
