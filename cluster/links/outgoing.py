"""What waits for one link: bounded in bytes, and newest wins for values.

Decides per message class what happens at the bound: *values* (droppable, with a key) replace the waiting one of their
kind and key, and over the bound the oldest values are dropped whole; *items* are never dropped, over the bound the
queue says so and its link is reset. Region moves go in pieces behind everything else, so that a tick's messages never
wait for megabytes. Not responsible for: writing.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from cluster.links.frames import FRAME_BYTES_MAX, MESSAGE_BYTES_MAX
from cluster.links.tally import Tally
from protocol.carried import Kind


@dataclass(slots=True)
class _Waiting:
    kind: Kind
    data: bytes
    droppable: bool


class Outgoing:
    """The queue. ``bytes_max`` bounds messages that wait; moves have their own room of one largest message."""

    def __init__(self, bytes_max: int, tally: Tally | None = None) -> None:
        self._bytes_max = bytes_max
        self.tally = Tally() if tally is None else tally
        self._waiting: dict[Hashable, _Waiting] = {}
        self._moves: list[bytes] = []
        self._begun_bytes = 0
        self._count = 0
        self.bytes = 0
        self.move_bytes = 0

    def put(self, kind: Kind, key: Hashable, data: bytes, *, droppable: bool) -> bool:
        """False: an item over the bound; the link is to be reset. Raises ValueError for a message beyond all bounds."""
        if len(data) > MESSAGE_BYTES_MAX:
            raise ValueError(f"a message of {len(data)} bytes; links carry at most {MESSAGE_BYTES_MAX}")
        if kind is Kind.MOVE:
            self._moves.append(data)
            self.move_bytes += len(data)
            return self.move_bytes <= MESSAGE_BYTES_MAX
        place: Hashable = (kind, key) if droppable else self._count
        self._count += 1
        if old := self._waiting.pop(place, None):  # goes to the end: after the items that were sent before it
            self.bytes -= len(old.data)
            self.tally.replaced[kind] += 1
        self._waiting[place] = _Waiting(kind, data, droppable)
        self.bytes += len(data)
        if self.bytes > self._bytes_max:
            self._drop_values()
        return self.bytes <= self._bytes_max

    def take(self, bytes_max: int) -> Iterator[tuple[Kind, memoryview, bool]]:
        """Pieces to write now, as (kind, payload, more follows): whole messages, then moves, about ``bytes_max``."""
        left = bytes_max
        while self._waiting and left > 0:
            waiting = self._waiting.pop(next(iter(self._waiting)))
            self.bytes -= len(waiting.data)
            left -= len(waiting.data)
            view = memoryview(waiting.data)
            while len(view) > FRAME_BYTES_MAX:
                yield waiting.kind, view[:FRAME_BYTES_MAX], True
                view = view[FRAME_BYTES_MAX:]
            yield waiting.kind, view, False
        while self._moves and left > 0:
            piece = memoryview(self._moves[0])[self._begun_bytes :][:FRAME_BYTES_MAX]
            self._begun_bytes += len(piece)
            self.move_bytes -= len(piece)
            left -= len(piece)
            more = self._begun_bytes < len(self._moves[0])
            if not more:
                del self._moves[0]
                self._begun_bytes = 0
            yield Kind.MOVE, piece, more

    def __bool__(self) -> bool:
        return bool(self._waiting or self._moves)

    def _drop_values(self) -> None:
        for place in [place for place, waiting in self._waiting.items() if waiting.droppable]:
            if self.bytes <= self._bytes_max:
                return
            dropped = self._waiting.pop(place)
            self.bytes -= len(dropped.data)
            self.tally.dropped[dropped.kind] += 1
