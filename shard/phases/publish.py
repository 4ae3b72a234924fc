"""Phase 5: what changed, as one delta in columns, encoded once for all gateways.

Invariants: an entity that enters is among the renewals of the same delta (its published version was 0, or it came from
a neighbour, and then its versions go on); a row that leaves was told of before; ``own_*`` goes out when a command was
applied, in part or wholly, or the body was moved by something else. Not responsible for: who sees what, sending.
"""

import numpy as np
import numpy.typing as npt

from kernels.publish import renew
from protocol.layouts import GRID_PER_M, OWN_MOVED, OWN_ON_GROUND, SHOWN_PER_M
from protocol.link import RegionDelta
from protocol.walking import FLAG_ON_GROUND
from shard.phases import poses
from shard.state import ShardState
from shard.world import blobs

I64 = npt.NDArray[np.int64]


FORMER_S = 5.0
"""So long after a split or merge snapshots tell of it: a gateway that has not heard of it by then has let go of what
was there."""


def run(state: ShardState, schema: bool) -> RegionDelta:
    """Renew published states and say what is new. ``schema``: put it in."""
    table = state.table
    config = state.config
    live = table.rows()
    columns = table.columns
    new = columns["w.version"][live] == 0
    if state.arrived:
        came = np.array(state.arrived, np.int64)
        columns["w.state_version"][came] += np.uint32(1)
        new |= np.isin(live, came)
    entering = live[new]
    delta = RegionDelta(config.region, config.epoch, state.seq, state.tick, born=state.links.born)
    delta.leave_row = np.array(state.leave_row, np.uint32)
    delta.moved_row, delta.moved_to = np.array(state.moved_row, np.uint32), np.array(state.moved_to, np.int64)
    standing = live[~new]
    _states(state, delta, standing)
    if len(entering):
        columns["w.state_version"][live[columns["w.version"][live] == 0]] = 1
        blobs.remember(table, entering)
        _enters(state, delta, entering)
    _renewals(state, delta, live)
    _owns(state, delta)
    _kept(state, delta)
    poses.tell(state, delta)
    delta.attached = list(state.attached)
    delta.refused = list(state.refused)
    delta.events = list(state.events)
    delta.answers = list(state.answers)
    delta.heard = state.gateways.heard()
    if schema:
        delta.schema = state.registry.schema
    return delta


def snapshot(state: ShardState, seq: int) -> RegionDelta:
    """Everything that a gateway needs that knows nothing yet: as of the last step, which it takes the place of."""
    table = state.table
    columns = table.columns
    live = table.rows()
    live = live[columns["w.version"][live] != 0]
    config = state.config
    delta = RegionDelta(config.region, config.epoch, seq, state.tick, snapshot=True, born=state.links.born)
    if state.tick - state.reshaped <= FORMER_S * config.rate_hz:
        delta.former = state.former
    _enters(state, delta, live)
    published = state.published()
    delta.row = live.astype(np.uint32)
    delta.version = published.version[live]
    delta.p = published.p[live]
    delta.v = published.v[live]
    delta.yaw = published.yaw[live]
    delta.age = _age(state.tick - published.tick[live])
    delta.flags = np.ones(len(live), np.uint8)
    delta.far_version = published.far_version[live]
    delta.far_p = published.far_p[live]
    delta.far_v = published.far_v[live]
    delta.far_yaw = published.far_yaw[live]
    delta.far_age = _age(state.tick - published.far_tick[live])
    bodies = live[columns["o.attached"][live] != 0]
    _own_columns(state, delta, bodies)
    poses.tell_all(state, delta)
    state.attached = []  # whoever begins anew is told of all bodies
    for row in live[columns["o.session"][live] != 0].tolist():
        state.told_attached(row)
    delta.attached = state.attached
    delta.refused = list(state.refused)
    delta.events = list(state.events)
    delta.answers = list(state.answers)
    delta.heard = state.gateways.heard()
    delta.schema = state.registry.schema
    return delta


def _age(ticks: I64) -> npt.NDArray[np.uint16]:
    """A state of a thing at rest may be older than 16 bits tell; it does not move, so any age gives the same place."""
    return np.minimum(ticks, 0xFFFF).astype(np.uint16)


