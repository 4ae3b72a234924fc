"""The rigid bodies: the only module that imports pymunk.

Decides what collides with what. Invariants: the static world, and bodies by ascending row, are added in a fixed order,
so two spaces made from the same columns go on alike; bodies are read and written by pymunk's batch buffers alone, never
one by one in the steady state. Not responsible for: columns (``exchange``), the walker's rule.

Heights are bands of BAND_M: a shape has for its class (static, walker, prop) the category bits of the bands it is in,
and for the classes it meets the mask bits of the same bands; so "same band, and meant to meet" is one test of bits
(Chipmunk's ShapeFilter compares any bit). Walkers meet props only: walls and other
walkers are the motion phase's. Axes: the space's (x, y) is our (x, z), its angle is -yaw.
"""

from math import inf

import numpy as np
import numpy.typing as npt
import pymunk
from pymunk import batch

from protocol.layouts import GRID_PER_M
from protocol.place import StaticMap
from protocol.walking import HEIGHT, STEP
from shard.world.components import Body

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

BAND_M = 4.0
BANDS = 10
"""Three classes of ten bands fit 32 bits; what is higher is in the topmost one."""
_FIELDS = (
    batch.BodyFields.POSITION | batch.BodyFields.ANGLE | batch.BodyFields.VELOCITY | batch.BodyFields.ANGULAR_VELOCITY
)
_STATIC, _WALKER, _PROP = 0, BANDS, 2 * BANDS
_MEETS = {_STATIC: (_PROP,), _WALKER: (_PROP,), _PROP: (_STATIC, _WALKER, _PROP)}
_SLOP_M = 0.005
"""Overlap that contacts leave standing: half of the error that a viewer may have."""


def bands_of(y: F64) -> I64:
    """Number of the band that feet at height ``y`` (metres) are in, int64."""
    return np.clip(np.floor(y / BAND_M), 0, BANDS - 1).astype(np.int64)


def _filter(of: int, bands: int) -> pymunk.ShapeFilter:
    mask = 0
    for other in _MEETS[of]:
        mask |= bands << other
    return pymunk.ShapeFilter(categories=bands << of, mask=mask)


