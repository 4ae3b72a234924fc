"""What a region knows of its neighbours, of hand-overs under way, and of those who left: all of it is dumped.

Decides nothing. Invariants: numbers of hand-overs are never used twice by one channel; a tombstone names the place
where an entity went with its hop there. Not responsible for: when anything changes (``crossing``, ``acts``,
``ghosts``).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.border import Channel
from shard.border.handover import Source

MARGIN_M = 16.0
"""As wide as the widest action, query or contact across a border."""
CROSS_M = 0.5
"""So far outside an entity is due to cross: less would make people who walk along a border cross all the time."""
FAR_M = 4.0
"""So far outside it crosses also shortly after arriving."""
REST_S = 1.0
"""Not again within this time of arriving, of a refusal, or of a prepare that was taken back."""
SILENCE_S = 1.0
"""A prepare that is not answered within this time is taken back."""
UNSAFE_S = 3.0
"""So long after arriving an entity that is not durable here does not cross again."""
FORWARD_S = 5.0
"""Tombstones pass on what is said to the entity for so long."""
GHOSTS_KEPT_S = 1.0
"""Ghosts of a neighbour that is silent go on by their velocities for so long, then they end."""
HANDOVERS_MAX = 64
"""Under way to one neighbour at a time."""
GROUP_MAX = 64
"""Entities that cross together. A pile that is larger crosses one by one."""

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Square = tuple[float, float, float, float]
"""min_x, min_z, max_x, max_z in metres."""


@dataclass(slots=True)
class Outgoing:
    """A hand-over from here: led by entity ``leader``, since tick ``since``."""

    state: Source
    leader: int
    since: int
    item: int = 0
    """Number of the item with the commit."""


@dataclass(slots=True)
class Tombstone:
    """An entity that left for region ``to`` with item ``number`` of the channel born there: its former row with
    generation, its session, its hop over there."""

    to: int
    number: int
    hop: int
    row: int
    generation: int
    session: int
    until: int
    """Last tick on which it forwards."""


@dataclass(slots=True)
class Told:
    """Ghosts as they were told last, in the order of the message: ids, rows, and the rows' generations."""

    ids: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    rows: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    generations: U32 = field(default_factory=lambda: np.zeros(0, np.uint32))


@dataclass(slots=True)
class Neighbour:
    """One region across the border."""

    region: int
    square_m: Square
    channel: Channel
    epoch: int = 0
    """Newest that was heard of (0: none)."""
    values_tick: int = -1
    """Tick of the ghosts that are held."""
    heard_tick: int = -1
    has_ghosts: bool = True
    """Whether there may be ghosts of it here."""
    told: Told = field(default_factory=Told)
    outgoing: dict[int, Outgoing] = field(default_factory=dict)
    reserved: dict[int, int] = field(default_factory=dict)
    """Hand-over: rows kept for it."""
    hold: int = 0
    """What it said last of its being about to change (``holding``)."""
    held: int = 0
    """The hold of ours that it keeps."""


class Links:
    """All neighbours of a region, tombstones, and counters of what happened at its borders."""

    def __init__(self, born: int, neighbours: Iterable[tuple[int, Square]]) -> None:
        self.born = born
        """Epoch at which the region began with empty channels."""
        self.neighbours = {region: Neighbour(region, square, Channel(born)) for region, square in sorted(neighbours)}
        self.next_handover = 1
        self.tombstones: dict[int, Tombstone] = {}
        self.gone_rows: dict[tuple[int, int], int] = {}
        """(row, generation) of those who left: entity."""
        self.hold = 0
        """While this region is about to be split or merged: the number that it says."""
        self.deferred: list[tuple[int, bytes]] = []
        """Acts for neighbours, by region, that wait until one of the two has changed."""
        self.called: dict[int, tuple[int, int]] = {}
        """Bodies that are to cross for an act's sake: region, since which tick (``calling``). Not dumped: acts are said
        again."""
        self.counts: Counter[str] = Counter()
        """Transitions and odd events, for metrics and tests; not part of the world's state."""

    def bury(self, entity: int, stone: Tombstone) -> None:
        """An entity left."""
        self.dig_up(entity)
        self.tombstones[entity] = stone
        self.gone_rows[stone.row, stone.generation] = entity

    def dig_up(self, entity: int) -> None:
        """It is back, or long gone."""
        stone = self.tombstones.pop(entity, None)
        if stone is not None:
            self.gone_rows.pop((stone.row, stone.generation), None)

    def acknowledged(self, stone: Tombstone) -> bool:
        """Whether the entity has begun over there."""
        neighbour = self.neighbours.get(stone.to)
        return neighbour is None or neighbour.channel.acknowledged(stone.number)

    def is_safe(self, stone: Tombstone) -> bool:
        """Whether the entity is durable over there."""
        neighbour = self.neighbours.get(stone.to)
        return neighbour is None or neighbour.channel.is_safe(stone.number)

    def expire(self, tick: int) -> None:
        """Tombstones end when they forwarded for long enough and who left is durable over there."""
        for entity in [e for e, stone in self.tombstones.items() if stone.until < tick and self.is_safe(stone)]:
            self.dig_up(entity)

    def state(self) -> dict[str, Any]:
        """For a dump."""
        return {
            "born": self.born,
            "next_handover": self.next_handover,
            "neighbours": [
                [
                    n.region,
                    n.channel.state(),
                    n.epoch,
                    [[k, o.state.name, o.leader, o.since, o.item] for k, o in sorted(n.outgoing.items())],
                    sorted(n.reserved.items()),
                    n.hold,
                    list(n.square_m),
                ]
                for n in self.neighbours.values()
            ],
            "tombstones": [
                [e, s.to, s.number, s.hop, s.row, s.generation, s.session, s.until]
                for e, s in sorted(self.tombstones.items())
            ],
            "deferred": self.deferred,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state`. The neighbours are those of the dump: others may have come since (``regroup``)."""
        self.born, self.next_handover, self.hold = state["born"], state["next_handover"], 0
        self.deferred = [(region, item) for region, item in state["deferred"]]
        self.neighbours = {}
        for region, channel, epoch, outgoing, reserved, hold, square in state["neighbours"]:
            x0, z0, x1, z1 = square
            neighbour = Neighbour(region, (x0, z0, x1, z1), Channel.load(channel), epoch, hold=hold)
            neighbour.outgoing = {k: Outgoing(Source[name], *rest) for k, name, *rest in outgoing}
            neighbour.reserved = dict(reserved)
            self.neighbours[region] = neighbour
        self.tombstones, self.gone_rows = {}, {}
        for entity, *stone in state["tombstones"]:
            self.bury(entity, Tombstone(*stone))
