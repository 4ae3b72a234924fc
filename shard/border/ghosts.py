"""Ghosts: what lies near a neighbour's square is told to it each tick, and what it tells stands here as marked rows.

Invariants: a ghost is never published, dumped, given to behaviours' ``every`` or counted as a person; it goes on by its
last velocity, and by contacts here, until its home tells it anew. An entity of which two neighbours tell is that of
the higher hop. Not responsible for: acts on ghosts (``acts``), the moment at which a ghost becomes an own entity
(``crossing``).
"""

import numpy as np
import numpy.typing as npt

from protocol.border import Border
from shard.border.links import GHOSTS_KEPT_S, MARGIN_M, Neighbour, Square, Told
from shard.state import ShardState
from shard.world.table import TableFullError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
MOTION = ("pos", "vel", "yaw", "spin", "flags")


def outside_m(pos: F64, square: Square) -> F64:
    """How far places ``pos`` float64[k, 3] are outside of a square, float64[k] metres (0: inside)."""
    x0, z0, x1, z1 = square
    dx = np.maximum(np.maximum(x0 - pos[:, 0], pos[:, 0] - x1), 0.0)
    dz = np.maximum(np.maximum(z0 - pos[:, 2], pos[:, 2] - z1), 0.0)
    distance: F64 = np.hypot(dx, dz)
    return distance


def near_border(state: ShardState, square: Square) -> I64:
    """Own rows that some neighbour may have to be told of, int64[k]."""
    rows = state.table.rows()
    x0, z0, x1, z1 = square
    x, z = state.table.pos[rows, 0], state.table.pos[rows, 2]
    inner = (x > x0 + MARGIN_M) & (x < x1 - MARGIN_M) & (z > z0 + MARGIN_M) & (z < z1 - MARGIN_M)
    near: I64 = rows[~inner]
    return near


def departed(state: ShardState) -> I64:
    """Rows of ghosts that left from here and may not have begun over there yet, int64[k]."""
    links = state.links
    ids = [entity for entity, stone in links.tombstones.items() if not links.acknowledged(stone)]
    rows = state.table.rows_of(ids)
    return rows[state.table.ghost[rows]]


def tell(state: ShardState, neighbour: Neighbour, rows: I64, gone: I64, message: Border) -> None:
    """Put the ghosts for one neighbour into ``message``: those of ``rows`` (own) that are near it, and of ``gone``
    those that another neighbour is about to take over."""
    table = state.table
    gone = gone[table.columns["g.from"][gone] != neighbour.region]
    both = np.concatenate([rows, gone])
    both = both[outside_m(table.pos[both], neighbour.square_m) <= MARGIN_M]
    if not len(both):
        return
    message.ghost_id = table.id[both]
    # As long as the new owner has not told of it, the copy that was left here counts less than what that will tell.
    message.ghost_hop = table.hop[both] - table.ghost[both].astype(np.uint32)
    message.ghost_kind = table.kind[both]
    message.ghost_pos, message.ghost_vel = table.pos[both], table.vel[both]
    message.ghost_yaw, message.ghost_spin = table.yaw[both], table.spin[both]
    message.ghost_flags = table.flags[both]
    for component in state.registry.of_kinds(np.flatnonzero(np.bincount(message.ghost_kind)).tolist()):
        column = table.columns[f"c.{component.name}"]
        message.components.append([component.name, column.dtype.str, column[both].tobytes()])


