"""Sessions that come from another gateway to one that does not mirror the place of their body yet."""

import numpy as np

from cluster.regions import Layout
from protocol import mesh
from protocol.layouts import GRID_PER_M
from protocol.link import RegionDelta, Upward
from protocol.messages import Hello, Welcome, decode_server, encode_client
from server.core.bodies import FIND_S, SEEK_S, SHOW_S
from server.core.gateway import LOOK_TICKS, GatewayCore, GatewayFacts
from server.core.mirror import TRANSIT_TICKS
from server.core.outgoing import Deliver
from server.core.views import ViewRules
from server.session.actions import CloseConn
from server.session.identity import Identity
from server.session.limits import SessionLimits
from server.session.tickets import Ticket, Tickets
from tests.unit.server.core.test_mirror_regions import A, B, delta, entering, moved
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


def shown() -> Rig:
    """The client's body is in region B, and shown."""
    rig = Rig()
    rig.come()
    rig.pass_time()
    rig.receive(entering(delta(B, 41, 41, snapshot=True), ROW, BODY))
    assert rig.welcomed()
    return rig


def closes(rig: Rig) -> list[int]:
    return [output.conn for output in rig.core.take() if isinstance(output, CloseConn)]


def speak(rig: Rig, seq: int, *regions: int) -> None:
    """A tick in which these regions tell that nothing has changed."""
    rig.pass_time()
    for region in regions:
        rig.receive(delta(region, seq, 40 + rig.tick))
    rig.core.mirror.advance(40 + rig.tick)


LONG = TRANSIT_TICKS + int(20 * SEEK_S) + 3 * LOOK_TICKS


def test_a_body_on_its_way_to_where_nobody_speaks_is_waited_for_and_then_given_up() -> None:
    rig = shown()
    rig.receive(moved(delta(B, 42, 42), ROW, A))
    for seq in range(43, 43 + LONG):
        speak(rig, seq, B)  # A's owner is dead, and the next one has not begun
        assert closes(rig) == []
    assert rig.core.mirror.row_of(BODY) < 0
    rig.receive(delta(A, 1, 40 + rig.tick, snapshot=True, epoch=2))  # it has not brought the body along
    for region in (6, 7):  # which it sees as well
        rig.receive(delta(region, 1, 40 + rig.tick, snapshot=True))
    closed: list[int] = []
    for k in range(LONG):
        rig.pass_time()
        for region, seq, epoch in ((A, 1, 2), (B, 42 + LONG, 1), (6, 1, 1), (7, 1, 1)):
            rig.receive(delta(region, seq + 1 + k, 40 + rig.tick, epoch=epoch))
        closed += closes(rig)
    assert closed == [0]


def test_a_body_that_comes_with_the_next_owner_goes_on() -> None:
    rig = shown()
    rig.receive(moved(delta(B, 42, 42), ROW, A))
    for seq in range(43, 43 + LONG):
        speak(rig, seq, B)
    rig.receive(entering(delta(A, 1, 40 + rig.tick, snapshot=True, epoch=2), 0, BODY, hop=1))
    for _ in range(LONG):
        rig.pass_time()
        assert closes(rig) == []
    assert rig.core.views.state.views["body"][0] == rig.core.mirror.row_of(BODY) >= 0


def test_nobody_is_called_gone_while_a_region_has_no_owner_that_can_be_reached() -> None:
    rig, away = Rig(), {B}
    rig.core.regions.unreachable = away.__contains__
    rig.core.connected(0, "10.0.0.1", rig.now_s)
    rig.core.said(0, encode_client(Hello(1, 1, None, "Ann", resume=rig.ticket)), rig.now_s)
    asked = [attach for up in rig.pass_time(int(3 * FIND_S * 20)) for attach in up.attach]
    assert asked
    assert {kind for _, _, _, kind, *_ in asked} == {0}, "whoever has the body; nobody makes another one"
    away.clear()
    asked = [attach for up in rig.pass_time(int(FIND_S * 20) + 2 * LOOK_TICKS) for attach in up.attach]
    assert asked[-1][3] != 0, "it is nowhere"


