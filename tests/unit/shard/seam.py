"""Regions joined by a bad network on virtual time, a gateway that follows bodies, and what must hold after every tick.

A tick: what the network lets through is given to each region in a random order, then each region steps. Regions that
crash begin empty with a higher epoch; regions that move are dumped into another core.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from protocol.border import Border
from protocol.layouts import COMMAND
from protocol.link import RegionDelta, Upward
from protocol.place import Place
from shard.behaviours.api import Script
from shard.border.links import Square
from shard.config import ShardConfig
from shard.region import RegionCore, RegionStep
from shard.world.checks import broken
from tests.unit.shard.worlds import boxes, place

TWO: dict[int, Square] = {4: (-64.0, -64.0, 0.0, 64.0), 5: (0.0, -64.0, 64.0, 64.0)}
FOUR: dict[int, Square] = {
    4: (-64.0, -64.0, 0.0, 0.0), 5: (0.0, -64.0, 64.0, 0.0), 6: (-64.0, 0.0, 0.0, 64.0), 7: (0.0, 0.0, 64.0, 64.0)
}  # fmt: skip


@dataclass(slots=True)
class Net:
    """Shares of messages that are lost, repeated, and late by up to ``late_ticks``."""

    lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    late_ticks: int = 3


@dataclass(slots=True, eq=False)
class Body:
    """A session's body, as its gateway follows it."""

    session: int
    entity: int = 0
    region: int = 0
    row: int = 0
    generation: int = 0
    seq: int = 0
    acknowledged: int = 0
    unacknowledged: list[tuple[int, Any]] = field(default_factory=list)
    moves: int = 0


