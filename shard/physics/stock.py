"""Spaces for regions that are about to begin, with bodies that nobody has yet: made some at a time, ticks before they
are needed, because a body costs much more to make than to take.

Decides how many of each. Invariant: a space that is taken is whole, whether or not its stock was full: what is missing
is made then. Not responsible for: who gets which body (``exchange``), when it is needed (``reshape``).
"""

from collections import Counter, deque
from collections.abc import Mapping

from protocol.place import StaticMap
from shard.physics.space import Space
from shard.world.components import Body

SLACK = 1.05
"""More than were counted: people move while the stock is made."""


class Stock:
    """``wanted``: how many bodies of each sort a region will have."""

    def __init__(self, ground: StaticMap, wanted: Mapping[int, Counter[Body]]) -> None:
        self._ground = ground
        self._spaces: dict[int, Space] = {}
        self._left = deque(
            (region, body, int(count * SLACK) + 1)
            for region, counts in wanted.items()
            for body, count in counts.items()
        )
        self._to_begin = deque(wanted)

    @property
    def is_full(self) -> bool:
        """Whether nothing is left to be made."""
        return not self._to_begin and not self._left

    def fill(self, count: int) -> None:
        """Make so many bodies, or one of the spaces."""
        if self._to_begin:
            region = self._to_begin.popleft()
            self._spaces[region] = Space(self._ground)
            return
        while count > 0 and self._left:
            region, body, wanted = self._left.popleft()
            some = min(count, wanted)
            self._spaces[region].stock(body, some)
            count -= some
            if some < wanted:
                self._left.appendleft((region, body, wanted - some))

    def take(self, region: int) -> Space:
        """The space of a region, once."""
        return self._spaces.pop(region, None) or Space(self._ground)
