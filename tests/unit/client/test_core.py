"""Sessions as the client core lives them: welcome, events, loss, advice, moves, and servers that break the standard."""

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import (
    Changed,
    ChatHeard,
    ClientConfig,
    Closed,
    Entered,
    Left,
    Lost,
    PresenceChanged,
    SchemaChanged,
    Welcomed,
)
from client.core import ClientCore
from client.walk import Ground
from protocol import crowds
from protocol.codes import Advice, Close
from protocol.frames import Structure, encode_structure
from protocol.messages import (
    Bye,
    Chat,
    Closing,
    Hello,
    Input,
    Move,
    Presence,
    Say,
    Schema,
    Token,
    Welcome,
    encode_server,
    pack,
)
from tests.unit.client.one_body import BODY, OneBody, Wire, welcome


def wire(token: str | None = None) -> Wire:
    ground = Ground((-50.0, -50.0, 50.0, 50.0))
    made = Wire(OneBody(ground), ClientConfig(url="ws://a/ws", name="Ada", token=token))
    made.core.set_ground(ground)
    made.run(500.0)
    return made


def test_it_speaks_the_version_that_the_server_chose_of_those_that_it_named() -> None:
    made = Wire(OneBody(Ground((-50.0, -50.0, 50.0, 50.0))), ClientConfig(url="ws://a/ws", versions=(1, 2)))
    made.run(500.0)
    [hello] = [message for message in made.server.heard if isinstance(message, Hello)]
    assert (hello.version_min, hello.version_max) == (1, 2)
    assert made.core.welcome is not None
    assert made.core.welcome.version == 1
    older = Wire(OneBody(Ground((-50.0, -50.0, 50.0, 50.0))), ClientConfig(url="ws://a/ws", versions=(2, 3)))
    older.run(500.0)
    assert older.core.welcome is None
    assert older.core.stats.violations


def of(wire: Wire, kind: type) -> list[object]:
    return [event for event in wire.events if isinstance(event, kind)]


def enter(sseq: int, *entities: int) -> bytes:
    n = len(entities)
    return encode_structure(
        Structure(
            sseq,
            101,
            0,
            (128, 0, 256),
            enter_id=np.array(entities, "<u8"),
            enter_number=np.arange(n, dtype="<u2"),
            enter_kind=np.ones(n, "<u2"),
            enter_p=np.zeros((n, 3), "<i2"),
            enter_v=np.zeros((n, 3), "<i2"),
            enter_age=np.zeros(n, "u1"),
            enter_yaw=np.zeros(n, "u1"),
            enter_blobs=[pack({1: f"E{entity}", 2: 3, 9: True}) for entity in entities],
        )
    )


def test_importing_the_client_loads_neither_numba_nor_aiohttp() -> None:
    program = "import client, sys; print([m for m in ('numba', 'aiohttp', 'pymunk') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_hello_is_answered_and_the_body_placed() -> None:
    w = wire(token="t0ken")
    hello = w.server.heard[0]
    assert isinstance(hello, Hello)
    assert (hello.token, hello.name, hello.resume, hello.schema_hash) == ("t0ken", "Ada", None, None)
    assert of(w, Welcomed) == [Welcomed(welcome(), resumed=False)]
    assert w.core.position == (0.0, 0.0, 0.0)


def test_entities_are_reported_in_the_words_of_the_schema() -> None:
    w = wire()
    w.core.receive(w.link, enter(1, 900, 901), w.now_ms)
    s = Structure(2, 102, 0, (0, 0, 0), leave_number=np.array([1], "<u2"), state_number=np.array([0], "<u2"))
    s.state_blobs = [pack({2: 5, 1: None})]
    w.core.receive(w.link, encode_structure(s), w.now_ms)
    w.events.clear()
    w.events.extend(w.core.take_events())
    named = {"name": "E900", "hat": 1.5, "9": True}
    assert of(w, Entered)[0] == Entered(900, 1, named)
    assert of(w, Left) == [Left(901)]
    assert of(w, Changed) == [Changed(900, {"hat": 2.5, "name": None})]
    assert w.core.components(0) == {"hat": 2.5, "9": True}
    ids, places = w.core.others(w.now_ms)
    assert ids.tolist() == [900]
    assert places.tolist() == [[1.0, 0.0, 2.0]]


