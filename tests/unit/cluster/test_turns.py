"""Who may end next, by names alone."""

import pytest

from cluster.affinity import Crowd, gateway_for
from cluster.turns import soon, turn


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
