"""Changes between carriers and datagrams, seen from the clients: how often each kind came to pass.

Not responsible for: what must hold over a change (``checkers``, ``ledger``).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from client import ClientCore


@dataclass(slots=True)
class _Known:
    """What was known of one client when it was looked at last."""

    on_datagrams: bool = False
    falls: bool = False
    """Back to a carrier, which has not welcomed it yet."""
    on_way: bool = False
    """It has a token, and no welcome over datagrams yet."""
    url: str = ""
    hop: int = 0
    """Of its body, when the change began."""
    fallbacks: int = 0
    gave_up_ms: float = float("-inf")


@dataclass(slots=True)
class Switches:
    """Counts them. ``hop_of``: how often an entity has changed its region."""

    counts: Counter[str]
    hop_of: Callable[[int], int] = lambda entity: 0
    _known: dict[int, _Known] = field(default_factory=dict)

    def look(self, number: int, core: ClientCore) -> None:
        """A client may have changed."""
        if not core.config.datagrams:
            return
        known = self._known.setdefault(number, _Known())
        body = core.welcome.body if core.welcome is not None else None
        hop = self.hop_of(body) if body is not None else 0
        on_way = core._coming is not None and core._coming.token is not None
        if on_way and not known.on_way:
            known.hop = hop
        if core.on_datagrams and not known.on_datagrams:
            self.counts["went on over datagrams"] += 1
            self.counts["datagrams begun in a crossing"] += hop != known.hop
        if known.on_way and not on_way and not core.on_datagrams:
            self.counts["datagrams given up before they began"] += 1
        self.counts["came back after its own late HELLO"] += core._gave_up_ms < known.gave_up_ms
        known.gave_up_ms = core._gave_up_ms
        if core.stats.fallbacks > known.fallbacks:
            self.counts["fell back after silence"] += 1
            known.fallbacks, known.hop, known.falls = core.stats.fallbacks, hop, True
        elif known.on_datagrams and core.connected and not core.on_datagrams:
            self.counts["moved to another gateway from datagrams"] += 1
        if known.falls and core.connected:
            self.counts["fell back in a crossing"] += hop != known.hop
            known.falls = False
        known.on_datagrams, known.on_way = core.on_datagrams, on_way