def test_chat_presence_and_schema() -> None:
    w = wire()
    w.tell(Chat(0, 5, "Bo", "hi", sseq=1))
    w.tell(Presence(3, ((5, "Bo"),), (6,), sseq=2))
    w.tell(Schema({"kinds": [], "components": []}, b"87654321", sseq=3))
    w.server.step = lambda now_ms: b""  # type: ignore[method-assign]  # frames of this server know no structure
    w.run(60.0)
    assert of(w, ChatHeard) == [ChatHeard(0, 5, "Bo", "hi")]
    assert of(w, PresenceChanged) == [PresenceChanged(3, ((5, "Bo"),), (6,))]
    assert len(of(w, SchemaChanged)) == 1
    assert w.core.online == 3
    assert w.core.say("hello")
    w.core.leave()
    w.act()
    w.link = 1
    for _, _, data in w.up:
        w.server.take(data, w.now_ms)
    assert Say(0, "hello") in w.server.heard
    assert Bye() in w.server.heard
    assert w.core.done


def test_a_lost_connection_is_resumed_with_the_ticket_and_the_unacknowledged_commands() -> None:
    w = wire()
    w.core.steer(1.0, 0.0)
    w.run(1000.0)
    before = w.core.position
    w.up.clear()  # what was under way is lost with the connection
    w.core.closed(w.link, 1006, "reset", w.now_ms)
    w.run(2000.0)
    hellos = [m for m in w.server.heard if isinstance(m, Hello)]
    assert [h.resume for h in hellos] == [None, b"ticket-1"]
    assert hellos[1].schema_hash == b"12345678"
    last = of(w, Welcomed)[-1]
    assert isinstance(last, Welcomed)
    assert last.resumed
    numbers = [m.seq for m in w.server.heard if isinstance(m, Input)]
    assert numbers == sorted(numbers)
    assert w.core.stats.corrections == 0
    assert w.core.stats.resumes == 1
    assert before is not None
    assert w.core.position is not None
    assert w.core.position[0] > before[0]


@pytest.mark.parametrize(
    ("code", "advice"),
    [(Close.TOKEN_EXPIRED, Advice.NEW_TOKEN), (Close.REPLACED, Advice.DO_NOT_COME_BACK)],
)
def test_codes_that_end_a_session_end_it(code: Close, advice: Advice) -> None:
    w = wire()
    w.core.receive(w.link, encode_server(Closing(code, None, "because")), w.now_ms)
    w.core.closed(w.link, code, "", w.now_ms)
    w.run(60_000.0)
    assert of(w, Closed) == [Closed(code, "because", advice)]
    assert len(w.connects) == 1


def test_a_full_server_is_asked_again_when_it_says_and_ever_more_rarely() -> None:
    w = Wire(OneBody(Ground((-50.0, -50.0, 50.0, 50.0))))
    w.refuse = Closing(Close.FULL, 3000, "full")
    w.run(60_000.0)
    waits = [event.retry_ms for event in w.events if isinstance(event, Lost)]
    assert waits[:3] == [3750, 4500, 6000]
    assert max(waits) <= 13_000
    w.refuse = None
    w.run(14_000.0)
    assert w.core.connected


def test_a_silent_server_is_given_up() -> None:
    w = wire()
    w.server.step = lambda now_ms: b""  # type: ignore[method-assign]
    w.down.clear()
    later = w.now_ms + 5001.0
    w.core.advance(later)
    assert not w.core.connected


def test_a_move_switches_when_welcomed_and_then_closes_the_old_link() -> None:
    w = wire()
    w.core.receive(w.link, encode_server(Move("ws://b/ws", b"go", 1000, sseq=1)), w.now_ms)
    assert w.core.connected
    w.run(5.0)
    assert w.connects[-1] == (2, "ws://b/ws")
    assert w.disconnects == []
    w.run(500.0)
    assert w.disconnects == [1]
    assert w.core.connected
    assert [m.resume for m in w.server.heard if isinstance(m, Hello)] == [None, b"go"]
    w.core.closed(1, 4001, "moved", w.now_ms)
    assert w.core.connected, "the end of the old link means nothing"


def test_a_failed_move_leaves_the_old_link_in_use() -> None:
    w = wire()
    w.core.receive(w.link, encode_server(Move("ws://b/ws", b"go", 1000, sseq=1)), w.now_ms)
    w.core.take_actions()
    w.core.closed(2, 1006, "refused", w.now_ms)
    assert w.core.connected
    assert not w.core.done


