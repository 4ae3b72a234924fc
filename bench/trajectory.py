"""Seeded motion, the same for every server that is measured, and its loader.

A trajectory is a folder: ``header.json`` and seven ``.npy`` files ``x y z yaw vx vy vz``, float32, C order, of shape
``[ticks, entities]``, made to be mapped (``numpy.load(..., mmap_mode="r")``) and read one row per tick. Metres,
radians, metres per second; axes as on the wire (+Y up, the ground is X-Z, yaw 0 looks along -Z, counter-clockwise from
above). Entity order is file order; client i's body is entity i.

Invariants: motion is periodic: tick t of the world is row ``t mod ticks``, and there is no seam; ``v`` is the motion's
own velocity at that tick, not a difference; the same parameters give the same bytes.
Not responsible for: who is told of what. ``mean_visible`` counts entities within the radius on the ground plane, the
viewer's own included, since each server also has to tell a client about its own body.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Motion = Literal["waypoint", "restless"]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

COLUMNS = ("x", "y", "z", "yaw", "vx", "vy", "vz")
VERSION = 1
RATE_HZ = 20
TICKS = 600
"""A loop of 30 s: longer than a window, so that no window sees a moment twice."""
KNOT_TICKS = 5
"""Restless motion changes its heading and speed every 250 ms."""
ACCELERATION_RMS_M_S2 = 1.0
WALK_SPEED_M_S = (1.0, 2.5)
LEG_SPEED_M_S = (1.5, 5.0)
LEGS = 5


@dataclass(frozen=True)
class Header:
    """What a trajectory folder says of itself. ``side_m``: the entities' homes fill a square centred on the origin."""

    version: int
    motion: Motion
    seed: int
    rate_hz: int
    ticks: int
    entities: int
    clients: int
    radius_m: float
    side_m: float
    mean_visible: float


@dataclass(frozen=True)
class Trajectory:
    """A loaded trajectory; the columns are float32 ``[ticks, entities]``, mapped from the files."""

    path: Path
    header: Header
    x: F32
    y: F32
    z: F32
    yaw: F32
    vx: F32
    vy: F32
    vz: F32

    def row(self, tick: int) -> int:
        """The row of a world tick."""
        return tick % self.header.ticks

    def positions(self, tick: int) -> F64:
        """Positions at a tick, float64 ``[entities, 3]``, metres."""
        r = self.row(tick)
        return np.stack([self.x[r], self.y[r], self.z[r]], axis=1).astype(np.float64)


def load(path: Path) -> Trajectory:
    """Map a trajectory. Raises FileNotFoundError, or ValueError if the folder is of another version or shape."""
    raw = json.loads((path / "header.json").read_text())
    if raw.get("version") != VERSION:
        raise ValueError(f"{path}: trajectory version {raw.get('version')}, this loader reads {VERSION}; make it anew")
    header = Header(**raw)
    columns = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    shape = (header.ticks, header.entities)
    for name, column in columns.items():
        if column.shape != shape or column.dtype != np.float32:
            raise ValueError(f"{path}/{name}.npy is {column.dtype}{column.shape}, not float32{shape}; make it anew")
    return Trajectory(path, header, **columns)


def ensure(
    root: Path, motion: Motion, clients: int, entities: int, visible: float, radius_m: float = 50.0, seed: int = 1
) -> Trajectory:
    """Load the trajectory with these parameters from below ``root``, making it first if it is not there.

    The side of the world is calibrated until the mean number visible to the first ``clients`` entities is within 0.5 %
    of ``visible``.
    """
    path = root / f"{motion}-{clients}-{entities}-{visible:g}-{radius_m:g}-{seed}-v{VERSION}"
    if (path / "header.json").exists():
        return load(path)
    side_m = float(np.sqrt(entities * np.pi * radius_m**2 / visible))
    seen = 0.0
    columns: dict[str, F64] = {}
    for _ in range(6):
        columns = generate(motion, entities, side_m, seed)
        seen = mean_visible(columns["x"], columns["z"], clients, radius_m)
        if abs(seen / visible - 1) < 0.005:
            break
        side_m *= float(np.sqrt(seen / visible))
    path.mkdir(parents=True, exist_ok=True)
    for name in COLUMNS:
        np.save(path / f"{name}.npy", columns[name].astype(np.float32))
    header = Header(VERSION, motion, seed, RATE_HZ, TICKS, entities, clients, radius_m, side_m, seen)
    # The header comes last: a folder that has one is whole.
    (path / "header.json").write_text(json.dumps(asdict(header), indent=1) + "\n")
    return load(path)


