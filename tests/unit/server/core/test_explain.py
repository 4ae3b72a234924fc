"""The interest debugger says beforehand what a client is then told, for the reasons by which that was decided."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.layout import FREE, LIVE
from kernels.values import RELIABLE
from protocol import values
from protocol.frames import Frame, Structure, decode
from protocol.layouts import GRID_PER_M
from server.core.explain import explain, look
from server.core.mirror import Mirror
from server.core.views import Portion, ViewRules, Views
from tests.sim.doors import split
from tests.unit.kernels.gateway_world import World
from tests.unit.server.core.test_gateway import CAPACITY, NOBODY, Rig

EXTENT_M = 120.0
PORTIONS = (
    Portion(100.0, 30.0, 60.0, 250),
    Portion(60.0, 20.0, 40.0, 12),  # a crowd: more are in range than it may be told of
    Portion(100.0, 30.0, 60.0, 250, bytes_per_s=4000),  # not all fits
    Portion(50.0, 10.0, 30.0, 40, every_ticks=2, bytes_per_s=8000),
)
RULES = ViewRules(radius_m=100.0, near_radius_m=30.0, outer_radius_m=60.0, outer_tolerance_m=0.4, cap=250)


class Stage:
    """Views of every portion, by WebSocket and by datagrams, in a restless world of 300."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed, 600, EXTENT_M)
        self.mirror = Mirror(cell_units=2560, outer_units=51)
        count = len(PORTIONS)
        self.views = Views(2 * count, RULES, 50.0, datagrams_from=count)
        for conn in range(2 * count):
            centre = (int((20 + 8 * conn) * GRID_PER_M), 0, int(60 * GRID_PER_M))
            self.views.open(conn, 1, centre, 50, 65_536, PORTIONS[conn % count])
        self.blocked = np.zeros(2 * count, np.uint8)
        self.tick = 0

    def move(self) -> None:
        self.tick += 1
        first = self.tick == 1
        assert self.mirror.apply(self.world.step(self.tick, 300 if first else 2, 0 if first else 2, 3, snapshot=first))
        self.mirror.advance(self.tick)

    def frames(self) -> dict[int, dict[str, Any]]:
        """What each view is told in this tick: numbers that leave, ids that enter, numbers that are renewed."""
        found: dict[int, dict[str, Any]] = {}

        def take(conn: int, message: Any) -> None:
            told = found.setdefault(conn, {"leaves": set(), "enters": set(), "updates": set()})
            if isinstance(message, Structure):
                told["leaves"] |= set(message.leave_number.tolist())
                told["enters"] |= set(message.enter_id.tolist())
            elif isinstance(message, Frame):
                told["updates"] |= set(message.delta_number.tolist()) | set(message.full_number.tolist())

        for batch in self.views.frames(self.tick, self.tick * 50, self.mirror, self.blocked):
            kinds = np.zeros(len(batch.conn), np.uint8) if batch.kind is None else batch.kind
            rows = zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), kinds.tolist(), strict=True)
            for conn, at, length, kind in rows:
                data = batch.buffer[at : at + length].tobytes()
                if batch.kind is None:
                    parts: list[bytes] = []
                    split(data, parts.append)
                    for part in parts:
                        take(conn, decode(part))
                else:
                    take(conn, decode(data) if kind == RELIABLE else values.decode(data))
        return found

    def acknowledge(self) -> None:
        conns = np.arange(len(self.blocked), dtype=np.uint32)
        frames = self.views.state.views["frame"].astype(np.uint32)
        told = frames > 0
        earlier = np.full(int(told.sum()), 2**64 - 1, np.uint64)
        self.views.take_acks(conns[told], frames[told], conns[told], earlier, self.tick * 50 + 20)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_it_says_is_what_each_client_is_told_next(seed: int) -> None:
    stage = Stage(seed)
    waited = crowded = left = 0
    for _ in range(40):
        stage.move()
        if stage.tick % 10 == 0:
            stage.views.state.views["x"] += 6 * GRID_PER_M  # they walk on: others come into range, some leave
        before = stage.views.state.views.copy(), stage.views.state.slot.copy()
        looked = {
            conn: look(stage.views, stage.mirror, conn, stage.tick, stage.tick * 50, stage.blocked)
            for conn in range(len(stage.blocked))
        }
        assert all((now == then).all() for now, then in zip(stage.views.state[:2], before, strict=True)), (
            "looking changes nothing"
        )
        told = stage.frames()
        for conn, seen in looked.items():
            if conn not in told:
                counts = seen.counts[:5].tolist()
                is_turn = stage.tick >= before[0]["next_tick"][conn]
                assert not is_turn or seen.held or not any(counts), "nothing was to be told"
                continue
            assert set(seen.leaves) == told[conn]["leaves"]
            assert {int(stage.mirror.cold["id"][row]) for row in seen.enters} == told[conn]["enters"]
            assert seen.updates == told[conn]["updates"]
            live = seen.before["status"][: int(seen.view["high"])] == LIVE
            due = seen.numbers[: len(live), 2].astype(bool) & ~seen.numbers[: len(live), 3].astype(bool) & live
            held_back = set(np.flatnonzero(due).tolist()) - seen.updates - set(seen.leaves)
            waited += len(held_back)
            crowded += bool(seen.view_after["crowded"])
            left += len(seen.leaves)
        if stage.tick % 2 == 0:
            stage.acknowledge()
    assert min(waited, crowded, 4 * left) > 20, "all three happened: no room, a crowd, somebody out of sight"


