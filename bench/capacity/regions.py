"""What a shard's cores cost, in this process: entities at rest and moving, ghosts, crossings.

Two regions lie side by side and exchange their border messages as bytes, as two shards would, but for the link. Costs
are differences of runs that differ in one thing, by CPU time of this process. Not responsible for: people's bodies
(``served``).
"""

import time
from dataclasses import dataclass

import numpy as np

from bench.worlds import lanes
from protocol.border import Border
from shard.config import ShardConfig
from shard.region import RegionCore

RATE_HZ = 20
SIDE_M = 512.0
WARM_TICKS, TICKS, BLOCK_TICKS = 60, 240, 20
MANY, SOME, FEW = 2_000, 200, 20
"""Few enough cross that none waits for another one's hand-over (64 may be under way over a border)."""
NEAR_M = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """Of two regions together, for one tick. ``rows``: of deltas; ``bytes``: of their encoding, without a fixed part;
    ``border_bytes``: of messages."""

    cpu_us: float
    entities: float
    ghosts: float
    rows: float
    delta_bytes: float
    border_bytes: float
    crossings: float


@dataclass(frozen=True, slots=True)
class RegionCosts:
    """See ``model.Costs``."""

    rest_us: float
    moving_us: float
    region_us: float
    ghost_us: float
    crossing_us: float
    row_bytes: float
    rows_part: float
    ghost_bytes: float


def run(count: int, *, pace_m_s: float, x_m: float, across: bool) -> Run:
    """``count`` entities, half of them in either region, ``x_m`` from the border on the mean, who move along it or
    ``across`` it at ``pace_m_s``."""
    squares = {2: (-SIDE_M, -SIDE_M / 2, 0.0, SIDE_M / 2), 3: (0.0, -SIDE_M / 2, SIDE_M, SIDE_M / 2)}
    cores = {}
    for region, square in squares.items():
        other = 5 - region
        config = ShardConfig(
            region=region, square_m=square, neighbours=((other, squares[other]),), bounds_half_m=SIDE_M,
            rows_max=1 << 16, first_id=1 + (region << 32),
        )  # fmt: skip
        sign = -1.0 if region == 2 else 1.0
        options = {"count": count // 2, "x_m": x_m, "side": sign, "pace": pace_m_s, "across": across}
        cores[region] = RegionCore(config, None, [lanes.script], options=options)
    said: list[Border] = []
    sums, spent_us = np.zeros(5), []
    hops = 0.0
    for tick in range(1, WARM_TICKS + TICKS + 1):
        began_s = time.process_time()
        sizes, rows, border_bytes = 0, 0, 0
        heard, said = said, []
        for region, core in cores.items():
            step = core.step(tick, (), [message for message in heard if message.target == region])
            data = step.delta.encode()
            sizes, rows = sizes + len(data), rows + len(step.delta.row)
            for message in step.borders:
                encoded = message.encode()
                border_bytes += len(encoded)
                said.append(Border.decode(encoded))
        cpu_s = time.process_time() - began_s
        tables = [core.state.table for core in cores.values()]
        if tick == WARM_TICKS:
            hops = _hops(cores)
        if tick > WARM_TICKS:
            entities, ghosts = sum(len(t.rows()) for t in tables), sum(len(t.ghosts()) for t in tables)
            sums += [entities, ghosts, rows, sizes, border_bytes]
            spent_us.append(cpu_s * 1e6)
    means = sums / TICKS
    return Run(
        # Of blocks, whose ticks have everything that is not done in each tick: another program disturbs some of them.
        cpu_us=float(np.median(np.reshape(spent_us, (-1, BLOCK_TICKS)).mean(axis=1))),
        entities=float(means[0]),
        ghosts=float(means[1]),
        rows=float(means[2]),
        delta_bytes=float(means[3]),
        border_bytes=float(means[4]),
        crossings=(_hops(cores) - hops) / TICKS,
    )


def _hops(cores: dict[int, RegionCore]) -> float:
    """Crossings so far: each raises a hop by one."""
    return float(sum(int(core.state.table.hop[core.state.table.rows()].sum()) for core in cores.values()))


def measure() -> RegionCosts:
    """All of them; some ten seconds."""
    empty = run(FEW, pace_m_s=0.0, x_m=SIDE_M / 2, across=False)
    rest = run(MANY, pace_m_s=0.0, x_m=SIDE_M / 2, across=False)
    moving = run(MANY, pace_m_s=2.0, x_m=SIDE_M / 2, across=False)
    near = run(MANY, pace_m_s=2.0, x_m=NEAR_M, across=False)
    beside = run(SOME, pace_m_s=2.0, x_m=0.0, across=False)
    across = run(SOME, pace_m_s=2.0, x_m=0.0, across=True)
    more = MANY - FEW
    ghosts = near.ghosts - moving.ghosts
    ghost_us = max(0.0, near.cpu_us - moving.cpu_us) / ghosts
    crossing_us = (across.cpu_us - beside.cpu_us) / across.crossings
    return RegionCosts(
        rest_us=max(0.0, rest.cpu_us - empty.cpu_us) / more,
        moving_us=(moving.cpu_us - empty.cpu_us) / more,
        region_us=empty.cpu_us / 2,
        ghost_us=ghost_us,
        crossing_us=max(0.0, crossing_us),
        row_bytes=(moving.delta_bytes - empty.delta_bytes) / max(1.0, moving.rows - empty.rows),
        rows_part=moving.rows / moving.entities,
        ghost_bytes=(near.border_bytes - moving.border_bytes) / ghosts,
    )
