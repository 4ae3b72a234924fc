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

from cluster.partition import is_within
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
    notes = _newest_notes(loaded, done)
    layouts = {**_layouts(notes, done), journal.layout.key: journal.layout}
    gone = {entry[0]: entry[3] for note in notes.values() for entry in note["links"]["tombstones"]}
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
    for region, note in notes.items():
        _remember(state, note, hops, is_own=region == journal.number)
    answers: dict[int, list[tuple[int, bytes]]] = {}
    for action in loaded.actions:
        answers.setdefault(action.session, []).append((action.number, action.answer))
    for session in state.row_of_session.keys() & answers.keys():
        state.acting.give(session, sorted(answers[session])[-ANSWERS_KEPT:])
    state.exchange.rebuild()
    return done


def _newest_notes(loaded: Loaded, done: Restored) -> dict[int, dict[str, Any]]:
    """The notes that count, by region: of two regions that overlap one was there before the other, by a split or merge
    since, and the newer one has told all. ``layouts`` of all are kept."""
    found: dict[int, dict[str, Any]] = {}
    older: dict[bytes, bytes] = {}
    for entry in sorted(loaded.notes, key=lambda entry: entry.tick, reverse=True):
        try:
            note = read_note(entry.data)
        except ValueError as error:
            done.damage.append(Damage(f"note of region {entry.region}", str(error)))
            continue
        older = {**note["layouts"], **older}
        if not any(is_within(entry.region, other) or is_within(other, entry.region) for other in found):
            found[entry.region] = note
    for note in found.values():
        note["layouts"] = {**older, **note["layouts"]}
    return found


def _layouts(notes: Mapping[int, dict[str, Any]], done: Restored) -> dict[bytes, Layout]:
    found: dict[bytes, Layout] = {}
    for key, described in {k: v for note in notes.values() for k, v in note["layouts"].items()}.items():
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


def _remember(state: ShardState, note: dict[str, Any], hops: Mapping[int, int], *, is_own: bool) -> None:
    """What was pending, and what neighbours and this region owe each other. Of the note of a region whose place this
    one took (not ``is_own``) what concerns those who are here; between that one and its neighbours nothing was under
    way any more when it ended, whatever it wrote down before."""
    state.spawned = max(state.spawned, note["spawned"])
    started, enter, leave, messages = note["pending"]
    if is_own:
        pending = Pending(
            started, list(enter), [(kind, ids) for kind, ids in leave], [(t, i, p) for t, i, p in messages]
        )
        state.doomed += note["doomed"]
    else:
        here = set(state.table.id[state.table.rows()].tolist())
        told = [(topic, [i for i in ids if i in here], payload) for topic, ids, payload in messages]
        pending = Pending(started, [i for i in enter if i in here], [], [entry for entry in told if entry[1]])
        state.doomed += [id_ for id_ in note["doomed"] if id_ in here]
    before = state.runner.pending
    state.runner.pending = Pending(
        before.started or pending.started,
        before.enter + pending.enter,
        before.leave + pending.leave,
        before.messages + pending.messages,
    )
    links, kept = state.links, note["links"]
    links.next_handover = max(links.next_handover, kept["next_handover"])
    links.deferred += [(region, item) for region, item in kept.get("deferred", ())] if is_own else []
    for region, channel in kept["neighbours"] if is_own else ():
        neighbour = links.neighbours.get(region)
        if neighbour is not None:
            neighbour.channel = Channel.after_a_crash(channel, links.born, still_true(channel[2], hops))
            neighbour.channel.journaled = True
    for entity, *stone in kept["tombstones"] if is_own else ():
        if state.table.row(entity) < 0:
            links.bury(entity, Tombstone(*stone))
