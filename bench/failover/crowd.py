"""The program of the host where people are: ``python -m bench.failover.crowd FOLDER``.

Reads ``people.json``; everybody walks in a circle about the place where all regions meet, and acts. Beside them the
coordination store is watched, so that what the cluster does is known with its time. Control as in ``bench.process``:
``state`` on stdin is answered by what there is now, ``measure {...}`` by what was noticed of a fault, ``settle`` by the
books, when everybody has stopped acting. Not responsible for: faults, and what the figures are held to.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from math import atan2, hypot
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from bench.failover.measure import Frame, Track, answer_s, gap_s, moving_again_s, pose_age_s, still_s
from client import ActLostError, ActRefusedError, Client, ClientConfig, ClientCore, Lost, Welcomed
from cluster.book import Book
from cluster.regions import Layout
from isthmus.config import Config, load
from isthmus.fleet.setup import layout_of, open_store
from tests.integration.hosts.walkers import Door

STEER_S = 0.1
RADIUS_M, APART_M, CIRCLES = 6.0, 1.5, 10
ACTS_HZ, PLAY_S, REST_S = 5.0, 1.5, 1.5
"""All act for PLAY_S and rest for REST_S: what is acted is committed at once, poses with it, so that only a rest shows
how old poses become by themselves."""
FRESH_S = 0.5
"""Who has had no frame that moved him for so long does not walk."""
LATE_S = 2.5
"""Whose story is told."""
INTERRUPTED_S = 0.5
"""Who moved again later than this was affected, wherever he was."""


class WatchedCore(ClientCore):
    """Notes each frame."""

    def __init__(self, config: ClientConfig, track: Track) -> None:
        super().__init__(config, random.Random().random)
        self.track = track

    def receive(self, link: int, data: bytes, now_ms: float) -> None:
        """One message arrived."""
        frames = self.stats.frames
        super().receive(link, data, now_ms)
        place = self.position
        if self.stats.frames != frames and place is not None:
            self.track.frames.append(Frame(now_ms / 1000.0, self.acknowledged_seq, place[0], place[2]))


@dataclass(eq=False)
class Person:
    """One of the crowd. ``done``: acts that were answered; ``wrong``: answers that are not the next number, by what
    they said; ``bodies``: all that it had."""

    client: Client
    radius_m: float
    track: Track
    done: int = 0
    wrong: list[str] = field(default_factory=list)
    bodies: list[int | None] = field(default_factory=list)

    async def live(self) -> None:
        """Note what happens until the client ends."""
        async for event in self.client.events():
            match event:
                case Welcomed():
                    if event.welcome.body not in self.bodies[-1:]:
                        self.bodies.append(event.welcome.body)
                case Lost() if self.bodies:
                    self.track.losses.append(time.monotonic())

    async def act(self, stop: asyncio.Event) -> None:
        """One act after the other; each answer says how many the body has done."""
        await asyncio.sleep(random.random() / ACTS_HZ)
        said = 0
        while not stop.is_set():
            began_s = time.monotonic()
            said += 1
            try:
                answer = await self.client.act("enter", said)
            except ActRefusedError as problem:
                if self.done:
                    self.wrong.append(f"refused: {problem}")
                said -= 1
            except ActLostError as problem:
                self.wrong.append(str(problem))
            else:
                self.done += 1
                self.track.acts.append((began_s, time.monotonic()))
                if answer != [self.done, 0]:
                    self.wrong.append(f"{answer} instead of {[self.done, 0]}")
                    self.done, _ = answer
            now_s = time.monotonic()
            into_s = now_s % (PLAY_S + REST_S)
            rest_s = PLAY_S + REST_S - into_s if into_s > PLAY_S else 0.0
            await asyncio.sleep(max(rest_s, began_s + 1 / ACTS_HZ - now_s))

    def walk(self) -> None:
        """On along the circle."""
        core, now_s = self.client.core, time.monotonic()
        self.track.commands.append((now_s, core.newest_seq))
        place = core.position
        if place is None:
            return
        x, z = place[0], place[2]
        out_m = max(hypot(x, z), 0.1)
        inward = max(-1.0, min(1.0, (out_m - self.radius_m) / 2.0))
        move_x, move_z = -z / out_m - inward * x / out_m, x / out_m - inward * z / out_m
        length = hypot(move_x, move_z)
        self.client.steer(move_x / length, move_z / length, atan2(-move_x, -move_z))

    def walks(self, now_s: float) -> bool:
        """Whether it has moved lately."""
        return moving_again_s(self.track, now_s - FRESH_S) is not None


@dataclass
class Witness:
    """What the coordination store has told, with its times."""

    book: Book = field(default_factory=Book)
    members: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    owners: list[tuple[float, dict[int, tuple[str, int]]]] = field(default_factory=list)

    async def watch(self, config: Config) -> None:
        """Until it is cancelled."""
        store = open_store(config, np.random.default_rng())
        async with aclosing(store.watch("")) as items:
            async for item in items:
                self.book.watched(item)
                now_s = time.monotonic()
                members = {name: member.lease for name, member in self.book.members.items()}
                owners = {n: (own.record.owner, own.record.epoch) for n, own in self.book.regions.items()}
                if not self.members or self.members[-1][1] != members:
                    self.members.append((now_s, members))
                if not self.owners or self.owners[-1][1] != owners:
                    self.owners.append((now_s, owners))

    def lease_over_s(self, name: str, fault_s: float) -> float | None:
        """When the life that ``name`` had at the fault was over."""
        lease = next((held.get(name) for at_s, held in reversed(self.members) if at_s <= fault_s), None)
        return next((at_s for at_s, held in self.members if at_s > fault_s and held.get(name) != lease), None)

    def owned_at(self, at_s: float) -> dict[int, tuple[str, int]]:
        """Regions with owner and epoch at a time."""
        return next((owners for since_s, owners in reversed(self.owners) if since_s <= at_s), {})

    def next_owner_s(self, region: int, fault_s: float) -> float | None:
        """When the region had another epoch than at the fault."""
        before = self.owned_at(fault_s).get(region)
        return next((at_s for at_s, owners in self.owners if at_s > fault_s and owners.get(region) != before), None)


@dataclass
class Noticed:
    """Of one fault: seconds since it. ``again_s``: of each of those affected, None for who does not move yet."""

    detected_s: float | None
    affected: int
    again_s: list[float | None]
    ages_s: list[float]
    gap_s: float
    still_s: float
    answer_s: float
    losses: int
    odd: list[str]
    """Of whom came back oldest and latest: where they were, and what came of them."""


class Crowd:
    """All of them."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.people: list[Person] = []
        self.witness = Witness()
        self.stop = asyncio.Event()

    def state(self) -> dict[str, Any]:
        """What there is now."""
        now_s, book = time.monotonic(), self.witness.book
        regions = self.layout.all()
        return {
            "members": {name: member.lease for name, member in book.members.items()},
            "owners": {region: own.record.owner for region, own in book.regions.items()},
            "orphans": [region for region in regions if book.owner(region) is None],
            "sessions": {member.name: member.record.sessions for member in book.gateways()},
            "placer": (book.placer or "").partition("/")[0],
            "standing": sum(not person.walks(now_s) for person in self.people),
            "done": sum(person.done for person in self.people),
            "silent": sum(not person.track.acts or person.track.acts[-1][1] < now_s - 2.0 for person in self.people),
            "wrong": [text for person in self.people for text in person.wrong][:20],
            "bodies": sum(len(person.bodies) - 1 for person in self.people),
        }

    def measure(self, fault_s: float, victims: list[str], sort: str) -> Noticed:
        """What was noticed of a fault. ``sort``: shard, gateway, or who else fell."""
        now_s, witness = time.monotonic(), self.witness
        over = [witness.lease_over_s(name, fault_s) for name in victims]
        detected_s = max((at_s - fault_s for at_s in over if at_s is not None), default=None)
        owners = witness.owned_at(fault_s)
        again: list[float | None] = []
        ages: list[float] = []
        told: list[tuple[float, str]] = []
        for number, person in enumerate(self.people):
            place, moved_s = person.track.last_before(fault_s), moving_again_s(person.track, fault_s)
            region = None if place is None else int(self.layout.region_at(place.x, place.z))
            theirs = region is not None and owners.get(region, ("", 0))[0] in victims
            lost = any(at_s > fault_s for at_s in person.track.losses)
            late = moved_s is None or moved_s > INTERRUPTED_S
            if sort == "all" or late or (sort == "shard" and theirs) or (sort == "gateway" and lost):
                again.append(moved_s)
            if sort == "shard" and theirs and region is not None:
                owner_s = witness.next_owner_s(region, fault_s)
                age_s = None if owner_s is None else pose_age_s(person.track, owner_s)
                ages += [] if age_s is None else [age_s]
                if place is not None and owner_s is not None and (age_s or 0.0) > 1.0:
                    told.append(
                        (1e3 + (age_s or 0.0), f"{number}: age {age_s}, {person.track.story(fault_s, owner_s)}")
                    )
            if place is not None and moved_s is not None and late:
                story = person.track.story(fault_s, fault_s + moved_s) if moved_s > LATE_S else ""
                told.append(
                    (moved_s, f"{number}: again {moved_s:.2f} s, in {region}, {place.x:.1f}, {place.z:.1f}; {story}")
                )
        return Noticed(
            detected_s if None not in over else None,
            len(again),
            again,
            ages,
            max(gap_s(person.track, fault_s, now_s) for person in self.people),
            max(still_s(person.track, fault_s, now_s) for person in self.people),
            max(answer_s(person.track, fault_s, now_s) for person in self.people),
            sum(at_s > fault_s for person in self.people for at_s in person.track.losses),
            [text for _, text in sorted(told, reverse=True)[:4]],
        )

    async def settle(self) -> dict[str, Any]:
        """Everybody stops acting; what the books say then, when they say it twice."""
        self.stop.set()
        told: list[Any] = []
        while len(told) < 2 or told[-1] != told[-2]:
            await asyncio.sleep(1.0)
            told.append(await self.people[0].client.act("read"))
        books, entries = told[-1]
        return {**self.state(), "books": books, "entries": entries}


