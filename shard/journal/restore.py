"""A region from what the store has of it: entities, their motion, timers, what was pending, and what was owed.

Decides which of two sayings about an entity counts (the newer pose of its row's hop; of a row and a departure the
higher hop), and what cannot be served: that is named, left in the store as it is, and the rest goes on. Invariant: the
journal that goes on after it has every row that was loaded as not written, so that the first batch brings the store up
to date. Not responsible for: reading the store, who owns the region.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocol.border import Channel
from protocol.limits import ANSWERS_KEPT
from shard.behaviours.runner import Pending
from shard.behaviours.timers import TIMER
from shard.border.links import Tombstone
from shard.durable.contract import Damage, Loaded
from shard.journal.journal import Journal
from shard.journal.layouts import KEY_BYTES, Layout, LayoutError, Records, fill
from shard.journal.notes import next_id, read_note, still_true
from shard.state import FAR_AWAY, ShardState


@dataclass(slots=True)
class Restored:
    """What came of it."""

    entities: int = 0
    next_id: int = 1
    """All ids that the region has given, as far as it was written down, are below."""
    damage: list[Damage] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """Entities whose bytes are of one layout."""

    ids: list[int] = field(default_factory=list)
    hops: list[int] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    timers: list[Records] = field(default_factory=list)


def restore(state: ShardState, journal: Journal, loaded: Loaded, hops: Mapping[int, int]) -> Restored:
    """Fill a region that has just begun empty under a new epoch. ``hops``: how far those have come who were leaving
    (``notes.leaving``)."""
    done = Restored(damage=list(loaded.damage))
    note = _newest_note(state, loaded, done)
    layouts = {**_layouts(note, done), journal.layout.key: journal.layout}
    gone = {entry[0]: entry[3] for entry in note.get("links", {}).get("tombstones", [])}
    groups: dict[bytes, _Group] = {}
    for row in loaded.entities:
        if gone.get(row.id, -1) > row.hop:
            continue  # it is on its way to a neighbour, who is told of it again
        key = row.data[:KEY_BYTES]
        try:
            part, timers = _layout(layouts, key).split(row.data[KEY_BYTES:])
        except LayoutError as error:
            done.damage.append(Damage(f"entity {row.id}", str(error)))
            continue
        group = groups.setdefault(key, _Group())
        group.ids.append(row.id)
        group.hops.append(row.hop)
        group.parts.append(part)
        if len(timers):
            group.timers.append(timers)
    for key, group in groups.items():
        _begin(state, journal, layouts[key], group, done)
    done.next_id = next_id(loaded)
    _move_to_poses(state, loaded, layouts, done)
    _remember(state, note, hops)
    answers: dict[int, list[tuple[int, bytes]]] = {}
    for action in loaded.actions:
        answers.setdefault(action.session, []).append((action.number, action.answer))
    for session in state.row_of_session.keys() & answers.keys():
        state.acting.give(session, sorted(answers[session])[-ANSWERS_KEPT:])
    state.exchange.rebuild()
    return done


def _newest_note(state: ShardState, loaded: Loaded, done: Restored) -> dict[str, Any]:
    newest: dict[str, Any] = {}
    for entry in sorted(loaded.notes, key=lambda entry: entry.tick, reverse=True):
        try:
            note = read_note(entry.data)
        except ValueError as error:
            done.damage.append(Damage(f"note of region {entry.region}", str(error)))
            continue
        if not newest:
            newest = note
        else:
            newest["layouts"] = {**note["layouts"], **newest["layouts"]}
    return newest


def _layouts(note: dict[str, Any], done: Restored) -> dict[bytes, Layout]:
    found: dict[bytes, Layout] = {}
    for key, described in note.get("layouts", {}).items():
        try:
            found[key] = Layout.read(described)
        except LayoutError as error:
            done.damage.append(Damage(f"layout {key.hex()}", str(error)))
    return found


def _layout(layouts: Mapping[bytes, Layout], key: bytes) -> Layout:
    found = layouts.get(key)
    if found is None:
        raise LayoutError(f"it is written in layout {key.hex()}, which nothing describes")
    return found


def _begin(state: ShardState, journal: Journal, layout: Layout, group: _Group, done: Restored) -> None:
    """The entities of one group, as their rows say. Of kinds that are not declared any more they stay in the store."""
    number = state.registry.kind_number
    kinds = np.array([0, *(number.get(name, 0) for name in layout.kinds)], np.uint16)
    records, poses = layout.records(b"".join(group.parts))
    kind = kinds[np.minimum(records["kind"], len(kinds) - 1)]
    known = kind > 0
    ids, hops = np.array(group.ids, np.uint64), np.array(group.hops, np.uint32)
    if not known.all():
        journal.kept[layout.key] = layout.described
        for id_, old in zip(ids[~known].tolist(), records["kind"][~known].tolist(), strict=True):
            name = layout.kinds[old - 1] if 1 <= old <= len(layout.kinds) else str(old)
            done.damage.append(Damage(f"entity {id_}", f"its kind {name!r} is not declared"))
    if not known.any():
        return
    table = state.table
    rows = table.begin(kind[known], ids[known], over=True)
    fill(table, rows, records[known])
    fill(table, rows, poses[known])
    table.hop[rows] = hops[known]
    columns = table.columns
    columns["o.attached"][rows] = 0
    columns["w.far_p"][rows] = FAR_AWAY
    for component in state.registry.components.values():
        if component.replicate:
            state.touched.add(component.name)
    for row in rows[columns["o.session"][rows] != 0].tolist():
        _give_back(state, row)
    if group.timers:
        timers = np.concatenate(group.timers)
        state.runner.timers.append(timers[np.isin(timers["id"], ids[known])].astype(TIMER))
    done.entities += len(rows)


def _give_back(state: ShardState, row: int) -> None:
    """A session finds its body again; of two, one of which it was given while the other's region was away, the one of
    the higher generation, and the other leaves."""
    columns = state.table.columns
    session, generation = int(columns["o.session"][row]), columns["o.generation"]
    other = state.row_of_session.get(session, row)
    newer, older = (row, other) if generation[row] >= generation[other] else (other, row)
    state.row_of_session[session] = newer
    if older != newer:
        columns["o.session"][older] = 0
        state.doomed.append(int(state.table.id[older]))


def _move_to_poses(state: ShardState, loaded: Loaded, layouts: dict[bytes, Layout], done: Restored) -> None:
    """Entities go where they were last: a pose counts if it is of the hop that the row has."""
    table = state.table
    for row in sorted(loaded.poses, key=lambda row: row.second):
        try:
            head, poses = _layout(layouts, row.data[:KEY_BYTES]).blob(row.data[KEY_BYTES:])
        except LayoutError as error:
            done.damage.append(Damage(f"poses of leaf {row.leaf} in second {row.second}", str(error)))
            continue
        rows = table.find(head["id"].astype(np.uint64))
        fits = rows >= 0
        fits[fits] = table.hop[rows[fits]] == head["hop"][fits]
        fill(table, rows[fits], poses[fits])


def _remember(state: ShardState, note: dict[str, Any], hops: Mapping[int, int]) -> None:
    """What was pending, and what neighbours and this region owe each other."""
    if not note:
        return
    state.spawned = note["spawned"]
    state.doomed += note["doomed"]
    started, enter, leave, messages = note["pending"]
    state.runner.pending = Pending(
        started, list(enter), [(kind, ids) for kind, ids in leave], [(t, ids, p) for t, ids, p in messages]
    )
    links, kept = state.links, note["links"]
    links.next_handover = kept["next_handover"]
    for region, channel in kept["neighbours"]:
        neighbour = links.neighbours.get(region)
        if neighbour is not None:
            neighbour.channel = Channel.after_a_crash(channel, links.born, still_true(channel[2], hops))
            neighbour.channel.journaled = True
    for entity, *stone in kept["tombstones"]:
        if state.table.row(entity) < 0:
            links.bury(entity, Tombstone(*stone))
