"""What waits for connections beyond the room that each of them has for good: large messages, and what is said behind
one.

Decides when that is too much: of each connection the largest message that the standard allows, and as much in small
ones as a slow reader may have waiting anyway. Invariants: pieces leave in the order in which they were added; a large
message that many are told is in memory once. Not responsible for: what is done with a connection of which too much
waits, the areas that pieces are poured into.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from protocol.limits import SERVER_MESSAGE_BYTES_MAX

_HEADERS_BYTES = 4096
"""Of the pieces of a largest message."""
U8 = npt.NDArray[np.uint8]


@dataclass(slots=True)
class _Waiting:
    """Of one connection."""

    pieces: deque[tuple[U8, int]] = field(default_factory=deque)
    """Each with the size of its message if it is the last one of it, else 0."""
    begun: int = 0
    """Bytes of the first piece that have left."""
    within: bool = False
    """Whether the first piece follows one of the same message."""
    small: int = 0
    """Bytes of small messages, and of large ones."""
    large: int = 0


class Backlog:
    """Of the connections of one transport. ``small_bytes_max``: of small messages that may wait for one connection; a
    larger one is large, and waits here whatever room there is."""

    def __init__(self, small_bytes_max: int) -> None:
        self._small_bytes_max = small_bytes_max
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        """Connections for which something waits."""
        return len(self._waiting)

    @property
    def conns(self) -> list[int]:
        """Connections for which something waits."""
        return list(self._waiting)

    def is_large(self, size: int) -> bool:
        """Whether a message of so many bytes is large."""
        return size > self._small_bytes_max

    def is_within(self, conn: int) -> bool:
        """Whether a part of a message has left and the rest of it waits."""
        waiting = self._waiting.get(conn)
        return waiting is not None and (waiting.within or waiting.begun > 0)

    def add(self, conn: int, pieces: list[U8]) -> bool:
        """One more message, in pieces that nobody changes any more; False, and nothing is kept, if it is too much."""
        waiting = self._waiting.get(conn) or _Waiting()
        size = sum(map(len, pieces))
        self._count(waiting, size, 1)
        if waiting.small > self._small_bytes_max or waiting.large > SERVER_MESSAGE_BYTES_MAX + _HEADERS_BYTES:
            self._count(waiting, size, -1)
            return False
        waiting.pieces.extend((piece, 0) for piece in pieces[:-1])
        waiting.pieces.append((pieces[-1], size))
        self._waiting[conn] = waiting
        return True

    def pour(self, conn: int, take: Callable[[U8], int]) -> bool:
        """Give away what waits for ``conn`` for as long as ``take``, which is told bytes and says how many it took,
        takes all; returns whether nothing waits any more."""
        waiting = self._waiting[conn]
        while waiting.pieces:
            piece, size = waiting.pieces[0]
            waiting.begun += take(piece[waiting.begun :])
            if waiting.begun < len(piece):
                return False
            waiting.pieces.popleft()
            waiting.begun, waiting.within = 0, size == 0
            self._count(waiting, size, -1)
        del self._waiting[conn]
        return True

    def _count(self, waiting: _Waiting, size: int, sign: int) -> None:
        """A message of so many bytes waits from now on (1), or has left (-1)."""
        if self.is_large(size):
            waiting.large += sign * size
        else:
            waiting.small += sign * size

    def drop(self, conn: int) -> None:
        """The connection is over; nothing if nothing waits for it."""
        self._waiting.pop(conn, None)
