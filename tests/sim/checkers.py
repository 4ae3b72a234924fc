"""What must hold in every run, checked while it goes and when the faults have stopped.

Decides what "right" means, from STANDARD.md alone: numbers come back only after an acknowledged leave; what a client
shows is where the entity was; what it sees is what is near; one body has one session. Every checker raises
AssertionError with what it found.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from client import ClientCore
from protocol.frames import Structure, decode
from protocol.messages import T_SCHEMA, T_STRUCTURE
from server.core.cameras import ChannelSpec
from shard.region import RegionCore
from tests.sim.deeds import done
from tests.sim.hands import hand_of

if TYPE_CHECKING:
    from tests.sim.people import People, Person

NEAR_ERROR_M = 0.025
"""Tolerance of the near level (8 mm), rounding of position and velocity on three axes, and of the tick's own."""
FAR_ERROR_M = 0.085
EDGE_M = 1.5
"""Entities move at most 0.3 m in a tick; a view is told with the next frame, and looks from where its body was then."""
LATE_FRAMES = 3
"""Over datagrams a view knows less of the way to its client, after losses: in a tick with more news than the way is
known to hold some of it waits for an acknowledgement."""
HISTORY_TICKS = 200
WAITING_MAX = 20
"""Commands of a second at 20 Hz: many more than are under way on a good network."""
F64 = npt.NDArray[np.float64]


class Seen(Protocol):
    """What is checked: people, regions, and where everything was."""

    @property
    def tick(self) -> int: ...
    @property
    def truth(self) -> "Truth": ...
    @property
    def folk(self) -> "People": ...
    @property
    def cores(self) -> Sequence[RegionCore]: ...


