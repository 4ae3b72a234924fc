"""Crossings: who is due, the words of a hand-over, rows that leave and rows that begin.

Decides by the tables of ``handover``. Invariants: the rows of a group leave in the step whose end sends the commit, and
begin in the step that takes it, so each tick is simulated by one region; a row leaves only when its former home knows
that it arrived, so that no repeated commit can bring it back; one refused group harms nobody else. Not responsible
for: delivery (``protocol.border``), ghosts and acts.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.border import ACTS_MAX, ITEMS_MAX, Accept, Cancel, Commit, Item, Prepare, Refuse, encode_item
from shard.behaviours.timers import TIMER
from shard.border import calling
from shard.border.ghosts import MOTION, outside_m
from shard.border.groups import Groups
from shard.border.handover import Do, Event, Source, Target, at_source, at_target
from shard.border.holding import is_still
from shard.border.links import (
    CROSS_M,
    FAR_M,
    FORWARD_S,
    HANDOVERS_MAX,
    REST_S,
    SILENCE_S,
    UNSAFE_S,
    Neighbour,
    Outgoing,
    Tombstone,
)
from shard.journal.notes import carried, still_true
from shard.state import FAR_AWAY, ShardState

I64 = npt.NDArray[np.int64]

ANSWERS_MAX = ITEMS_MAX - 2 * HANDOVERS_MAX
"""Answers stop here: commits and cancels of what is under way always have room."""


# ------------------------------------------------------------------------------------------------------- at the source
def run(state: ShardState, near: I64) -> None:
    """At the end of a step: commits, prepares that nobody answered, and new prepares. ``near``: own rows among which
    all are that are outside."""
    rate = state.config.rate_hz
    for neighbour in state.links.neighbours.values():
        for number, outgoing in list(neighbour.outgoing.items()):
            leader = _leader(state, number, outgoing)
            if outgoing.state is Source.GONE:
                if neighbour.channel.acknowledged(outgoing.item):
                    _step(state, neighbour, number, Event.ACKNOWLEDGED)
            elif leader < 0:
                _step(state, neighbour, number, Event.LEADER_LOST)
            elif outgoing.state is Source.ACCEPTED:
                groups = Groups(state)  # each commit changes rows
                if not _is_held(state, groups.crossing(number)):
                    _step(state, neighbour, number, Event.STEP_END, groups)
            elif state.tick - outgoing.since > SILENCE_S * rate:
                _step(state, neighbour, number, Event.SILENCE)
    due = _due(state, near)
    if len(due):
        groups = Groups(state)
        for row in due.tolist():
            _prepare(state, groups, row)
    called = calling.ready(state)
    if called:
        groups = Groups(state)
        for row, neighbour in called:
            _ask(state, groups, row, [row], neighbour)


def _leader(state: ShardState, number: int, outgoing: Outgoing) -> int:
    """The row that a hand-over is led by, or -1 if it left the world or is attached to something now."""
    table = state.table
    row = table.row(outgoing.leader)
    if row < 0 or table.columns["h.handover"][row] != number or table.columns["h.parent"][row] != 0:
        return -1
    return row


def _due(state: ShardState, near: I64) -> I64:
    """Those of ``near`` that should begin to cross, farthest outside first."""
    table = state.table
    columns = table.columns
    rows = near[table.live[near] & ~table.ghost[near]]  # some may have gone with the commits
    outside = outside_m(table.pos[rows], _square(state))
    at = np.flatnonzero(outside >= CROSS_M)
    rows, outside = rows[at], outside[at]
    due = (
        (columns["h.handover"][rows] == 0)
        & (columns["h.parent"][rows] == 0)
        & (columns["w.version"][rows] != 0)
        & (columns["h.pause"][rows] <= state.tick)
        & ((columns["h.rest"][rows] <= state.tick) | (outside > FAR_M))
    )
    rows = rows[due]
    farthest_first: I64 = rows[np.argsort(-outside[due], kind="stable")]
    return farthest_first


def _prepare(state: ShardState, groups: Groups, leader: int) -> None:
    """Ask the region where ``leader`` is whether its group may come over."""
    table = state.table
    columns = table.columns
    if columns["h.handover"][leader] != 0:  # went with another one of this step
        return
    roots = groups.pile(leader)
    target = _target(state, table.pos[leader])
    if len(roots) > 1 and _target(state, table.pos[roots].mean(axis=0)) is not target:
        if outside_m(table.pos[leader : leader + 1], _square(state))[0] <= FAR_M:
            columns["h.pause"][leader] = state.tick + state.config.rate_hz // 4
            return
        roots = [leader]  # the pile stays, this one is far out
    _ask(state, groups, leader, roots, target)


def _ask(state: ShardState, groups: Groups, leader: int, roots: list[int], target: Neighbour | None) -> None:
    table = state.table
    columns = table.columns
    rows = groups.rows(roots)
    if target is None or (columns["h.handover"][rows] != 0).any() or not _arrival_is_known(state, rows):
        return
    if _is_held(state, rows):
        state.links.counts["crossings that wait for a commit"] += 1
        return
    if is_still(state, target) or len(target.outgoing) >= HANDOVERS_MAX or len(target.channel.queue) >= ACTS_MAX:
        state.links.counts["crossings that wait"] += 1
        return
    number = state.links.next_handover
    state.links.next_handover += 1
    target.outgoing[number] = Outgoing(Source.HOME, int(table.id[leader]), state.tick)
    columns["h.handover"][rows] = number
    _step(state, target, number, Event.DUE, rows=rows)


def _square(state: ShardState) -> tuple[float, float, float, float]:
    assert state.config.square_m is not None
    return state.config.square_m


def _target(state: ShardState, place: npt.NDArray[np.float64]) -> Neighbour | None:
    """The neighbour that a place belongs to; None if it is nearer to here, or not far enough outside."""
    here = float(outside_m(place[None], _square(state))[0])
    if here < CROSS_M:
        return None
    nearest, least = None, here
    for neighbour in state.links.neighbours.values():
        distance = float(outside_m(place[None], neighbour.square_m)[0])
        if distance < least:
            nearest, least = neighbour, distance
    return nearest


def _arrival_is_known(state: ShardState, rows: I64) -> bool:
    """Whether each row's former home knows that we took its commit, and would not say it again if we crashed: who had
    gone on by then would be in two places. A store that is away is not waited for longer than UNSAFE_S."""
    columns = state.table.columns
    came_before = state.tick - (UNSAFE_S - REST_S) * state.config.rate_hz
    for row in rows[columns["h.number"][rows] != 0].tolist():
        former = state.links.neighbours.get(int(columns["h.from"][row]))
        if former is not None and former.channel.peer_born == columns["h.born"][row]:
            number = int(columns["h.number"][row])
            unsafe = former.channel.safe < number and columns["h.rest"][row] > came_before
            if former.channel.peer_base <= number or unsafe:
                return False
        columns["h.number"][row] = 0
    return True


def _step(
    state: ShardState,
    neighbour: Neighbour,
    number: int,
    event: Event,
    groups: Groups | None = None,
    rows: I64 | None = None,
) -> None:
    """One event for a hand-over that leaves here."""
    outgoing = neighbour.outgoing.get(number)
    if outgoing is None:
        return
    was = outgoing.state
    outgoing.state, what = at_source(was, event)
    if outgoing.state is not was:
        state.links.counts[f"{was.name} {event.name}"] += 1
    match what:
        case Do.PREPARE:
            assert rows is not None
            table = state.table
            hops = (table.hop[rows] + np.uint32(1)).tolist()
            _say(neighbour, Prepare(number, table.id[rows].tolist(), hops, table.layout))
        case Do.COMMIT:
            assert groups is not None
            outgoing.item = _commit(state, neighbour, number, groups)
        case Do.CANCEL:
            _say(neighbour, Cancel(number))
            _rest(state, neighbour, number)
        case Do.REST:
            _rest(state, neighbour, number)
        case Do.FORGET:
            del neighbour.outgoing[number]


def _say(neighbour: Neighbour, item: Item) -> int:
    return neighbour.channel.put(encode_item(item), act=False)


def _is_held(state: ShardState, rows: I64) -> bool:
    """Whether any of these must stay until what its session did here is committed (``shard.acting``)."""
    return state.acting.holds(state.table.columns["o.session"][rows].tolist(), state.tick)


def _rest(state: ShardState, neighbour: Neighbour, number: int) -> None:
    """The group stays; it is not tried again at once."""
    columns = state.table.columns
    rows = state.table.rows()
    rows = rows[columns["h.handover"][rows] == number]
    columns["h.handover"][rows] = 0
    columns["h.pause"][rows] = state.tick + int(REST_S * state.config.rate_hz)
    del neighbour.outgoing[number]


def _commit(state: ShardState, neighbour: Neighbour, number: int, groups: Groups) -> int:
    """The rows of the group leave; returns the number of the item that carries them."""
    table = state.table
    columns = table.columns
    handover = columns["h.handover"]
    rows = groups.crossing(number)
    handover[np.setdiff1d(groups.prepared(number), rows)] = 0
    ids = table.id[rows]
    pending, timers = state.runner.pending, state.runner.timers
    wanted = set(ids.tolist())
    handover[rows] = 0
    table.hop[rows] += np.uint32(1)
    packed = table.pack(rows)
    messages = [(topic, [i for i in to if i in wanted], payload) for topic, to, payload in pending.messages]
    commit = Commit(
        number,
        len(rows),
        packed,
        timers.take(ids).tobytes(),
        [i for i in pending.enter if i in wanted],
        [message for message in messages if message[1]],
        state.acting.take(columns["o.session"][rows].tolist()),
    )
    item = _say(neighbour, commit)
    pending.enter = [i for i in pending.enter if i not in wanted]
    pending.messages = [
        (topic, kept, payload)
        for topic, to, payload in pending.messages
        if (kept := [i for i in to if i not in wanted])
    ]
    until = state.tick + int(FORWARD_S * state.config.rate_hz)
    for row in rows.tolist():
        state.links.called.pop(int(table.id[row]), None)
        session = int(columns["o.session"][row])
        if session:
            del state.row_of_session[session]
        stone = Tombstone(
            neighbour.region, item, int(table.hop[row]), row, int(table.generation[row]), session, until
        )  # fmt: skip
        state.links.bury(int(table.id[row]), stone)
    told = rows[columns["w.version"][rows] != 0]
    state.moved_row.extend(told.tolist())
    state.moved_to.extend([neighbour.region] * len(told))
    _leave_ghosts(state, rows, neighbour.region)
    neighbour.has_ghosts = True
    state.links.counts["entities gone"] += len(rows)
    return item


def _leave_ghosts(state: ShardState, rows: I64, region: int) -> None:
    """In the place of rows that leave, ghosts, until their new home tells of them."""
    table = state.table
    ids, kinds, hops = table.id[rows], table.kind[rows], table.hop[rows]
    names = [*MOTION, *(f"c.{component.name}" for component in state.registry.components.values())]
    kept = {name: table.columns[name][rows] for name in names}
    table.end(rows)
    ghosts = table.begin(kinds, ids, ghost=True, over=True)
    for name, values in kept.items():
        table.columns[name][ghosts] = values
    table.hop[ghosts] = hops
    table.columns["g.from"][ghosts] = region


def new_owner(state: ShardState, neighbour: Neighbour) -> None:
    """The neighbour's epoch went up."""
    for number in list(neighbour.outgoing):
        _step(state, neighbour, number, Event.NEW_OWNER)


