"""A gateway's process: whose regions it can reach."""

from cluster.records import GATEWAY, SHARD, MemberRecord, RegionRecord, member_key, region_key, write
from cluster.regions import Layout
from cluster.store.contract import Record, Relisted
from server.core.gateway import GatewayCore, GatewayFacts
from server.core.views import ViewRules
from server.process import GatewayProcess
from server.session.identity import Identity
from server.session.limits import SessionLimits
from tests.unit.server.session.rig import seeded

LAYOUT = Layout(128.0, 1)


def made() -> GatewayProcess:
    """A gateway that knows of a shard with all regions, which has never said anything to it."""
    facts = GatewayFacts(1, "test", 20, 3, None, None, "", "test", layout=LAYOUT)
    rules = ViewRules(radius_m=10.0, near_radius_m=5.0)
    core = GatewayCore(facts, 8, rules, SessionLimits(), lambda token: Identity("test", "ann", "Ann"), seeded(1))
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