def test_a_body_that_is_given_before_the_mirror_has_it_there_is_spoken_to_as_soon_as_it_has() -> None:
    rig = shown()
    rig.pass_time(LOOK_TICKS)
    rig.receive(entering(delta(A, 1, 42, snapshot=True), 0, BODY, hop=1))  # it has crossed, and both owners die
    anew = delta(B, 50, 50, epoch=2)  # whose restored state is from before the crossing
    anew.born, anew.attached = 2, [[*rig.entry[:3], 9, 4, 1, 0]]
    rig.receive(anew)
    rig.receive(entering(delta(B, 51, 51, snapshot=True, epoch=2), 9, BODY))
    assert rig.core.mirror.home_of(BODY) == A, "as far as is known"
    rig.receive(delta(A, 2, 52, snapshot=True, epoch=2))
    rig.receive(entering(delta(B, 52, 52, snapshot=True, epoch=2), 9, BODY))
    assert rig.core.mirror.home_of(BODY) == B
    assert (rig.core.bodies.region[0], rig.core.bodies.row[0], rig.core.bodies.generation[0]) == (B, 9, 4)


def test_a_restored_body_that_was_given_to_an_earlier_connection_is_asked_for_again() -> None:
    """It takes no acts of a connection that it does not know of: they would never be answered."""
    rig = shown()
    rig.pass_time(LOOK_TICKS)
    session, generation = rig.entry[:2]
    anew = entering(delta(B, 50, 50, snapshot=True, epoch=2), 9, BODY)
    anew.born, anew.attached = 2, [[session, generation - 1, BODY, 9, 1, 1, 0]]
    rig.receive(anew)
    asked = [entry for up in rig.pass_time() if up.region == B for entry in up.attach]
    assert [(entry[:2], entry[5]) for entry in asked] == [([session, generation], BODY)]
    rig.receive(kept(delta(B, 51, 51, epoch=2), session, generation))
    assert not [up.attach for up in rig.pass_time() if up.attach], "it is as it should be"
    rig.receive(kept(delta(B, 52, 52, epoch=2), session, generation - 1))
    assert [up.region for up in rig.pass_time() if up.attach] == [B], "what was asked got lost"


def kept(made: RegionDelta, session: int, generation: int) -> RegionDelta:
    """The region says that it has the body still."""
    made.kept_row, made.kept_row_generation = np.array([9], np.uint32), np.ones(1, np.uint32)
    made.kept_id, made.kept_session = np.array([BODY], np.uint64), np.array([session], np.uint64)
    made.kept_generation, made.kept_gateway = np.array([generation], np.uint32), np.ones(1, np.uint64)
    made.kept_acted = np.zeros(1, np.uint32)
    return made


def told_own(made: RegionDelta, x_m: int, seq: int) -> RegionDelta:
    """With the own state of the body in ROW, as commands up to ``seq`` left it."""
    made.own_row = np.array([ROW], np.uint32)
    made.own_seq, made.own_steps = np.array([seq], np.uint32), np.zeros(1, np.uint8)
    made.own_flags, made.own_v = np.zeros(1, np.uint8), np.zeros((1, 3), np.int16)
    made.own_p = np.array([[x_m * GRID_PER_M, 0, 0]], np.int32)
    return made


def test_a_row_of_an_owner_that_is_not_mirrored_yet_is_nobodys() -> None:
    """The next owner numbers its rows anew: before its snapshot they say nothing of those that are known."""
    rig = shown()
    rig.receive(told_own(delta(B, 42, 42), 3, 7))
    view = rig.core.views.state.views
    assert (view["own_px"][0], view["own_seq"][0]) == (3 * GRID_PER_M, 7)
    anew = told_own(delta(B, 43, 43, epoch=2), 20, 99)
    anew.born = 2
    rig.receive(anew)
    rig.receive(told_own(delta(B, 44, 44, epoch=0), 30, 98))  # what a former owner still says
    assert (view["own_px"][0], view["own_seq"][0]) == (3 * GRID_PER_M, 7)
    rig.receive(told_own(entering(delta(B, 44, 44, snapshot=True, epoch=2), ROW, BODY), 2, 6))
    assert (view["own_px"][0], view["own_seq"][0]) == (2 * GRID_PER_M, 6)


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
    assert rig.core.bodies.asked == 1
    session, generation = rig.entry[:2]
    there = mesh.Person(session, generation + (1 << 16), b"k" * mesh.KEY_BYTES, "Ann", BODY, True)
    rig.core.told(mesh.Roll(2, 1, True, [there], []), rig.now_s)
    rig.pass_time()
    assert rig.core.sessions.held == 0
    assert rig.core.bodies.asked == 0
