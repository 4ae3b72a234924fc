"""Phase 1: what gateways told us. Bodies for sessions, and their commands into queues.

Invariants: one body has one session; an attach or detach with an older session generation than the body's is ignored;
commands are queued all at once, whatever their number. Not responsible for: who may attach (the gateway), applying
commands (``physics``).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.commands import feed
from kernels.walk import fit_at
from protocol.border import AttachBody, DetachBody, Item
from protocol.codes import Close
from protocol.link import Upward
from protocol.walking import FLAG_ON_GROUND
from shard.behaviours.world import philox
from shard.border import acts
from shard.phases import actions
from shard.state import ShardState
from shard.world.components import NAME
from shard.world.table import OutOfIdsError, TableFullError

F64 = npt.NDArray[np.float64]

_TRIES = 16
"""Places looked at around a spawn point; when none is free the point itself is taken (bodies overlap, contacts part
them)."""
_SPREAD_M = 3.0
TELL_AGAIN_S = 5


def run(state: ShardState, upward: Sequence[Upward]) -> None:
    """Take in all messages, in the order given."""
    for message in upward:
        acts.forward_inputs(state, message)
        for entry in message.detach:
            session, generation, remove, body = entry[:4]
            _detach(state, session, generation, remove, body, message.gateway)
        for entry in message.attach:
            session, generation, name, kind, profile, body = entry[:6]
            _attach(state, session, generation, name, kind, profile, body, message.gateway)
        for entry in message.acts:
            actions.hear(state, entry)
    if state.tick % state.config.rate_hz < state.ticks:
        _end_orphans(state)
        _tell_again(state)
    # A gateway that has seen only the region's former lives names rows of those: they are others' now.
    counted = [m for m in upward if len(m.input_row) and not 0 < m.epoch < state.links.born]
    if not counted:
        return
    columns = state.table.columns
    for message in counted:  # copies: views of received bytes are read-only, which to numba is another type
        feed(
            state.queues(),
            np.array(message.input_row),
            np.array(message.input_generation),
            np.array(message.input_seq),
            np.array(message.input_command),
            columns["o.attached"],
            state.table.generation,
            columns["o.seq"],
            columns["o.moved"],
            state.counted,
        )


def _attach(
    state: ShardState,
    session: int,
    generation: int,
    name: str,
    kind: str | int | None,
    profile: str,
    body: int,
    gateway: int,
) -> None:
    """Give a session its old body, or a new one at the next spawn point (with ``kind`` 0 nothing but the old one). A
    body that is across a border gets the session there."""
    table = state.table
    columns = table.columns
    if away := acts.elsewhere(state, session, body):
        entity, region = away
        acts.send(state, region, AttachBody(session, generation, name, kind, profile, entity, gateway))
        return
    row = table.row(body) if body else -1
    if row >= 0 and columns["o.session"][row] == 0:
        row = -1  # an entity that is nobody's body
    if row < 0:
        row = state.row_of_session.get(session, -1)
    if row >= 0:
        if columns["o.generation"][row] > generation:
            return
        same = columns["o.generation"][row] == generation and columns["o.session"][row] == session
        if same and columns["o.gateway"][row] == gateway:
            if columns["o.attached"][row]:
                state.told_attached(row)  # said once more: what it queued meanwhile stays
            return
        former = int(columns["o.session"][row])
        goes_on = former == session
        state.row_of_session.pop(former, None)
        if former != session:  # another session numbers its acts from 1 on
            state.acting.forget(former)
            columns["o.acted"][row] = 0
    elif kind == 0:
        return
    else:
        made = _spawn(state, name, kind)
        if isinstance(made, str):
            state.refused.append([session, int(Close.FULL), made])
            return
        row, goes_on = made, False
    columns = table.columns  # spawning may have grown them
    walks_on = goes_on and bool(columns["o.attached"][row])
    columns["o.session"][row] = session
    columns["o.generation"][row] = generation
    columns["o.gateway"][row] = gateway
    columns["o.attached"][row] = 1
    columns["o.due"][row] = 1
    # Who changes its connection is on the former one until it has switched: what that has said is walked, and what it
    # goes on saying follows it without a gap. Whoever says it again by the new one says nothing new.
    if not walks_on:
        # Numbers of a session go on: what its gateway says again of what the body has had, here or before it was
        # restored, is not walked twice. That includes the first steps of a command that the body is in the middle of.
        halfway = goes_on and columns["q.done"][row] > 0
        columns["q.queued"][row] = halfway
        columns["q.done"][row] *= halfway
        columns["q.heard"][row] = goes_on
        columns["q.newest"][row] = columns["q.seq"][row, 0] if halfway else columns["o.seq"][row]
    state.row_of_session[session] = row
    state.told_attached(row)


def _end_orphans(state: ShardState) -> None:
    """Bodies end whose gateway is gone and whom no other one has taken; it is told nothing any more."""
    columns = state.table.columns
    rows = np.array(list(state.row_of_session.values()), np.int64)
    gateways = columns["o.gateway"][rows]
    since = state.tick - int(state.config.orphan_s * state.config.rate_hz)
    for gateway in np.unique(gateways).tolist():
        if state.gateways.silent_since(gateway, state.tick) < since:
            for row in rows[gateways == gateway].tolist():
                state.end_body(row)
    state.gateways.expire(since)


def _tell_again(state: ShardState) -> None:
    """Gateways are told of each body once in TELL_AGAIN_S, so that they hear of one that they do not want: an answer
    that got lost leaves such bodies."""
    part = state.tick // state.config.rate_hz % TELL_AGAIN_S
    rows = np.fromiter(state.row_of_session.values(), np.int64, len(state.row_of_session))
    state.kept = rows[state.table.columns["o.session"][rows] % TELL_AGAIN_S == part]


def take(state: ShardState, item: Item) -> bool:
    """What a gateway told a neighbour about a session whose body is here now; False if the item is of another sort."""
    match item:
        case AttachBody():
            _attach(
                state, item.session, item.generation, item.name or "", item.kind, item.profile, item.body, item.gateway
            )
        case DetachBody():
            _detach(state, item.session, item.generation, item.remove, item.body, item.gateway)
        case _:
            return actions.take(state, item)
    return True


def _detach(state: ShardState, session: int, generation: int, remove: bool, body: int, gateway: int) -> None:
    """A session left its body. Only the gateway that has the body may say so: another one may have gone on from an old
    ticket, and given up before it got the body."""
    columns = state.table.columns
    row = state.table.row(body) if body else -1
    if row < 0 or state.table.ghost[row] or int(columns["o.session"][row]) != session:
        row = state.row_of_session.get(session, -1)  # perhaps another body than the one that its gateway knows of
    if row < 0 and (away := acts.elsewhere(state, session, body)):
        acts.send(state, away[1], DetachBody(session, generation, remove, away[0], gateway))
        return
    if row < 0 or columns["o.generation"][row] > generation or columns["o.gateway"][row] not in (0, gateway):
        return
    columns["o.attached"][row] = 0
    columns["q.queued"][row] = 0
    columns["q.done"][row] = 0
    if remove:
        state.end_body(row)


def _spawn(state: ShardState, name: str, kind: str | int | None) -> int | str:
    """A new body; its row, or why there is none."""
    table = state.table
    registry = state.registry
    number = kind if isinstance(kind, int) else registry.kind_number.get(kind or "person", 0)
    if not 1 <= number <= len(registry.kinds) or not registry.kind(number).walker:
        return f"there is no kind {kind!r} of bodies for people"
    if len(state.row_of_session) >= state.config.people_max:
        return f"the world is full: {state.config.people_max} people"
    if state.replay is not None:
        return state.replay.claim(table)
    values: dict[str, Any] = {"pos": spawn_point(state)}
    if any(component.name == NAME.name for component in registry.kind(number).components):
        values[NAME.name] = name or ""
        state.touched.add(NAME.name)
    try:
        rows = state.begin(number, state.ids.take(1), values)
    except (TableFullError, OutOfIdsError) as error:
        return str(error)
    row = int(rows[0])
    table.flags[row] = FLAG_ON_GROUND
    return row


def spawn_point(state: ShardState) -> F64:
    """Where the next person enters, float64[3]: the place's spawn points in turn, each time somewhere else around the
    point."""
    count = state.spawned
    state.spawned += 1
    random = philox(state.config.seed, "spawn", count)
    points = state.place.spawn_m if state.place is not None else np.zeros((0, 2))
    x0, z0, x1, z1 = state.config.square_m or (-np.inf, -np.inf, np.inf, np.inf)
    here = (points[:, 0] >= x0) & (points[:, 0] < x1) & (points[:, 1] >= z0) & (points[:, 1] < z1)
    if here.any():
        points = points[here]
    if len(points):
        centre = points[count % len(points)]
        spread = _SPREAD_M if count >= len(points) else 0.5
    else:
        centre = np.array([min(max(x0, 0.0), x1), min(max(z0, 0.0), z1)])
        spread = min(0.9 * state.config.bounds_half_m, 2.0 * np.sqrt(1.0 + count))
    tries = np.zeros((_TRIES, 3))
    tries[:, [0, 2]] = centre + random.uniform(-spread, spread, (_TRIES, 2))
    tries[-1, [0, 2]] = centre
    fits = np.zeros(_TRIES, np.uint8)
    fit_at(state.ground.walk, tries, fits)
    best = int(np.argmax(fits)) if fits.any() else _TRIES - 1
    point: F64 = tries[best]
    return point
