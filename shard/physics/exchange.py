"""Bodies and columns: who has a body, one step of physics, and what it did to walkers.

A body costs the same in each step whatever it does, so only those have one that may touch something in this step
(``kernels.waking``): a world of a hundred thousand things of which nearly all rest costs what moves in it, and a prop
that moves with nothing near is moved by the same rule without a space.

Invariants: columns are the truth, bodies are written from them before each step; in a step a row has a body if it was
chosen and is live, a ghost too, and not attached to anything. A ghost has its true mass: its home solves the same
contact from the same states, and each region keeps what happens to its own. Not responsible for: shapes and filters
(``space``), walls for walkers (``kernels.walk``).
"""

from math import nan

import numpy as np
import numpy.typing as npt

from kernels.bodies import BODY_FLOATS, gather, scatter
from kernels.nearby import sort_into_cells
from kernels.waking import CALM_TICKS, PART, Chosen, Near, glide, touching, wake
from protocol.layouts import GRID_PER_M
from protocol.place import StaticMap
from protocol.walking import RUN
from shard.border.links import Square
from shard.physics.pool import Pool
from shard.physics.space import Space, bands_of
from shard.physics.walls import walls_of
from shard.world.table import Table

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

PUSH_LEAST_M = 1 / 1024
"""Smaller pushes are noise of the solver; they would cost a client a correction."""
SPEED_MAX_RADII = 0.9
"""So many of its radii a prop moves in a tick at most: faster, and it could pass through a wall."""
SQUARE_REACH = 2.0**0.5
CELL_LEAST_M = 1.5
WIDE_MAX = 2048
FEW = 32
"""So many that are new are taken for restless; of more than that it is looked up which of them touch anything."""


