"""Bodies and columns: who has a body, one step of physics, and what it did to walkers.

Invariants: columns are the truth, bodies are written from them before each step; after a step the set of bodies is that
of the live rows, ghosts too, whose kind has one and which are not attached to anything. A ghost has its true mass: its
home solves the same contact from the same states, and each region keeps what happens to its own. Not responsible for:
shapes and filters (``space``), walls for walkers (``kernels.walk``).
"""

import numpy as np
import numpy.typing as npt

from kernels.bodies import BODY_FLOATS, gather, scatter
from protocol.place import StaticMap
from shard.border.links import Square
from shard.physics.pool import Pool
from shard.physics.space import Space, bands_of
from shard.world.table import Table

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

PUSH_LEAST_M = 1 / 1024
"""Smaller pushes are noise of the solver; they would cost a client a correction."""


class Exchange:
    """The space of a table's entities. Adds the columns ``body`` and ``band`` to the table.

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
        self._table = table
        self._ground = ground
        self._rate_hz = rate_hz
        self._pool = pool
        self._square_m = square_m
        self._bodied = np.array([False] + [kind.body is not None for kind in table.registry.kinds])
        self._kept: Space | None = None
        self._changes = -1
        self._known = np.zeros(0, np.int64)
        self._known_generation = np.zeros(0, np.uint32)

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
        self._changes = -1
        self._follow()

    def end(self) -> None:
        """Nobody steps these bodies any more."""
        if self._kept is not None:
            self._pool.end(self._kept)
        self._kept = None

    def _follow(self) -> None:
        """Bodies for rows that began, none for those that ended. Costs per change, not per entity."""
        table = self._table
        if table.changes == self._changes:
            return
        self._changes = table.changes
        live = table.present()
        live = live[self._bodied[table.kind[live]] & (table.columns["h.parent"][live] == 0)]
        generation = table.generation[live]
        known = np.full(table.high, 0, np.uint32)
        known[self._known] = self._known_generation
        has = np.zeros(table.high, np.uint32)
        has[live] = generation
        for row in np.flatnonzero((known != 0) & (known != has)).tolist():
            self._space.remove(row)
        new = np.flatnonzero((has != 0) & (known != has))
        self._begin(new)
        self._known, self._known_generation = live, generation.copy()

    def _begin(self, rows: I64) -> None:
        table = self._table
        columns = table.columns
        bands = bands_of(table.pos[rows, 1])
        columns["p.band"][rows] = bands
        columns["p.body"][rows] = True
        kinds = table.kind[rows]
        for number in np.unique(kinds).tolist():
            kind = table.registry.kind(number)
            body = kind.body
            assert body is not None
            its = rows[kinds == number]
            columns["p.walker"][its] = kind.walker
            columns["p.turns"][its] = body.turns
            columns["p.keep"][its] = (1.0 - body.drag_per_s) ** (1.0 / self._rate_hz)
            columns["p.speed_max"][its] = 0.9 * body.radius_m * self._rate_hz
        space = self._space
        for row, number, band in zip(rows.tolist(), kinds.tolist(), bands.tolist(), strict=True):
            kind = table.registry.kind(number)
            assert kind.body is not None
            space.add(row, kind.body, kind.walker, band)

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
        known = self._known
        bands = bands_of(table.pos[known, 1])
        for i in np.flatnonzero(bands != columns["p.band"][known]).tolist():
            self._space.move_band(int(known[i]), int(bands[i]))
        columns["p.band"][known] = bands
        order = self._space.order
        dt = 1.0 / self._rate_hz
        walker, turns = columns["p.walker"], columns["p.turns"]
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
