"""Queues of walk commands, one per walker: feed them, decide what is consumed, take it out.

Decides how much time a client may spend (bounded by real time) and what happens to commands that come late. Invariants:
queued sequence numbers ascend modulo 2**32; a walker never takes more steps than it has earned. Not responsible for:
the walk itself (``kernels.walk``). A queue is a row's span of QUEUE commands, oldest first, always beginning at its
first place.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.jit import jit
from kernels.layout import I64, U8, U32
from protocol.layouts import STEPS_PER_COMMAND_MAX

I8 = npt.NDArray[np.int8]
U16 = npt.NDArray[np.uint16]
F64 = npt.NDArray[np.float64]
Records = npt.NDArray[np.void]

QUEUE = 64
"""Commands that a walker may have queued: over a second of them at 60 a second."""
NONE_CAME = 1 << 30
"""Of ``Queues.ahead``: no command came."""


class Queues(NamedTuple):
    """By row: ``seq, move_x, move_z, yaw, buttons, steps`` [n, QUEUE]; ``queued`` (commands), ``bank`` (steps earned),
    ``quiet`` (ticks since a command came), ``late`` (ticks with too much queued), ``short`` (steps that were missing in
    the last ticks; below 0: steps to catch up with), ``calm`` (ticks since missing steps came), ``ahead`` (least steps
    that a command has found before it lately; or NONE_CAME) int64[n]; ``done`` uint8[n] (steps taken of the first
    command); ``heard`` uint8[n] (0: no command yet), ``newest`` uint32[n] (newest one had)."""

    seq: U32
    move_x: I8
    move_z: I8
    yaw: U16
    buttons: U8
    steps: U8
    queued: I64
    bank: I64
    quiet: I64
    late: I64
    short: I64
    calm: I64
    ahead: I64
    done: U8
    heard: U8
    newest: U32


@jit
def _waiting(queues: Queues, row: int) -> np.int64:
    """Steps in a row's queue that are not taken yet."""
    steps = -np.int64(queues.done[row])
    for i in range(queues.queued[row]):
        steps += queues.steps[row, i]
    return steps


@jit
def _drop(queues: Queues, row: int, count: int) -> None:
    """Take the ``count`` oldest commands out of a row's queue."""
    left = queues.queued[row] - count
    for i in range(left):
        queues.seq[row, i] = queues.seq[row, i + count]
        queues.move_x[row, i] = queues.move_x[row, i + count]
        queues.move_z[row, i] = queues.move_z[row, i + count]
        queues.yaw[row, i] = queues.yaw[row, i + count]
        queues.buttons[row, i] = queues.buttons[row, i + count]
        queues.steps[row, i] = queues.steps[row, i + count]
    queues.queued[row] = left


@jit
def feed(
    queues: Queues,
    rows: U32,
    generations: U32,
    seqs: U32,
    commands: Records,
    accepts: U8,
    generation: U32,
    own_seq: U32,
    moved: U8,
    counted: I64,
) -> None:
    """Queue commands in arrival order.

    ``rows, generations, seqs`` uint32[c] and ``commands`` COMMAND[c] as they came; ``accepts`` uint8[n] rows that take
    commands and ``generation`` uint32[n] by row. Skipped: rows that do not exist, do not accept or are of another
    generation; sequence
    numbers that were had (modulo 2**32); steps of 0 or above STEPS_PER_COMMAND_MAX. A full queue drops its oldest
    command: ``own_seq[row]`` goes on to it and ``moved[row]`` is 1.
    ``counted`` int64[5] is added to: taken, stale (wrong row), repeated, dropped, numbers left out. Cost: about 10 ns a
    command.
    """
    for k in range(len(rows)):
        row = int(rows[k])
        if row >= len(accepts) or accepts[row] == 0 or generation[row] != generations[k]:
            counted[1] += 1
            continue
        ahead = np.int64(np.uint32(seqs[k] - queues.newest[row]))
        if queues.heard[row] != 0 and (ahead == 0 or ahead >= 0x80000000):
            counted[2] += 1
            continue
        command = commands[k]
        if command["steps"] == 0 or command["steps"] > STEPS_PER_COMMAND_MAX:
            counted[1] += 1
            continue
        if queues.heard[row] != 0:
            counted[4] += ahead - 1
        else:
            own_seq[row] = np.uint32(seqs[k] - np.uint32(1))
        if queues.queued[row] == QUEUE:
            own_seq[row] = queues.seq[row, 0]
            moved[row] = 1
            queues.done[row] = 0
            _drop(queues, row, 1)
            counted[3] += 1
        at = queues.queued[row]
        queues.ahead[row] = min(queues.ahead[row], _waiting(queues, row))
        queues.seq[row, at] = seqs[k]
        queues.move_x[row, at] = command["move_x"]
        queues.move_z[row, at] = command["move_z"]
        queues.yaw[row, at] = command["yaw"]
        queues.buttons[row, at] = command["buttons"]
        queues.steps[row, at] = command["steps"]
        queues.queued[row] = at + 1
        queues.heard[row] = 1
        queues.newest[row] = seqs[k]
        queues.quiet[row] = 0
        counted[0] += 1


