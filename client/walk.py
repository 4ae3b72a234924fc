"""One walk step in plain Python: what a bot or any client predicts its own body with.

Decides where a body is after a command, exactly as ``protocol/WALKING.md`` says; section numbers are that page's.
Invariants: the result is the same, bit for bit, as the server's kernel and the page's; it does not depend on the
order in which prisms were added. Not responsible for: fetching the map (``client.tiles``), queues of commands,
reconciliation. Written for speed in the interpreter: one flat function for the common case (nothing near), tuples for
edges.
"""

from collections.abc import Iterable, Sequence
from math import floor as floor_of
from math import inf, sqrt

from protocol.layouts import BUTTON_JUMP, BUTTON_RUN
from protocol.walking import (
    ACCEL_AIR,
    ACCEL_GROUND,
    CELL_M,
    FALL,
    FIT,
    GRAVITY,
    HEIGHT,
    JUMP,
    MARGIN_M,
    MOVE,
    PUSHES,
    RADIUS,
    REACH,
    RUN,
    STEP,
    SUBMOVES,
    TOUCH,
    WALK,
)

_TOUCH2 = TOUCH * TOUCH
_FIT2 = FIT * FIT
_MOVE2 = MOVE * MOVE
_REACH2 = REACH * REACH

Point = tuple[float, float]
Edge = tuple[float, float, float, float, float, float]
"""ax, az, bx, bz, bottom, top (metres)."""
Prism = tuple[float, float, tuple[Edge, ...]]
"""bottom, top (metres), all edges of all rings."""
_Cell = tuple[list[Edge], list[Prism]]


class Ground:
    """The static world that a body collides with: prisms, found by square cells of 4 m."""

    __slots__ = ("_cells", "_keys", "max_x", "max_z", "min_x", "min_z")

    def __init__(self, bounds_m: tuple[float, float, float, float]) -> None:
        """``bounds_m``: min_x, min_z, max_x, max_z. Raises ValueError if they are empty."""
        self.min_x, self.min_z, self.max_x, self.max_z = bounds_m
        if not (self.min_x < self.max_x and self.min_z < self.max_z):
            raise ValueError(f"bounds must be min_x, min_z, max_x, max_z with min < max, got {bounds_m}")
        self._cells: dict[tuple[int, int], _Cell] = {}
        self._keys: set[int] = set()

    def add(self, key: int, bottom_m: float, top_m: float, rings: Iterable[Sequence[Point]]) -> bool:
        """Add a prism; a key that is known already is ignored (prisms come with every tile they touch).

        Returns whether it was added. Raises ValueError for a prism without height or a ring of less than 3 points.
        """
        if key in self._keys:
            return False
        if not bottom_m < top_m:
            raise ValueError(f"prism {key}: bottom {bottom_m} must be below top {top_m}")
        edges: list[Edge] = []
        for ring in rings:
            if len(ring) < 3:
                raise ValueError(f"prism {key}: a ring needs at least 3 points, got {len(ring)}")
            ax, az = ring[-1]
            for bx, bz in ring:
                if ax != bx or az != bz:
                    edges.append((ax, az, bx, bz, bottom_m, top_m))
                ax, az = bx, bz
        if not edges:
            raise ValueError(f"prism {key} has no edges")
        self._keys.add(key)
        for edge in edges:
            for cell in _cells_under((edge[0], edge[2]), (edge[1], edge[3]), MARGIN_M):
                self._cells.setdefault(cell, ([], []))[0].append(edge)
        prism = (bottom_m, top_m, tuple(edges))
        for cell in _cells_under([e[0] for e in edges], [e[1] for e in edges], 0.0):
            self._cells.setdefault(cell, ([], []))[1].append(prism)
        return True

    def __len__(self) -> int:
        return len(self._keys)

    def cell(self, x: float, z: float) -> _Cell | None:
        """Edges that a sub-move from (x, z) can meet, and prisms whose bounding box may hold (x, z)."""
        return self._cells.get((floor_of(x / CELL_M), floor_of(z / CELL_M)))