def generate(motion: Motion, entities: int, side_m: float, seed: int) -> dict[str, F64]:
    """The seven columns, float64 ``[TICKS, entities]``."""
    rng = np.random.default_rng(seed)
    home = (rng.random((entities, 2)) - 0.5) * side_m
    offset, velocity = (_restless if motion == "restless" else _waypoint)(rng, entities)
    x, z = home[:, 0] + offset[:, :, 0], home[:, 1] + offset[:, :, 1]
    vx, vz = velocity[:, :, 0], velocity[:, :, 1]
    return {
        "x": x,
        "y": 5 * np.sin(x / 60) + 4 * np.cos(z / 45),
        "z": z,
        "yaw": np.arctan2(-vx, -vz),
        "vx": vx,
        "vy": 5 / 60 * np.cos(x / 60) * vx - 4 / 45 * np.sin(z / 45) * vz,
        "vz": vz,
    }


def _restless(rng: np.random.Generator, entities: int) -> tuple[F64, F64]:
    """Offsets and velocities ``[TICKS, entities, 2]``: a stroll round a loop, disturbed anew every 250 ms.

    The velocity is linear between knots; accelerations of successive knots are independent but for the loop's own
    turning, and their rms over all is ACCELERATION_RMS_M_S2.
    """
    knots = TICKS // KNOT_TICKS
    knot_s = KNOT_TICKS / RATE_HZ
    phase = 2 * np.pi * (np.arange(knots)[:, None] / knots + rng.random(entities))
    speed = rng.uniform(*WALK_SPEED_M_S, entities)
    turn = rng.choice([-1.0, 1.0], entities)
    stroll = np.stack([np.cos(phase) * speed, np.sin(phase) * speed * turn], axis=2)
    stroll_rms = np.sqrt(np.mean(np.sum((np.diff(stroll, axis=0) / knot_s) ** 2, axis=2)))
    jolt = rng.standard_normal((knots, entities, 2))
    jolt -= jolt.mean(axis=0)  # velocity returns to where it began
    jolt *= np.sqrt((ACCELERATION_RMS_M_S2**2 - stroll_rms**2) / np.mean(np.sum(jolt**2, axis=2)))
    disturbance = np.cumsum(jolt, axis=0) * knot_s
    disturbance -= disturbance.mean(axis=0)  # and so does the position
    knot_v = np.concatenate([stroll + disturbance, (stroll + disturbance)[:1]])
    fraction = (np.arange(KNOT_TICKS) / KNOT_TICKS)[None, :, None, None]
    a, b = knot_v[:-1, None], knot_v[1:, None]
    velocity = (a + (b - a) * fraction).reshape(TICKS, entities, 2)
    following = np.concatenate([velocity[1:], velocity[:1]])
    # The velocity is linear within a tick, so the trapezoid is its exact integral.
    steps = (velocity + following) / (2 * RATE_HZ)
    offset = np.concatenate([np.zeros((1, entities, 2)), np.cumsum(steps[:-1], axis=0)])
    return offset - offset.mean(axis=0), velocity


def _waypoint(rng: np.random.Generator, entities: int) -> tuple[F64, F64]:
    """Offsets and velocities ``[TICKS, entities, 2]``: a closed polygon, each leg at its own constant speed."""
    legs = rng.standard_normal((LEGS, entities, 2))
    legs -= legs.mean(axis=0)
    length = np.linalg.norm(legs, axis=2)
    speed = rng.uniform(*LEG_SPEED_M_S, (LEGS, entities))
    period_s = TICKS / RATE_HZ
    # The polygon, not the speeds, is scaled so that the round takes exactly one period.
    scale = period_s / np.sum(length / speed, axis=0)
    legs *= scale[None, :, None]
    duration = length * scale / speed
    ends = np.cumsum(duration, axis=0)
    starts = ends - duration
    corners = np.cumsum(legs, axis=0) - legs
    now = np.arange(TICKS)[:, None] / RATE_HZ + rng.random(entities) * period_s
    now %= period_s
    leg = np.minimum(np.sum(now[:, None] >= ends[None], axis=1), LEGS - 1)
    who = np.arange(entities)[None, :]
    velocity = legs[leg, who] / duration[leg, who][:, :, None]
    offset = corners[leg, who] + velocity * (now - starts[leg, who])[:, :, None]
    return offset - offset.mean(axis=0), velocity


def mean_visible(x: F64, z: F64, clients: int, radius_m: float, samples: int = 6) -> float:
    """Mean number of entities within ``radius_m`` of the first ``clients`` entities on the ground, each one included.

    ``x``, ``z``: ``[ticks, entities]``; ``samples`` ticks spread over the loop are counted.
    """
    total = 0
    ticks = np.linspace(0, x.shape[0] - 1, samples).astype(int)
    for tick in ticks:
        px, pz = x[tick], z[tick]
        for begin in range(0, clients, 256):
            own = slice(begin, min(begin + 256, clients))
            d2 = (px[own, None] - px) ** 2 + (pz[own, None] - pz) ** 2
            total += int(np.count_nonzero(d2 <= radius_m**2))
    return total / (clients * samples)
