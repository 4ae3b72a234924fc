"""A gateway's process: whose regions it can reach, and how long it may take to end."""

import numpy as np

from cluster.records import GATEWAY, SHARD, MemberRecord, RegionRecord, member_key, region_key, write
from cluster.regions import Layout
from cluster.store.contract import Change, Record, Relisted, WatchBatch
from protocol.messages import Hello
from server.core.gateway import GatewayCore, GatewayFacts
from server.core.views import ViewRules
from server.process import GatewayProcess
from server.sending import MOVE_WITHIN_MS
from server.session.identity import Identity
from server.session.limits import SessionLimits
from tests.unit.server.session.rig import seeded

LAYOUT = Layout(128.0, 1)


def made(limits: SessionLimits | None = None) -> GatewayProcess:
    """A gateway that knows of a shard with all regions, which has never said anything to it."""
    facts = GatewayFacts(1, "test", 20, 3, None, None, "", "test", layout=LAYOUT)
    rules = ViewRules(radius_m=10.0, near_radius_m=5.0)
    core = GatewayCore(
        facts, 8, rules, limits or SessionLimits(), lambda token: Identity("test", token or "", "Ann"), seeded(1)
    )
    process = GatewayProcess("g", MemberRecord(GATEWAY, "link-g"), LAYOUT, core)
    records = [Record(member_key("s"), write(MemberRecord(SHARD, "link-s")), 1, 1, 7)]
    records += [Record(region_key(n), write(RegionRecord("s", 7, 1)), 1, 1) for n in LAYOUT.all()]
    process.watched(Relisted(1, tuple(records)), 0.0)
    return process


def test_a_link_that_broke_and_is_back_is_a_way_to_regions_that_say_nothing() -> None:
    """As it happens to a gateway that has just begun: the shard does not know it yet, and ends its first link."""
    process = made()
    unreachable = process.core.regions.unreachable
    assert not any(map(unreachable, LAYOUT.all()))
    process.link_up("s", 0.0)
    process.link_down("s", 0.1)
    assert all(map(unreachable, LAYOUT.all()))
    process.link_up("s", 0.2)
    assert not any(map(unreachable, LAYOUT.all()))


def test_what_was_asked_on_a_link_that_broke_is_asked_at_once_on_the_next_one() -> None:
    process = made()
    regions = process.core.regions
    number = LAYOUT.all()[0]
    regions.want(number, 0.0)
    [asked] = regions.upward(1, lambda region: (0, 0), {})
    assert asked.subscribe
    process.link_up("s", 0.1)
    [again] = regions.upward(2, lambda region: (0, 0), {})
    assert again.subscribe
    regions.link(number).heard_s = 0.2
    process.link_down("s", 0.3)
    process.link_up("s", 0.4)
    [quiet] = regions.upward(3, lambda region: (0, 0), {})
    assert not quiet.subscribe, "what has answered goes on where it was"


def test_a_gateway_that_ends_leaves_the_last_one_whom_it_tells_as_long_as_the_first() -> None:
    process = made(SessionLimits(joins_per_tick=2))
    sessions = process.core.sessions
    sessions.ready = True
    for conn in range(6):
        sessions.connected(conn, f"10.0.0.{conn}", 1.0)
        sessions.said(conn, Hello(1, 1, str(conn), None, "observer"), 1.0)
        sessions.tick(1.0, np.full(8, 1.0))
    assert len(sessions.live_conns) == 6
    assert process.drain(2.0) == 0.0, "nobody takes them"
    other = Record(member_key("h"), write(MemberRecord(GATEWAY, "link-h", url="http://h/")), 2, 2, 8)
    process.watched(WatchBatch(2, (Change(other.key, other),)), 2.0)
    takes_s = process.drain(2.0)
    assert takes_s == MOVE_WITHIN_MS / 1000 + 6 / 2 / 20
    assert not sessions.switching.is_over(2.0 + takes_s - 0.01)
    assert sessions.switching.is_over(2.0 + takes_s)