class Walker:
    """The state of one body (§3): feet in metres, velocity in m/s. ``on_ground`` is bit 1 of the wire's flags."""

    __slots__ = ("on_ground", "vx", "vy", "vz", "x", "y", "z")

    def __init__(self, x: float, y: float, z: float, on_ground: bool = True) -> None:
        self.x, self.y, self.z = x, y, z
        self.vx = self.vy = self.vz = 0.0
        self.on_ground = on_ground

    def copy(self) -> "Walker":
        other = Walker(self.x, self.y, self.z, self.on_ground)
        other.vx, other.vy, other.vz = self.vx, self.vy, self.vz
        return other


def walk_step(ground: Ground, body: Walker, move_x: int, move_z: int, buttons: int, h: float) -> None:
    """One walk step (§4) of ``h`` seconds; changes ``body`` in place."""
    wx = move_x / 127
    wz = move_z / 127
    l2 = wx * wx + wz * wz
    if l2 > 1.0:
        length = sqrt(l2)
        wx = wx / length
        wz = wz / length
    speed = RUN if buttons & BUTTON_RUN else WALK
    dvx = wx * speed - body.vx
    dvz = wz * speed - body.vz
    most = (ACCEL_GROUND if body.on_ground else ACCEL_AIR) * h
    d2 = dvx * dvx + dvz * dvz
    if d2 > most * most:
        k = most / sqrt(d2)
        body.vx = body.vx + dvx * k
        body.vz = body.vz + dvz * k
    else:
        body.vx = body.vx + dvx
        body.vz = body.vz + dvz

    lowest, ceil = move(ground, body, body.vx * h, body.vz * h)

    y = body.y
    vy = body.vy
    if body.on_ground:
        if buttons & BUTTON_JUMP:
            vy = JUMP
        elif lowest >= y - STEP:
            body.y = lowest
            body.vy = 0.0
            return
        else:
            vy = -(GRAVITY * h)
    else:
        vy = vy - GRAVITY * h
        if vy < -FALL:
            vy = -FALL
    body.on_ground = False
    y = y + vy * h
    if y + HEIGHT > ceil:
        y = ceil - HEIGHT
        if vy > 0.0:
            vy = 0.0
    if y <= lowest:
        y = lowest
        vy = 0.0
        body.on_ground = True
    body.y = y
    body.vy = vy


def move(ground: Ground, body: Walker, mx: float, mz: float) -> tuple[float, float]:
    """Move horizontally by (mx, mz) metres (§5) and return floor and ceiling at the end (§2)."""
    l2 = mx * mx + mz * mz
    if l2 <= _MOVE2:
        return _submove(ground, body, mx, mz)[1:]
    length = sqrt(l2)
    n = 2
    while n < SUBMOVES and length > n * MOVE:
        n += 1
    if length > n * MOVE:
        k = (SUBMOVES * MOVE) / length
        mx = mx * k
        mz = mz * k
    ux = mx / n
    uz = mz / n
    accepted, lowest, ceil = _submove(ground, body, ux, uz)
    for _ in range(1, n):
        if not accepted:
            break
        accepted, lowest, ceil = _submove(ground, body, ux, uz)
    return lowest, ceil


def _submove(ground: Ground, body: Walker, ux: float, uz: float) -> tuple[bool, float, float]:
    """One sub-move (§5): whether it was accepted, then floor and ceiling where the body is now."""
    x0 = body.x
    z0 = body.z
    y = body.y
    x = x0 + ux
    z = z0 + uz
    if x < ground.min_x:
        x = ground.min_x
        if body.vx < 0.0:
            body.vx = 0.0
    elif x > ground.max_x:
        x = ground.max_x
        if body.vx > 0.0:
            body.vx = 0.0
    if z < ground.min_z:
        z = ground.min_z
        if body.vz < 0.0:
            body.vz = 0.0
    elif z > ground.max_z:
        z = ground.max_z
        if body.vz > 0.0:
            body.vz = 0.0

    cell = ground.cell(x0, z0)
    if cell is not None and cell[0]:
        over = y + STEP
        head = y + HEIGHT
        obstacles = [edge for edge in cell[0] if edge[5] > over and edge[4] < head]
        if obstacles:
            fits, x, z = _push_out(obstacles, body, x, z)
            if (
                not fits
                or not (ground.min_x <= x <= ground.max_x and ground.min_z <= z <= ground.max_z)
                or (x - x0) * (x - x0) + (z - z0) * (z - z0) > _REACH2
            ):
                return _refuse(ground, body)
    lowest, ceil = floor_and_ceiling(ground, x, y, z)
    if lowest + HEIGHT > ceil:
        return _refuse(ground, body)
    body.x = x
    body.z = z
    if lowest > y:
        body.y = lowest
    return True, lowest, ceil


