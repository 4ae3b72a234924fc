"""Crossings in a real cluster: drones fly over the borders of four regions that two shards have, a client watches.

The drones of ``worlds/flight.py`` say themselves how many borders they crossed and how many ticks nobody simulated
them. All rest before each roll call, in which each region says how many it has: more in all than there are means that
somebody is in two places, fewer that somebody was lost. Not responsible for: faults (``crossings`` has them).
"""

import asyncio
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.fleet import Fleet, Form
from bench.prepare import BENCH
from client import Changed, Client, ClientConfig, Entered, Told, guest_token

WORLD = BENCH / "worlds" / "flight.toml"
FORM = Form("2 shards + 1 gateway", 2, 1, 1)
DRONES = 800
PATIENCE_S = 300.0
DELAYS_MAX = 20


@dataclass
class Flights:
    """What was seen. ``delays[k]``: crossings that cost k ticks; ``calls``: drones counted in each whole roll call."""

    crossings: int = 0
    delays: list[int] = field(default_factory=lambda: [0] * (DELAYS_MAX + 1))
    calls: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    """Drones that the client has seen until then: some may be bred meanwhile."""

    @property
    def lost(self) -> int:
        """Drones missing in the worst roll call."""
        return max((known - count for known, count in zip(self.known, self.calls, strict=True)), default=DRONES)

    @property
    def doubled(self) -> int:
        """Drones too many in the worst roll call."""
        return max((count - known for known, count in zip(self.known, self.calls, strict=True)), default=DRONES)

    @property
    def p99_ticks(self) -> int:
        """Extra delay that 99 of 100 crossings do not exceed."""
        late, ticks = 0, DELAYS_MAX
        while ticks > 0 and late + self.delays[ticks] <= 0.01 * self.crossings:
            late += self.delays[ticks]
            ticks -= 1
        return ticks


class Watcher:
    """What a client hears of the drones."""

    def __init__(self) -> None:
        self.found = Flights()
        self._crossed: dict[int, int] = {}
        self._missed: dict[int, int] = {}
        self._calls: Counter[int] = Counter()
        self._known = 0

    def entered(self, entity: int, components: dict[str, object]) -> None:
        """A drone came into view, with what it did so far."""
        self._crossed[entity], self._missed[entity] = int(str(components["crossed"])), int(str(components["missed"]))

    def changed(self, entity: int, components: dict[str, object]) -> None:
        """A drone has crossed a border, or was not simulated for some ticks."""
        crossed = int(str(components.get("crossed", self._crossed[entity])))
        missed = int(str(components.get("missed", self._missed[entity])))
        self.found.crossings += crossed - self._crossed[entity]
        if missed > self._missed[entity]:
            self.found.delays[min(missed - self._missed[entity], DELAYS_MAX)] += 1
        self._crossed[entity], self._missed[entity] = crossed, missed

    def told(self, call: int, drones: int) -> None:
        """A region has called its drones. It counts when the next call begins: then all have."""
        self._calls[call] += drones
        for over in [number for number in self._calls if number < call]:
            self.found.calls.append(self._calls.pop(over))
            self.found.known.append(self._known)
        self._known = len(self._crossed)


async def _watch(url: str, crossings: int) -> Flights:
    async with aiohttp.ClientSession() as session:
        token = await guest_token(session, url, "Watcher")
    watcher, end_s = Watcher(), time.monotonic() + PATIENCE_S
    async with Client(ClientConfig(url=url, name="Watcher", token=token)) as client:
        async for event in client.events():
            match event:
                case Entered(entity, _, components) if "crossed" in components:
                    watcher.entered(entity, components)
                case Changed(entity, components) if "crossed" in components or "missed" in components:
                    watcher.changed(entity, components)
                case Told(_, "roll call", payload):
                    watcher.told(payload["call"], payload["drones"])
            enough = watcher.found.crossings >= crossings and len(watcher.found.calls) >= 2
            if enough or time.monotonic() > end_s:
                break
    return watcher.found


def measure(crossings: int) -> Flights:
    """Watch at least so many crossings, and two roll calls. Raises ChildFailed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = Fleet(stack, FORM, WORLD, folder)
        return asyncio.run(_watch(f"ws://127.0.0.1:{fleet.ports[0]}/ws", crossings))
