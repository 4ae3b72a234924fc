"""A gateway's process towards its fellows: whom their numbers mean."""

from cluster.records import GATEWAY, MemberRecord
from cluster.regions import Layout
from protocol import mesh
from protocol.carried import Kind
from server.core.gateway import GatewayCore, GatewayFacts
from server.core.views import ViewRules
from server.process import GatewayProcess
from server.session.identity import Identity
from server.session.limits import SessionLimits

LAYOUT = Layout(128.0)


def _process() -> GatewayProcess:
    facts = GatewayFacts(1, "test", 20, 3, None, None, "", "test", layout=LAYOUT)
    rules = ViewRules(radius_m=100.0, near_radius_m=30.0, cap=100)
    core = GatewayCore(facts, 8, rules, SessionLimits(), lambda token: Identity("t", str(token), token), bytes)
    return GatewayProcess("g", MemberRecord(GATEWAY, "l"), LAYOUT, core)


def test_each_life_of_a_fellow_takes_the_place_of_the_one_before() -> None:
    process = _process()
    for life in range(2, 50):
        for fellow, number in (("h", life), ("k", 1000)):
            word = mesh.Roll(number, 1, True, [], [])
            process.received(fellow, Kind.MESH, mesh.encode(word), 0.0)
    assert process.gateways_addressed == 2
