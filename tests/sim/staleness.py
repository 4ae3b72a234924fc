"""How old is what clients show, under loss: for how long without a pause an entity was shown where it is not, was
missing, or was shown though it is gone.

Each client is held against the truth at the tick that it shows, so a delay of the way does not count, and what is due
and does not come does. Not responsible for: whether that is too long (``matrix``), clients that look on no more.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tests.sim.checkers import EDGE_M, FAR_ERROR_M, NEAR_ERROR_M, NEAR_SURE_M, Seen
from tests.sim.hosts import TICK_S
from tests.sim.people import Person

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Staleness:
    """``look`` after each tick; worst ages in seconds: of a value that is off, of a structure (one who should have
    entered or left), and of the newest frame."""

    world: Seen
    value_s: float = 0.0
    structure_s: float = 0.0
    frame_s: float = 0.0
    looked: int = 0
    """How many entities, over all clients and ticks."""
    _since: dict[tuple[int, str, int], int] = field(default_factory=dict)

    def look(self, now_ms: float) -> None:
        """A tick is over."""
        for person in self.world.folk.all:
            core = person.core
            if core.on_datagrams and person.is_settled(now_ms) and self.world.truth.knows(core.records.tick):
                self._look_at(person)
            else:
                self._since = {key: since for key, since in self._since.items() if key[0] != person.number}

    def forget(self) -> None:
        """Nobody could be told anything: begin anew."""
        self._since.clear()

    def _look_at(self, person: Person) -> None:
        core, tick = person.core, self.world.tick
        assert core.welcome is not None
        shown_tick = core.records.tick
        truth = self.world.truth.at(shown_tick)
        me = truth.get(core.welcome.body or 0)
        if me is None:
            return
        self.frame_s = max(self.frame_s, (tick - shown_tick) * TICK_S)
        ids = np.array([entity for entity in truth if entity != core.welcome.body], np.int64)
        places = np.array([truth[entity] for entity in ids.tolist()])
        away_m = np.hypot(places[:, 0] - me[0], places[:, 2] - me[2])
        seen, shown = core.records.shown(shown_tick)
        seen = seen.astype(np.int64)
        self.looked += len(seen)
        missing = ids[(away_m < core.welcome.radius_m - EDGE_M) & ~np.isin(ids, seen)]
        near = ids[away_m < core.welcome.radius_m * 1.1 + EDGE_M]
        known = np.isin(seen, near)
        at = places[[int(np.flatnonzero(ids == entity)[0]) for entity in seen[known].tolist()]].reshape(-1, 3)
        error_m, distance_m = np.linalg.norm(shown[known] - at, axis=1), np.linalg.norm(at - me, axis=1)
        off = seen[known][error_m > np.where(distance_m < NEAR_SURE_M, NEAR_ERROR_M, FAR_ERROR_M)]
        self.value_s = max(self.value_s, self._age_s(person.number, "value", off, tick))
        wrong = np.concatenate([missing, seen[~known]])
        self.structure_s = max(self.structure_s, self._age_s(person.number, "structure", wrong, tick))

    def _age_s(self, number: int, what: str, wrong: I64, tick: int) -> float:
        """Of the oldest of those that are wrong now."""
        now = {(number, what, entity): tick for entity in wrong.tolist()}
        before = {key: since for key, since in self._since.items() if key[:2] == (number, what)}
        for key in before.keys() - now.keys():
            del self._since[key]
        for key in now:
            self._since.setdefault(key, tick)
        return TICK_S * (tick - min((self._since[key] for key in now), default=tick))
