"""When a member is dead, so that its lease need not be waited for: a rule about what its links have shown.

Theory of operation. A process that is killed leaves its host's kernel behind, which ends all its connections and
refuses new ones. So a link that the other side ended, and after that a refusal where that process listened all its
life, say that it is over. Whoever finds that out revokes the lease of exactly that life: the record must still name
the process (by ``generation``) whose link it was, and the address that refused. Silence says nothing, for it may be the
network's; then the lease ends by itself.

Why a mistake (a firewall that refuses in the name of a living host) is harmless: a lease that was revoked is over for
its holder too, who stops when his watch, or his next renewal, says so; until then his commits are fenced by the epoch
of whoever has his regions now, and nothing is acknowledged before its commit. His claim stands until it is removed by
the same rules as after the lease's own end (``claims``).

Invariant: a life is called dead only by what its own process did. Not responsible for: connecting (``links``), what
becomes of a life's regions (``claims``, ``placer``).
"""

from cluster.asks import NEVER_S
from cluster.book import Book

AGAIN_S = 0.5
"""The store may not have heard of it: a refusal so much later says it once more."""


class Deaths:
    """What one member has found. ``found``: how many lives, for metrics."""

    def __init__(self) -> None:
        self.found = 0
        self._told_s: dict[tuple[str, int], float] = {}

    def refused(self, peer: str, generation: int, address: str, book: Book, now_s: float) -> int | None:
        """The process ``generation`` of ``peer`` ended its link, and then nobody listened at ``address``: the lease to
        revoke, or None."""
        self._told_s = {life: at_s for life, at_s in self._told_s.items() if book.is_alive(*life)}
        member = book.members.get(peer)
        if member is None or member.record.generation != generation or member.record.link != address:
            return None
        life = peer, member.lease
        if now_s - self._told_s.get(life, NEVER_S) < AGAIN_S:
            return None
        self.found += life not in self._told_s
        self._told_s[life] = now_s
        return member.lease