class NumberWatch:
    """Watches one connection: a number is given again only after the acknowledgement of its leave."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left: dict[int, int] = {}
        self._live: set[int] = set()
        self._acknowledged = 0
        self.reused = 0

    def sent(self, data: bytes) -> None:
        """The gateway sent something."""
        if data[1] == T_SCHEMA:
            # Everything is forgotten, on a reliable and ordered way: all numbers are free.
            self._live.clear()
            self._left.clear()
            return
        if data[1] != T_STRUCTURE:
            return  # a frame that names a number that does not live is a violation that the client finds
        message = decode(data)
        assert isinstance(message, Structure)
        for number in message.leave_number.tolist():
            assert number in self._live, f"{self._name}: number {number} leaves and did not live"
            self._live.discard(number)
            self._left[number] = message.frame
        for number in message.enter_number.tolist():
            assert number not in self._live, f"{self._name}: number {number} enters twice"
            left = self._left.pop(number, None)
            if left is not None:
                self.reused += 1
                assert left <= self._acknowledged, (
                    f"{self._name}: number {number} left in frame {left}, {self._acknowledged} was acknowledged"
                )
            self._live.add(number)

    def acknowledged(self, frame: int) -> None:
        """The gateway got an INPUT or ACK."""
        self._acknowledged = max(self._acknowledged, frame)


class Truth:
    """Where everything was at the last ticks, from the columns of all regions (``cores``)."""

    def __init__(self, cores: Callable[[], Sequence[RegionCore]]) -> None:
        self._cores = cores
        self._ticks: deque[int] = deque(maxlen=HISTORY_TICKS)
        self._places: dict[int, dict[int, F64]] = {}
        self._on_way: dict[int, set[int]] = {}
        self._late: dict[tuple[ClientCore, int], int] = {}
        self.unsure = 0
        self.worst_m = 0.0
        self.checked = 0
        self.far_slack = 1.0
        """How many times its tolerance a far level may be off: a shard that was late sheds for a while."""
        self.strict = False
        """Whether everything a client shows must be right: only when no fault is left."""

    def stepped(self, tick: int, whole: int | None = None) -> None:
        """The shard stepped. ``whole``: how many regions there are; where one has not come to ``tick``, since it is on
        its way to another owner or sheds load, nobody knows what is right."""
        if len(self._ticks) == HISTORY_TICKS:
            self._places.pop(self._ticks[0], None)
            self._on_way.pop(self._ticks[0], None)
        self._ticks.append(tick)
        places: dict[int, F64] = {}
        cores = self._cores()
        if whole is not None and (len(cores) < whole or any(core.tick != tick for core in cores)):
            self.unsure += 1
            return
        for core in cores:
            table = core.state.table
            rows = table.rows()
            places.update(zip(table.id[rows].tolist(), table.pos[rows].copy(), strict=True))
            sessions = table.columns["o.session"][rows]
            sessions = sessions[sessions != 0]
            assert len(np.unique(sessions)) == len(sessions), "a session has two bodies"
            self._on_way.setdefault(tick, set()).update(core.state.links.tombstones)
        self._places[tick] = places

    def knows(self, tick: int) -> bool:
        """Whether all regions have stepped to a tick."""
        return tick in self._places

    def at(self, tick: int) -> dict[int, F64]:
        """Positions by id."""
        return self._places[tick]

    def is_on_way(self, tick: int, entity: int) -> bool:
        """Whether an entity was between two regions then."""
        return entity not in self._places[tick] and entity in self._on_way[tick]

    def check(self, core: ClientCore) -> None:
        """A frame was applied: what this client shows at its tick is where things were."""
        assert core.stats.violations == 0, "the server broke the standard"
        if not self.strict or core.position is None or core.records.tick not in self._places:
            return
        truth = self._places[core.records.tick]
        ids, shown = core.records.shown(core.records.tick)
        me = np.array(core.position)
        for entity, place in zip(ids.tolist(), shown, strict=True):
            if entity not in truth:
                assert self.is_on_way(core.records.tick, entity), f"entity {entity} is shown and does not exist"
                continue
            error_m = float(np.linalg.norm(place - truth[entity]))
            distance_m = float(np.linalg.norm(truth[entity] - me))
            late = self._late.pop((core, entity), 0)
            if error_m > (NEAR_ERROR_M if distance_m < NEAR_SURE_M else FAR_ERROR_M * self.far_slack):
                assert late < (LATE_FRAMES if core.on_datagrams else 0), (
                    f"entity {entity}, {distance_m:.1f} m away, is shown {error_m:.3f} m off at tick"
                    f" {core.records.tick}"
                )
                self._late[core, entity] = late + 1
                continue
            self.worst_m = max(self.worst_m, error_m)
            self.checked += 1


CHANNEL_ERROR_M = 0.6
"""The tolerance of the outermost level, that of the far one, and of rounding."""
CHANNEL_LATE_TICKS = 20
MID_M = 20.0
"""So far hands are told."""
NEAR_SURE_M = 15.0 - EDGE_M
"""Nearer than this an entity is surely at the near level."""


def check_visible(cluster: Seen, person: "Person") -> int:
    """What a client sees is what is near its body; returns how many."""
    core = person.core
    assert core.connected, f"person {person.number} is not connected when the faults have stopped"
    welcome = core.welcome
    assert welcome is not None
    assert welcome.body is not None
    truth = cluster.truth.at(core.records.tick)
    if cluster.truth.is_on_way(core.records.tick, welcome.body):
        return 0
    assert welcome.body in truth, f"person {person.number} has no body"
    me = truth[welcome.body]
    seen = set(core.records.id[core.records.live].tolist())
    for entity, place in truth.items():
        distance_m = float(np.hypot(*(place - me)[[0, 2]]))
        if entity == welcome.body:
            assert entity not in seen, "the own body enters its own stream"
        elif distance_m < welcome.radius_m - EDGE_M:
            assert entity in seen, f"person {person.number} does not see {entity} at {distance_m:.1f} m"
        elif distance_m > welcome.radius_m * 1.1 + EDGE_M:
            assert entity not in seen, f"person {person.number} sees {entity} at {distance_m:.1f} m"
    return len(seen)


def check_television(cluster: Seen, viewer: "Person", spec: ChannelSpec) -> int:
    """What a television shows is what is near the place that its channel looks at, where it is; returns how many."""
    tv, who = viewer.core.television, f"television {viewer.number}"
    assert tv is not None
    assert viewer.core.connected, f"{who} is not connected when the faults have stopped"
    assert tv.channel is not None, f"{who} watches nothing"
    tick = tv.records.tick
    assert cluster.tick - tick < CHANNEL_LATE_TICKS, f"{who} shows tick {tick} at {cluster.tick}"
    if not cluster.truth.knows(tick):
        return 0
    truth = cluster.truth.at(tick)
    ids, shown = tv.records.shown(tick)
    seen = dict(zip(ids.tolist(), shown, strict=True))
    for entity, place in truth.items():
        distance_m = float(np.hypot(place[0] - spec.place_m[0], place[2] - spec.place_m[2]))
        if distance_m < spec.radius_m - EDGE_M:
            assert entity in seen, f"{who} does not show {entity} at {distance_m:.1f} m"
            error_m = float(np.linalg.norm(seen[entity] - place))
            assert error_m < CHANNEL_ERROR_M * cluster.truth.far_slack, f"{who} shows {entity} {error_m:.3f} m off"
        elif distance_m > spec.radius_m * 1.1 + EDGE_M:
            assert entity not in seen, f"{who} shows {entity} at {distance_m:.1f} m"
    for entity in seen.keys() - truth.keys():
        assert cluster.truth.is_on_way(tick, entity), f"{who} shows {entity}, which does not exist"
    return len(seen)


def check_poses(cluster: Seen, person: "Person") -> int:
    """What a client knows of others' hands is what those in headsets near it say; returns how many it knows."""
    core = person.core
    assert core.welcome is not None
    if not cluster.truth.knows(core.records.tick):
        return 0
    truth, held = cluster.truth.at(core.records.tick), core.poses()
    me = truth.get(core.welcome.body or 0)
    if me is None:
        return 0
    for other in cluster.folk.all:
        body = other.core.welcome.body if other.core.welcome is not None else None
        if other is person or body is None or body not in truth or not other.core.connected:
            continue
        distance_m = float(np.hypot(*(truth[body] - me)[[0, 2]]))
        who = f"person {person.number} of {other.number}'s hands, {distance_m:.1f} m away"
        if other.core.config.profile != "vr" or distance_m > MID_M * 1.1 + EDGE_M:
            assert body not in held, f"{who}: are told"
        elif distance_m < MID_M - EDGE_M:
            assert body in held, f"{who}: are not told"
            hand = held[body].samples[-1].right
            assert hand is not None
            error_m = abs(hand.p[2] - hand_of(other.number, 0.0).p[2])
            assert error_m <= (0.01 if len(held[body].samples) > 1 else 0.07), f"{who}: off by {error_m:.3f} m"
    return len(held)


