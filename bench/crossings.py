"""``python -m bench.crossings``: a million crossings in the simulator, with 5 % loss and random kills.

The drones of ``worlds/flight.py`` fly over the borders of four regions, which three shards own and lose: production
cores on virtual time (``tests.sim``). Counted: crossings, who was lost by one, who was in two places, and how many
ticks each cost. What a killed process alone held goes back to what was durable; who never was is not counted as lost.

Exit status: 0 when nobody was lost or doubled and the p99 of the extra delay is one tick at most, else 1.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from bench.report import Target, record, show_targets
from bench.worlds import flight
from shard.process import ShardProcess
from tests.sim.hosts import RATE_HZ
from tests.sim.shards import LinkFaults, Shards

LOSS = 0.05
DRONES = 1200
KILL_S = (4.0, 12.0)
"""Between two kills of a shard, and how long one may stay dead."""
AWAY_S = 3.0
QUIET_S = 20.0
TARGET = 1_000_000
DELAYS_MAX = 64


@dataclass
class Crossings:
    """What came of one run. ``delays[k]``: crossings that cost k ticks, DELAYS_MAX or more in the last."""

    seed: int
    crossings: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    taken_by_kills: int = 0
    """Of those who were never durable."""
    undone: int = 0
    """Crossings that a kill undid before they were durable."""
    world_s: float = 0.0
    delays: list[int] = field(default_factory=list)


class Flight(Shards):
    """The drones' world. What ``Shards`` checks one by one is checked here in columns."""

    def __init__(self, seed: int) -> None:
        self.result = Crossings(seed)
        self._ids = np.zeros(0, np.uint64)
        self._hops = np.zeros(0, np.int64)
        self._flown = np.zeros(0, np.int64)
        self._seen = np.zeros(0, np.int64)
        self._delays = np.zeros(DELAYS_MAX + 1, np.int64)
        super().__init__(
            seed, half_m=flight.EXTENT_M / 2, scripts=lambda: flight.script, options={"inhabitants_count": DRONES}
        )

    def lapsed(self, shard: ShardProcess, region: int) -> None:
        """No lease ends here but a killed process's: who is lost so is lost."""

    def check(self) -> None:
        """Who is where, compared with the tick before."""
        ids, hops, flown = self._present()
        self.known.allowed_losses.difference_update(ids.tolist())
        order = np.argsort(ids)
        ids, hops, flown = ids[order], hops[order], flown[order]
        if len(ids) > 1:
            self.result.doubled += int((ids[1:] == ids[:-1]).sum())
        at = np.searchsorted(self._ids, ids)
        known = at < len(self._ids)
        known[known] = self._ids[at[known]] == ids[known]
        was = at[known]
        over = hops[known] - self._hops[was]
        if (over < 0).any():  # what a killed process held goes on from what is durable
            durable = self.bank.hops()
            back = known.nonzero()[0][over < 0]
            assert all(hops[k] >= durable.get(int(ids[k]), 0) for k in back), f"tick {self.tick}: hops went back"
            self.result.undone += len(back)
        self.result.crossings += int(over[over > 0].sum())
        once = over == 1
        cost = (self.tick - self._seen[was]) - (flown[known] - self._flown[was])
        np.add.at(self._delays, np.clip(cost[once], 0, DELAYS_MAX), 1)
        self._hops[was], self._flown[was], self._seen[was] = hops[known], flown[known], self.tick
        fresh = np.flatnonzero(~known)
        if len(fresh):
            merged = np.concatenate([self._ids, ids[fresh]])
            order = np.argsort(merged)
            self._ids = merged[order]
            self._hops = np.concatenate([self._hops, hops[fresh]])[order]
            self._flown = np.concatenate([self._flown, flown[fresh]])[order]
            self._seen = np.concatenate([self._seen, np.full(len(fresh), self.tick)])[order]

    def _present(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        parts: list[tuple[Any, Any, Any]] = []
        for region, hosts in self.stepping().items():
            assert len(hosts) == 1, f"tick {self.tick}: region {region} has {len(hosts)} owners"
            shard = hosts[0].shard
            assert shard is not None
            table = shard.core.regions[region].state.table
            rows = table.rows()
            parts.append((table.id[rows], table.hop[rows], table.columns["c.flown"][rows]))
        if not parts:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
        ids, hops, flown = (np.concatenate(column) for column in zip(*parts, strict=True))
        return ids, hops.astype(np.int64), flown.astype(np.int64)

    def finish(self) -> Crossings:
        """When all is quiet: who is missing whom no kill has taken?"""
        present = np.fromiter(self.present(), np.uint64)
        taken = np.fromiter(self.known.allowed_losses, np.uint64)
        missing = np.setdiff1d(self._ids, present)
        self.result.lost = len(np.setdiff1d(missing, taken))
        self.result.taken_by_kills = len(np.intersect1d(missing, taken))
        self.result.world_s = self.tick / RATE_HZ
        self.result.delays = self._delays.tolist()
        return self.result


def fly(seed: int, crossings: int) -> Crossings:
    """One run of at least so many crossings."""
    world = Flight(seed)
    rng = np.random.default_rng([seed, 1])
    world.run(5 * RATE_HZ)
    while world.result.crossings < crossings:
        world.faults = LinkFaults(LOSS, 0.01, 0.0, 0.001, float(rng.choice([0.002, 0.02])))
        world.run(int(RATE_HZ * rng.uniform(*KILL_S)))
        names = [f"s{k}" for k in range(3) if not world.hosts[f"s{k}"].dead]
        if names:
            world.kill(str(rng.choice(names)), float(rng.uniform(0.0, AWAY_S)))
            world.result.kills += 1
    world.faults = LinkFaults()
    world.run(int(QUIET_S * RATE_HZ))
    return world.finish()


def p99_ticks(delays: npt.NDArray[np.int64]) -> int:
    """The 99th percentile of a histogram of ticks."""
    return int(np.searchsorted(np.cumsum(delays), 0.99 * delays.sum()))


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.crossings", description=__doc__)
    parser.add_argument("--crossings", type=int, default=TARGET)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    part = -(-given.crossings // given.jobs)
    with ProcessPoolExecutor(given.jobs) as pool:
        runs = list(pool.map(fly, range(given.seed, given.seed + given.jobs), [part] * given.jobs))
    delays = np.sum([run.delays for run in runs], axis=0)
    console = Console(width=160)
    for run in runs:
        figures = {name: value for name, value in asdict(run).items() if name != "delays"}
        console.print("  ".join(f"{name} {value:,}" for name, value in figures.items()), highlight=False)
    console.print(f"ticks that crossings cost: {dict(enumerate(delays[:6].tolist()))}, more: {int(delays[6:].sum())}")
    targets = [
        Target("crossings missing of those asked for", max(0, given.crossings - _sum(runs, "crossings")), 0),
        Target("lost by a crossing", _sum(runs, "lost"), 0),
        Target("doubled", _sum(runs, "doubled"), 0),
        Target("extra delay of a crossing, p99, ticks", p99_ticks(delays), 1),
    ]
    show_targets(console, targets)
    record({"crossings": [asdict(run) for run in runs]}, targets)
    return int(any(target.verdict == "MISSED" for target in targets))


def _sum(runs: list[Crossings], name: str) -> int:
    return sum(getattr(run, name) for run in runs)


if __name__ == "__main__":
    sys.exit(main())
