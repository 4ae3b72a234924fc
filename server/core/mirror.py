"""The mirror: what this gateway knows of the regions near its clients, as its shards published it.

Decides: which mirror row stands for which entity of which shard row; when a region must be subscribed anew (a gap in
``seq``, a newer epoch without a snapshot that does not follow). An entity that goes over to another region keeps its
row, its serial and its versions, so views notice nothing: ``moved_row`` leaves the row *in transit* (it goes on by its
last velocity, for TRANSIT_TICKS at most), the ``enter`` of the same id with a higher hop takes it over, in whichever
order the two come. Invariants: a row's ``serial`` is 0 when nobody is in it and never repeats otherwise; an id is in
one row at most; blobs of occupied rows lie in the arena. Not responsible for: who sees what (``views``), links.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
import numpy.typing as npt

from kernels.layout import COLD, HOT, OUTER
from kernels.mirror import empty_grid, extrapolate, renew_outer, sort_into_cells, take_far, take_renewals
from protocol.link import RegionDelta

ROWS_FIRST = 1024
ARENA_FIRST_BYTES = 1 << 20
TRANSIT_TICKS = 40
"""For so long an entity is shown that left one region and has not come to another."""
NO_TICK = np.int32(-1)
"""No frame's tick: views that hold an older state then get the whole of it."""
CLAIMS_MAX = 4096
NOWHERE = -1
"""The home of a row in transit."""
Rows = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Region:
    """Where a shard's rows are: ``row`` int32[shard rows] mirror row or -1; ``generation`` uint32[shard rows]."""

    epoch: int
    seq: int
    born: int
    row: npt.NDArray[np.int32] = field(default_factory=lambda: np.full(ROWS_FIRST, -1, np.int32))
    generation: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(ROWS_FIRST, np.uint32))

    def reserve(self, rows: int) -> None:
        """Make room for shard rows below ``rows``."""
        if rows > len(self.row):
            more = max(rows, 2 * len(self.row)) - len(self.row)
            self.row = np.concatenate([self.row, np.full(more, -1, np.int32)])
            self.generation = np.concatenate([self.generation, np.zeros(more, np.uint32)])


@dataclass(frozen=True, slots=True)
class _Retired:
    """Rows of a region that was split or merged, and which of those in its place have not told what they have."""

    rows: Rows
    serials: npt.NDArray[np.uint32]
    waiting: set[int]
    until: int


