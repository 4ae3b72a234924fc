"""Which bodies a physics space has to know in a step: those that may touch something, and no others.

A prop that rests needs none until something that moves comes near; one that moves with nothing near goes on by itself
(``glide``, which is what the space would do); a walker needs one beside a prop that has one, since walkers meet props
only. "Near" is the same or an adjacent cell, so cells must be at least as wide as two bodies and the way that they may
come nearer in one step. Cells are hashed: two in one slot make somebody known who need not be, never the reverse.

Decides who is restless, near, gliding. Invariants: a function of columns alone, so two regions with equal columns
choose alike. Not responsible for: bodies themselves (``shard.physics``), where walls are (``shard.physics.walls``).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.jit import jit
from kernels.layout import F64, I64, U8
from kernels.nearby import Cells

Bools = npt.NDArray[np.bool_]

CALM_TICKS = 10
"""So long nothing may have moved a body before it counts as resting: half a second at 20 Hz."""
STILL_M = 5e-5
STILL_M_PER_S = 1e-3
"""Slower than this is rest: a grid unit takes eight seconds."""
STILL_RAD_PER_S = 1e-3
_MOVER, _KNOWN = 1, 2


class Walls(NamedTuple):
    """Where walls are near, on a grid: ``near`` uint8[cells], cell (ix, iz) at ix * shape[1] + iz."""

    near: U8
    origin_m: F64
    """[2]: x, z of the first cell's corner."""
    shape: I64
    """[2]"""
    size_m: float
    reach_m: float
    """Whoever is in a cell that is not marked is at least so far from every wall."""


class Near(NamedTuple):
    """Room for a step. ``bodies``, ``marks`` uint8[m], m a power of two; ``slot`` int64[>= k]."""

    bodies: U8
    marks: U8
    slot: I64


class Chosen(NamedTuple):
    """Rows, int64[>= k] each: who gets a body, who loses it, who glides."""

    begin: I64
    end: I64
    free: I64


@jit
def _slot(ix: int, iz: int, mask: int) -> int:
    return ((ix * 73856093) ^ (iz * 19349663)) & mask


@jit
def wall_near(walls: Walls, x: float, z: float) -> bool:
    """Whether a wall may be within ``walls.reach_m``; outside of the grid one always may be."""
    fx = np.floor((x - walls.origin_m[0]) / walls.size_m)
    fz = np.floor((z - walls.origin_m[1]) / walls.size_m)
    if not (0.0 <= fx < walls.shape[0] and 0.0 <= fz < walls.shape[1]):
        return True
    return walls.near[np.int64(fx) * walls.shape[1] + np.int64(fz)] != 0


@jit
def wake(
    rows: I64,
    walker: U8,
    ghost: Bools,
    pos: F64,
    vel: F64,
    spin: F64,
    last: F64,
    calm: U8,
    known: Bools,
    size_m: float,
    walls: Walls,
    walled: bool,
    room: Near,
    out: Chosen,
) -> tuple[int, int, int]:
    """Choose among ``rows`` int64[k], all that may have a body; returns how many of ``out`` begin, end and glide.

    By row: ``pos``, ``vel`` float64[n, 3], ``spin`` float64[n], ``walker`` uint8[n], ``ghost`` bool[n], ``known``
    bool[n] (has a body). ``last`` float64[n, 2] is where it was in the last step (x, z; NaN: there was none), ``calm``
    uint8[n] for how many steps it has rested. ``walled``: a wall counts as near everywhere. Costs O(k). Writes to:
    ``last``, ``calm``, ``room``, ``out``, and to ``vel`` and ``spin`` of an own prop that comes to rest.
    """
    mask = len(room.bodies) - 1
    restless = 0
    given = 0
    for k in range(len(rows)):
        row = rows[k]
        x, z = pos[row, 0], pos[row, 2]
        still = (
            abs(x - last[row, 0]) <= STILL_M
            and abs(z - last[row, 1]) <= STILL_M
            and vel[row, 0] * vel[row, 0] + vel[row, 2] * vel[row, 2] <= STILL_M_PER_S * STILL_M_PER_S
            and abs(spin[row]) <= STILL_RAD_PER_S
        )
        last[row, 0] = x
        last[row, 1] = z
        if not still:
            calm[row] = 0
        elif calm[row] < CALM_TICKS:
            calm[row] += 1
            if calm[row] == CALM_TICKS and walker[row] == 0 and not ghost[row]:
                vel[row, 0] = 0.0
                vel[row, 2] = 0.0
                spin[row] = 0.0
        restless += calm[row] < CALM_TICKS
        given += known[row]
    if restless == 0 and given == 0:
        return 0, 0, 0
    room.bodies[:] = 0
    room.marks[:] = 0
    for k in range(len(rows)):
        row = rows[k]
        ix = np.int64(np.floor(pos[row, 0] / size_m))
        iz = np.int64(np.floor(pos[row, 2] / size_m))
        at = _slot(ix, iz, mask)
        room.slot[k] = at
        if room.bodies[at] < 255:
            room.bodies[at] += 1
        if calm[row] < CALM_TICKS:
            for jx in range(ix - 1, ix + 2):
                for jz in range(iz - 1, iz + 2):
                    room.marks[_slot(jx, jz, mask)] |= _MOVER
    begins = 0
    ends = 0
    glides = 0
    for k in range(len(rows)):
        row = rows[k]
        if walker[row] != 0:
            continue
        x, z = pos[row, 0], pos[row, 2]
        ix = np.int64(np.floor(x / size_m))
        iz = np.int64(np.floor(z / size_m))
        if calm[row] < CALM_TICKS:
            others = 0
            for jx in range(ix - 1, ix + 2):
                for jz in range(iz - 1, iz + 2):
                    others += room.bodies[_slot(jx, jz, mask)]
            needs = others > 1 or walled or wall_near(walls, x, z)
            if not needs:
                out.free[glides] = row
                glides += 1
        else:
            needs = room.marks[room.slot[k]] & _MOVER != 0
        if needs:
            for jx in range(ix - 1, ix + 2):
                for jz in range(iz - 1, iz + 2):
                    room.marks[_slot(jx, jz, mask)] |= _KNOWN
            if not known[row]:
                out.begin[begins] = row
                begins += 1
        elif known[row]:
            out.end[ends] = row
            ends += 1
    for k in range(len(rows)):
        row = rows[k]
        if walker[row] == 0:
            continue
        needs = room.marks[room.slot[k]] & _KNOWN != 0
        if needs and not known[row]:
            out.begin[begins] = row
            begins += 1
        elif known[row] and not needs:
            out.end[ends] = row
            ends += 1
    return begins, ends, glides