def check_components(cluster: Seen, person: "Person") -> None:
    """What a client knows of components is what the shard has."""
    core = person.core
    for number, region in product(np.flatnonzero(core.records.live).tolist(), cluster.cores):
        table = region.state.table
        row = table.row(int(core.records.id[number]))
        if row >= 0 and not table.ghost[row]:
            known = core.components(number)
            for name in ("name", "mood", "rank"):
                if name in known:
                    value = table.columns[f"c.{name}"][row]
                    same = known[name] == value if name == "name" else abs(known[name] - float(value)) < 0.13
                    assert same, f"person {person.number}: {name} of row {row} is {value}, known as {known[name]}"


def check_own(cluster: Seen, person: "Person") -> None:
    """A body at rest is where its client believes."""
    core = person.core
    assert core.welcome is not None
    assert core.welcome.body is not None
    truth = cluster.truth.at(cluster.tick)[core.welcome.body]
    assert core.position is not None
    error_m = float(np.linalg.norm(np.array(core.position) - truth))
    assert error_m <= 0.02, f"person {person.number} believes to be {error_m:.3f} m off"


def check_deeds(cluster: Seen, person: "Person", *, kept: bool = False) -> None:
    """What a person asked for was done once. ``kept``: no shard has died that had the body, so all that it was answered
    is in it, and nothing else but what will be."""
    core, deeds = person.core, person.deeds
    assert core.welcome is not None
    assert core.welcome.body is not None
    found = done(cluster.cores, core.welcome.body)
    if found is None:
        return  # on its way
    count, doubled = found
    who = f"person {person.number}: {count} deeds, {deeds.answered} of {deeds.said} answered, {deeds.lost} lost"
    assert doubled == 0, f"{doubled} were done twice; {who}"
    assert count <= deeds.said, who
    if kept:
        assert deeds.answered <= count <= deeds.answered + len(deeds.waiting), who


def check_one_body_each(cluster: Seen) -> None:
    """As many bodies as people in the world, and nobody shares one."""
    welcomes = [p.core.welcome for p in cluster.folk.all if not p.core.done]
    bodies = [w.body for w in welcomes if w is not None and w.body is not None]
    assert len(set(bodies)) == len(bodies), "two people have one body"
    held: list[int] = []
    for region in cluster.cores:
        table = region.state.table
        rows = table.rows()
        held += table.id[rows[table.columns["o.session"][rows] != 0]].tolist()
    on_way = {entity for region in cluster.cores for entity in region.state.links.tombstones}
    held += [body for body in bodies if body not in held and body in on_way]
    assert sorted(held) == sorted(bodies), f"bodies of sessions {sorted(held)}, of people {sorted(bodies)}"


def check_steers(person: "Person") -> None:
    """What a person wishes reaches the body: commands do not wait for long."""
    predictor = person.core._predictor
    waiting = 0 if predictor is None else len(predictor.pending())
    assert waiting <= WAITING_MAX, f"{waiting} commands of person {person.number} wait to be applied"
