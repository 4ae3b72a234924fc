"""The rigid bodies: the only module that imports pymunk.

Decides what collides with what. Invariants: the static world, and bodies by ascending row, are added in a fixed order,
so two spaces made from the same columns go on alike; bodies are read and written by pymunk's batch buffers alone, never
one by one in the steady state; ``order`` follows Chipmunk's own array, to whose end a body is added and whose last one
takes the place of one that is removed. Not responsible for: columns (``exchange``), the walker's rule.

A body that a row leaves stays in the space, meeting nothing, until another row takes it: a step goes through all of
them in the order in which they were made, and so in the order in which they lie in memory.

Heights are bands of BAND_M: a shape has for its class (static, walker, prop) the category bits of the bands it is in,
and for the classes it meets the mask bits of the same bands; so "same band, and meant to meet" is one test of bits
(Chipmunk's ShapeFilter compares any bit). Walkers meet props only: walls and other
walkers are the motion phase's. Axes: the space's (x, y) is our (x, z), its angle is -yaw.
"""

import numpy as np
import numpy.typing as npt
import pymunk
from pymunk import batch

from kernels.bodies import SPARE, STATIC
from protocol.layouts import GRID_PER_M
from protocol.place import StaticMap
from protocol.walking import HEIGHT, STEP
from shard.border.links import MARGIN_M, Square
from shard.physics import pool as pools
from shard.physics.pool import BANDS, Made, Pool, filter_of
from shard.world.components import Body

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Point = tuple[float, float]

BAND_M = 4.0
_FIELDS = (
    batch.BodyFields.POSITION | batch.BodyFields.ANGLE | batch.BodyFields.VELOCITY | batch.BodyFields.ANGULAR_VELOCITY
)
_SPARES_MAX = 64
"""So many spare bodies are kept, and one more for every eight that are in use: each costs as much in a step."""
_CELL_M = 4.0
_CELLS = 1024
"""Of the broad phase, a hash of space: three times as fast as Chipmunk's tree for a crowd in which all move."""
_REACH_M = 2 * MARGIN_M
"""So far beyond a region's square are its ghosts, and people whose hand-over takes long."""
_SLOP_M = 0.005
"""Overlap that contacts leave standing: half of the error that a viewer may have."""


def bands_of(y: F64) -> I64:
    """Number of the band that feet at height ``y`` (metres) are in, int64."""
    return np.clip(np.floor(y / BAND_M), 0, BANDS - 1).astype(np.int64)