# ------------------------------------------------------------------------------------------------------- at the target
def _target_step(state: ShardState, neighbour: Neighbour, number: int, event: Event) -> Do | None:
    was = Target.RESERVED if number in neighbour.reserved else Target.FREE
    now, what = at_target(was, event)
    if was is not now or what is not None:
        state.links.counts[f"{was.name} {event.name}"] += 1
    if now is Target.FREE:
        neighbour.reserved.pop(number, None)
    return what


def reborn(state: ShardState, neighbour: Neighbour) -> None:
    """The neighbour began with empty channels: what it had prepared is void. It is told again what it had not made
    durable, but for those who have come back from it meanwhile, or were seen to have gone on."""
    for number in list(neighbour.reserved):
        _target_step(state, neighbour, number, Event.SOURCE_REBORN)
    channel = neighbour.channel
    channel.retell(still_true(channel.queue, {id_: _gone_on(state, id_) for id_ in carried(channel.queue)}))


def _gone_on(state: ShardState, entity: int) -> int:
    """The hop from which on what is said of an entity is still true, less one."""
    row = state.table.row(entity)
    if row >= 0 and not state.table.ghost[row]:
        return int(state.table.hop[row])
    return _known_hop(state, entity) - 1  # as a ghost, or by its tombstone, it is where it went


