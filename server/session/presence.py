"""Who is in the world, told in batches once a second.

Everybody knows the same list, the *announced* one: a newcomer is told it (at most ``newcomer_max`` names), and
everybody is told its changes. Those who came are announced ``joined_max`` at a time, those who left ``left_max`` at a
time; what does not fit goes into the next batch. Who leaves before being announced is never mentioned. ``online`` is
always the true count.

Invariants: a person is announced or waiting, never both; memory is bounded by the people present, since more leaves
fit into a batch than joins. Not responsible for: who counts as present.
"""

from itertools import islice

from protocol.messages import Presence


class PresenceBook:
    """Entity id → name of those present."""

    def __init__(self, joined_max: int, left_max: int, newcomer_max: int) -> None:
        if left_max < joined_max:
            raise ValueError(f"presence: left_max ({left_max}) must not be below joined_max ({joined_max})")
        self._joined_max = joined_max
        self._left_max = left_max
        self._newcomer_max = newcomer_max
        self._announced: dict[int, str] = {}
        self._joined: dict[int, str] = {}
        self._left: dict[int, None] = {}
        self._told_online = 0
        self._newcomer: Presence | None = None

    @property
    def online(self) -> int:
        """People present now."""
        return len(self._announced) + len(self._joined)

    def joined(self, entity: int, name: str) -> None:
        """A person came into the world; nothing if it is there already."""
        if entity in self._left:
            del self._left[entity]
            self._announced[entity] = name
            self._newcomer = None
        elif entity not in self._announced:
            self._joined[entity] = name

    def left(self, entity: int) -> None:
        """A person is gone for good; nothing if it is not there."""
        if self._joined.pop(entity, None) is None and self._announced.pop(entity, None) is not None:
            self._left[entity] = None
            self._newcomer = None

    def newcomer(self) -> Presence:
        """What one who just came is told; the same object until the announced list changes."""
        if self._newcomer is None:
            listed = tuple(islice(self._announced.items(), self._newcomer_max))
            self._newcomer = Presence(self.online, listed)
        return self._newcomer

    def batch(self) -> Presence | None:
        """What everybody is told now, or None if nothing changed."""
        if not self._joined and not self._left and self._told_online == self.online:
            return None
        came = tuple(islice(self._joined.items(), self._joined_max))
        gone = tuple(islice(self._left, self._left_max))
        for entity, name in came:
            del self._joined[entity]
            self._announced[entity] = name
        for entity in gone:
            del self._left[entity]
        self._told_online = self.online
        self._newcomer = None
        return Presence(self.online, came, gone)