class Space:
    """A pymunk space with one body for each row that was added.

    ``square_m`` (x0, z0, x1, z1): of the region; walls beyond what its bodies may reach are left out. None: none are.
    """

    def __init__(self, ground: StaticMap, pool: Pool, square_m: Square | None = None) -> None:
        self._space = pymunk.Space()
        self._space.iterations = 6
        self._space.collision_slop = _SLOP_M
        self._cells = _CELLS
        self._space.use_spatial_hash(_CELL_M, self._cells)
        self._pool = pool
        self._made: list[Made] = []
        """As Chipmunk has them."""
        self._index: dict[int, int] = {}
        """Where each is in that list, by pymunk's number of a body."""
        self._at: dict[int, int] = {}
        """The same by row."""
        self._order = np.full(1, STATIC, np.int64)
        self._spare: dict[Body, list[int]] = {}
        """Where in the list those are that no row has."""
        self._spares = 0
        self._walls: list[pymunk.Segment] = []
        self._ground = ground
        self._to_build = _prisms(ground, square_m)
        self._add_rim()

    def _add_rim(self) -> None:
        x0, z0, x1, z1 = (float(side) / GRID_PER_M for side in self._ground.bounds)
        corners = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            self._add_wall(a, b, 0.05, (1 << BANDS) - 1)

    def _add_wall(self, a: Point, b: Point, radius_m: float, bands: int) -> pymunk.Segment:
        wall = self._pool.wall(self._space.static_body, a, b, radius_m)
        wall.filter = filter_of(pools.WALL, bands)
        self._space.add(wall)
        self._walls.append(wall)
        return wall

    def build(self, count: int) -> int:
        """Add so many walls or a few more; returns how many were added, fewer when all are there."""
        begun = len(self._walls)
        while self._to_build and len(self._walls) - begun < count:
            self._add_prism(self._to_build.pop())
        return len(self._walls) - begun

    def _add_prism(self, prism: int) -> None:
        """Its edges as segments, in the bands at whose floor they would hinder somebody."""
        ground = self._ground
        floors = np.arange(BANDS) * BAND_M
        bottom = float(ground.bottom[prism]) / GRID_PER_M
        top = float(ground.top[prism]) / GRID_PER_M
        hinders = (top > floors + STEP) & (bottom < floors + HEIGHT)
        bands = int(np.sum(hinders.astype(np.int64) << np.arange(BANDS)))
        if not bands:
            return
        for ring in range(int(ground.ring_start[prism]), int(ground.ring_start[prism + 1])):
            points = ground.point[ground.point_start[ring] : ground.point_start[ring + 1]] / GRID_PER_M
            count = len(points)
            corners = [(float(x), float(z)) for x, z in points]
            for i in range(count):
                wall = self._add_wall(corners[i], corners[(i + 1) % count], 0.0, bands)
                wall.set_neighbors(corners[i - 1], corners[(i + 2) % count])

    def empty(self, count: int) -> int:
        """Nobody steps this space any more: give the pool so many of its bodies and walls at most; returns how many
        were given, fewer when none are left."""
        given = 0
        while given < count and self._made:
            made = self._made.pop()
            self._space.remove(made.shape, made.rigid)
            self._pool.keep(made)
            given += 1
        while given < count and self._walls:
            wall = self._walls.pop()
            self._space.remove(wall)
            self._pool.keep_wall(wall)
            given += 1
        return given

    def add(self, row: int, body: Body, walker: bool, band: int) -> None:
        """A body for a row that has none; where it is comes with the next step."""
        assert row not in self._at
        spare = self._spare.get(body)
        if spare:
            at = spare.pop()
            self._spares -= 1
            made = self._made[at]
            made.walker = walker
        else:
            at = self._begin(self._pool.body(body, walker))
            made = self._made[at]
        made.shape.filter = made.filter(band)
        self._order[at] = row
        self._at[row] = at

    def _begin(self, made: Made) -> int:
        at = len(self._made)
        self._space.add(made.rigid, made.shape)
        self._made.append(made)
        self._index[made.rigid.id] = at
        if at + 1 == len(self._order):
            self._order = np.concatenate([self._order, np.full(at + 1, STATIC, np.int64)])
        if len(self._made) > self._cells:
            self._cells *= 4
            self._space.use_spatial_hash(_CELL_M, self._cells)
        return at

    def stock(self, body: Body, count: int) -> None:
        """Make bodies that no row has yet."""
        for _ in range(count):
            at = self._begin(self._pool.body(body, walker=False))
            self._order[at] = SPARE
            self._spare.setdefault(body, []).append(at)
            self._spares += 1

    def remove(self, row: int) -> None:
        """Forget a row's body."""
        at = self._at.pop(row)
        made = self._made[at]
        if self._spares < _SPARES_MAX + len(self._at) // 8:
            made.shape.filter = pools.NOTHING
            self._order[at] = SPARE
            self._spare.setdefault(made.body, []).append(at)
            self._spares += 1
            return
        self._space.remove(made.shape, made.rigid)
        self._pool.keep(made)
        del self._index[made.rigid.id]
        last = self._made.pop()
        end = len(self._made)
        if last is not made:
            self._made[at], self._order[at] = last, self._order[end]
            self._index[last.rigid.id] = at
            if self._order[at] == SPARE:
                spare = self._spare[last.body]
                spare[spare.index(end)] = at
            else:
                self._at[int(self._order[at])] = at
        self._order[end] = STATIC

    def move_band(self, row: int, band: int) -> None:
        """A body went up or down to another band."""
        made = self._made[self._at[row]]
        made.shape.filter = made.filter(band)

    @property
    def order(self) -> I64:
        """What the buffers hold, int64[b]: rows, SPARE where there is none, and STATIC at the end. Changes when bodies
        are added or removed."""
        return self._order[: len(self._made) + 1]

    def held(self) -> list[int]:
        """The same, asked of Chipmunk."""
        ids = self._pool.met
        ids.clear()
        batch.get_space_bodies(self._space, batch.BodyFields.BODY_ID, ids)
        return [self._row_of(number) for number in np.frombuffer(ids.int_buf(), np.uintp).tolist()]

    def _row_of(self, number: int) -> int:
        """By pymunk's number of a body."""
        at = self._index.get(number)
        return STATIC if at is None else int(self._order[at])

    def contacts(self) -> I64:
        """Pairs of rows of props that touched in the last step, int64[k, 2]."""
        held = self._pool.met
        held.clear()
        batch.get_space_arbiters(self._space, batch.ArbiterFields.BODY_A_ID | batch.ArbiterFields.BODY_B_ID, held)
        pairs = np.frombuffer(held.int_buf(), np.uintp).reshape(-1, 2).tolist()
        rows = [(self._row_of(a), self._row_of(b)) for a, b in pairs]
        props = [pair for pair in rows if min(pair) >= 0 and not any(self._made[self._at[row]].walker for row in pair)]
        return np.array(props, np.int64).reshape(-1, 2)

    def step(self, states: F64, dt_s: float, steps: int) -> F64:
        """Write all bodies from ``states`` float64[b, 6] (x, y, angle, vx, vy, turning), take ``steps`` steps of
        ``dt_s``, and return the new states, float64[b, 6], valid until the next step of any space of the pool."""
        self.build(len(self._ground.point))
        self._pool.sent.set_float_buf(states)
        batch.set_space_bodies(self._space, _FIELDS, self._pool.sent)
        for _ in range(steps):
            self._space.step(dt_s)
        held = self._pool.held
        held.clear()
        batch.get_space_bodies(self._space, _FIELDS, held)
        return np.frombuffer(held.float_buf(), np.float64).reshape(-1, 6)


def _prisms(ground: StaticMap, square_m: Square | None) -> list[int]:
    """Numbers of the prisms that a region's bodies may touch, from the last to the first."""
    if square_m is None:
        return list(range(len(ground)))[::-1]
    box = ground.prism_bounds / GRID_PER_M
    x0, z0, x1, z1 = square_m
    reach = (box[:, 2] >= x0 - _REACH_M) & (box[:, 0] <= x1 + _REACH_M)
    reach &= (box[:, 3] >= z0 - _REACH_M) & (box[:, 1] <= z1 + _REACH_M)
    found: list[int] = np.flatnonzero(reach)[::-1].tolist()
    return found
