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
from itertools import chain
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cluster.partition import Partition, Sights
from cluster.regions import MARGIN_M, Layout
from kernels.pace import take_owns
from protocol.acting import Act, Answer
from protocol.channels import TV, TV_ACK_MS, Watch
from protocol.codes import Close, ProtocolViolation
from protocol.layouts import COMMAND, GRID_PER_M
from protocol.link import RegionDelta, Upward
from protocol.mesh import Word
from protocol.messages import STRUCTURE_TYPES, Chat, Pose, Schema, decode_client, encode_server
from server.core.acting import Acts
from server.core.cameras import ChannelSpec
from server.core.channels import Channels
from server.core.inputs import Inputs
from server.core.mirror import NOWHERE, Mirror
from server.core.poses import PoseRules, Poses
from server.core.profiles import Profile, portion_of
from server.core.regions import Regions, touched
from server.core.schema import schema_hash
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
from server.session.sessions import Sessions
from server.session.tickets import Tickets
from server.session.world import WelcomeFacts

CELLS_PER_RADIUS = 4
"""Finer cells cost more lines, coarser ones more rows out of range: measured best for 50 to 200 visible."""
ALONE = 0
"""The number of the only region of a world without borders."""
LOOK_TICKS = 10
"""Which regions views see, and whose body is gone, is looked up so often."""
SEEK_S = 0.5
"""A body that is nowhere for so long is lost: an entity on its way is at most some ticks between two regions. While
nobody speaks for a region where it may be, it waits for the region's next owner."""
SHOW_S = 0.5
"""A session waits so long at most until its body can be shown: less than its former gateway lets it look on."""
FIND_S = 1.5
"""A body that no region has had for so long is gone: its session begins anew. Asked three times meanwhile. Nobody is
called gone while a region has no owner that can be reached."""
SAID_WEIGHT, DONE_WEIGHT = 1.0, 0.5
"""For a channel's director: of a line in the chat, of an act or of something that a behaviour says of an entity."""
NOBODY = 0
"""No gateway's number: of a body that no gateway has asked for since its region was loaded."""
Conns = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]


class Opened(Protocol):
    """A connection was made from address ``remote``."""

    @property
    def conn(self) -> int: ...
    @property
    def remote(self) -> str: ...
    @property
    def secure(self) -> bool: ...
    @property
    def session(self) -> int | None: ...


class Lost(Protocol):
    """A connection ended."""

    @property
    def conn(self) -> int: ...
    @property
    def reason(self) -> str: ...


