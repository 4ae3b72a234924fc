"""What Kubernetes' horizontal pod autoscaler decides: its published algorithm, as a pure core.

Source: kubernetes.io, "Horizontal Pod Autoscaling" (algorithm details; configurable scaling behaviour), for external
metrics of the type AverageValue, which is what KEDA makes of a trigger. In short:

1. For each metric: where value / (target · replicas) is within ``tolerance`` of 1, as many as there are, else
   ceil(value / target). The largest counts. Where some metric is missing nothing is taken away; where all are, nothing
   is done.
2. *Stabilization*: no fewer than the most that was wanted within the window of scaling down, no more than the least
   that was wanted within that of scaling up.
3. *Policies*: what may change within each policy's period, from what there was at its beginning; of several policies
   the one that allows most (Max) or least (Min). At last the bounds.

Invariants: told times only; a decision depends on what was told before and on nothing else. Not responsible for: where
metrics come from and how late they are (``measured``), pods that start slowly (``plant``).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

SYNC_S = 15.0
"""How often the controller looks (--horizontal-pod-autoscaler-sync-period)."""
TOLERANCE = 0.1
"""--horizontal-pod-autoscaler-tolerance."""


@dataclass(frozen=True, slots=True)
class Policy:
    """``value`` pods, or per cent of what there was (``percent``), within ``period_s``."""

    percent: bool
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Direction:
    """Rules of one direction. ``select``: Max, Min or Disabled."""

    window_s: float
    policies: tuple[Policy, ...]
    select: str = "Max"


UP = Direction(0.0, (Policy(True, 100, 15.0), Policy(False, 4, 15.0)))
DOWN = Direction(300.0, (Policy(True, 100, 15.0),))
"""Kubernetes' defaults."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All that the autoscaler is told. ``targets``: of each metric, what one replica should have."""

    least: int
    most: int
    targets: tuple[float, ...]
    up: Direction = UP
    down: Direction = DOWN
    tolerance: float = TOLERANCE


class Autoscaler:
    """Of one target."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._wanted: deque[tuple[float, int]] = deque()
        self._added: deque[tuple[float, int]] = deque()
        self._taken: deque[tuple[float, int]] = deque()

    def decide(self, now_s: float, replicas: int, values: Sequence[float | None]) -> int:
        """How many there shall be, where there are ``replicas`` and the metrics have ``values`` (None: no answer)."""
        rules = self.rules
        if not self._wanted:
            self._wanted.append((now_s, replicas))
        wanted = self._proposed(replicas, values)
        if wanted is None:
            return replicas
        stable = self._stabilized(now_s, replicas, wanted)
        if stable > replicas:
            limit = max(replicas, self._limit(now_s, replicas, rules.up, 1))
            decided = min(stable, limit, rules.most)
            self._added.append((now_s, decided - replicas))
        elif stable < replicas:
            limit = min(replicas, self._limit(now_s, replicas, rules.down, -1))
            decided = max(stable, limit, rules.least)
            self._taken.append((now_s, replicas - decided))
        else:
            decided = replicas
        return min(max(decided, rules.least), rules.most)

    def _proposed(self, replicas: int, values: Sequence[float | None]) -> int | None:
        proposals = []
        for value, target in zip(values, self.rules.targets, strict=True):
            if value is not None:
                ratio = value / (target * replicas)
                near = abs(1.0 - ratio) <= self.rules.tolerance
                proposals.append(replicas if near else ceil(value / target))
        if not proposals or (len(proposals) < len(values) and max(proposals) < replicas):
            return None
        return max(proposals)

    def _stabilized(self, now_s: float, replicas: int, wanted: int) -> int:
        up, down = self.rules.up.window_s, self.rules.down.window_s
        while self._wanted and self._wanted[0][0] <= now_s - max(up, down):
            self._wanted.popleft()
        least = min([wanted, *(n for at_s, n in self._wanted if at_s > now_s - up)])
        most = max([wanted, *(n for at_s, n in self._wanted if at_s > now_s - down)])
        self._wanted.append((now_s, wanted))
        return min(max(replicas, least), most)

    def _limit(self, now_s: float, replicas: int, direction: Direction, sign: int) -> int:
        if direction.select == "Disabled":
            return replicas
        limits = []
        for policy in direction.policies:
            added = sum(n for at_s, n in self._added if at_s > now_s - policy.period_s)
            taken = sum(n for at_s, n in self._taken if at_s > now_s - policy.period_s)
            began = replicas - added + taken
            if not policy.percent:
                limits.append(began + sign * policy.value)
            elif sign > 0:
                limits.append(ceil(began * (1 + policy.value / 100)))
            else:
                limits.append(int(began * (1 - policy.value / 100)))
        largest_change = max if sign > 0 else min
        smallest_change = min if sign > 0 else max
        return (largest_change if direction.select == "Max" else smallest_change)(limits)
