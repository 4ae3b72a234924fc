"""``python -m bench.profiles``: what each class of device is sent, in bytes, over WebSocket and over datagrams.

The gateway's own mirror and views with a replayed trajectory and no sockets: every byte that would be written is
counted (enters, leaves, own state, WebSocket headers; of datagrams the 29 bytes of header and tag, the 4 of the stream
and the 3 of a part as well), and every frame is decoded by the client's records and compared with the trajectory at
each tick: near 2 cm, far 10 cm, outermost 50 cm at 99.9 % of all entity-ticks, one violation of the visible set or of a
bound makes the run invalid. Clients acknowledge after 50 ms.

Exit status: 0 when all targets are met and no run was invalid, else 1.
"""

import sys
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from bench.prepare import CACHE
from bench.report import Target, record, show_targets
from bench.trajectory import Motion, Trajectory, ensure
from kernels.layout import LIVE
from kernels.publish import published, renew
from kernels.values import RELIABLE
from protocol import crowds, frames, values
from protocol.datagrams import DATAGRAM_BYTES_MAX
from protocol.layouts import GRID_PER_M, VELOCITY_PER_GRID
from protocol.link import RegionDelta
from protocol.values import ValueRecords
from server.core.mirror import Mirror
from server.core.profiles import PROFILES, Profile, portion_of
from server.core.views import ViewRules, Views

RATE_HZ = 20
TICK_MS = 50
SETTLE_TICKS, TICKS = 100, 500
VIEWERS = 16
NEAR_M, FAR_M = 0.01, 0.08
"""Tolerances of shards: what rounding and a delta's point of the grid add stays within the bounds below."""
OUTER_M = 0.5
BOUNDS_M = (0.02, 0.10, 0.50)
RULES = ViewRules(
    radius_m=100.0, near_radius_m=15.0, outer_radius_m=40.0, outer_tolerance_m=OUTER_M - FAR_M - 0.03, cap=1100
)
DATAGRAM_OVERHEAD_BYTES = 13 + 16 + 4 + 3
P999 = 99.9
TELEVISION = Profile(rate_hz=5, near_radius_m=0.0, outer_radius_m=20.0, entities_max=200, bytes_per_s=8_000)
"""As a channel's view is (docs/TV.md)."""


@dataclass
class Case:
    """What was sent to one class, and how far off it was."""

    profile: str
    way: str
    motion: str
    visible: float
    bytes_per_entity_tick: float
    kbit_per_s: float
    errors_mm: list[float]
    """p99.9 near, far, outermost; NaN where nobody is of that level."""
    oldest_due_s: float
    invalid: str = ""


class Feed:
    """A shard's deltas of a trajectory."""

    def __init__(self, trajectory: Trajectory) -> None:
        self.trajectory = trajectory
        count = trajectory.header.entities
        self.rows = np.arange(count, dtype=np.uint32)
        self.state = published(count)
        self.out_row, self.out_flags = np.zeros(count, np.uint32), np.zeros(count, np.uint8)

    def delta(self, tick: int) -> RegionDelta:
        """What is published at ``tick``; all of it at tick 1."""
        t, rows, s = self.trajectory, self.rows, self.state
        r = t.row(tick)
        vel = np.stack([t.vx[r], t.vy[r], t.vz[r]], axis=1).astype(np.float64)
        tolerance, turn = np.array([NEAR_M, FAR_M]), np.array([2, 8])
        count = renew(
            rows, t.positions(tick), vel, t.yaw[r].astype(np.float64), float(RATE_HZ), tick, tolerance, turn, 40, s,
            self.out_row, self.out_flags,
        )  # fmt: skip
        which = self.out_row[:count]
        delta = RegionDelta(
            0, 1, tick, tick, tick == 1, row=which, version=s.version[which], p=s.p[which], v=s.v[which]
        )
        delta.yaw, delta.age, delta.flags = s.yaw[which], np.zeros(count, "<u2"), self.out_flags[:count]
        if tick == 1:
            delta.enter_row = delta.enter_generation = rows
            delta.enter_id, delta.enter_kind = rows.astype("<u8") + 1, np.zeros(len(rows), "<u2")
            delta.enter_state_version = np.ones(len(rows), "<u4")
            delta.enter_blob_bytes, delta.enter_blobs = np.ones(len(rows), "<u2"), b"\x80" * len(rows)
            delta.far_version, delta.far_p, delta.far_v = s.far_version, s.far_p, s.far_v
            delta.far_yaw, delta.far_age = s.far_yaw, np.zeros(len(rows), "<u2")
        return RegionDelta.decode(delta.encode())


