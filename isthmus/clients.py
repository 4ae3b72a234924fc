"""The clients of one process: what their sockets brought goes to the gateway's core, what the core wants done goes out.

Decides nothing; every rule is the core's. Not responsible for: when a tick is (``node``, ``gateway``), HTTP
(``front``).
"""

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import structlog

from protocol.messages import encode_server
from server.core.gateway import GatewayCore
from server.core.outgoing import Deliver
from server.metrics import Metrics
from server.session.actions import CloseConn, GiveToken, RefreshKeys
from server.session.jwks import JwksKeeper
from server.transport.carriers import Carriers
from server.transport.datagrams.live import Datagrams
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
    """Gateway core and sockets of one process. Connections of ``datagrams``, if there are any, are numbered behind
    those of ``carriers``."""

    def __init__(
        self,
        gateway: GatewayCore,
        carriers: Carriers,
        metrics: Metrics,
        keys: JwksKeeper | None = None,
        datagrams: Datagrams | None = None,
    ) -> None:
        self.gateway = gateway
        self.carriers = carriers
        self.datagrams = datagrams
        self._datagrams_from = carriers.config.capacity
        self.metrics = metrics
        self.phases = PhaseClock()
        self.updates = 0
        self._keys = keys
        self._refreshing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Messages are taken between ticks, too, from now on."""
        self.carriers.start(self._arrived)
        if self.datagrams is not None:
            self.datagrams.start()

    def poll(self, now_s: float) -> None:
        """Take everything that has arrived."""
        now_ms = int(now_s * 1000)
        self.gateway.take_inbound(self.carriers.poll(now_ms), now_s)
        if self.datagrams is not None:
            self.gateway.take_inbound(self.datagrams.poll(now_ms), now_s)

    def send(self, tick: int, now_s: float, headroom: bool) -> None:
        """The end of a tick: deadlines, messages, frames."""
        gateway, carriers, begin = self.gateway, self.carriers, self.phases.begin
        gateway.tick(tick, now_s, headroom)
        begin("deliver")
        self.deliver()
        begin("encode")
        sent = waits = False
        for batch in gateway.frames(tick, now_s, self._blocked()):
            begin("send")
            if batch.kind is None:
                if waits and self.datagrams is not None:
                    self.datagrams.flush()  # behind the sends to all WebSockets they would be some milliseconds late
                    waits = False
                sent |= self._send_frames(batch.buffer, batch.conn, batch.at, batch.length)
            elif self.datagrams is not None:
                self.datagrams.send(batch.buffer, batch.conn, batch.at, batch.length, batch.kind)
                waits = True
            begin("encode")
        begin("send")
        if not sent:
            carriers.flush()
        if self.datagrams is not None:
            self.datagrams.flush()
        begin("")
        self._note()

    def _send_frames(
        self,
        buffer: npt.NDArray[np.uint8],
        conn: npt.NDArray[np.int32],
        at: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
    ) -> bool:
        """WebSocket frames; those of a channel may be for datagram connections, too. Returns whether any left over
        WebSocket."""
        over_udp = conn >= self._datagrams_from
        if self.datagrams is not None and over_udp.any():
            self.datagrams.send_frames(buffer, conn[over_udp], at[over_udp], length[over_udp])
            conn, at, length = conn[~over_udp], at[~over_udp], length[~over_udp]
            if not len(conn):
                return False
        self.carriers.send(buffer, conn, at, length)
        return True

    async def end(self, text: str) -> None:
        """Everybody is told to come back elsewhere or later, and their connections close."""
        self.gateway.drain(text, time.monotonic())
        self.deliver()
        self.flush()
        await asyncio.sleep(self.carriers.config.linger_s)
        self.carriers.stop()
        if self.datagrams is not None:
            self.datagrams.stop()

    def flush(self) -> None:
        """Send what waits."""
        self.carriers.flush()
        if self.datagrams is not None:
            self.datagrams.flush()

    def deliver(self) -> bool:
        """Carry out what the gateway wants done; returns whether there was anything."""
        outputs = self.gateway.take()
        for output in outputs:
            match output:
                case Deliver():
                    self._post(output.conns.astype(np.int32, copy=False), output.data, output.sseq)
                case CloseConn():
                    self.metrics.closes.labels(str(int(output.code))).inc()
                    _log.info("session_closed", conn=output.conn, code=int(output.code), text=output.text)
                    self._transport_of(output.conn).close(
                        output.conn, int(output.code), output.retry_after_ms, output.text
                    )
                case GiveToken():
                    self._give_token(output)
                case RefreshKeys():
                    self._refresh_keys()
        return bool(outputs)

    def _blocked(self) -> npt.NDArray[np.uint8]:
        if self.datagrams is None:
            return self.carriers.blocked
        return np.concatenate((self.carriers.blocked, self.datagrams.blocked))

    def _transport_of(self, conn: int) -> Carriers | Datagrams:
        return self.carriers if self.datagrams is None or conn < self._datagrams_from else self.datagrams

    def _post(self, conns: npt.NDArray[np.int32], data: bytes, sseq: npt.NDArray[np.uint32] | None) -> None:
        if self.datagrams is None:
            self.carriers.post(conns, data, sseq)
            return
        over_udp = conns >= self._datagrams_from
        for transport, mine in ((self.carriers, ~over_udp), (self.datagrams, over_udp)):
            if mine.any():
                transport.post(conns[mine], data, None if sseq is None else sseq[mine])

    def _give_token(self, asked: GiveToken) -> None:
        assert self.datagrams is not None, "the gateway's core was told that there are datagrams"
        token = self.datagrams.token(asked.session)
        self.metrics.tokens.labels("refused" if token.address is None else "given").inc()
        _log.debug("token_given", conn=asked.conn, session=asked.session, number=token.number, refused=token.text)
        self._post(np.array([asked.conn], np.int32), encode_server(token), None)

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
            self.flush()

    def _refresh_keys(self) -> None:
        if self._keys is None:
            self.gateway.keys_refreshed(time.monotonic())
        elif self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._fetch_keys(self._keys))

    async def _fetch_keys(self, keys: JwksKeeper) -> None:
        await keys.refresh()
        self.gateway.keys_refreshed(time.monotonic())
        if self.deliver():
            self.flush()
