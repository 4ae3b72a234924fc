"""A day of one autoscaler: people come and go, shards or gateways follow. Seeded, and as quick as arithmetic is.

Decides what a unit of work is: of shards cores (``bench.capacity.model`` with the costs of docs/capacity.md, and what
the world's own behaviours take), of gateways views, bytes and cores. Invariant: the settings are those of the manifest.
Not responsible for: what is good (``judge``), the autoscaler itself (``hpa``).
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bench.autoscale.day import DAY_S, Day
from bench.autoscale.hpa import SYNC_S, Autoscaler, Policy
from bench.autoscale.plant import SCRAPE_S, GatewayShares, Measured, Pods, ShardShares
from bench.autoscale.settings import Settings
from bench.capacity.model import Costs, Limits, World, estimate
from cluster.placer import BALANCE_EVERY_S

F64 = npt.NDArray[np.float64]
STEP_S = 5.0
NOISE = 0.05
"""Of one process's load in one sample, as part of it."""
INHABITANTS = 40_000
BEHAVIOURS_US = 15.0
"""What the world's own behaviours take of a shard for one person and tick: an author's Python."""
TELEVISIONS = 0.1
"""Beside each person with a view: they cost bytes, and no view."""
HEAD_S = 600.0
"""Before the day begins, so that it does not begin with the autoscaler's first look."""
_ALL = Policy(True, 100, SYNC_S)
assert STEP_S == BALANCE_EVERY_S


class Run(Protocol):
    """A day of one sort of replicas."""

    def __call__(
        self, settings: Settings, costs: Costs, limits: Limits, day: Day, seed: int, hours: float = 24.0
    ) -> "Course":
        """Its course, up to ``hours`` after midnight."""


@dataclass(frozen=True, slots=True)
class Course:
    """What came of it, per step. ``busiest``: load of the busiest process; ``wanted``, ``ready``: replicas."""

    at_s: F64
    people: F64
    busiest: F64
    wanted: npt.NDArray[np.int64]
    ready: npt.NDArray[np.int64]


def shard_cores(costs: Costs, limits: Limits, people: float, shards: int) -> float:
    """All shards together."""
    world = World(shards, max(1, round(people)), inhabitants=round(INHABITANTS / shards))
    behaviours = people * BEHAVIOURS_US * world.rate_hz * 1e-6
    return estimate(world, costs, limits).shard_cores + behaviours


def gateway_totals(costs: Costs, limits: Limits, people: float) -> tuple[float, float, float]:
    """(views, bytes per second, cores) of all gateways together."""
    world = World(4, max(1, round(people)), inhabitants=INHABITANTS // 4)
    made = estimate(world, costs, limits)
    return people, made.client_bytes_per_s * (1.0 + TELEVISIONS), made.gateway_cores


def shards(settings: Settings, costs: Costs, limits: Limits, day: Day, seed: int, hours: float = 24.0) -> Course:
    """A day of the shards. People in the stadium are on one shard at first."""
    run = _Run(settings, day, seed, hours)
    shares = ShardShares(np.full(run.pods.ready, 1.0 / run.pods.ready))
    query = Measured(settings.triggers[0].window_s)
    crowd = 0.0
    for k, now_s in enumerate(run.at_s.tolist()):
        base, match = float(run.base[k]), float(run.match[k])
        if (came := match - crowd) > 0.0:  # they come to one place, and leave from wherever they were spread to
            shares.parts = shares.parts * (1.0 - came / (base + match))
            shares.parts[0] += came / (base + match)
        crowd = match
        shares.more(run.pods.started(now_s))
        cores = shard_cores(costs, limits, base + match, run.pods.ready)
        shares.balance(cores)
        loads = shares.parts * cores
        if run.every(now_s, SCRAPE_S):
            # A process that has no core left cannot use more, and sheds.
            query.scrape(now_s, np.minimum(1.0, loads * (1.0 + NOISE * run.rng.standard_normal(len(loads)))))
        shares.less(run.look(now_s, [query.answer(now_s)]))
        run.note(k, float(loads.max()))
    return run.course()


def gateways(settings: Settings, costs: Costs, limits: Limits, day: Day, seed: int, hours: float = 24.0) -> Course:
    """A day of the gateways."""
    run = _Run(settings, day, seed, hours)
    shares = GatewayShares(np.full(run.pods.ready, 1.0 / run.pods.ready))
    queries = [Measured(trigger.window_s) for trigger in settings.triggers]
    before = 0.0
    for k, now_s in enumerate(run.at_s.tolist()):
        people = float(run.base[k] + run.match[k])
        shares.more(run.pods.started(now_s))
        # Some go and others come, even if there are as many as before.
        came = max(0.0, people - before) / max(people, 1.0) + STEP_S / World(1, 1).stay_s
        shares.join(min(1.0, came))
        shares.balance(STEP_S)
        before = people
        totals = gateway_totals(costs, limits, people)
        loads = shares.parts * totals[2]
        if run.every(now_s, SCRAPE_S):
            noise = 1.0 + NOISE * run.rng.standard_normal(len(loads))
            for query, trigger, total in zip(queries, settings.triggers, totals, strict=True):
                values = shares.parts * total * (1.0 if trigger.name == "views" else noise)
                query.scrape(now_s, np.minimum(1.0, values) if trigger.name == "load" else values)
        shares.less(run.look(now_s, [query.answer(now_s) for query in queries]))
        run.note(k, float(loads.max()))
    return run.course()


class _Run:
    """What both have in common."""

    def __init__(self, settings: Settings, day: Day, seed: int, hours: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.at_s = np.arange(-HEAD_S, min(hours * 3600.0, DAY_S), STEP_S)
        self.base, self.match = day.people(self.at_s, self.rng)
        self.pods = Pods(settings.rules.least)
        self._scaler = Autoscaler(settings.rules)
        self._busiest = np.zeros(len(self.at_s))
        self._wanted, self._ready = np.zeros((2, len(self.at_s)), np.int64)

    @staticmethod
    def every(now_s: float, period_s: float) -> bool:
        """Whether a period begins in this step."""
        return now_s % period_s < STEP_S

    def look(self, now_s: float, values: list[float | None]) -> int:
        """The autoscaler looks, if it is time; returns how many ready replicas end."""
        if not self.every(now_s, SYNC_S):
            return 0
        return self.pods.scale(self._scaler.decide(now_s, self.pods.wanted, values), now_s, self.rng)

    def note(self, k: int, busiest: float) -> None:
        """The end of step ``k``."""
        self._busiest[k], self._wanted[k], self._ready[k] = busiest, self.pods.wanted, self.pods.ready

    def course(self) -> Course:
        """Without the head."""
        day = self.at_s >= 0.0
        people = (self.base + self.match)[day]
        return Course(self.at_s[day], people, self._busiest[day], self._wanted[day], self._ready[day])


def restless(settings: Settings) -> Settings:
    """The same targets with every brake off, as a careless manifest would have it: no windows, no policies but "all at
    once", no tolerance, and no mean over a minute."""
    up = replace(settings.rules.up, window_s=0.0, policies=(_ALL,))
    down = replace(settings.rules.down, window_s=0.0, policies=(_ALL,))
    triggers = tuple(replace(trigger, window_s=SCRAPE_S) for trigger in settings.triggers)
    return replace(settings, rules=replace(settings.rules, up=up, down=down, tolerance=0.0), triggers=triggers)
