"""Cost of the gateway's kernels for each due update, culled and encoded: no sockets, one thread, one process.

Two loads: *all due* (every visible entity has a new published state each tick: the cost of an update with its share
of the cull) and *restless* (the usual tolerances: most visible entities are looked at and need nothing). Both against
a C-like bare pass: the same number of 10-byte records gathered from the mirror into the buffer by the plainest
possible compiled loop. Not measured: the shard, system calls.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.process import ChildFailed
from kernels.jit import jit
from kernels.pace import take_acks
from kernels.publish import published, renew
from protocol.layouts import GRID_PER_M
from protocol.link import RegionDelta
from server.core.gateway import CELLS_PER_RADIUS
from server.core.mirror import Mirror
from server.core.views import ViewRules, Views

RATE_HZ = 20
RADIUS_M = 50.0
ALL_DUE = "all due"
"""The load of the target."""
SERVER_CORE = 0
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class KernelResult:
    """Medians over the ticks measured; nanoseconds."""

    load: str
    views: int
    visible: float
    due_per_tick: int
    ns_per_due: float
    ns_per_visible: float
    ns_per_gathered: float
    bytes_per_entity_tick: float
    publish_ns_per_entity: float
    mirror_ns_per_entity: float


@jit
def gather(rows: Any, source: Any, out: Any) -> None:
    """Copy 10 bytes for each of ``rows``: what no encoder can be faster than."""
    at = 0
    for row in rows:
        for b in range(10):
            out[at + b] = source[row, b]
        at += 10


def measure(load: str, views_count: int, visible: int, entities: int, ticks: int = 60) -> KernelResult:
    """One load; ``visible`` is the mean number within the radius."""
    rng = np.random.default_rng(7)
    extent_m = np.sqrt(entities * np.pi * RADIUS_M**2 / visible)
    pos = rng.uniform(0, extent_m, (entities, 3)) * [1, 0, 1]
    vel = rng.normal(0, 2, (entities, 3)) * [1, 0, 1]
    yaw = rng.uniform(0, 6, entities)
    state, rows = published(entities), np.arange(entities, dtype=np.uint32)
    out_row, out_flags = np.zeros(entities, np.uint32), np.zeros(entities, np.uint8)
    tolerance = np.array([0.0, 0.0]) if load == ALL_DUE else np.array([0.01, 0.1])
    mirror = Mirror(round(RADIUS_M * GRID_PER_M / CELLS_PER_RADIUS))
    views = Views(views_count, ViewRules(radius_m=RADIUS_M, near_radius_m=2 * RADIUS_M), 1000 / RATE_HZ)
    forged, conns = np.zeros(views_count, np.int32), np.arange(views_count, dtype=np.uint32)
    samples: list[tuple[float, float, float, float, int, int, int]] = []
    source, target = np.zeros((entities, 10), np.uint8), np.zeros(16 << 20, np.uint8)
    for tick in range(1, ticks + 41):
        if tick % 5 == 0:
            vel += rng.normal(0, 0.177, vel.shape) * [1, 0, 1]
        pos += vel / RATE_HZ
        begun = time.perf_counter()
        count = renew(
            rows, pos, vel, yaw, float(RATE_HZ), tick, tolerance, np.array([2, 8]), 40, state, out_row, out_flags
        )
        renewed = time.perf_counter()
        r = out_row[:count]
        delta = RegionDelta(0, 1, tick, tick, tick == 1, row=r, version=state.version[r], p=state.p[r], v=state.v[r])
        delta.yaw, delta.age, delta.flags = state.yaw[r], np.zeros(count, "<u2"), out_flags[:count]
        if tick == 1:
            delta.enter_row = delta.enter_generation = rows
            delta.enter_id, delta.enter_kind = rows.astype("<u8") + 1, np.zeros(entities, "<u2")
            delta.enter_state_version = np.ones(entities, "<u4")
            delta.enter_blob_bytes, delta.enter_blobs = np.ones(entities, "<u2"), b"\x80" * entities
            delta.far_version, delta.far_p, delta.far_v = state.far_version, state.far_p, state.far_v
            delta.far_yaw, delta.far_age = state.far_yaw, np.zeros(entities, "<u2")
        data = delta.encode()
        taken = time.perf_counter()
        mirror.apply(RegionDelta.decode(data))
        mirror.advance(tick)
        mirrored = time.perf_counter()
        if tick == 1:
            for conn in range(views_count):
                views.open(conn, 1, (0, 0, 0), tick * 50)
                views.set_body(conn, mirror.row_of(conn + 1), mirror)
            mirrored = time.perf_counter()
        for _ in views.frames(tick, tick * 50, mirror, np.zeros(views_count, np.uint8)):
            pass
        done = time.perf_counter()
        frame = views.state.views["frame"].copy()
        take_acks(conns, frame, frame, tick * 50 + 20, views.state, forged)
        totals = views.totals
        due = totals.deltas + totals.fulls
        gathered = rng.integers(0, entities, max(due, 1))
        before = time.perf_counter()
        gather(gathered, source, target)
        bare = time.perf_counter() - before
        if tick > 40:
            sample = (renewed - begun, mirrored - taken, done - mirrored, bare, due, totals.looked, totals.frame_bytes)
            samples.append(sample)
    publish_s, mirror_s, encode_s, bare_s, due_n, looked, size = (
        float(np.median([s[k] for s in samples])) for k in range(7)
    )
    return KernelResult(
        load,
        views_count,
        looked / views_count,
        int(due_n),
        encode_s / due_n * 1e9,
        encode_s / looked * 1e9,
        bare_s / due_n * 1e9,
        size / looked,
        publish_s / entities * 1e9,
        mirror_s / entities * 1e9,
    )


def run() -> list[KernelResult]:
    """All loads."""
    return [measure(load, 500, visible, 5000) for load in (ALL_DUE, "restless") for visible in (200, 50)]


def measure_apart() -> list[KernelResult]:
    """``run()`` in a process of its own, pinned to a core like the servers. Raises ChildFailed."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "bench.kernels"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if result.returncode:
        raise ChildFailed(f"the kernels could not be measured: {result.stderr[-1500:]}")
    return [KernelResult(**json.loads(line)) for line in result.stdout.splitlines()]


if __name__ == "__main__":
    for result in run():
        sys.stdout.write(json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(result).items()}))
        sys.stdout.write("\n")