def take(state: ShardState, neighbour: Neighbour, item: Item, number: int) -> bool:
    """A word of a hand-over, as item ``number``; False if it is none. Raises ValueError if it contradicts itself."""
    match item:
        case Accept():
            _step(state, neighbour, item.handover, Event.ACCEPT)
        case Refuse():
            _step(state, neighbour, item.handover, Event.REFUSE)
        case Prepare():
            _answer(state, neighbour, item)
        case Cancel():
            _target_step(state, neighbour, item.handover, Event.CANCEL)
        case Commit():
            _target_step(state, neighbour, item.handover, Event.COMMIT)
            _begin(state, neighbour, item, number)
        case _:
            return False
    return True


def _answer(state: ShardState, neighbour: Neighbour, item: Prepare) -> None:
    if len(neighbour.channel.queue) >= ANSWERS_MAX:  # it does not hear us, and will take the prepare back
        state.links.counts["answers without room"] += 1
        return
    wrong = "one of the two regions is about to change" if is_still(state, neighbour) else _objection(state, item)
    event = Event.PREPARE_WRONG if wrong else Event.PREPARE_FITS
    match _target_step(state, neighbour, item.handover, event):
        case Do.ACCEPT:
            neighbour.reserved[item.handover] = len(item.ids)
            _say(neighbour, Accept(item.handover))
        case Do.REFUSE:
            _say(neighbour, Refuse(item.handover, wrong))


