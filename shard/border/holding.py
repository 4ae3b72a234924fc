"""Holding still: while a region is about to be split or merged, nothing is under way between it and its neighbours.

Theory of operation. A region that is to change says a number, its *hold*, to its neighbours each tick. From then on
neither side begins a hand-over to the other, and acts wait (``Links.deferred``). When all that was said either way is
durable where it went, a neighbour promises it by saying the number back (*held*), and says nothing more until it hears
of another hold, or of the end of that region. So the change takes nothing along but what the region itself holds.

Invariants: a promise is kept until a newer message of that region, a newer epoch, or the partition ends it; acts that
wait are neither lost nor done twice. Not responsible for: who changes when (``cluster.reshaping``), doing it
(``shard.reshape``, ``regroup``).
"""

from shard.border.links import Neighbour
from shard.state import ShardState


def is_still(state: ShardState, neighbour: Neighbour) -> bool:
    """Whether nothing new is to be said to a neighbour."""
    return bool(state.links.hold or neighbour.hold)


def promise(neighbour: Neighbour) -> int:
    """The hold of a neighbour that is kept now; 0: none, or not yet."""
    return neighbour.hold if is_idle(neighbour) else 0


def is_idle(neighbour: Neighbour) -> bool:
    """Whether nothing is under way between here and a neighbour, as far as it is known here."""
    return neighbour.channel.is_idle and not neighbour.outgoing and not neighbour.reserved


def is_ready(state: ShardState) -> bool:
    """Whether this region holds still, and all neighbours have promised the same."""
    hold = state.links.hold
    return hold != 0 and all(n.held == hold and is_idle(n) for n in state.links.neighbours.values())
