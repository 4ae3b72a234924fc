"""The gateway's core: what comes from clients and shards in, frames and messages out.

Decides: whose commands go to which row of which region, who is told what, where newcomers begin, when a body counts as
lost. One tick of its shell is: ``take_inbound`` and ``said`` as things come, ``upward`` to the shards, ``receive`` what
they published, ``tick``, ``take`` the messages, ``frames``.
Invariants: messages taken are delivered before the next frames, in order; a structure message's number is given here,
once; a body's commands go to the region where the mirror has it. Not responsible for: admission and chat rules
(``server.session``), what regions are mirrored and what got lost on the way (``regions``), bytes on sockets, time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.orders import Orders, ProfileChange
from cluster.partition import Partition, Sights
from cluster.regions import MARGIN_M, Layout
from kernels.pace import take_owns
from protocol.acting import Act, Answer
from protocol.channels import TV, TV_ACK_MS, Watch
from protocol.codes import Close, ProtocolViolation
from protocol.layouts import COMMAND, GRID_PER_M
from protocol.link import RegionDelta, Upward
from protocol.mesh import Word
from protocol.messages import CARRIER_UDP, Chat, Pose, Schema, decode_client, encode_server
from server.core.acting import Acts
from server.core.arrivals import U32, U64, Inbound
from server.core.bodies import ALONE, Bodies
from server.core.cameras import ChannelSpec
from server.core.channels import Channels
from server.core.inputs import Inputs
from server.core.mirror import NOWHERE, Mirror
from server.core.outgoing import Conns, Outgoing, Output
from server.core.poses import PoseRules, Poses
from server.core.profiles import Profile, changed, portion_of
from server.core.regions import Regions
from server.core.schema import schema_hash
from server.core.seeing import bounds
from server.core.sight import Sight
from server.core.views import Batch, Portion, ViewRules, Views
from server.session.actions import (
    Action,
    AttachBody,
    CloseConn,
    CloseView,
    DetachBody,
    ForgetBody,
    GiveToken,
    OpenView,
    Post,
    RefreshKeys,
    ReleaseBody,
    TakeAct,
    TakeWatch,
)
from server.session.identity import Authenticate
from server.session.limits import SessionLimits
from server.session.moderation import no_wall_clock
from server.session.sessions import Sessions
from server.session.tickets import Tickets
from server.session.world import WelcomeFacts

CELLS_PER_RADIUS = 4
"""Finer cells cost more lines, coarser ones more rows out of range: measured best for 50 to 200 visible."""
LOOK_TICKS = 10
"""Which regions views see, and whose body is gone, is looked up so often."""
FRAMES_MAX = 2**32 - 2**16
"""A stream that has had so many frames ends before their numbers come round (STANDARD.md §5): 0 is none's. What is
left is more than LOOK_TICKS can bring."""
PEOPLE_DOUBLED = 1
"""Where not all fits, a person is told of as if it were nearer, or had waited twice as long as a thing."""
SAID_WEIGHT, DONE_WEIGHT = 1.0, 0.5
"""For a channel's director: of a line in the chat, of an act or of something that a behaviour says of an entity."""


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
    layout: Layout | None = None
    """The regions that the world begins with; None: one region without borders, number 0."""
    spawn_m: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    """Places (x, z) where newcomers begin; the regions there, in turn."""


