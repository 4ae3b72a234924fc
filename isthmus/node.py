"""The tick loop of a process that is shard and gateway in one: reads clock and sockets, hands on, decides nothing.

Order of a tick: what clients sent, the shard's step, its delta to the gateway (as link bytes, as between processes),
messages, frames. Invariants: the plan comes from ``shard.ticker``, every rule from a core. Not responsible for: HTTP
(``server.http``).
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import structlog

from protocol.link import RegionDelta, Upward
from server.core.gateway import Deliver, GatewayCore
from server.metrics import Metrics
from server.session.actions import CloseConn, RefreshKeys
from server.session.admission import Headroom
from server.session.jwks import JwksKeeper
from server.transport.carriers import Carriers
from server.transport.inbound import Inbound
from shard.core import ShardCore
from shard.ticker import Ticker

_log = structlog.get_logger(__name__)
RECENT_TICKS = 1200
"""Ticks that the status summarises: one minute at 20 Hz."""


@dataclass(slots=True)
class PhaseClock:
    """Adds up the time of each phase; ``begin("")`` ends the last."""

    seconds: dict[str, float] = field(default_factory=dict)
    _name: str = ""
    _since_s: float = 0.0

    def begin(self, name: str) -> None:
        """A phase begins, and the one before ends."""
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._since_s
        self._name, self._since_s = name, now


class Node:
    """One process's world. ``run`` returns when ``stop`` was called and everybody has been told."""

    def __init__(
        self,
        shard: ShardCore,
        gateway: GatewayCore,
        carriers: Carriers,
        metrics: Metrics,
        rate_hz: int,
        keys: JwksKeeper | None = None,
        headroom_close_at: float = 0.8,
    ) -> None:
        self.shard = shard
        self.gateway = gateway
        self.carriers = carriers
        self.metrics = metrics
        self.phases = PhaseClock()
        self.tick_seconds: deque[float] = deque(maxlen=RECENT_TICKS)
        self.ticker = Ticker(time.monotonic(), rate_hz)
        self.started = asyncio.Event()
        """Set after the first tick."""
        self.shed_level = 0
        self.updates = 0
        self._keys = keys
        self._refreshing: asyncio.Task[None] | None = None
        self._headroom = Headroom(1.0 / rate_hz, close_at=headroom_close_at, open_at=0.8 * headroom_close_at)
        self._tick_s = 1.0 / rate_hz
        self._stopping = False
        shard.on_phase = self.phases.begin

    async def run(self) -> None:
        """Run the world until it is stopped."""
        self.ticker.start_s = time.monotonic() - self.shard.tick * self._tick_s
        self.carriers.start(self._arrived)
        while not self._stopping:
            plan = self.ticker.plan(time.monotonic(), self.shard.tick)
            if plan.tick is None:
                await asyncio.sleep(plan.wait_s)
                continue
            self.shed_level = plan.level
            self.shard.shed(plan.far_slack)
            self._tick(plan.tick)
            await asyncio.sleep(0)
        self.gateway.drain("the server is shutting down", time.monotonic())
        self._deliver()
        self.carriers.flush()
        await asyncio.sleep(self.carriers.config.linger_s)
        self.carriers.stop()

    def stop(self) -> None:
        """End the world after the current tick."""
        self._stopping = True

    def _arrived(self, inbound: Inbound) -> None:
        self.gateway.take_inbound(inbound, time.monotonic())
        if self._deliver():
            self.carriers.flush()

    def _tick(self, tick: int) -> None:
        begun = time.monotonic()
        merged = tick - self.shard.tick
        self.phases.begin("receive")
        self.gateway.take_inbound(self.carriers.poll(int(begun * 1000)), begun)
        upward = [Upward.decode(data) for _, data in self.gateway.upward(tick)]
        self.phases.begin("step")
        result = self.shard.step(tick, upward)
        for region, fault in result.faults:
            _log.error("behaviour_quarantined", region=region, behaviour=fault.behaviour, text=fault.text)
        self.phases.begin("mirror")
        for published in result.published:
            delta = published.snapshot() if published.subscribe else published.delta
            self.gateway.receive(RegionDelta.decode(delta.encode()), begun)
        self.gateway.tick(tick, begun, self._headroom.admits)
        self.phases.begin("deliver")
        self._deliver()
        self.phases.begin("encode")
        sent = False
        for batch in self.gateway.frames(tick, begun, self.carriers.blocked):
            self.phases.begin("send")
            self.carriers.send(batch.buffer, batch.conn, batch.at, batch.length)
            sent = True
            self.phases.begin("encode")
        self.phases.begin("send")
        if not sent:
            self.carriers.flush()
        self.phases.begin("")
        ended = time.monotonic()
        self.started.set()
        self.ticker.ended(ended, tick)
        self._headroom.ticked((ended - begun) / (merged * self._tick_s))
        self._note(tick, merged, begun, ended)

    def _note(self, tick: int, merged: int, begun: float, ended: float) -> None:
        planned = self.ticker.start_s + tick * self._tick_s
        took = ended - planned
        metrics, totals = self.metrics, self.gateway.views.totals
        metrics.ticks.inc(merged)
        metrics.ticks_merged.inc(merged - 1)
        metrics.tick_seconds.observe(took)
        metrics.tick_late_seconds.observe(max(0.0, begun - planned))
        metrics.updates_due.inc(totals.deltas + totals.fulls)
        metrics.updates_sent.labels("delta").inc(totals.deltas)
        metrics.updates_sent.labels("full").inc(totals.fulls)
        metrics.enters.inc(totals.enters)
        metrics.leaves.inc(totals.leaves)
        self.updates += totals.deltas + totals.fulls
        self.tick_seconds.append(took)

    def _deliver(self) -> bool:
        """Carry out what the gateway wants done; returns whether there was anything."""
        outputs = self.gateway.take()
        for output in outputs:
            match output:
                case Deliver():
                    self.carriers.post(output.conns.astype(np.int32, copy=False), output.data, output.sseq)
                case CloseConn():
                    self.metrics.closes.labels(str(int(output.code))).inc()
                    _log.info("session_closed", conn=output.conn, code=int(output.code), text=output.text)
                    self.carriers.close(output.conn, int(output.code), output.retry_after_ms, output.text)
                case RefreshKeys():
                    self._refresh_keys()
        return bool(outputs)

    def _refresh_keys(self) -> None:
        if self._keys is None:
            self.gateway.keys_refreshed(time.monotonic())
        elif self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._fetch_keys(self._keys))

    async def _fetch_keys(self, keys: JwksKeeper) -> None:
        await keys.refresh()
        self.gateway.keys_refreshed(time.monotonic())
        if self._deliver():
            self.carriers.flush()
