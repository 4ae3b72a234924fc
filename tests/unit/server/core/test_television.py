"""A television in a gateway: a session without a body, with a stream of its own and a channel beside it."""

from functools import partial

import numpy as np
import pytest

from client.config import ClientConfig
from client.core import ClientCore
from client.events import CameraMoved, ChannelBegan, ChatHeard, Closed, NotWatching, Watching, Welcomed
from client.events import Send as Sending
from cluster.regions import Layout
from protocol.channels import BEHIND_S_MAX, TV_ACK_MS, Channel, ChannelCode, Watch
from protocol.messages import Ack, Hello, Say, decode_client, decode_server, encode_client
from server.core.cameras import ChannelSpec, director_of
from server.core.channels import REST_S
from server.core.gateway import SAID_WEIGHT, GatewayCore, GatewayFacts
from server.core.outgoing import Deliver
from server.core.regions import LINGER_S
from server.core.views import ViewRules
from server.session.actions import CloseConn
from server.session.identity import Identity
from server.session.limits import SessionLimits
from tests.sim.doors import hot, split
from tests.unit.server.core.test_gateway import CAPACITY, NOBODY, Rig
from tests.unit.server.core.test_mirror_regions import delta
from tests.unit.server.session.rig import SCHEMA, seeded

CHANNELS = (
    ChannelSpec("live", "Live", "director", radius_m=100.0),
    ChannelSpec("hall", "The hall", "fixed", radius_m=100.0),
)
TV_CONN = 5


class TvRig(Rig):
    """One region, a gateway with channels, and a television that is the Python client."""

    def __init__(self) -> None:
        super().__init__()
        facts = GatewayFacts(1, "test", 20, 3, None, None, "", "test")
        rules = ViewRules(radius_m=100.0, near_radius_m=30.0, cap=100)
        self.core = GatewayCore(
            facts, CAPACITY, rules, SessionLimits(), lambda token: Identity("t", str(token), token), bytes,
            channels=CHANNELS,
        )  # fmt: skip
        self.tv = ClientCore(ClientConfig("ws://gateway/ws", "Set", "t-tv", profile="tv", predict=False), lambda: 0.5)
        self.closed: list[CloseConn] = []
        self.heard: list[object] = []
        self.tick = 0

    def switch_on(self) -> None:
        self.core.connected(TV_CONN, "10.0.1.1", self.tick / 20)
        self.tv.start(self.tick * 50.0)
        self.tv.opened(1, self.tick * 50.0)

    def run(self, ticks: int) -> None:
        """Ticks of the region, the gateway and the television; what people get is thrown away, but acknowledged."""
        for _ in range(ticks):
            self.tick += 1
            now_s, now_ms = self.tick / 20, self.tick * 50.0
            self.step(self.tick)
            self.core.tick(self.tick, now_s)
            for output in self.core.take():
                if isinstance(output, CloseConn):
                    self.closed.append(output)
                elif isinstance(output, Deliver):
                    for k, conn in enumerate(output.conns.tolist()):
                        if conn == TV_CONN:
                            data = bytearray(output.data)
                            if output.sseq is not None:
                                data[3:7] = int(output.sseq[k]).to_bytes(4, "big")
                            self.tv.receive(1, bytes(data), now_ms)
            for batch in self.core.frames(self.tick, now_s, NOBODY):
                for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                    if conn == TV_CONN:
                        split(bytes(batch.buffer[at : at + length]), partial(self._tell, now_ms))
            self.tv.advance(now_ms)
            for action in self.tv.take_actions():
                if isinstance(action, Sending):
                    message = decode_client(action.data)
                    if isinstance(message, Ack):
                        self.core.take_inbound(hot([(TV_CONN, message)]), now_s)
                    else:
                        self.core.said(TV_CONN, action.data, now_s)
            self.heard += self.tv.take_events()
            for conn in self.core.sessions.live_conns.tolist():
                if conn != TV_CONN:
                    frame = int(self.core.views.state.views["frame"][conn])
                    self.core.take_inbound(hot([(conn, Ack(frame, 0))]), now_s)

    def _tell(self, now_ms: float, data: bytes) -> None:
        self.tv.receive(1, data, now_ms)

    def of(self, kind: type) -> list[object]:
        return [event for event in self.heard if isinstance(event, kind)]


@pytest.fixture
def rig() -> TvRig:
    made = TvRig()
    made.step(1)
    made.tick = made.enter(1, made.enter(0, 1)) - 1
    made.switch_on()
    return made


def test_a_television_watches_and_hears(rig: TvRig) -> None:
    rig.tv.watch("hall")
    rig.run(40)
    assert rig.tv.stats.violations == 0
    [welcomed] = rig.of(Welcomed)
    assert isinstance(welcomed, Welcomed)
    assert (welcomed.welcome.body, welcomed.welcome.idle_ack_ms) == (None, TV_ACK_MS)
    assert [event.title for event in rig.heard if isinstance(event, Watching)] == ["The hall"]
    assert rig.of(ChannelBegan)
    assert rig.of(CameraMoved)
    ids, _ = rig.tv.others(rig.tick * 50.0)
    people = {body for body in (rig.core.bodies.body_of.get(conn) for conn in (0, 1)) if body is not None}
    assert people <= set(ids.tolist()), "nobody's own body is left out: a television has none"
    rig.core.said(0, encode_client(Say(0, "good evening")), rig.tick / 20)
    rig.run(10)
    assert [event.text for event in rig.heard if isinstance(event, ChatHeard)] == ["good evening"]
    rig.run(100)
    assert rig.closed == [], "its acknowledgements name frames of the channel"
    assert rig.tv.stats.violations == 0
    assert rig.core.views.totals.views == 2, "it has no view"
    assert rig.core.sessions.online == 2, "and is no person"


