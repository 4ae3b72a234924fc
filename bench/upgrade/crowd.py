"""People who walk, look and act while a cluster is changed under them, and what they notice of it.

Decides what is noticed, at the edge of each client's core, as docs/SCALING.md defines "nobody notices": connections
that ended before there was the next one, ticks between two applied frames, corrections of the own body, the numbers by
which one stream names the others, how long it is until a new stream shows all of them, answers to acts. Invariant:
whoever was shown once stays until the stream ends: nobody walks out of sight here. Not responsible for: what is done to
the cluster (``sets``).
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from math import atan2, hypot

import aiohttp
import numpy as np
import numpy.typing as npt

from bench.soak.cluster import SoakFailed, until
from client import Client, ClientConfig, ClientCore, Closed, Lost, Welcomed, guest_token
from client.shell.acting import ActLostError, ActRefusedError
from client.shell.connection import now_ms, ws_url
from tests.noticed import AROUND_TICKS

STEER_S = 0.1
ACT_S = 0.5
RADIUS_M, APART_M, CIRCLES = 4.0, 1.2, 10
"""Circles about the place where four regions meet."""
OLD, NEW = (1, 1), (1, 2)
"""Versions of the wire that clients of today and of the next release speak."""


@dataclass
class Noticed:
    """Of some stretch of time, all people together."""

    gaps_ticks: list[int] = field(default_factory=list)
    """Between two applied frames, for each frame."""
    silent_ms: float = 0.0
    """The longest time without a frame."""
    correction_m: float = 0.0
    """The largest of the own body that something else than commands did not explain."""
    switches: int = 0
    filled_ticks: int = 0
    """The longest time from the first frame of a stream until it showed all others."""
    unplanned: list[str] = field(default_factory=list)
    """Connections that ended before their client had the next one."""
    odd: list[str] = field(default_factory=list)
    """All else that must not be."""

    def add(self, other: "Noticed") -> None:
        """What somebody else noticed, or the same people at another time."""
        self.gaps_ticks += other.gaps_ticks
        self.silent_ms = max(self.silent_ms, other.silent_ms)
        self.correction_m = max(self.correction_m, other.correction_m)
        self.switches += other.switches
        self.filled_ticks = max(self.filled_ticks, other.filled_ticks)
        self.unplanned += other.unplanned
        self.odd += other.odd

    def late(self, beyond_ticks: int) -> int:
        """Frames that came so many ticks after the one before, or more."""
        return sum(gap > beyond_ticks for gap in self.gaps_ticks)


class WatchedCore(ClientCore):
    """Tells ``person`` of each message that came."""

    def __init__(self, config: ClientConfig, person: "Person") -> None:
        super().__init__(config, random.Random(person.number).random)
        self._person = person

    def receive(self, link: int, data: bytes, now_ms: float) -> None:
        """One message arrived."""
        super().receive(link, data, now_ms)
        self._person.heard(self, now_ms)


class Person:
    """One of them. ``found``: what it noticed since it was taken last."""

    def __init__(self, number: int, config: ClientConfig) -> None:
        self.number = number
        self.client = Client(config)
        self.client.core = self.core = WatchedCore(config, self)
        self.radius_m = RADIUS_M + APART_M * (number % CIRCLES)
        self.found = Noticed()
        self.bodies: set[int | None] = set()
        self.sessions: set[int] = set()
        self.versions: list[int] = []
        """As each WELCOME told."""
        self.done = 0
        self.others: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        """Bodies of all others, once all are there."""
        self._frames = self._welcomes = self._tick = self._begun = 0
        self._is_filled = False
        self._frame_ms = 0.0
        self._corrected_m = 0.0
        self._names: dict[int, int] = {}

    # ------------------------------------------------------------------------------------------------------ what comes
    def heard(self, core: ClientCore, at_ms: float) -> None:
        """A message came."""
        stats, tick = core.stats, core.records.tick
        if stats.correction_m_max > self._corrected_m:
            self._corrected_m = stats.correction_m_max
            self.found.correction_m = max(self.found.correction_m, self._corrected_m)
        if stats.frames == self._frames:
            return
        self._frames = stats.frames
        if stats.welcomes != self._welcomes:
            self.found.switches += self._welcomes > 0
            self._welcomes, self._begun, self._names, self._is_filled = stats.welcomes, 0, {}, False
        if not tick:
            return  # what came waits for structure
        self._begun = self._begun or tick
        if self._tick and tick > self._tick:
            self.found.gaps_ticks.append(tick - self._tick)
            self.found.silent_ms = max(self.found.silent_ms, at_ms - self._frame_ms)
        if tick > self._tick:
            self._tick, self._frame_ms = tick, at_ms
        if len(self.others):
            self._compare(core)

    def _compare(self, core: ClientCore) -> None:
        records = core.records
        numbers = np.flatnonzero(records.live & np.isin(records.id, self.others))
        names = dict(zip(records.id[numbers].tolist(), numbers.tolist(), strict=True))
        for body, number in self._names.items():
            if names.get(body) != number:
                told = f"the body {body} was number {number} and is {names.get(body, 'nowhere')}"
                self.found.odd.append(f"{self.number}: at tick {records.tick}, begun at {self._begun}: {told}")
        self._names = names
        if len(names) < len(self.others):
            self.found.filled_ticks = max(self.found.filled_ticks, records.tick - self._begun)
        else:
            self._is_filled = True

    @property
    def settled(self) -> bool:
        """Whether it is where it is going to stay, by the transport that it wants."""
        core = self.core
        if not core.connected or core.on_datagrams != core.config.datagrams:
            return False
        sees_all = self._is_filled or not len(self.others)
        return sees_all and self._begun > 0 and core.records.tick >= self._begun + AROUND_TICKS

    def __str__(self) -> str:
        """For a message: where it stands."""
        core = self.core
        way = "UDP" if core.on_datagrams else "WebSocket"
        wants = "UDP" if core.config.datagrams else "WebSocket"
        problem = f" ({core.datagram_problem})" if core.datagram_problem else ""
        return (
            f"{self.number} at {core.url}, {'connected' if core.connected else 'not connected'} by {way}, wants {wants}"
            f"{problem}, sees {len(self._names)} of {len(self.others)} at tick {self._tick}, begun at {self._begun}, "
            f"deeds {self.done}"
        )

    def take(self) -> Noticed:
        """What was noticed since this was asked last."""
        found, self.found = self.found, Noticed()
        self.core.stats.correction_m_max = self._corrected_m = 0.0
        return found

    # ---------------------------------------------------------------------------------------------------- what it does
    async def listen(self) -> None:
        """Note what happens until the client ends."""
        async for event in self.client.events():
            match event:
                case Welcomed():
                    self.bodies.add(event.welcome.body)
                    self.sessions.add(event.welcome.session)
                    self.versions.append(event.welcome.version)
                case Lost() | Closed():
                    self.found.unplanned.append(f"{self.number}: {event.code} {event.text}")

    async def act(self) -> None:
        """One numbered deed after the other; each answer says how many there were, and how many of them twice."""
        while True:
            try:
                answer = await self.client.act("deed", self.done + 1)
            except (ActLostError, ActRefusedError) as problem:
                self.found.odd.append(f"{self.number}: deed {self.done + 1}: {problem}")
            else:
                if answer != [self.done + 1, 0]:
                    self.found.odd.append(f"{self.number}: deed {self.done + 1} was answered with {answer}")
                self.done += 1
            await asyncio.sleep(ACT_S)

    async def walk(self) -> None:
        """Round and round."""
        while True:
            place = self.core.position
            if place is not None:
                x, z = place[0], place[2]
                out_m = max(hypot(x, z), 0.1)
                inward = max(-1.0, min(1.0, (out_m - self.radius_m) / 2.0))
                move_x, move_z = -z / out_m - inward * x / out_m, x / out_m - inward * z / out_m
                length = hypot(move_x, move_z)
                self.client.steer(move_x / length, move_z / length, atan2(-move_x, -move_z))
            await asyncio.sleep(STEER_S)


@contextlib.asynccontextmanager
async def crowd(urls: Mapping[str, str], count: int, session: aiohttp.ClientSession) -> AsyncIterator[list[Person]]:
    """``count`` people at the gateways ``urls`` by turns: of four, two go on over UDP, and two speak the next version
    of the wire as well."""
    async with contextlib.AsyncExitStack() as stack:
        people, tasks = [], []
        for number in range(count):
            url = ws_url(list(urls.values())[number % len(urls)])
            token = await guest_token(session, url, f"Person {number}")
            versions = NEW if number % 4 >= 2 else OLD
            config = ClientConfig(url=url, token=token, datagrams=number % 4 in (1, 2), versions=versions)
            person = Person(number, config)
            await stack.enter_async_context(person.client)
            people.append(person)
            tasks += [asyncio.create_task(each()) for each in (person.listen, person.walk, person.act)]
        try:
            yield people
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended


def meet(people: list[Person]) -> None:
    """From now on the numbers by which everybody names the others are watched."""
    for person in people:
        bodies = [next(iter(other.bodies)) for other in people if other is not person]
        person.others = np.array(bodies, np.uint64)
        person.take()


async def settled(what: str, people: list[Person]) -> None:
    """Wait until everybody is where it is going to stay and has got two answers more. Raises SoakFailed, and says who
    has not."""
    before = [person.done for person in people]

    def left() -> list[Person]:
        return [
            person for person, done in zip(people, before, strict=True) if not person.settled or person.done < done + 2
        ]

    try:
        await until(f"everybody goes on after {what}", lambda: not left())
    except SoakFailed as failed:
        raise SoakFailed(f"{failed}: {'; '.join(map(str, left()))}") from None


def taken(people: list[Person]) -> Noticed:
    """What all of them noticed since this was asked last; who hears nothing at present counts, too."""
    noticed, at_ms = Noticed(), now_ms()
    for person in people:
        found = person.take()
        found.silent_ms = max(found.silent_ms, at_ms - person._frame_ms)
        noticed.add(found)
    return noticed
