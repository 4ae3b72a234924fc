"""Acts: what is done here to entities that are simulated elsewhere travels there, and is applied in the next tick.

Invariants: an act that cannot be sent is reported as a fault, never dropped in silence; what arrives here for an entity
that has moved on goes after it by its tombstone. Not responsible for: what behaviours may ask for
(``behaviours.world``), hand-overs (``crossing``).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from cluster.partition import is_within
from kernels.commands import feed
from protocol.border import (
    ACTS_MAX,
    Acted,
    AttachBody,
    ChannelFullError,
    Despawn,
    DetachBody,
    Inputs,
    Item,
    Message,
    Push,
    SetTimers,
    Tell,
    decode_item,
    encode_item,
)
from protocol.layouts import COMMAND
from protocol.link import Upward
from shard.border.holding import is_still
from shard.state import ShardState

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

HERE = -1
NOWHERE = -2
_OfMany = Push | Message | Despawn | SetTimers | Inputs


def send(state: ShardState, region: int, item: Item) -> None:
    """Queue an act for a neighbour; one that cannot be carried is reported."""
    links = state.links
    neighbour = links.neighbours.get(region)
    what = f"{type(item).__name__.lower()} across the border to region {region}"
    if neighbour is None:
        state.runner.complain(what, LookupError("it is not a neighbour any more"))
        return
    try:
        if not is_still(state, neighbour):
            neighbour.channel.put(encode_item(item))
        elif len(links.deferred) < ACTS_MAX:
            links.deferred.append((region, encode_item(item)))
        else:
            raise ChannelFullError(f"{len(links.deferred)} acts wait for regions that are about to change")
    except (ChannelFullError, TypeError, ValueError) as error:
        links.counts["acts refused"] += 1
        state.runner.complain(what, error)


def say_deferred(state: ShardState) -> None:
    """What waited for a region to change, or to stay, goes to where the entities are now."""
    links = state.links
    if not links.deferred or any(is_still(state, neighbour) for neighbour in links.neighbours.values()):
        return
    deferred, links.deferred = links.deferred, []
    for region, data in deferred:
        item = decode_item(data)
        match item:
            case AttachBody() | DetachBody() | Acted() | Tell():
                body = item.entity if isinstance(item, Tell) else item.body
                home = int(homes(state, np.array([body], np.uint64))[0])
                for target in [home] if home >= 0 else _in_place_of(state, region)[:1]:
                    send(state, target, item)
            case Push() | Message() | Despawn() | SetTimers() | Inputs():
                unknown = np.flatnonzero(homes(state, np.array(item.ids, np.uint64)) == NOWHERE)
                take(state, item, ghosts=True)
                for target in _in_place_of(state, region) if len(unknown) else ():
                    send(state, target, _part_of(item, unknown))


def _in_place_of(state: ShardState, region: int) -> list[int]:
    """Neighbours that are where a region was."""
    return [n for n in state.links.neighbours if is_within(n, region) or is_within(region, n)]


def _part_of(item: _OfMany, at: I64) -> Item:
    """The part of an act that is for those at places ``at`` of its ids."""
    ids = [item.ids[k] for k in at.tolist()]
    match item:
        case Push():
            return Push(ids, [item.metres[k] for k in at.tolist()])
        case Message():
            return Message(item.topic, ids, item.payload)
        case Despawn():
            return Despawn(ids)
        case SetTimers():
            return SetTimers(item.due, item.topic, ids, [item.values[k] for k in at.tolist()])
        case Inputs():
            commands = np.frombuffer(item.commands, COMMAND)[at].tobytes()
            return Inputs(ids, [item.seqs[k] for k in at.tolist()], commands)


def homes(state: ShardState, ids: U64, *, ghosts: bool = True) -> I64:
    """The region where each entity is simulated, int64[k]: HERE, a neighbour's number, or NOWHERE. ``ghosts``: whether
    a ghost tells; what came from a neighbour follows tombstones alone, lest it go to and fro."""
    table = state.table
    rows = table.find(ids)
    out = np.where(rows >= 0, HERE, NOWHERE)
    away = (rows >= 0) & table.ghost[rows]
    out[away] = table.columns["g.from"][rows[away]] if ghosts else NOWHERE
    if state.links.tombstones:
        for k in np.flatnonzero(out == NOWHERE).tolist():
            stone = state.links.tombstones.get(int(ids[k]))
            if stone is not None:
                out[k] = stone.to
    return out


def elsewhere(state: ShardState, session: int, body: int) -> tuple[int, int] | None:
    """(entity, region) of a session's body that left from here or is a ghost here; None if it is not elsewhere."""
    if not state.links.neighbours or session in state.row_of_session:
        return None
    body = body or next((e for e, stone in state.links.tombstones.items() if stone.session == session), 0)
    home = int(homes(state, np.array([body], np.uint64))[0]) if body else NOWHERE
    return (body, home) if home >= 0 else None


def route(state: ShardState, ids: U64, make: Callable[[list[int], I64], Item], *, ghosts: bool = True) -> I64:
    """Send what concerns entities elsewhere: ``make(ids, places)`` gives the item for those at ``places`` of ``ids``.

    Returns the places of those that are here, int64[k].
    """
    if not state.links.neighbours:
        return np.arange(len(ids))
    home = homes(state, ids, ghosts=ghosts)
    for region in np.unique(home[home >= 0]).tolist():
        at = np.flatnonzero(home == region)
        send(state, region, make(ids[at].tolist(), at))
    return np.flatnonzero(home == HERE)