class Mirror:
    """Columns of all mirrored entities; see ``kernels.layout`` for HOT, COLD and OUTER. ``outer_units``: tolerance of
    the outermost level against the far one, grid units; 0: there is no such level."""

    def __init__(self, cell_units: int, outer_units: int = 0) -> None:
        self.cell_units = cell_units
        self._outer_units = outer_units
        self._outer_versions = np.zeros(1, np.uint32)
        self.tick = 0
        self.newest_tick = 0
        """Of all deltas taken."""
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
        self.outer = np.zeros(ROWS_FIRST, OUTER)
        self._weights = np.zeros(1 << 16, np.uint32)
        """Of each kind."""
        self.view_of = np.full(ROWS_FIRST, -1, np.int32)
        """The view whose body a row is, or -1."""
        self._home = np.full(ROWS_FIRST, NOWHERE, np.int64)
        self._home_row = np.zeros(ROWS_FIRST, np.int64)
        self._hop = np.zeros(ROWS_FIRST, np.int64)
        self._until = np.zeros(ROWS_FIRST, np.int64)
        self._row_of_id: dict[int, int] = {}
        self._transit: Rows = np.zeros(0, np.int64)
        self._retired: list[_Retired] = []
        self._claims: dict[int, int] = {}
        """Region that told of an entity, by id, while a newer hop of it was known: a crash may have undone that hop."""
        self.missed: set[int] = set()
        """Regions whose claims turned out to be right: they are to be subscribed anew."""
        self._allocate_sorted()

    def weigh(self, kind: int, doubled: int) -> None:
        """From now on what waits of entities of ``kind`` is doubled so many times, and of all others not at all."""
        self._weights[:] = 0
        self._weights[kind] = doubled
        self.hot["weight"] = self._weights[self.cold["kind"]]

    @property
    def claims(self) -> int:
        """For metrics: entities that a region told of while a newer hop of them was known."""
        return len(self._claims)

    @property
    def rows(self) -> int:
        """Allocated rows."""
        return len(self.hot)

    def _allocate_sorted(self) -> None:
        self.grid = empty_grid(self.rows)
        self._is_sorted = False
        self._cell_of = np.zeros(self.rows, np.int32)

    def _reserve(self, rows: int) -> None:
        if rows <= self.rows:
            return
        more = max(rows, 2 * self.rows) - self.rows
        self.hot = np.concatenate([self.hot, np.zeros(more, HOT)])
        self.cold = np.concatenate([self.cold, np.zeros(more, COLD)])
        self.outer = np.concatenate([self.outer, np.zeros(more, OUTER)])
        self.view_of = np.concatenate([self.view_of, np.full(more, -1, np.int32)])
        self._home = np.concatenate([self._home, np.full(more, NOWHERE, np.int64)])
        self._home_row, self._hop, self._until = (
            np.concatenate([column, np.zeros(more, np.int64)]) for column in (self._home_row, self._hop, self._until)
        )
        self._allocate_sorted()

    def apply(self, delta: RegionDelta) -> bool:
        """Take over one region's delta. False: it does not follow what is held, and the region must be subscribed anew.

        A delta of an older epoch, or an old one again, is ignored (True): its owner has lost the region, or the link
        repeated it. One of a newer epoch that follows is taken: the region was moved, subscribers and all.
        """
        region = self._regions.get(delta.region)
        if region is None:
            if not delta.snapshot:
                return False
        elif delta.epoch < region.epoch or (
            delta.seq <= region.seq and (delta.epoch == region.epoch or not delta.snapshot)
        ):
            return delta.epoch <= region.epoch
        elif not delta.snapshot and (delta.seq > region.seq + 1 or delta.born != region.born):
            return False
        if delta.snapshot:
            for former in delta.former:
                self._hand_on(former, delta)
            region = self._begin_anew(region, delta)
        assert region is not None
        region.epoch, region.seq = delta.epoch, delta.seq
        self.newest_tick = max(self.newest_tick, delta.tick)
        if len(delta.leave_row):
            self._drop(self._taken_from(region, delta.leave_row))
        if len(delta.moved_row):
            self._send_off(self._taken_from(region, delta.moved_row), delta.tick)
        if len(delta.enter_row):
            self._enter(region, delta)
        if delta.snapshot and self._retired:
            self._told_by(delta.region)
        if len(delta.row):
            self._renew(region, delta)
        if len(delta.state_row):
            self._states(region, delta)
        return True

    def retire(self, region: int, heirs: Collection[int], tick: int) -> None:
        """The region was split or merged: its entities are on their way to ``heirs``, which took its place. Whom none
        of them has when all have told everything is not there any more."""
        held = self._regions.pop(region, None)
        if held is not None:
            rows = held.row[held.row >= 0].astype(np.int64)
            self._send_off(rows, tick)
            waiting = set(heirs) - self._regions.keys()
            self._retired.append(_Retired(rows, self.hot["serial"][rows], waiting, tick + TRANSIT_TICKS))
            self._told_by(NOWHERE)

    def _told_by(self, region: int) -> None:
        """A region has told everything."""
        for retired in self._retired:
            retired.waiting.discard(region)
            if not retired.waiting:
                there = (self.hot["serial"][retired.rows] == retired.serials) & (self._home[retired.rows] == NOWHERE)
                self._drop(retired.rows[there])
        self._retired = [retired for retired in self._retired if retired.waiting]

    def _hand_on(self, former: int, delta: RegionDelta) -> None:
        """Entities of a region that was split or merged are where the snapshot ``delta`` says."""
        held = self._regions.get(former)
        if held is None:
            return
        at = np.flatnonzero(held.row >= 0)
        at = at[np.isin(self.cold["id"][held.row[at]], delta.enter_id)]
        self._send_off(held.row[at].astype(np.int64), delta.tick)
        held.row[at] = -1

    def forget(self, region: int) -> None:
        """The region is no longer mirrored: its entities leave. Nothing if it is not held."""
        held = self._regions.pop(region, None)
        if held is not None:
            self._drop(held.row[held.row >= 0].astype(np.int64))

    def _begin_anew(self, region: _Region | None, delta: RegionDelta) -> _Region:
        """A region as its snapshot has it: rows whose entities are still there wait for their ``enter``; others leave,
        or may have gone to another region meanwhile."""
        begun = _Region(delta.epoch, delta.seq, delta.born)
        if region is not None:
            rows = region.row[region.row >= 0].astype(np.int64)
            stay = np.isin(self.cold["id"][rows], delta.enter_id)
            gone = rows[~stay]
            self._home[rows[stay]] = NOWHERE
            self._until[rows[stay]] = delta.tick
            self._transit = np.concatenate([self._transit, rows[stay]])
            if len(self._regions) > 1 and delta.epoch == region.epoch:
                self._send_off(gone, delta.tick)
            else:
                self._drop(gone)
        self._regions[delta.region] = begun
        return begun

    def _taken_from(self, region: _Region, shard_rows: npt.NDArray[np.uint32]) -> Rows:
        """The mirror rows of these rows, which the region holds no more; those that it did not hold are left out."""
        shard_rows = shard_rows[shard_rows < len(region.row)]
        rows = region.row[shard_rows].astype(np.int64)
        region.row[shard_rows] = -1
        return rows[rows >= 0]

    def _send_off(self, rows: Rows, tick: int) -> None:
        self._home[rows] = NOWHERE
        self._until[rows] = tick + TRANSIT_TICKS
        self._transit = np.concatenate([self._transit, rows])

    def _renew(self, region: _Region, delta: RegionDelta) -> None:
        rows = region.row[delta.row].astype(np.int64)
        known: slice | npt.NDArray[np.bool_] = slice(None)
        if rows.min() < 0:  # entities that are another region's by now
            known = rows >= 0
            rows = rows[known]
        d, k = delta, known
        take_renewals(
            rows, d.version[k], d.p[k], d.v[k], d.yaw[k], d.age[k], d.flags[k], d.tick, d.snapshot, self.hot, self.cold
        )
        if d.snapshot:
            take_far(
                rows, d.far_version[k], d.far_p[k], d.far_v[k], d.far_yaw[k], d.far_age[k], d.tick, self.hot, self.cold
            )

    def rows_of(self, delta: RegionDelta, rows: npt.NDArray[np.uint32]) -> Rows:
        """Mirror rows of shard rows of ``delta``'s region (-1: not mirrored)."""
        region = self._regions.get(delta.region)
        if region is None:
            return np.full(len(rows), -1, np.int64)
        inside = rows < len(region.row)
        return np.where(inside, region.row[np.where(inside, rows, 0)], -1).astype(np.int64)

    def row_of(self, entity: int) -> int:
        """Mirror row of one entity, or -1 while its enter has not come."""
        return self._row_of_id.get(entity, -1)

    def home_of(self, entity: int) -> int:
        """The region where an entity is; NOWHERE if it is not mirrored, or in transit."""
        row = self._row_of_id.get(entity, -1)
        return NOWHERE if row < 0 else int(self._home[row])

    def is_at(self, entity: int, region: int, shard_row: int) -> bool:
        """Whether an entity is in that row of a region."""
        row = self._row_of_id.get(entity, -1)
        return row >= 0 and int(self._home[row]) == region and int(self._home_row[row]) == shard_row

    def heard(self, region: int) -> tuple[int, int]:
        """Epoch and number of the newest delta of a region; zeros if it is not mirrored."""
        held = self._regions.get(region)
        return (0, 0) if held is None else (held.epoch, held.seq)

    @property
    def regions(self) -> list[int]:
        """Those that are mirrored, ascending."""
        return sorted(self._regions)

    def _enter(self, region: _Region, delta: RegionDelta) -> None:
        """Entities begin, or come over from where they were: those keep their mirror rows."""
        region.reserve(int(delta.enter_row.max()) + 1)
        ids = delta.enter_id.tolist()
        rows = np.fromiter(map(self._row_of_id.get, ids, repeat(-1)), np.int64, len(ids))
        hop = delta.enter_hop.astype(np.int64) if len(delta.enter_hop) else np.zeros(len(ids), np.int64)
        known = rows >= 0
        if known.any():
            # Of a region that took the place of others the entities kept their hops.
            is_home = (self._until[rows] == delta.tick) | bool(delta.former)
            is_home &= (self._home[rows] == NOWHERE) & delta.snapshot
            newer = known & ((hop > self._hop[rows]) | (is_home & (hop == self._hop[rows])))
            again = newer & delta.snapshot & self._is_another_life(delta, rows)
            self._leave_home(rows[newer])
            self._drop(rows[again])
            rows[again], known = -1, known & ~again
            ours = ~known | newer
            self._claim(delta, ours)
        else:
            ours = np.ones(len(ids), np.bool_)
        fresh = ~known
        count = int(fresh.sum())
        if count:
            rows[fresh] = self._take_rows(count)
            begun = rows[fresh]
            self.hot[begun] = np.zeros(1, HOT)
            self.cold[begun] = np.zeros(1, COLD)
            self._is_sorted = False
            self.hot["serial"][begun] = self._next_serial + np.arange(count, dtype=np.uint32)
            self._next_serial += count
            self.cold["id"][begun] = delta.enter_id[fresh]
            self._row_of_id.update(zip(delta.enter_id[fresh].tolist(), begun.tolist(), strict=True))
        shard_rows = delta.enter_row.astype(np.int64)
        region.row[shard_rows] = np.where(ours, rows, -1)
        region.generation[shard_rows] = delta.enter_generation
        sizes = delta.enter_blob_bytes.astype(np.int64)
        base = self._store(delta.enter_blobs)
        starts = base + np.cumsum(sizes) - sizes
        rows = rows[ours]
        self._home[rows], self._home_row[rows], self._hop[rows] = delta.region, shard_rows[ours], hop[ours]
        self.cold["kind"][rows] = delta.enter_kind[ours]
        self.hot["weight"][rows] = self._weights[delta.enter_kind[ours]]
        changed = self.hot["state_version"][rows] != delta.enter_state_version[ours]
        self.hot["state_version"][rows] = delta.enter_state_version[ours]
        # What changed is not known here: views that hold an older state get the whole blob.
        self.hot["state_tick"][rows[changed]] = NO_TICK
        self.cold["full_bytes"][rows], self.cold["full_at"][rows] = sizes[ours], starts[ours]

    def _claim(self, delta: RegionDelta, ours: npt.NDArray[np.bool_]) -> None:
        """Remember who told of entities that are another region's, as far as is known."""
        if ours.all():
            return
        if len(self._claims) > CLAIMS_MAX:
            self.missed |= set(self._claims.values())
            self._claims.clear()
        self._claims |= dict.fromkeys(delta.enter_id[~ours].tolist(), delta.region)

    def _is_another_life(self, delta: RegionDelta, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which entities of a snapshot began anew behind an owner's crash: their versions do not go on from ours, so
        that an equal number may mean another state."""
        room = int(delta.enter_row.max()) + 1
        at = np.full(room, -1, np.int64)
        told = delta.row < room
        at[delta.row[told]] = np.flatnonzero(told)
        at = at[delta.enter_row]
        c, h = self.cold[rows], self.hot[rows]
        back = delta.enter_state_version < h["state_version"]
        for level, version, p, v in (
            ("", delta.version, delta.p, delta.v),
            ("far_", delta.far_version, delta.far_p, delta.far_v),
        ):
            if not len(version):
                continue
            ahead = (version[at] - h[f"{level}version"]).astype(np.int32)
            same = (c[f"{level}px"] == p[at, 0]) & (c[f"{level}pz"] == p[at, 2]) & (c[f"{level}py"] == p[at, 1])
            same &= (c[f"{level}vx"] == v[at, 0]) & (c[f"{level}vz"] == v[at, 2]) & (c[f"{level}vy"] == v[at, 1])
            back |= (ahead < 0) | ((ahead == 0) & ~same)
        return back & (at >= 0)

    def _leave_home(self, rows: Rows) -> None:
        """These rows are another region's from now on; where they were may say so later."""
        homes = self._home[rows]
        for number in np.unique(homes[homes != NOWHERE]).tolist():
            held = self._regions.get(number)
            if held is not None:
                held.row[self._home_row[rows[homes == number]]] = -1

    def _take_rows(self, count: int) -> Rows:
        reused = self._free[:count]
        self._free = self._free[count:]
        fresh = count - len(reused)
        self._reserve(self.high + fresh)
        rows = np.concatenate([reused, np.arange(self.high, self.high + fresh, dtype=np.int64)])
        self.high += fresh
        self.count += count
        return rows

    def _drop(self, rows: Rows) -> None:
        for gone in self.cold["id"][rows].tolist():
            del self._row_of_id[gone]
            claim = self._claims.pop(gone, None) if self._claims else None
            if claim in self._regions:
                self.missed.add(claim)
        self._is_sorted = False
        self.hot["serial"][rows] = 0
        self.hot["version"][rows] = 0
        self.view_of[rows] = -1
        self._home[rows] = NOWHERE
        self._free = np.concatenate([self._free, rows])
        self.count -= len(rows)

    def _states(self, region: _Region, delta: RegionDelta) -> None:
        rows = region.row[delta.state_row].astype(np.int64)
        changed, full = delta.state_changed_bytes.astype(np.int64), delta.state_full_bytes.astype(np.int64)
        base = self._store(delta.state_blobs)
        ends = base + np.cumsum(np.concatenate([changed, full]))
        count = len(rows)
        changed_at, full_at = ends[:count] - changed, ends[count:] - full
        known: slice | npt.NDArray[np.bool_] = slice(None)
        if rows.min() < 0:
            known = rows >= 0
            rows = rows[known]
        self.cold["changed_bytes"][rows], self.cold["changed_at"][rows] = changed[known], changed_at[known]
        self.cold["full_bytes"][rows], self.cold["full_at"][rows] = full[known], full_at[known]
        self.hot["state_version"][rows] = delta.state_version[known]
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
        if len(self._transit):
            self._end_transit(tick)
        self.count, moved = extrapolate(self.high, tick, self.hot, self.cold, self._bounds)
        if self._outer_units:
            renew_outer(self.high, tick, self._outer_units, self.hot, self.cold, self.outer, self._outer_versions)
        if moved or not self._is_sorted:
            sort_into_cells(self.high, self.hot, self._bounds, self.cell_units, self.grid, self._cell_of)
            self._is_sorted = True

    def _end_transit(self, tick: int) -> None:
        """Forget who came somewhere; who came nowhere in time leaves."""
        rows = np.unique(self._transit)
        rows = rows[(self.hot["serial"][rows] != 0) & (self._home[rows] == NOWHERE)]
        late = tick > self._until[rows]
        self._drop(rows[late])
        self._transit = rows[~late]
        self._retired = [retired for retired in self._retired if tick <= retired.until]
