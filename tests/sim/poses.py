"""Where everything was, tick by tick, and how old a pose is that comes back from the durable store.

Checked when a region is loaded: each entity is where it was at most ``POSE_S`` of the region's own time before its
former owner stopped (time in which nobody stepped it is nobody's), and one commit. A commit takes D there and back,
which is measured (``Databank.worst_commit_s``); the next one begins when the period and D are over, and is there after
D: so ``max(POSE_S, D) + D``. Not while the database is away. Not responsible for: who is there (``shards``).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shard.region import RegionCore
from tests.sim.databank import TIMEOUT_S, Databank
from tests.sim.hosts import TICK_S

POSE_S = 1.0
"""DESIGN: at most 1 s old after a crash."""
KEPT = 120
SAME_M = 1e-6
F64 = npt.NDArray[np.float64]
Moment = tuple[int, dict[int, F64]]


@dataclass
class Poses:
    """``worst_s``: the oldest pose of all that were looked at; ``checked``: how many were."""

    worst_s: float = 0.0
    checked: int = 0
    unsure: int = 0
    """Regions that were loaded when the database had been away."""
    _moments: dict[int, deque[Moment]] = field(default_factory=dict)
    """Of each region: tick and places, one for each turn in which it was stepped."""
    _last_s: dict[int, float] = field(default_factory=dict)
    _home: dict[int, int] = field(default_factory=dict)
    """The region in which an entity was stepped last."""

    def stepped(self, cores: Sequence[RegionCore], now_s: float) -> None:
        """A tick of the world is over; or a process loses these regions, and may have made a step since."""
        for core in cores:
            moments = self._moments.setdefault(core.state.config.region, deque(maxlen=KEPT))
            if not moments or moments[-1][0] < core.tick:
                self._note(core, moments)
                self._last_s[core.state.config.region] = now_s

    def _note(self, core: RegionCore, moments: deque[Moment]) -> None:
        region, places = core.state.config.region, _places(core)
        moments.append((core.tick, places))
        self._home.update(dict.fromkeys(places, region))

    def reshaped(self, former: Sequence[int], now: Sequence[int]) -> None:
        """Regions were split or merged: what was known of the former is known of those in their place."""
        known: dict[int, dict[int, F64]] = {}
        for region in former:
            for tick, places in self._moments.pop(region, ()):
                known.setdefault(tick, {}).update(places)
        last_s = max((self._last_s.get(region, 0.0) for region in former), default=0.0)
        for region in now:
            self._moments[region] = deque(sorted(known.items()), maxlen=KEPT)
            self._last_s[region] = last_s

    def loaded(self, core: RegionCore, bank: Databank) -> None:
        """A region has just begun from the durable store."""
        region = core.state.config.region
        moments = self._moments.setdefault(region, deque(maxlen=KEPT))
        last_s = self._last_s.get(region, 0.0)
        slow_s = bank.worst_commit_s(last_s - 2 * POSE_S)
        if bank.trouble_s > last_s - 2 * POSE_S - TIMEOUT_S:
            self.unsure += 1
        else:
            for id_, place in _places(core).items():
                if self._home.get(id_) == region:
                    self._check(id_, place, moments, max(POSE_S, slow_s) + slow_s)
        moments.clear()
        self._note(core, moments)  # whoever comes next may go on from here

    def _check(self, id_: int, place: F64, moments: deque[Moment], most_s: float) -> None:
        known = [places[id_] for _, places in moments if id_ in places]
        age = next((age for age, was in enumerate(reversed(known)) if np.abs(was - place).max() < SAME_M), len(known))
        age_s = age * TICK_S
        assert age_s <= most_s, f"{id_} is back where it was {age_s:.2f} s before, {most_s:.2f} s are allowed"
        self.worst_s = max(self.worst_s, age_s)
        self.checked += 1


def _places(core: RegionCore) -> dict[int, F64]:
    table = core.state.table
    rows = table.rows()
    return dict(zip(table.id[rows].tolist(), table.pos[rows].copy(), strict=True))