def _refuse(ground: Ground, body: Walker) -> tuple[bool, float, float]:
    body.vx = 0.0
    body.vz = 0.0
    return False, *floor_and_ceiling(ground, body.x, body.y, body.z)


def _push_out(obstacles: list[Edge], body: Walker, x: float, z: float) -> tuple[bool, float, float]:
    """Push (x, z) off the nearest obstacle until it touches none (§5.2); whether it fits, and where."""
    for _ in range(PUSHES):
        best = _TOUCH2
        qx = qz = 0.0
        nearest: Edge | None = None
        for edge in obstacles:
            px, pz, d2 = _nearest(edge, x, z)
            if d2 < best or (nearest is not None and d2 == best and (px < qx or (px == qx and pz < qz))):
                best, qx, qz, nearest = d2, px, pz, edge
        if nearest is None:
            return True, x, z
        if best > 0.0:
            d = sqrt(best)
            nx = (x - qx) / d
            nz = (z - qz) / d
        else:
            ex = nearest[2] - nearest[0]
            ez = nearest[3] - nearest[1]
            d = sqrt(ex * ex + ez * ez)
            nx = ez / d
            nz = -ex / d
        x = qx + nx * RADIUS
        z = qz + nz * RADIUS
        vn = body.vx * nx + body.vz * nz
        if vn < 0.0:
            body.vx = body.vx - vn * nx
            body.vz = body.vz - vn * nz
    return all(_nearest(edge, x, z)[2] >= _FIT2 for edge in obstacles), x, z


def _nearest(edge: Edge, x: float, z: float) -> tuple[float, float, float]:
    """The edge's nearest point to (x, z) and the squared distance (§2)."""
    ax, az, bx, bz, _, _ = edge
    ex = bx - ax
    ez = bz - az
    dot = (x - ax) * ex + (z - az) * ez
    len2 = ex * ex + ez * ez
    if dot <= 0.0:
        qx, qz = ax, az
    elif dot >= len2:
        qx, qz = bx, bz
    else:
        t = dot / len2
        qx = ax + t * ex
        qz = az + t * ez
    dx = x - qx
    dz = z - qz
    return qx, qz, dx * dx + dz * dz


def floor_and_ceiling(ground: Ground, x: float, y: float, z: float) -> tuple[float, float]:
    """Heights in metres of what a body at (x, y, z) would stand on and hit its head at (§2)."""
    lowest = 0.0
    ceil = inf
    cell = ground.cell(x, z)
    if cell is None:
        return lowest, ceil
    over = y + STEP
    head = y + HEIGHT
    for edge in cell[0]:
        if edge[5] <= over:
            if edge[5] > lowest and _nearest(edge, x, z)[2] < _FIT2:
                lowest = edge[5]
        elif edge[4] >= head and edge[4] < ceil and _nearest(edge, x, z)[2] < _FIT2:
            ceil = edge[4]
    for bottom, top, edges in cell[1]:
        if top <= over:
            if top > lowest and inside(edges, x, z):
                lowest = top
        elif bottom >= head and bottom < ceil and inside(edges, x, z):
            ceil = bottom
    return lowest, ceil


def inside(edges: Iterable[Edge], x: float, z: float) -> bool:
    """Whether (x, z) is within the footprint, by the even-odd rule (§2)."""
    odd = False
    for ax, az, bx, bz, _, _ in edges:
        if (az > z) != (bz > z) and x < ax + ((z - az) / (bz - az)) * (bx - ax):
            odd = not odd
    return odd


def _cells_under(xs: Iterable[float], zs: Iterable[float], margin_m: float) -> Iterable[tuple[int, int]]:
    xs = tuple(xs)
    zs = tuple(zs)
    for ix in range(floor_of((min(xs) - margin_m) / CELL_M), floor_of((max(xs) + margin_m) / CELL_M) + 1):
        for iz in range(floor_of((min(zs) - margin_m) / CELL_M), floor_of((max(zs) + margin_m) / CELL_M) + 1):
            yield ix, iz
