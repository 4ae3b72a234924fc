"""``python -m bench.durable``: what the durable store costs, on a SQLite file and on a PostgreSQL of its own.

Measured for each engine: rows a second in batches of 5,000; the latency of single batches as a region of 20 people
commits them once a second (20 entities, one pose, two actions), one at a time; a load of a whole world with a million
entities. Both on the disk that holds ``--folder``: what a flush costs is the disk's, so its own cost is printed beside.

Exit status: 0 when the load takes 60 s at most, else 1.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.report import Target, record, show_targets
from shard.durable.contract import ActionRow, Batch, EntityRow, PoseRow, WorldIdentity
from shard.durable.opening import open_durable
from shard.durable.spans import span_of
from tests.integration.durable.servers import running

WORLD = WorldIdentity("bench", 1, 4096.0, 6)
WHOLE = span_of(1, WORLD.leaf_level)
DATA_BYTES = 300
BATCH_ROWS = 5_000
LOAD_S_MAX = 60.0


@dataclass(frozen=True)
class DurableFigures:
    """One engine."""

    engine: str
    rows_per_s: float
    commit_p50_ms: float
    commit_p99_ms: float
    flush_p50_ms: float
    """Of 4 KiB written into a file of the same disk."""
    load_s: float
    entities: int


async def measure(engine: str, url: str, folder: Path, entities: int, commits: int) -> DurableFigures:
    """Fill, commit, load."""
    rng = np.random.default_rng(7)
    store = await open_durable(url, WORLD)
    await store.fence(1, 1)
    blob = rng.bytes(DATA_BYTES + 256)
    filling_s = 0.0
    for first in range(0, entities, BATCH_ROWS):
        rows = [
            EntityRow(n, 1, WHOLE.first + n * 2_654_435_761 % 4096, blob[n % 256 : n % 256 + DATA_BYTES])
            for n in range(first, min(first + BATCH_ROWS, entities))
        ]
        began_s = time.perf_counter()
        await store.commit(Batch(1, 1, first, rows))
        filling_s += time.perf_counter() - began_s
    took_s = []
    for n in range(commits):
        rows = [
            EntityRow(int(id), 2, WHOLE.first, blob[:DATA_BYTES]) for id in set(rng.integers(0, entities, 20).tolist())
        ]
        actions = [ActionRow(session, n, n, b"ok") for session in (1, 2)]
        batch = Batch(1, 1, entities + n, rows, (), [PoseRow(WHOLE.first, n, blob)], actions)
        began_s = time.perf_counter()
        await store.commit(batch)
        took_s.append(time.perf_counter() - began_s)
    await store.close()
    store = await open_durable(url, WORLD)
    began_s = time.perf_counter()
    loaded = await store.load(*WHOLE)
    load_s = time.perf_counter() - began_s
    await store.close()
    if len(loaded.entities) != entities or loaded.damage:
        raise RuntimeError(f"{engine}: {len(loaded.entities)} of {entities} entities, {len(loaded.damage)} damaged")
    p50_s, p99_s = np.percentile(took_s, [50, 99])
    flush_ms = 1e3 * float(np.percentile(_flushes(folder), 50))
    return DurableFigures(engine, entities / filling_s, 1e3 * p50_s, 1e3 * p99_s, flush_ms, load_s, entities)


def _flushes(folder: Path) -> list[float]:
    """Seconds that the disk itself takes."""
    took_s = []
    with (folder / "flush").open("wb", buffering=0) as file:
        for _ in range(200):
            began_s = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took_s.append(time.perf_counter() - began_s)
    return took_s


def show(console: Console, runs: list[DurableFigures]) -> None:
    """Print one line for each engine."""
    table = Table(title="Durable store", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for head in ("engine", "rows/s", "commit p50 ms", "p99 ms", "flush alone p50 ms", "load s", "entities"):
        table.add_column(head, justify="left" if head == "engine" else "right")
    for run in runs:
        times = (f"{run.commit_p50_ms:.2f}", f"{run.commit_p99_ms:.2f}", f"{run.flush_p50_ms:.2f}", f"{run.load_s:.1f}")
        table.add_row(run.engine, f"{run.rows_per_s:,.0f}", *times, f"{run.entities:,}")
    console.print(table)


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.durable", description=__doc__)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--commits", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    console = Console(width=160)
    runs = []
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        url = f"sqlite:{folder / 'world.db'}"
        runs.append(asyncio.run(measure("SQLite", url, folder, given.entities, given.commits)))
    with tempfile.TemporaryDirectory(dir=given.folder) as name, running(given.folder) as server:
        runs.append(asyncio.run(measure("PostgreSQL", server.url, Path(name), given.entities, given.commits)))
    show(console, runs)
    targets = [Target(f"load of {run.entities:,} entities, {run.engine}", run.load_s, LOAD_S_MAX, " s") for run in runs]
    show_targets(console, targets)
    record({"durable": [asdict(run) for run in runs]}, targets)
    return int(any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