async def _commands(crowd: Crowd) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        command, _, text = line.partition(" ")
        match command:
            case "state":
                _say("state", crowd.state())
            case "measure":
                _say("measured", asdict(crowd.measure(**json.loads(text))))
            case "settle":
                _say("settled", await crowd.settle())
            case "quit":
                return


def _say(event: str, told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"event": event, **told}) + "\n")
    sys.stdout.flush()


async def main(folder: Path) -> None:
    """Until it is told to quit."""
    world = folder / "world.toml"
    config = load(world.read_text(), str(world), {}, {})
    assert isinstance(config, Config)
    crowd = Crowd(layout_of(config, None))
    wanted = json.loads((folder / "people.json").read_text())
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(crowd.witness.watch(config))]
        for number, (name, of) in enumerate(wanted.items()):
            url = await Door([(host, port) for host, port in of["gateways"]]).open()
            settings = ClientConfig(url=url, name=name, token=of["token"], input_hz=10.0, predict=False, events=False)
            track, client = Track(), Client(settings)
            client.core = WatchedCore(settings, track)
            person = Person(client, RADIUS_M + number % CIRCLES * APART_M, track)
            await stack.enter_async_context(client)
            crowd.people.append(person)
            beside += [tasks.create_task(person.live()), tasks.create_task(person.act(crowd.stop))]
        beside.append(tasks.create_task(_walk(crowd)))
        _say("ready", {})
        await _commands(crowd)
        for task in beside:
            task.cancel()


async def _walk(crowd: Crowd) -> None:
    while True:
        for person in crowd.people:
            person.walk()
            person.track.forget(time.monotonic())
        await asyncio.sleep(STEER_S)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1])))
