"""A small random world for tests of the gateway's kernels: moves, spawns, despawns and component changes from one
seed."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.publish import published, renew
from protocol.link import RegionDelta
from protocol.messages import pack

Rows = npt.NDArray[np.uint32]


class World:
    """Entities in rows of a shard, published as a shard would."""

    def __init__(self, seed: int, capacity: int, extent_m: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.capacity, self.extent_m = capacity, extent_m
        self.pos = np.zeros((capacity, 3))
        self.vel = np.zeros((capacity, 3))
        self.yaw = np.zeros(capacity)
        self.alive = np.zeros(capacity, bool)
        self.generation = np.zeros(capacity, np.uint32)
        self.id = np.zeros(capacity, np.uint64)
        self.state_version = np.zeros(capacity, np.uint32)
        self.published = published(capacity)
        self.out_row = np.zeros(capacity, np.uint32)
        self.out_flags = np.zeros(capacity, np.uint8)
        self.seq = 0
        self.next_id = 1000
        self.restless = True

    def spawn(self, count: int) -> np.ndarray[Any, Any]:
        rows = np.flatnonzero(~self.alive)[:count]
        self.alive[rows] = True
        self.generation[rows] += 1
        self.id[rows] = self.next_id + np.arange(len(rows))
        self.next_id += len(rows)
        self.pos[rows] = self.rng.uniform(0, self.extent_m, (len(rows), 3)) * [1, 0.02, 1]
        self.vel[rows] = self.rng.normal(0, 2, (len(rows), 3)) * [1, 0, 1]
        self.published.version[rows] = 0
        self.state_version[rows] = 1
        return rows.astype(np.uint32)

    def step(self, tick: int, spawns: int, despawns: int, changes: int, snapshot: bool = False) -> RegionDelta:
        """One tick; every entity restless, some ended, begun or changed."""
        live = np.flatnonzero(self.alive).astype(np.uint32)
        gone = self.rng.choice(live, min(despawns, len(live)), replace=False).astype(np.uint32)
        self.alive[gone] = False
        fresh = self.spawn(spawns)
        if tick % 3 == 0 and self.restless:
            self.vel += self.rng.normal(0, 0.8, self.vel.shape) * [1, 0.1, 1]
            self.yaw += self.rng.normal(0, 0.3, self.yaw.shape)
        jump = self.rng.random(self.capacity) < (0.01 if self.restless else 0.0)
        self.pos[jump] += self.rng.normal(0, 5, (int(jump.sum()), 3)) * [1, 0, 1]
        self.pos += self.vel / 20
        live = np.flatnonzero(self.alive).astype(np.uint32)
        tolerances = np.array([0.01, 0.1]), np.array([2, 8])
        count = renew(
            live,
            self.pos,
            self.vel,
            self.yaw,
            20.0,
            tick,
            *tolerances,
            40,
            self.published,
            self.out_row,
            self.out_flags,
        )
        rows = self.out_row[:count]
        self.seq += 1
        s = self.published
        delta = RegionDelta(7, 1, self.seq, tick, snapshot=snapshot)
        old = np.setdiff1d(live, fresh)
        changed = self.rng.choice(old, min(changes, len(old)), replace=False).astype(np.uint32)
        self.state_version[changed] += 1
        if snapshot:
            fresh, rows, gone, changed = live, live, gone[:0], changed[:0]
            delta.far_version, delta.far_p, delta.far_v = s.far_version[rows], s.far_p[rows], s.far_v[rows]
            delta.far_yaw, delta.far_age = s.far_yaw[rows], (tick - s.far_tick[rows]).astype("<u2")
        delta.leave_row = gone
        blobs = [self.blob(int(row)) for row in fresh]
        delta.enter_row, delta.enter_generation = fresh, self.generation[fresh]
        delta.enter_id, delta.enter_kind = self.id[fresh], np.ones(len(fresh), "<u2")
        delta.enter_state_version = self.state_version[fresh]
        delta.enter_blob_bytes, delta.enter_blobs = np.array([len(b) for b in blobs], "<u2"), b"".join(blobs)
        delta.row, delta.version, delta.p, delta.v, delta.yaw = rows, s.version[rows], s.p[rows], s.v[rows], s.yaw[rows]
        delta.age = (tick - s.tick[rows]).astype("<u2")
        delta.flags = np.zeros(len(rows), "u1") if snapshot else self.out_flags[:count]
        part = [pack({2: int(self.state_version[row])}) for row in changed]
        full = [self.blob(int(row)) for row in changed]
        delta.state_row, delta.state_version = changed, self.state_version[changed]
        delta.state_changed_bytes = np.array([len(b) for b in part], "<u2")
        delta.state_full_bytes = np.array([len(b) for b in full], "<u2")
        delta.state_blobs = b"".join(part + full)
        return delta

    def blob(self, row: int) -> bytes:
        """All components of a row: its id and how often it changed."""
        return pack({1: str(self.id[row]), 2: int(self.state_version[row])})
