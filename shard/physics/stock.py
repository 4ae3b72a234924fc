"""Spaces for regions that are about to begin, with bodies that nobody has yet: made some at a time, ticks before they
are needed, because a body costs much more to make than to take.

Decides how many of each. Invariant: a space that is taken is whole, whether or not its stock was full: what is missing
is made then. Not responsible for: who gets which body (``exchange``), when it is needed (``reshape``).
"""

from collections import Counter, deque
from collections.abc import Mapping

from protocol.place import StaticMap
from shard.border.links import Square
from shard.physics.pool import Pool
from shard.physics.space import Space
from shard.world.components import Body

SLACK = 1.05
"""More than were counted: people move while the stock is made."""


class Stock:
    """``squares``: of the regions; ``wanted``: how many bodies of each sort they will have."""

    def __init__(
        self, ground: StaticMap, pool: Pool, squares: Mapping[int, Square], wanted: Mapping[int, Counter[Body]]
    ) -> None:
        self._pool = pool
        self._spaces = {region: Space(ground, pool, square) for region, square in squares.items()}
        self._to_build = deque(self._spaces)
        self._left = deque(
            (region, body, int(count * SLACK) + 1)
            for region, counts in wanted.items()
            for body, count in counts.items()
        )

    @property
    def is_full(self) -> bool:
        """Whether nothing is left to be made."""
        return not self._to_build and not self._left

    def fill(self, count: int) -> None:
        """Make so many walls and bodies, give or take a building."""
        while count > 0 and self._to_build:
            built = self._spaces[self._to_build[0]].build(count)
            if built < count:
                self._to_build.popleft()
            count -= built
        while count > 0 and self._left:
            region, body, wanted = self._left.popleft()
            some = min(count, wanted)
            self._spaces[region].stock(body, some)
            count -= some
            if some < wanted:
                self._left.appendleft((region, body, wanted - some))

    def take(self, region: int) -> Space | None:
        """The space of a region, once."""
        return self._spaces.pop(region, None)

    def end(self) -> None:
        """What was made and not taken goes back to the pool."""
        for space in self._spaces.values():
            self._pool.end(space)
        self._spaces, self._to_build, self._left = {}, deque(), deque()
