"""What a region knows of the gateways that talk to it: who is subscribed, and which messages it has had.

Invariants: each ``Upward`` (gateway, seq) is taken once, in whatever order they come; a subscription is decided by the
newest message that spoke of it. A gateway's number names one life of it: a gateway that is started anew takes another
number (its member's generation). Not responsible for: sending.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from protocol.link import Upward

WINDOW = 64
"""A message that is later than so many newer ones is dropped: a gateway says again what was not acknowledged."""
GATEWAYS_MAX = 1024
"""Known at a time; of those who are not subscribed, the one that was heard of first is forgotten."""


@dataclass(slots=True)
class Known:
    """One gateway."""

    newest: int = 0
    seen: int = 0
    """Bit k: message ``newest - k`` was taken."""
    subscribed: bool = False
    spoke: int = 0
    """Number of the newest message about the subscription."""
    heard_seq: int = 0
    """Newest delta of the region that it has applied."""
    heard_tick: int = 0
    """When it said anything, or was first named."""


class Gateways:
    """All gateways of a region."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    @property
    def subscribed(self) -> list[int]:
        """Numbers of the gateways that get deltas, ascending."""
        return sorted(number for number, known in self._known.items() if known.subscribed)

    def heard_seq(self, gateway: int) -> int:
        """The newest delta that a gateway said it has applied (0: none)."""
        known = self._known.get(gateway)
        return 0 if known is None else known.heard_seq

    def heard(self) -> list[list[int]]:
        """What each subscriber's messages came to (``RegionDelta.heard``)."""
        return [[number, k.newest, k.seen] for number, k in sorted(self._known.items()) if k.subscribed]

    def fresh(self, upward: Iterable[Upward], tick: int) -> list[Upward]:
        """Those messages that were not had yet, by gateway and number; ``tick``: now."""
        return [m for m in sorted(upward, key=lambda m: (m.gateway, m.seq)) if self._is_fresh(m, tick)]

    def silent_since(self, gateway: int, tick: int) -> int:
        """When a gateway that has sessions here spoke last; one that never did counts from now (``tick``)."""
        return self._find(gateway, tick).heard_tick

    def _find(self, gateway: int, tick: int) -> Known:
        known = self._known.get(gateway)
        if known is None:
            known = self._known[gateway] = Known(heard_tick=tick)
            self._forget()
        return known

    def _is_fresh(self, message: Upward, tick: int) -> bool:
        known = self._find(message.gateway, tick)
        known.heard_tick = tick
        ahead = message.seq - known.newest
        if ahead > 0:
            known.seen = (known.seen << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
            known.newest = message.seq
            known.heard_seq = max(known.heard_seq, message.heard_seq)
        elif -ahead >= WINDOW or known.seen >> -ahead & 1:
            return False
        else:
            known.seen |= 1 << -ahead
        return True

    def expire(self, since: int) -> None:
        """Gateways that have said nothing since that tick are not there any more, and forgotten: a life of a gateway
        never comes back, and a region that moved about would carry all of them along. One that is there after all asks
        anew, because its region is silent."""
        self._known = {number: known for number, known in self._known.items() if known.heard_tick >= since}

    def _forget(self) -> None:
        if len(self._known) > GATEWAYS_MAX:
            for number, known in self._known.items():
                if not known.subscribed:
                    del self._known[number]
                    return

    def subscribe(self, messages: Iterable[Upward]) -> list[int]:
        """Who wants to begin anew, ascending; ``messages`` are fresh ones."""
        anew: set[int] = set()
        for message in messages:
            known = self._known[message.gateway]
            if (message.subscribe or message.unsubscribe) and message.seq > known.spoke:
                known.spoke = message.seq
                known.subscribed = message.subscribe
                (anew.add if message.subscribe else anew.discard)(message.gateway)
        return sorted(anew)

    def inherit(self, formers: Iterable["Gateways"]) -> None:
        """The region takes the place of others: who was subscribed to one of those is to this; messages to it are
        numbered anew."""
        for former in formers:
            for number, known in former._known.items():
                mine = self._known.setdefault(number, Known(heard_tick=known.heard_tick))
                mine.subscribed |= known.subscribed
                mine.heard_tick = max(mine.heard_tick, known.heard_tick)

    def state(self) -> list[Any]:
        """For a dump."""
        return [
            [number, k.newest, k.seen, k.subscribed, k.spoke, k.heard_seq, k.heard_tick]
            for number, k in sorted(self._known.items())
        ]

    def load(self, state: list[Any]) -> None:
        """Inverse of :meth:`state`."""
        self._known = {number: Known(*rest) for number, *rest in state}
