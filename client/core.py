"""The client as a state machine: told bytes and the time, asked for commands; says what to connect, send and report.

Theory of operation. The core numbers its connections (*links*). One link is *active*: its stream fills ``records``,
its inputs move the body. After a MOVE a second one is *coming*; it becomes active when it is welcomed, and the old
one is closed. A lost active link is replaced after a delay that the close code advises, with the resume ticket, so
that the body stays the same. Commands that were not applied are sent again on a new link, once its first ``own``
has told which. A link over datagrams (STANDARD.md §9) is another one to the same gateway, coming while the one over
WebSocket is active; when it falls silent it counts as lost, and the next is over WebSocket again.

Invariants
* At most one link is active and at most one coming; bytes of any other link are ignored.
* One INPUT or ACK at least every ``ack_ms`` while a link is active; sequence numbers of commands never repeat in a
  session. Over datagrams each INPUT says again what is not known to be applied.
* A server that breaks the standard costs a reconnect, never an exception: ``receive`` raises nothing on any bytes.

Not responsible for: sockets (``client.shell``), sealing (``client.datagrams``), fetching the map, where to go.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, inf, sin, tau
from typing import Any

import numpy as np
import numpy.typing as npt

from client.acting import Acts
from client.channels import Television
from client.clock import ServerClock
from client.config import ClientConfig, ClientStats
from client.events import (
    Changed,
    ChatHeard,
    ClientEvent,
    Closed,
    Connect,
    Corrected,
    Disconnect,
    Entered,
    Left,
    Lost,
    Noticed,
    PresenceChanged,
    SchemaChanged,
    Send,
    ShellAction,
    Told,
    Welcomed,
)
from client.poses import ClientPoses
from client.prediction import Predictor, Sent
from client.retry import Retry
from client.schema import KnownSchema
from client.smoothing import Smoothing
from client.upgrading import Upgrading
from client.walk import Ground
from protocol.acting import Answer
from protocol.channels import BEHIND_S_MAX, TV, Camera, Channel, Keyframe, Watch
from protocol.codes import Advice, Close, ProtocolViolation, advice_of
from protocol.crowds import Crowd
from protocol.crowds import decode as decode_crowd
from protocol.frames import Frame, Records, Structure, decode
from protocol.layouts import (
    COMMAND,
    COMMAND_YAW_STEPS,
    COMMANDS_PER_INPUT_MAX,
    MOVE_UNIT,
    STEPS_PER_COMMAND_MAX,
)
from protocol.messages import (
    SCOPE_WORLD,
    Ack,
    AskDatagrams,
    Bye,
    Chat,
    ClientMessage,
    Closing,
    Event,
    Hello,
    Input,
    Move,
    Notice,
    Pose,
    Presence,
    Say,
    Schema,
    ServerMessage,
    Token,
    Welcome,
    decode_server,
    encode_client,
    unpack,
)
from protocol.poses import HeldPose, Sample, decode_poses
from protocol.values import ValueRecords, Values, newer
from protocol.values import decode as decode_values

DATAGRAMS_VERSION = 1
ABNORMAL = 1006
"""RFC 6455 §7.1.5: a link was lost without a word."""
REPEATED_MAX = 4 * COMMANDS_PER_INPUT_MAX
"""Commands that are said again over datagrams: what a second and a half without one held up, at 20 a second."""
LATE_HELLO_MS = 10_000.0
"""After this a server has given up a connection over datagrams that we do not answer (STANDARD.md §9.3)."""
U32 = 0xFFFFFFFF
ANYWHERE = (-1e6, -1e6, 1e6, 1e6)
"""Bounds (metres) of the ground of a world that names no map."""


@dataclass(slots=True)
class _Link:
    number: int
    url: str
    began_ms: float
    resume: bytes | None
    heard_ms: float = 0.0
    closing: Closing | None = None
    """What the server said just before it closes this link."""
    token: Token | None = None
    """Of a link over datagrams."""


class ClientCore:
    """One client. ``now_ms`` is any monotonic clock in milliseconds; ``jitter`` returns numbers in [0, 1)."""

    def __init__(self, config: ClientConfig, jitter: Callable[[], float]) -> None:
        self.config = config
        self.records = Records()
        self.welcome: Welcome | None = None
        self.clock: ServerClock | None = None
        self.stats = ClientStats()
        self.online = 0
        self.crowd: Crowd | None = None
        """Those in sight who are not told of one by one, as the server counted them last (STANDARD.md §12)."""
        self.done = False
        """The session ended and is not tried again."""
        self.television = Television() if config.profile == TV else None
        """What a client of profile tv holds of its channel."""
        self._ground: Ground | None = None
        self._predictor: Predictor | None = None
        self._smoothing = Smoothing()
        self._poses = ClientPoses()
        self._retry = Retry(jitter)
        self._upgrading = Upgrading(config.datagrams, jitter)
        self._links = 0
        self._active: _Link | None = None
        self._coming: _Link | None = None
        self._connect_at_ms: float | None = None
        self._url = config.url
        self._moved_url = config.url
        self._welcomed_url = config.url
        self._ticket: bytes | None = None
        self._schema = KnownSchema()
        self._acts = Acts()
        self._wish = (0, 0, 0, 0, 0)
        self._resting = False
        self._repeat = False
        """Commands wait for the first ``own`` of a resumed session."""
        self._command_at_ms = 0.0
        self._steps_from_ms = 0.0
        self._said_ms = 0.0
        self._gave_up_ms = -inf
        """When a link over datagrams was given up before its welcome."""
        self._unnamed = False
        """VALUES came since the newest INPUT or ACK."""
        self._actions: list[ShellAction] = []
        self._events: deque[ClientEvent] = deque()

    # ---------------------------------------------------------------------------------------------- what a program asks

    @property
    def connected(self) -> bool:
        """Whether a link is active: admitted, and not known to be lost."""
        return self._active is not None

    @property
    def on_datagrams(self) -> bool:
        """Whether the active link is over datagrams."""
        return self._active is not None and self._active.token is not None

    @property
    def datagram_problem(self) -> str | None:
        """Why this client is not on datagrams, as far as it was told; it tries again."""
        return self._upgrading.problem

    @property
    def position(self) -> tuple[float, float, float] | None:
        """The own body's feet in metres, predicted to now; None before the server said where it is, or without a
        body."""
        p = self._predictor
        return (p.body.x, p.body.y, p.body.z) if p is not None and p.placed else None

    @property
    def velocity(self) -> tuple[float, float, float]:
        """The own body's velocity in m/s."""
        p = self._predictor
        return (p.body.vx, p.body.vy, p.body.vz) if p is not None else (0.0, 0.0, 0.0)

    @property
    def acknowledged_seq(self) -> int:
        """The newest own command that the server has applied."""
        return 0 if self._predictor is None else self._predictor.base_seq

    @property
    def newest_seq(self) -> int:
        """The newest own command that was made."""
        return 0 if self._predictor is None else self._predictor.seq

    def set_ground(self, ground: Ground | None) -> None:
        """The static world to predict on, and to be filled further by whoever gives it; None while a tile of it is
        missing."""
        self._ground = ground
        if self._predictor is not None:
            self._predictor.set_ground(self._ground_now())

    @property
    def url(self) -> str:
        """Of the gateway that is talked to, or tried next."""
        return self._url

    def steer(self, move_x: float, move_z: float, yaw: float = 0.0, pitch: float = 0.0, buttons: int = 0) -> None:
        """What the body does from now on: wished direction in world axes (length ≤ 1), radians, buttons of
        STANDARD.md §2."""
        wish = (
            round(max(-1.0, min(1.0, move_x)) * MOVE_UNIT),
            round(max(-1.0, min(1.0, move_z)) * MOVE_UNIT),
            round(yaw / tau * COMMAND_YAW_STEPS) % COMMAND_YAW_STEPS,
            round(max(-1.0, min(1.0, pitch / (tau / 4))) * 127),
            buttons,
        )
        if wish != self._wish:
            self._wish, self._resting = wish, False

    def steer_towards(self, heading: float, speed: float = 1.0, buttons: int = 0) -> None:
        """Walk along ``heading`` (a yaw: 0 is −Z, counter-clockwise) at ``speed`` ≤ 1 times walking speed, looking
        there."""
        self.steer(-sin(heading) * speed, -cos(heading) * speed, heading, 0.0, buttons)

    @property
    def yaw(self) -> float:
        """Where the body looks, in radians from −Z, counter-clockwise."""
        return self._wish[2] * tau / COMMAND_YAW_STEPS

    def snap_turn(self, radians: float) -> None:
        """Turn the body by an angle, at once: yaw is in a client's own commands, so nothing is waited for."""
        yaw = round((self.yaw + radians) / tau * COMMAND_YAW_STEPS) % COMMAND_YAW_STEPS
        self._wish, self._resting = (*self._wish[:2], yaw, *self._wish[3:]), False

    def set_pose(self, sample: Sample, now_ms: float) -> None:
        """Where the own head and hands are now, for a client of profile ``vr``; call it as often as they are tracked.
        What is newest goes out 20 times a second."""
        self._poses.track(sample, now_ms)

    def poses(self) -> dict[int, HeldPose]:
        """Head and hands of others by entity id, in metres from where they are shown (STANDARD.md §11)."""
        return self._poses.of(self.records)

    def say(self, text: str, scope: int = SCOPE_WORLD, to: int | None = None) -> bool:
        """A chat line; returns False if there is no connection to say it on."""
        if self._active is None:
            return False
        self._send(self._active, Say(scope, text, to))
        return True

    def watch(self, name: str | None = None, behind_s: int = 0) -> None:
        """Join a channel (None: the world's first; "": none), ``behind_s`` seconds in the past, now or as soon as there
        is a connection, and again on each later one. Raises ValueError unless this client is a television."""
        if self.television is None:
            raise ValueError('only a client with ClientConfig(profile="tv") watches channels')
        if not 0 <= behind_s <= BEHIND_S_MAX:
            raise ValueError(f"behind_s must be from 0 to {BEHIND_S_MAX}, got {behind_s}")
        self.television.wanted = Watch(name, behind_s)
        if self._active is not None:
            self._send(self._active, self.television.wanted)

    @property
    def entities(self) -> Records:
        """Records of all that is seen: a television's are its channel's."""
        return self.records if self.television is None else self.television.records

    def act(self, name: str, payload: Any = None) -> int:
        """Ask for the action ``name``, now or as soon as there is a connection: it is said until it is answered, and
        done once. Returns the number that ActAnswered or ActLost will name. Raises TooManyActsError and ValueError."""
        key = self._acts.add(name, payload)
        self._say_acts()
        return key

    def _say_acts(self) -> None:
        if self._active is not None:
            for act in self._acts.say():
                self._send(self._active, act)

    def leave(self) -> None:
        """Leave for good: the body is removed at once."""
        if self._active is not None:
            self._send(self._active, Bye())
        self._end(Close.GOING_AWAY, "left", Advice.DO_NOT_COME_BACK)

    def others(self, now_ms: float) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]:
        """(ids uint64[n], positions float64[n, 3] in metres) of all others, as they should be drawn now."""
        tick = 0.0 if self.clock is None else self.clock.shown_tick(now_ms)
        return self._smoothing.positions(self.entities, tick, now_ms)

    def components(self, number: int) -> dict[str, Any]:
        """Plain values of the components of the entity with ``number`` in ``entities``."""
        return self._schema.plain(self.entities.components.get(number, {}))

    # ------------------------------------------------------------------------------------------- what a shell tells us

    def start(self, now_ms: float) -> None:
        """Begin: ask for the first connection."""
        self._connect(now_ms, self._url, self._ticket)

    def opened(self, link: int, now_ms: float) -> None:
        """The asked connection is open."""
        found = self._find(link)
        if found is None:
            self._actions.append(Disconnect(link))
            return
        found.heard_ms = now_ms
        c = self.config
        hello = Hello(
            version_min=self.config.versions[0],
            version_max=self.config.versions[1],
            token=c.token,
            name=c.name,
            profile=c.profile,
            resume=found.resume,
            schema_hash=self._schema.hash,
            agent=c.agent,
        )
        self._send(found, hello)

    def receive(self, link: int, data: bytes, now_ms: float) -> None:
        """One message arrived."""
        found = self._find(link)
        if found is None:
            return
        self.stats.bytes_in += len(data)
        found.heard_ms = now_ms
        try:
            values = None if found.token is None else decode_values(data)
            block = decode(data) if values is None else None
            if values is not None:
                if found is self._active:
                    self._value(values, now_ms)
            elif block is None:
                message = decode_server(data)
                if message is not None:
                    self._told(found, message, now_ms)
                elif found is self._active and (poses := decode_poses(data)) is not None:
                    self._poses.told(poses)
                elif found is self._active:
                    crowd = decode_crowd(data)
                    if crowd is not None and (self.crowd is None or crowd.tick > self.crowd.tick):
                        self.crowd = crowd
            elif found is self._active:
                self._apply(block, now_ms)
        except ProtocolViolation as violation:
            self.violated(link, violation, now_ms)

    def heard(self, link: int, now_ms: float) -> None:
        """A sign of life without a message arrived."""
        found = self._find(link)
        if found is not None:
            found.heard_ms = now_ms

    def violated(self, link: int, violation: ProtocolViolation, now_ms: float) -> None:
        """What arrived breaks the standard."""
        found = self._find(link)
        if found is None:
            return
        self.stats.violations += 1
        self._actions.append(Disconnect(link))
        text = f"the server broke the standard: {violation.text}"
        self._lost(found, Close.PROTOCOL, text, Advice.RECONNECT_LATER, now_ms)

    def closed(self, link: int, code: int, text: str, now_ms: float) -> None:
        """The connection ended, or could not be opened; ``code`` is the WebSocket close code, 1006 if there was
        none."""
        found = self._find(link)
        if found is None:
            return
        said = found.closing
        if said is not None:
            self._lost(found, said.code, said.text, advice_of(said.code), now_ms, said.retry_after_ms)
        else:
            self._lost(found, code, text, advice_of(code), now_ms)

    def advance(self, now_ms: float) -> None:
        """Time passed: make commands, acknowledge, give up silent links, connect again."""
        if self.done:
            return
        if self._connect_at_ms is not None and now_ms >= self._connect_at_ms:
            self._connect_at_ms = None
            self._connect(now_ms, self._url, self._ticket)
        for link in (self._active, self._coming):
            if link is not None and self._is_silent(link, now_ms):
                self._actions.append(Disconnect(link.number))
                self._lost(link, ABNORMAL, "the server fell silent", Advice.RECONNECT_NOW, now_ms)
        if self._active is not None:
            self._command(now_ms)
            if self.config.profile == "vr" and (pose := self._poses.say(now_ms)) is not None:
                self._send(self._active, pose)
            if now_ms - self._said_ms >= self._ack_ms:
                self._acknowledge(self._active, now_ms)
            if now_ms >= self._ask_ms:
                self._upgrading.asked(now_ms)
                self._send(self._active, AskDatagrams(DATAGRAMS_VERSION))

    def next_ms(self) -> float:
        """When :meth:`advance` should be called at the latest."""
        if self._active is not None:
            p, ack_at_ms = self._predictor, min(self._said_ms + self._ack_ms, self._ask_ms)
            moves = p is not None and p.placed and not self._resting and not self._repeat
            pose_at_ms = self._poses.due_ms() if self.config.profile == "vr" else None
            at_ms = min(self._command_at_ms, ack_at_ms) if moves else ack_at_ms
            return at_ms if pose_at_ms is None else min(at_ms, pose_at_ms)
        if self._connect_at_ms is not None:
            return self._connect_at_ms
        return 0.0 if self._coming is None else self._coming.began_ms + self.config.connect_ms

    def take_actions(self) -> list[ShellAction]:
        """What the shell is to do, in order."""
        actions, self._actions = self._actions, []
        return actions

    def take_events(self) -> list[ClientEvent]:
        """What happened, in order."""
        events = list(self._events)
        self._events.clear()
        return events

    # ------------------------------------------------------------------------------------------------------ connections

    @property
    def _ack_ms(self) -> float:
        """How long to be silent at most."""
        w = self.welcome
        asked = self.config.ack_ms if w is None else min(self.config.ack_ms, w.idle_ack_ms)
        if w is not None and self.television is not None:
            return max(20.0, w.idle_ack_ms)  # STANDARD.md §10: a television says less
        if w is not None and self.on_datagrams and (self._unnamed or self._unapplied()):
            # What is acknowledged late is sent again, and what was not applied may have been lost.
            asked = min(asked, 1000.0 / w.rate_hz)
        return max(20.0, asked)

    @property
    def _ask_ms(self) -> float:
        """When to ask for datagrams; infinity while there is nothing to ask."""
        ready = self._active is not None and self._active.token is None and self._coming is None
        return self._upgrading.at_ms if ready else inf

    def _find(self, number: int) -> _Link | None:
        for link in (self._active, self._coming):
            if link is not None and link.number == number:
                return link
        return None

    def _is_silent(self, link: _Link, now_ms: float) -> bool:
        if link.token is not None:
            since_ms = link.heard_ms if link is self._active else link.began_ms
            return now_ms - since_ms > self.config.datagram_silence_ms
        if link is self._active:
            if self.television is not None and self.television.channel is None:
                return False  # who watches nothing is told nothing for as long as nobody says anything
            return now_ms - link.heard_ms > self.config.silence_ms
        return now_ms - link.began_ms > self.config.connect_ms

    def _connect(self, now_ms: float, url: str, ticket: bytes | None, token: Token | None = None) -> None:
        if self._coming is not None:
            self._actions.append(Disconnect(self._coming.number))
        self._links += 1
        self._coming = _Link(self._links, url, now_ms, ticket, token=token)
        session = self.welcome.session if token is not None and self.welcome is not None else 0
        self._actions.append(Connect(self._links, url, token, session))

    def _send(self, link: _Link, message: ClientMessage) -> None:
        data = encode_client(message)
        self.stats.bytes_out += len(data)
        self._actions.append(Send(link.number, data, isinstance(message, Input | Ack | Pose)))

    def _lost(
        self, link: _Link, code: int, text: str, advice: Advice, now_ms: float, retry_after_ms: int | None = None
    ) -> None:
        # The gateway may close the old link before its welcome over datagrams has come.
        followed = link is self._active and code == Close.REPLACED and self._coming is not None
        self.stats.losses += not followed
        if link.token is not None:
            self._upgrading.failed(text, now_ms)
            self.stats.fallbacks += link is self._active
            if link is self._coming and self._active is not None:
                self._gave_up_ms = now_ms
        elif code == Close.REPLACED and now_ms - self._gave_up_ms < LATE_HELLO_MS:
            # By the HELLO of our own link over datagrams, which arrived after we had given it up.
            advice, self._gave_up_ms = Advice.RECONNECT_NOW, -inf
        if link is self._coming:
            self._coming = None
            if self._active is not None:
                return  # a move that failed: the old gateway still serves us, and says again when it wants us gone
        else:
            self._active = None
            if self._coming is not None:
                return  # the new gateway will welcome us
        if link.token is None:
            # The gateway that we were moved to may be gone, and so may the first: they are tried in turn.
            self._url = self.config.url if link.url == self._moved_url else self._moved_url
        if advice in (Advice.NEW_TOKEN, Advice.DO_NOT_COME_BACK):
            self._end(code, text, advice)
            return
        # Silent datagrams say nothing of the gateway, which the same session goes back to over WebSocket.
        silent = link.token is not None and code == ABNORMAL
        delay_ms = 0 if silent else self._retry.delay_ms(advice, retry_after_ms)
        self._connect_at_ms = now_ms + delay_ms
        self._events.append(Lost(code, text, delay_ms, link.url))

    def _end(self, code: int, text: str, advice: Advice) -> None:
        for link in (self._active, self._coming):
            if link is not None:
                self._actions.append(Disconnect(link.number))
        self._active = self._coming = self._connect_at_ms = None
        self.done = True
        self._events.extend(self._acts.end())
        self._events.append(Closed(code, text, advice))

    # --------------------------------------------------------------------------------------------------------- messages

    def _told(self, link: _Link, message: ServerMessage, now_ms: float) -> None:
        if isinstance(message, Welcome):
            if link is not self._coming:
                raise ProtocolViolation("welcome_twice", "WELCOME on a link that is welcomed")
            _check_welcome(message, self.config.versions)
            self._welcomed(link, message, now_ms)
            return
        if isinstance(message, Closing):
            link.closing = message
            if link.token is not None:  # there is no connection whose end would be seen
                self._actions.append(Disconnect(link.number))
                self.closed(link.number, message.code, message.text, now_ms)
            return
        if isinstance(message, Token):
            self._token(link, message, now_ms)
            return
        if link is not self._active:
            raise ProtocolViolation("not_welcomed", f"{type(message).__name__} before WELCOME")
        if isinstance(message, Channel | Keyframe | Camera):
            self._shown(message)
            return
        self.records.count_structure(message.sseq)
        match message:
            case Chat():
                self._events.append(ChatHeard(message.scope, message.sender, message.name, message.text))
            case Presence():
                self.online = message.online
                self._events.append(PresenceChanged(message.online, message.joined, message.left))
            case Notice():
                self._events.append(Noticed(message.code, message.text))
            case Event():
                self._events.append(Told(message.entity, message.name, message.payload))
            case Answer():
                self._events.append(self._acts.answered(message))
            case Schema():
                self.records.clear()
                self._poses.begin()
                self._schema.learn(message.schema, message.schema_hash)
                self._events.append(SchemaChanged(message.schema))
            case Move():
                self._connect(now_ms, message.url or self._url, message.ticket)
        self._release(now_ms)

    def _token(self, link: _Link, token: Token, now_ms: float) -> None:
        if link is not self._active or not self._upgrading.answered():
            return
        if token.address is None:
            self._upgrading.failed(token.text, now_ms)
        elif self._coming is None:
            self._connect(now_ms, link.url, self._ticket, token)

    def _shown(self, message: Channel | Keyframe | Camera) -> None:
        tv, welcome = self.television, self.welcome
        if tv is None or welcome is None:
            raise ProtocolViolation("stream", f"{type(message).__name__} to a client that is no television")
        match message:
            case Channel():
                self._events.append(tv.answered(message))
            case Keyframe():
                self._events.append(tv.begin(message))
                # Its ticks may lie in the past.
                self.clock, self._smoothing = ServerClock(welcome.rate_hz), Smoothing()
            case Camera():
                self._events.append(tv.turn(message, welcome.rate_hz))

    def _welcomed(self, link: _Link, welcome: Welcome, now_ms: float) -> None:
        old, self._active, self._coming = self._active, link, None
        if old is not None:
            self._actions.append(Disconnect(old.number))
        before = self.welcome
        self.welcome = welcome
        self._ticket = welcome.resume
        self._schema.learn(welcome.schema, welcome.schema_hash)
        if link.token is None:
            self._upgrading.on_websocket(now_ms, before is None or self._welcomed_url != link.url)
            self.records = Records()
        else:
            self._upgrading.on_datagrams(now_ms)
            self.stats.datagram_welcomes += 1
            self.records = ValueRecords()
        self.crowd = None
        self._unnamed = False
        self._url = self._moved_url = self._welcomed_url = link.url
        self._retry.succeeded()
        self._poses.begin()
        self._smoothing = Smoothing()
        if before is None or old is None or before.rate_hz != welcome.rate_hz:
            self.clock = ServerClock(welcome.rate_hz)
        resumed = before is not None and welcome.body == before.body and welcome.body is not None
        self.stats.welcomes += 1
        self.stats.resumes += resumed
        self._repeat = resumed
        if not resumed:
            self._predictor = None
            if welcome.body is not None:
                self._predictor = Predictor(self._ground_now(), welcome.rate_hz, welcome.steps_per_tick)
        self._said_ms = self._steps_from_ms = self._command_at_ms = now_ms
        self._resting = False
        self._events.append(Welcomed(welcome, resumed))
        if self.television is not None:
            self.television.forget()
            if self.television.wanted is not None:
                self._send(link, self.television.wanted)
        again, lost = self._acts.welcomed(welcome)
        self._events.extend(lost)
        for act in again:
            self._send(link, act)

    def _ground_now(self) -> Ground | None:
        if not self.config.predict or self.welcome is None:
            return None
        if self._ground is None and self.welcome.map is None:
            return Ground(ANYWHERE)  # a world without a map: the plane y = 0
        return self._ground

    def _apply(self, block: Structure | Frame, now_ms: float) -> None:
        clock = self.clock
        assert clock is not None  # an active link was welcomed
        records = self.entities
        clock.heard(block.tick, now_ms)
        if isinstance(block, Structure):
            self.stats.structures += 1
            if self.config.events:
                self._events.extend(
                    Left(int(records.id[n])) for n in block.leave_number.tolist() if n < len(records.id)
                )
            if self.television is None:
                records.apply_structure(block)
            else:
                self.television.apply(block)
            self._poses.follow(block)
            if self.config.events:
                self._report(block)
            self._release(now_ms)
            return
        if self.on_datagrams and self.television is None:
            raise ProtocolViolation("wrong_carrier", "FRAME over datagrams, where values come as VALUES")
        tick = clock.shown_tick(now_ms)
        if self.config.events:
            self._smoothing.before(records, tick, now_ms)
        if self.television is None:
            records.apply_frame(block)
        else:
            self.television.apply(block)
        if self.config.events:
            self._smoothing.after(records, tick)
        self.stats.frames += 1
        own = block.own_state
        if own is not None:
            clock.echoed(int(own["stamp"]), int(own["hold_ms"]), now_ms)
            self._decided(own, now_ms)

    def _value(self, values: Values, now_ms: float) -> None:
        clock, records = self.clock, self.records
        assert clock is not None  # an active link was welcomed
        assert isinstance(records, ValueRecords)
        clock.heard(values.tick, now_ms)
        newest = not records.arrivals.newest or newer(values.frame, records.arrivals.newest)
        tick = clock.shown_tick(now_ms)
        if self.config.events:
            self._smoothing.before(records, tick, now_ms)
        came = records.heard(values)
        if self.config.events:
            self._smoothing.after(records, tick)
        if not came:
            return
        self.stats.frames += 1
        self._unnamed = True
        own = values.own_state
        if own is not None and newest:
            clock.echoed(int(own["stamp"]), int(own["hold_ms"]), now_ms)
            self._decided(own, now_ms)

    def _release(self, now_ms: float) -> None:
        """Structure came; VALUES may have waited for it."""
        clock, records = self.clock, self.records
        if clock is None or not isinstance(records, ValueRecords) or not records.waiting:
            return
        tick = clock.shown_tick(now_ms)
        if self.config.events:
            self._smoothing.before(records, tick, now_ms)
        records.release()
        if self.config.events:
            self._smoothing.after(records, tick)

    def _report(self, s: Structure) -> None:
        held = self.entities.components
        for number, entity, kind in zip(
            s.enter_number.tolist(), s.enter_id.tolist(), s.enter_kind.tolist(), strict=True
        ):
            self._events.append(Entered(entity, kind, self._schema.plain(held[number])))
        for number, blob in zip(s.state_number.tolist(), s.state_blobs, strict=True):
            self._events.append(Changed(int(self.entities.id[number]), self._schema.plain(unpack(blob))))

    # --------------------------------------------------------------------------------------------------------- own body

    def _decided(self, own: Any, now_ms: float) -> None:
        if self._predictor is None:
            return
        correction = self._predictor.decided(own)
        if self._repeat:
            # The first word on a new link says what was applied; only the rest may be said again.
            self._repeat = False
            self._input(self._predictor.pending(), now_ms)
        if correction is None:
            return
        if correction.by_server:
            self.stats.pushes += 1
        else:
            self.stats.corrections += 1
            self.stats.correction_m_sum += correction.distance_m
            self.stats.correction_m_max = max(self.stats.correction_m_max, correction.distance_m)
        self._events.append(Corrected(correction.distance_m, correction.by_server))

    def _command(self, now_ms: float) -> None:
        p, welcome = self._predictor, self.welcome
        if p is None or welcome is None or not p.placed or self._repeat or now_ms < self._command_at_ms:
            return
        every_ms = 1000.0 / self.config.input_hz
        if self._resting:
            # Nothing would change: no command, and the time that passes is not made up for.
            self._steps_from_ms = now_ms
            return
        step_ms = 1000.0 / (welcome.rate_hz * welcome.steps_per_tick)
        due = int((now_ms - self._steps_from_ms) / step_ms + 1e-6)
        if due < 1:
            due, self._steps_from_ms = 1, now_ms - step_ms
        steps = min(due, STEPS_PER_COMMAND_MAX)
        # What was not walked while this program was held up is lost: the server bounds walked time by real time too.
        self._steps_from_ms = now_ms if due > steps else self._steps_from_ms + steps * step_ms
        self._command_at_ms += every_ms
        if self._command_at_ms <= now_ms:
            self._command_at_ms = now_ms + every_ms
        sent = p.command(*self._wish, steps)
        self._resting = p.at_rest and self._wish[:2] == (0, 0) and not self._wish[4]
        self._input(self._unapplied() if self.on_datagrams else [sent], now_ms)

    def _unapplied(self) -> list[Sent]:
        """The newest commands that the server is not known to have applied, as many as are said again."""
        p = self._predictor
        return [] if p is None or self._repeat else p.pending()[-REPEATED_MAX:]

    def _named(self) -> tuple[int, int | None]:
        """What INPUT and ACK say of the frames that came."""
        self._unnamed = False
        r = self.records
        if self.television is not None:
            # Frames of a channel come in order, over datagrams too: whoever has one has all before it.
            return self.television.applied, 0 if self.on_datagrams else None
        return (r.arrivals.newest, r.arrivals.earlier) if isinstance(r, ValueRecords) else (r.frame, None)

    def _acknowledge(self, link: _Link, now_ms: float) -> None:
        unapplied = self._unapplied() if self.on_datagrams else []
        if unapplied:
            self._input(unapplied, now_ms)
            return
        self._said_ms = now_ms
        frame, earlier = self._named()
        self._send(link, Ack(frame, int(now_ms) & U32, earlier))

    def _input(self, commands: list[Sent], now_ms: float) -> None:
        assert self._active is not None
        frame, earlier = self._named()
        for first in range(0, len(commands), COMMANDS_PER_INPUT_MAX):
            some = commands[first : first + COMMANDS_PER_INPUT_MAX]
            rows = [(c.move_x, c.move_z, c.yaw, c.pitch, c.buttons, c.steps, 0) for c in some]
            self._said_ms = now_ms
            self.stats.inputs += 1
            data = np.array(rows, COMMAND).tobytes()
            self._send(self._active, Input(some[-1].seq, frame, int(now_ms) & U32, data, earlier))


def _check_welcome(w: Welcome, versions: tuple[int, int]) -> None:
    """What a client calculates with must be in the bounds that the standard gives."""
    whole = (w.version, w.session, w.generation, w.tick, w.rate_hz, w.steps_per_tick, w.stream, w.idle_ack_ms, w.acted)
    if any(type(value) is not int or value < 0 for value in whole) or not (1 <= w.rate_hz <= 1000):
        raise ProtocolViolation("wrong_type", "WELCOME: a number is missing or out of bounds")
    if not versions[0] <= w.version <= versions[1]:
        text = f"WELCOME: version {w.version}, this client speaks {versions[0]} to {versions[1]}"
        raise ProtocolViolation("version", text)
    if not 1 <= w.steps_per_tick <= STEPS_PER_COMMAND_MAX or type(w.resume) is not bytes:
        raise ProtocolViolation("wrong_type", "WELCOME: steps_per_tick or resume")
    if not (w.body is None or type(w.body) is int) or not (w.map is None or type(w.map) is str):
        raise ProtocolViolation("wrong_type", "WELCOME: body or map")
