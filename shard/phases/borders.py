"""First and last of a tick: what neighbours told us, and what we tell them (docs/CLUSTER.md).

Invariants: an older epoch is never accepted after a newer one; a message whose sender knows a newer epoch of this
region is dropped, for then the region is another process's; malformed or contradictory items are reported, and harm
nothing else. Not responsible for: hand-overs (``border.crossing``), acts, ghosts.
"""

from collections.abc import Iterable

import numpy as np

from protocol.border import Border, decode_item
from protocol.codes import ProtocolViolation
from shard.border import acts, crossing, ghosts, holding
from shard.border.links import Neighbour
from shard.phases import ingest
from shard.state import ShardState


def take_in(state: ShardState, messages: Iterable[Border]) -> None:
    """Take in what neighbours told, in whatever order it came."""
    links = state.links
    if state.doomed:
        doomed, state.doomed = state.doomed, []
        rows = state.table.rows_of(doomed)
        for row in rows[~state.table.ghost[rows]].tolist():
            state.end_body(row)
    if not links.neighbours:
        return
    for message in sorted(messages, key=lambda m: (m.source, m.epoch, m.tick, m.base)):
        neighbour = links.neighbours.get(message.source)
        if neighbour is None or message.target != state.config.region:
            links.counts["messages of strangers"] += 1
        elif message.epoch < neighbour.epoch:
            links.counts["messages of old owners"] += 1
        elif message.target_epoch > state.config.epoch:
            state.lost = True
        else:
            _take(state, neighbour, message)
    ghosts.expire(state)
    links.expire(state.tick)


def _take(state: ShardState, neighbour: Neighbour, message: Border) -> None:
    if message.epoch > neighbour.epoch:
        if neighbour.epoch:
            crossing.new_owner(state, neighbour)
        neighbour.epoch = message.epoch
        neighbour.values_tick = -1
        neighbour.hold = neighbour.held = 0
    channel = neighbour.channel
    born = channel.peer_born
    new = channel.take(message)
    if channel.peer_born != born:
        crossing.reborn(state, neighbour)
    for number, data in new:
        try:
            item = decode_item(data)
            if not crossing.take(state, neighbour, item, number) and not ingest.take(state, item):
                acts.take(state, item)
        except (ProtocolViolation, ValueError, OverflowError) as error:
            state.links.counts["bad items"] += 1
            state.runner.complain(f"item {number} of region {neighbour.region}", error)
    if message.tick > neighbour.values_tick:
        neighbour.values_tick = message.tick
        neighbour.hold, neighbour.held = message.hold, message.held
        ghosts.take(state, neighbour, message)
    neighbour.heard_tick = state.tick


def hand_out(state: ShardState) -> list[Border]:
    """At the end of a step: who crosses, and one message for each neighbour."""
    links = state.links
    if not links.neighbours:
        return []
    assert state.config.square_m is not None
    near = ghosts.near_border(state, state.config.square_m)
    changes = state.table.changes
    acts.say_deferred(state)
    crossing.run(state, near)
    if state.table.changes != changes:  # some have gone
        near = ghosts.near_border(state, state.config.square_m)
    gone = ghosts.departed(state) if links.tombstones else np.zeros(0, np.int64)
    out: list[Border] = []
    for neighbour in links.neighbours.values():
        channel = neighbour.channel
        message = Border(
            state.config.region, neighbour.region, state.config.epoch, neighbour.epoch, channel.born, state.tick,
            channel.first, channel.peer_born, channel.taken, channel.safe, *channel.former, channel.window(),
            links.hold, holding.promise(neighbour),
        )  # fmt: skip
        ghosts.tell(state, neighbour, near, gone, message)
        out.append(message)
    return out