class Probe:
    """One viewer's client."""

    def __init__(self, by_datagrams: bool) -> None:
        self.records = ValueRecords() if by_datagrams else frames.Records()

    def take(self, data: bytes) -> None:
        """One message."""
        if crowds.decode(data) is not None:
            return
        block = frames.decode(data)
        if isinstance(block, frames.Structure):
            self.records.apply_structure(block)
        elif isinstance(self.records, ValueRecords):
            message = values.decode(data)
            assert message is not None
            assert self.records.heard(message), "nothing was lost, so nothing is too late"
        else:
            assert isinstance(block, frames.Frame)
            self.records.apply_frame(block)


def measure(profile: str, by_datagrams: bool, trajectory: Trajectory, motion: str) -> Case:
    """Replay the trajectory to VIEWERS views of one profile."""
    feed = Feed(trajectory)
    mirror = Mirror(round(RULES.radius_m * GRID_PER_M / 4), round(RULES.outer_tolerance_m * GRID_PER_M))
    views = Views(VIEWERS, RULES, TICK_MS, datagrams_from=0 if by_datagrams else None)
    seen = portion_of(PROFILES.get(profile, TELEVISION), RULES, RATE_HZ)
    probes = [Probe(by_datagrams) for _ in range(VIEWERS)]
    conns, blocked = np.arange(VIEWERS, dtype=np.uint32), np.zeros(VIEWERS, np.uint8)
    written = entity_ticks = 0
    errors: list[list[npt.NDArray[np.float64]]] = [[], [], []]
    waits: Counter[int] = Counter()
    invalid = ""
    for tick in range(1, SETTLE_TICKS + TICKS + 1):
        mirror.apply(feed.delta(tick))
        mirror.advance(tick)
        if tick == 1:
            for conn in range(VIEWERS):
                views.open(conn, 1, (0, 0, 0), TICK_MS, 1 << 18, seen)
                views.set_body(conn, mirror.row_of(conn + 1), mirror)
        measured = tick > SETTLE_TICKS
        for batch in views.frames(tick, tick * TICK_MS, mirror, blocked):
            sizes = batch.length
            if measured:
                written += int(sizes.sum()) + overhead(batch.kind, sizes)
            for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), sizes.tolist(), strict=True):
                data = bytes(batch.buffer[at : at + length])
                for part in [data] if by_datagrams else messages(data):
                    probes[conn].take(part)
        frame = views.state.views["frame"].copy()
        views.take_acks(conns, frame, conns, np.full(VIEWERS, 2**64 - 1, np.uint64), tick * TICK_MS + 45)
        if measured:
            entity_ticks += int(views.state.views["live"].sum())
            waits.update(views.state.slot["waited"][views.state.slot["status"] == LIVE].tolist())
            for conn, probe in enumerate(probes):
                invalid = invalid or look(probe, views, mirror, conn, tick, trajectory, errors)
    p999 = [1000 * float(np.percentile(np.concatenate(level), P999)) if level else float("nan") for level in errors]
    if seen.bytes_per_s and not max(waits):
        for bound, found in zip(BOUNDS_M, p999, strict=True):
            # A profile with fewer frames a second shows what was true at the last one: that is its rate, not an error.
            if seen.every_ticks == 1 and found > 1000 * bound:
                invalid = invalid or f"p99.9 {found:.0f} mm"
    seconds = TICKS / RATE_HZ
    return Case(
        profile,
        "UDP" if by_datagrams else "WebSocket",
        motion,
        round(entity_ticks / TICKS / VIEWERS, 1),
        round(written / entity_ticks, 3),
        round(8 * written / VIEWERS / seconds / 1000, 1),
        [round(value, 1) for value in p999],
        max(waits) * seen.every_ticks / RATE_HZ,
        invalid,
    )