@jit
def plan(
    queues: Queues,
    rows: I64,
    tick_steps: int,
    ticks: int,
    bank_max: int,
    late_ticks_max: int,
    calm_ticks: int,
    own_seq: U32,
    moved: U8,
    budget: I64,
    counted: I64,
) -> None:
    """Decide how many steps each walker takes now: ``budget`` int64[m], taken from its bank.

    Each tick earns ``tick_steps``, up to ``bank_max`` are kept. Consumed are min(queued, this step's ticks' worth), and
    more from the bank while more than two ticks' worth stays queued. Where more than two ticks' worth stayed queued for
    ``late_ticks_max`` ticks, the oldest commands beyond one tick's worth are dropped: ``own_seq`` goes on, ``moved`` is
    1, ``counted[3]`` counts.

    Commands that come late, after ticks that went short of steps, would delay all behind them. They are caught up with,
    a step more each time, if the last such hiccup is ``calm_ticks`` ago; else they stay, as room for a jitter that goes
    on. Steps that were before every command of ``calm_ticks`` were no such room, and are caught up with then.
    """
    worth = tick_steps * ticks
    for k in range(len(rows)):
        row = rows[k]
        queues.quiet[row] += ticks
        queues.bank[row] = min(queues.bank[row] + worth, bank_max)
        queues.calm[row] += ticks
        queued = _waiting(queues, row)
        missing = worth - queued
        if queues.queued[row] == 0:
            queues.late[row] = 0
            queues.short[row] = min(max(queues.short[row], 0) + missing, bank_max)
            budget[k] = 0
            continue
        steps = min(queued, worth, queues.bank[row])
        beyond = queued - steps - 2 * tick_steps
        if beyond > 0:
            more = min(beyond, queues.bank[row] - steps)
            steps += more
            beyond -= more
        calm = queues.calm[row] >= calm_ticks
        if missing > 0:
            queues.short[row] = min(max(queues.short[row], 0) + missing, bank_max)
        elif queues.short[row] > 0:
            if missing < 0:  # here they are
                queues.short[row] = -min(queues.short[row], -missing) if calm else 0
                queues.calm[row] = 0
                queues.ahead[row] = NONE_CAME
            else:
                queues.short[row] = 0
        elif calm and queues.calm[row] % calm_ticks < ticks:
            if queues.ahead[row] < NONE_CAME:
                queues.short[row] = -queues.ahead[row]
            queues.ahead[row] = NONE_CAME
        if queues.short[row] < 0:
            if steps < min(queued, queues.bank[row]):
                steps += 1
                queues.short[row] += 1
            else:
                queues.short[row] = 0
        queues.bank[row] -= steps
        budget[k] = steps
        if beyond <= 0:
            queues.late[row] = 0
            continue
        queues.late[row] += ticks
        if queues.late[row] < late_ticks_max:
            continue
        queues.late[row] = 0
        drop = 0
        left = queued
        first = np.int64(queues.steps[row, 0]) - np.int64(queues.done[row])
        while drop < queues.queued[row] - 1 and left - first >= steps + tick_steps:
            left -= first
            drop += 1
            first = np.int64(queues.steps[row, drop])
        if drop > 0:
            own_seq[row] = queues.seq[row, drop - 1]
            moved[row] = 1
            queues.ahead[row] = NONE_CAME
            queues.done[row] = 0
            _drop(queues, row, drop)
            counted[3] += drop


@jit
def take(queues: Queues, rows: I64, used: I64, taken: I64, yaw: F64, own_seq: U32) -> None:
    """Take out what was applied: ``used[k]`` commands wholly, ``taken[k]`` steps in all (0: nothing happened).

    Renews ``own_seq`` and the body's ``yaw`` (radians) by row: that of the last command touched.
    """
    turn = 2.0 * np.pi / 65536.0
    for k in range(len(rows)):
        if taken[k] == 0:
            continue
        row = rows[k]
        last = used[k] if queues.done[row] > 0 else used[k] - 1
        yaw[row] = queues.yaw[row, last] * turn
        if used[k] > 0:
            own_seq[row] = queues.seq[row, used[k] - 1]
            _drop(queues, row, used[k])
