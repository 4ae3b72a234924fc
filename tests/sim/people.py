"""Clients and their connections to gateways: the real client core and the real gateway core, joined by bad carriers and
datagrams on virtual time.

Decides, as the shells do, only when a core is told what. Not responsible for: gateways (``doors``), what shards tell
them (``cluster``, ``whole``), what is right (``checkers``, ``ledger``).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from client import ClientConfig, ClientCore, ClientEvent, Connect, Disconnect, Send, Welcomed
from client.datagrams import DatagramLink
from client.walk import Ground
from protocol.acting import Answer
from protocol.channels import TV
from protocol.codes import Close
from protocol.messages import T_ANSWER, T_FRAME, Token, decode_server
from protocol.poses import Part, Sample
from protocol.values import ValueRecords
from server.core.views import ViewRules
from server.session.identity import Identity, TokenRefused
from server.session.limits import SessionLimits
from tests.sim.air import Air, Endpoint, GateSocket, address_of
from tests.sim.checkers import NumberWatch
from tests.sim.clock import Time
from tests.sim.databank import Databank
from tests.sim.deeds import Deeds
from tests.sim.doors import CAPACITY, Connection, Door
from tests.sim.hands import hand_of, has_hands
from tests.sim.ledger import Ledger
from tests.sim.network import Carrier, Faults
from tests.sim.switches import Switches

SHELL_LEAST_MS, SHELL_MOST_MS = 2.0, 50.0
"""Between two turns of a client's shell; what a person wishes shows with the next one."""
FRAME_SPREAD_MS = 12.0
"""The datagrams of one tick come within this on a good network."""
NEW_VIEW_MS = 3000.0
"""So long a view begins with few bytes, until it knows what the way to its client holds."""
ANY = "any"
"""In a URL: the address of a balancer before all gateways."""
ZAPS: tuple[tuple[str | None, int], ...] = (("", 0), (None, 0), (None, 0), ("square", 3), ("nothing", 0))
"""What televisions ask for: no channel, the first, one in the past, one that is not there."""
RULES = ViewRules(radius_m=40.0, near_radius_m=15.0, cap=200)
LIMITS = SessionLimits(heartbeat_timeout_s=3.0, resume_grace_s=5.0, attach_timeout_s=4.0, hello_timeout_s=2.0)


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


def _ip(person: "Person") -> str:
    return f"10.0.0.{person.number}"


