"""Phase 3: motion. Walkers by their commands, everything else by the physics space or its own velocity.

The rule for commands (WALKING.md says what one step does): a command lasts ``steps`` walk steps; a walker earns
``steps_per_tick`` steps each tick and may save up ``bank_s`` seconds of them, so the time that a client spends never
exceeds real time. A tick takes min(queued, steps_per_tick) steps, and more from the bank while more than two ticks'
worth is queued, or to catch up with commands that came late (``kernels.commands.plan``); a command may be taken in
parts (``own_steps`` tells how far). A walker that heard nothing for ``quiet_s`` is stepped with a neutral command until
it rests. What moves a body beside its commands (contacts, scripts, that neutral command, dropped commands) sets
``o.moved``.

Invariants: two walkers never pass through each other; a walker never comes to overlap an obstacle: its own steps and
pushes both go by the walker's rule.
"""

import numpy as np
import numpy.typing as npt

from kernels.commands import plan, take
from kernels.nearby import part, sort_into_cells
from kernels.walk import push_walkers, walk_commands
from protocol.walking import FLAG_ON_GROUND, HEIGHT, PUSH_MAX_M, RADIUS, RUN
from shard.border.ghosts import predict
from shard.physics.exchange import PUSH_LEAST_M
from shard.state import ShardState
from shard.world import hands

I64 = npt.NDArray[np.int64]


def run(state: ShardState) -> None:
    """Move everything by ``state.ticks`` ticks."""
    before = state.table.pos.copy()
    _walk(state)
    dt = state.ticks / state.config.rate_hz
    for rows in state.free_movers():
        if len(rows):
            state.table.pos[rows] += state.table.vel[rows] * dt
    if state.links.neighbours:
        predict(state, dt)
    _part(state, before)
    state.attachments.levels()  # who is free again gets a body
    rows, by = state.exchange.step(before, state.ticks)
    _push(state, rows, by)
    for rows, by in zip(state.pushed_rows, state.pushed_by, strict=True):
        _push(state, rows, by)
    held = hands.reach(state.table, state.kinds_to_hold)
    speed = state.table.vel[held]
    state.attachments.follow(state.kind_walks)
    if len(held):
        hands.note_speed(state.table, held, speed, before, dt)


def _walk(state: ShardState) -> None:
    rows = state.walkers()
    if not len(rows):
        return
    config = state.config
    table = state.table
    columns = table.columns
    queues = state.queues()
    moved, own_seq = columns["o.moved"], columns["o.seq"]
    budget = np.empty(len(rows), np.int64)
    used, taken = np.empty_like(budget), np.empty_like(budget)
    late_max, calm = int(config.backlog_s * config.rate_hz), max(1, int(config.calm_s * config.rate_hz))
    plan(
        queues, rows, config.steps_per_tick, state.ticks, config.bank_steps_max, late_max, calm, own_seq, moved,
        budget, state.counted
    )  # fmt: skip
    h = 1.0 / (config.rate_hz * config.steps_per_tick)
    done = queues.done[rows]
    walk_commands(
        state.ground.walk, h, rows, budget, rows * queues.seq.shape[1], queues.queued[rows],
        queues.move_x.reshape(-1), queues.move_z.reshape(-1), queues.buttons.reshape(-1), queues.steps.reshape(-1),
        table.pos, table.vel, table.flags, done, used, taken,
    )  # fmt: skip
    queues.done[rows] = done
    take(queues, rows, used, taken, table.yaw, own_seq)
    resting = (table.flags[rows] & FLAG_ON_GROUND).astype(bool) & ~table.vel[rows].any(axis=1)
    quiet = rows[(queues.queued[rows] == 0) & (queues.quiet[rows] >= config.quiet_s * config.rate_hz) & ~resting]
    if len(quiet):
        _come_to_rest(state, quiet, h)


def _come_to_rest(state: ShardState, rows: I64, h: float) -> None:
    """One neutral command for walkers that nobody steers. It spends their time like any other."""
    queues = state.queues()
    table = state.table
    columns = table.columns
    wanted = state.config.steps_per_tick * state.ticks
    count = len(rows)
    zero = np.zeros(count, np.int64)
    used, taken = np.empty_like(zero), np.empty_like(zero)
    budget = np.minimum(queues.bank[rows], wanted)
    walk_commands(
        state.ground.walk, h, rows, budget, zero, zero + 1,
        np.zeros(1, np.int8), np.zeros(1, np.int8), np.zeros(1, np.uint8), np.full(1, 255, np.uint8),
        table.pos, table.vel, table.flags, np.zeros(count, np.uint8), used, taken,
    )  # fmt: skip
    queues.bank[rows] -= taken
    columns["o.moved"][rows] = 1


def _part(state: ShardState, before: npt.NDArray[np.float64]) -> None:
    """People do not walk through each other: those who came to overlap push each other apart, ghosts too."""
    rows = state.walkers()
    if state.links.neighbours:
        ghosts = state.table.ghosts()
        rows = np.concatenate([rows, ghosts[state.kind_walks[state.table.kind[ghosts]]]])
    if len(rows) < 2:
        return
    table = state.table
    out_row = np.empty(len(rows), np.int64)
    out_push = np.empty((len(rows), 2))
    # Two who run towards each other, and what a push may add.
    nearer_m = 2.0 * (RUN * state.ticks / state.config.rate_hz + PUSH_MAX_M)
    cells = sort_into_cells(rows, table.pos, 2.0 * RADIUS + nearer_m)
    count = part(
        cells, rows, table.id, table.pos, before, 2.0 * RADIUS, HEIGHT, PUSH_LEAST_M, out_row, out_push
    )  # fmt: skip
    pushed, by = out_row[:count], out_push[:count]
    # A step over several ticks may have to put somebody farther back than one push goes.
    parts = min(state.ticks, int(np.ceil(np.abs(by).max(initial=0.0) / (PUSH_MAX_M / 1.5)))) if state.ticks > 1 else 1
    for _ in range(parts):
        _push(state, pushed, by / parts)


def _push(state: ShardState, rows: I64, by: npt.NDArray[np.float64]) -> None:
    """Move walkers by something else than their commands."""
    if not len(rows):
        return
    table = state.table
    push_walkers(state.ground.walk, rows, by, table.pos, table.vel)
    table.columns["o.moved"][rows] = 1