class GatewayCore:
    """One gateway. ``capacity`` bounds connections; ``conn`` is always the transport's index of one; those from
    ``datagrams_from`` on are told by datagrams, which ``carriers`` bring. ``profiles``: what clients of each are told;
    all others get what ``rules`` allow. ``unix_s``: seconds since 1970, by which operators' orders end."""

    def __init__(
        self,
        facts: GatewayFacts,
        capacity: int,
        rules: ViewRules,
        limits: SessionLimits,
        authenticate: Authenticate,
        random_bytes: Callable[[int], bytes],
        tickets: Tickets | None = None,
        channels: Sequence[ChannelSpec] = (),
        *,
        datagrams_from: int | None = None,
        carriers: frozenset[int] = frozenset({CARRIER_UDP}),
        profiles: Mapping[str, Profile] = MappingProxyType({}),
        pose_rules: PoseRules | None = None,
        unix_s: Callable[[], float] = no_wall_clock,
    ) -> None:
        self.facts_fixed = facts
        self.rules = rules
        self.profiles = profiles
        """As configured; what operators changed of them is in ``portions``."""
        self.portions = {name: portion_of(profile, rules, facts.rate_hz) for name, profile in profiles.items()}
        self.mirror = Mirror(
            round(rules.radius_m * GRID_PER_M / CELLS_PER_RADIUS),
            round(rules.outer_tolerance_m * GRID_PER_M) if rules.outer_radius_m < rules.radius_m else 0,
        )
        self.views = Views(capacity, rules, 1000 / facts.rate_hz, datagrams_from)
        self.channels = Channels(channels, capacity, facts.rate_hz, rules.hysteresis)
        self.sessions = Sessions(
            capacity, limits, self, authenticate, random_bytes, tickets,
            None if facts.layout is None else facts.gateway, unix_s,
        )  # fmt: skip
        self.sessions.carriers = frozenset() if datagrams_from is None else carriers
        self.tick_now = 0
        self.inputs = 0
        """INPUT messages taken, for metrics."""
        self.on_commands: Callable[[U32, U32], None] | None = None
        """For traces, as the next two: called with connections and numbers of commands as they come."""
        self.on_upward: Callable[[dict[int, tuple[Any, Any, Any, Any, Any]]], None] | None = None
        """Called with what regions are told of commands: rows, generations, numbers, commands, connections of each."""
        self.on_delta: Callable[[], None] | None = None
        """Called when a region's delta was taken in."""
        self._heard_s = np.zeros(capacity, np.float64)
        self.partition = None if facts.layout is None else Partition.of(facts.layout)
        self.regions = Regions(facts.gateway, self.partition, self._is_awaited)
        self.commands = Inputs(capacity)
        numbers = self.views.state.slot.shape[1]
        self.poses = Poses(capacity, numbers, pose_rules or PoseRules(), facts.rate_hz, datagrams_from)
        self.acts = Acts(limits)
        self._now_s = 0.0
        self._framed_tick = 0
        """Of the newest frames."""
        self.bodies = Bodies(
            capacity, facts.gateway, self.partition, facts.spawn_m, self.mirror, self.views, self.regions,
            self.sessions, self._do, self._again,
        )  # fmt: skip
        self._out = Outgoing(self.views.state.views, self.channels.audience)
        self._schema: dict[str, Any] = {"kinds": [], "components": []}
        self._schema_hash = schema_hash(self._schema)
        if facts.layout is None:
            self.regions.want(ALONE, 0.0)

    @property
    def schema(self) -> dict[str, Any]:
        """Kinds and components, as regions told."""
        return self._schema

    @property
    def ready(self) -> bool:
        """Whether a region has told what there is in this world: nobody can be let in before."""
        return bool(self._schema["kinds"])

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
            radius_m=self._portion(profile).radius_m,
            near_radius_m=self._portion(profile).near_radius_m,
            schema=self._schema,
            schema_hash=self._schema_hash,
            anchor=f.anchor,
            map=f.map,
            attribution=f.attribution,
            idle_ack_ms=TV_ACK_MS if profile == TV else f.idle_ack_ms,
            server=f.server,
        )

    def _portion(self, profile: str) -> Portion:
        return self.portions.get(profile) or Portion.of(self.rules)

    def body_kind(self, profile: str) -> int:
        """The kind of people's bodies, by its name in the schema."""
        for kind, name in self._schema["kinds"]:
            if name == self.facts_fixed.body_kind:
                return int(kind)
        return 0

    def place(self, conn: int) -> tuple[float, float]:
        """Where a view is (x, z; metres)."""
        view = self.views.state.views[conn]
        return int(view["x"]) / GRID_PER_M, int(view["z"]) / GRID_PER_M

    def window_bytes(self, conn: int) -> int:
        """What the way to a client holds, as its view has found out."""
        return int(self.views.state.views["window_bytes"][conn])

    def near(self, place_m: tuple[float, float], radius_m: float) -> Conns:
        """Connections whose bodies are within ``radius_m`` of a place."""
        views = self.views.state.views
        live = self.sessions.live_conns
        live = live[views["body"][live] >= 0]
        dx = views["x"][live] / GRID_PER_M - place_m[0]
        dz = views["z"][live] / GRID_PER_M - place_m[1]
        near: Conns = live[dx * dx + dz * dz <= radius_m * radius_m]
        return near

    # ------------------------------------------------------------------------------------------ what clients did
    def connected(
        self, conn: int, address: str, now_s: float, secure: bool = False, session: int | None = None
    ) -> None:
        """A connection was accepted; arguments as in ``Sessions.connected``."""
        self._heard_s[conn] = now_s
        self._do(self.sessions.connected(conn, address, now_s, secure, session), now_s)

    def said(self, conn: int, data: bytes, now_s: float) -> None:
        """One whole message that is not hot; anything wrong with it ends this session alone."""
        self._heard_s[conn] = now_s
        try:
            message = decode_client(data)
        except ProtocolViolation as violation:
            self.violated(conn, violation.reason, violation.code, now_s, violation.text)
            return
        if isinstance(message, Pose):
            self._take_pose(conn, message, now_s)
        elif message is not None:
            self._do(self.sessions.said(conn, message, now_s), now_s)

    def violated(self, conn: int, reason: str, code: Close, now_s: float, text: str = "") -> None:
        """The transport found something that the standard does not allow."""
        self._do(self.sessions.violated(conn, reason, code, now_s, text), now_s)

    def lost(self, conn: int, now_s: float) -> None:
        """The connection is gone, and what waits for it: its slot may be another's before that is delivered."""
        self._out.drop(conn)
        self._do(self.sessions.lost(conn, now_s), now_s)

    def keys_refreshed(self, now_s: float) -> None:
        """The key set was fetched anew, or could not be."""
        self._do(self.sessions.keys_refreshed(now_s), now_s)

    def drain(self, text: str, now_s: float) -> None:
        """Everybody is told to come back: the process ends."""
        self._do(self.sessions.stopped(text, now_s), now_s)

    def told(self, word: Word, now_s: float) -> None:
        """What another gateway said."""
        self._do(self.sessions.told(word, now_s), now_s)

    def move_away(self, url_of: Callable[[int, float], str | None], within_ms: int, now_s: float) -> None:
        """Everybody is sent to other gateways; ``url_of(conn, now_s)`` names one, or None if there is none."""
        self._do(self.sessions.drain(url_of, within_ms, now_s), now_s)

    @property
    def telling_s(self) -> float:
        """How long it takes to tell everybody to go, as many in a tick as may join in one."""
        sessions = self.sessions
        return len(sessions.live_conns) / sessions.limits.joins_per_tick / self.facts_fixed.rate_hz

    def send(self, urls: Sequence[tuple[int, str]], within_ms: int, now_s: float) -> None:
        """These connections are sent to other gateways, each to its address."""
        self._do(self.sessions.send(urls, within_ms, now_s), now_s)

    def sights(self, conns: Conns) -> Sights:
        """Which regions these connections' views need to be mirrored; of a world with more than one."""
        assert self.partition is not None
        views = self.views.state.views[conns]
        x_m, z_m = views["x"] / GRID_PER_M, views["z"] / GRID_PER_M
        return self.partition.seen(x_m, z_m, self.sight_m)

    def obey(self, orders: Orders, now_s: float) -> None:
        """All that operators order now (``cluster.orders``)."""
        self._do(self.sessions.obey(orders), now_s)
        changes = {order.profile: order.values for order in orders.values() if isinstance(order, ProfileChange)}
        for name, profile in self.profiles.items():
            portion = portion_of(profile.but(changed(changes.get(name, {}))), self.rules, self.facts_fixed.rate_hz)
            if portion != self.portions[name]:
                self.portions[name] = portion
                self.views.apportion(self.sessions.live_with(name), portion, int(now_s * 1000))

    def regroup(self, partition: Partition, now_s: float) -> None:
        """Regions were split or merged: those in their place have what they had, and what they may not have heard is
        said to those."""
        self.partition = partition
        self.bodies.regroup(partition)
        for gone in self.regions.regroup(partition, now_s):
            self.mirror.retire(gone.number, gone.heirs, max(self.tick_now, self.mirror.newest_tick))
            self.bodies.gone(gone, partition, now_s)

    def _again(self, conn: int) -> None:
        """What a connection's body was told may not have been heard: say it once more."""
        self.commands.again(conn)
        self.acts.again(conn)

    @property
    def sight_m(self) -> float:
        """How far around a view regions are mirrored, the margin included (``regions``)."""
        return self.rules.radius_m * self.rules.hysteresis + MARGIN_M

    def take_inbound(self, inbound: Inbound, now_s: float) -> None:
        """Everything that arrived, in the order in which it means something; columns are copied where they are kept."""
        for opened in inbound.opened:
            self.connected(opened.conn, opened.remote, now_s, opened.secure, opened.session)
        for conn, data in inbound.cold:
            self.said(conn, data, now_s)
        if len(inbound.input_conn):
            self._take_inputs(inbound, now_s)
        if len(inbound.ack_conn):
            self._heard_s[inbound.ack_conn] = now_s
            self._acks(inbound.ack_conn, inbound.ack_frame, inbound.ack_stamp, inbound.ack_earlier, now_s)
        if len(inbound.pose_conn):
            self._take_poses(inbound, now_s)
        for lost in inbound.lost:
            self.lost(lost.conn, now_s)

    def _take_inputs(self, inbound: Inbound, now_s: float) -> None:
        conn = inbound.input_conn
        self.inputs += len(conn)
        self._heard_s[conn] = now_s
        self._acks(conn, inbound.input_frame, inbound.input_stamp, inbound.input_earlier, now_s)
        count = inbound.command_count.astype(np.int64)
        nth = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        of_message = np.repeat(np.arange(len(conn)), count)
        kept = self.bodies.steers[conn][of_message]
        back = (count[of_message] - 1 - nth).astype(np.uint32)
        commands = inbound.commands[(inbound.command_first[of_message] + nth)[kept]].astype(COMMAND, copy=False)
        who, seq = conn[of_message][kept], (inbound.input_seq[of_message] - back)[kept]
        self.commands.take(who, seq, commands)
        if self.on_commands is not None:
            self.on_commands(who, seq)

    def _take_poses(self, inbound: Inbound, now_s: float) -> None:
        conn = inbound.pose_conn
        self._heard_s[conn] = now_s
        bad = self.poses.take(conn, inbound.pose_at, inbound.pose_bytes, inbound.pose_data)
        for index in conn[self.views.state.views["active"][conn] == 0].tolist():
            self.violated(index, "order", Close.PROTOCOL, now_s, "the first message must be HELLO")
        for index in bad:
            self.violated(index, "malformed", Close.PROTOCOL, now_s, "POSE: a stamp and 1 to 3 samples were expected")

    def _take_pose(self, conn: int, pose: Pose, now_s: float) -> None:
        if self.views.state.views["active"][conn]:
            self.poses.said(conn, pose)
        else:
            self.violated(conn, "order", Close.PROTOCOL, now_s, "the first message must be HELLO")

    def _acks(self, conn: U32, frame: U32, stamp: U32, earlier: U64, now_s: float) -> None:
        on_tv = self.channels.audience.present[conn]
        if on_tv.any():
            self.channels.acknowledged(conn[on_tv], frame[on_tv])
            conn, frame, stamp = conn[~on_tv], frame[~on_tv], stamp[~on_tv]
            earlier = earlier[~on_tv] if len(earlier) else earlier
        forged = self.views.take_acks(conn, frame, stamp, earlier, int(now_s * 1000))
        if not self.views.state.views["active"][conn].all():
            for index in conn[self.views.state.views["active"][conn] == 0].tolist():
                # Nothing if it has just ended: what it said before that arrived late.
                self.violated(index, "order", Close.PROTOCOL, now_s, "the first message must be HELLO")
        for index in forged.tolist():
            self.violated(index, "forged_ack", Close.PROTOCOL, now_s, "a frame was acknowledged that was never sent")

    # ------------------------------------------------------------------------------------------- to and from shards
    def upward(self, tick: int) -> list[tuple[int, bytes]]:
        """What each region is told for ``tick`` (link.Upward): region and message."""
        conn, seq, commands = self.commands.drain(self.views.state.views["own_seq"])
        said: dict[int, tuple[Any, Any, Any, Any, Any]] = {}
        if len(conn):
            home = self.bodies.region[conn]
            for region in np.unique(home).tolist():
                at: Any = slice(None) if (home == region).all() else np.flatnonzero(home == region)
                who = conn[at]
                if region != NOWHERE:
                    said[region] = self.bodies.row[who], self.bodies.generation[who], seq[at], commands[at], who
        if self.on_upward is not None:
            self.on_upward(said)
        messages = self.regions.upward(tick, self.mirror.heard, said, self._acts_by_region())
        self._say_poses(messages)
        return [(message.region, message.encode()) for message in messages]

    def _say_poses(self, messages: Sequence[Upward]) -> None:
        """New poses go with the messages to the regions of their bodies; those whose body is nowhere are left out."""
        conns = self.poses.drain()
        if not len(conns):
            return
        conns = conns[self.bodies.steers[conns]]
        home = self.bodies.region[conns]
        for message in messages:
            who = conns[home == message.region]
            if len(who):
                self.poses.put(message, who, self.bodies.row[who], self.bodies.generation[who])

    def _acts_by_region(self) -> dict[int, list[tuple[int, list[list[Any]]]]]:
        """What connections' bodies are asked to do now; those whose body is nowhere wait."""
        said: dict[int, list[tuple[int, list[list[Any]]]]] = {}
        for conn, entries in self.acts.drain(self._now_s):
            region = int(self.bodies.region[conn])
            if region == NOWHERE:
                self.acts.again(conn)
                continue
            session, generation = self.bodies.session_of[conn], int(self.bodies.session_generation[conn])
            said.setdefault(region, []).append((conn, [[session, generation, *entry] for entry in entries]))
        return said

    def receive(self, delta: RegionDelta, now_s: float) -> None:
        """What a region published."""
        if delta.former:
            self.regions.heir(delta.region, delta.former, now_s)
        if not self.regions.is_wanted(delta.region) or not self.mirror.apply(delta):
            self.regions.gap(delta.region, now_s)
        else:
            for conn in self.regions.heard(delta, now_s):
                self._again(conn)
        for region in sorted(self.mirror.missed):
            if self.regions.gap(region, now_s):
                self.mirror.missed.discard(region)
        if delta.schema is not None:
            self._learn_schema(delta.schema)
        self.bodies.told(delta, now_s)
        for session, code, text in delta.refused:
            self._do(self.sessions.refused(session, code, text), now_s)
        self.bodies.show(afresh=delta.snapshot)
        # Of a delta that does not follow, rows are not those of the mirror: another owner numbers them anew.
        if len(delta.own_row) and self.mirror.heard(delta.region) == (delta.epoch, delta.seq):
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
        if len(delta.pose_row) and self.mirror.heard(delta.region) == (delta.epoch, delta.seq):
            self.poses.receive(delta, self.mirror)
        for session, entity, name, payload in delta.events:
            self._happened(entity, DONE_WEIGHT)
            self._do(self.sessions.shard_event(session, entity, name, payload), now_s)
        for session, number, code, value, gateway in delta.answers:
            if gateway == self.facts_fixed.gateway and session in self.bodies.conn_of:
                self._answer(self.bodies.conn_of[session], Answer(number, code, value))
                self._happened(self.bodies.body_of.get(self.bodies.conn_of[session]), DONE_WEIGHT)
        if self.on_delta is not None:
            self.on_delta()

    def _happened(self, entity: int | None, weight: float) -> None:
        """Something for the directors of channels."""
        row = -1 if entity is None or not self.channels.directed else self.mirror.row_of(entity)
        if row >= 0:
            hot = self.mirror.hot[row]
            self.channels.happened(self.tick_now, int(hot["x"]) / GRID_PER_M, int(hot["z"]) / GRID_PER_M, weight)

    def _take_watch(self, conn: int, watch: Watch) -> None:
        answer = self.channels.ask(conn, watch)
        if answer is not None:
            self._out.post(np.array([conn], np.int32), encode_server(answer))

    def _answer(self, conn: int, answer: Answer) -> None:
        """A body's owner has carried out an act: its client is told, in order."""
        for told in self.acts.heard(conn, answer):
            self._out.post(np.array([conn], np.int32), encode_server(told))

    def _seen(self, conn: int) -> tuple[int, int]:
        """Which ticks a client can have shown that says something now."""
        view = self.views.state.views[conn]
        rtt_ms = int(view["rtt_ms"]) if view["rtt_window_end_ms"] else None
        return bounds(self._framed_tick, rtt_ms, 1000 / self.facts_fixed.rate_hz)

    def _take_act(self, conn: int, act: Act, now_s: float) -> None:
        try:
            answer = self.acts.said(conn, act, self._seen(conn))
        except ProtocolViolation as violation:
            self.violated(conn, violation.reason, violation.code, now_s, violation.text)
            return
        if answer is not None:
            self._out.post(np.array([conn], np.int32), encode_server(answer))

    def _is_awaited(self, attach: list[Any]) -> bool:
        return self.sessions.awaits(attach[0], attach[1])

    def _learn_schema(self, schema: dict[str, Any]) -> None:
        learned = schema_hash(schema)
        if learned == self._schema_hash:
            return
        self._schema, self._schema_hash = schema, learned
        if person := self.body_kind(""):
            self.mirror.weigh(person, PEOPLE_DOUBLED)
        live = self.sessions.live_conns
        if len(live):
            self._out.post(live, encode_server(Schema(schema, learned)))
            self.views.forget(live)
            self.poses.forget(live)
        self.channels.begin_anew()

    # -------------------------------------------------------------------------------------------------------- output
    def tick(self, tick: int, now_s: float, headroom: bool = True) -> None:
        """Time passed: deadlines, presence, joins. ``headroom``: whether new sessions may come in."""
        self.tick_now, self._now_s = tick, now_s
        self.sessions.headroom, self.sessions.ready = headroom, self.ready
        self._do(self.sessions.tick(now_s, self._heard_s), now_s)
        for conn, answer in self.channels.tick(tick, now_s):
            self._out.post(np.array([conn], np.int32), encode_server(answer))
        if tick % LOOK_TICKS == 0:
            self._end_spent(now_s)
            self.bodies.look(now_s)
            self._look_around(now_s)

    def _end_spent(self, now_s: float) -> None:
        """Streams without a number for their next frames; the session goes on with another one."""
        views = self.views.state.views[: self.views.high]
        for conn in np.flatnonzero((views["active"] == 1) & (views["frame"] >= FRAMES_MAX)).tolist():
            self.violated(
                conn, "frames_spent", Close.GOING_AWAY, now_s, "this stream has no number left: go on by another"
            )

    def _look_around(self, now_s: float) -> None:
        """Mirror what views see, and no more."""
        if self.partition is None:
            return
        self.bodies.let_in(now_s)
        self.bodies.seek_on(now_s)
        self.regions.silence(now_s)
        if not self.ready:
            self.regions.want(self.bodies.spawns[0], now_s)
        # A body may be far outside of the region that has it: it waits there until what it did is stored.
        homes = np.unique(self.bodies.region[self.sessions.live_conns])
        for region in homes[homes != NOWHERE].tolist():
            self.regions.want(region, now_s)
        live = self.sessions.live_conns
        views = self.views.state.views[live[~self.channels.audience.present[live]]]
        x, z = self.channels.places()
        x, z = np.append(views["x"], x), np.append(views["z"], z)
        reach_m = max(self.rules.radius_m * self.rules.hysteresis, self.channels.reach_m)
        for region in self.regions.look(x, z, reach_m, now_s):
            self.mirror.forget(region)

    def take(self) -> list[Output]:
        """What is to be done, in order; deliver it before the next frames."""
        return self._out.take()

    def frames(self, tick: int, now_s: float, blocked: npt.NDArray[np.uint8]) -> Iterator[Batch]:
        """Frames of ``tick`` for all views that may have one; of a newer tick if a region has told of one already: a
        gateway that is late, or whose clock is, can not show what is gone. Datagrams come before WebSocket frames: they
        cost one system call in all, the others one each."""
        tick = self._framed_tick = max(tick, self.mirror.newest_tick)
        self.mirror.advance(tick)
        now_ms = int(now_s * 1000)
        sight = Sight(self.mirror, self._schema, self.body_kind(TV), self.facts_fixed.rate_hz)
        first, high = self.views.sent.first, self.views.high
        poses = partial(self.poses.frames, tick, self.mirror, self.views.state)
        return chain(
            self.views.frames(tick, now_ms, self.mirror, blocked, between=poses(first, high, blocked)),
            poses(0, min(first, high), blocked),
            self.channels.frames(tick, now_ms, sight, blocked),
        )

    def _do(self, actions: list[Action], now_s: float) -> None:
        for action in actions:
            match action:
                case Post():
                    self._out.post(action.conns, encode_server(action.message))
                    if isinstance(action.message, Chat):
                        self._happened(action.message.sender, SAID_WEIGHT)
                case CloseConn():
                    self._out.add(action)
                    self._do(self.sessions.lost(action.conn, now_s), now_s)
                case GiveToken() | RefreshKeys():
                    self._out.add(action)
                case AttachBody():
                    self.bodies.attach(action, now_s)
                case DetachBody():
                    self.bodies.detach(action)
                case ForgetBody():
                    self.bodies.forget(action.session)
                case OpenView():
                    self._open(action)
                    self.acts.begin(action.conn, action.body, now_s)
                case TakeAct():
                    self._take_act(action.conn, action.act, now_s)
                case TakeWatch():
                    self._take_watch(action.conn, action.watch)
                case ReleaseBody():
                    self.bodies.release(action.conn)
                    self.views.release_body(action.conn, self.mirror)
                case CloseView():
                    conn = action.conn
                    self.bodies.close(conn)
                    self.acts.end(conn)
                    self.channels.leave(conn)
                    self.views.close(conn, self.mirror)
                    self.poses.close(conn)

    def _open(self, action: OpenView) -> None:
        conn = action.conn
        centre = self.bodies.place_of(action.body)
        if action.profile == TV:
            self.views.blank(conn, centre)
            self.channels.enter(conn)
        else:
            portion = self._portion(action.profile)
            self.views.open(conn, 1, centre, int(self._heard_s[conn] * 1000), action.window_bytes, portion)
            self.poses.open(conn, action.profile)
        self.commands.begin(conn)
        self.bodies.open(action)
