"""Phase 2: world authors' behaviours, and what they asked for. Not responsible for: what they see
(``shard.behaviours.world``), what happens to those elsewhere (``shard.border.acts``)."""

import numpy as np
import numpy.typing as npt

from shard.behaviours.world import Asked
from shard.border import acts, bringing
from shard.phases import actions
from shard.state import ShardState
from shard.world.attachments import AttachError
from shard.world.table import OutOfIdsError, TableFullError

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]


def run(state: ShardState) -> None:
    """Call what is due, and carry out what was asked for."""
    state.world.advance(state.tick, state.tick - state.ticks, state.cells)

    def do(asked: Asked, touched: set[str]) -> None:
        apply(state, asked, touched)

    state.runner.run(do, lambda: actions.run(state, do))


def _move(state: ShardState, ids: U64, where: F64) -> None:
    """Put bodies to places; their clients' next own state says that something else moved them."""
    table = state.table
    rows = table.find(ids)
    here = (rows >= 0) & ~table.ghost[rows]
    rows = rows[here]
    table.pos[rows], table.vel[rows] = where[here], 0.0
    table.columns["o.moved"][rows] = 1


def apply(state: ShardState, asked: Asked, touched: set[str]) -> None:
    """Carry out what a behaviour asked for. Spawns that find no room are refused as a whole and reported."""
    state.touched |= touched
    for kind, ids, values in asked.spawn:
        try:
            state.begin(kind, ids, values)
        except (TableFullError, OutOfIdsError) as error:
            state.runner.complain(f"spawn of {len(ids)} {state.registry.kind(kind).name}", error)
    for who, where in asked.move:
        _move(state, who, where)
    for who, whom, beside_m in asked.bring:
        bringing.bring(state, who, whom, beside_m)
    for children, parents in asked.attach:
        try:
            if parents:
                state.attachments.attach(children, parents)
            else:
                state.attachments.detach(children)
        except AttachError as error:
            state.runner.complain(f"attach of {len(children)} entities", error)
    for ids in asked.despawn:
        acts.despawn(state, ids)
    for due, topic, ids, numbers in asked.timers:
        acts.timers(state, due, topic, ids, numbers)
    for topic, to, payload in asked.messages:
        acts.message(state, topic, to, payload)
    for entity, name, payload in asked.tell:
        if entity is None:
            state.events.append([None, None, name, payload])
        else:
            acts.tell(state, entity, name, payload)
    for ids, metres in asked.push:
        acts.push(state, ids, metres)
