"""A region is split into its quarters, or four become one: all that it holds goes to those who take its place.

Theory of operation. The regions hold still (``border.holding``), so nothing is under way between them and anybody. At
the end of a step their rows, timers, what is pending, answers and subscribers go to new states, which go on in the
next step. Hops, versions and published states stay: views and the durable store notice nothing, rows are not written
again. Who hangs together stays together, where what carries them is.

Invariants: each entity is in one of the new regions; whoever was near what is a border now is a ghost beyond it from
the first step on. Not responsible for: when this is done, and what the records say (``cluster.reshaping``).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.regions import quarters
from protocol.place import StaticMap
from shard.acting import Acting
from shard.border.ghosts import MOTION, outside_m
from shard.border.links import MARGIN_M, Square, Tombstone
from shard.phases import index
from shard.physics.pool import Pool
from shard.physics.stock import Stock
from shard.region import RegionCore
from shard.state import ShardState
from shard.world.components import Body

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
_OWN = ("live", "ghost", "generation", "id", "kind")
"""Columns that a table sets itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a former region that go to one new one, int64[k]; ``first``: it also takes what is nobody's."""

    core: RegionCore
    rows: I64
    first: bool


def stock_for(former: Iterable[RegionCore], squares: Mapping[int, Square], pool: Pool) -> Stock:
    """Bodies for those who have one and will be in the new regions, or near them, if nobody moves."""
    wanted: dict[int, Counter[Body]] = {region: Counter() for region in squares}
    ground: StaticMap | None = None
    for core in former:
        table, ground = core.state.table, core.state.ground
        bodies = [kind.body for kind in core.state.registry.kinds]
        rows = table.present()
        rows = rows[table.columns["p.body"][rows]]
        for region, square in squares.items():
            near = rows[outside_m(table.pos[rows], square) <= MARGIN_M]
            counts = np.bincount(table.kind[near], minlength=len(bodies) + 1)[1:]
            wanted[region] += Counter(
                {body: int(count) for body, count in zip(bodies, counts, strict=True) if body is not None}
            )
    assert ground is not None
    return Stock(ground, pool, squares, wanted)


def reshape(former: Mapping[int, RegionCore], now: Mapping[int, RegionCore], stock: Stock | None = None) -> None:
    """Fill ``now``, which have not stepped yet, with all that ``former`` hold, as of the end of their last step."""
    parts: dict[int, list[Part]] = {number: [] for number in now}
    for number, core in former.items():
        table = core.state.table
        rows = table.rows()
        if len(now) == 1:
            where = np.full(len(rows), next(iter(now)))
        else:
            where = np.array(quarters(number))[_quarter(core.state, rows)]
        for region in now:
            is_first = len(now) == 1 or region == min(now)
            parts[region].append(Part(core, rows[where == region], is_first))
    for region, core in now.items():
        _fill(core, parts[region])
    for region, core in now.items():
        _see(core, parts[region], {other: now[other] for other in now if other != region}, former)
        core.state.exchange.rebuild(None if stock is None else stock.take(region))
        core.begin_reshaped(sorted(former))
        core.state.world.looks_around = any(other.state.world.looks_around for other in former.values())
        index.run(core.state)


def _quarter(state: ShardState, rows: I64) -> I64:
    """The quarter that each row belongs to, int64[k] of 0 to 3: that of what carries it, if something does."""
    assert state.config.square_m is not None
    x0, z0, x1, z1 = state.config.square_m
    table = state.table
    top = np.arange(table.high)
    for children, parents in state.attachments.levels():
        top[children] = top[parents]
    pos = table.pos[top[rows]]
    found: I64 = (pos[:, 0] >= (x0 + x1) / 2) + 2 * (pos[:, 2] >= (z0 + z1) / 2)
    return found


