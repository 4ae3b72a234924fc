"""The automatic director: which place of the world is the liveliest, and when a picture changes.

Decides what is lively and how long a shot lasts. A place is a square of SPAN_M. Its liveliness is the sum of

* company: P² / (P + 3) for the weight P of who is there: one alone counts little, a crowd counts once for each;
* motion: each one's weight times its speed, up to FAST_M_S, as a part of that;
* happenings (chat, acts, events): each one's weight, halved in each HALF_LIFE_S.

A shot stays for ``shot_least_s`` whatever happens elsewhere. After it another place is cut to when it is RATIO times
as lively and MARGIN more, so that two equal places do not alternate; after ``shot_most_s`` any place that is not
much less lively will do. Meanwhile the picture follows its own people when they drift. Invariants: the same calls give
the same answers; of equal places the one with the least coordinates wins; what is kept is bounded by HAPPENINGS_MAX.
Not responsible for: where the camera stands (``cameras``), who is an entity (``sight``).
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SPAN_M = 48.0
CELL_M = SPAN_M / 3
"""A place is three by three cells around one where somebody is."""
FAST_M_S = 3.0
HALF_LIFE_S = 8.0
FORGET_S = 10 * HALF_LIFE_S
HAPPENINGS_MAX = 512
PERSON_WEIGHT = 1.0
RATIO = 1.3
MARGIN = 0.5
LONG_RATIO = 0.4
"""After the longest shot a place this much as lively is good for a change."""
DRIFT_M = 4.0
DRIFT_S = 2.0
_FAR = 1 << 20
"""Cells along an axis, more than a world has."""

F64 = npt.NDArray[np.float64]


@dataclass(slots=True)
class Crowd:
    """Who could be shown: places in metres, ``speed`` in m/s, and ``weight`` (PERSON_WEIGHT, or less for things);
    float64[n] each."""

    x: F64
    y: F64
    z: F64
    speed: F64
    weight: F64


class Scene(NamedTuple):
    """What to show: the middle of a place (metres), how lively it is and how many people are there. ``shot`` counts the
    cuts."""

    shot: int
    x: float
    y: float
    z: float
    liveliness: float
    people: int


class _Happening(NamedTuple):
    tick: int
    x: float
    z: float
    weight: float


class _Place(NamedTuple):
    x: float
    y: float
    z: float
    liveliness: float
    people: int


class Director:
    """One channel's. Told ticks; ``rate_hz`` of them are a second."""

    def __init__(self, rate_hz: int, shot_least_s: float, shot_most_s: float) -> None:
        self._rate_hz = rate_hz
        self._least = round(shot_least_s * rate_hz)
        self._most = round(shot_most_s * rate_hz)
        self._happenings: deque[_Happening] = deque(maxlen=HAPPENINGS_MAX)
        self._scene: Scene | None = None
        self._cut_tick = 0
        self._aimed_tick = 0

    def happened(self, tick: int, x_m: float, z_m: float, weight: float) -> None:
        """Somebody said or did something there."""
        self._happenings.append(_Happening(tick, x_m, z_m, weight))

    def look(self, tick: int, crowd: Crowd) -> Scene | None:
        """What to show from now on; None if there is nobody at all, and there never was."""
        while self._happenings and tick - self._happenings[0].tick > FORGET_S * self._rate_hz:
            self._happenings.popleft()
        points = self._points(tick, crowd)
        scene = self._scene
        if scene is None:
            best = _liveliest(points, None)
            return None if best is None else self._cut(tick, best)
        here = _place(points, scene.x, scene.z)
        age = tick - self._cut_tick
        if age >= self._least:
            best = _liveliest(points, (scene.x, scene.z))
            if best is not None and self._is_worth_a_cut(best, here, age):
                return self._cut(tick, best)
        return self._follow(tick, scene, here)

    def _is_worth_a_cut(self, best: _Place, here: _Place, age: int) -> bool:
        if best.liveliness > RATIO * here.liveliness + MARGIN:
            return True
        return age >= self._most and best.liveliness >= max(LONG_RATIO * here.liveliness, MARGIN)

    def _cut(self, tick: int, to: _Place) -> Scene:
        shot = 1 if self._scene is None else self._scene.shot + 1
        self._cut_tick = self._aimed_tick = tick
        self._scene = Scene(shot, to.x, to.y, to.z, to.liveliness, to.people)
        return self._scene

    def _follow(self, tick: int, scene: Scene, here: _Place) -> Scene:
        """The same shot; aimed anew if its people have drifted, and not all the time."""
        x, y, z = scene.x, scene.y, scene.z
        drifted = (here.x - x) ** 2 + (here.z - z) ** 2 > DRIFT_M**2
        if here.liveliness > 0 and drifted and tick - self._aimed_tick >= DRIFT_S * self._rate_hz:
            x, y, z = here.x, here.y, here.z
            self._aimed_tick = tick
        self._scene = Scene(scene.shot, x, y, z, here.liveliness, here.people)
        return self._scene

    def _points(self, tick: int, crowd: Crowd) -> F64:
        """float64[6, n] x, y, z, weight, motion, happenings of everything that counts."""
        motion = crowd.weight * np.minimum(crowd.speed, FAST_M_S) / FAST_M_S
        there = np.stack([crowd.x, crowd.y, crowd.z, crowd.weight, motion, np.zeros(len(crowd.x))])
        if not self._happenings:
            return there
        at, x, z, weight = np.array(self._happenings, np.float64).T
        fresh = weight * 0.5 ** ((tick - at) / self._rate_hz / HALF_LIFE_S)
        none = np.zeros(len(at))
        return np.concatenate([there, np.stack([x, none, z, none, none, fresh])], axis=1)