def _objection(state: ShardState, item: Prepare) -> str:
    """Why a group may not come, or "" if it may."""
    table = state.table
    if item.layout != table.layout:
        return "kinds or components are declared otherwise here"
    reserved = sum(count for n in state.links.neighbours.values() for count in n.reserved.values())
    if len(table.rows()) + reserved + len(item.ids) > table.rows_max:  # ghosts make room
        return f"{table.rows_max} entities are here or on their way (rows_max)"
    for entity, hop in zip(item.ids, item.hops, strict=False):
        if _known_hop(state, entity) >= hop:
            return f"entity {entity} is known with hop {_known_hop(state, entity)}"
    return ""


def _known_hop(state: ShardState, entity: int) -> int:
    """The newest hop of an entity that is known here, -1 if it is not."""
    table = state.table
    row = table.row(entity)
    stone = state.links.tombstones.get(entity)
    return max(int(table.hop[row]) if row >= 0 else -1, stone.hop if stone is not None else -1)


def _begin(state: ShardState, neighbour: Neighbour, item: Commit, number: int) -> None:
    """The rows of a commit begin here."""
    table = state.table
    came = table.unpack(item.rows, item.columns)
    timers = np.frombuffer(item.timers, TIMER)
    fresh = np.array([_makes_room(state, came, k) for k in range(item.rows)], bool)
    ids = came["id"][fresh]
    rows = table.begin(came["kind"][fresh], ids, over=True)
    columns = table.columns
    for name, values in came.items():
        if name not in ("live", "ghost", "generation", "id", "kind"):
            columns[name][rows] = values[fresh]
    columns["h.rest"][rows] = state.tick + int(REST_S * state.config.rate_hz)
    columns["h.pause"][rows] = columns["h.handover"][rows] = columns["g.from"][rows] = 0
    columns["h.from"][rows], columns["h.number"][rows] = neighbour.region, number
    columns["h.born"][rows] = neighbour.channel.peer_born
    columns["o.due"][rows] = 1
    columns["w.far_p"][rows] = FAR_AWAY
    state.arrived.extend(rows[columns["w.version"][rows] != 0].tolist())
    for row in rows[columns["o.session"][rows] != 0].tolist():
        session = int(columns["o.session"][row])
        state.row_of_session[session] = row
        if columns["o.attached"][row]:
            state.told_attached(row)
    sessions = set(columns["o.session"][rows].tolist())
    for session, answers in item.answers:
        if session in sessions:
            state.acting.give(session, answers)
    for entity in ids.tolist():
        state.links.dig_up(entity)
    here = set(ids.tolist())
    state.runner.timers.append(timers[np.isin(timers["id"], ids)])
    state.runner.pending.enter.extend(i for i in item.entered if i in here)
    for topic, to, payload in item.messages:
        if kept := [i for i in to if i in here]:
            state.runner.pending.messages.append((topic, kept, payload))
    state.links.counts["entities come"] += len(rows)


def _makes_room(state: ShardState, came: dict[str, Any], k: int) -> bool:
    """Whether entity ``k`` of a commit is new here; what is older here ends for it."""
    table = state.table
    entity, hop = int(came["id"][k]), int(came["hop"][k])
    if _known_hop(state, entity) >= hop or came["kind"][k] > len(state.registry.kinds):
        state.links.counts["doubles dropped"] += 1
        return False
    session = int(came["o.session"][k])
    other = state.row_of_session.get(session, -1) if session else -1
    if other >= 0 and table.id[other] != entity:
        if state.table.columns["o.generation"][other] >= came["o.generation"][k]:
            state.links.counts["bodies dropped"] += 1
            return False
        state.end_body(other)
    row = table.row(entity)
    if row >= 0 and table.ghost[row]:
        table.end(np.array([row]))
    elif row >= 0:
        state.links.counts["doubles ended"] += 1
        state.end_body(row)
    return True