def test_it_stays_without_watching_and_goes_on_after_a_lost_connection(rig: TvRig) -> None:
    rig.run(200)
    assert rig.closed == []
    assert rig.tv.connected, "nothing is said to it, which is no reason to go"
    rig.tv.watch("hall", 30)
    rig.run(20)
    rig.core.lost(TV_CONN, rig.tick / 20)
    rig.tv.closed(1, 1006, "gone", rig.tick * 50.0)
    assert not rig.core.channels.audience.present.any()
    rig.run(int(REST_S * 20) + 20)
    assert not rig.core.channels.is_awake("hall")
    assert not rig.tv.connected


def test_who_has_a_view_is_told_that_channels_are_not_for_it(rig: TvRig) -> None:
    rig.core.said(0, encode_client(Watch("hall")), rig.tick / 20)
    told = [output for output in rig.core.take() if isinstance(output, Deliver)]
    answers = [decode_server(output.data) for output in told]
    assert [answer.code for answer in answers if isinstance(answer, Channel)] == [ChannelCode.PROFILE]


def test_an_unknown_channel_is_refused_and_everything_else_goes_on(rig: TvRig) -> None:
    rig.tv.watch("nothing")
    rig.run(20)
    [refused] = rig.of(NotWatching)
    assert isinstance(refused, NotWatching)
    assert refused.code == ChannelCode.UNKNOWN
    rig.tv.watch()
    rig.run(20)
    assert [event.name for event in rig.heard if isinstance(event, Watching)] == ["live"]


def test_what_is_said_draws_the_director(rig: TvRig) -> None:
    rig.tv.watch("live")
    rig.run(20)
    director = director_of(rig.core.channels._awake[0].camera)
    assert director is not None
    before = [happening for happening in director._happenings if happening.weight == SAID_WEIGHT]
    rig.core.said(0, encode_client(Say(0, "look here")), rig.tick / 20)
    rig.run(5)
    said = [happening for happening in director._happenings if happening.weight == SAID_WEIGHT]
    assert (len(before), len(said)) == (0, 1)


def test_watch_before_welcome_is_a_violation() -> None:
    rig = TvRig()
    rig.core.connected(3, "10.0.2.2", 0.0)
    rig.core.said(3, encode_client(Watch("live")), 0.0)
    assert [output.code for output in rig.core.take() if isinstance(output, CloseConn)] == [4300]


def test_only_a_television_may_ask() -> None:
    core = ClientCore(ClientConfig("ws://gateway/ws"), lambda: 0.5)
    with pytest.raises(ValueError, match="profile"):
        core.watch("live")
    tv = ClientCore(ClientConfig("ws://gateway/ws", profile="tv"), lambda: 0.5)
    with pytest.raises(ValueError, match="behind_s"):
        tv.watch("live", BEHIND_S_MAX + 1)
    tv.start(0.0)
    tv.leave()
    assert any(isinstance(event, Closed) for event in tv.take_events())


def test_a_region_is_mirrored_while_somebody_watches_it() -> None:
    """A world of four regions: the square that the channel shows is in one where nobody is."""
    facts = GatewayFacts(1, "test", 20, 3, None, None, "", "test", 200, "walker", Layout(512.0, 1), ((-200.0, -200.0),))
    rules = ViewRules(radius_m=10.0, near_radius_m=5.0)
    square = ChannelSpec("square", camera="fixed", place_m=(200.0, 0.0, 200.0), radius_m=20.0)
    core = GatewayCore(
        facts, CAPACITY, rules, SessionLimits(), lambda token: Identity("t", "x", "x"), seeded(), channels=(square,)
    )
    assert core.partition is not None
    here, there = core.partition.region_at(np.array([-200.0, 200.0]), np.array([-200.0, 200.0])).tolist()
    tick = 0

    def run(seconds: float) -> set[int]:
        """Regions that are wanted at its end."""
        nonlocal tick
        for _ in range(round(seconds * 20)):
            tick += 1
            if core.channels.audience.present[0]:
                core.take_inbound(hot([(0, Ack(0, 0))]), tick / 20)
            core.tick(tick, tick / 20)
            core.take()
            for region in (here, there):
                if core.regions.is_wanted(region):
                    told = delta(region, tick, tick, snapshot=True)
                    told.schema = SCHEMA
                    core.receive(told, tick / 20)
            list(core.frames(tick, tick / 20, NOBODY))
        return {region for region in (here, there) if core.regions.is_wanted(region)}

    run(1.0)
    core.connected(0, "10.0.0.1", tick / 20)
    core.said(0, encode_client(Hello(1, 1, None, "Set", "tv")), tick / 20)
    assert run(LINGER_S + 2.0) == set(), "a television that watches nothing wants nothing"
    core.said(0, encode_client(Watch("square")), tick / 20)
    assert run(2.0) == {there}
    assert there in core.mirror.regions
    assert run(20.0) == {there}
    core.lost(0, tick / 20)
    assert run(REST_S - 2.0) == {there}, "somebody who zaps comes back"
    assert run(LINGER_S + 4.0) == set()
    assert there not in core.mirror.regions