def take(state: ShardState, neighbour: Neighbour, message: Border) -> None:
    """The ghosts of one neighbour are those of ``message``, and no others."""
    if not len(message.ghost_id) and not neighbour.has_ghosts:
        return
    neighbour.has_ghosts = len(message.ghost_id) > 0
    table = state.table
    columns = table.columns
    known = (message.ghost_kind >= 1) & (message.ghost_kind <= len(state.registry.kinds))
    with np.errstate(all="ignore"):  # a sum is finite only if all of its parts are
        parts = message.ghost_pos.sum(axis=1), message.ghost_vel.sum(axis=1), message.ghost_yaw, message.ghost_spin
        known &= np.isfinite(parts[0] + parts[1] + parts[2] + parts[3])
    at: I64 | slice = slice(None)
    if known.all() and _are_held(state, neighbour, message):
        rows = neighbour.told.rows
    else:
        told = np.flatnonzero(known)
        keep, found = _find(state, message, told)
        at, rows = told[keep], found[keep]
        columns["g.from"][rows] = neighbour.region
        neighbour.told = Told(message.ghost_id[at], rows, table.generation[rows])
    table.hop[rows] = message.ghost_hop[at]
    for name in MOTION:
        columns[name][rows] = getattr(message, f"ghost_{name}")[at]
    for name, dtype, data in message.components:
        column = columns.get(f"c.{name}")
        if column is not None and column.dtype.str == dtype and len(data) == column.itemsize * len(message.ghost_id):
            column[rows] = np.frombuffer(data, column.dtype)[at]
    _end_others(state, neighbour.region, rows)


def _are_held(state: ShardState, neighbour: Neighbour, message: Border) -> bool:
    """Whether the ghosts of a message are those of the last one, each still as it was left, and none is older."""
    table, held = state.table, neighbour.told
    rows = held.rows
    return (
        len(held.ids) == len(message.ghost_id)
        and bool((held.ids == message.ghost_id).all())
        and bool((table.live[rows] & table.ghost[rows] & (table.generation[rows] == held.generations)).all())
        and bool(((table.columns["g.from"][rows] == neighbour.region) & (table.hop[rows] <= message.ghost_hop)).all())
    )


def _find(state: ShardState, message: Border, told: I64) -> tuple[npt.NDArray[np.bool_], I64]:
    """Which of the ghosts ``told`` are to be kept, bool[k], and their rows, int64[k]: new ones begin."""
    table, links = state.table, state.links
    ids, hops = message.ghost_id[told], message.ghost_hop[told]
    rows = table.find(ids)
    own = (rows >= 0) & ~table.ghost[rows]
    for k in np.flatnonzero(own & (hops > table.hop[rows])).tolist():
        # Somebody over there has it with a newer hop: ours is a double that a crash left behind.
        links.counts["superseded by a ghost"] += 1
        state.end(rows[k : k + 1])
    keep = ~own & ((rows < 0) | (table.hop[rows] <= hops))
    for k in np.flatnonzero(keep & (rows < 0)).tolist() if links.tombstones else ():
        stone = links.tombstones.get(int(ids[k]))
        keep[k] = stone is None or stone.hop <= hops[k]  # else it is told from where it was before it came here
    fresh = np.flatnonzero(keep & (rows < 0))
    if len(fresh):
        once = fresh[np.unique(ids[fresh], return_index=True)[1]]
        keep[fresh] = False
        keep[once] = True
        fresh = once
        try:
            rows[fresh] = table.begin(message.ghost_kind[told][fresh], ids[fresh], ghost=True)
        except TableFullError:
            links.counts["ghosts without room"] += len(fresh)
            keep[fresh] = False
    return keep, rows


def _end_others(state: ShardState, region: int, rows: I64) -> None:
    """Ghosts of a region that are not among ``rows`` end, but for those that are on their way to it."""
    table = state.table
    ghosts = table.ghosts()
    old = ghosts[table.columns["g.from"][ghosts] == region]
    if len(old) > len(rows):  # ``rows`` are among them
        old = np.setdiff1d(old, rows, assume_unique=True)
        on_their_way = np.intersect1d(old, departed(state))
        state.links.neighbours[region].has_ghosts |= len(on_their_way) > 0
        table.end(np.setdiff1d(old, on_their_way))


def expire(state: ShardState) -> None:
    """Ghosts of neighbours that are silent for too long end."""
    for neighbour in state.links.neighbours.values():
        if 0 <= neighbour.heard_tick < state.tick - GHOSTS_KEPT_S * state.config.rate_hz:
            neighbour.heard_tick = -1
            _end_others(state, neighbour.region, np.zeros(0, np.int64))


def predict(state: ShardState, dt_s: float) -> None:
    """Move ghosts that physics does not move by their velocities."""
    table = state.table
    ghosts = table.ghosts()
    if len(ghosts):
        loose = ghosts[state.kind_is_loose[table.kind[ghosts]]]
        table.pos[loose] += table.vel[loose] * dt_s