@jit
def glide(
    rows: I64, turns: U8, keep: F64, speed_max: F64, dt: float, steps: int, pos: F64, vel: F64, yaw: F64, spin: F64
) -> None:
    """Move ``rows`` int64[k], props that nothing is near, by ``steps`` steps of ``dt`` seconds: to the bit what
    ``kernels.bodies`` and the space do with a body that touches nothing. One that is not finite keeps its place and
    loses its velocity. Writes to: ``pos``, ``vel``, ``yaw``, ``spin``."""
    for row in rows:
        factor = keep[row]
        speed2 = vel[row, 0] * vel[row, 0] + vel[row, 2] * vel[row, 2]
        if speed2 * factor * factor > speed_max[row] * speed_max[row]:
            factor = speed_max[row] / np.sqrt(speed2)
        vel[row, 0] *= factor
        vel[row, 2] *= factor
        spin[row] *= keep[row]
        x, z, angle = pos[row, 0], pos[row, 2], -yaw[row]
        for _ in range(steps):
            x += vel[row, 0] * dt
            z += vel[row, 2] * dt
            angle += -spin[row] * dt
        if not np.isfinite(x + z + vel[row, 0] + vel[row, 2] + angle + spin[row]):
            vel[row, :] = 0.0
            spin[row] = 0.0
            continue
        pos[row, 0] = x
        pos[row, 2] = z
        if turns[row] != 0:
            yaw[row] = -angle


@jit
def touching(cells: Cells, rows: I64, pos: F64, reach_m: F64, walls: Walls, out: U8) -> None:
    """Whether each of ``rows`` int64[k] may touch a wall, or somebody in ``cells``: nearer on the ground plane than
    both ``reach_m`` float64[n] (by row) together. Cells must be as wide as the two largest. Writes to: ``out``
    uint8[k]."""
    for k in range(len(rows)):
        a = rows[k]
        out[k] = wall_near(walls, pos[a, 0], pos[a, 2])
        ix = np.int64((pos[a, 0] - cells.origin_m[0]) / cells.size_m)
        iz = np.int64((pos[a, 2] - cells.origin_m[1]) / cells.size_m)
        for jx in range(max(int(ix) - 1, 0), min(int(ix) + 2, int(cells.shape[0]))):
            first = jx * cells.shape[1] + max(iz - 1, 0)
            end = jx * cells.shape[1] + min(iz + 2, cells.shape[1])
            for i in range(cells.start[first], cells.start[end]):
                b = cells.row[i]
                dx = pos[a, 0] - pos[b, 0]
                dz = pos[a, 2] - pos[b, 2]
                reach = reach_m[a] + reach_m[b]
                if a != b and dx * dx + dz * dz < reach * reach:
                    out[k] = 1
