"""Bodies and walls that no space has now, kept for the next one.

pymunk's objects refer to themselves, so what is dropped stays until Python's collector has gone over everything, which
takes longer than a tick in a large world; and one that is made costs ten times one that is taken. So none is dropped:
a space that ends is emptied into the pool, some objects in each tick.

Decides what is made and what is used again. Invariants: what was taken is in no space; there are never more than were
in use at once. Not responsible for: what is where (``space``), when a space ends (``exchange``).
"""

from collections import deque
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Protocol

import pymunk
from pymunk import batch

from shard.world.components import Body

BANDS = 10
"""Three classes of ten bands fit 32 bits; what is higher is in the topmost one."""
WALL, WALKER, PROP = 0, BANDS, 2 * BANDS
"""The lowest bit of each class."""
NOTHING = pymunk.ShapeFilter(categories=0, mask=0)
_MEETS = {WALL: (PROP,), WALKER: (PROP,), PROP: (WALL, WALKER, PROP)}
_WALL_FRICTION = 0.2


@cache
def filter_of(of: int, bands: int) -> pymunk.ShapeFilter:
    """What a shape of a class meets that is in ``bands``, a bit for each."""
    mask = 0
    for other in _MEETS[of]:
        mask |= bands << other
    return pymunk.ShapeFilter(categories=bands << of, mask=mask)


@dataclass(slots=True)
class Made:
    """One body. ``body``: what it was made for, and can be used for again."""

    rigid: pymunk.Body
    shape: pymunk.Shape
    body: Body
    walker: bool

    def filter(self, band: int) -> pymunk.ShapeFilter:
        """What it meets in a band."""
        return filter_of(WALKER if self.walker else PROP, 1 << band)


class Ending(Protocol):
    """A space that nobody steps any more."""

    def empty(self, count: int) -> int:
        """Give the pool so many objects at most; returns how many were given, fewer when none are left."""


class Pool:
    """Of one process. ``sent``, ``held``, ``met``: buffers for what goes to a space, what comes back, and contacts;
    valid until the next call for any space. pymunk never frees what a buffer holds, so there are these three."""

    def __init__(self) -> None:
        self.sent, self.held, self.met = batch.Buffer(), batch.Buffer(), batch.Buffer()
        self._bodies: dict[Body, list[Made]] = {}
        self._walls: list[pymunk.Segment] = []
        self._ending: deque[Ending] = deque()

    @property
    def kept(self) -> int:
        """Bodies and walls that are kept."""
        return len(self._walls) + sum(map(len, self._bodies.values()))

    def body(self, body: Body, walker: bool) -> Made:
        """One of this sort, meeting nothing yet."""
        kept = self._bodies.get(body)
        if not kept:
            return _make(body, walker)
        made = kept.pop()
        made.walker = walker
        return made

    def wall(self, of: pymunk.Body, a: tuple[float, float], b: tuple[float, float], radius_m: float) -> pymunk.Segment:
        """A segment from ``a`` to ``b``."""
        if self._walls:
            wall = self._walls.pop()
            wall.body = of
            wall.unsafe_set_endpoints(a, b)
            wall.unsafe_set_radius(radius_m)
        else:
            wall = pymunk.Segment(of, a, b, radius_m)
            wall.friction = _WALL_FRICTION
        wall.set_neighbors(a, b)
        return wall

    def keep(self, made: Made) -> None:
        """A body that was taken out of its space."""
        made.shape.filter = NOTHING
        pymunk.Body.update_position(made.rigid, 0.0)  # takes away what the solver would still have moved it by
        self._bodies.setdefault(made.body, []).append(made)

    def keep_wall(self, wall: pymunk.Segment) -> None:
        """A wall that was taken out of its space."""
        wall.body = None
        self._walls.append(wall)

    def end(self, space: Ending) -> None:
        """Nobody steps this space any more."""
        self._ending.append(space)

    def tidy(self, count: int) -> None:
        """Empty spaces that have ended, ``count`` objects at most."""
        while count > 0 and self._ending:
            given = self._ending[0].empty(count)
            if given < count:
                self._ending.popleft()
            count -= given


def _make(body: Body, walker: bool) -> Made:
    moment = inf
    side = 2 * body.radius_m
    if body.turns:
        moment = (
            pymunk.moment_for_box(body.mass_kg, (side, side))
            if body.square
            else pymunk.moment_for_circle(body.mass_kg, 0.0, body.radius_m)
        )
    rigid = pymunk.Body(body.mass_kg, moment)
    shape: pymunk.Shape
    if body.square:
        shape = pymunk.Poly.create_box(rigid, (side, side))
    else:
        shape = pymunk.Circle(rigid, body.radius_m)
    shape.friction = body.friction
    shape.elasticity = body.elasticity
    shape.filter = NOTHING
    return Made(rigid, shape, body, walker)