class Seam:
    """The regions and all around them."""

    def __init__(
        self,
        squares: dict[int, Square],
        script: Callable[[], Sequence[Script]] = tuple,
        seed: int = 1,
        net: Net | None = None,
        the_place: Place | None = None,
        **options: Any,
    ) -> None:
        self.squares = squares
        self.script = script
        self.net = net or Net()
        self.rng = np.random.default_rng(seed)
        self.place = the_place or place(boxes())
        self.options = options
        self.tick = 0
        self.epochs = dict.fromkeys(squares, 1)
        self.cores = {region: self._make(region, start=region == min(squares)) for region in squares}
        self.under_way: list[tuple[int, bytes]] = []
        self.results: dict[int, RegionStep] = {}
        self.bodies: dict[int, Body] = {}
        self.asks: dict[int, list[Upward]] = {region: [] for region in squares}
        self.up_seq = 0
        self.messages = self.bytes = 0
        self.events: list[list[Any]] = []
        self.faults: list[str] = []
        self.known: set[int] = set()
        self.left: set[int] = set()
        """Entities of which a region said that they are gone for good."""
        self.hops: dict[int, int] = {}
        self.excused: set[int] = set()
        """Entities that a crash took."""
        self.cut: set[tuple[int, int]] = set()
        """(source, target) between which nothing comes through."""

    def config(self, region: int) -> ShardConfig:
        neighbours = tuple((other, square) for other, square in self.squares.items() if other != region)
        config = ShardConfig(
            region=region, epoch=self.epochs[region], square_m=self.squares[region], neighbours=neighbours,
            first_id=(region << 40) + (self.epochs[region] << 20), id_count=1 << 20,
        )  # fmt: skip
        return replace(config, **self.options)

    def _make(self, region: int, start: bool = False) -> RegionCore:
        config = replace(self.config(region), start=start)
        return RegionCore(config, self.place, self.script(), tick=self.tick)

    # ------------------------------------------------------------------------------------------------------- faults
    def crash(self, region: int) -> None:
        """The owner dies; its successor begins with nothing."""
        held = self.own(region)
        self.excused |= held
        for source, core in self.cores.items():
            if source != region:
                continue
            self.excused |= {e for e, s in core.state.links.tombstones.items() if not core.state.links.acknowledged(s)}
        self.epochs[region] += 1
        self.cores[region] = self._make(region)
        for body in self.bodies.values():
            if body.region == region:
                body.region = 0

    def move(self, region: int) -> None:
        """A planned move to another process."""
        dump = self.cores[region].dump()
        self.epochs[region] += 1
        self.cores[region] = self._make(region)
        self.cores[region].restore(dump)

    # ------------------------------------------------------------------------------------------------------ gateway
    def join(self, session: int, region: int, pos: tuple[float, float]) -> Body:
        """A person enters, and is put to a place."""
        body = self.bodies[session] = Body(session)
        self.say(region, Upward(0, 0, 0, attach=[[session, 1, f"P{session}", "person", "desktop", 0]]))
        self.run(1)
        assert body.region == region
        self.cores[region].state.table.pos[body.row] = [pos[0], 0.0, pos[1]]
        return body

    def say(self, region: int, message: Upward) -> None:
        """Tell a region something with its next step."""
        self.up_seq += 1
        message.gateway, message.seq, message.tick, message.region = 1, self.up_seq, self.tick, region
        message.epoch = self.epochs[region]
        self.asks[region].append(message)

    def walk(self, body: Body, move_x: int = 0, move_z: int = 0, buttons: int = 0) -> None:
        """One command, to where the body was last known."""
        made = np.zeros(1, COMMAND)
        made["move_x"], made["move_z"], made["steps"], made["buttons"] = move_x, move_z, 3, buttons
        body.seq += 1
        body.unacknowledged.append((body.seq, made))
        self._send(body, body.unacknowledged[-1:])

    def _send(self, body: Body, commands: list[tuple[int, Any]]) -> None:
        if not body.region or not commands:
            return
        count = len(commands)
        message = Upward(0, 0, 0, input_row=np.full(count, body.row, np.uint32))
        message.input_generation = np.full(count, body.generation, np.uint32)
        message.input_seq = np.array([seq for seq, _ in commands], np.uint32)
        message.input_command = np.concatenate([made for _, made in commands])
        self.say(body.region, message)

    def _follow(self, region: int, delta: RegionDelta) -> None:
        for session, _, entity, row, generation, *_ in delta.attached:
            body = self.bodies[session]
            assert body.entity in (0, entity) or body.entity in self.excused
            body.moves += body.region not in (0, region)
            body.entity, body.region, body.row, body.generation = entity, region, row, generation
            self._send(body, body.unacknowledged)
        for row, seq in zip(delta.own_row.tolist(), delta.own_seq.tolist(), strict=True):
            for body in self.bodies.values():
                if (body.region, body.row) == (region, row):
                    assert seq >= body.acknowledged, "acknowledged numbers went back"
                    body.acknowledged = seq
                    body.unacknowledged = [(s, c) for s, c in body.unacknowledged if s > seq]

    # --------------------------------------------------------------------------------------------------------- time
    def run(self, ticks: int, each: Callable[[], None] | None = None) -> None:
        """Go on, and check after every tick."""
        for _ in range(ticks):
            if each is not None:
                each()
            self._tick()

    def _tick(self) -> None:
        self.tick += 1
        came: dict[int, list[Border]] = {region: [] for region in self.cores}
        later: list[tuple[int, bytes]] = []
        for due, data in self.under_way:
            if due > self.tick:
                later.append((due, data))
                continue
            message = Border.decode(data)
            if message.target in came:
                came[message.target].append(message)
        self.under_way = later
        for region, core in self.cores.items():
            self.rng.shuffle(came[region])
            said, self.asks[region] = self.asks[region], []
            ids = core.state.table.id.copy()
            result = self.results[region] = core.step(self.tick, said, came[region])
            self.faults += [fault.text for fault in result.faults]
            self.events += result.delta.events
            self.left |= set(ids[result.delta.leave_row].tolist())
            for border in result.borders:
                self._post(border)
            self._follow(region, RegionDelta.decode(result.delta.encode()))
        self.check()

    def _post(self, border: Border) -> None:
        data = border.encode()
        self.messages += len(border.items)
        self.bytes += len(data)
        copies = 1 + int(self.rng.random() < self.net.repeated)
        for _ in range(copies):
            wait = int(self.rng.integers(1, self.net.late_ticks + 1)) if self.rng.random() < self.net.late else 0
            if self.rng.random() >= self.net.lost and (border.source, border.target) not in self.cut:
                self.under_way.append((self.tick + 1 + wait, data))

    # -------------------------------------------------------------------------------------------------------- checks
    def own(self, region: int) -> set[int]:
        table = self.cores[region].state.table
        return set(table.id[table.rows()].tolist())

    def home(self, entity: int) -> int:
        """The region that simulates an entity, 0 if it is on its way."""
        return next((region for region in self.cores if entity in self.own(region)), 0)

    def row(self, entity: int) -> tuple[RegionCore, int]:
        """Core and row of an entity that is not on its way."""
        core = self.cores[self.home(entity)]
        return core, core.state.table.row(entity)

    def pos(self, entity: int) -> "np.ndarray":
        core, row = self.row(entity)
        where: np.ndarray = core.state.table.pos[row]
        return where

    def on_the_way(self) -> set[int]:
        """Entities whose commit was not taken yet."""
        out: set[int] = set()
        for region, core in self.cores.items():
            for entity, stone in core.state.links.tombstones.items():
                theirs = self.cores[stone.to].state.links.neighbours[region].channel
                ours = core.state.links.neighbours[stone.to].channel
                if not ours.acknowledged(stone.number) and (
                    theirs.peer_born != ours.born or theirs.taken < stone.number
                ):
                    out.add(entity)
        return out

    def check(self) -> None:
        """One home for each entity; hops only grow; every core's invariants hold."""
        seen: dict[int, int] = {}
        for region, core in self.cores.items():
            assert broken(core.state) == []
            table = core.state.table
            for row in table.rows().tolist():
                entity, hop = int(table.id[row]), int(table.hop[row])
                assert entity not in seen, f"entity {entity} is in {seen[entity]} and in {region}"
                seen[entity] = region
                if entity not in self.excused:
                    assert hop >= self.hops.get(entity, 0), f"hop of {entity} went back"
                self.hops[entity] = hop
        self.known = (self.known | set(seen)) - self.left
        missing = self.known - set(seen) - self.on_the_way() - self.excused
        assert not missing, f"entities {missing} are nowhere at tick {self.tick}"
        both = self.on_the_way() & set(seen) - self.excused
        assert not both, f"entities {both} are on the way and somewhere"

    def total(self, name: str) -> int:
        """A counter over all regions."""
        return sum(core.counts[name] for core in self.cores.values())
