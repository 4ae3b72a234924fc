"""Clients and their connections to gateways: the real client core and the real gateway core, joined by bad carriers on
virtual time.

Decides, as the shells do, only when a core is told what. Not responsible for: what shards tell gateways (``cluster``,
``whole``), what is right (``checkers``).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from client import ClientConfig, ClientCore, ClientEvent, Connect, Disconnect, Send
from client.walk import Ground
from protocol.acting import Answer
from protocol.codes import Close
from protocol.layouts import COMMAND
from protocol.messages import (
    SSEQ_OFFSET,
    T_ACK,
    T_ANSWER,
    T_FRAME,
    T_INPUT,
    Ack,
    Closing,
    Input,
    decode_client,
    decode_server,
    encode_server,
)
from protocol.poses import Part, Sample
from server.core.gateway import GatewayCore
from server.core.outgoing import Deliver
from server.core.views import ViewRules
from server.session.actions import CloseConn
from server.session.identity import Identity, TokenRefused
from server.session.limits import SessionLimits
from server.transport.inbound import Inbound
from tests.sim.checkers import NumberWatch
from tests.sim.clock import Time
from tests.sim.databank import Databank
from tests.sim.deeds import Deeds
from tests.sim.hands import hand_of, has_hands
from tests.sim.network import Carrier, Faults

CAPACITY = 32
SHELL_LEAST_MS, SHELL_MOST_MS = 2.0, 50.0
"""Between two turns of a client's shell; what a person wishes shows with the next one."""
ANY = "any"
"""In a URL: the address of a balancer before all gateways."""
RULES = ViewRules(radius_m=40.0, near_radius_m=15.0, cap=200)
LIMITS = SessionLimits(heartbeat_timeout_s=3.0, resume_grace_s=5.0, attach_timeout_s=4.0, hello_timeout_s=2.0)


