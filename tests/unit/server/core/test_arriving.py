"""Sessions that come from another gateway to one that does not mirror the place of their body yet."""

from cluster.regions import Layout
from protocol import mesh
from protocol.link import RegionDelta, Upward
from protocol.messages import Hello, Welcome, decode_server, encode_client
from server.core.gateway import LOOK_TICKS, SHOW_S, Deliver, GatewayCore, GatewayFacts
from server.core.views import ViewRules
from server.session.identity import Identity
from server.session.limits import SessionLimits
from server.session.tickets import Ticket, Tickets
from tests.unit.server.core.test_mirror_regions import A, B, delta, entering
from tests.unit.server.session.rig import SCHEMA, seeded

BODY, ROW = 77, 3
ME = Identity("test", "ann", "Ann")


class Rig:
    """A gateway that mirrors region A, and a client with a ticket whose body is in region B."""

    def __init__(self) -> None:
        layout = Layout(128.0, 1)
        facts = GatewayFacts(1, "test", 20, 3, None, None, "", "test", 200, "walker", layout, ((-1.0, -1.0),))
        rules = ViewRules(radius_m=10.0, near_radius_m=5.0)
        self.now_s = 100.0
        mine = Tickets.of_cluster(b"k" * 32, seeded(1), lambda: self.now_s)
        others = Tickets.of_cluster(b"k" * 32, seeded(2), lambda: self.now_s)
        self.core = GatewayCore(facts, 8, rules, SessionLimits(), lambda token: ME, seeded(1), mine)
        self.ticket = others.seal(Ticket(5 << 40, 1, ME, "Ann", "person", BODY))
        self.tick = 0
        self.pass_time()
        first = delta(A, 1, 1, snapshot=True)
        first.schema = SCHEMA
        self.receive(first)

    def pass_time(self, ticks: int = 1) -> list[Upward]:
        """The gateway's ticks; returns what regions are told."""
        said = []
        for _ in range(ticks):
            self.tick += 1
            self.now_s += 0.05
            self.core.tick(self.tick, self.now_s)
            said += [Upward.decode(data) for _, data in self.core.upward(self.tick)]
        return said

    def receive(self, told: RegionDelta) -> None:
        self.core.receive(RegionDelta.decode(told.encode()), self.now_s)

    def come(self) -> None:
        """The client says HELLO; region B says that it has the body."""
        self.core.connected(0, "10.0.0.1", self.now_s)
        self.core.said(0, encode_client(Hello(1, 1, None, "Ann", resume=self.ticket)), self.now_s)
        [attach] = [entry for up in self.pass_time() if up.region == B for entry in up.attach]
        self.entry = [attach[0], attach[1], BODY, ROW, 1, 1, 0]
        given = delta(B, 40, 40)
        given.attached = [self.entry]
        self.receive(given)

    def welcomed(self) -> bool:
        """Whether the client has been told WELCOME since it was asked last."""
        told = [output.data for output in self.core.take() if isinstance(output, Deliver)]
        return any(isinstance(decode_server(data), Welcome) for data in told)


def test_it_is_welcomed_when_its_body_can_be_shown() -> None:
    rig = Rig()
    rig.come()
    assert not rig.welcomed(), "its former gateway shows it the world meanwhile"
    assert [up.subscribe for up in rig.pass_time() if up.region == B] == [True]
    rig.receive(entering(delta(B, 41, 41, snapshot=True), ROW, BODY))
    assert rig.welcomed()
    assert rig.core.views.state.views["body"][0] >= 0, "the first frame already shows its surroundings"


def test_it_does_not_wait_for_ever() -> None:
    rig = Rig()
    rig.come()
    rig.pass_time(int(SHOW_S * 20) + LOOK_TICKS)
    assert rig.welcomed()


def test_who_leaves_meanwhile_is_not_welcomed() -> None:
    rig = Rig()
    rig.come()
    rig.core.lost(0, rig.now_s)
    rig.receive(entering(delta(B, 41, 41, snapshot=True), ROW, BODY))
    rig.pass_time(int(SHOW_S * 20) + LOOK_TICKS)
    assert not rig.welcomed()


def test_nothing_is_kept_of_a_session_that_goes_on_at_another_gateway() -> None:
    rig = Rig()
    rig.come()
    rig.receive(entering(delta(B, 41, 41, snapshot=True), ROW, BODY))
    assert rig.core.asked == 1
    session, generation = rig.entry[:2]
    there = mesh.Person(session, generation + (1 << 16), b"k" * mesh.KEY_BYTES, "Ann", BODY, True)
    rig.core.told(mesh.Roll(2, 1, True, [there], []), rig.now_s)
    rig.pass_time()
    assert rig.core.sessions.held == 0
    assert rig.core.asked == 0
