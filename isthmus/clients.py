"""The clients of one process: what their sockets brought goes to the gateway's core, what the core wants done goes out.

Decides nothing; every rule is the core's. Not responsible for: when a tick is (``node``, ``gateway``), HTTP
(``front``).
"""

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
import structlog

from server.core.gateway import Deliver, GatewayCore
from server.metrics import Metrics
from server.session.actions import CloseConn, RefreshKeys
from server.session.jwks import JwksKeeper
from server.transport.carriers import Carriers
from server.transport.inbound import Inbound

_log = structlog.get_logger(__name__)


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


class Clients:
    """Gateway core and sockets of one process."""

    def __init__(
        self, gateway: GatewayCore, carriers: Carriers, metrics: Metrics, keys: JwksKeeper | None = None
    ) -> None:
        self.gateway = gateway
        self.carriers = carriers
        self.metrics = metrics
        self.phases = PhaseClock()
        self.updates = 0
        self._keys = keys
        self._refreshing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Messages are taken between ticks, too, from now on."""
        self.carriers.start(self._arrived)

    def poll(self, now_s: float) -> None:
        """Take everything that has arrived."""
        self.gateway.take_inbound(self.carriers.poll(int(now_s * 1000)), now_s)

    def send(self, tick: int, now_s: float, headroom: bool) -> None:
        """The end of a tick: deadlines, messages, frames."""
        gateway, carriers, begin = self.gateway, self.carriers, self.phases.begin
        gateway.tick(tick, now_s, headroom)
        begin("deliver")
        self.deliver()
        begin("encode")
        sent = False
        for batch in gateway.frames(tick, now_s, carriers.blocked):
            begin("send")
            carriers.send(batch.buffer, batch.conn, batch.at, batch.length)
            sent = True
            begin("encode")
        begin("send")
        if not sent:
            carriers.flush()
        begin("")
        self._note()

    async def end(self, text: str) -> None:
        """Everybody is told to come back elsewhere or later, and their connections close."""
        self.gateway.drain(text, time.monotonic())
        self.deliver()
        self.carriers.flush()
        await asyncio.sleep(self.carriers.config.linger_s)
        self.carriers.stop()

    def deliver(self) -> bool:
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

    def _note(self) -> None:
        metrics, totals = self.metrics, self.gateway.views.totals
        metrics.updates_due.inc(totals.deltas + totals.fulls)
        metrics.updates_sent.labels("delta").inc(totals.deltas)
        metrics.updates_sent.labels("full").inc(totals.fulls)
        metrics.enters.inc(totals.enters)
        metrics.leaves.inc(totals.leaves)
        self.updates += totals.deltas + totals.fulls
        for news in self.gateway.channels.take_news():
            _log.info(news.event, **news.facts)

    def _arrived(self, inbound: Inbound) -> None:
        self.gateway.take_inbound(inbound, time.monotonic())
        if self.deliver():
            self.carriers.flush()

    def _refresh_keys(self) -> None:
        if self._keys is None:
            self.gateway.keys_refreshed(time.monotonic())
        elif self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._fetch_keys(self._keys))

    async def _fetch_keys(self, keys: JwksKeeper) -> None:
        await keys.refresh()
        self.gateway.keys_refreshed(time.monotonic())
        if self.deliver():
            self.carriers.flush()
