"""All invariants of a shard's world in one function, for tests and for validating a dump.

Not responsible for: mending anything.
"""

import numpy as np

from kernels.walk import fit_at
from protocol.walking import FLAG_ON_GROUND
from shard.state import ShardState


def broken(state: ShardState) -> list[str]:
    """What is wrong, one line each; empty if all invariants hold. Costs a pass over everything."""
    table = state.table
    columns = table.columns
    live = np.flatnonzero(table.live[: table.high])
    ids = table.id[live]
    free = table.free
    found = [
        text
        for bad, text in (
            (len(set(free)) != len(free), "a row is in the free list twice"),
            (bool(table.live[free].any()) if free else False, "a live row is in the free list"),
            (len(live) + len(free) != table.high, "rows were lost: neither live nor free"),
            (table.count != len(live), f"count is {table.count}, {len(live)} rows live"),
            (bool(table.live[table.high :].any()), "a row above high lives"),
            (len(np.unique(ids)) != len(ids), "an id is there twice"),
            (any(table.row(int(id_)) != row for id_, row in zip(ids, live, strict=True)), "an id leads to another row"),
            (not np.array_equal(table.present(), live), "the kept list of rows is old"),
            (not np.array_equal(table.rows(), live[~table.ghost[live]]), "a ghost is among the own rows"),
            (bool((table.generation[live] == 0).any()), "a live row has generation 0"),
            (not np.isfinite(table.pos[live]).all(), "a position is not finite"),
            (not np.isfinite(table.vel[live]).all(), "a velocity is not finite"),
            (bool((columns["q.queued"][live] < 0).any()), "a queue has fewer than no commands"),
            (bool((columns["q.queued"][live] > columns["q.seq"].shape[1]).any()), "a queue is longer than it is"),
            (bool((columns["q.bank"][live] < 0).any()), "a walker took more steps than it earned"),
            (bool((columns["q.bank"][live] > state.config.bank_steps_max).any()), "a walker saved up too much"),
        )
        if bad
    ]
    live = live[~table.ghost[live]]
    sessions = columns["o.session"][live]
    owned = live[sessions != 0]
    if len(np.unique(columns["o.session"][owned])) != len(owned):
        found.append("a session has two bodies")
    if state.row_of_session != {int(columns["o.session"][row]): int(row) for row in owned}:
        found.append("the index of sessions differs from the columns")
    if state.replay is None:
        walkers = state.walkers()
        fits = np.zeros(len(walkers), np.uint8)
        standing = (table.flags[walkers] & FLAG_ON_GROUND) != 0
        fit_at(state.ground.walk, table.pos[walkers], fits)
        if bool((standing & (fits == 0)).any()):
            found.append(f"walkers are inside obstacles: rows {walkers[standing & (fits == 0)].tolist()}")
    return found