class Exchange:
    """The space of a table's entities. Adds the columns ``p.*`` to the table.

    ``pool``: of the process. ``square_m``: the region's; None: it is the whole world.
    """

    def __init__(
        self, table: Table, ground: StaticMap, rate_hz: int, pool: Pool, square_m: Square | None = None
    ) -> None:
        table.add_column("p.body", "?")
        table.add_column("p.band", "<i8")
        table.add_column("p.walker", "u1")
        table.add_column("p.turns", "u1")
        table.add_column("p.keep", "<f8", default=1.0)
        table.add_column("p.speed_max", "<f8")
        table.add_column("p.last", "<f8", 2, default=nan)
        table.add_column("p.calm", "u1")
        self._table = table
        self._ground = ground
        self._rate_hz = rate_hz
        self._pool = pool
        self._square_m = square_m
        bodies = [kind.body for kind in table.registry.kinds]
        self._bodied = np.array([False] + [body is not None for body in bodies])
        self._reach_m = np.array(
            [0.0] + [0.0 if body is None else body.radius_m * (SQUARE_REACH if body.square else 1.0) for body in bodies]
        )
        self._kept: Space | None = None
        self._changes = -1
        self._known = np.zeros(0, np.int64)
        self._known_generation = np.zeros(0, np.uint32)
        self._held: dict[int, int] = {}
        """Rows that have a body, with the generation that it was given for."""
        self._wide = _wide(ground, square_m, self._cell_m(1))
        self.changes = 0
        """How often a body was given or taken: each costs some calls, which what nobody comes near does not."""
        self._room = _room(0, self._wide)
        self._chosen = _chosen(0)

    @property
    def _space(self) -> Space:
        if self._kept is None:  # made when it is needed: a region that is loaded is given another one
            self._kept = Space(self._ground, self._pool, self._square_m)
        return self._kept

    def rebuild(self, space: Space | None = None) -> None:
        """A new space from the columns, or one that was prepared: contact caches are lost, and rows are added in
        ascending order."""
        self.end()
        self._kept = space
        self._known = np.zeros(0, np.int64)
        self._known_generation = np.zeros(0, np.uint32)
        self._held = {}
        self._changes = -1
        had = self._table.columns["p.body"].copy()
        self._follow()
        self._begin(self._known[had[self._known]])

    def end(self) -> None:
        """Nobody steps these bodies any more."""
        if self._kept is not None:
            self._pool.end(self._kept)
        self._kept = None

    def _follow(self) -> None:
        """What the columns say of rows that began; no bodies for those that ended. Costs per change, not per entity."""
        table = self._table
        if table.changes == self._changes:
            return
        self._changes = table.changes
        live = table.present()
        live = live[self._bodied[table.kind[live]] & (table.columns["h.parent"][live] == 0)]
        generation = table.generation[live]
        has = np.zeros(table.high, np.uint32)
        has[live] = generation
        for row in [row for row, given in self._held.items() if has[row] != given]:
            self._take(row)
        known = np.zeros(table.high, np.uint32)
        known[self._known] = self._known_generation
        self._known, self._known_generation = live, generation.copy()
        self._describe(np.flatnonzero((has != 0) & (known != has)))
        if len(live) > len(self._chosen.begin):
            self._room, self._chosen = _room(len(live), self._wide), _chosen(len(live))

    def _describe(self, rows: I64) -> None:
        """Of rows that are new: what does not change, and whether they begin at rest."""
        table = self._table
        columns = table.columns
        columns["p.body"][rows] = False  # who came from another region had one there
        kinds = table.kind[rows]
        for number in np.unique(kinds).tolist():
            kind = table.registry.kind(number)
            body = kind.body
            assert body is not None
            its = rows[kinds == number]
            columns["p.walker"][its] = kind.walker
            columns["p.turns"][its] = body.turns
            columns["p.keep"][its] = (1.0 - body.drag_per_s) ** (1.0 / self._rate_hz)
            columns["p.speed_max"][its] = SPEED_MAX_RADII * body.radius_m * self._rate_hz
        rests = ~table.vel[rows].any(axis=1) & (table.spin[rows] == 0) & (columns["p.walker"][rows] == 0)
        fresh = rows[rests & np.isnan(columns["p.last"][rows, 0])]
        if len(fresh) <= FEW:
            return
        reach_m = self._reach_m[table.kind[: table.high]]
        cells = sort_into_cells(self._known, table.pos, 2.0 * float(self._reach_m.max()))
        touches = np.empty(len(fresh), np.uint8)
        touching(cells, fresh, table.pos, reach_m, walls_of(self._ground, self._far_m(1)), touches)
        calm = fresh[touches == 0]
        columns["p.last"][calm] = table.pos[calm][:, [0, 2]]
        columns["p.calm"][calm] = CALM_TICKS

    def _far_m(self, ticks: int) -> float:
        """How far a body reaches at most in a step, from where its middle is before it."""
        return float(self._reach_m.max()) * (1.0 + SPEED_MAX_RADII * ticks)

    def _cell_m(self, ticks: int) -> float:
        """Two bodies, one of them perhaps a walker, that are farther apart than this do not meet in a step."""
        far_m = self._far_m(ticks)
        return max(CELL_LEAST_M, 2.0 * far_m, far_m + float(self._reach_m.max()) + RUN * ticks / self._rate_hz)

    def _begin(self, rows: I64) -> None:
        """Bodies for rows that have none."""
        if not len(rows):
            return
        table = self._table
        bands = bands_of(table.pos[rows, 1])
        table.columns["p.band"][rows] = bands
        table.columns["p.body"][rows] = True
        space = self._space
        for row, band in zip(rows.tolist(), bands.tolist(), strict=True):
            kind = table.registry.kind(int(table.kind[row]))
            assert kind.body is not None
            space.add(row, kind.body, kind.walker, band)
            self._held[row] = int(table.generation[row])
        self.changes += len(rows)

    def _take(self, row: int) -> None:
        """A row's body away from it."""
        del self._held[row]
        self.changes += 1
        self._space.remove(row)
        self._table.columns["p.body"][row] = False

    def _choose(self, ticks: int) -> I64:
        """Give and take bodies for a step; returns the rows that glide."""
        table = self._table
        columns = table.columns
        far_m = self._far_m(ticks)
        walls = walls_of(self._ground, self._far_m(1))
        size_m = self._cell_m(ticks)
        begins, ends, glides = wake(
            self._known, columns["p.walker"], table.ghost, table.pos, table.vel, table.spin, columns["p.last"],
            columns["p.calm"], columns["p.body"], size_m, walls, far_m > walls.reach_m, self._room, self._chosen,
        )  # fmt: skip
        for row in self._chosen.end[:ends].tolist():
            self._take(row)
        self._begin(self._chosen.begin[:begins])
        return self._chosen.free[:glides]

    def contacts(self) -> I64:
        """Pairs of rows of things (not of people) that touched in the last step, int64[k, 2]."""
        return self._space.contacts()

    def step(self, before: F64, ticks: int) -> tuple[I64, F64]:
        """One step over ``ticks`` ticks, in substeps of one tick. ``before`` float64[n, 3]: where walkers were, by row.

        Returns the rows of walkers that contacts pushed, int64[k], and by how much, float64[k, 2] metres (x, z).
        """
        self._follow()
        table = self._table
        columns = table.columns
        free = self._choose(ticks)
        dt = 1.0 / self._rate_hz
        walker, turns = columns["p.walker"], columns["p.turns"]
        glide(
            free, turns, columns["p.keep"], columns["p.speed_max"], dt, ticks, table.pos, table.vel, table.yaw,
            table.spin,
        )  # fmt: skip
        order = self._space.order
        known = order[order >= 0]
        bands = bands_of(table.pos[known, 1])
        for i in np.flatnonzero(bands != columns["p.band"][known]).tolist():
            self._space.move_band(int(known[i]), int(bands[i]))
        columns["p.band"][known] = bands
        sent = np.empty((len(order), BODY_FLOATS))
        gather(
            order, walker, table.pos, table.vel, table.yaw, table.spin, before,
            columns["p.keep"], columns["p.speed_max"], dt * ticks, sent,
        )  # fmt: skip
        held = self._space.step(sent, dt, ticks)
        out_row = np.empty(len(order), np.int64)
        out_push = np.empty((len(order), 2))
        count = scatter(
            order, walker, turns, sent, held, table.pos, table.vel, table.yaw, table.spin, dt, PUSH_LEAST_M,
            out_row, out_push,
        )  # fmt: skip
        return out_row[:count], out_push[:count]


def _wide(ground: StaticMap, square_m: Square | None, cell_m: float) -> int:
    """Cells along a side of the grid: a power of two that holds the region, if it is not larger than WIDE_MAX."""
    x0, z0, x1, z1 = square_m if square_m is not None else (float(side) / GRID_PER_M for side in ground.bounds)
    cells = int(max(x1 - x0, z1 - z0) / cell_m) + 4
    return min(WIDE_MAX, 1 << cells.bit_length())


def _room(rows: int, wide: int) -> Near:
    cells, parts = wide * wide, ((wide >> PART) + 1) ** 2
    bodies, marks, parted = (np.zeros(n, np.uint8) for n in (cells, cells, parts))
    return Near(bodies, marks, parted, np.zeros(rows, np.int64), np.zeros(rows, np.int64))


def _chosen(rows: int) -> Chosen:
    return Chosen(*(np.zeros(rows, np.int64) for _ in range(3)))
