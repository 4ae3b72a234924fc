"""Who is near: rows sorted into square cells of the ground plane, and queries by radius, rays, and who
stands in whose way.

Decides nothing. Not responsible for: interest of views (``kernels.interest``), which has its own grid in grid units.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.jit import jit, jit_allocating
from kernels.layout import F64, I64, U8

U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


class Cells(NamedTuple):
    """Rows by cell: rows of cell (ix, iz) are ``row[start[c]:start[c + 1]]`` with c = ix * shape[1] + iz."""

    start: I64
    row: I64
    origin_m: F64
    """[2]: x, z of the first cell's corner."""
    shape: I64
    """[2]: cells along x and z."""
    size_m: float


CELLS_MAX = 1 << 16
"""Cells grow beyond the wanted size rather than in number: a lone entity far away must not cost memory."""


@jit_allocating
def sort_into_cells(rows: I64, pos: F64, size_m: float) -> Cells:
    """Counting sort of ``rows`` int64[k] by their ``pos`` float64[n, 3]; within a cell rows keep their order. Cost: O(k
    + cells)."""
    k = len(rows)
    origin = np.zeros(2)
    far = np.zeros(2)
    for i in range(k):
        x = pos[rows[i], 0]
        z = pos[rows[i], 2]
        if i == 0 or x < origin[0]:
            origin[0] = x
        if i == 0 or z < origin[1]:
            origin[1] = z
        if i == 0 or x > far[0]:
            far[0] = x
        if i == 0 or z > far[1]:
            far[1] = z
    while ((far[0] - origin[0]) / size_m + 1.0) * ((far[1] - origin[1]) / size_m + 1.0) > CELLS_MAX:
        size_m *= 2.0
    shape = np.empty(2, np.int64)
    shape[0] = np.int64((far[0] - origin[0]) / size_m) + 1
    shape[1] = np.int64((far[1] - origin[1]) / size_m) + 1
    start = np.zeros(shape[0] * shape[1] + 1, np.int64)
    cell = np.empty(k, np.int64)
    for i in range(k):
        ix = np.int64((pos[rows[i], 0] - origin[0]) / size_m)
        iz = np.int64((pos[rows[i], 2] - origin[1]) / size_m)
        cell[i] = ix * shape[1] + iz
        start[cell[i] + 1] += 1
    for c in range(len(start) - 1):
        start[c + 1] += start[c]
    at = start[:-1].copy()
    out = np.empty(k, np.int64)
    for i in range(k):
        out[at[cell[i]]] = rows[i]
        at[cell[i]] += 1
    return Cells(start, out, origin, shape, size_m)


@jit_allocating
def near(cells: Cells, pos: F64, x: F64, z: F64, radius_m: float) -> tuple[I64, I64]:
    """All pairs (query, row) within ``radius_m`` on the ground plane of the points ``x, z`` float64[q]: two int64[p],
    queries ascending, rows of one query in the order of cells. Cost: the rows in the cells touched, twice."""
    total = 0
    query = np.empty(0, np.int64)
    found = np.empty(0, np.int64)
    for write in range(2):
        total = 0
        for q in range(len(x)):
            if not np.isfinite(x[q] + z[q]):
                continue
            low_x = max(np.floor((x[q] - radius_m - cells.origin_m[0]) / cells.size_m), 0.0)
            low_z = max(np.floor((z[q] - radius_m - cells.origin_m[1]) / cells.size_m), 0.0)
            high_x = min(np.floor((x[q] + radius_m - cells.origin_m[0]) / cells.size_m), cells.shape[0] - 1.0)
            high_z = min(np.floor((z[q] + radius_m - cells.origin_m[1]) / cells.size_m), cells.shape[1] - 1.0)
            for ix in range(int(low_x), int(high_x) + 1):
                for c in range(ix * cells.shape[1] + int(low_z), ix * cells.shape[1] + int(high_z) + 1):
                    for i in range(cells.start[c], cells.start[c + 1]):
                        row = cells.row[i]
                        dx = pos[row, 0] - x[q]
                        dz = pos[row, 2] - z[q]
                        if dx * dx + dz * dz <= radius_m * radius_m:
                            if write == 1:
                                query[total] = q
                                found[total] = row
                            total += 1
        if write == 0:
            query = np.empty(total, np.int64)
            found = np.empty(total, np.int64)
    return query, found