class Inbound(Protocol):
    """What arrived: connections opened, whole messages that are not hot, hot ones in columns, connections lost.

    INPUTs (``input_*``, n of them; commands of message k are ``commands[command_first[k] : command_first[k] +
    command_count[k]]``), POSEs (message k is ``pose_data[pose_at[k] : pose_at[k] + pose_bytes[k]]``) and ACKs
    (``ack_*``); ``*_earlier`` as in STANDARD.md §9.4, empty if all came over WebSocket.
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
    def input_earlier(self) -> U64: ...
    @property
    def pose_conn(self) -> npt.NDArray[np.int32]: ...
    @property
    def pose_at(self) -> npt.NDArray[np.int32]: ...
    @property
    def pose_bytes(self) -> npt.NDArray[np.int32]: ...
    @property
    def pose_data(self) -> npt.NDArray[np.uint8]: ...
    @property
    def ack_conn(self) -> U32: ...
    @property
    def ack_frame(self) -> U32: ...
    @property
    def ack_stamp(self) -> U32: ...
    @property
    def ack_earlier(self) -> U64: ...


@dataclass(frozen=True, slots=True, eq=False)
class Deliver:
    """Send ``data`` to ``conns``; with ``sseq`` (uint32[n]) its sequence number is set for each
    (messages.SSEQ_OFFSET)."""

    conns: Conns
    data: bytes
    sseq: U32 | None


Output = Deliver | CloseConn | GiveToken | RefreshKeys


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
    ``datagrams_from`` on are told by datagrams. ``profiles``: what clients of each are told; all others get what
    ``rules`` allow."""

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
        profiles: Mapping[str, Profile] = MappingProxyType({}),
        pose_rules: PoseRules | None = None,
    ) -> None:
        self.facts_fixed = facts
        self.rules = rules
        self._portions = {name: portion_of(profile, rules, facts.rate_hz) for name, profile in profiles.items()}
        self.mirror = Mirror(
            round(rules.radius_m * GRID_PER_M / CELLS_PER_RADIUS),
            round(rules.outer_tolerance_m * GRID_PER_M) if rules.outer_radius_m < rules.radius_m else 0,
        )
        self.views = Views(capacity, rules, 1000 / facts.rate_hz, datagrams_from)
        self.channels = Channels(channels, capacity, facts.rate_hz, rules.hysteresis)
        self.sessions = Sessions(
            capacity, limits, self, authenticate, random_bytes, tickets, None if facts.layout is None else facts.gateway
        )
        self.sessions.datagrams = datagrams_from is not None
        self.tick_now = 0
        self.inputs = 0
        """INPUT messages taken, for metrics."""
        self._heard_s = np.zeros(capacity, np.float64)
        self.partition = None if facts.layout is None else Partition.of(facts.layout)
        self._spawns = self._spawn_regions()
        self.regions = Regions(facts.gateway, self.partition, self._is_awaited)
        self.commands = Inputs(capacity)
        numbers = self.views.state.slot.shape[1]
        self.poses = Poses(capacity, numbers, pose_rules or PoseRules(), facts.rate_hz, datagrams_from)
        self.acts = Acts(limits)
        self._now_s = 0.0
        self._body_region = np.full(capacity, NOWHERE, np.int64)
        self._body_row = np.zeros(capacity, np.uint32)
        self._body_generation = np.zeros(capacity, np.uint32)
        self._steers = np.zeros(capacity, np.bool_)
        self._body_of: dict[int, int] = {}
        self._session_of: dict[int, int] = {}
        self._session_at = np.zeros(capacity, np.uint64)
        self._session_generation = np.zeros(capacity, np.uint32)
        self._conn_of: dict[int, int] = {}
        self._kept: dict[int, tuple[int, int]] = {}
        """Of each session that asked for a body: the region that was asked, and the body given (0: none yet)."""
        self._unseen: set[int] = set()
        self._homing: dict[int, tuple[int, int, int]] = {}
        """Connections whose bodies were given in a region, row and generation where the mirror has none yet."""
        self._missing_s: dict[int, float] = {}
        self._sought: dict[int, tuple[AttachBody, float]] = {}
        self._arriving: dict[int, tuple[int, list[Any], float]] = {}
        """Sessions whose body a region has given, and which wait until it can be shown: region, entry, since when."""
        self._attaches = 0
        self._speaking = NOWHERE
        self._out: list[Output] = []
        self._schema: dict[str, Any] = {"kinds": [], "components": []}
        self._schema_hash = schema_hash(self._schema)
        if facts.layout is None:
            self.regions.want(ALONE, 0.0)

    @property
    def asked(self) -> int:
        """For metrics: sessions of whose bodies is known where they were asked for."""
        return len(self._kept)

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
        return self._portions.get(profile) or Portion.of(self.rules)

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
        self._out = [left for output in self._out if (left := _without(output, conn)) is not None]
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

    def send(self, urls: Sequence[tuple[int, str]], within_ms: int, now_s: float) -> None:
        """These connections are sent to other gateways, each to its address."""
        self._do(self.sessions.send(urls, within_ms, now_s), now_s)

    def sights(self, conns: Conns) -> Sights:
        """Which regions these connections' views need to be mirrored; of a world with more than one."""
        assert self.partition is not None
        views = self.views.state.views[conns]
        x_m, z_m = views["x"] / GRID_PER_M, views["z"] / GRID_PER_M
        return self.partition.seen(x_m, z_m, self.sight_m)

    def regroup(self, partition: Partition, now_s: float) -> None:
        """Regions were split or merged: those in their place have what they had, and what they may not have heard is
        said to those."""
        self.partition = partition
        self._spawns = self._spawn_regions()
        for gone in self.regions.regroup(partition, now_s):
            self.mirror.retire(gone.number, gone.heirs, max(self.tick_now, self.mirror.newest_tick))
            self._body_region[self._body_region == gone.number] = NOWHERE
            for conn in gone.conns:
                self.commands.again(conn)
                self.acts.again(conn)
            for session, generation, name, kind, profile, body in gone.attach:
                # Perhaps it was given a body in the last moment: nobody makes another one before that is known.
                ask = AttachBody(session, generation, name, kind, profile, body)
                self._sought[session] = ask, now_s + FIND_S
                self._seek(ask, partition)
            self._kept = {
                session: (gone.heirs[0] if region == gone.number else region, body)
                for session, (region, body) in self._kept.items()
            }
            self._homing = {conn: entry for conn, entry in self._homing.items() if entry[0] != gone.number}
            self._arriving = {s: entry for s, entry in self._arriving.items() if entry[0] != gone.number}

    def _spawn_regions(self) -> tuple[int, ...]:
        if self.partition is None:
            return (ALONE,)
        x_m, z_m = np.array(self.facts_fixed.spawn_m).T
        return tuple(dict.fromkeys(self.partition.region_at(x_m, z_m).tolist()))

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
        kept = self._steers[conn][of_message]
        back = (count[of_message] - 1 - nth).astype(np.uint32)
        commands = inbound.commands[(inbound.command_first[of_message] + nth)[kept]].astype(COMMAND, copy=False)
        self.commands.take(conn[of_message][kept], (inbound.input_seq[of_message] - back)[kept], commands)

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
            home = self._body_region[conn]
            for region in np.unique(home).tolist():
                at: Any = slice(None) if (home == region).all() else np.flatnonzero(home == region)
                who = conn[at]
                if region != NOWHERE:
                    said[region] = self._body_row[who], self._body_generation[who], seq[at], commands[at], who
        messages = self.regions.upward(tick, self.mirror.heard, said, self._acts_by_region())
        self._say_poses(messages)
        return [(message.region, message.encode()) for message in messages]

    def _say_poses(self, messages: Sequence[Upward]) -> None:
        """New poses go with the messages to the regions of their bodies; those whose body is nowhere are left out."""
        conns = self.poses.drain()
        if not len(conns):
            return
        conns = conns[self._steers[conns]]
        home = self._body_region[conns]
        for message in messages:
            who = conns[home == message.region]
            if len(who):
                self.poses.put(message, who, self._body_row[who], self._body_generation[who])

    def _acts_by_region(self) -> dict[int, list[tuple[int, list[list[Any]]]]]:
        """What connections' bodies are asked to do now; those whose body is nowhere wait."""
        said: dict[int, list[tuple[int, list[list[Any]]]]] = {}
        for conn, entries in self.acts.drain(self._now_s):
            region = int(self._body_region[conn])
            if region == NOWHERE:
                self.acts.again(conn)
                continue
            session, generation = self._session_of[conn], int(self._session_generation[conn])
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
                self.commands.again(conn)
                self.acts.again(conn)
        for region in sorted(self.mirror.missed):
            if self.regions.gap(region, now_s):
                self.mirror.missed.discard(region)
        if delta.schema is not None:
            self._learn_schema(delta.schema)
        self._speaking = delta.region
        for entry in delta.attached:
            self._attached(delta.region, entry, now_s)
        if self._arriving:
            self._let_in(now_s)
        if len(delta.kept_row):
            self._kept_bodies(delta, now_s)
        for session, code, text in delta.refused:
            self._do(self.sessions.refused(session, code, text), now_s)
        if delta.snapshot:
            self._unseen.update(self._body_of)
        for conn in list(self._unseen):
            self._show_body(conn)
        for conn in list(self._homing):
            self._come_home(conn)
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
            if gateway == self.facts_fixed.gateway and session in self._conn_of:
                self._answer(self._conn_of[session], Answer(number, code, value))
                self._happened(self._body_of.get(self._conn_of[session]), DONE_WEIGHT)

    def _happened(self, entity: int | None, weight: float) -> None:
        """Something for the directors of channels."""
        row = -1 if entity is None or not self.channels.directed else self.mirror.row_of(entity)
        if row >= 0:
            hot = self.mirror.hot[row]
            self.channels.happened(self.tick_now, int(hot["x"]) / GRID_PER_M, int(hot["z"]) / GRID_PER_M, weight)

    def _take_watch(self, conn: int, watch: Watch) -> None:
        answer = self.channels.ask(conn, watch)
        if answer is not None:
            self._post(np.array([conn], np.int32), encode_server(answer))

    def _answer(self, conn: int, answer: Answer) -> None:
        """A body's owner has carried out an act: its client is told, in order."""
        for told in self.acts.heard(conn, answer):
            self._post(np.array([conn], np.int32), encode_server(told))

    def _take_act(self, conn: int, act: Act, now_s: float) -> None:
        try:
            answer = self.acts.said(conn, act)
        except ProtocolViolation as violation:
            self.violated(conn, violation.reason, violation.code, now_s, violation.text)
            return
        if answer is not None:
            self._post(np.array([conn], np.int32), encode_server(answer))

    # --------------------------------------------------------------------------------------------------------- bodies
    def _attached(self, region: int, entry: list[Any], now_s: float) -> None:
        """A region says that a session's body is there: newly made, given again, or come over a border."""
        session, generation, entity, row, row_generation, gateway = entry[:6]
        conn = self._conn_of.get(session)
        mine = gateway == self.facts_fixed.gateway
        if gateway == NOBODY and not mine:  # it is back from the durable store, and waits for whoever has its session
            ask = self.sessions.reclaims(session, entity)
            if ask is not None:
                self._ask_body(ask, region, now_s)
            elif conn is not None and self.sessions.disowns(session, entity):
                self.regions.link(region).detach.append([session, generation, True, entity])
        elif not mine:
            self._do(self.sessions.elsewhere(session, generation, gateway, now_s), now_s)
        elif self.sessions.disowns(session, entity):
            # It left before it got the body, or the body crossed a border before it heard of that.
            self.regions.link(region).detach.append([session, generation, True, entity])
        elif conn is None or self._body_of.get(conn) != entity:
            self.regions.want(region, now_s)  # one that was only asked whether it has the body, perhaps
            if self.mirror.home_of(entity) == region or not self.sessions.awaits(session, generation):
                self._give(region, entry, now_s)
            else:
                since_s = self._arriving[session][2] if session in self._arriving else now_s
                self._arriving[session] = region, entry, since_s
        else:
            self._homing[conn] = region, row, row_generation
            self._come_home(conn)

    def _come_home(self, conn: int) -> None:
        """What is said for a body goes where it was given, as soon as the mirror has it there: of a region that began
        behind a crash that may be told before its snapshot has come, or its neighbour's."""
        region, row, row_generation = self._homing[conn]
        if not self.mirror.is_at(self._body_of[conn], region, row):
            return
        del self._homing[conn]
        before = self._body_region[conn], self._body_row[conn], self._body_generation[conn]
        if before != (region, row, row_generation):
            self._body_region[conn], self._body_row[conn] = region, row
            self._body_generation[conn] = row_generation
            self.commands.again(conn)
            self.acts.again(conn)

    def _let_in(self, now_s: float) -> None:
        """Those whose body can be shown now: until then their former gateway shows them the world, if they have one."""
        for session, (region, entry, since_s) in list(self._arriving.items()):
            awaited = self.sessions.awaits(session, entry[1])
            if awaited and self.mirror.home_of(entry[2]) != region and now_s - since_s < SHOW_S:
                continue
            del self._arriving[session]
            if awaited:
                self._give(region, entry, now_s)

    def _give(self, region: int, entry: list[Any], now_s: float) -> None:
        session, generation, entity, row, row_generation, _, acted = entry
        self._speaking = region
        self._do(self.sessions.attached(session, generation, entity, row, row_generation, now_s, acted), now_s)

    def _kept_bodies(self, delta: RegionDelta, now_s: float) -> None:
        """A region says that bodies are there still: looked at one by one are those that are not as they are known."""
        rows = self.mirror.rows_of(delta, delta.kept_row)
        conn = np.where(rows >= 0, self.mirror.view_of[rows], -1)
        mine = delta.kept_gateway == self.facts_fixed.gateway
        as_known = (
            mine & (conn >= 0) & (self._session_at[conn] == delta.kept_session)
            & (self._body_region[conn] == delta.region) & (self._body_row[conn] == delta.kept_row)
            & (self._body_generation[conn] == delta.kept_row_generation)
        )  # fmt: skip
        nobodys = ~mine & ~np.isin(delta.kept_session, self.sessions.numbers)
        told = (
            delta.kept_session, delta.kept_generation, delta.kept_id, delta.kept_row, delta.kept_row_generation,
            delta.kept_gateway, delta.kept_acted,
        )  # fmt: skip
        for index in np.flatnonzero(~(as_known | nobodys)).tolist():
            self._attached(delta.region, [int(column[index]) for column in told], now_s)

    def _is_awaited(self, attach: list[Any]) -> bool:
        return self.sessions.awaits(attach[0], attach[1])

    def _show_body(self, conn: int) -> None:
        """Let the view follow its body, if the mirror has it."""
        row = self.mirror.row_of(self._body_of[conn])
        if row >= 0:
            self._unseen.discard(conn)
            self._missing_s.pop(conn, None)
            self.views.set_body(conn, row, self.mirror)

    def _look_for_bodies(self, now_s: float) -> None:
        """Bodies that the mirror has no more: shown again if they are there, given up after SEEK_S."""
        conns = self.sessions.live_conns
        if not len(conns):
            return
        views = self.views.state.views[conns]
        there = self.mirror.hot["serial"][np.maximum(views["body"], 0)] == views["body_serial"]
        for conn in conns[(views["body"] >= 0) & ~there].tolist():
            self._unseen.add(conn)
        for conn in list(self._unseen):
            self._show_body(conn)
        for conn in self._unseen:
            if self._may_be_away(conn, now_s):
                self._missing_s[conn] = now_s
        lost = [conn for conn in self._unseen if now_s - self._missing_s.setdefault(conn, now_s) >= SEEK_S]
        for conn in lost:
            if conn in self._unseen:  # else it has ended with another one
                self._do(self.sessions.body_lost(self._session_of[conn], now_s), now_s)

    def _may_be_away(self, conn: int, now_s: float) -> bool:
        """Whether a body was last seen in, or near, a region for which nobody speaks now."""
        if self.partition is None:
            return False
        view = self.views.state.views[conn : conn + 1]
        near = touched(self.partition, view["x"] / GRID_PER_M, view["z"] / GRID_PER_M, MARGIN_M)
        return any(self.regions.is_away(region, now_s) for region in near)

    def _learn_schema(self, schema: dict[str, Any]) -> None:
        learned = schema_hash(schema)
        if learned == self._schema_hash:
            return
        self._schema, self._schema_hash = schema, learned
        live = self.sessions.live_conns
        if len(live):
            self._post(live, encode_server(Schema(schema, learned)))
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
            self._post(np.array([conn], np.int32), encode_server(answer))
        if tick % LOOK_TICKS == 0:
            self._look_for_bodies(now_s)
            self._look_around(now_s)

    def _look_around(self, now_s: float) -> None:
        """Mirror what views see, and no more."""
        if self.partition is None:
            return
        self._let_in(now_s)
        self._seek_on(self.partition, now_s)
        self.regions.silence(now_s)
        if not self.ready:
            self.regions.want(self._spawns[0], now_s)
        # A body may be far outside of the region that has it: it waits there until what it did is stored.
        homes = np.unique(self._body_region[self.sessions.live_conns])
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
        out, self._out = self._out, []
        return out

    def frames(self, tick: int, now_s: float, blocked: npt.NDArray[np.uint8]) -> Iterator[Batch]:
        """Frames of ``tick`` for all views that may have one; of a newer tick if a region has told of one already: a
        gateway that is late, or whose clock is, can not show what is gone."""
        tick = max(tick, self.mirror.newest_tick)
        self.mirror.advance(tick)
        now_ms = int(now_s * 1000)
        sight = Sight(self.mirror, self._schema, self.body_kind(TV), self.facts_fixed.rate_hz)
        return chain(
            self.views.frames(tick, now_ms, self.mirror, blocked),
            self.poses.frames(tick, self.mirror, self.views.state, self.views.high, blocked),
            self.channels.frames(tick, now_ms, sight, blocked),
        )

    def _do(self, actions: list[Action], now_s: float) -> None:
        for action in actions:
            match action:
                case Post():
                    self._post(action.conns, encode_server(action.message))
                    if isinstance(action.message, Chat):
                        self._happened(action.message.sender, SAID_WEIGHT)
                case CloseConn():
                    self._out.append(action)
                    self._do(self.sessions.lost(action.conn, now_s), now_s)
                case GiveToken() | RefreshKeys():
                    self._out.append(action)
                case AttachBody():
                    self._attach(action, now_s)
                case DetachBody():
                    self._detach(action, now_s)
                case ForgetBody():
                    self._kept.pop(action.session, None)
                case OpenView():
                    self._open(action)
                    self.acts.begin(action.conn, action.body, now_s)
                    self._session_generation[action.conn] = action.generation
                case TakeAct():
                    self._take_act(action.conn, action.act, now_s)
                case TakeWatch():
                    self._take_watch(action.conn, action.watch)
                case ReleaseBody():
                    self._steers[action.conn] = False
                    self._body_region[action.conn] = NOWHERE
                    self.views.release_body(action.conn, self.mirror)
                case CloseView():
                    conn = action.conn
                    self._steers[conn] = False
                    self._body_region[conn] = NOWHERE
                    self._conn_of.pop(self._session_of.pop(conn, 0), None)
                    self._body_of.pop(conn, None)
                    self._unseen.discard(conn)
                    self._homing.pop(conn, None)
                    self._missing_s.pop(conn, None)
                    self.acts.end(conn)
                    self.channels.leave(conn)
                    self.views.close(conn, self.mirror)
                    self.poses.close(conn)

    def _attach(self, ask: AttachBody, now_s: float) -> None:
        """To the region where the body is; if nobody knows, all are asked. A new one begins where newcomers do."""
        home = self.mirror.home_of(ask.body) if ask.body else NOWHERE
        if ask.body and home == NOWHERE and self.partition is not None:
            self._sought[ask.session] = ask, now_s + FIND_S
            self._kept[ask.session] = self._spawns[0], ask.body
            self._seek(ask, self.partition)
        else:
            self._ask_body(ask, self._spawn_region() if home == NOWHERE else home, now_s)

    def _ask_body(self, ask: AttachBody, region: int, now_s: float) -> None:
        self._kept[ask.session] = region, ask.body or 0
        self.regions.want(region, now_s)
        entry = [ask.session, ask.generation, ask.name, ask.kind, ask.profile, ask.body or 0]
        self.regions.link(region).attach.append(entry)

    def _seek(self, ask: AttachBody, partition: Partition) -> None:
        """Whichever region has the body shall give it; none is to make another one, so they are told no kind."""
        for region in partition.all():
            entry = [ask.session, ask.generation, ask.name, 0, ask.profile, ask.body or 0]
            self.regions.link(region).attach.append(entry)

    def _seek_on(self, partition: Partition, now_s: float) -> None:
        for session, (ask, until_s) in list(self._sought.items()):
            if not self.sessions.awaits(session, ask.generation):
                del self._sought[session]
            elif any(map(self.regions.unreachable, partition.all())):
                self._sought[session] = ask, now_s + FIND_S
                self._seek(ask, partition)
            elif now_s < until_s or session in self._arriving:
                self._seek(ask, partition)
            else:
                del self._sought[session]
                self._ask_body(ask, self._spawn_region(), now_s)

    def _spawn_region(self) -> int:
        self._attaches += 1
        return self._spawns[self._attaches % len(self._spawns)]

    def _detach(self, detach: DetachBody, now_s: float) -> None:
        """To the region where the body is; if nobody knows, to the one that was asked for it."""
        asked, body = self._kept.get(detach.session, (self._spawns[0], 0))
        home = self.mirror.home_of(body) if body else NOWHERE
        region = asked if home == NOWHERE else home
        if detach.remove:
            self._kept.pop(detach.session, None)
        self.regions.link(region).detach.append([detach.session, detach.generation, detach.remove, body])

    def _open(self, action: OpenView) -> None:
        conn = action.conn
        centre = self._place_of(action.body)
        if action.profile == TV:
            self.views.blank(conn, centre)
            self.channels.enter(conn)
        else:
            portion = self._portion(action.profile)
            self.views.open(conn, 1, centre, int(self._heard_s[conn] * 1000), action.window_bytes, portion)
            self.poses.open(conn, action.profile)
        self.commands.begin(conn)
        self._session_of[conn], self._conn_of[action.session] = action.session, conn
        self._session_at[conn] = action.session
        if action.body is not None:
            self._steers[conn] = True
            self._body_region[conn] = self._speaking
            self._body_row[conn], self._body_generation[conn] = action.row, action.row_generation
            self._body_of[conn] = action.body
            self._kept[action.session] = self._speaking, action.body
            self._unseen.add(conn)

    def _place_of(self, body: int | None) -> tuple[int, int, int]:
        """Where a view begins, grid units: at its body, or where newcomers begin."""
        row = -1 if body is None else self.mirror.row_of(body)
        if row >= 0:
            cold = self.mirror.cold[row]
            return int(cold["px"]), int(cold["py"]), int(cold["pz"])
        if self.partition is None:
            return 0, 0, 0
        square = self.partition.square(self._spawns[0])
        return (
            round((square.x0 + square.x1) / 2 * GRID_PER_M),
            0,
            round((square.z0 + square.z1) / 2 * GRID_PER_M),
        )

    def _post(self, conns: Conns, data: bytes) -> None:
        if data[1] not in STRUCTURE_TYPES:
            self._out.append(Deliver(conns, data, None))
            return
        views = self.views.state.views
        conns = conns[(views["active"][conns] == 1) | self.channels.audience.present[conns]]
        if len(conns):
            views["sseq"][conns] += np.uint32(1)
            self._out.append(Deliver(conns, data, views["sseq"][conns].copy()))


def _without(output: Output, conn: int) -> Output | None:
    match output:
        case Deliver():
            kept = output.conns != conn
            sseq = None if output.sseq is None else output.sseq[kept]
            return output if kept.all() else Deliver(output.conns[kept], output.data, sseq)
        case CloseConn() | GiveToken():
            return None if output.conn == conn else output
    return output
