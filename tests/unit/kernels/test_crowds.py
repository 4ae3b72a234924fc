"""Crowds beyond a view's cap: all who are in range are told of or counted, and nobody twice."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import crowds, frames
from protocol.codes import ProtocolViolation
from protocol.crowds import Crowd
from protocol.layouts import GRID_PER_M
from protocol.values import ValueRecords
from server.core.mirror import Mirror
from server.core.views import ViewRules, Views
from tests.unit.kernels.gateway_world import World
from tests.unit.kernels.test_values import TICK_MS, payload

Place = npt.NDArray[np.int64]


@pytest.mark.parametrize("datagrams", [None, 0])
def test_all_in_range_are_told_of_or_counted(datagrams: int | None) -> None:
    world = World(4, 400, 120.0)
    mirror = Mirror(cell_units=20 * GRID_PER_M)
    views = Views(1, ViewRules(radius_m=60.0, near_radius_m=10.0, cap=50), TICK_MS, datagrams_from=datagrams)
    centre = np.array([60, 0, 60]) * GRID_PER_M
    x, y, z = centre.tolist()
    views.open(0, 1, (x, y, z), 0, 1 << 18)
    records = frames.Records() if datagrams is None else ValueRecords()
    seen: list[tuple[int, Crowd]] = []
    for tick in range(1, 121):
        spawns, despawns = (390, 0) if tick == 1 else (0, 4) if tick < 100 else (0, 0)
        assert mirror.apply(world.step(tick, spawns, despawns, 0, tick == 1))
        mirror.advance(tick)
        for batch in views.frames(tick, tick * TICK_MS, mirror, np.zeros(1, np.uint8)):
            for at, length in zip(batch.at.tolist(), batch.length.tolist(), strict=True):
                data = bytes(batch.buffer[at : at + length])
                for part in payload(data) if datagrams is None else [data]:
                    block = frames.decode(part)
                    crowd = crowds.decode(part)
                    if isinstance(block, frames.Structure):
                        records.apply_structure(block)
                    if crowd is not None:
                        assert crowds.encode(crowd) == part
                        seen.append((tick, crowd))
                        check(crowd, mirror, records, centre)
        one = np.zeros(1, np.uint32)
        frame = views.state.views["frame"][:1].copy()
        views.take_acks(one, frame, one, np.full(1, 2**64 - 1, np.uint64), tick * TICK_MS + 5)
    ticks = [tick for tick, _ in seen]
    assert min(np.diff(ticks)) >= 20, "once a second"
    assert seen[0][1].total > 100
    assert seen[-1][1].total == 0, "and once more when there is none any more"
    assert all(crowd.total for _, crowd in seen[:-1])


def check(crowd: Crowd, mirror: Mirror, records: frames.Records, centre: Place) -> None:
    hot, cold = mirror.hot[: mirror.high], mirror.cold[: mirror.high]
    rows = np.flatnonzero(hot["serial"])
    away = np.hypot(hot["x"][rows] - centre[0], hot["z"][rows] - centre[2])
    rows = rows[(away <= 60 * GRID_PER_M) & ~np.isin(cold["id"][rows], records.id[records.live])]
    assert crowd.total == len(rows)
    side = crowd.side_m * GRID_PER_M
    cells = np.stack([hot["x"][rows] // side, hot["z"][rows] // side], axis=1)
    for x, z, count, vx in zip(crowd.x, crowd.z, crowd.count, crowd.vx, strict=True):
        there = rows[(cells[:, 0] == x) & (cells[:, 1] == z)]
        assert len(there) == count
        assert abs(cold["far_vx"][there].astype(float).mean() - vx) < 1.0


@given(st.binary(max_size=200))
def test_any_bytes_are_a_crowd_or_refused(data: bytes) -> None:
    for candidate in (data, bytes([0x94, 33, 1, 1, 0xC4, min(len(data), 255)]) + data):
        try:
            crowds.decode(candidate)
        except ProtocolViolation:
            pass
