"""The metrics of a gateway process: one registry, and one object for each thing worth seeing (names after Prometheus'
conventions).

Decides names, units and buckets. Invariant: label values come from fixed sets of words, never from what a client sends.
Not responsible for: when they are set (the shells do that, once a tick, not once for each view).
"""

from collections.abc import Callable
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

_TICK_BUCKETS_MS = (1, 2.5, 5, 7.5, 10, 12.5, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 75, 100, 200, 500, 1000)
_TICK_BUCKETS_S = tuple(ms / 1000 for ms in _TICK_BUCKETS_MS)
"""Fine around 50 ms, a tick's length at 20 Hz: whether p99.9 stays below it is the question."""
ADMISSION_REASONS = ("headroom", "full", "draining", "starting")
"""Why somebody was not let in who may come: told as 0 from the start, so that a rate sees the first."""
LAG_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def new_registry() -> CollectorRegistry:
    """A registry that tells CPU, memory and descriptors of the process (``process_*``), as Prometheus' clients do."""
    # Else each counter has a second series, which nobody reads: the process tells when it began. (It has no types.)
    cast(Callable[[], None], disable_created_metrics)()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class Pace:
    """Metrics of the ticks of any process: shard, gateway, placer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        r = registry
        self.ticks = Counter("isthmus_ticks", "Ticks of the world that were run.", registry=r)
        self.merged = Counter("isthmus_ticks_merged", "Ticks that a late step took along.", registry=r)
        self.seconds = Histogram(
            "isthmus_tick_seconds",
            "From a tick's time to its end: of a gateway, until its frames are sent, the wait for regions included.",
            buckets=_TICK_BUCKETS_S,
            registry=r,
        )
        self.late_seconds = Histogram(
            "isthmus_tick_late_seconds", "How long after its time a tick began.", buckets=_LAG_BUCKETS_S, registry=r
        )
        self.phase_seconds = Counter(
            "isthmus_tick_phase_seconds", "Time spent in each phase of the tick.", ["phase"], registry=r
        )
        self.loop_lag_seconds = Histogram(
            "isthmus_event_loop_lag_seconds",
            "How long a timer of the event loop was late.",
            buckets=_LAG_BUCKETS_S,
            registry=r,
        )
        self.shed_level = Gauge("isthmus_shed_level", "How much load is being shed (0: none).", registry=r)
        self.build_info = Gauge("isthmus_build_info", "1; what runs here.", ["version", "protocol", "kind"], registry=r)
        self.certificate_ends = Gauge(
            "isthmus_certificate_ends_timestamp_seconds",
            "When a certificate that this process uses runs out (Unix time), by what it is for.",
            ["of"],
            registry=r,
        )
        self.memory_limit_bytes = Gauge(
            "isthmus_memory_limit_bytes", "Memory that this process may have (control group); 0: no limit.", registry=r
        )

    def note(self, planned_s: float, begun_s: float, ended_s: float, ticks: int = 1) -> None:
        """A step over ``ticks`` was made; times are on one clock, ``planned_s`` that of the last of these ticks."""
        self.ticks.inc(ticks)
        self.merged.inc(ticks - 1)
        self.seconds.observe(ended_s - planned_s)
        self.late_seconds.observe(max(0.0, begun_s - planned_s))


class Metrics:
    """All metrics of one process with clients; make one and hand it on. A registry of its own: tests can have many."""

    def __init__(self) -> None:
        r = self.registry = new_registry()
        self.pace = Pace(r)
        self.entities = Gauge("isthmus_entities", "Entities in the world, by kind.", ["kind"], registry=r)
        self.views = Gauge("isthmus_views", "Views that are encoded.", registry=r)
        self.visible = Gauge("isthmus_visible_entities", "Entities that all views show, together.", registry=r)
        self.updates_due = Counter("isthmus_updates_due", "Updates that were due for a view.", registry=r)
        self.updates_sent = Counter("isthmus_updates_sent", "Updates that were encoded, by form.", ["form"], registry=r)
        self.enters = Counter("isthmus_enters", "Entities that views began to show.", registry=r)
        self.leaves = Counter("isthmus_leaves", "Entities that views ceased to show.", registry=r)
        self.views_paused = Gauge(
            "isthmus_views_paused", "Views without frames until their client catches up.", registry=r
        )
        self.connections = Gauge("isthmus_connections", "Connections, closing ones included.", registry=r)
        self.connections_blocked = Gauge("isthmus_connections_blocked", "Connections with an unsent tail.", registry=r)
        self.sessions = Gauge("isthmus_sessions", "Sessions, by state.", ["state"], registry=r)
        self.joins = Counter("isthmus_joins", "Sessions admitted, by how they came.", ["kind"], registry=r)
        self.sent_sessions = Counter(
            "isthmus_sessions_sent", "Sessions told to go on at another gateway, by reason.", ["why"], registry=r
        )
        self.closes = Counter("isthmus_closes", "Connections closed, by close code.", ["code"], registry=r)
        self.rejected = Counter(
            "isthmus_rejected", "Requests, messages and connections refused, by reason.", ["reason"], registry=r
        )
        for reason in ADMISSION_REASONS:
            self.rejected.labels(reason)
        self.sent_bytes = Counter("isthmus_sent_bytes", "Bytes written to client sockets.", registry=r)
        self.sent_frames = Counter("isthmus_sent_frames", "FRAME messages written.", registry=r)
        self.send_calls = Counter("isthmus_send_calls", "send(2) calls.", registry=r)
        self.receive_calls = Counter("isthmus_receive_calls", "recv(2) and epoll_wait(2) calls.", registry=r)
        self.received_bytes = Counter("isthmus_received_bytes", "Bytes read from client sockets.", registry=r)
        self.received_messages = Counter("isthmus_received_messages", "WebSocket frames received.", registry=r)
        self.tokens = Counter(
            "isthmus_datagram_tokens",
            "Clients that asked to go on over datagrams, by carrier and answer.",
            ["answer", "carrier"],
            registry=r,
        )
        self.datagram_connections = Gauge(
            "isthmus_datagram_connections", "Datagram connections, tokens that wait included.", ["carrier"], registry=r
        )
        self.datagrams_in = Counter(
            "isthmus_datagrams_received", "Datagrams received, of anybody.", ["carrier"], registry=r
        )
        self.datagrams_out = Counter("isthmus_datagrams_sent", "Datagrams sent.", ["carrier"], registry=r)
        self.datagram_bytes_in = Counter(
            "isthmus_datagram_received_bytes", "Bytes received on UDP sockets.", ["carrier"], registry=r
        )
        self.datagram_bytes_out = Counter(
            "isthmus_datagram_sent_bytes", "Bytes sent on UDP sockets.", ["carrier"], registry=r
        )
        self.datagram_messages_in = Counter(
            "isthmus_datagram_received_messages", "Messages that came in datagrams.", ["carrier"], registry=r
        )
        self.datagrams_dropped = Counter(
            "isthmus_datagrams_dropped",
            "Datagrams, pieces of streams in them, and packets, that were not taken or not sent, by reason.",
            ["carrier", "reason"],
            registry=r,
        )
        self.datagram_stream_bytes = Counter(
            "isthmus_datagram_stream_bytes",
            "Bytes of reliable streams sent, repeated ones included.",
            ["carrier"],
            registry=r,
        )
        self.datagram_resent_bytes = Counter(
            "isthmus_datagram_resent_bytes", "Bytes of reliable streams sent again.", ["carrier"], registry=r
        )
        self.datagram_calls = Counter(
            "isthmus_datagram_calls",
            "System calls on UDP sockets, by direction.",
            ["carrier", "direction"],
            registry=r,
        )
        self.datagram_errors = Counter(
            "isthmus_datagram_call_errors",
            "Errors of those calls that cost nothing, by direction and kind.",
            ["carrier", "direction", "kind"],
            registry=r,
        )
        self.wakeups = Counter("isthmus_wakeups", "Wake-ups by arriving messages.", registry=r)
        self.inputs = Counter("isthmus_inputs", "INPUT messages taken.", registry=r)
        self.poses = Counter("isthmus_poses", "POSE messages taken.", registry=r)
        self.poses_told = Counter("isthmus_poses_told", "Poses told to views, by level.", ["level"], registry=r)
        self.poses_sent_bytes = Counter("isthmus_poses_sent_bytes", "Bytes of POSES messages written.", registry=r)
        self.operator_acts = Counter(
            "isthmus_operator_acts",
            "What operators asked for in the console, by act and what became of it.",
            ["act", "state"],
            registry=r,
        )
        self.acknowledged_lag_seconds = Gauge(
            "isthmus_acknowledged_lag_seconds",
            "For how long clients have left their oldest frame unacknowledged, by quantile.",
            ["quantile"],
            registry=r,
        )
        self.channel_viewers = Gauge("isthmus_channel_viewers", "Televisions on a channel.", ["channel"], registry=r)
        self.channel_awake = Gauge("isthmus_channel_awake", "1: the channel is encoded.", ["channel"], registry=r)
        self.channel_entries = Counter(
            "isthmus_channel_entries", "Ticks of a channel that were encoded, once for all viewers.", ["channel"],
            registry=r,
        )  # fmt: skip
        self.channel_keyframes = Counter(
            "isthmus_channel_keyframes", "Keyframes of a channel that were encoded.", ["channel"], registry=r
        )
        self.channel_sends = Counter(
            "isthmus_channel_sends", "Slices of a channel given to viewers, each to one.", ["channel"], registry=r
        )
        self.channel_bytes = Counter(
            "isthmus_channel_bytes", "Bytes of a channel given to viewers.", ["channel"], registry=r
        )
        self.channel_lagged = Counter(
            "isthmus_channel_lagged", "How often a viewer fell behind and had to wait for a keyframe.", registry=r
        )
        self.busy = Gauge(
            "isthmus_busy_ratio", "Part of a tick's time that is worked; admission looks at it.", registry=r
        )
        self.admits = Gauge("isthmus_admits", "1: new sessions are let in; 0: ticks take too long.", registry=r)
        self.sessions_max = Gauge("isthmus_sessions_max", "Sessions that this gateway takes.", registry=r)
        self.keys_failed = Counter(
            "isthmus_keys_refresh_failed", "Times that the issuer's keys (JWKS) could not be had.", registry=r
        )


class Totals:
    """Turns running totals of plain integers into counters: call ``add`` with the total, the difference is counted."""

    def __init__(self) -> None:
        self._seen: dict[Counter, float] = {}

    def add(self, counter: Counter, total: float) -> None:
        """Raise ``counter`` to ``total``; a total never falls."""
        before = self._seen.get(counter, 0.0)
        if total > before:
            counter.inc(total - before)
            self._seen[counter] = total
