"""Bodies that are called over a border by an act that has to be carried out there (``behaviours.api.Elsewhere``).

Theory of operation. An act on a thing across a border is left, and the body is asked to cross to the thing's region
wherever it stands, as if it had walked there; its gateway says the act again to whoever has the body. Over there the
body is outside of the region by an arm's length, and goes back by itself when it has rested (``crossing``). So an act
writes in one region only, and is done once, stored and answered there like any other.

Invariants: nobody is called for longer than CALL_S; a body on something else stays with that. Not responsible for: the
crossing itself.
"""

from shard.border.links import REST_S, Neighbour
from shard.state import ShardState

CALL_S = 2.0
"""A crossing takes some ticks; more than that is a region that cannot take anybody now, and somebody who waits."""
STAY_S = 0.25
"""Who has just arrived is called away no earlier: who presses buttons on both sides of a border in turn must not be
handed over in each tick."""


def call(state: ShardState, row: int, thing: int) -> bool:
    """The body in ``row`` shall go where a thing is; False if it cannot, or has been called for too long."""
    table = state.table
    entity, there = int(table.id[row]), table.row(thing)
    if there < 0 or not table.ghost[there] or table.columns["h.parent"][row] != 0:
        return False
    region = int(table.columns["g.from"][there])
    if region not in state.links.neighbours:
        return False
    called, since = state.links.called.get(entity, (region, state.tick))
    if called != region:
        since = state.tick
    if state.tick - since > CALL_S * state.config.rate_hz:
        state.links.counts["calls in vain"] += 1
        return False
    state.links.called[entity] = region, since
    return True


def answered(state: ShardState, row: int) -> None:
    """An act of the body in ``row`` is answered here: it need not go anywhere."""
    if state.links.called:
        state.links.called.pop(int(state.table.id[row]), None)


def ready(state: ShardState) -> list[tuple[int, Neighbour]]:
    """Rows that are called and may begin to cross, and where to. Who waits no longer is forgotten."""
    links, table, rate_hz = state.links, state.table, state.config.rate_hz
    columns = table.columns
    found = []
    for entity, (region, since) in list(links.called.items()):
        row, neighbour = table.row(entity), links.neighbours.get(region)
        # Kept for longer than the call: the act is said again, is refused then, and must not begin another one.
        if row < 0 or table.ghost[row] or neighbour is None or state.tick - since > (CALL_S + 1.0) * rate_hz:
            del links.called[entity]
            continue
        has_stayed = columns["h.rest"][row] - state.tick <= (REST_S - STAY_S) * rate_hz
        is_free = columns["h.handover"][row] == 0 and columns["h.parent"][row] == 0 and columns["w.version"][row] != 0
        if has_stayed and is_free and columns["h.pause"][row] <= state.tick:
            found.append((row, neighbour))
    return found
