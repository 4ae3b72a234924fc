"""The world as a behaviour sees it: columns of a kind, spawn and despawn, queries, timers, messages, randomness, the
tick.

Invariants: what a behaviour asks for (spawn, despawn, timers, messages) takes effect when it has returned, and not at
all if it raised; ids of spawned entities are known at once. Not responsible for: which behaviour runs when
(``runner``).
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.nearby import Cells, first_hit, near, sort_into_cells
from kernels.walk import fit_at
from protocol.place import Place, StaticMap
from shard.world.components import Registry
from shard.world.hands import places
from shard.world.past import Past
from shard.world.table import IdBlocks, Table

Array = npt.NDArray[Any]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

MOTION = ("pos", "vel", "yaw", "spin")


def philox(seed: int, name: str, tick: int, region: int = 0) -> np.random.Generator:
    """Random numbers from (seed, name, tick, region) alone: Philox-4x64 (Salmon et al., 2011), a counter-based
    generator."""
    key = np.array([seed, zlib.crc32(name.encode())], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, region, tick]))


class Rows:
    """Some entities of one kind as columns: ``rows.pos`` float64[k, 3], ``vel``, ``yaw``, ``spin``, and each component
    by its name.

    Columns are arrays of k values, written back when the behaviour returns; write into them in place (``rows.mood[:] =
    1``) or assign (``rows.mood = values``). ``id`` uint64[k] cannot be changed. ``len(rows)`` is k. ``ghost`` bool[k]
    marks copies of entities that another region simulates: they can be read, and what is written into them is lost; use
    push, send, despawn, after.
    """

    _table: Table
    _rows: I64
    _names: frozenset[str]
    _open: dict[str, Array]
    _span: slice | None
    _before: dict[str, Array] | None

    def __init__(self, table: Table, rows: I64, names: Iterable[str], undoable: bool = False) -> None:
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_rows", rows)
        object.__setattr__(self, "_names", frozenset(names))
        object.__setattr__(self, "_open", {})
        object.__setattr__(self, "_before", {} if undoable else None)
        together = len(rows) > 0 and int(rows[-1]) - int(rows[0]) + 1 == len(rows) and bool((np.diff(rows) == 1).all())
        object.__setattr__(self, "_span", slice(int(rows[0]), int(rows[-1]) + 1) if together else None)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def id(self) -> U64:
        """Ids, uint64[k]; read-only."""
        ids: U64 = self._table.id[self._rows]
        ids.flags.writeable = False
        return ids

    @property
    def ghost(self) -> npt.NDArray[np.bool_]:
        """Which of them another region simulates, bool[k]; only ``World.some`` gives such."""
        marked: npt.NDArray[np.bool_] = self._table.ghost[self._rows]
        return marked

    def __getattr__(self, name: str) -> Array:
        column: Array | None = self._open.get(name)
        if column is None:
            source = self._table.columns[self._column(name)]
            if name in MOTION or self._span is None:
                column = source[self._rows]  # a copy: motion is checked before it is written back
            else:
                column = source[self._span]
            self._open[name] = column
            if self._before is not None:
                self._before[name] = source[self._rows]
        return column

    def __setattr__(self, name: str, value: Any) -> None:
        getattr(self, name)[...] = value

    def _column(self, name: str) -> str:
        if name in MOTION:
            return name
        if name in self._names:
            return f"c.{name}"
        known = ", ".join(("id", *MOTION, *sorted(self._names)))
        raise AttributeError(f"there is no column {name!r} here; there are {known}")

    def close_(self) -> set[str]:
        """Write copies back; returns the components that were looked at (they may have changed). Raises ValueError."""
        for name in MOTION:
            if name in self._open and not np.isfinite(self._open[name]).all():
                raise ValueError(f"{name} was set to values that are not finite")
        for name, column in self._open.items():
            if name in MOTION or self._span is None:
                target = self._table.columns[self._column(name)]
                if self._before is not None:
                    # What was only looked at must not be written over what other rows of this call wrote meanwhile.
                    column = np.where(column != self._before[name], column, target[self._rows])
                target[self._rows] = column
        return {name for name in self._open if name not in MOTION}

    def undo_(self) -> None:
        """Everything as it was when it was looked at first; for those that were opened as undoable."""
        for name, column in (self._before or {}).items():
            self._table.columns[self._column(name)][self._rows] = column


class Asked:
    """What behaviours asked for, to be done when they have returned."""

    def __init__(self) -> None:
        self.spawn: list[tuple[int, U64, dict[str, Any]]] = []
        self.despawn: list[U64] = []
        self.timers: list[tuple[int, str, U64, I64]] = []
        self.messages: list[tuple[str, list[int], Any]] = []
        self.tell: list[tuple[int | None, str, Any]] = []
        self.push: list[tuple[U64, npt.NDArray[np.float64]]] = []
        self.move: list[tuple[U64, npt.NDArray[np.float64]]] = []
        self.bring: list[tuple[U64, U64, npt.NDArray[np.float64]]] = []
        self.attach: list[tuple[list[int], list[int]]] = []
        """(children, parents); no parents: they are let go."""


AROUND_CELL_M = 8.0
"""About the radius that behaviours ask for, so that a query touches nine cells."""


def cells_of(table: Table) -> Cells | None:
    """Own entities and ghosts in cells, for queries; None if there are none."""
    rows = table.present()
    return sort_into_cells(rows, table.pos, AROUND_CELL_M) if len(rows) else None


class World:
    """Given to each behaviour. ``tick``, ``rate_hz``, ``place`` (None in a world without one) can be read at any
    time."""

    def __init__(
        self,
        table: Table,
        registry: Registry,
        ids: IdBlocks,
        ground: StaticMap,
        place: Place | None,
        options: Mapping[str, Any],
        seed: int,
        rate_hz: int,
        region: int = 0,
    ) -> None:
        self.tick = 0
        self.last_tick = 0
        self.rate_hz = rate_hz
        self.place = place
        self.options = options
        """What the world's configuration says to its behaviours, such as ``inhabitants_count``."""
        self._ground = ground
        self.dt_s = 1.0 / rate_hz
        """Seconds that this step covers: one tick, or up to four when the shard was late."""
        self._table = table
        self._registry = registry
        self.ids = ids
        self._seed = seed
        self._region = region
        self._name = ""
        self._generator: np.random.Generator | None = None
        self._asked = Asked()
        self._opened: list[Rows] = []
        self._undoable = False
        self._cells: Cells | None = None
        self.looks_around = False
        """Whether a script has ever asked who is near: until then nobody is sorted into cells."""
        self.past = Past(table, 0)
        self._seen: tuple[int, int, int] | None = None
        """Who acts now, and the oldest and newest tick that its client can have shown."""
        self._unseen = 0

    @property
    def random(self) -> np.random.Generator:
        """Random numbers that depend on the world's seed, the region, the tick and the behaviour's name alone (Philox,
        counter-based)."""
        if self._generator is None:
            self._generator = philox(self._seed, self._name, self.tick, self._region)
        return self._generator

    def all(self, kind: str) -> Rows:
        """All entities of a kind that this region simulates. Raises KeyError for an unknown kind."""
        number = self._registry.kind_number[kind]
        return self.open(number, self._table.rows(number))

    def some(self, kind: str, ids: Iterable[int]) -> Rows:
        """Those entities of a kind among ``ids`` that live here or nearby across a border, in order, each once."""
        number = self._registry.kind_number[kind]
        rows = self._table.rows_of(dict.fromkeys(int(id_) for id_ in ids))
        return self.open(number, rows[self._table.kind[rows] == number])

    def read(self, kind: str, *names: str) -> tuple[Array, ...]:
        """Ids of all entities of a kind that this region simulates, and copies of these columns: for looking alone.
        What is looked at by :meth:`all` is written back; outside of actions also over what other rows of the same call
        wrote to these entities."""
        number = self._registry.kind_number[kind]
        rows = self._table.rows(number)
        seen = Rows(self._table, rows, (component.name for component in self._registry.kind(number).components))
        return seen.id, *(np.array(getattr(seen, name)) for name in names)

    def near(self, x: npt.ArrayLike, z: npt.ArrayLike, radius_m: float, kind: str = "") -> tuple[I64, U64]:
        """Who is within ``radius_m`` of each point (x[q], z[q]), as of the end of the last tick.

        Returns pairs: int64[p] number of the point, uint64[p] id of an entity (of ``kind``, if given).
        """
        xs = np.atleast_1d(np.asarray(x, np.float64))
        zs = np.atleast_1d(np.asarray(z, np.float64))
        cells = self._around()
        if cells is None:
            return np.zeros(0, np.int64), np.zeros(0, np.uint64)
        query, rows = near(cells, self._table.pos, xs, zs, float(radius_m))
        keep = self._table.live[rows]
        if kind:
            keep = keep & (self._table.kind[rows] == self._registry.kind_number[kind])
        return query[keep], self._table.id[rows[keep]]

    def _around(self) -> Cells | None:
        if not self.looks_around:  # in the tick of the first question they are sorted as they are now
            self.looks_around = True
            self._cells = cells_of(self._table)
        return self._cells

    def ray(
        self, x: npt.ArrayLike, z: npt.ArrayLike, yaw: npt.ArrayLike, length_m: float, kind: str = ""
    ) -> tuple[U64, npt.NDArray[np.float64]]:
        """The first entity that each ray meets on the ground plane, as of the end of the last tick. A ray begins at
        (x[q], z[q]) and looks like a body with this yaw (at 0 along -z); whoever it begins in is passed over.

        Returns uint64[q] ids (0: nothing within ``length_m``) and float64[q] distances in metres (inf: nothing).
        Entities are circles of their body's radius (0.25 m without one); walls do not stop a ray.
        """
        xs, zs, yaws = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, np.float64)) for a in (x, z, yaw)))
        row, distance = np.full(len(xs), -1, np.int64), np.full(len(xs), np.inf)
        cells = self._around()
        if cells is not None:
            wanted = np.zeros(len(self._registry.kinds) + 1, np.uint8)
            wanted[self._registry.kind_number[kind] if kind else slice(1, None)] = 1
            radii = np.array([0.0, *(k.body.radius_m if k.body is not None else 0.25 for k in self._registry.kinds)])
            first_hit(
                cells, self._table.pos, self._table.kind, self._table.live, wanted, radii,
                xs.copy(), zs.copy(), yaws.copy(), float(length_m), row, distance,
            )  # fmt: skip
        return np.where(row >= 0, self._table.id[row], np.uint64(0)), distance

    def seen_by(self, person: int, tick: float, kind: str = "", radius_m: float = np.inf) -> tuple[U64, Array]:
        """Who is within ``radius_m`` of a person, and where they were at ``tick``: what that person was shown then. Ids
        uint64[k] and places float64[k, 3], in metres.

        A client says which tick it shows. In an action of this person that is brought to the nearest one that it can
        have shown (:meth:`shown_tick`), and it is bounded by what the script keeps (:meth:`Script.look_back`) always:
        an older tick counts as the oldest that is kept, one that is to come as the last. Who was not there then is left
        out, and so is the person. Raises RuntimeError if nothing is kept.
        """
        tick = self.shown_tick(person, tick)
        ids, pos = self.past.at(tick, self._registry.kind_number[kind] if kind else 0)
        row = self._table.row(int(person))
        near = ids != person
        if row >= 0 and np.isfinite(radius_m):
            near &= ((pos - self._table.pos[row])[:, [0, 2]] ** 2).sum(axis=1) <= radius_m**2
        return ids[near], pos[near]

    def shown_tick(self, person: int, tick: float) -> float:
        """The nearest tick to ``tick`` that a person's client can have shown when it asked for the action that is
        carried out now: no newer than what it was sent, no older than its measured round trip and 0.25 s allow. Any
        tick stays what it is outside of an action of this person; store this, not what a payload says, to look back
        later. A tick that is no number is the newest."""
        if self._seen is None or self._seen[0] != person:
            return float(tick)
        _, oldest, newest = self._seen
        shown = min(max(float(tick), oldest), newest) if tick == tick else float(newest)
        self._unseen += shown != tick
        return shown

    def take_unseen(self) -> int:
        """For metrics: how often somebody claimed to have seen a tick that it cannot have, since the last call."""
        count, self._unseen = self._unseen, 0
        return count

    def pointed_at(
        self, person: int, tick: float, origin: npt.ArrayLike, direction: npt.ArrayLike, length_m: float, kind: str = ""
    ) -> tuple[int, float]:
        """The first entity that a ray meets as the person saw the world at ``tick`` (:meth:`seen_by`): id (0: nothing)
        and distance in metres (inf). ``origin`` and ``direction`` float64[3], such as those of a hand. Entities are
        spheres of their body's height around its middle (0.5 m without a body); walls do not stop a ray."""
        begin, way = np.asarray(origin, np.float64), np.asarray(direction, np.float64)
        size = float(np.linalg.norm(way))
        if not (np.isfinite(begin).all() and 0 < size < np.inf and length_m > 0):
            raise ValueError("a ray has a finite origin, a direction that is not 0, and a length above 0")
        ids, pos = self.seen_by(person, tick, kind)
        if not len(ids):
            return 0, np.inf
        heights = np.array([0.0, *(k.body.height_m if k.body is not None else 0.5 for k in self._registry.kinds)])
        height = heights[self._table.kind[self._table.find(ids)]]
        gap = pos + np.stack([0 * height, height / 2, 0 * height], axis=1) - begin
        along = gap @ (way / size)
        side2 = (gap**2).sum(axis=1) - along**2
        radius2 = (height / 2) ** 2
        at = along - np.sqrt(np.maximum(radius2 - side2, 0.0))
        at[(side2 > radius2) | (along < 0)] = np.inf
        first = int(np.argmin(at))
        return (int(ids[first]), float(at[first])) if at[first] <= length_m else (0, np.inf)

    def fits(self, x: npt.ArrayLike, z: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether a person could stand at each point on the ground: within bounds and clear of walls. bool[q]."""
        xs, zs = np.broadcast_arrays(np.atleast_1d(np.asarray(x, np.float64)), np.asarray(z, np.float64))
        out = np.zeros(len(xs), np.uint8)
        fit_at(self._ground.walk, np.stack([xs, np.zeros(len(xs)), zs], axis=1), out)
        return out.astype(bool)

    def spawn(self, kind: str, count: int = 1, **values: Any) -> U64:
        """New entities; ``values`` are pos [count, 3] or [3], vel, yaw and components, each a value or an array of
        them.

        Returns their ids, uint64[count]. Raises KeyError (unknown kind), AttributeError (unknown column), ValueError
        (shape, bodies of sessions), OutOfIdsError.
        """
        number = self._registry.kind_number[kind]
        declared = self._registry.kind(number)
        if declared.walker:
            raise ValueError(f"{kind!r} are bodies of sessions: they enter when somebody joins")
        names = {component.name for component in declared.components}
        for name, value in values.items():
            if name not in MOTION and name not in names:
                raise AttributeError(f"kind {kind!r} has no column {name!r}")
            column = self._table.columns[name if name in MOTION else f"c.{name}"]
            np.broadcast_to(np.asarray(value), (count, *column.shape[1:]))
        ids = self.ids.take(count)
        self._asked.spawn.append((number, ids, {name: np.array(value) for name, value in values.items()}))
        return ids

    def despawn(self, ids: Iterable[int]) -> None:
        """These entities leave; unknown ids and bodies of sessions are passed over."""
        self._asked.despawn.append(np.array([int(id_) for id_ in ids], np.uint64))

    def after(self, delay_s: float, topic: str, ids: Iterable[int], values: int | Sequence[int] | I64 = 0) -> None:
        """A timer for each of ``ids``: the behaviour for ``topic`` runs after at least one tick. Gone with the
        entity."""
        if not 0 <= delay_s < 1e9:
            raise ValueError(f"delay_s must be between 0 and 10**9, got {delay_s}")
        who = np.array([int(id_) for id_ in ids], np.uint64)
        due = self.tick + max(1, int(np.ceil(delay_s * self.rate_hz)))
        self._asked.timers.append((due, topic, who, np.array(np.broadcast_to(np.asarray(values, np.int64), who.shape))))

    def send(self, ids: Iterable[int], topic: str, payload: Any = None) -> None:
        """A message to entities, delivered in the next tick. ``payload``: what msgpack can carry."""
        self._asked.messages.append((topic, [int(id_) for id_ in ids], payload))

    def tell(self, name: str, payload: Any = None, entity: int | None = None) -> None:
        """An event for the clients (EVENT): to the session of body ``entity``, to everybody about ``entity`` if it is
        no session's body, to everybody if it is None."""
        self._asked.tell.append((entity, name, payload))

    def push(self, ids: Iterable[int], metres: npt.ArrayLike) -> None:
        """Move people's bodies by (x, z) metres [k, 2], at most 0.5 m each, never into walls."""
        who = np.array([int(id_) for id_ in ids], np.uint64)
        self._asked.push.append((who, np.array(np.broadcast_to(np.asarray(metres, np.float64), (len(who), 2)))))

    def move(self, ids: Iterable[int], pos: npt.ArrayLike) -> None:
        """Put people's bodies, at rest, to places [k, 3] (metres), however far; their clients are told that it was not
        their own doing. Those of other regions are passed over."""
        who = np.array([int(id_) for id_ in ids], np.uint64)
        where = np.array(np.broadcast_to(np.asarray(pos, np.float64), (len(who), 3)))
        if not np.isfinite(where).all():
            raise ValueError("places must be finite")
        self._asked.move.append((who, where))

    def bring(self, ids: Iterable[int], to: Iterable[int], beside_m: npt.ArrayLike) -> None:
        """Put things of this region to other entities (one for each), float64[3] metres beside them, at rest. Who is
        across a border gets them there, a few ticks later."""
        who, whom = (np.array([int(id_) for id_ in some], np.uint64) for some in (ids, to))
        if len(who) != len(whom):
            raise ValueError(f"{len(who)} things, but {len(whom)} to bring them to")
        self._asked.bring.append((who, whom, np.array(np.broadcast_to(np.asarray(beside_m, np.float64), 3))))

    def hands(self, ids: Iterable[int]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Where head, left and right hand of people are, float64[k, 3, 3] (metres), and which of them are tracked,
        bool[k, 3]; of those who are not here none is."""
        rows = self._table.find(np.array([int(id_) for id_ in ids], np.uint64))
        where, tracked = places(self._table, rows)
        return where, tracked & (rows >= 0)[:, None]

    def parents(self, ids: Iterable[int]) -> U64:
        """What each is attached to, uint64[k]; 0: nothing, or it is not here."""
        rows = self._table.find(np.array([int(id_) for id_ in ids], np.uint64))
        on: U64 = np.where(rows >= 0, self._table.columns["h.parent"][rows], np.uint64(0))
        return on

    def is_settled(self, ids: Iterable[int]) -> npt.NDArray[np.bool_]:
        """Which of them this region simulates and is not about to hand over: these can be attached. bool[k]."""
        rows = self._table.find(np.array([int(id_) for id_ in ids], np.uint64))
        away = self._table.ghost[rows] | (self._table.columns["h.handover"][rows] != 0)
        settled: npt.NDArray[np.bool_] = (rows >= 0) & ~away
        return settled

    def attach(self, children: Iterable[int], parents: int | Iterable[int]) -> None:
        """Hold children where they are on their parents (one for each, or one for all): they follow its motion, and
        cross borders with it. Refused, as a whole and with a fault, unless all are in this region, without circles,
        and at most 64 hang together."""
        who = [int(id_) for id_ in children]
        on = [int(parents)] * len(who) if isinstance(parents, int | np.integer) else [int(id_) for id_ in parents]
        if len(on) != len(who):
            raise ValueError(f"{len(who)} children, but {len(on)} parents")
        self._asked.attach.append((who, on))

    def detach(self, children: Iterable[int]) -> None:
        """Let these go; unknown ids are passed over."""
        self._asked.attach.append(([int(id_) for id_ in children], []))

    # What follows is for the runner, not for authors.

    def open(self, number: int, rows: I64) -> Rows:
        """Columns of these rows of a kind, written back by :meth:`end`."""
        names = (component.name for component in self._registry.kind(number).components)
        opened = Rows(self._table, rows, names, self._undoable)
        self._opened.append(opened)
        return opened

    def advance(self, tick: int, last_tick: int, cells: Cells | None) -> None:
        """The next tick has come; ``cells`` hold where everybody was at the end of the last one."""
        self.tick, self.last_tick = tick, last_tick
        self.dt_s = (tick - last_tick) / self.rate_hz
        self._cells = cells

    def begin(self, name: str, *, undoable: bool = False, seen: tuple[int, int, int] | None = None) -> None:
        """A behaviour is about to be called; ``undoable``: what it writes can be taken back by :meth:`undo`; ``seen``:
        who acts, and the oldest and newest tick that it can have seen."""
        self._name, self._seen = name, seen
        self._undoable = undoable
        self._generator = None
        self._asked = Asked()
        self._opened = []

    def end(self) -> tuple[Asked, set[str]]:
        """What was asked for, and the components that may have changed."""
        touched: set[str] = set()
        for rows in self._opened:
            touched |= rows.close_()
        return self._asked, touched

    def undo(self) -> None:
        """Take back what an undoable behaviour wrote; what it asked for is dropped with it."""
        for rows in reversed(self._opened):
            rows.undo_()
