"""The gateway's core where its shell is late or its clock is off, and where connections end meanwhile."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from cluster.orders import ProfileChange, order_key
from protocol.codes import Close
from protocol.frames import Frame, decode
from protocol.link import RegionDelta, Upward
from protocol.messages import Ack, Hello, Say, Welcome, decode_server, encode_client
from server.core.gateway import FRAMES_MAX, GatewayCore, GatewayFacts
from server.core.outgoing import Deliver
from server.core.profiles import Profile
from server.core.views import ViewRules
from server.session.actions import CloseConn
from server.session.identity import Identity
from server.session.limits import SessionLimits
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.sim.doors import hot, split
from tests.sim.world import place, script

CAPACITY = 8
NOBODY: npt.NDArray[np.uint8] = np.zeros(CAPACITY, np.uint8)


class Rig:
    """One region and a gateway before it."""

    def __init__(self, profiles: Mapping[str, Profile] = MappingProxyType({})) -> None:
        self.shard = RegionCore(ShardConfig(seed=1), place(), [script()])
        facts = GatewayFacts(1, "test", 20, 3, None, None, "", "test")
        rules = ViewRules(radius_m=100.0, near_radius_m=30.0, cap=100)
        limits = SessionLimits()
        self.core = GatewayCore(
            facts, CAPACITY, rules, limits, lambda token: Identity("t", str(token), token), bytes, profiles=profiles
        )
        self.said: list[tuple[int, bytes]] = []

    def step(self, tick: int) -> None:
        """The region steps, and the gateway takes in what it says."""
        upward = [Upward.decode(data) for _, data in self.core.upward(tick)]
        result = self.shard.step(tick, upward)
        delta = self.shard.snapshot_delta(result.delta.seq) if result.subscribe else result.delta
        self.core.receive(RegionDelta.decode(delta.encode()), tick / 20)

    def show(self, tick: int, now_s: float | None = None) -> dict[int, list[bytes]]:
        """The gateway's own tick: what each connection gets, and acknowledges. ``now_s``: if it is late."""
        found: dict[int, list[bytes]] = {}
        now_s = tick / 20 if now_s is None else now_s
        self.core.tick(tick, now_s)
        for output in self.core.take():
            assert isinstance(output, Deliver)
            for conn in output.conns.tolist():
                found.setdefault(conn, []).append(output.data)
        for batch in self.core.frames(tick, now_s, NOBODY):
            for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                split(bytes(batch.buffer[at : at + length]), found.setdefault(conn, []).append)
        for conn, messages in found.items():
            for heard in map(decode, messages):
                if heard is not None:
                    self.core.take_inbound(hot([(conn, Ack(heard.frame, 0))]), now_s)
        return found

    def enter(self, conn: int, tick: int) -> int:
        """Somebody comes in; returns the next tick."""
        self.core.connected(conn, f"10.0.0.{conn}", tick / 20)
        self.core.said(conn, encode_client(Hello(1, 1, f"t{conn}", f"Guest {conn}")), tick / 20)
        while not any(isinstance(decode_server(data), Welcome) for data in self.show(tick).get(conn, ())):
            tick += 1
            self.step(tick)
            assert tick < 100
        return tick + 1


def test_a_late_gateway_shows_the_tick_that_regions_have_told_of() -> None:
    rig = Rig()
    rig.step(1)
    tick = rig.enter(0, 1)
    shown = 0
    for now in range(tick, tick + 20):
        rig.step(now)
        late = [decode(data) for data in rig.show(now - 3, now / 20).get(0, ())]
        frames = [frame for frame in late if isinstance(frame, Frame)]
        shown += len(frames)
        assert {frame.tick for frame in frames} <= {now}, "no frame of a past that the mirror does not know any more"
        assert all((frame.full_age < 255).all() for frame in frames)
    assert shown > 2


def test_what_was_said_to_a_lost_connection_is_not_for_the_next_one_in_its_place() -> None:
    rig = Rig()
    rig.step(1)
    tick = rig.enter(1, rig.enter(0, 1))
    rig.step(tick)
    rig.show(tick)
    rig.core.said(0, encode_client(Say(0, "to everybody")), tick / 20)
    rig.core.lost(1, tick / 20)
    rig.core.connected(1, "10.0.0.9", tick / 20)
    found = rig.show(tick + 1)
    assert any(b"to everybody" in data for data in found[0]), "who is there hears it"
    assert 1 not in found, "who has just come is told nothing before WELCOME"


def test_all_whose_bodies_were_lost_with_a_region_are_told_at_once() -> None:
    rig = Rig()
    rig.step(1)
    tick = 1
    for conn in range(4):
        tick = rig.enter(conn, tick)
    rig.shard = RegionCore(ShardConfig(seed=1, epoch=2, first_id=1 << 20), place(), [script()], tick=tick)
    closed: list[int] = []
    for now in range(tick + 1, tick + 61):
        rig.step(now)
        rig.core.tick(now, now / 20)
        closed += [output.conn for output in rig.core.take() if isinstance(output, CloseConn)]
        if closed:
            break
    assert sorted(closed) == [0, 1, 2, 3]


def test_before_the_numbers_of_frames_come_round_the_session_goes_on_with_a_new_stream() -> None:
    rig = Rig()
    rig.step(1)
    tick = rig.enter(1, rig.enter(0, 1))
    spent, other = rig.core.views.state.views[:2]
    spent["frame"] = spent["acked"] = FRAMES_MAX - 1
    closed: list[CloseConn] = []
    for now in range(tick, tick + 60):
        rig.step(now)
        rig.core.tick(now, now / 20)
        closed += [output for output in rig.core.take() if isinstance(output, CloseConn)]
        for batch in rig.core.frames(now, now / 20, NOBODY):
            for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                split(bytes(batch.buffer[at : at + length]), partial(_acknowledge, rig, conn, now / 20))
        if closed:
            break
    assert [(output.conn, output.code) for output in closed] == [(0, Close.GOING_AWAY)]
    assert rig.core.sessions.rejected["frames_spent"] == 1
    assert rig.core.sessions.held == 2, "the session waits for its next connection"
    assert other["active"]
    assert not spent["active"]


def _acknowledge(rig: Rig, conn: int, now_s: float, data: bytes) -> None:
    block = decode(data)
    if isinstance(block, Frame):
        assert block.frame < 2**32
        rig.core.take_inbound(hot([(conn, Ack(block.frame, 0))]), now_s)


def test_a_profile_that_operators_change_holds_for_who_is_in_and_who_comes_until_it_is_taken_back() -> None:
    rig = Rig({"desktop": Profile(bytes_per_s=50_000)})
    rig.step(1)
    tick = rig.enter(0, 1)
    views = rig.core.views.state.views
    assert (views["bytes_per_s"][0], views["radius"][0]) == (50_000, 100 * 128)
    change = ProfileChange("desktop", {"bytes_per_s": 4000.0, "radius_m": 20.0, "of_a_later_version": 1.0}, "ada")
    rig.core.obey({order_key(change): change}, tick / 20)
    tick = rig.enter(1, tick)
    for conn in (0, 1):
        view = views[conn]
        assert (view["bytes_per_s"], view["radius"], view["leave_radius"]) == (4000, 20 * 128, 22 * 128)
        assert view["allowance"] <= 4000
    assert rig.core.facts(0, "desktop").radius_m == 20.0
    rig.core.obey({}, tick / 20)
    assert (views["bytes_per_s"][1], views["radius"][1]) == (50_000, 100 * 128)
