"""The gateway's core: what comes from clients and shards in, frames and messages out.

Decides: whose commands go to which row, who is told what, when a region is subscribed anew. One tick of its shell is:
``take_inbound``
and ``said`` as things come, ``upward`` to the shard, ``receive`` what the shard published, ``tick``, ``take`` the
messages, ``frames``.
Invariants: messages taken are delivered before the next frames, in order; a structure message's number is given here,
once.
Not responsible for: admission and chat rules (``server.session``), bytes on sockets, time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kernels.pace import take_acks, take_owns
from protocol.codes import Close, ProtocolViolation
from protocol.layouts import COMMAND, GRID_PER_M
from protocol.link import RegionDelta, Upward
from protocol.messages import STRUCTURE_TYPES, Schema, decode_client, encode_server
from server.core.mirror import Mirror
from server.core.schema import schema_hash
from server.core.views import Batch, ViewRules, Views
from server.session.actions import (
    Action,
    AttachBody,
    CloseConn,
    CloseView,
    DetachBody,
    OpenView,
    Post,
    RefreshKeys,
)
from server.session.identity import Authenticate
from server.session.limits import SessionLimits
from server.session.sessions import Sessions
from server.session.world import WelcomeFacts

CELLS_PER_RADIUS = 4
"""Finer cells cost more lines, coarser ones more rows out of range: measured best for 50 to 200 visible."""
Conns = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]


class Opened(Protocol):
    """A connection was made from address ``remote``."""

    @property
    def conn(self) -> int: ...
    @property
    def remote(self) -> str: ...


class Lost(Protocol):
    """A connection ended."""

    @property
    def conn(self) -> int: ...
    @property
    def reason(self) -> str: ...


class Inbound(Protocol):
    """What arrived: connections opened, whole messages that are not hot, hot ones in columns, connections lost.

    INPUTs (``input_*``, n of them; commands of message k are ``commands[command_first[k] : command_first[k] +
    command_count[k]]``) and ACKs (``ack_*``).
    """

    @property
    def opened(self) -> Sequence[Opened]: ...
    @property
    def cold(self) -> Sequence[tuple[int, bytes]]: ...
    @property
    def lost(self) -> Sequence[Lost]: ...
    @property
    def input_conn(self) -> U32: ...
    @property
    def input_seq(self) -> U32: ...
    @property
    def input_frame(self) -> U32: ...
    @property
    def input_stamp(self) -> U32: ...
    @property
    def command_first(self) -> U32: ...
    @property
    def command_count(self) -> npt.NDArray[np.uint8]: ...
    @property
    def commands(self) -> npt.NDArray[Any]: ...
    @property
    def ack_conn(self) -> U32: ...
    @property
    def ack_frame(self) -> U32: ...
    @property
    def ack_stamp(self) -> U32: ...


@dataclass(frozen=True, slots=True, eq=False)
class Deliver:
    """Send ``data`` to ``conns``; with ``sseq`` (uint32[n]) its sequence number is set for each
    (messages.SSEQ_OFFSET)."""

    conns: Conns
    data: bytes
    sseq: U32 | None


Output = Deliver | CloseConn | RefreshKeys


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """What does not change while the gateway runs."""

    gateway: int
    world: str
    rate_hz: int
    steps_per_tick: int
    anchor: tuple[float, float, float] | None
    map: str | None
    attribution: str
    server: str
    idle_ack_ms: int = 200
    body_kind: str = "person"


class GatewayCore:
    """One gateway. ``capacity`` bounds connections; ``conn`` is always the transport's index of one."""

    def __init__(
        self,
        facts: GatewayFacts,
        capacity: int,
        rules: ViewRules,
        limits: SessionLimits,
        authenticate: Authenticate,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.facts_fixed = facts
        self.rules = rules
        self.mirror = Mirror(cell_units=round(rules.radius_m * GRID_PER_M / CELLS_PER_RADIUS))
        self.views = Views(capacity, rules, 1000 / facts.rate_hz)
        self.sessions = Sessions(capacity, limits, self, authenticate, random_bytes)
        self.tick_now = 0
        self.inputs = 0
        """INPUT messages taken, for metrics."""
        self._heard_s = np.zeros(capacity, np.float64)
        self._body_row = np.zeros(capacity, np.uint32)
        self._body_generation = np.zeros(capacity, np.uint32)
        self._steers = np.zeros(capacity, np.bool_)
        self._bodies: dict[int, tuple[int, int]] = {}
        self._pending_bodies: set[int] = set()
        self._forged = np.zeros(capacity, np.int32)
        self._out: list[Output] = []
        self._schema: dict[str, Any] = {"kinds": [], "components": []}
        self._schema_hash = schema_hash(self._schema)
        self._up_seq = 0
        self._subscribe: list[int] = []
        self._attach: list[list[Any]] = []
        self._detach: list[list[Any]] = []
        self._input_conn: list[U32] = []
        self._input_seq: list[U32] = []
        self._input_commands: list[npt.NDArray[Any]] = []

    # ------------------------------------------------------------------------------------- what sessions ask (World)
    def facts(self, conn: int, profile: str) -> WelcomeFacts:
        """Facts for a WELCOME."""
        f = self.facts_fixed
        return WelcomeFacts(
            world=f.world,
            tick=self.tick_now,
            rate_hz=f.rate_hz,
            steps_per_tick=f.steps_per_tick,
            stream=1,
            radius_m=self.rules.radius_m,
            near_radius_m=self.rules.near_radius_m,
            schema=self._schema,
            schema_hash=self._schema_hash,
            anchor=f.anchor,
            map=f.map,
            attribution=f.attribution,
            idle_ack_ms=f.idle_ack_ms,
            server=f.server,
        )

    def body_kind(self, profile: str) -> int:
        """The kind of people's bodies, by its name in the schema."""
        for kind, name in self._schema["kinds"]:
            if name == self.facts_fixed.body_kind:
                return int(kind)
        return 0

    def near(self, conn: int, radius_m: float) -> Conns:
        """Connections whose bodies are within ``radius_m`` of that of ``conn``, itself included."""
        views = self.views.state.views
        live = self.sessions.live_conns
        live = live[views["body"][live] >= 0]
        dx = (views["x"][live].astype(np.int64) - int(views["x"][conn])) / GRID_PER_M
        dz = (views["z"][live].astype(np.int64) - int(views["z"][conn])) / GRID_PER_M
        near: Conns = live[dx * dx + dz * dz <= radius_m * radius_m]
        return near

    # ------------------------------------------------------------------------------------------ what clients did
    def connected(self, conn: int, address: str, now_s: float) -> None:
        """A connection was accepted."""
        self._heard_s[conn] = now_s
        self._do(self.sessions.connected(conn, address, now_s), now_s)

    def said(self, conn: int, data: bytes, now_s: float) -> None:
        """One whole message that is not hot; anything wrong with it ends this session alone."""
        self._heard_s[conn] = now_s
        try:
            message = decode_client(data)
        except ProtocolViolation as violation:
            self.violated(conn, violation.reason, violation.code, now_s, violation.text)
            return
        if message is not None:
            self._do(self.sessions.said(conn, message, now_s), now_s)

    def violated(self, conn: int, reason: str, code: Close, now_s: float, text: str = "") -> None:
        """The transport found something that the standard does not allow."""
        self._do(self.sessions.violated(conn, reason, code, now_s, text), now_s)

    def lost(self, conn: int, now_s: float) -> None:
        """The connection is gone."""
        self._do(self.sessions.lost(conn, now_s), now_s)

    def keys_refreshed(self, now_s: float) -> None:
        """The key set was fetched anew, or could not be."""
        self._do(self.sessions.keys_refreshed(now_s), now_s)

    def drain(self, text: str, now_s: float) -> None:
        """Everybody is told to come back: the process ends."""
        self._do(self.sessions.stopped(text, now_s), now_s)

    def take_inbound(self, inbound: Inbound, now_s: float) -> None:
        """Everything that arrived, in the order in which it means something; columns are copied where they are kept."""
        for opened in inbound.opened:
            self.connected(opened.conn, opened.remote, now_s)
        for conn, data in inbound.cold:
            self.said(conn, data, now_s)
        if len(inbound.input_conn):
            self._take_inputs(inbound, now_s)
        if len(inbound.ack_conn):
            self._heard_s[inbound.ack_conn] = now_s
            self._acks(inbound.ack_conn, inbound.ack_frame, inbound.ack_stamp, now_s)
        for lost in inbound.lost:
            self.lost(lost.conn, now_s)

    def _take_inputs(self, inbound: Inbound, now_s: float) -> None:
        conn = inbound.input_conn
        self.inputs += len(conn)
        self._heard_s[conn] = now_s
        self._acks(conn, inbound.input_frame, inbound.input_stamp, now_s)
        count = inbound.command_count.astype(np.int64)
        nth = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        of_message = np.repeat(np.arange(len(conn)), count)
        kept = self._steers[conn][of_message]
        back = (count[of_message] - 1 - nth).astype(np.uint32)
        self._input_conn.append(conn[of_message][kept])
        self._input_seq.append((inbound.input_seq[of_message] - back)[kept])
        self._input_commands.append(inbound.commands[(inbound.command_first[of_message] + nth)[kept]])

    def _acks(self, conn: U32, frame: U32, stamp: U32, now_s: float) -> None:
        if len(self._forged) < len(conn):
            self._forged = np.zeros(2 * len(conn), np.int32)
        bad = take_acks(conn, frame, stamp, int(now_s * 1000), self.views.state, self._forged)
        if not self.views.state.views["active"][conn].all():
            for index in conn[self.views.state.views["active"][conn] == 0].tolist():
                # Nothing if it has just ended: what it said before that arrived late.
                self.violated(index, "order", Close.PROTOCOL, now_s, "the first message must be HELLO")
        for index in self._forged[:bad].tolist():
            self.violated(index, "forged_ack", Close.PROTOCOL, now_s, "a frame was acknowledged that was never sent")

    # ------------------------------------------------------------------------------------------- to and from shards
    def upward(self, tick: int) -> bytes:
        """What the shard is told for ``tick`` (link.Upward)."""
        self._up_seq += 1
        up = Upward(self.facts_fixed.gateway, self._up_seq, tick, subscribe=bool(self._subscribe))
        up.attach, up.detach = self._attach, self._detach
        if self._input_conn:
            conn = np.concatenate(self._input_conn)
            up.input_row = self._body_row[conn]
            up.input_generation = self._body_generation[conn]
            up.input_seq = np.concatenate(self._input_seq)
            up.input_command = np.concatenate(self._input_commands).astype(COMMAND, copy=False)
        self._subscribe, self._attach, self._detach = [], [], []
        self._input_conn, self._input_seq, self._input_commands = [], [], []
        return up.encode()

    def subscribe(self, region: int) -> None:
        """Ask for a snapshot of ``region`` with the next ``upward``."""
        if region not in self._subscribe:
            self._subscribe.append(region)

    def receive(self, data: bytes, now_s: float) -> None:
        """What a shard published. Raises ProtocolViolation if the bytes are malformed: the link must then be reset."""
        delta = RegionDelta.decode(data)
        if not self.mirror.apply(delta):
            self.subscribe(delta.region)
        if delta.schema is not None:
            self._learn_schema(delta.schema)
        if delta.snapshot:
            self._pending_bodies.update(self._bodies)
        for session, generation, entity, row, row_generation in delta.attached:
            self._do(self.sessions.attached(session, generation, entity, row, row_generation, now_s), now_s)
        for session, code, text in delta.refused:
            self._do(self.sessions.refused(session, code, text), now_s)
        for conn in list(self._pending_bodies):
            self._find_body(conn, delta.region)
        if len(delta.own_row):
            rows = self.mirror.rows_of(delta, delta.own_row)
            kept = rows >= 0
            rows = rows[kept]
            take_owns(
                rows,
                self.mirror.hot["serial"][rows],
                delta.own_seq[kept],
                delta.own_steps[kept],
                delta.own_flags[kept],
                delta.own_p[kept],
                delta.own_v[kept].astype(np.int32),
                self.mirror.view_of,
                self.views.state,
            )
        for session, entity, name, payload in delta.events:
            self._do(self.sessions.shard_event(session, entity, name, payload), now_s)

    def _find_body(self, conn: int, region: int) -> None:
        row = self.mirror.row_of(region, *self._bodies[conn])
        if row >= 0:
            self._pending_bodies.discard(conn)
            self.views.set_body(conn, row, self.mirror)

    def _learn_schema(self, schema: dict[str, Any]) -> None:
        learned = schema_hash(schema)
        if learned == self._schema_hash:
            return
        self._schema, self._schema_hash = schema, learned
        live = self.sessions.live_conns
        if len(live):
            self._post(live, encode_server(Schema(schema, learned)))
            self.views.forget(live)

    # -------------------------------------------------------------------------------------------------------- output
    def tick(self, tick: int, now_s: float, headroom: bool = True) -> None:
        """Time passed: deadlines, presence, joins. ``headroom``: whether new sessions may come in."""
        self.tick_now = tick
        self.sessions.headroom = headroom
        self._do(self.sessions.tick(now_s, self._heard_s), now_s)

    def take(self) -> list[Output]:
        """What is to be done, in order; deliver it before the next frames."""
        out, self._out = self._out, []
        return out

    def frames(self, tick: int, now_s: float, blocked: npt.NDArray[np.uint8]) -> Iterator[Batch]:
        """Frames of ``tick`` for all views that may have one."""
        self.mirror.advance(tick)
        return self.views.frames(tick, int(now_s * 1000), self.mirror, blocked)

    def _do(self, actions: list[Action], now_s: float) -> None:
        for action in actions:
            match action:
                case Post():
                    self._post(action.conns, encode_server(action.message))
                case CloseConn():
                    self._out.append(action)
                    self._do(self.sessions.lost(action.conn, now_s), now_s)
                case RefreshKeys():
                    self._out.append(action)
                case AttachBody():
                    body = action.body or 0
                    self._attach.append(
                        [action.session, action.generation, action.name, action.kind, action.profile, body]
                    )
                case DetachBody():
                    self._detach.append([action.session, action.generation, action.remove])
                case OpenView():
                    self._open(action)
                case CloseView():
                    self._steers[action.conn] = False
                    self._bodies.pop(action.conn, None)
                    self._pending_bodies.discard(action.conn)
                    self.views.close(action.conn, self.mirror)

    def _open(self, action: OpenView) -> None:
        conn = action.conn
        self.views.open(conn, 1, (0, 0, 0), int(self._heard_s[conn] * 1000))
        if action.body is not None:
            self._steers[conn] = True
            self._body_row[conn], self._body_generation[conn] = action.row, action.row_generation
            self._bodies[conn] = (action.row, action.row_generation)
            self._pending_bodies.add(conn)

    def _post(self, conns: Conns, data: bytes) -> None:
        if data[1] not in STRUCTURE_TYPES:
            self._out.append(Deliver(conns, data, None))
            return
        views = self.views.state.views
        conns = conns[views["active"][conns] == 1]
        if len(conns):
            views["sseq"][conns] += np.uint32(1)
            self._out.append(Deliver(conns, data, views["sseq"][conns].copy()))
