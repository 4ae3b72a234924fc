"""What a running node says of itself: the summary for ``isthmus top``, and gauges brought up to date for /metrics."""

import time
from collections import Counter, deque
from typing import Any, Protocol

import numpy as np

from isthmus.clients import CARRIER_NAMES, Clients
from isthmus.config import Config
from protocol.messages import CARRIER_UDP, CARRIER_WEBTRANSPORT
from server.metrics import LAG_QUANTILES, Metrics, Totals
from server.session.admission import Headroom
from server.transport import mmsg
from server.transport.accept import Acceptor
from server.transport.datagrams.transport import Datagrams
from shard.ticker import Ticker


class Running(Protocol):
    """A process with clients, while it runs."""

    clients: Clients
    ticker: Ticker
    tick_seconds: deque[float]
    shed_level: int
    headroom: Headroom

    @property
    def tick(self) -> int: ...
    def overview(self) -> dict[str, Any]: ...
    def warnings(self) -> list[str]: ...


_STARTED_S = time.monotonic()
_STATUS_KEYS = {CARRIER_UDP: "datagrams", CARRIER_WEBTRANSPORT: "webtransport"}


def status(node: Running, config: Config) -> dict[str, Any]:
    """The summary; totals are since the start, so that a reader can make rates of two answers."""
    recent = np.array(node.tick_seconds or [0.0]) * 1000
    totals = node.clients.gateway.views.totals
    kinds = dict(node.clients.gateway.schema["kinds"])
    return {
        "world": config.world.name,
        "tick": node.tick,
        "rate_hz": config.world.rate_hz,
        "uptime_s": round(time.monotonic() - _STARTED_S, 1),
        "sessions": node.clients.gateway.sessions.held,
        "joins": node.clients.gateway.sessions.joins.total(),
        "views": totals.views,
        "views_paused": totals.held,
        "entities": node.clients.gateway.mirror.count,
        "kinds": {kinds.get(kind, str(kind)): count for kind, count in entity_kinds(node).items()},
        "tick_ms": {
            "p50": round(float(np.percentile(recent, 50)), 2),
            "p99": round(float(np.percentile(recent, 99)), 2),
            "p999": round(float(np.percentile(recent, 99.9)), 2),
            "max": round(float(recent.max()), 2),
        },
        "phases_s": {name: round(seconds, 3) for name, seconds in node.clients.phases.seconds.items()},
        "updates": node.clients.updates,
        "visible": totals.looked,
        "bytes_out": node.clients.carriers.sent_bytes,
        "bytes_in": node.clients.carriers.received_bytes,
        **_datagram_status(node.clients),
        "inputs": node.clients.gateway.inputs,
        "rejected": _rejected(node),
        "lag_ticks": node.ticker.lag(time.monotonic(), node.tick),
        "ticks_merged": node.ticker.ticks_merged,
        "shed_level": node.shed_level,
        "warnings": node.warnings(),
        **node.overview(),
    }


