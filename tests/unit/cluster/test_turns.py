"""Who may end next, by names alone."""

import pytest

from cluster.affinity import Crowd, gateway_for
from cluster.book import Book
from cluster.records import SHARD, MemberRecord, member_key, write
from cluster.store.contract import Record, Relisted
from cluster.turns import Takers, soon, turn


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("shard-0", ("shard", 0)),
        ("isthmus-shard-12", ("isthmus-shard", 12)),
        ("shard", None),
        ("shard-", None),
        ("shard-a1", None),
        ("7", None),
        ("shard-²", None),
    ],
)
def test_a_name_says_its_set_and_number(name: str, found: tuple[str, int] | None) -> None:
    assert turn(name) == found


def test_the_lower_numbers_of_the_set_end_after_it_and_nobody_else_does() -> None:
    names = ["shard-0", "shard-3", "shard-4", "shard-9", "gateway-3", "placer"]
    assert [soon(name, "shard-4") for name in names] == [0.25, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert [soon(name, None) for name in names] == [0.0] * len(names)
    assert [soon(name, "somebody") for name in names] == [0.0] * len(names)


def test_people_are_not_sent_to_the_gateway_that_ends_next_unless_their_neighbours_are_there() -> None:
    crowds = {f"gateway-{k}": Crowd(10, {5: 3.0}) for k in (0, 1)}
    assert gateway_for([5], crowds, leaving="gateway-2") == "gateway-0"
    crowds["gateway-0"] = Crowd(9, {})
    crowds["gateway-1"] = Crowd(10, {5: 3.0, 6: 3.0, 7: 3.0})
    assert gateway_for([5, 6, 7], crowds, leaving="gateway-2") == "gateway-1"


def told(**draining: bool) -> Book:
    """A store in which these shards are."""
    records = [
        Record(member_key(name), write(MemberRecord(SHARD, "link", draining=drains)), 1, 1, 7)
        for name, drains in draining.items()
    ]
    book = Book()
    book.watched(Relisted(1, tuple(records)))
    return book


def test_a_shard_that_ends_waits_for_one_that_vanished_and_not_for_those_that_end_as_well() -> None:
    assert not Takers("a").any(told(a=True)), "it was alone all along"
    assert not Takers("a").any(told(a=True, b=True))
    takers = Takers("a")
    assert takers.any(told(a=True, b=False, c=False))
    assert takers.any(told(a=True, b=True, c=False))
    assert takers.any(told(a=True)), "c may come back"
    assert takers.any(told(a=True, c=False))
    assert not takers.any(told(a=True, c=True))
    assert not takers.any(told(a=True)), "both said that they drain, and are gone"
