"""The clients of one process: what their sockets brought goes to the gateway's core, what the core wants done goes out.

Decides nothing; every rule is the core's. Not responsible for: when a tick is (``node``, ``gateway``), HTTP
(``front``).
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import structlog

from isthmus.observe.ticks import Recorder
from protocol.messages import CARRIER_UDP, CARRIER_WEBTRANSPORT, encode_server
from server.core.gateway import GatewayCore
from server.core.outgoing import Deliver
from server.metrics import Metrics
from server.session.actions import CloseConn, GiveToken, RefreshKeys
from server.session.jwks import JwksKeeper
from server.transport import mmsg
from server.transport.carriers import Carriers
from server.transport.datagrams.transport import Datagrams
from server.transport.inbound import Inbound

_log = structlog.get_logger(__name__)
CARRIER_NAMES = {CARRIER_UDP: "udp", CARRIER_WEBTRANSPORT: "webtransport"}
"""As labels of metrics and in logs."""
COUNTED = ("sessions", "entities", "updates_total", "sent_bytes_total", "inputs_total")
"""What is recorded of each tick."""


class Clients:
    """Gateway core and sockets of one process. Connections of ``datagrams`` (by ``protocol.messages.CARRIER_*``) are
    numbered behind those of ``carriers``, in their order."""

    def __init__(
        self,
        gateway: GatewayCore,
        carriers: Carriers,
        metrics: Metrics,
        keys: JwksKeeper | None = None,
        datagrams: Mapping[int, Datagrams] = MappingProxyType({}),
    ) -> None:
        self.gateway = gateway
        self.carriers = carriers
        self.datagrams = datagrams
        self._datagrams_from = carriers.config.capacity
        self.metrics = metrics
        self.recorder = Recorder(COUNTED, self._counted)
        self.phases = self.recorder.phases
        self.on_sent: Callable[[npt.NDArray[np.int32], int, float, float, float], None] | None = None
        """For traces: called with connections, the tick, and when their frames began to be encoded, were, and were
        sent."""
        self.updates = 0
        self._keys = keys
        self._keys_failed = 0
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def sent_bytes(self) -> int:
        """Written to clients since the start, by any carrier."""
        ways = (int(table.way.sent[mmsg.C_BYTES]) for table in self.datagrams.values())
        return self.carriers.sent_bytes + sum(ways)

    @property
    def received_bytes(self) -> int:
        """Read from clients since the start, by any carrier."""
        ways = (int(table.way.received[mmsg.C_BYTES]) for table in self.datagrams.values())
        return self.carriers.received_bytes + sum(ways)

    def start(self) -> None:
        """Messages are taken between ticks, too, from now on."""
        self.carriers.start(self._arrived)
        for datagrams in self.datagrams.values():
            datagrams.start()

    def poll(self, now_s: float) -> None:
        """Take everything that has arrived."""
        now_ms = int(now_s * 1000)
        self.gateway.take_inbound(self.carriers.poll(now_ms), now_s)
        for datagrams in self.datagrams.values():
            self.gateway.take_inbound(datagrams.poll(now_ms), now_s)

    def send(self, tick: int, now_s: float, headroom: bool) -> None:
        """The end of a tick: deadlines, messages, frames."""
        gateway, carriers, begin = self.gateway, self.carriers, self.phases.begin
        gateway.tick(tick, now_s, headroom)
        begin("deliver")
        self.deliver()
        begin("encode")
        sent = waits = False
        encoding_s = time.monotonic() if self.on_sent is not None else 0.0
        for batch in gateway.frames(tick, now_s, self.blocked()):
            begin("send")
            encoded_s = time.monotonic() if self.on_sent is not None else 0.0
            if batch.kind is None:
                if waits:  # behind the sends to all WebSockets they would be some milliseconds late
                    self._flush_datagrams()
                    waits = False
                sent |= self._send_frames(batch.buffer, batch.conn, batch.at, batch.length)
            else:
                for datagrams, mine in self._shares(batch.conn):
                    parts = batch.conn[mine], batch.at[mine], batch.length[mine], batch.kind[mine]
                    datagrams.send(batch.buffer, *parts)
                waits = True
            if self.on_sent is not None:
                sent_s = time.monotonic()
                self.on_sent(batch.conn, tick, encoding_s, encoded_s, sent_s)
                encoding_s = sent_s
            begin("encode")
        begin("send")
        if not sent:
            carriers.flush()
        self._flush_datagrams()
        begin("")
        self._note()

    def _flush_datagrams(self) -> None:
        for datagrams in self.datagrams.values():
            datagrams.flush()

    def _send_frames(
        self,
        buffer: npt.NDArray[np.uint8],
        conn: npt.NDArray[np.int32],
        at: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
    ) -> bool:
        """WebSocket frames; those of a channel may be for datagram connections, too. Returns whether any left over
        WebSocket."""
        by_datagrams = conn >= self._datagrams_from
        if self.datagrams and by_datagrams.any():
            others, begins, sizes = conn[by_datagrams], at[by_datagrams], length[by_datagrams]
            for datagrams, mine in self._shares(others):
                datagrams.send_frames(buffer, others[mine], begins[mine], sizes[mine])
            conn, at, length = conn[~by_datagrams], at[~by_datagrams], length[~by_datagrams]
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
        for datagrams in self.datagrams.values():
            datagrams.stop()

    def flush(self) -> None:
        """Send what waits."""
        self.carriers.flush()
        for datagrams in self.datagrams.values():
            datagrams.flush()

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

    def blocked(self) -> npt.NDArray[np.uint8]:
        """uint8[connections]: 1 where an unsent tail waits."""
        if not self.datagrams:
            return self.carriers.blocked
        return np.concatenate((self.carriers.blocked, *(datagrams.blocked for datagrams in self.datagrams.values())))

    def _transport_of(self, conn: int) -> Carriers | Datagrams:
        for datagrams in self.datagrams.values():
            if datagrams.base <= conn < datagrams.base + datagrams.config.capacity:
                return datagrams
        return self.carriers

    def _shares(self, conns: npt.NDArray[np.int32]) -> Iterator[tuple[Datagrams, npt.NDArray[np.bool_] | slice]]:
        """Each table of datagrams with its share of ``conns``, all of which are of one of them."""
        if len(self.datagrams) == 1:
            yield from ((datagrams, slice(None)) for datagrams in self.datagrams.values())
            return
        for datagrams in self.datagrams.values():
            mine = (conns >= datagrams.base) & (conns < datagrams.base + datagrams.config.capacity)
            if mine.any():
                yield datagrams, mine

    def _post(self, conns: npt.NDArray[np.int32], data: bytes, sseq: npt.NDArray[np.uint32] | None) -> None:
        if not self.datagrams:
            self.carriers.post(conns, data, sseq)
            return
        by_datagrams = conns >= self._datagrams_from
        if not by_datagrams.all():
            self.carriers.post(conns[~by_datagrams], data, None if sseq is None else sseq[~by_datagrams])
        if by_datagrams.any():
            others, numbers = conns[by_datagrams], None if sseq is None else sseq[by_datagrams]
            for datagrams, mine in self._shares(others):
                datagrams.post(others[mine], data, None if numbers is None else numbers[mine])

    def _give_token(self, asked: GiveToken) -> None:
        token = self.datagrams[asked.carrier].token(asked.session)
        answer, carrier = "refused" if token.address is None else "given", CARRIER_NAMES[asked.carrier]
        self.metrics.tokens.labels(answer, carrier).inc()
        _log.debug(
            "token_given",
            conn=asked.conn,
            session=asked.session,
            carrier=carrier,
            number=token.number,
            refused=token.text,
        )
        self._post(np.array([asked.conn], np.int32), encode_server(token), None)

    def _counted(self) -> tuple[float, ...]:
        gateway = self.gateway
        sent = self.carriers.sent_bytes
        for datagrams in self.datagrams.values():
            sent += int(datagrams.way.sent[mmsg.C_BYTES])
        return gateway.sessions.held, gateway.mirror.count, self.updates, sent, gateway.inputs

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
        self.metrics.keys_failed.inc(keys.failures - self._keys_failed)
        self._keys_failed = keys.failures
        self.gateway.keys_refreshed(time.monotonic())
        if self.deliver():
            self.flush()
