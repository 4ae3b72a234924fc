"""The mirror: what this gateway knows of the regions near its clients, as its shards published it.

Decides: which mirror row stands for which entity of which shard row; when a region must be subscribed anew (a gap in
``seq``,
an older epoch). Invariants: a row's ``serial`` is 0 when nobody is in it and never repeats otherwise; blobs of
occupied rows lie in
the arena. Not responsible for: who sees what (``views``), links.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kernels.layout import COLD, HOT
from kernels.mirror import empty_grid, extrapolate, sort_into_cells, take_far, take_renewals
from protocol.link import RegionDelta

ROWS_FIRST = 1024
ARENA_FIRST_BYTES = 1 << 20
Rows = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Region:
    """Where a shard's rows are: ``row`` int32[shard rows] mirror row or -1; ``generation`` uint32[shard rows]."""

    epoch: int
    seq: int
    row: npt.NDArray[np.int32] = field(default_factory=lambda: np.full(ROWS_FIRST, -1, np.int32))
    generation: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(ROWS_FIRST, np.uint32))

    def reserve(self, rows: int) -> None:
        """Make room for shard rows below ``rows``."""
        if rows > len(self.row):
            more = max(rows, 2 * len(self.row)) - len(self.row)
            self.row = np.concatenate([self.row, np.full(more, -1, np.int32)])
            self.generation = np.concatenate([self.generation, np.zeros(more, np.uint32)])


