"""What is scaled, as far as the autoscaler sees it: pods that start late, work that is not even, metrics that lag.

Theory. Work is in units of what a replica has of it (cores, views, bytes); each unit lies on some replica, and moves as
it does in a cluster: a shard gives away a region at a time, a gateway at most a part of its sessions in a second; what
ends gives all it has to the others at once (a drain takes seconds). What Prometheus answers is a mean over a window of
samples, and counts a replica that has ended until its samples are out of that window.

Invariants: no work is lost; told times only. Not responsible for: how many replicas there shall be (``hpa``), how much
work there is (``day``).
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cluster.affinity import LOAD_PART
from cluster.plan import BUSY, HYSTERESIS, SPLIT_FROM
from server.sending import SENT_PART

F64 = npt.NDArray[np.float64]
SCRAPE_S = 10.0
STARTS_S = (30.0, 150.0)
"""From the decision to a process that is ready: where a node has room; where one has to be made first."""
NODE_PART = 0.3
"""Of the starts need a node."""


@dataclass(slots=True)
class Pods:
    """Replicas, the highest number last: how many are ready, and when the others will be."""

    ready: int
    _coming_s: list[float] = field(default_factory=list)

    @property
    def wanted(self) -> int:
        """As the StatefulSet says."""
        return self.ready + len(self._coming_s)

    def scale(self, count: int, now_s: float, rng: np.random.Generator) -> int:
        """From now on there shall be ``count``; returns how many that were ready end."""
        while self.wanted < count:
            takes_s = STARTS_S[int(rng.random() < NODE_PART)]
            self._coming_s.append(now_s + takes_s)
        while self.wanted > count and self._coming_s:
            self._coming_s.pop()
        ends = max(0, self.ready - count)
        self.ready -= ends
        return ends

    def started(self, now_s: float) -> int:
        """How many have become ready since this was asked last."""
        began = sum(at_s <= now_s for at_s in self._coming_s)
        self._coming_s = [at_s for at_s in self._coming_s if at_s > now_s]
        self.ready += began
        return began


class Shares:
    """How work is spread over replicas: parts of the whole (their sum is 1)."""

    def __init__(self, parts: F64) -> None:
        self.parts = parts

    def more(self, count: int) -> None:
        """Replicas began, with nothing."""
        self.parts = np.concatenate([self.parts, np.zeros(count)])

    def less(self, count: int) -> None:
        """The last ones end, and give the others what they have: to those who have least."""
        if not count:
            return
        left, freed = self.parts[:-count].copy(), float(self.parts[-count:].sum())
        for _ in range(16):  # a few regions, or sessions by their thousands
            left[int(np.argmin(left))] += freed / 16
        self.parts = left

    def shift(self, source: int, target: int, part: float) -> None:
        """Some of the whole goes from one to another."""
        part = min(part, float(self.parts[source]))
        self.parts[source] -= part
        self.parts[target] += part


class ShardShares(Shares):
    """Regions: one move at each look from the busiest, if it is worth it (``cluster.plan``); whatever is hotter than
    SPLIT_FROM has been split."""

    def balance(self, cores: float) -> None:
        """One look of the placer, where all shards together use so many cores."""
        loads = self.parts * cores
        busiest, idlest = int(np.argmax(loads)), int(np.argmin(loads))
        region = min(SPLIT_FROM, float(loads[busiest] - loads[idlest]) / 2)
        if loads[busiest] >= BUSY and region >= HYSTERESIS:
            self.shift(busiest, idlest, region / cores)


class GatewayShares(Shares):
    """Sessions: whoever has more than LOAD_PART of the mean sends a part of them on, each second
    (``cluster.affinity``)."""

    def balance(self, seconds: float) -> None:
        """So many seconds pass."""
        mean = 1.0 / len(self.parts)
        for source in np.flatnonzero(self.parts > LOAD_PART * mean).tolist():
            self.shift(source, int(np.argmin(self.parts)), SENT_PART * seconds * float(self.parts[source]))

    def join(self, part: float) -> None:
        """Newcomers, as part of all there are then: a balancer hands them out evenly."""
        self.parts = self.parts * (1.0 - part) + part / len(self.parts)


class Measured:
    """What a query answers that takes the mean over ``window_s`` and the sum over replicas."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, F64]] = deque()

    def scrape(self, now_s: float, values: F64) -> None:
        """One value of each replica that is ready."""
        self._samples.append((now_s, values))

    def answer(self, now_s: float) -> float | None:
        """None before the first sample."""
        while self._samples and self._samples[0][0] <= now_s - self._window_s:
            self._samples.popleft()
        if not self._samples:
            return None
        most = max(len(values) for _, values in self._samples)
        sums, counts = np.zeros(most), np.zeros(most)
        for _, values in self._samples:
            sums[: len(values)] += values
            counts[: len(values)] += 1
        return float((sums / counts).sum())