def _fill(core: RegionCore, parts: Sequence[Part]) -> None:
    state = core.state
    table, columns = state.table, state.table.columns
    for part in parts:
        old = part.core.state.table
        rows = table.begin(old.kind[part.rows], old.id[part.rows], over=True)
        for name, column in old.columns.items():
            if name not in _OWN and not name.startswith("p."):  # what physics keeps is made anew
                columns[name][rows] = column[part.rows]
        for name in ("h.handover", "h.from", "h.number", "h.born"):
            columns[name][rows] = 0
        columns["o.due"][rows] = 1
        _take_pending(state, part)
        if core.journal is not None and part.core.journal is not None:
            core.journal.inherit(part.core.journal, part.rows, rows)
    owned = table.rows()
    owned = owned[columns["o.session"][owned] != 0]
    state.row_of_session = dict(zip(columns["o.session"][owned].tolist(), owned.tolist(), strict=True))
    state.acting = Acting.shared([part.core.state.acting for part in parts], state.row_of_session.keys(), state.acting)
    formers = [part.core.state for part in parts]
    state.gateways.inherit([former.gateways for former in formers])
    state.spawned = max(former.spawned for former in formers)
    state.links.next_handover = max(former.links.next_handover for former in formers)
    for former in formers:
        for entity, stone in former.links.tombstones.items():
            if stone.to in state.links.neighbours and table.row(entity) < 0:
                state.links.bury(
                    entity, Tombstone(stone.to, 0, stone.hop, -1, entity & 0xFFFFFFFF, stone.session, stone.until)
                )
    enabled = [[behaviour.enabled for behaviour in former.runner.behaviours] for former in formers]
    for behaviour, *flags in zip(state.runner.behaviours, *enabled, strict=True):
        behaviour.enabled = all(flags)


def _take_pending(state: ShardState, part: Part) -> None:
    """Timers, what behaviours will be told, who is to leave: of those who come. What is of nobody who is here goes to
    the first."""
    former = part.core.state
    ids = former.table.id[part.rows]
    mine = set(ids.tolist())
    runner, old = state.runner, former.runner
    runner.timers.append(old.timers.rows[np.isin(old.timers.rows["id"], ids)])
    pending = old.pending
    runner.pending.started = True
    runner.pending.enter += [id_ for id_ in pending.enter if id_ in mine]
    runner.pending.messages += [
        (topic, to, payload) for topic, who, payload in pending.messages if (to := [id_ for id_ in who if id_ in mine])
    ]
    state.doomed += [id_ for id_ in former.doomed if id_ in mine]
    if part.first:
        runner.pending.leave += pending.leave
        state.owed += part.core.owed()
        state.links.deferred += former.links.deferred


def _see(
    core: RegionCore, parts: Sequence[Part], beside: Mapping[int, RegionCore], former: Mapping[int, object]
) -> None:
    """Ghosts: of the neighbours as they were, and of those who are beyond what is a border now."""
    state = core.state
    assert state.config.square_m is not None
    for part in parts:
        table = part.core.state.table
        ghosts = table.ghosts()
        ghosts = ghosts[~np.isin(table.columns["g.from"][ghosts], list(former))]
        _add_ghosts(state, part.core.state, ghosts, table.columns["g.from"][ghosts])
    for number, other in beside.items():
        rows = other.state.table.rows()
        _add_ghosts(state, other.state, rows, np.full(len(rows), number))


def _add_ghosts(state: ShardState, source: ShardState, rows: I64, home: I64) -> None:
    assert state.config.square_m is not None
    old, table = source.table, state.table
    near = outside_m(old.pos[rows], state.config.square_m) <= MARGIN_M
    near &= np.isin(home, list(state.links.neighbours)) & (table.find(old.id[rows]) < 0)
    rows, home = rows[near], home[near]
    if not len(rows):
        return
    made = table.begin(old.kind[rows], old.id[rows], ghost=True, over=True)
    names = [*MOTION, "hop", *(f"c.{component.name}" for component in state.registry.components.values())]
    for name in names:
        table.columns[name][made] = old.columns[name][rows]
    table.columns["g.from"][made] = home
    for number in np.unique(home).tolist():
        state.links.neighbours[number].heard_tick = state.tick
