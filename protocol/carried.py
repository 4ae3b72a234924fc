"""What members say to each other over their links: the kinds of messages, and which may be dropped.

DELTA, UPWARD, BORDER and CLOCK may be dropped as a whole under pressure, because a newer one follows (a border's and a
gateway's repeat what was not acknowledged, a lost delta makes a gateway subscribe anew). The others are lost only with
their link. Not responsible for: what is in them.
"""

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """Kinds of messages; their numbers are part of the protocol between members. The two lowest are the links' own."""

    HELLO = 0
    HEARTBEAT = 1
    DELTA = 2
    UPWARD = 3
    BORDER = 4
    MESH = 5
    MOVE = 6
    FAILSAFE = 7
    CLOCK = 8
    PASSED = 9
    """An UPWARD that a region's owner before got and passes on."""


DROPPABLE = frozenset({Kind.DELTA, Kind.UPWARD, Kind.BORDER, Kind.CLOCK})
"""Values; the others are items."""


class Send(NamedTuple):
    """Send ``data`` to ``member``. Of two values with the same ``key`` that wait, the newer is enough."""

    member: str
    kind: Kind
    key: int
    data: bytes