def _enters(state: ShardState, delta: RegionDelta, rows: I64) -> None:
    table = state.table
    full = blobs.full_blobs(table, rows)
    delta.enter_row = rows.astype(np.uint32)
    delta.enter_generation = table.generation[rows]
    delta.enter_id = table.id[rows]
    delta.enter_kind = table.kind[rows]
    delta.enter_hop = table.hop[rows]
    delta.enter_state_version = table.columns["w.state_version"][rows]
    delta.enter_blob_bytes = np.array([len(blob) for blob in full], np.uint16)
    delta.enter_blobs = b"".join(full)


def _states(state: ShardState, delta: RegionDelta, rows: I64) -> None:
    changed, parts, full = blobs.changed(state.table, rows, state.touched)
    if not len(changed):
        return
    version = state.table.columns["w.state_version"]
    version[changed] += np.uint32(1)
    delta.state_row = changed.astype(np.uint32)
    delta.state_version = version[changed]
    delta.state_changed_bytes = np.array([len(blob) for blob in parts], np.uint16)
    delta.state_full_bytes = np.array([len(blob) for blob in full], np.uint16)
    delta.state_blobs = b"".join(parts) + b"".join(full)


def _kept(state: ShardState, delta: RegionDelta) -> None:
    if not len(state.kept):
        return
    table = state.table
    rows = np.unique(state.kept)
    rows = rows[table.live[rows] & ~table.ghost[rows]]  # some may have gone in this step
    delta.kept_row = rows.astype(np.uint32)
    delta.kept_row_generation, delta.kept_id = table.generation[rows], table.id[rows]
    delta.kept_session, delta.kept_generation, delta.kept_gateway, delta.kept_acted = (
        table.columns[f"o.{name}"][rows] for name in ("session", "generation", "gateway", "acted")
    )


def _renewals(state: ShardState, delta: RegionDelta, live: I64) -> None:
    config = state.config
    table = state.table
    published = state.published()
    rows = np.empty(len(live), np.uint32)
    flags = np.empty(len(live), np.uint8)
    count = renew(
        live.astype(np.uint32),
        table.pos,
        table.vel,
        table.yaw,
        float(config.rate_hz),
        state.tick,
        np.array([config.tolerance_near_m, config.tolerance_far_m * state.far_slack]),
        np.array([config.yaw_tolerance_near, config.yaw_tolerance_far], np.int64),
        config.age_ticks_max,
        published,
        rows,
        flags,
    )
    rows = rows[:count]
    delta.row = rows
    delta.flags = flags[:count]
    delta.version = published.version[rows]
    delta.p = published.p[rows]
    delta.v = published.v[rows]
    delta.yaw = published.yaw[rows]
    delta.age = np.zeros(count, np.uint16)


def _owns(state: ShardState, delta: RegionDelta) -> None:
    """Rows of sessions' bodies of which something is to be told."""
    rows = state.walkers()
    columns = state.table.columns
    seq, steps = columns["o.seq"], columns["q.done"]
    ground = _ground_flags(state, rows)
    due = (
        (seq[rows] != columns["o.told_seq"][rows])
        | (steps[rows] != columns["o.told_steps"][rows])
        | (ground != columns["o.told_flags"][rows])
        | (columns["o.moved"][rows] != 0)
        | (columns["o.due"][rows] != 0)
    ) & (columns["o.attached"][rows] != 0)
    told = rows[due]
    _own_columns(state, delta, told)
    columns["o.told_seq"][told] = seq[told]
    columns["o.told_steps"][told] = steps[told]
    columns["o.told_flags"][told] = ground[due]
    columns["o.moved"][rows] = 0
    columns["o.due"][told] = 0


def _ground_flags(state: ShardState, rows: I64) -> npt.NDArray[np.uint8]:
    on_ground = (state.table.flags[rows] & FLAG_ON_GROUND) != 0
    return np.where(on_ground, OWN_ON_GROUND, 0).astype(np.uint8)


def _own_columns(state: ShardState, delta: RegionDelta, rows: I64) -> None:
    table = state.table
    columns = table.columns
    moved = np.where(columns["o.moved"][rows] != 0, OWN_MOVED, 0).astype(np.uint8)
    velocity = np.rint(table.vel[rows] * (SHOWN_PER_M / state.config.rate_hz))
    delta.own_row = rows.astype(np.uint32)
    delta.own_seq = columns["o.seq"][rows]
    delta.own_steps = columns["q.done"][rows]
    delta.own_flags = _ground_flags(state, rows) | moved
    delta.own_p = np.rint(table.pos[rows] * GRID_PER_M).astype(np.int32)
    delta.own_v = np.clip(velocity, -32767, 32767).astype(np.int16)