def test_a_lost_gateway_and_the_first_one_are_tried_in_turn() -> None:
    w = wire()
    w.core.receive(w.link, encode_server(Move("ws://b/ws", b"go", 1000, sseq=1)), w.now_ms)
    w.run(500.0)
    assert w.core.url == "ws://b/ws"
    tried = []
    for link in range(2, 6):
        w.core.closed(link, 1006, "", w.now_ms)
        tried.append(w.core.url)
        w.core.advance(w.core.next_ms())
        w.core.take_actions()
    assert tried == ["ws://a/ws", "ws://b/ws", "ws://a/ws", "ws://b/ws"]


def test_a_gap_in_structure_costs_a_reconnect() -> None:
    w = wire()
    w.core.receive(w.link, enter(2, 900), w.now_ms)
    w.act()
    assert w.disconnects == [1]
    assert w.core.stats.violations == 1
    w.run(3000.0)
    assert w.core.stats.resumes == 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = st.sampled_from([f.name for f in fields(Welcome)])
MESSAGES = (
    st.binary(max_size=200)
    | st.builds(lambda kind, items: pack([kind, 1, *items]), st.integers(16, 28), st.lists(VALUES, max_size=9))
    | st.builds(lambda key, value: _welcome_with(key, value), KEYS, VALUES)
    | st.builds(
        lambda rows: pack([23, 1, {"kinds": [], "components": rows}, b"12345678"]),
        st.lists(st.lists(VALUES, min_size=5, max_size=5), max_size=3),
    )
)


def _welcome_with(key: str, value: object) -> bytes:
    return pack([16, {f.name: getattr(welcome(), f.name) for f in fields(Welcome)} | {key: value}])


@given(st.lists(MESSAGES, max_size=6), st.booleans())
def test_no_bytes_raise(messages: list[bytes], welcomed: bool) -> None:
    core = ClientCore(ClientConfig(url="ws://a/ws"), lambda: 0.0)
    core.start(0.0)
    core.opened(1, 1.0)
    if welcomed:
        core.receive(1, encode_server(welcome()), 2.0)
        assert core.welcome is not None
        assert core.welcome.body == BODY
    for at, data in enumerate(messages):
        core.receive(1, data, 3.0 + at)
        core.advance(3.0 + at)


VALUE_MESSAGES = st.builds(
    lambda *items: pack([28, *items]),
    st.just(1),
    st.integers(0, 5) | st.integers(0, 2**32),
    st.integers(0, 2**53),
    st.integers(0, 2),
    st.none() | st.binary(min_size=32, max_size=32),
    st.none() | st.just([1, 2, 3]),
    st.none() | st.binary(max_size=60) | st.binary(max_size=56).map(lambda data: b"\0\1\0\0\0" + data),
)


@given(st.lists(MESSAGES | VALUE_MESSAGES, max_size=6), st.booleans())
def test_no_bytes_over_datagrams_raise(messages: list[bytes], welcomed: bool) -> None:
    core = ClientCore(ClientConfig(url="ws://a/ws", datagrams=True), lambda: 0.0)
    core.start(0.0)
    core.opened(1, 1.0)
    core.receive(1, encode_server(welcome()), 2.0)
    core.advance(2.0)
    core.receive(1, encode_server(Token("a:1", 1, bytes(32), bytes(32), 1)), 2.0)
    core.opened(2, 2.0)
    if welcomed:
        core.receive(2, encode_server(welcome()), 2.0)
        core.receive(2, enter(1, 5, 6), 2.0)
        assert core.on_datagrams
    for at, data in enumerate(messages):
        core.receive(2, data, 3.0 + at)
        core.advance(3.0 + at)


def test_bad_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="input_hz must be from 1 to 60"):
        ClientConfig(url="", input_hz=0.0)
    with pytest.raises(ValueError, match="ack_ms must be from 20 to 250"):
        ClientConfig(url="", ack_ms=1000.0)


def test_the_newest_crowd_is_kept_and_a_broken_one_breaks_the_link() -> None:
    w = wire()
    link = w.core._active
    assert link is not None
    two = np.ones(2, "<i2")
    for tick, count in ((200, 7), (180, 9)):
        told = crowds.encode(crowds.Crowd(1, tick, 32, two, two, np.array([count, 1], "<u2"), two, two))
        w.core.receive(link.number, told, 500.0)
    assert w.core.crowd is not None
    assert (w.core.crowd.tick, w.core.crowd.total) == (200, 8)
    w.core.receive(link.number, bytes([0x94, 33, 1, 1, 0xC4, 2, 0, 9]), 500.0)
    assert w.core.stats.violations == 1
