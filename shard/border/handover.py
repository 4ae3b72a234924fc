"""The state machine of a hand-over, as a table: what is done next, and nothing else.

Invariants: between prepare and commit the source alone simulates, from the commit on the target alone; every pair of
state and event that is not in a table is a late or repeated word and changes nothing. Not responsible for: doing what
the table says (``crossing``), delivery once and in order (``protocol.border``).
"""

from enum import Enum, auto
from typing import Final


class Source(Enum):
    """Where a group is, seen from the region that it leaves."""

    HOME = auto()
    """Simulated here; nothing is under way."""
    PREPARED = auto()
    """Simulated here; the target was asked."""
    ACCEPTED = auto()
    """Simulated here until the end of this step; the target keeps room."""
    GONE = auto()
    """Not simulated here; the commit is repeated until the target acknowledges it."""


class Target(Enum):
    """The same, seen from the region that it goes to."""

    FREE = auto()
    RESERVED = auto()
    """Room is kept."""


class Event(Enum):
    """What happens to a hand-over."""

    DUE = auto()
    """The group is far enough outside, and may cross."""
    ACCEPT = auto()
    REFUSE = auto()
    SILENCE = auto()
    """No answer for too long."""
    NEW_OWNER = auto()
    """The target has a new epoch: it may not know of the prepare."""
    LEADER_LOST = auto()
    """The entity that the group crosses with left the world."""
    STEP_END = auto()
    ACKNOWLEDGED = auto()
    """The target has taken the commit."""
    PREPARE_FITS = auto()
    PREPARE_WRONG = auto()
    """No room, other declarations, or a newer hop is known."""
    CANCEL = auto()
    COMMIT = auto()
    SOURCE_REBORN = auto()
    """The source crashed: what it prepared is void."""


class Do(Enum):
    """What the state machine's owner does at a transition."""

    PREPARE = auto()
    """Ask the target."""
    COMMIT = auto()
    """The rows leave, tombstones stay."""
    CANCEL = auto()
    """Take the prepare back and let the group rest for a while."""
    REST = auto()
    """Let the group rest for a while before it is tried again."""
    FORGET = auto()
    """The copy is not needed any more."""
    ACCEPT = auto()
    """Keep room, and say so."""
    REFUSE = auto()
    BEGIN = auto()
    """The rows begin here with the next hop."""
    RELEASE = auto()
    """Room is free again."""


SOURCE: Final[dict[tuple[Source, Event], tuple[Source, Do | None]]] = {
    (Source.HOME, Event.DUE): (Source.PREPARED, Do.PREPARE),
    (Source.PREPARED, Event.ACCEPT): (Source.ACCEPTED, None),
    (Source.PREPARED, Event.REFUSE): (Source.HOME, Do.REST),
    (Source.PREPARED, Event.SILENCE): (Source.HOME, Do.CANCEL),
    (Source.PREPARED, Event.NEW_OWNER): (Source.HOME, Do.CANCEL),
    (Source.PREPARED, Event.LEADER_LOST): (Source.HOME, Do.CANCEL),
    (Source.ACCEPTED, Event.LEADER_LOST): (Source.HOME, Do.CANCEL),
    (Source.ACCEPTED, Event.STEP_END): (Source.GONE, Do.COMMIT),
    (Source.GONE, Event.ACKNOWLEDGED): (Source.HOME, Do.FORGET),
}
TARGET: Final[dict[tuple[Target, Event], tuple[Target, Do | None]]] = {
    (Target.FREE, Event.PREPARE_FITS): (Target.RESERVED, Do.ACCEPT),
    (Target.FREE, Event.PREPARE_WRONG): (Target.FREE, Do.REFUSE),
    (Target.RESERVED, Event.CANCEL): (Target.FREE, Do.RELEASE),
    (Target.RESERVED, Event.SOURCE_REBORN): (Target.FREE, Do.RELEASE),
    (Target.RESERVED, Event.COMMIT): (Target.FREE, Do.BEGIN),
    # A successor of the target knows nothing of what its predecessor accepted; the group has no other place.
    (Target.FREE, Event.COMMIT): (Target.FREE, Do.BEGIN),
}


def at_source(state: Source, event: Event) -> tuple[Source, Do | None]:
    """The next state, and what to do."""
    return SOURCE.get((state, event), (state, None))


def at_target(state: Target, event: Event) -> tuple[Target, Do | None]:
    """The next state, and what to do."""
    return TARGET.get((state, event), (state, None))