@dataclass(slots=True, eq=False)
class Person:
    """One client core and its wishes."""

    number: int
    core: ClientCore
    rng: np.random.Generator
    links: dict[int, Connection] = field(default_factory=dict)
    """Over carriers."""
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    """Over datagrams, by link."""
    deeds: Deeds = field(default_factory=Deeds)
    events: Counter[str] = field(default_factory=Counter)
    frame_ms: float = 0.0
    """When a datagram came last."""
    welcomed_ms: float = 0.0

    def is_settled(self, now_ms: float) -> bool:
        """Whether its view is not so new that it still fills up."""
        return self.core.connected and now_ms - self.welcomed_ms > NEW_VIEW_MS


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
        self.televisions: list[Person] = []
        """They have no body, and are in no other list."""
        self.air = Air(clock, rng, counts, self._gate)
        self.switches = Switches(counts)
        self.bank: Databank | None = None
        """Of a durable world: what is told must be in it."""

    @property
    def now_s(self) -> float:
        """The servers' clock."""
        return self.clock.now_ms / 1000.0

    def _gate(self, number: int) -> GateSocket | None:
        return self.doors[number].socket if number in self.doors else None

    def begin(self, number: int, door: int | str, datagrams: bool = False) -> Person:
        """One more person, who comes within two seconds to that gateway (ANY: to whichever lives), and goes on over
        ``datagrams`` then."""
        person = self._make(number, door, "vr" if has_hands(self.seed, number) else "desktop", datagrams)
        person.core.set_ground(self.ground)
        self.all.append(person)
        return person

    def begin_television(self, number: int, door: int | str, datagrams: bool) -> None:
        """A television, which watches the first channel."""
        person = self._make(number, door, TV, datagrams)
        person.core.watch()
        self.televisions.append(person)

    def _make(self, number: int, door: int | str, profile: str, datagrams: bool) -> Person:
        rng = np.random.default_rng([self.seed, number])
        config = ClientConfig(
            url=f"ws://{door}/ws",
            name=f"Person {number}",
            token=f"p{number}",
            input_hz=float(rng.choice([10.0, 20.0])),
            profile=profile,
            datagrams=datagrams,
        )
        person = Person(number, ClientCore(config, rng.random), rng)
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
                case Connect(link, _, token, session) if token is not None:
                    self._open_datagrams(person, link, token, session)
                case Connect(link, url):
                    self.clock.after(self.faults.delay_ms * 2, partial(self._open, person, link, url))
                case Send(link, data, may_be_lost) if link in person.endpoints:
                    endpoint = person.endpoints[link]
                    endpoint.ledger.up.said(data, may_be_lost)
                    endpoint.link.say(data, may_be_lost)
                case Send(link, data):
                    if link in person.links and person.links[link].alive:
                        person.links[link].up.send(data)
                case Disconnect(link) if link in person.endpoints:
                    endpoint = person.endpoints.pop(link)
                    endpoint.send()
                    endpoint.close()
                case Disconnect(link):
                    if link in person.links:
                        self.end(person.links[link], 1000, gently=False)
        for endpoint in list(person.endpoints.values()):
            endpoint.serve()
        for event in person.core.take_events():
            self._heard(person, event)
        self.switches.look(person.number, person.core)

    def _heard(self, person: Person, event: ClientEvent) -> None:
        person.events[type(event).__name__] += 1
        if isinstance(event, Welcomed):
            person.welcomed_ms = self.clock.now_ms
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
        numbers = None if person in self.televisions else NumberWatch(f"person {person.number} link {link}")
        c: Connection

        def at_client(data: bytes) -> None:
            self._message_came(person, link, data)
            if data[1] == T_FRAME:
                self.shown(person.core)
            self.act(person)

        make = self.clock, self.rng, self.faults, self.counts
        up = Carrier(*make, lambda data: gateway.arrived(c, data))
        c = Connection(person, link, gateway, conn, up, Carrier(*make, at_client), numbers)
        gateway.connections[conn] = person.links[link] = c
        gateway.core.connected(conn, _ip(person), gateway.now_s, secure=True)
        person.core.opened(link, self.clock.now_ms)
        self.act(person)

    def _open_datagrams(self, person: Person, link: int, token: Token, session: int) -> None:
        gate = next(number for number in self.doors if address_of(number) == token.address)
        ledger = self.doors[gate].ledgers.of_number.get(token.number)
        if ledger is None:  # of a process that has died since
            ledger = Ledger.of(token, session)
        ledger.try_it()

        def heard(datagram: bytes) -> None:
            self._datagram_came(person, link, endpoint, datagram)

        endpoint = Endpoint(self.air, gate, _ip(person), DatagramLink(token, session), ledger, heard)
        person.endpoints[link] = endpoint
        person.core.opened(link, self.clock.now_ms)
        self.act(person)

    def _datagram_came(self, person: Person, link: int, endpoint: Endpoint, datagram: bytes) -> None:
        """As the shell: ``client.shell.datagrams``."""
        core, now_ms = person.core, self.clock.now_ms
        if now_ms - person.frame_ms > FRAME_SPREAD_MS and core.on_datagrams and person.is_settled(now_ms):
            self.shown(core)  # of the tick before all has come
        messages = endpoint.link.receive(datagram, now_ms)
        if messages is None:
            self.counts["datagram of no use"] += 1
            return
        person.frame_ms = now_ms
        core.heard(link, now_ms)
        for data in messages:
            endpoint.ledger.hear_server(data)
            self._message_came(person, link, data)
        assert core.stats.violations == 0, "the server broke the standard"
        if isinstance(core.records, ValueRecords) and core.records.waiting:
            self.counts["values that waited for structure"] += 1
        self.act(person)

    def _message_came(self, person: Person, link: int, data: bytes) -> None:
        self.digest.update(data)
        if self.bank is not None and data[1] == T_ANSWER:
            self._check_stored(person, data)
        person.core.receive(link, data, self.clock.now_ms)

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
        self.counts["number reused"] += 0 if c.numbers is None else c.numbers.reused
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

    def tally(self) -> None:
        """Count what is counted at the end of a run, once."""
        for door in self.doors.values():
            if door.open:
                door.tally()
        self.counts["on datagrams in the end"] += sum(person.core.on_datagrams for person in self.all)

    # -------------------------------------------------------------------------------------------------------- faults
    def disturb(self) -> None:
        """Wishes and faults of people, once each 100 ms."""
        for viewer in self.televisions:
            if viewer.rng.random() < 0.02:
                viewer.core.watch(*ZAPS[int(viewer.rng.integers(len(ZAPS)))])
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