def entity_kinds(node: Running) -> dict[int, int]:
    """How many entities there are of each kind."""
    mirror = node.clients.gateway.mirror
    kinds = mirror.cold["kind"][: mirror.high][mirror.hot["serial"][: mirror.high] != 0]
    numbers, counts = np.unique(kinds, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def _datagram_status(clients: Clients) -> dict[str, Any]:
    told = {}
    for carrier, datagrams in clients.datagrams.items():
        sent, received = datagrams.way.sent, datagrams.way.received
        told[_STATUS_KEYS[carrier]] = {
            "address": datagrams.address,
            "connections": datagrams.open_count - datagrams.tokens_waiting,
            "out": int(sent[mmsg.C_DATAGRAMS]),
            "in": int(received[mmsg.C_DATAGRAMS]),
            "bytes_out": int(sent[mmsg.C_BYTES]),
            "bytes_in": int(received[mmsg.C_BYTES]),
            "resent_bytes": datagrams.resent_bytes,
            "dropped": {reason: count for reason, count in datagrams.dropped.items() if count},
        }
    return told


_totals = Totals()


def refresh(node: Running, acceptor: Acceptor) -> None:
    """Bring gauges, and counters kept as plain totals, up to date."""
    m, carriers, gateway = node.clients.metrics, node.clients.carriers, node.clients.gateway
    totals = gateway.views.totals
    m.busy.set(node.headroom.busy)
    m.admits.set(node.headroom.admits)
    m.views.set(totals.views)
    m.visible.set(totals.looked)
    m.views_paused.set(totals.held)
    m.connections.set(carriers.open_count)
    m.connections_blocked.set(int(carriers.blocked.sum()))
    for carrier, datagrams in node.clients.datagrams.items():
        _refresh_datagrams(m, CARRIER_NAMES[carrier], datagrams)
    for kind, count in entity_kinds(node).items():
        m.entities.labels(str(kind)).set(count)
    for state, count in gateway.sessions.count().items():
        m.sessions.labels(state.name.lower()).set(count)
    _totals.add(m.sent_bytes, carriers.sent_bytes)
    _totals.add(m.sent_frames, carriers.sent_frames)
    _totals.add(m.send_calls, carriers.send_calls)
    _totals.add(m.receive_calls, carriers.receive_calls)
    _totals.add(m.received_bytes, carriers.received_bytes)
    _totals.add(m.received_messages, carriers.received_frames)
    _totals.add(m.wakeups, carriers.wakeups)
    _totals.add(m.inputs, gateway.inputs)
    poses = gateway.poses.totals
    _totals.add(m.poses, poses.said)
    _totals.add(m.poses_told.labels("near"), poses.near)
    _totals.add(m.poses_told.labels("mid"), poses.mid)
    _totals.add(m.poses_sent_bytes, poses.told_bytes)
    for how, count in gateway.sessions.joins.items():
        _totals.add(m.joins.labels(how), count)
    for why, count in gateway.sessions.switching.moved.items():
        _totals.add(m.sent_sessions.labels(why), count)
    waits_s = gateway.views.waits_ms(int(time.monotonic() * 1000)) / 1000
    for quantile in LAG_QUANTILES:
        lag_s = float(np.quantile(waits_s, quantile)) if len(waits_s) else 0.0
        m.acknowledged_lag_seconds.labels(str(quantile)).set(lag_s)
    channels = gateway.channels
    for index, (spec, figures) in enumerate(zip(channels.specs, channels.figures, strict=True)):
        m.channel_viewers.labels(spec.name).set(len(channels.audience.members(index)))
        m.channel_awake.labels(spec.name).set(channels.is_awake(spec.name))
        _totals.add(m.channel_entries.labels(spec.name), figures.entries)
        _totals.add(m.channel_keyframes.labels(spec.name), figures.keyframes)
        _totals.add(m.channel_sends.labels(spec.name), figures.sends)
        _totals.add(m.channel_bytes.labels(spec.name), figures.bytes)
    _totals.add(m.channel_lagged, channels.audience.lagged)
    # Added up first: two of them may use the same word.
    for reason, count in (_rejected(node) + acceptor.refused).items():
        _totals.add(m.rejected.labels(reason), count)


def _rejected(node: Running) -> Counter[str]:
    clients = node.clients
    rejected = clients.gateway.sessions.rejected + clients.carriers.rejected
    return sum((datagrams.rejected for datagrams in clients.datagrams.values()), rejected)


def _refresh_datagrams(m: Metrics, carrier: str, datagrams: Datagrams) -> None:
    m.datagram_connections.labels(carrier).set(datagrams.open_count)
    received, sent = datagrams.way.received, datagrams.way.sent
    _totals.add(m.datagrams_in.labels(carrier), int(received[mmsg.C_DATAGRAMS]))
    _totals.add(m.datagrams_out.labels(carrier), int(sent[mmsg.C_DATAGRAMS]))
    _totals.add(m.datagram_bytes_in.labels(carrier), int(received[mmsg.C_BYTES]))
    _totals.add(m.datagram_bytes_out.labels(carrier), int(sent[mmsg.C_BYTES]))
    _totals.add(m.datagram_messages_in.labels(carrier), datagrams.received_messages)
    _totals.add(m.datagram_stream_bytes.labels(carrier), datagrams.stream_bytes)
    _totals.add(m.datagram_resent_bytes.labels(carrier), datagrams.resent_bytes)
    for reason, count in datagrams.dropped.items():
        _totals.add(m.datagrams_dropped.labels(carrier, reason), count)
    for direction, counts in (("in", received), ("out", sent)):
        _totals.add(m.datagram_calls.labels(carrier, direction), int(counts[mmsg.C_CALLS]))
        _totals.add(m.datagram_errors.labels(carrier, direction, "interrupted"), int(counts[mmsg.C_INTERRUPTED]))
        _totals.add(m.datagram_errors.labels(carrier, direction, "refused"), int(counts[mmsg.C_REFUSED]))