class Small:
    """A gateway's core, somebody in it, and things around."""

    def __init__(self, **view: int) -> None:
        self.rig = Rig()
        self.rig.step(1)
        self.tick = self.rig.enter(0, 1)
        self.tick = self.rig.enter(1, self.tick)
        for name, value in view.items():
            self.rig.core.views.state.views[name][0] = value
        self.run(3)
        self.core = self.rig.core
        self.session = next(s for s in self.core.sessions.all if s.conn == 0)

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.rig.step(self.tick)
            self.rig.show(self.tick)
            self.tick += 1

    def explain(self, entity: int | None = None) -> dict[str, Any]:
        told = explain(self.core, self.session.id, entity, self.tick * 50, NOBODY)
        assert told is not None
        return told

    def why(self, entity: int) -> str:
        return str(self.explain(entity)["entity"]["why"])


def test_each_reason_for_telling_nothing_is_named() -> None:
    small = Small()
    other = next(s.body for s in small.core.sessions.all if s.conn == 1)
    assert small.session.body is not None
    assert other is not None
    assert small.why(small.session.body) == "own_body"
    assert small.why(other) in ("exact", "sent")
    assert small.why(2**60) == "not_mirrored"
    views = small.core.views.state
    for name in ("radius", "leave_radius", "near_radius"):
        views.views[name][0] = 1
    assert small.why(other) == "leaves", "it is known, and beyond where it leaves"
    views.slot["status"][0] = FREE
    assert small.why(other) == "beyond_radius"
    assert "radius of 0.01 m" in small.explain(other)["entity"]["text"]


def test_a_crowd_beyond_the_cap_is_said_to_be_counted() -> None:
    small = Small(cap=1)
    told = small.explain()
    assert told["view"]["crowded"]
    assert told["view"]["in_range"] > 1
    reasons = {entry["why"] for entry in told["not_told"]}
    assert "beyond_cap" in reasons
    text = next(entry["text"] for entry in told["not_told"] if entry["why"] == "beyond_cap")
    assert "crowd's cell" in text


def test_a_view_that_gets_no_frame_says_why() -> None:
    small = Small()
    blocked = np.ones(CAPACITY, np.uint8)
    told = explain(small.core, small.session.id, None, small.tick * 50, blocked)
    assert told is not None
    assert told["view"]["held"] == "blocked"
    assert told["view"]["budget_bytes"] == 0
    small.core.views.state.views["acked"][0] -= 1
    told = explain(small.core, small.session.id, None, small.tick * 50 + 60_000, NOBODY)
    assert told is not None
    assert told["view"]["held"] == "stalled"


def test_who_has_no_view_is_not_explained() -> None:
    small = Small()
    assert explain(small.core, 999, None, 0, NOBODY) is None
    small.rig.core.lost(0, small.tick / 20)
    assert explain(small.core, small.session.id, None, 0, NOBODY) is None


@pytest.fixture(scope="module")
def small() -> Small:
    return Small()


@settings(max_examples=30, deadline=None)
@given(entity=st.integers(0, 2**64 - 1), now_ms=st.integers(0, 2**40))
def test_it_answers_whatever_is_asked(small: Small, entity: int, now_ms: int) -> None:
    told = explain(small.core, small.session.id, entity, now_ms, NOBODY)
    assert told is not None
    assert told["entity"]["text"]
