"""A wide world with few people in it, who gather in camps far from each other: what gateways should sort by affinity.

``Whole`` with larger regions and shorter sight, so that a view touches some regions and not all. Not responsible for:
what is right (``test_affinity``).
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from server import process
from server.core.views import ViewRules
from server.sending import Rules
from tests.sim import shards, whole, world
from tests.sim.gaps import Gaps
from tests.sim.hosts import RATE_HZ
from tests.sim.people import Person
from tests.sim.whole import Whole

HALF_M = 128.0
LEVEL = 1
SIGHT = ViewRules(radius_m=16.0, near_radius_m=15.0, cap=200)
RESTLESS = Rules(rest_s=10.0)
WEST, EAST = (-72.0, 72.0), (72.0, 72.0)
CAMP_M = 12.0
COME_S = 30
REFUSED = "closed 4100"
RUN = 1
"""The button (WALKING.md §3)."""


@dataclass(eq=False)
class Camps:
    """``home`` of each person, by number; ``gaps`` are measured from the start."""

    world: Whole
    home: dict[int, tuple[float, float]]
    gaps: Gaps = field(init=False)
    _refused: int = 0

    def __post_init__(self) -> None:
        self.gaps = Gaps(self.world.folk)

    def come(self) -> None:
        """Everybody comes in."""
        for _ in range(COME_S):
            self.live(RATE_HZ)
            if len(self.bodies()) == len(self.home):
                break
        else:
            raise AssertionError(f"only {len(self.bodies())} are in after {COME_S} s")
        self._refused = self.world.counts[REFUSED]

    def live(self, ticks: int) -> None:
        """Time passes, and nobody stands still: a client that acts is told something each tick or two."""
        for _ in range(ticks):
            self.world.run(1)
            for person in self.world.folk.all:
                self._steer(person)

    def _steer(self, person: Person) -> None:
        core, rng = person.core, person.rng
        stands = core.velocity == (0.0, 0.0, 0.0)
        if not core.connected or core.position is None or not (stands or self.world.tick % 20 == person.number % 20):
            return
        x, _, z = core.position
        way_x, way_z = self.home[person.number][0] - x, self.home[person.number][1] - z
        away = np.hypot(way_x, way_z) > CAMP_M
        heading = np.arctan2(-way_x, -way_z) + rng.normal(0.0, 1.2 if stands else 0.2)
        core.steer_towards(float(heading if away else rng.uniform(0.0, 7.0)), 1.0, RUN if away else 0)

    def bodies(self) -> dict[int, int | None]:
        """Of those who are in."""
        return {p.number: p.core.welcome.body for p in self.world.folk.all if p.core.welcome is not None}

    def gateway_of(self, number: int) -> int:
        """Where a person's client is; a client that switches has two connections, and the later counts."""
        latest = max(self.world.folk.all[number].links.values(), key=lambda connection: connection.link)
        return next(k for k, door in self.world.doors.items() if door is latest.gateway)

    def gateways_at(self, home: tuple[float, float]) -> set[int]:
        """Who serves a camp."""
        return {self.gateway_of(number) for number, place in self.home.items() if place == home}

    def mirrored(self) -> list[int]:
        """How many regions each gateway mirrors."""
        return [len(door.core.mirror.regions) for _, door in sorted(self.world.doors.items())]

    def sent(self, why: str) -> int:
        """Sessions told to move by the gateways that live."""
        return sum(door.core.sessions.switching.moved[why] for door in self.world.doors.values())

    def closes(self) -> dict[str, int]:
        """Connections that gateways closed, by code; gateways that were not ready yet have refused some."""
        found = {what: count for what, count in self.world.counts.items() if what.startswith("closed ")}
        found[REFUSED] = found.get(REFUSED, 0) - self._refused
        return {what: count for what, count in found.items() if count}


def begin(patch: pytest.MonkeyPatch, seed: int, gateways: int, people: int, rules: Rules = RESTLESS) -> Camps:
    """Half of the people are at home in the west, the others in the east; of three of a camp, two come by its gateway
    and the third by the next one."""
    patch.setattr(process, "Rules", lambda: rules)
    inner_m = HALF_M - 4.0
    patch.setattr(shards, "HALF_M", HALF_M)
    patch.setattr(world, "HALF_M", inner_m)
    patch.setattr(world, "BOUNDS", (-inner_m, -inner_m, inner_m, inner_m))
    patch.setattr(whole, "RULES", SIGHT)
    made = Whole(seed, gateways=gateways, people=0, level=LEVEL, grows=False)
    home = {number: WEST if number < people // 2 else EAST for number in range(people)}
    for number, place in home.items():
        made.folk.begin(number, ((place == EAST) + (number % 3 == 0)) % gateways)
    return Camps(made, home)