def hot(messages: Sequence[tuple[int, Input | Ack]]) -> Inbound:
    """Messages of connections in columns, as a transport hands them over."""
    came = Inbound()
    acks = [(conn, ack.frame, ack.stamp_ms) for conn, ack in messages if isinstance(ack, Ack)]
    came.ack_conn, came.ack_frame, came.ack_stamp = np.array(acks, np.uint32).reshape(-1, 3).T
    inputs = [(conn, said) for conn, said in messages if isinstance(said, Input)]
    rows = [(conn, said.seq, said.frame, said.stamp_ms) for conn, said in inputs]
    came.input_conn, came.input_seq, came.input_frame, came.input_stamp = np.array(rows, np.uint32).reshape(-1, 4).T
    came.commands = np.frombuffer(b"".join(said.commands for _, said in inputs), COMMAND)
    count = np.array([len(said.commands) // COMMAND.itemsize for _, said in inputs], np.uint32)
    came.command_count, came.command_first = count.astype(np.uint8), (np.cumsum(count) - count).astype(np.uint32)
    return came


def seeded_bytes(seed: int) -> Callable[[int], bytes]:
    """Randomness for tickets and session ids, from the seed."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return draw


def authenticate(token: str | None) -> Identity:
    """A token is somebody's name."""
    if not token:
        raise TokenRefused(Close.TOKEN_MISSING, "token_missing", "no token")
    return Identity("sim", token, token)


@dataclass(slots=True, eq=False)
class Connection:
    """One open connection between a client and a gateway."""

    person: "Person"
    link: int
    gateway: "Door"
    conn: int
    up: Carrier
    down: Carrier
    numbers: NumberWatch
    alive: bool = True


@dataclass(slots=True, eq=False)
class Person:
    """One client core and its wishes."""

    number: int
    core: ClientCore
    rng: np.random.Generator
    links: "dict[int, Connection]" = field(default_factory=dict)
    deeds: Deeds = field(default_factory=Deeds)
    events: Counter[str] = field(default_factory=Counter)


class Door:
    """A gateway core as its clients see it. ``clock``: its process's own, the servers' if there is none. ``open``:
    whether its process lives."""

    def __init__(self, people: "People", core: GatewayCore, clock: Callable[[], float] | None = None) -> None:
        self.people = people
        self.core = core
        self.clock = clock
        self.open = True
        self.connections: dict[int, Connection] = {}
        self._came: list[tuple[Connection, bytes]] = []

    @property
    def now_s(self) -> float:
        """The time of its process."""
        return self.people.now_s if self.clock is None else self.clock()

    def arrived(self, connection: Connection, data: bytes) -> None:
        """A message has come; it waits until the process reads."""
        self._came.append((connection, data))

    def read(self) -> None:
        """Hand over what has come, in the order of a transport: first what is not hot."""
        came, self._came = self._came, []
        messages = []
        for connection, data in came:
            if not connection.alive:
                continue
            if data[1] in (T_INPUT, T_ACK):
                message = decode_client(data)
                assert isinstance(message, Input | Ack)
                connection.numbers.acknowledged(message.frame)
                messages.append((connection.conn, message))
            else:
                self.core.said(connection.conn, data, self.now_s)
        if messages:
            self.core.take_inbound(hot(messages), self.now_s)

    def encode(self, tick: int) -> None:
        """Deadlines, messages, frames."""
        core, now_s = self.core, self.now_s
        self.read()
        core.tick(tick, now_s)
        self.deliver()
        blocked = np.zeros(CAPACITY, np.uint8)
        for batch in core.frames(tick, now_s, blocked):
            for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                split(bytes(batch.buffer[at : at + length]), partial(self.send, conn))

    def deliver(self) -> None:
        """Carry out what the core wants done."""
        for action in self.core.take():
            if isinstance(action, Deliver):
                for k, conn in enumerate(action.conns.tolist()):
                    data = action.data
                    if action.sseq is not None:
                        number = int(action.sseq[k]).to_bytes(4, "big")
                        data = data[:SSEQ_OFFSET] + number + data[SSEQ_OFFSET + 4 :]
                    self.send(conn, data)
            elif isinstance(action, CloseConn):
                self.people.counts[f"closed {action.code}"] += 1
                self.send(action.conn, encode_server(Closing(action.code, action.retry_after_ms, action.text)))
                self.people.end(self.connections[action.conn], action.code, gently=True)

    def send(self, conn: int, data: bytes) -> None:
        """One message to one connection."""
        connection = self.connections.get(conn)
        if connection is not None and connection.alive:
            connection.numbers.sent(data)
            connection.down.send(data)

    def kill(self) -> None:
        """The process ends without a word: its connections are reset."""
        self.open = False
        for connection in list(self.connections.values()):
            self.people.end(connection, 1006, gently=False)


def split(frames: bytes, send: Callable[[bytes], None]) -> None:
    """WebSocket messages (RFC 6455 §5.2, unmasked, whole) out of what the encoder wrote for one connection."""
    at = 0
    while at < len(frames):
        assert frames[at] == 0x82, "a whole binary message"
        length, head = frames[at + 1], 2
        if length == 126:
            length, head = int.from_bytes(frames[at + 2 : at + 4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(frames[at + 2 : at + 10], "big"), 10
        send(frames[at + head : at + head + length])
        at += head + length


class People:
    """All clients. ``doors``: gateways by the number in their URLs (``ws://NUMBER/ws``); ``shown`` is called when a
    client has applied a frame."""

    def __init__(
        self,
        seed: int,
        clock: Time,
        rng: np.random.Generator,
        faults: Faults,
        counts: Counter[str],
        ground: Ground,
        doors: Mapping[int, Door],
        shown: Callable[[ClientCore], None],
    ) -> None:
        self.seed, self.clock, self.rng, self.faults, self.counts = seed, clock, rng, faults, counts
        self.ground, self.doors, self.shown = ground, doors, shown
        self.digest = hashlib.blake2b(digest_size=16)
        self.all: list[Person] = []
        self.bank: Databank | None = None
        """Of a durable world: what is told must be in it."""

    @property
    def now_s(self) -> float:
        """The servers' clock."""
        return self.clock.now_ms / 1000.0

    def begin(self, number: int, door: int | str) -> Person:
        """One more person, who comes within two seconds to that gateway (ANY: to whichever lives)."""
        rng = np.random.default_rng([self.seed, number])
        config = ClientConfig(
            url=f"ws://{door}/ws",
            name=f"Person {number}",
            token=f"p{number}",
            input_hz=float(rng.choice([10.0, 20.0])),
            profile="vr" if has_hands(self.seed, number) else "desktop",
        )
        person = Person(number, ClientCore(config, rng.random), rng)
        person.core.set_ground(self.ground)
        self.all.append(person)
        self.clock.after(float(rng.uniform(200.0, 2000.0)), lambda: self._begin(person))
        return person

    def _begin(self, person: Person) -> None:
        person.core.start(self.clock.now_ms)
        self._live(person)

    def _live(self, person: Person) -> None:
        """What a client's shell does, when its core has asked for it."""
        core, now_ms = person.core, self.clock.now_ms
        if core.config.profile == "vr":
            core.set_pose(Sample(Part((0.0, 1.7, 0.0)), None, hand_of(person.number, now_ms)), now_ms)
        core.advance(now_ms)
        self.act(person)
        if not core.done:
            wait_ms = min(max(core.next_ms() - now_ms, SHELL_LEAST_MS), SHELL_MOST_MS)
            self.clock.after(wait_ms, lambda: self._live(person))

    def act(self, person: Person) -> None:
        """Do what a client asks for."""
        for action in person.core.take_actions():
            match action:
                case Connect(link, url):
                    self.clock.after(self.faults.delay_ms * 2, partial(self._open, person, link, url))
                case Send(link, data):
                    if link in person.links and person.links[link].alive:
                        person.links[link].up.send(data)
                case Disconnect(link):
                    if link in person.links:
                        self.end(person.links[link], 1000, gently=False)
        for event in person.core.take_events():
            self._heard(person, event)

    def _heard(self, person: Person, event: ClientEvent) -> None:
        person.events[type(event).__name__] += 1
        person.deeds.heard(event)
        self.digest.update(repr((self.clock.now_ms, person.number, event)).encode())

    def _open(self, person: Person, link: int, url: str) -> None:
        name = url.split("/")[2]
        living = [door for _, door in sorted(self.doors.items()) if door.open and door.core.ready]
        if name == ANY:
            gateway = living[person.number % len(living)] if living else None
        else:
            gateway = self.doors.get(int(name))
        if gateway is None or not gateway.open:
            self.clock.after(self.faults.delay_ms, lambda: self._no_way(person, link))
            return
        conn = next(c for c in range(CAPACITY) if c not in gateway.connections)
        numbers = NumberWatch(f"person {person.number} link {link}")
        c: Connection

        def at_client(data: bytes) -> None:
            self.digest.update(data)
            if self.bank is not None and data[1] == T_ANSWER:
                self._check_stored(person, data)
            person.core.receive(link, data, self.clock.now_ms)
            if data[1] == T_FRAME:
                self.shown(person.core)
            self.act(person)

        make = self.clock, self.rng, self.faults, self.counts
        up = Carrier(*make, lambda data: gateway.arrived(c, data))
        c = Connection(person, link, gateway, conn, up, Carrier(*make, at_client), numbers)
        gateway.connections[conn] = person.links[link] = c
        gateway.core.connected(conn, f"10.0.0.{person.number}", gateway.now_s)
        person.core.opened(link, self.clock.now_ms)
        self.act(person)

    def _check_stored(self, person: Person, data: bytes) -> None:
        answer, welcome = decode_server(data), person.core.welcome
        assert isinstance(answer, Answer)
        assert self.bank is not None
        if welcome is not None:
            stored = self.bank.has_answered(welcome.session, answer.number)
            assert stored, f"act {answer.number} of session {welcome.session} was answered, and is not stored"

    def _no_way(self, person: Person, link: int) -> None:
        self.counts["no gateway there"] += 1
        person.core.closed(link, 1006, "", self.clock.now_ms)
        self.act(person)

    def end(self, c: Connection, code: int, *, gently: bool) -> None:
        """A connection ends; ``gently``: what the gateway has sent still arrives first."""
        if not c.alive:
            return
        if c.gateway.open:
            c.gateway.read()  # what came before the end
        c.alive = False
        self.counts["number reused"] += c.numbers.reused
        del c.gateway.connections[c.conn]
        c.up.cut()
        wait_ms = 0.0
        if gently:
            wait_ms = 500.0
        else:
            c.down.cut()
        c.gateway.core.lost(c.conn, c.gateway.now_s)

        def noticed() -> None:
            c.down.cut()
            c.person.links.pop(c.link, None)
            c.person.core.closed(c.link, code, "", self.clock.now_ms)
            self.act(c.person)

        self.clock.after(wait_ms + self.faults.delay_ms, noticed)

    # -------------------------------------------------------------------------------------------------------- faults
    def disturb(self) -> None:
        """Wishes and faults of people, once each 100 ms."""
        for person in self.all:
            rng, core = person.rng, person.core
            if core.done or not core.connected:
                continue
            what = rng.random()
            if what < 0.12:
                core.steer_towards(float(rng.uniform(0, 7)), 1.0, int(rng.integers(0, 2)))
            elif what < 0.14:
                core.steer(0.0, 0.0)
            elif what < 0.145:
                core.say(f"It is {self.clock.now_ms:.0f}")
            elif what < 0.2:
                person.deeds.act(core)
            if person.links and rng.random() < self.faults.reset:
                self.counts["connection reset"] += 1
                self.end(next(reversed(person.links.values())), 1006, gently=False)
            elif person.links and rng.random() < self.faults.reset:
                next(reversed(person.links.values())).down.stall(float(rng.uniform(300.0, 2500.0)))
