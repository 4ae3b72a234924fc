"""Which sessions of a gateway are told to go on at which other one: all when it drains, some of them once a second for
affinity (``cluster.affinity``).

Decides when that is looked at, how many go at once, and what of the others is known: their records, which are some
seconds old, and whom this gateway has sent there meanwhile. Invariants: nobody is sent to a gateway that drains or has
no address; who came from another gateway, or was told to go, stays for ``Rules.rest_s``; a gateway that drains sends
for no other reason. Not responsible for: how a client changes its gateway (``session.switching``).
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cluster.affinity import Crowd, gateway_for, to_send
from cluster.book import Book
from server.core.gateway import GatewayCore

MOVE_WITHIN_MS = 10_000
"""A client has this much time at least to open its new connection: then a gateway that drains closes it, and any other
gives up the move."""
SENT_PART = 0.01
SENT_LEAST = 2
"""So many are sent at once for affinity: each costs its new gateway a first view."""
TOLD_S = 5.0
"""After this a gateway's record tells of whom was sent there: it takes them, and reports every 2 s."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one gateway. ``affinity``: whether anybody is sent while it does not drain; ``rest_s``: so long a session
    stays where it came to; ``sessions_max``: what each gateway of the cluster takes."""

    affinity: bool = True
    rest_s: float = 30.0
    sessions_max: int = 5000


class Sender:
    """Of the gateway ``name``. ``look`` is to be called about once a second."""

    def __init__(self, name: str, core: GatewayCore, rules: Rules) -> None:
        self.name, self.core, self.rules = name, core, rules
        self._sent: deque[tuple[float, str, list[int]]] = deque()
        self._on_way: Counter[str] = Counter()
        self._seen: Counter[tuple[str, int]] = Counter()

    def look(self, book: Book, now_s: float) -> dict[int, int]:
        """Send some for affinity. Returns what the record is to tell: of each region, how many sessions see it."""
        switching = self.core.sessions.switching
        conns = switching.staying(now_s)
        conns = conns[~self.core.channels.audience.present[conns]]  # a television sees what its channel does
        sights = self.core.sights(conns)
        counts = sights.counts()
        if self.rules.affinity and not switching.draining:
            crowds = self._crowds(book, counts, now_s)
            # Before its body is shown a view is not where it will be.
            shown = self.core.views.state.views["body"][conns] >= 0
            movable = shown & switching.rested(conns, now_s - self.rules.rest_s)
            most = max(SENT_LEAST, int(SENT_PART * len(conns)))
            chosen = to_send(self.name, sights, movable, crowds, most, self.rules.sessions_max)
            urls = [
                (int(conns[sent.index]), self._note(book, sent.to, sights.of(sent.index).tolist(), now_s))
                for sent in chosen
            ]
            self.core.send(urls, MOVE_WITHIN_MS, now_s)
        return counts

    def drain(self, book: Book, now_s: float) -> float:
        """Send everybody. Returns how long that may take, in seconds; 0 if nobody takes them."""
        if not any(crowd.takes for crowd in self._crowds(book, (), now_s).values()):
            return 0.0

        def url_of(conn: int, now_s: float) -> str | None:
            seen = self.core.sights(np.array([conn], np.int32)).of(0).tolist()
            name = gateway_for(seen, self._crowds(book, seen, now_s), self.rules.sessions_max, leaving=self.name)
            return None if name is None else self._note(book, name, seen, now_s)

        # They are told a few at a time: the last one shall have as long as the first.
        within_ms = MOVE_WITHIN_MS + round(1000 * self.core.telling_s)
        self.core.move_away(url_of, within_ms, now_s)
        return within_ms / 1000

    def _note(self, book: Book, name: str, seen: list[int], now_s: float) -> str:
        """One is sent to ``name``; returns its address for clients."""
        self._sent.append((now_s, name, seen))
        self._on_way[name] += 1
        self._seen.update((name, region) for region in seen)
        return ws_url(book.members[name].record.url)

    def _crowds(self, book: Book, regions: Iterable[int], now_s: float) -> dict[str, Crowd]:
        """The other gateways, as far as ``regions`` are concerned."""
        while self._sent and self._sent[0][0] <= now_s - TOLD_S:
            _, name, seen = self._sent.popleft()
            self._on_way[name] -= 1
            self._seen.subtract((name, region) for region in seen)
        crowds = {}
        for member in book.gateways():
            name, record = member.name, member.record
            if name != self.name:
                told = {region: record.regions.get(region, 0.0) + self._seen[name, region] for region in regions}
                takes = bool(record.url) and not record.draining
                crowds[name] = Crowd(record.sessions + self._on_way[name], told, takes)
        return crowds


def ws_url(url: str) -> str:
    """Where clients connect to the gateway whose page is at ``url`` (http or https)."""
    return f"ws{url.removeprefix('http').rstrip('/')}/ws"
