"""Which refusals call a life over: those of the very process that the record names, at the address that it names."""

import pytest

from cluster.book import Book, Member
from cluster.deaths import AGAIN_S, Deaths
from cluster.records import SHARD, MemberRecord


def book() -> Book:
    made = Book()
    made.members = {"s1": Member("s1", 77, MemberRecord(SHARD, "10.0.0.1:7", generation=5), 1)}
    return made


def test_the_life_whose_process_refuses_is_over() -> None:
    assert Deaths().refused("s1", 5, "10.0.0.1:7", book(), 1.0) == 77


@pytest.mark.parametrize(
    ("peer", "generation", "address"),
    [("s2", 5, "10.0.0.1:7"), ("s1", 4, "10.0.0.1:7"), ("s1", 6, "10.0.0.1:7"), ("s1", 5, "10.0.0.2:7")],
    ids=["no member", "an earlier process", "a later process", "another address"],
)
def test_other_refusals_say_nothing(peer: str, generation: int, address: str) -> None:
    deaths = Deaths()
    assert deaths.refused(peer, generation, address, book(), 1.0) is None
    assert deaths.found == 0


def test_it_is_said_again_after_a_while_as_long_as_the_record_stands() -> None:
    deaths, known = Deaths(), book()
    times = [deaths.refused("s1", 5, "10.0.0.1:7", known, 1.0 + k * AGAIN_S / 2) for k in range(4)]
    assert times == [77, None, 77, None]
    assert deaths.found == 1
    known.members.clear()
    assert deaths.refused("s1", 5, "10.0.0.1:7", known, 9.0) is None


def test_a_process_that_has_taken_another_lease_before_it_died_is_found_again() -> None:
    deaths, known = Deaths(), book()
    assert deaths.refused("s1", 5, "10.0.0.1:7", known, 1.0) == 77
    known.members["s1"] = Member("s1", 78, known.members["s1"].record, 2)
    assert deaths.refused("s1", 5, "10.0.0.1:7", known, 1.1) == 78
    assert deaths.found == 2
