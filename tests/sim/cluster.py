"""A shard, two gateways and some clients: the real cores, joined by bad networks on virtual time.

Decides, as the shells do, only when a core is told what. One tick at ``t``: gateways send ``upward``; the shard steps
8 ms later with what has arrived; gateways encode a quarter tick after that with what they have. What gateways say to
the shard travels on a reliable carrier (a lost command would be a lost input), what the shard publishes as datagrams,
which the gateways must survive. Not responsible for: what is right (``checkers``).
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from client import ClientConfig, ClientCore, ClientEvent, Connect, Disconnect, Send
from client.walk import Ground
from protocol.codes import Close
from protocol.layouts import COMMAND
from protocol.link import RegionDelta, Upward
from protocol.messages import SSEQ_OFFSET, T_ACK, T_FRAME, T_INPUT, Ack, Closing, Input, decode_client, encode_server
from server.core.gateway import Deliver, GatewayCore, GatewayFacts
from server.core.views import ViewRules
from server.session.actions import CloseConn
from server.session.identity import Identity, TokenRefused
from server.session.limits import SessionLimits
from server.transport.inbound import Inbound
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.sim.checkers import NumberWatch, Truth
from tests.sim.clock import Clock
from tests.sim.network import Carrier, Datagrams, Faults
from tests.sim.world import place, script, walk_ground

RATE_HZ = 20
TICK_MS = 1000.0 / RATE_HZ
STEP_AT_MS = 8.0
ENCODE_AT_MS = STEP_AT_MS + TICK_MS / 4
CAPACITY = 32
GATEWAYS = 2
RULES = ViewRules(radius_m=40.0, near_radius_m=15.0, cap=200)
LIMITS = SessionLimits(heartbeat_timeout_s=3.0, resume_grace_s=5.0, attach_timeout_s=2.0, hello_timeout_s=2.0)


def hot(conn: int, message: Input | Ack) -> Inbound:
    """One message in columns, as a transport hands many over."""
    came = Inbound()
    who, frame, stamp = (np.array([value], np.uint32) for value in (conn, message.frame, message.stamp_ms))
    if isinstance(message, Ack):
        came.ack_conn, came.ack_frame, came.ack_stamp = who, frame, stamp
        return came
    came.input_conn, came.input_frame, came.input_stamp = who, frame, stamp
    came.input_seq = np.array([message.seq], np.uint32)
    came.commands = np.frombuffer(message.commands, COMMAND)
    came.command_first = np.zeros(1, np.uint32)
    came.command_count = np.array([len(came.commands)], np.uint8)
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
    gateway: "Gateway"
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
    links: dict[int, Connection] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)


class Gateway:
    """A gateway core and its connections."""

    def __init__(self, cluster: "Cluster", number: int, map_path: str | None) -> None:
        self.cluster = cluster
        facts = GatewayFacts(number, "sim", RATE_HZ, 3, None, map_path, "", "sim")
        self.core = GatewayCore(facts, CAPACITY, RULES, LIMITS, authenticate, seeded_bytes(cluster.seed * 8 + number))
        self.connections: dict[int, Connection] = {}
        make = cluster.rng, cluster.link_faults, cluster.counts
        self.to_shard = Carrier(cluster.clock, cluster.rng, cluster.up_faults, cluster.counts, cluster.upward)
        self.from_shard = Datagrams(cluster.clock, *make, self.receive)

    def receive(self, data: bytes) -> None:
        """A delta arrived."""
        before = self.core.regions.resubscribed
        self.core.receive(RegionDelta.decode(data), self.cluster.now_s)
        self.cluster.counts["resubscribed"] += self.core.regions.resubscribed - before

    def encode(self, tick: int) -> None:
        """Deadlines, messages, frames."""
        core, now_s = self.core, self.cluster.now_s
        core.tick(tick, now_s)
        for action in core.take():
            if isinstance(action, Deliver):
                for k, conn in enumerate(action.conns.tolist()):
                    data = action.data
                    if action.sseq is not None:
                        number = int(action.sseq[k]).to_bytes(4, "big")
                        data = data[:SSEQ_OFFSET] + number + data[SSEQ_OFFSET + 4 :]
                    self.send(conn, data)
            elif isinstance(action, CloseConn):
                self.cluster.counts[f"closed {action.code}"] += 1
                self.send(action.conn, encode_server(Closing(action.code, action.retry_after_ms, action.text)))
                self.cluster.end(self.connections[action.conn], action.code, gently=True)
        blocked = np.zeros(CAPACITY, np.uint8)
        for batch in core.frames(tick, now_s, blocked):
            for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                self.cluster.split(bytes(batch.buffer[at : at + length]), partial(self.send, conn))

    def send(self, conn: int, data: bytes) -> None:
        """One message to one connection."""
        connection = self.connections.get(conn)
        if connection is not None and connection.alive:
            connection.numbers.sent(data)
            connection.down.send(data)


class Cluster:
    """Everything, from one seed."""

    def __init__(self, seed: int, people: int, link: Faults, carrier: Faults) -> None:
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.clock = Clock(1000.0)
        self.counts: Counter[str] = Counter()
        self.link_faults, self.carrier_faults = link, carrier
        self.up_faults = Faults(delay_ms=1.0, jitter_ms=2.0)
        self.digest = hashlib.blake2b(digest_size=16)
        self.shard = RegionCore(ShardConfig(seed=seed), place(), [script()])
        self.truth = Truth(self.shard)
        self.ground: Ground = walk_ground()
        self._arrived: list[Upward] = []
        self.gateways = [Gateway(self, number, "/map/index.json") for number in range(GATEWAYS)]
        self.people = [self._person(number) for number in range(people)]
        self.tick = 0
        self.clock.at(self.clock.now_ms, self._tick)

    @property
    def now_s(self) -> float:
        """The servers' clock."""
        return self.clock.now_ms / 1000.0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now_ms + 1000.0 * seconds)

    def upward(self, data: bytes) -> None:
        """What a gateway said has arrived at the shard."""
        self._arrived.append(Upward.decode(data))

    # ------------------------------------------------------------------------------------------------------- servers
    def _tick(self) -> None:
        self.tick += 1
        tick = self.tick
        for gateway in self.gateways:
            for _, data in gateway.core.upward(tick):
                gateway.to_shard.send(data)
        self.clock.after(STEP_AT_MS, lambda: self._step(tick))
        self.clock.after(ENCODE_AT_MS, lambda: self._encode(tick))
        self.clock.after(TICK_MS, self._tick)

    def _step(self, tick: int) -> None:
        arrived, self._arrived = self._arrived, []
        result = self.shard.step(tick, arrived)
        assert not result.faults, result.faults
        self.truth.stepped(tick)
        delta = result.delta.encode()
        snapshot = self.shard.snapshot_delta(result.delta.seq).encode() if result.subscribe else b""
        for gateway in self.gateways:
            gateway.from_shard.send(snapshot if gateway.core.facts_fixed.gateway in result.subscribe else delta)

    def _encode(self, tick: int) -> None:
        for gateway in self.gateways:
            gateway.encode(tick)

    @staticmethod
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

    # ------------------------------------------------------------------------------------------------------- clients
    def _person(self, number: int) -> Person:
        rng = np.random.default_rng([self.seed, number])
        gateway = number % GATEWAYS
        config = ClientConfig(
            url=f"ws://{gateway}/ws",
            name=f"Person {number}",
            token=f"p{number}",
            input_hz=float(rng.choice([10.0, 20.0])),
        )
        person = Person(number, ClientCore(config, rng.random), rng)
        person.core.set_ground(self.ground)
        self.clock.after(float(rng.uniform(200.0, 2000.0)), lambda: self._begin(person))
        return person

    def _begin(self, person: Person) -> None:
        person.core.start(self.clock.now_ms)
        self._live(person)

    def _live(self, person: Person) -> None:
        """Every 10 ms: what a client's shell does."""
        core = person.core
        core.advance(self.clock.now_ms)
        self.act(person)
        if not core.done:
            self.clock.after(10.0, lambda: self._live(person))

    def act(self, person: Person) -> None:
        """Do what a client asks for."""
        for action in person.core.take_actions():
            match action:
                case Connect(link, url):
                    self.clock.after(self.carrier_faults.delay_ms * 2, partial(self._open, person, link, url))
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
        self.digest.update(repr((self.clock.now_ms, person.number, event)).encode())

    def _open(self, person: Person, link: int, url: str) -> None:
        gateway = self.gateways[int(url.split("/")[2])]
        conn = next(c for c in range(CAPACITY) if c not in gateway.connections)
        numbers = NumberWatch(f"person {person.number} link {link}")
        c: Connection

        def at_gateway(data: bytes) -> None:
            if not c.alive:
                return
            if data[1] in (T_INPUT, T_ACK):
                message = decode_client(data)
                assert isinstance(message, Input | Ack)
                numbers.acknowledged(message.frame)
                gateway.core.take_inbound(hot(conn, message), self.now_s)
            else:
                gateway.core.said(conn, data, self.now_s)

        def at_client(data: bytes) -> None:
            self.digest.update(data)
            person.core.receive(link, data, self.clock.now_ms)
            if data[1] == T_FRAME:
                self.truth.check(person.core)
            self.act(person)

        make = self.clock, self.rng, self.carrier_faults, self.counts
        c = Connection(person, link, gateway, conn, Carrier(*make, at_gateway), Carrier(*make, at_client), numbers)
        gateway.connections[conn] = person.links[link] = c
        gateway.core.connected(conn, f"10.0.0.{person.number}", self.now_s)
        person.core.opened(link, self.clock.now_ms)
        self.act(person)

    def end(self, c: Connection, code: int, *, gently: bool) -> None:
        """A connection ends; ``gently``: what the gateway has sent still arrives first."""
        if not c.alive:
            return
        c.alive = False
        self.counts["number reused"] += c.numbers.reused
        del c.gateway.connections[c.conn]
        c.up.cut()
        wait_ms = 0.0
        if gently:
            wait_ms = 500.0
        else:
            c.down.cut()
        c.gateway.core.lost(c.conn, self.now_s)

        def noticed() -> None:
            c.down.cut()
            c.person.links.pop(c.link, None)
            c.person.core.closed(c.link, code, "", self.clock.now_ms)
            self.act(c.person)

        self.clock.after(wait_ms + self.carrier_faults.delay_ms, noticed)

    # -------------------------------------------------------------------------------------------------------- faults
    def disturb(self) -> None:
        """Wishes and faults of people, once each 100 ms."""
        for person in self.people:
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
            if person.links and rng.random() < self.carrier_faults.reset:
                self.counts["connection reset"] += 1
                self.end(next(reversed(person.links.values())), 1006, gently=False)
            elif person.links and rng.random() < self.carrier_faults.reset:
                next(reversed(person.links.values())).down.stall(float(rng.uniform(300.0, 2500.0)))
