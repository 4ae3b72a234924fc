"""A region's neighbours change: one of them was split, or some were merged.

Decides what becomes of what named the former neighbours: ghosts of theirs are of those who are in their place, until
those tell of them; tombstones point there; what waits for them goes there (``acts``). Invariant: between those who are
gone and this region nothing was under way (``holding``), but for what a predecessor of this region wrote down before
it held still: that was taken and is durable where it went, and is forgotten. Not responsible for: when this is so.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cluster.partition import is_within
from protocol.border import Channel
from shard.border.ghosts import outside_m
from shard.border.links import Neighbour, Square
from shard.state import ShardState


def regroup(state: ShardState, neighbours: Mapping[int, Square]) -> None:
    """From now on these are the neighbours, with their squares."""
    links = state.links
    gone = [number for number in links.neighbours if number not in neighbours]
    come = [number for number in neighbours if number not in links.neighbours]
    state.config = replace(state.config, neighbours=tuple(sorted(neighbours.items())))
    if not gone and not come:
        return
    for number in gone:
        _part(state, links.neighbours.pop(number))
    for number in come:
        channel = Channel(links.born)
        channel.journaled = state.config.leaves is not None
        links.neighbours[number] = Neighbour(number, neighbours[number], channel)
    links.neighbours = dict(sorted(links.neighbours.items()))
    _relabel_ghosts(state, gone, {number: neighbours[number] for number in come})
    for entity, stone in links.tombstones.items():
        if stone.to in gone:
            stone.number = 0  # it has arrived there, or that one would not be gone
            row = state.table.row(entity)
            heirs = [n for n in links.neighbours if is_within(n, stone.to) or is_within(stone.to, n)]
            if row >= 0 and state.table.ghost[row]:
                stone.to = int(state.table.columns["g.from"][row])
            elif heirs:
                stone.to = heirs[0]


def _part(state: ShardState, neighbour: Neighbour) -> None:
    """Forget a neighbour's hand-overs and channel."""
    state.links.counts["items of gone neighbours"] += len(neighbour.channel.queue)
    columns = state.table.columns
    rows = state.table.rows()
    rows = rows[np.isin(columns["h.handover"][rows], list(neighbour.outgoing))]
    columns["h.handover"][rows] = 0


def _relabel_ghosts(state: ShardState, gone: list[int], come: Mapping[int, Square]) -> None:
    """Ghosts of those who are gone belong to the nearest of those who have come; without any they end."""
    table = state.table
    ghosts = table.ghosts()
    ghosts = ghosts[np.isin(table.columns["g.from"][ghosts], gone)]
    if not len(ghosts):
        return
    if not come:
        table.end(ghosts)
        return
    away = np.stack([outside_m(table.pos[ghosts], square) for square in come.values()])
    table.columns["g.from"][ghosts] = np.array(list(come))[np.argmin(away, axis=0)]
    for number in come:
        state.links.neighbours[number].heard_tick = state.tick