def _liveliest(points: F64, besides: tuple[float, float] | None) -> _Place | None:
    """The liveliest place; ``besides``: none that would show the same as this one does."""
    if not points.shape[1]:
        return None
    cell = np.floor(points[[0, 2]] / CELL_M).astype(np.int64)
    keys, of = np.unique(cell[0] * _FAR + cell[1], return_inverse=True)
    own = np.stack([np.bincount(of, column, len(keys)) for column in points[3:]])
    sums = np.zeros_like(own)
    for step in [dx * _FAR + dz for dx in (-1, 0, 1) for dz in (-1, 0, 1)]:
        at = np.minimum(np.searchsorted(keys, keys + step), len(keys) - 1)
        sums += np.where(keys[at] == keys + step, own[:, at], 0.0)
    score = _score(*sums)
    if besides is not None:
        # _FAR is even and cells may be negative: the middle of a cell, from one of its points.
        first = np.zeros(len(keys), np.int64)
        first[of[::-1]] = np.arange(len(of))[::-1]
        middle = (cell[:, first] + 0.5) * CELL_M
        same = np.maximum(np.abs(middle[0] - besides[0]), np.abs(middle[1] - besides[1])) < SPAN_M / 2
        score = np.where(same, -1.0, score)
    best = int(np.argmax(score))
    if score[best] <= 0:
        return None
    x, z = (cell[:, np.flatnonzero(of == best)[0]] + 0.5) * CELL_M
    return _place(points, float(x), float(z))


def _place(points: F64, x: float, z: float) -> _Place:
    """What is in the square around (x, z), and the middle of it: of people and happenings by their weights."""
    inside = points[:, (np.abs(points[0] - x) <= SPAN_M / 2) & (np.abs(points[2] - z) <= SPAN_M / 2)]
    company, motion, happenings = inside[3:].sum(axis=1)
    weight = inside[3] + inside[5]
    total = float(weight.sum())
    if total <= 0:
        return _Place(x, 0.0, z, 0.0, 0)
    middle = (inside[:3] * weight).sum(axis=1) / total
    y = float((inside[1] * inside[3]).sum() / company) if company > 0 else 0.0
    score = float(_score(company, motion, happenings))
    people = int(np.count_nonzero(inside[3] >= PERSON_WEIGHT))
    return _Place(float(middle[0]), y, float(middle[2]), score, people)


def _score(company: F64, motion: F64, happenings: F64) -> F64:
    score: F64 = company * company / (company + 3.0) + motion + happenings
    return score
