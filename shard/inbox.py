"""Messages of other members that wait for the next step of a shard.

Decides what is kept of a sender who says more between two steps than anybody should: the newest ``each_max``. Nothing
is lost by that: gateways say again what a region has not had (``shard.gateways``), and a newer message of a border has
all that an older one had and more (``protocol.border``). Invariant: what waits is bounded by the number of senders. Not
responsible for: whether a message is for a region that is here.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import TypeVar

M = TypeVar("M")


class Inbox(list[M]):
    """Messages in the order in which they came. ``sender_of(message)``: whom it counts against."""

    def __init__(self, each_max: int, sender_of: Callable[[M], Hashable]) -> None:
        super().__init__()
        self.each_max = each_max
        self.dropped = 0
        """For metrics: messages that newer ones of their senders took the place of."""
        self._sender_of = sender_of
        self._counts: Counter[Hashable] = Counter()

    def put(self, message: M) -> None:
        """Keep a message for the next step."""
        sender = self._sender_of(message)
        if self._counts[sender] == self.each_max:
            oldest = next(k for k, other in enumerate(self) if self._sender_of(other) == sender)
            del self[oldest]
            self.dropped += 1
        else:
            self._counts[sender] += 1
        self.append(message)

    def take(self, ready: Callable[[M], bool] = lambda message: True) -> list[M]:
        """All that are ready; the others go on waiting."""
        waiting, taken = list(self), []
        self.clear()
        self._counts.clear()
        for message in waiting:
            if ready(message):
                taken.append(message)
            else:
                self._counts[self._sender_of(message)] += 1
                self.append(message)
        return taken