@jit
def first_hit(
    cells: Cells,
    pos: F64,
    kind: U16,
    live: Bools,
    wanted: U8,
    radius_m: F64,
    x: F64,
    z: F64,
    yaw: F64,
    length_m: float,
    out_row: I64,
    out_m: F64,
) -> None:
    """The first circle that each ray meets on the ground plane: ``out_row`` int64[q] (-1: none), ``out_m`` float64[q].

    Rays begin at ``x, z`` float64[q] and go along (-sin yaw, -cos yaw) for ``length_m``; one that begins inside a
    circle does not meet it. ``kind`` uint16[n] and ``live`` bool[n] by row; ``wanted`` uint8[kinds + 1] and
    ``radius_m`` float64[kinds + 1] by kind. Cost: the rows in the cells along the ray. Writes to: ``out_row``,
    ``out_m``.
    """
    widest = 0.0
    for k in range(len(radius_m)):
        widest = max(widest, radius_m[k] * wanted[k])
    reach = 0.7072 * cells.size_m + widest
    for q in range(len(x)):
        out_row[q] = -1
        out_m[q] = np.inf
        if not np.isfinite(x[q] + z[q] + yaw[q] + length_m):
            continue
        dx = -np.sin(yaw[q])
        dz = -np.cos(yaw[q])
        end_x = x[q] + dx * length_m
        end_z = z[q] + dz * length_m
        low_x = max(np.floor((min(x[q], end_x) - widest - cells.origin_m[0]) / cells.size_m), 0.0)
        low_z = max(np.floor((min(z[q], end_z) - widest - cells.origin_m[1]) / cells.size_m), 0.0)
        high_x = min(np.floor((max(x[q], end_x) + widest - cells.origin_m[0]) / cells.size_m), cells.shape[0] - 1.0)
        high_z = min(np.floor((max(z[q], end_z) + widest - cells.origin_m[1]) / cells.size_m), cells.shape[1] - 1.0)
        for ix in range(int(low_x), int(high_x) + 1):
            for iz in range(int(low_z), int(high_z) + 1):
                across = (cells.origin_m[0] + (ix + 0.5) * cells.size_m - x[q]) * dz - (
                    cells.origin_m[1] + (iz + 0.5) * cells.size_m - z[q]
                ) * dx
                if abs(across) > reach:
                    continue
                c = ix * cells.shape[1] + iz
                for i in range(cells.start[c], cells.start[c + 1]):
                    row = cells.row[i]
                    if not live[row] or wanted[kind[row]] == 0:
                        continue
                    r = radius_m[kind[row]]
                    px = pos[row, 0] - x[q]
                    pz = pos[row, 2] - z[q]
                    if px * px + pz * pz <= r * r:
                        continue
                    along = px * dx + pz * dz
                    side2 = px * px + pz * pz - along * along
                    if along < 0.0 or side2 > r * r:
                        continue
                    at = along - np.sqrt(r * r - side2)
                    if at <= length_m and at < out_m[q]:
                        out_m[q] = at
                        out_row[q] = row


@jit
def part(
    cells: Cells,
    rows: I64,
    id_: U64,
    pos: F64,
    before: F64,
    apart_m: float,
    height_m: float,
    least_m: float,
    out_row: I64,
    out_push: F64,
) -> int:
    """Bodies that came to overlap in a move push each other half of the way apart; returns how many are pushed.

    ``rows`` int64[k] are in ``cells`` by where they are now, ``pos`` float64[n, 3]; ``before`` float64[n, 3]: where
    they came from. Two overlap if they are nearer than ``apart_m`` on the ground plane and ``height_m`` in height, or
    if they have passed through each other: then they are pushed back to the sides that they came from. Cells must be at
    least as wide as ``apart_m`` and the longest way that two can come nearer. Pushes of at least ``least_m`` go to
    ``out_row`` int64[k], ``out_push`` float64[k, 2]. ``id_`` uint64[n] decides where two in the same place go.
    """
    pushed = 0
    for k in range(len(rows)):
        a = rows[k]
        ix = np.int64((pos[a, 0] - cells.origin_m[0]) / cells.size_m)
        iz = np.int64((pos[a, 2] - cells.origin_m[1]) / cells.size_m)
        px = 0.0
        pz = 0.0
        deepest = 0.0
        for jx in range(max(int(ix) - 1, 0), min(int(ix) + 2, int(cells.shape[0]))):
            first = jx * cells.shape[1] + max(iz - 1, 0)
            end = jx * cells.shape[1] + min(iz + 2, cells.shape[1])
            for i in range(cells.start[first], cells.start[end]):
                b = cells.row[i]
                if a == b or abs(pos[a, 1] - pos[b, 1]) >= height_m:
                    continue
                nx = before[a, 0] - before[b, 0]
                nz = before[a, 2] - before[b, 2]
                dx = pos[a, 0] - pos[b, 0]
                dz = pos[a, 2] - pos[b, 2]
                flipped = nx * dx + nz * dz < 0.0
                if flipped:
                    # The nearest that they came to each other on the way, if both moved evenly.
                    mx = dx - nx
                    mz = dz - nz
                    t = min(max(-(nx * mx + nz * mz) / (mx * mx + mz * mz), 0.0), 1.0)
                    cx = nx + t * mx
                    cz = nz + t * mz
                    if cx * cx + cz * cz >= 0.25 * apart_m * apart_m:
                        flipped = False  # they went past each other, and not through
                if not flipped:
                    if dx * dx + dz * dz >= apart_m * apart_m:
                        continue
                    nx = dx
                    nz = dz
                length = np.sqrt(nx * nx + nz * nz)
                if length < 1e-6:
                    low = min(id_[a], id_[b])
                    high = max(id_[a], id_[b])
                    mixed = low * np.uint64(0x9E3779B97F4A7C15) + high * np.uint64(0xC2B2AE3D27D4EB4F)
                    turn = np.float64(mixed >> np.uint64(48)) * (2.0 * np.pi / 65536.0)
                    side = 1.0 if id_[a] < id_[b] else -1.0
                    nx = side * np.cos(turn)
                    nz = side * np.sin(turn)
                    length = 1.0
                nx /= length
                nz /= length
                overlap = apart_m - (dx * nx + dz * nz)
                px += 0.5 * overlap * nx
                pz += 0.5 * overlap * nz
                deepest = max(deepest, 0.5 * overlap)
        length = np.sqrt(px * px + pz * pz)
        if length > deepest:  # in a throng everybody pushes: no farther than one of them asks for
            px *= deepest / length
            pz *= deepest / length
        if px * px + pz * pz >= least_m * least_m:
            out_row[pushed] = a
            out_push[pushed, 0] = px
            out_push[pushed, 1] = pz
            pushed += 1
    return pushed
