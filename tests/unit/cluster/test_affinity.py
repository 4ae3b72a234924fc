"""Which gateway serves whom: few regions at each, nobody sent to and fro, no gateway overrun."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.affinity import LOAD_PART, LOAD_REGIONS, LOAD_REST, MORE, Crowd, gateway_for, to_send
from cluster.partition import Partition, Sights
from cluster.regions import Layout

REGIONS = Partition.of(Layout(1024.0, 3))
RADIUS_M = 60.0
SENDS_MAX = 10_000


def seen(*surroundings: Sequence[int]) -> Sights:
    """What sessions see, spelt out."""
    first = np.cumsum([0, *map(len, surroundings)])
    return Sights(np.array([region for regions in surroundings for region in regions], np.int64), first)


def sent(here: Sights, others: dict[str, Crowd], me: str = "m", most: int = 100) -> dict[int, str]:
    return {s.index: s.to for s in to_send(me, here, np.ones(len(here), np.bool_), others, most)}


# ------------------------------------------------------------------------------------------------------- single cases
def test_who_is_alone_goes_to_where_the_others_are() -> None:
    here = seen([1, 2], [1, 2], [1, 2], [8, 9])
    assert sent(here, {"a": Crowd(4, {8: 4.0, 9: 4.0})}) == {3: "a"}


def test_who_is_alone_everywhere_stays() -> None:
    here = seen([1, 2], [3], [4, 5])
    assert sent(here, {"a": Crowd(3, {8: 3.0, 9: 2.0})}) == {}


def test_nobody_goes_from_many_to_few_nor_for_a_small_difference() -> None:
    here = seen(*[[1, 2]] * 5, *[[9]] * 15)
    assert sent(here, {"a": Crowd(20, {1: 4.0, 2: 4.0})}) == {}
    assert sent(here, {"z": Crowd(20, {1: 6.0, 2: 6.0})}) == {}
    assert len(sent(here, {"z": Crowd(20, {1: 7.0, 2: 7.0})})) == 5
    assert MORE == 1.25


def test_of_two_with_equally_many_the_one_with_fewer_sessions_or_the_lesser_name_gets_all() -> None:
    here, there = seen([1, 2], [1, 2], *[[9]] * 10), {1: 2.0, 2: 2.0}
    assert sent(here, {"a": Crowd(12, there)}, "b") == {0: "a", 1: "a"}
    assert sent(here, {"b": Crowd(12, there)}, "a") == {}
    assert sent(here, {"b": Crowd(9, there)}, "a") == {0: "b", 1: "b"}
    assert sent(here, {"a": Crowd(16, there)}, "b") == {}


def test_a_gateway_without_people_gets_a_part_of_the_world() -> None:
    x, z = np.random.default_rng(3).uniform(-512.0, 512.0, (2, 60))
    people = People(x, z, np.zeros(60, np.int64), [True, True])
    for _ in range(60):
        for gateway in (0, 1):
            people.look(gateway, 2)
    assert min(np.bincount(people.at)) >= 12
    assert people.mirrored() < 1.2 * 64, "few regions twice"


def test_those_who_go_at_once_are_neighbours() -> None:
    here = seen([1, 2], [8, 9], [2, 3], [9], *[[5]] * 5)
    others = {"z": Crowd(9, {1: 2.0, 2: 3.0, 3: 2.0, 8: 3.0, 9: 4.0})}
    assert sent(here, others, most=2) in ({0: "z", 2: "z"}, {1: "z", 3: "z"})


def test_a_crowd_that_cannot_follow_stays_together() -> None:
    """Ninety and a hundred and ten in one place: twenty moves would spare nobody a region."""
    assert sent(seen(*[[1, 2]] * 90), {"a": Crowd(110, {1: 110.0, 2: 110.0})}) == {}


def test_those_who_cost_most_go_first_and_few_at_a_time() -> None:
    here = seen(*[[1, 2]] * 8, [8, 9], [8])
    assert sent(here, {"a": Crowd(9, {1: 1.0, 8: 9.0, 9: 9.0})}, most=1) == {8: "a"}


def test_who_may_not_move_counts_but_stays() -> None:
    here, others = seen([8], [8], [1], [1]), {"a": Crowd(4, {8: 4.0})}
    assert [one.index for one in to_send("m", here, np.array([False, True, True, True]), others, 9)] == [1]
    assert to_send("m", here, np.zeros(4, np.bool_), others, 9) == []
    assert to_send("m", seen(), np.zeros(0, np.bool_), others, 9) == []


def test_those_who_must_go_follow_their_surroundings_until_it_is_full() -> None:
    gateways = {"g1": Crowd(10, {16: 10.0}), "g2": Crowd(8, {31: 8.0})}
    assert gateway_for([16, 17], gateways) == "g1"
    assert gateway_for([30, 31], gateways) == "g2"
    assert gateway_for([5], gateways) == "g2"
    assert gateway_for([16], gateways, full=10) == "g1"
    assert gateway_for([16], gateways, full=9) == "g2"
    assert gateway_for([16], {**gateways, "g1": Crowd(100, {16: 100.0})}) == "g2"
    assert gateway_for([16], {**gateways, "g1": Crowd(10, {16: 10.0}, takes=False)}) == "g2"
    assert gateway_for([16], {}) is None


# ------------------------------------------------------------------------------------------------------------ worlds
@dataclass
class People:
    """Places of people, and the gateway of each."""

    x: npt.NDArray[np.float64]
    z: npt.NDArray[np.float64]
    at: npt.NDArray[np.int64]
    takes: list[bool]
    sends: int = 0
    worst: list[float] = field(default_factory=list)

    def sights(self, gateway: int) -> Sights:
        here = self.at == gateway
        return REGIONS.seen(self.x[here], self.z[here], RADIUS_M)

    def crowds(self) -> dict[str, Crowd]:
        """As records would tell."""
        found = {}
        for gateway, takes in enumerate(self.takes):
            counts = {region: float(count) for region, count in self.sights(gateway).counts().items()}
            found[f"g{gateway}"] = Crowd(int((self.at == gateway).sum()), counts, takes)
        return found

    def potential(self) -> float:
        """What all gateways lower together."""
        crowds = [crowd for crowd in self.crowds().values() if crowd.takes]
        counts = [count for crowd in crowds for count in crowd.regions.values()]
        mean = sum(crowd.sessions for crowd in crowds) / max(1, len(crowds))
        loads = [np.arange(1, crowd.sessions + 1) / mean - LOAD_PART for crowd in crowds if mean]
        return sum(float(np.sum(1.0 / np.arange(1, count + 1))) for count in counts) + LOAD_REGIONS * sum(
            float(np.maximum(load, 0.0).sum()) for load in loads
        )

    def mirrored(self) -> int:
        """Regions, at all gateways together."""
        return sum(len(crowd.regions) for crowd in self.crowds().values())

    def chosen(self, gateway: int, told: dict[str, Crowd], most: int) -> list[tuple[int, int]]:
        """Who goes where, as one gateway decides by what it was told of the others."""
        if not self.takes[gateway]:
            return []  # it drains, and sends everybody
        others = {name: crowd for name, crowd in told.items() if name != f"g{gateway}"}
        who = np.flatnonzero(self.at == gateway)
        found = to_send(f"g{gateway}", self.sights(gateway), np.ones(len(who), np.bool_), others, most)
        assert len(found) <= most
        assert all(others[one.to].takes for one in found), "sent to one that takes nobody"
        return [(int(who[one.index]), int(one.to[1:])) for one in found]

    def go(self, chosen: list[tuple[int, int]]) -> int:
        """They go; returns how many."""
        for person, to in chosen:
            self.at[person] = to
        self.sends += len(chosen)
        return len(chosen)

    def look(self, gateway: int, most: int) -> int:
        """One gateway sends some, by what is; returns how many."""
        chosen = self.chosen(gateway, self.crowds(), most)
        self.go(chosen)
        self.check_loads(gateway, {to for _, to in chosen})
        return len(chosen)

    def look_at_once(self, most: int) -> int:
        """All send some, by the same old records; returns how many."""
        told = self.crowds()
        return self.go([one for gateway in range(len(self.takes)) for one in self.chosen(gateway, told, most)])

    def check_loads(self, sender: int, targets: set[int]) -> None:
        """Nobody was sent to a gateway that has many more than another one."""
        sizes = np.bincount(self.at, minlength=len(self.takes))
        least = min(int(sizes[k]) for k, takes in enumerate(self.takes) if takes or k == sender)
        assert all(sizes[target] <= LOAD_PART * least + LOAD_REST for target in targets)


@st.composite
def worlds(draw: st.DrawFn) -> People:
    gateways, count = draw(st.integers(1, 5)), draw(st.integers(0, 80))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    spread = draw(st.sampled_from([20.0, 200.0, 512.0]))
    takes = draw(st.lists(st.booleans(), min_size=gateways, max_size=gateways))
    x, z = rng.uniform(-spread, spread, (2, count))
    return People(x, z, rng.integers(0, gateways, count), takes)


@settings(deadline=None)
@given(worlds(), st.integers(1, 8))
def test_sending_comes_to_an_end_and_lowers_what_all_pay_together(people: People, most: int) -> None:
    """Of those that stand still nobody is sent for ever, whatever the order; no bound is broken on the way."""
    quiet = 0
    while quiet < len(people.takes):
        for gateway in range(len(people.takes)):
            before = people.potential()
            moved = people.look(gateway, most)
            quiet = 0 if moved else quiet + 1
            assert not moved or people.potential() < before
            assert people.sends < SENDS_MAX


@settings(deadline=None)
@given(worlds())
def test_gateways_that_decide_at_once_come_to_an_end_too(people: People) -> None:
    """All by the same old records, as they do: nobody swaps people for ever."""
    for _ in range(400):
        if not people.look_at_once(2):
            break
    else:
        raise AssertionError(f"still sending after {people.sends} moves")


def test_each_of_four_gateways_mirrors_its_part_of_a_world_where_people_were_everywhere() -> None:
    rng = np.random.default_rng(5)
    x, z = rng.uniform(-512.0, 512.0, (2, 400))
    people = People(x, z, np.arange(400) % 4, [True] * 4)
    assert people.mirrored() > 0.95 * 4 * 64
    for _ in range(300):
        people.look_at_once(4)
    # A quarter of 64 regions each, and the border that its people see across.
    assert people.mirrored() < 1.9 * 64
    sizes = np.bincount(people.at)
    assert sizes.max() <= LOAD_PART * sizes.min() + LOAD_REST


def test_four_gateways_go_on_so_when_people_walk() -> None:
    rng = np.random.default_rng(6)
    heading = rng.uniform(0.0, 2 * np.pi, 200)
    x, z = rng.uniform(-512.0, 512.0, (2, 200))
    people = People(x, z, np.zeros(200, np.int64), [True] * 4)
    for second in range(600):
        heading += rng.normal(0.0, 0.1, 200)
        people.x, people.z = (
            np.clip(place + 1.4 * turn, -512.0, 512.0)
            for place, turn in ((people.x, np.cos(heading)), (people.z, np.sin(heading)))
        )
        people.look_at_once(2)
        if second == 300:
            people.sends = 0
    assert people.mirrored() < 2.2 * 64
    assert people.sends < 300, "each person is sent at most once or twice in five minutes"
