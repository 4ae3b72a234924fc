"""Claims: records that outlive a lease, so that nobody who was not asked gives away what the failsafe lets go on.

Each life of a member (name and lease) puts ``claim/<name>/<lease>`` when it joins and keeps it naming the members it
knows: those it asks before it acts without the store (Patroni keeps such a list for the same purpose). The key has no
lease. The placer gives nothing of a life away while its claim stands. When a life's lease is over, one of those named
removes the claim, and from then on never consents to that life's acting; it does so at the earliest SETTLE_S after a
time in which it may have consented, when no consent counts any more. The life itself removes it when it leaves.

Names are each one process's at a time (whoever starts processes sees to it), so a process that starts anew speaks for
its name. If all whom a claim names are gone for good, it stands until an operator removes it.

Invariant: a claim is removed only under the revision at which its life was seen to be over. Not responsible for: when
the store counts as away (``member``), asking for consent (``failsafe``).
"""

from cluster.book import Book
from cluster.failsafe import GRANT_S, LINGER_S
from cluster.records import ClaimRecord, claim_key, member_key, write
from cluster.store.contract import Delete, Lease, Put, RevisionIs, Transaction

SETTLE_S = 3.0
"""From the store's return until lives are called over: members which the failsafe let go on take up their leases."""
EVERY_S = 0.25
OVER_MAX = 16
"""Claims removed at once."""

assert SETTLE_S > GRANT_S + LINGER_S


class Claims:
    """One member's own claim, and its say about those of others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sent: frozenset[str] = frozenset()
        self._own_s = self._others_s = -1.0e9

    def write(self, lease: Lease, book: Book) -> Put:
        """The claim as the members are now; from this moment on all of them are asked."""
        self._sent = frozenset(book.members.keys() - {self.name})
        book.confirmers |= self._sent
        return Put(claim_key(self.name, lease.id), write(ClaimRecord(sorted(self._sent))))

    def changed(self, lease: Lease, book: Book, now_s: float) -> Transaction | None:
        """The claim's renewal if the members are others than it names. Nobody is left out before that is known."""
        claim, member = book.claims.get((self.name, lease.id)), book.members.get(self.name)
        if claim is None or member is None or member.lease != lease.id or now_s - self._own_s < EVERY_S:
            return None
        if claim.members == book.members.keys() - {self.name}:
            if claim.members == self._sent:
                book.confirmers = claim.members
            return None
        self._own_s = now_s
        alive, same = RevisionIs(member_key(self.name), member.revision), claim_key(self.name, lease.id)
        return Transaction((alive, RevisionIs(same, claim.revision)), (self.write(lease, book),))

    def over(self, lease: Lease, book: Book, still_held: bool, now_s: float) -> list[Transaction]:
        """Removals of claims whose lives are over and of which this member may say so.

        ``still_held``: this member acts yet on regions of a former life of its own.
        """
        if now_s - self._others_s < EVERY_S:
            return []
        self._others_s = now_s
        found: list[Transaction] = []
        for (name, life), claim in sorted(book.claims.items()):
            own = name == self.name
            if book.is_alive(name, life) or (own and (still_held or life == lease.id)):
                continue
            if not own and claim.members and self.name not in claim.members:
                continue
            book.disowned.add((name, life))
            key = claim_key(name, life)
            found.append(Transaction((RevisionIs(key, claim.revision),), (Delete(key),)))
            if len(found) == OVER_MAX:
                break
        return found
