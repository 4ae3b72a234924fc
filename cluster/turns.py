"""Whose turn to end comes after whose, as far as names tell, and whom one that ends may wait for. Pure.

Theory. Kubernetes' StatefulSets name their processes ``<set>-<number>`` and end them from the highest number on, one
after the other: those that are too many when there shall be fewer, and all of them, each starting again at once, when
there is another release. Either way, when ``shard-4`` ends the next may be ``shard-3``, and what it gets from
``shard-4`` it will have to give away in a moment; the lowest number ends last or not at all, and a number above 4 has
either had its turn or there would not be one. So what a member that ends gives away goes rather to those.

Invariant: names without a number at the end, or of another set, tell nothing, and cost nothing. Not responsible for:
how much that is worth beside load and neighbours (``plan``, ``affinity``).
"""

from cluster.book import Book


class Takers:
    """Whom a shard that ends, ``name``, may still give its regions to, as it has known since it was asked first.

    One that was there and is gone without having said that it drains has died, or could not reach the store: it or its
    successor comes back, and until then the regions are better off where they are.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: set[str] = set()

    def any(self, book: Book) -> bool:
        """Whether it is worth waiting for somebody."""
        for member in book.shards():
            if member.name != self._name:
                self._known.add(member.name)
                if member.record.draining:
                    self._known.discard(member.name)
        return bool(self._known)


def turn(name: str) -> tuple[str, int] | None:
    """Set and number of ``<set>-<number>``; None for any other name."""
    kind, dash, number = name.rpartition("-")
    return (kind, int(number)) if dash and number.isascii() and number.isdecimal() else None


def soon(name: str, leaving: str | None) -> float:
    """How soon ``name`` may end after ``leaving``: 1 for the next one, 1/2 for the one after it, and so on; 0 if its
    turn was before, or if nothing is known of it."""
    own, its = turn(name), None if leaving is None else turn(leaving)
    if own is None or its is None or own[0] != its[0] or own[1] >= its[1]:
        return 0.0
    return 1.0 / (its[1] - own[1])