def overhead(kind: npt.NDArray[np.uint8] | None, sizes: npt.NDArray[np.int64]) -> int:
    """What datagrams add: each with values has its own; structure travels in as many more as it needs."""
    if kind is None:
        return 0
    reliable = kind == RELIABLE
    streams = int(sizes[reliable].sum()) + 4 * int(reliable.sum())
    more = -(-streams // (DATAGRAM_BYTES_MAX - DATAGRAM_OVERHEAD_BYTES))
    return DATAGRAM_OVERHEAD_BYTES * (int((~reliable).sum()) + more) + 4 * int(reliable.sum())


def look(
    probe: Probe,
    views: Views,
    mirror: Mirror,
    conn: int,
    tick: int,
    trajectory: Trajectory,
    errors: list[list[npt.NDArray[np.float64]]],
) -> str:
    """Add one probe's errors by level; returns what is wrong with what it sees, or nothing."""
    records, slots = probe.records, views.state.slot[conn]
    live = np.flatnonzero(records.live)
    held = np.flatnonzero(slots["status"] == LIVE)
    if not np.array_equal(live, held):
        return f"view {conn} at tick {tick}: the client holds other numbers than the view"
    truth = trajectory.positions(tick)[records.id[live].astype(np.int64) - 1]
    ahead = records.v[live] * (tick - records.record_tick[live])[:, None] / VELOCITY_PER_GRID
    off_m = np.linalg.norm((records.p[live] + ahead) / GRID_PER_M - truth, axis=1)
    for level in range(3):
        of_level = off_m[slots["level"][live] == level]
        if len(of_level):
            errors[level].append(of_level)
    return ""


def messages(data: bytes) -> list[bytes]:
    """WebSocket frames of a server, cut into their messages."""
    starts, at = [0], 0
    out = []
    while at < len(data):
        length, at = data[at + 1], at + 2
        if length == 126:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        out.append(data[at : at + length])
        at += length
        starts.append(at)
    assert all(a < b for a, b in pairwise(starts))
    return out


def main() -> int:
    """Run and judge."""
    console = Console()
    crowd: dict[tuple[Motion, int], Trajectory] = {}
    for motion in ("restless", "waypoint"):
        crowd[motion, 200] = ensure(CACHE / "trajectories", motion, VIEWERS, 2000, 200, RULES.radius_m)
    crowd["restless", 1000] = ensure(CACHE / "trajectories", "restless", VIEWERS, 4000, 1000, RULES.radius_m)
    wanted: list[tuple[str, Motion, int]] = [
        ("desktop", "restless", 200),
        ("desktop", "waypoint", 200),
        ("vr", "restless", 200),
        ("tv", "restless", 1000),
    ]
    cases = {
        (profile, motion, way): measure(profile, way, crowd[motion, visible], motion)
        for profile, motion, visible in wanted
        for way in (False, True)
    }
    table = Table(title="What is sent, by device", box=None, pad_edge=False, title_justify="left")
    for heading in ("profile", "way", "motion", "visible", "B / entity-tick", "kbit/s", "p99.9 mm", "waited s", ""):
        table.add_column(heading, justify="left" if heading in ("profile", "way", "motion", "") else "right")
    for case in cases.values():
        row = list(asdict(case).values())
        table.add_row(*(" / ".join(map(str, v)) if isinstance(v, list) else str(v) for v in row))
    console.print(table)
    targets = []
    for way, name in ((False, "WebSocket"), (True, "UDP")):
        restless, waypoint = cases["desktop", "restless", way], cases["desktop", "waypoint", way]
        targets += [
            Target(f"desktop over {name}, restless, B / entity-tick", restless.bytes_per_entity_tick, 3.0),
            Target(f"desktop over {name}, waypoint, B / entity-tick", waypoint.bytes_per_entity_tick, 1.0),
            Target(f"tv over {name}, 1,000 in sight, kbit/s", cases["tv", "restless", way].kbit_per_s, 64.0),
        ]
    record({"profiles": [asdict(case) for case in cases.values()]}, targets)
    show_targets(console, targets)
    invalid = any(case.invalid for case in cases.values())
    return int(invalid or any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