class Space:
    """A pymunk space with one body for each row that was added."""

    def __init__(self, ground: StaticMap) -> None:
        self._space = pymunk.Space()
        self._space.iterations = 6
        self._space.collision_slop = _SLOP_M
        self._bodies: dict[int, tuple[pymunk.Body, pymunk.Shape, int]] = {}
        self._row_of: dict[int, int] = {}
        """By pymunk's number of a body."""
        self._order: I64 | None = None
        self._held = batch.Buffer()
        self._add_static(ground)

    def _add_static(self, ground: StaticMap) -> None:
        """Edges of prisms as segments, in the bands at whose floor they would hinder somebody."""
        floors = np.arange(BANDS) * BAND_M
        segments: list[pymunk.Shape] = []
        for prism in range(len(ground)):
            bottom = float(ground.bottom[prism]) / GRID_PER_M
            top = float(ground.top[prism]) / GRID_PER_M
            hinders = (top > floors + STEP) & (bottom < floors + HEIGHT)
            bands = int(np.sum(hinders.astype(np.int64) << np.arange(BANDS)))
            if not bands:
                continue
            shape_filter = _filter(_STATIC, bands)
            for ring in range(int(ground.ring_start[prism]), int(ground.ring_start[prism + 1])):
                points = ground.point[ground.point_start[ring] : ground.point_start[ring + 1]] / GRID_PER_M
                count = len(points)
                corners = [(float(x), float(z)) for x, z in points]
                for i in range(count):
                    a, b = corners[i], corners[(i + 1) % count]
                    segment = pymunk.Segment(self._space.static_body, a, b, 0.0)
                    segment.set_neighbors(corners[i - 1], corners[(i + 2) % count])
                    segment.filter = shape_filter
                    segment.friction = 0.2
                    segments.append(segment)
        x0, z0, x1, z1 = (float(side) / GRID_PER_M for side in ground.bounds)
        rim = _filter(_STATIC, (1 << BANDS) - 1)
        for a, b in (((x0, z0), (x1, z0)), ((x1, z0), (x1, z1)), ((x1, z1), (x0, z1)), ((x0, z1), (x0, z0))):
            segment = pymunk.Segment(self._space.static_body, a, b, 0.05)
            segment.filter = rim
            segments.append(segment)
        self._space.add(*segments)

    def add(self, row: int, body: Body, walker: bool, band: int, position: tuple[float, float], angle: float) -> None:
        """A body for a row that has none."""
        assert row not in self._bodies
        moment = inf
        if body.turns:
            moment = (
                pymunk.moment_for_box(body.mass_kg, (2 * body.radius_m, 2 * body.radius_m))
                if body.square
                else pymunk.moment_for_circle(body.mass_kg, 0.0, body.radius_m)
            )
        rigid = pymunk.Body(body.mass_kg, moment)
        rigid.position = position
        rigid.angle = angle
        shape: pymunk.Shape
        if body.square:
            shape = pymunk.Poly.create_box(rigid, (2 * body.radius_m, 2 * body.radius_m))
        else:
            shape = pymunk.Circle(rigid, body.radius_m)
        shape.friction = body.friction
        shape.elasticity = body.elasticity
        of = _WALKER if walker else _PROP
        shape.filter = _filter(of, 1 << band)
        self._space.add(rigid, shape)
        self._bodies[row] = (rigid, shape, of)
        self._row_of[rigid.id] = row
        self._order = None

    def remove(self, row: int) -> None:
        """Forget a row's body."""
        rigid, shape, _ = self._bodies.pop(row)
        del self._row_of[rigid.id]
        self._space.remove(shape, rigid)
        self._order = None

    def move_band(self, row: int, band: int) -> None:
        """A body went up or down to another band."""
        _, shape, of = self._bodies[row]
        shape.filter = _filter(of, 1 << band)

    @property
    def order(self) -> I64:
        """Rows in the order of the buffers, int64[b]; -1 for the static body. Changes when bodies are added or
        removed."""
        if self._order is None:
            ids = batch.Buffer()
            batch.get_space_bodies(self._space, batch.BodyFields.BODY_ID, ids)
            held = np.frombuffer(ids.int_buf(), np.uintp)
            known = np.fromiter(self._row_of, np.uintp, len(self._row_of))
            rows = np.fromiter(self._row_of.values(), np.int64, len(self._row_of))
            by_id = np.argsort(known)
            known, rows = np.append(known[by_id], 0), np.append(rows[by_id], -1)
            at = np.searchsorted(known[:-1], held)
            self._order = np.where(known[at] == held, rows[at], -1)
        return self._order

    def contacts(self) -> I64:
        """Pairs of rows of props that touched in the last step, int64[k, 2]."""
        held = batch.Buffer()
        batch.get_space_arbiters(self._space, batch.ArbiterFields.BODY_A_ID | batch.ArbiterFields.BODY_B_ID, held)
        pairs = np.frombuffer(held.int_buf(), np.uintp).reshape(-1, 2).tolist()
        rows = [(self._row_of.get(a, -1), self._row_of.get(b, -1)) for a, b in pairs]
        props = [pair for pair in rows if min(pair) >= 0 and all(self._bodies[row][2] == _PROP for row in pair)]
        return np.array(props, np.int64).reshape(-1, 2)

    def step(self, states: F64, dt_s: float, steps: int) -> F64:
        """Write all bodies from ``states`` float64[b, 6] (x, y, angle, vx, vy, turning), take ``steps`` steps of
        ``dt_s``, and return the new states, float64[b, 6], valid until the next call."""
        source = batch.Buffer()
        source.set_float_buf(states)
        batch.set_space_bodies(self._space, _FIELDS, source)
        for _ in range(steps):
            self._space.step(dt_s)
        self._held.clear()
        batch.get_space_bodies(self._space, _FIELDS, self._held)
        return np.frombuffer(self._held.float_buf(), np.float64).reshape(-1, 6)
