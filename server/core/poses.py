"""Head and hands on their way through a gateway: from clients to the owners of their bodies, from regions to views.

Decides who may have a pose (profile vr) and who is told of poses, and the ranges and the budget. Invariants: a pose is
latest wins on each leg: of a client the newest stamp, of a region the newest delta; nothing is said twice and nothing
is kept for a body that is on its way. Everything done for all connections or views is in ``kernels.pose_intake`` and
``kernels.poses``. Not responsible for: where bodies are (``gateway``), what people may do with their hands (the shard).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.layout import ViewState
from kernels.pose_intake import take_pose, take_said
from kernels.poses import (
    OVERHEAD_BYTES,
    POSE_ROW,
    POSE_SLOT,
    PoseRanges,
    PoseStore,
    scratch,
    take_told,
    write_poses,
)
from kernels.posing import MID_BIT
from kernels.sparse import clear, sparse_zeros
from kernels.values import UNRELIABLE
from protocol.layouts import GRID_PER_M
from protocol.link import RegionDelta, Upward
from protocol.messages import Pose
from protocol.pose_layout import (
    MID_ENTRY_BYTES,
    NEAR_ENTRY_BYTES,
    NEAR_SAMPLE_BYTES,
    PARTS,
    POSES_BYTES_MAX,
    SAMPLE,
    SAMPLES_MAX,
)
from server.core.mirror import Mirror
from server.core.views import Batch

OUT_BYTES = 1 << 20
LEAST_BYTES = OVERHEAD_BYTES + NEAR_ENTRY_BYTES + NEAR_SAMPLE_BYTES + MID_ENTRY_BYTES
"""In which one near and one mid person's pose fit."""
SPEAKERS = frozenset({"vr"})
"""Profiles whose bodies have head and hands."""
HEARERS = frozenset({"vr", "desktop", "tv"})
"""Profiles that are told of them: who only counts people needs none."""
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PoseRules:
    """Of all views. Beyond ``mid_radius_m`` nobody's hands are told. Raises ValueError."""

    near_radius_m: float = 4.0
    """Where a hand can be shaken and a thing handed over: each change, each sample."""
    mid_radius_m: float = 20.0
    """From here a hand is smaller than 1°."""
    mid_hz: float = 5.0
    bytes_per_s: int = 16_000
    """Half of what a headset's stream may have in all: the rest is motion, structure and headers."""
    stream_bytes_per_s: int = 32_000
    """With all that frames have: what they take beyond their half is the poses' loss, down to a quarter of theirs."""
    hysteresis: float = 1.1

    def __post_init__(self) -> None:
        if not 0 < self.near_radius_m <= self.mid_radius_m <= 1000 or self.mid_hz <= 0 or self.hysteresis < 1:
            raise ValueError(f"poses: 0 < near_radius_m <= mid_radius_m <= 1000, mid_hz > 0, hysteresis >= 1: {self}")

    def ranges(self, rate_hz: int) -> PoseRanges:
        """For the kernel, at ``rate_hz`` ticks a second. Raises ValueError if not even one person's pose fits."""
        budget = min(self.bytes_per_s // rate_hz, POSES_BYTES_MAX)
        if budget < LEAST_BYTES:
            raise ValueError(f"poses: {self.bytes_per_s} bytes a second are {budget} a tick: no pose fits")

        def squared(radius_m: float) -> int:
            return round(radius_m * GRID_PER_M) ** 2

        near, mid, more = self.near_radius_m, self.mid_radius_m, self.hysteresis
        every = max(1, round(rate_hz / self.mid_hz))
        total = max(self.stream_bytes_per_s // rate_hz, budget)
        least = max(budget // 4, LEAST_BYTES)
        ranges = squared(near), squared(near * more), squared(mid), squared(mid * more)
        return PoseRanges(*ranges, every, budget, total, least)


@dataclass(slots=True)
class PoseTotals:
    """Counts since the start, for metrics: ``said`` POSEs taken; messages, entities by level, samples and bytes
    told."""

    said: int = 0
    messages: int = 0
    near: int = 0
    mid: int = 0
    samples: int = 0
    told_bytes: int = 0


class Poses:
    """Of one gateway with up to ``capacity`` connections and ``numbers`` numbers in each stream."""

    def __init__(
        self, capacity: int, numbers: int, rules: PoseRules, rate_hz: int, datagrams_from: int | None = None
    ) -> None:
        """``datagrams_from``: connections from this one on are told by datagrams."""
        self._datagrams_from = capacity if datagrams_from is None else datagrams_from
        self.totals = PoseTotals()
        self._ranges = rules.ranges(rate_hz)
        self._speaks = np.zeros(capacity, np.uint8)
        self._stamp = np.zeros(capacity, np.uint32)
        self._fresh = np.zeros(capacity, np.uint8)
        self._count = np.zeros(capacity, np.uint8)
        self._samples = sparse_zeros((capacity, SAMPLES_MAX * SAMPLE.itemsize), np.uint8)
        self._hears = np.zeros(capacity, np.uint8)
        self._cursor = np.zeros((capacity, 2), np.int32)
        self._purse = np.zeros((capacity, 2), np.int64)
        self._told = sparse_zeros((capacity, numbers), POSE_SLOT)
        self._scratch = scratch(numbers)
        self._out = np.zeros(OUT_BYTES, np.uint8)
        self._out_view = np.zeros(capacity, np.int32)
        self._out_at, self._out_bytes = np.zeros(capacity, np.int64), np.zeros(capacity, np.int64)
        self._counts = np.zeros(5, np.int64)
        self._store = _store(0)
        self._any = False
        """Whether any region has ever told of a pose: a world without headsets does nothing here."""

    def open(self, conn: int, profile: str) -> None:
        """A stream begins."""
        self.close(conn)
        self._speaks[conn], self._hears[conn] = profile in SPEAKERS, profile in HEARERS

    def close(self, conn: int) -> None:
        """It ends."""
        self._speaks[conn] = self._hears[conn] = self._fresh[conn] = 0
        clear(self._told[conn])
        self._cursor[conn] = self._purse[conn] = 0

    def forget(self, conns: npt.NDArray[np.int32]) -> None:
        """These views hold nothing any more (after SCHEMA)."""
        self._told[conns] = np.zeros(1, POSE_SLOT)

    # -------------------------------------------------------------------------------------------------- from clients
    def take(
        self,
        conn: npt.NDArray[np.int32],
        at: npt.NDArray[np.int32],
        size: npt.NDArray[np.int32],
        data: npt.NDArray[np.uint8],
    ) -> list[int]:
        """POSE messages as they arrived: ``data[at : at + size]`` of each connection. Returns the connections whose
        message is malformed."""
        bad = np.zeros(len(conn), np.int32)
        wrong = take_said(
            conn, at, size, data, self._speaks, self._stamp, self._fresh, self._count, self._samples, bad
        )  # fmt: skip
        self.totals.said += len(conn) - wrong
        malformed: list[int] = bad[:wrong].tolist()
        return malformed

    def said(self, conn: int, pose: Pose) -> None:
        """One POSE that was decoded elsewhere."""
        data = np.frombuffer(bytearray(pose.samples), np.uint8)
        take_pose(
            conn, pose.stamp_ms, data, 0, len(data), self._speaks, self._stamp, self._fresh, self._count, self._samples
        )  # fmt: skip
        self.totals.said += 1

    def drain(self) -> npt.NDArray[np.uint32]:
        """Connections that said something new since the last call, ascending."""
        conns = np.flatnonzero(self._fresh).astype(np.uint32)
        self._fresh[conns] = 0
        return conns

    def put(
        self,
        message: Upward,
        conns: npt.NDArray[np.uint32],
        rows: npt.NDArray[np.uint32],
        generations: npt.NDArray[np.uint32],
    ) -> None:
        """What these connections said goes with ``message``, for bodies in these rows of its region."""
        count = self._count[conns]
        of_each = np.arange(SAMPLES_MAX) < count[:, None]
        message.pose_row, message.pose_generation, message.pose_count = rows, generations, count
        message.pose_sample = self._samples[conns].reshape(-1, SAMPLES_MAX, SAMPLE.itemsize)[of_each]

    # -------------------------------------------------------------------------------------------------- from regions
    def receive(self, delta: RegionDelta, mirror: Mirror) -> None:
        """Take over a delta's poses, after the mirror has taken the delta. Columns that contradict each other are left
        out as a whole."""
        mids = int((delta.pose_flags & MID_BIT != 0).sum())
        samples = int(delta.pose_count.sum(dtype=np.int64))
        lengths = len(delta.pose_row), len(delta.pose_near_p), len(delta.pose_mid_head), len(delta.pose_mid_hand)
        if lengths != (len(delta.pose_flags), samples, mids, mids) or len(delta.pose_count) != len(delta.pose_row):
            return
        if len(delta.pose_near_q) != samples or len(delta.pose_near_meta) != samples:
            return
        if len(self._store.row) < mirror.rows:
            self._grow(mirror.rows)
        self._any = True
        d = delta
        # Copies: views of received bytes are read-only, which to numba is another type.
        take_told(
            mirror.rows_of(d, d.pose_row), np.array(d.pose_flags), np.array(d.pose_count), np.array(d.pose_near_p),
            np.array(d.pose_near_q), np.array(d.pose_near_meta), np.array(d.pose_mid_head), np.array(d.pose_mid_hand),
            d.tick, mirror.hot, self._store,
        )  # fmt: skip

    def _grow(self, rows: int) -> None:
        grown = _store(rows)
        for new, old in zip(grown, self._store, strict=True):
            new[: len(old)] = old
        self._store = grown

    # ----------------------------------------------------------------------------------------------------- for views
    def frames(
        self, tick: int, mirror: Mirror, state: ViewState, first: int, high: int, blocked: npt.NDArray[np.uint8]
    ) -> Iterator[Batch]:
        """POSES of ``tick`` for the views from ``first`` to below ``high``, after their frames: numbers that enter with
        these are known then."""
        if not self._any:
            return
        if len(self._store.row) < mirror.rows:
            self._grow(mirror.rows)
        counts = self._counts
        counts[:] = 0
        while first < high:
            first = int(
                write_poses(
                    first, high, tick, self._hears, blocked, self._cursor, self._purse, self._told, self._ranges, state,
                    mirror.hot, self._store, self._scratch, self._out, self._out_view, self._out_at, self._out_bytes,
                    counts,
                )
            )  # fmt: skip
            written = int(counts[0])
            self.totals.messages += written
            if written:
                views, at, size = self._out_view[:written], self._out_at[:written], self._out_bytes[:written]
                others = int(np.searchsorted(views, self._datagrams_from))
                if others:
                    yield Batch(self._out, views[:others], at[:others], size[:others])
                if others < written:
                    # Without the header of a WebSocket frame (RFC 6455 §5.2: 2 bytes, 4 from 126 bytes on).
                    head = np.where(self._out[at[others:] + 1] < 126, 2, 4)
                    kind = np.full(written - others, UNRELIABLE, np.uint8)
                    yield Batch(self._out, views[others:], at[others:] + head, size[others:] - head, kind)
        near, mid, samples, told_bytes = counts[1:].tolist()
        self.totals.near += near
        self.totals.mid += mid
        self.totals.samples += samples
        self.totals.told_bytes += told_bytes


def _store(rows: int) -> PoseStore:
    return PoseStore(
        np.zeros(rows, POSE_ROW),
        np.zeros((rows, SAMPLES_MAX, PARTS), np.uint32),
        np.zeros((rows, SAMPLES_MAX, PARTS), np.uint32),
        np.zeros((rows, SAMPLES_MAX, 4), np.uint8),
        np.zeros(rows, np.uint32),
        np.zeros((rows, 2), np.uint16),
    )