class Mirror:
    """Columns of all mirrored entities; see ``kernels.layout`` for HOT and COLD."""

    def __init__(self, cell_units: int) -> None:
        self.cell_units = cell_units
        self.tick = 0
        self.high = 0
        """Rows at and above were never used."""
        self.count = 0
        self._next_serial = 1
        self._free: Rows = np.zeros(0, np.int64)
        self._regions: dict[int, _Region] = {}
        self._bounds = np.zeros(4, np.int64)
        self._arena_used = 0
        self.blobs = np.zeros(ARENA_FIRST_BYTES, np.uint8)
        self.hot = np.zeros(ROWS_FIRST, HOT)
        self.cold = np.zeros(ROWS_FIRST, COLD)
        self.view_of = np.full(ROWS_FIRST, -1, np.int32)
        """The view whose body a row is, or -1."""
        self._allocate_sorted()

    @property
    def rows(self) -> int:
        """Allocated rows."""
        return len(self.hot)

    def _allocate_sorted(self) -> None:
        self.grid = empty_grid(self.rows)
        self._cell_of = np.zeros(self.rows, np.int32)

    def _reserve(self, rows: int) -> None:
        if rows <= self.rows:
            return
        more = max(rows, 2 * self.rows) - self.rows
        self.hot = np.concatenate([self.hot, np.zeros(more, HOT)])
        self.cold = np.concatenate([self.cold, np.zeros(more, COLD)])
        self.view_of = np.concatenate([self.view_of, np.full(more, -1, np.int32)])
        self._allocate_sorted()

    def apply(self, delta: RegionDelta) -> bool:
        """Take over one region's delta. False: it does not follow what is held, and the region must be subscribed anew.

        A delta of an older epoch, or an old one again, is ignored (True): its owner has lost the region, or the link
        repeated it.
        """
        region = self._regions.get(delta.region)
        if delta.snapshot:
            if region is not None and (
                delta.epoch < region.epoch or (delta.epoch == region.epoch and delta.seq <= region.seq)
            ):
                return True
            if region is not None:
                self._drop(region.row[region.row >= 0].astype(np.int64))
            region = self._regions[delta.region] = _Region(delta.epoch, delta.seq)
        elif region is None or delta.epoch > region.epoch or delta.seq > region.seq + 1:
            return delta.epoch < region.epoch if region is not None else False
        elif delta.epoch < region.epoch or delta.seq <= region.seq:
            return True
        region.seq = delta.seq
        if len(delta.leave_row):
            rows = region.row[delta.leave_row].astype(np.int64)
            region.row[delta.leave_row] = -1
            self._drop(rows[rows >= 0])
        if len(delta.enter_row):
            self._enter(region, delta)
        if len(delta.row):
            rows = region.row[delta.row].astype(np.int64)
            columns = (delta.version, delta.p, delta.v, delta.yaw, delta.age, delta.flags)
            take_renewals(rows, *columns, delta.tick, delta.snapshot, self.hot, self.cold)
            if delta.snapshot:
                far = (delta.far_version, delta.far_p, delta.far_v, delta.far_yaw, delta.far_age)
                take_far(rows, *far, delta.tick, self.hot, self.cold)
        if len(delta.state_row):
            self._states(region, delta)
        return True

    def rows_of(self, delta: RegionDelta, rows: npt.NDArray[np.uint32]) -> Rows:
        """Mirror rows of shard rows of ``delta``'s region (-1: not mirrored)."""
        region = self._regions.get(delta.region)
        if region is None:
            return np.full(len(rows), -1, np.int64)
        inside = rows < len(region.row)
        return np.where(inside, region.row[np.where(inside, rows, 0)], -1).astype(np.int64)

    def row_of(self, region: int, row: int, generation: int) -> int:
        """Mirror row of one entity, or -1 while its enter has not come."""
        held = self._regions.get(region)
        if held is None or row >= len(held.row) or int(held.generation[row]) != generation:
            return -1
        return int(held.row[row])

    def _enter(self, region: _Region, delta: RegionDelta) -> None:
        count = len(delta.enter_row)
        region.reserve(int(delta.enter_row.max()) + 1)
        reused = self._free[:count]
        self._free = self._free[count:]
        fresh = count - len(reused)
        self._reserve(self.high + fresh)
        rows = np.concatenate([reused, np.arange(self.high, self.high + fresh, dtype=np.int64)])
        self.high += fresh
        self.count += count
        region.row[delta.enter_row] = rows
        region.generation[delta.enter_row] = delta.enter_generation
        self.hot[rows] = np.zeros(1, HOT)
        self.cold[rows] = np.zeros(1, COLD)
        self.hot["serial"][rows] = self._next_serial + np.arange(count, dtype=np.uint32)
        self._next_serial += count
        self.cold["id"][rows] = delta.enter_id
        self.cold["kind"][rows] = delta.enter_kind
        self.hot["state_version"][rows] = delta.enter_state_version
        sizes = delta.enter_blob_bytes.astype(np.int64)
        base = self._store(delta.enter_blobs)
        self.cold["full_bytes"][rows] = sizes
        self.cold["full_at"][rows] = base + np.cumsum(sizes) - sizes

    def _drop(self, rows: Rows) -> None:
        self.hot["serial"][rows] = 0
        self.hot["version"][rows] = 0
        self.view_of[rows] = -1
        self._free = np.concatenate([self._free, rows])
        self.count -= len(rows)

    def _states(self, region: _Region, delta: RegionDelta) -> None:
        rows = region.row[delta.state_row].astype(np.int64)
        changed, full = delta.state_changed_bytes.astype(np.int64), delta.state_full_bytes.astype(np.int64)
        base = self._store(delta.state_blobs)
        ends = np.cumsum(np.concatenate([changed, full]))
        count = len(rows)
        self.cold["changed_bytes"][rows] = changed
        self.cold["changed_at"][rows] = base + ends[:count] - changed
        self.cold["full_bytes"][rows] = full
        self.cold["full_at"][rows] = base + ends[count:] - full
        self.hot["state_version"][rows] = delta.state_version
        self.hot["state_tick"][rows] = np.int64(delta.tick).astype(np.int32)

    def _store(self, blobs: bytes) -> int:
        """Append to the arena; returns where. A full arena is compacted, and grown if more than half of it is in
        use."""
        if self._arena_used + len(blobs) > len(self.blobs):
            self._compact(len(blobs))
        at = self._arena_used
        self.blobs[at : at + len(blobs)] = np.frombuffer(blobs, np.uint8)
        self._arena_used += len(blobs)
        return at

    def _compact(self, room: int) -> None:
        rows = np.flatnonzero(self.hot["serial"][: self.high])
        sizes = self.cold["full_bytes"][rows].astype(np.int64)
        used = int(sizes.sum())
        old, starts = self.blobs, self.cold["full_at"][rows].astype(np.int64)
        self.blobs = np.zeros(max(len(old), 2 * (used + room)), np.uint8)
        targets = np.cumsum(sizes) - sizes
        # Byte-wise gather: for each byte of each kept blob its source.
        source = np.repeat(starts - targets, sizes) + np.arange(used)
        self.blobs[:used] = old[source]
        self.cold["full_at"][rows] = targets
        # What changed this tick is not kept: views that need it get the whole blob.
        self.hot["state_tick"][rows] = np.int32(-1) - self.hot["state_tick"][rows]
        self._arena_used = used

    def advance(self, tick: int) -> None:
        """Extrapolate everything to ``tick`` and sort it into cells."""
        self.tick = tick
        self.count = extrapolate(self.high, tick, self.hot, self.cold, self._bounds)
        sort_into_cells(self.high, self.hot, self._bounds, self.cell_units, self.grid, self._cell_of)