def push(state: ShardState, ids: U64, metres: npt.NDArray[np.float64], *, ghosts: bool = True) -> None:
    """Move bodies of people by (x, z) metres in this tick's motion phase."""
    pairs = [(float(x), float(z)) for x, z in metres] if state.links.neighbours else []
    here = route(state, ids, lambda to, at: Push(to, [pairs[k] for k in at.tolist()]), ghosts=ghosts)
    rows = state.table.find(ids[here])
    good = (rows >= 0) & state.kind_walks[state.table.kind[rows]]
    state.pushed_rows.append(rows[good])
    state.pushed_by.append(metres[here][good])


def message(state: ShardState, topic: str, ids: Sequence[int], payload: object, *, ghosts: bool = True) -> None:
    """Deliver a message to entities when behaviours run next."""
    who = np.array(ids, np.uint64)
    here = route(state, who, lambda to, at: Message(topic, to, payload), ghosts=ghosts)
    if len(here):
        state.runner.pending.messages.append((topic, who[here].tolist(), payload))


def despawn(state: ShardState, ids: U64, *, ghosts: bool = True) -> None:
    """These leave, unless they are bodies of sessions."""
    here = route(state, ids, lambda to, at: Despawn(to), ghosts=ghosts)
    rows = np.unique(state.table.find(ids[here]))
    rows = rows[rows >= 0]
    state.end(rows[state.table.columns["o.session"][rows] == 0])


def timers(state: ShardState, due: int, topic: str, ids: U64, values: I64, *, ghosts: bool = True) -> None:
    """A timer for each entity."""
    here = route(state, ids, lambda to, at: SetTimers(due, topic, to, values[at].tolist()), ghosts=ghosts)
    state.runner.timers.add(due, topic, ids[here], values[here])


def tell(state: ShardState, entity: int, name: str, payload: object, *, ghosts: bool = True) -> None:
    """An event for the session of body ``entity``, or about ``entity`` for everybody."""
    who = np.array([entity], np.uint64)
    if state.links.neighbours and int(home := homes(state, who, ghosts=ghosts)[0]) >= 0:
        send(state, home, Tell(entity, name, payload))
        return
    row = state.table.row(entity)
    session = int(state.table.columns["o.session"][row]) if row >= 0 else 0
    state.events.append([session or None, entity, name, payload])


def inputs(state: ShardState, item: Inputs, *, ghosts: bool = False) -> None:
    """Commands that were said where the bodies were before; late ones are told by their numbers, as always."""
    commands = np.frombuffer(item.commands, COMMAND)
    seqs = np.array(item.seqs, np.uint32)
    ids = np.array(item.ids, np.uint64)
    if len(commands) != len(ids) or len(seqs) != len(ids):
        raise ValueError("forwarded commands: lengths differ")
    here = route(
        state, ids, lambda to, at: Inputs(to, seqs[at].tolist(), commands[at].tobytes()), ghosts=ghosts
    )  # fmt: skip
    rows = state.table.find(ids[here])
    columns = state.table.columns
    feed(
        state.queues(), rows.astype(np.uint32), state.table.generation[rows], seqs[here], commands[here],
        columns["o.attached"], state.table.generation, columns["o.seq"], columns["o.moved"], state.counted,
    )  # fmt: skip


def forward_inputs(state: ShardState, upward: Upward) -> None:
    """Commands for rows whose entities left go after them."""
    gone = state.links.gone_rows
    if not gone or not len(upward.input_row):
        return
    table = state.table
    rows = np.minimum(upward.input_row.astype(np.int64), table.capacity - 1)
    stale = np.flatnonzero(~table.live[rows] | (table.generation[rows] != upward.input_generation))
    found: dict[int, list[tuple[int, int]]] = {}
    for k in stale.tolist():
        entity = gone.get((int(upward.input_row[k]), int(upward.input_generation[k])))
        if entity is not None:
            found.setdefault(state.links.tombstones[entity].to, []).append((entity, k))
    for region, late in found.items():
        at = [k for _, k in late]
        seqs, commands = upward.input_seq[at].tolist(), np.ascontiguousarray(upward.input_command[at]).tobytes()
        state.links.counts["commands forwarded"] += len(at)
        send(state, region, Inputs([entity for entity, _ in late], seqs, commands))


def take(state: ShardState, item: Item, *, ghosts: bool = False) -> None:
    """Apply an act of a neighbour, or with ``ghosts`` one of ours that waited. Raises ValueError if it contradicts
    itself."""
    match item:
        case Push():
            metres = np.array(item.metres, np.float64).reshape(-1, 2)
            if len(metres) != len(item.ids):
                raise ValueError("push: lengths differ")
            push(state, np.array(item.ids, np.uint64), metres, ghosts=ghosts)
        case Message():
            message(state, item.topic, item.ids, item.payload, ghosts=ghosts)
        case Despawn():
            despawn(state, np.array(item.ids, np.uint64), ghosts=ghosts)
        case SetTimers():
            who, values = np.array(item.ids, np.uint64), np.array(item.values, np.int64)
            if len(who) != len(values):
                raise ValueError("timers: lengths differ")
            timers(state, item.due, item.topic, who, values, ghosts=ghosts)
        case Tell():
            tell(state, item.entity, item.name, item.payload, ghosts=ghosts)
        case Inputs():
            inputs(state, item, ghosts=ghosts)
        case _:
            raise ValueError(f"{type(item).__name__} is not an act")
