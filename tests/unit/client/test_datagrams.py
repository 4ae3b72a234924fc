"""Sessions that go on over datagrams: what is seen is what the server holds, and going back keeps session and body."""

from collections import Counter

import numpy as np
import pytest

from client import ActAnswered, ClientConfig, ClientCore, Closed, Lost, Welcomed
from client.datagrams import DatagramLink
from client.events import Disconnect
from client.upgrading import FIRST_MS, MOST_MS, STEADY_MS
from protocol.codes import Close
from protocol.datagrams import DATAGRAM_BYTES_MAX
from protocol.frames import Frame, encode_frame
from protocol.messages import Closing, Hello, Input, Move, Notice, Token, encode_server
from tests.unit.client.ether import Ether
from tests.unit.client.one_body import welcome


def of(ether: Ether, kind: type) -> list[object]:
    return [event for event in ether.events if isinstance(event, kind)]


def on_datagrams(seed: int = 1, loss: float = 0.0, twice: float = 0.0, spread_ms: float = 0.0) -> Ether:
    ether = Ether(seed, loss, twice, spread_ms)
    ether.run_until(lambda: ether.core.on_datagrams)
    return ether


def agree(ether: Ether) -> bool:
    """The client sees all others where the gateway has them, by their names."""
    records, tick = ether.core.records, ether.gateway.body.tick
    ids, places = records.shown(float(tick))
    others = ether.gateway.others
    if set(ids.tolist()) != set(others):
        return False
    names = [ether.core.components(int(n))["name"] for n in np.flatnonzero(records.live)]
    held = np.array([(16 * m.p + m.v * (tick - m.tick)) / 2048 for m in map(others.__getitem__, ids.tolist())])
    return names == [f"E{i}" for i in ids.tolist()] and bool(np.abs(places - held).max() <= 2 / 128)


def no_sequence_twice(ether: Ether) -> None:
    """A number and a sequence name a key and a nonce: none may seal two datagrams."""
    heads = Counter((upwards, data[:13]) for upwards, data in ether.seen)
    assert max(heads.values()) == 1
    assert max(len(data) for _, data in ether.seen) <= DATAGRAM_BYTES_MAX


@pytest.mark.parametrize("seed", range(4))
def test_what_is_seen_converges_to_what_the_server_holds(seed: int) -> None:
    """A fifth of all datagrams is lost, a tenth doubled, and they overtake each other by up to 150 ms; others come, go,
    and get each other's numbers. Walking is predicted without a correction: commands are said until applied."""
    ether = on_datagrams(seed, loss=0.2, twice=0.1, spread_ms=150.0)
    for heading in range(8):
        ether.core.steer_towards(float(heading))
        ether.run(1000.0)
    ether.core.steer(0.0, 0.0)
    ether.gateway.restless = False
    ether.run_until(lambda: agree(ether), 10_000.0)
    ether.run_until(lambda: ether.core.acknowledged_seq == ether.core.newest_seq, 10_000.0)
    stats = ether.core.stats
    assert (stats.violations, stats.fallbacks, stats.corrections) == (0, 0, 0)
    body = ether.gateway.body.body
    assert ether.core.position == pytest.approx((body.x, body.y, body.z))
    assert abs(body.x) + abs(body.z) > 1.0
    repeats = Counter(m.seq for m in ether.gateway.body.heard if isinstance(m, Input))
    assert max(repeats.values()) > 1
    no_sequence_twice(ether)


def test_the_way_there_and_back_keeps_the_session_and_says_nothing_of_a_loss() -> None:
    ether = on_datagrams()
    hellos = [m for m in ether.gateway.body.heard if isinstance(m, Hello)]
    assert [hello.resume for hello in hellos] == [None, b"ticket-1"]
    assert [event.resumed for event in ether.events if isinstance(event, Welcomed)] == [False, True]
    assert of(ether, Lost) == []
    assert ether.core.stats.losses == 0
    ether.run(2000.0)
    assert list(ether.links) == [2]


def test_silent_datagrams_are_left_for_websocket_and_tried_again_later() -> None:
    ether = on_datagrams()
    core = ether.core
    core.steer(1.0, 0.0)
    ether.run(500.0)
    ether.cut = True
    ether.run(core.config.datagram_silence_ms - 200.0)
    assert core.stats.fallbacks == 0
    ether.run(700.0)
    assert (core.connected, core.on_datagrams) == (True, False)
    assert core.datagram_problem == "the server fell silent"
    ether.run(1000.0)
    assert agree(ether)
    assert core.stats.fallbacks == 1
    assert all(event.resumed for event in ether.events[1:] if isinstance(event, Welcomed))
    ether.cut = False
    ether.run_until(lambda: core.on_datagrams, 2 * FIRST_MS)
    assert [core.datagram_problem] == [None]
    assert [event.retry_ms for event in ether.events if isinstance(event, Lost)] == [0]
    assert len({token.number for token in ether.gateway.tokens}) == 2
    assert [c.token is None for c in ether.connects] == [True, False, True, False]
    no_sequence_twice(ether)
    assert core.stats.violations == 0


def test_where_no_datagram_passes_the_session_stays_and_asks_ever_more_rarely() -> None:
    ether = Ether(1)
    ether.cut = True
    asked: list[float] = []

    def note() -> None:
        if len(ether.gateway.tokens) > len(asked):
            asked.append(ether.now_ms)

    ether.gateway.restless = False
    ether.run(60_000.0, note)
    assert ether.core.stats.welcomes == 1
    assert ether.core.connected
    assert of(ether, Lost) == []
    pauses = np.diff(asked)
    assert len(asked) == 4
    assert (pauses[1:] >= 1.9 * pauses[:-1]).all()
    no_sequence_twice(ether)


def plain_core(datagrams: bool) -> ClientCore:
    """Welcomed over WebSocket as link 1, with nothing else done."""
    core = ClientCore(ClientConfig(url="ws://a/ws", datagrams=datagrams), lambda: 0.5)
    core.start(0.0)
    core.opened(1, 0.0)
    core.receive(1, encode_server(welcome()), 10.0)
    core.take_actions()
    core.advance(20.0)
    return core


TOKEN = Token("127.0.0.1:9", 5, bytes(32), bytes(range(32)), 10_000, "")


def test_only_who_wants_datagrams_asks_and_only_who_asked_takes_a_token() -> None:
    for wants in (False, True):
        core = plain_core(wants)
        said = [action for action in core.take_actions() if getattr(action, "data", b"")[1:2] == b"\x0a"]
        assert len(said) == wants
        core.receive(1, encode_server(TOKEN), 30.0)
        core.receive(1, encode_server(TOKEN), 30.0)
        assert [getattr(action, "token", None) for action in core.take_actions()] == [TOKEN] * wants


def test_a_refusal_is_told_and_asked_again_much_later() -> None:
    ether = Ether(1)
    ether.gateway.why_not = "this connection is not over TLS"
    ether.run(1000.0)
    assert ether.core.datagram_problem == "this connection is not over TLS"
    assert len(ether.connects) == 1
    ether.gateway.why_not = None
    ether.run_until(lambda: ether.core.on_datagrams, FIRST_MS)


def test_acts_are_done_once_over_loss_and_over_the_way_there_and_back() -> None:
    ether = Ether(3, loss=0.3, twice=0.2, spread_ms=100.0)
    said: list[str] = []

    def act() -> None:
        if ether.rng.random() < 0.05 and len(said) - len(of(ether, ActAnswered)) < 10:
            said.append(f"act {len(said)}")
            ether.core.act(said[-1])

    ether.run(3000.0, act)
    ether.cut = True
    ether.run(5000.0, act)
    ether.cut = False
    ether.run(15_000.0, act)
    ether.run_until(lambda: len(of(ether, ActAnswered)) == len(said))
    assert ether.core.stats.datagram_welcomes >= 2
    assert ether.core.stats.fallbacks >= 1
    assert ether.gateway.done == said
    assert [event.value for event in ether.events if isinstance(event, ActAnswered)] == said
    no_sequence_twice(ether)


def test_who_was_replaced_by_its_own_late_hello_comes_back() -> None:
    """The client gives the datagrams up; then its HELLO arrives there, and the gateway closes the connection that the
    client went on with."""
    ether = Ether(1)
    ether.cut = True
    ether.run_until(lambda: ether.core.datagram_problem is not None)
    late = [data for upwards, data in ether.seen if upwards]
    ether.gateway.take_datagram(late[0], ether.now_ms)
    ether.run(1000.0)
    assert ether.core.connected
    assert of(ether, Closed) == []
    assert ether.core.stats.resumes == 1
    line = ether.gateway.line
    assert line is not None
    ether.gateway.end(line, Closing(Close.REPLACED, None, "by another one"))
    ether.run(1000.0)
    assert [getattr(event, "text", "") for event in of(ether, Closed)] == ["by another one"]


def test_who_was_replaced_while_its_welcome_was_lost_goes_back() -> None:
    ether = Ether(1)
    ether.run_until(lambda: len(ether.connects) == 2)
    ether.run(10.0)  # HELLO is under way
    ether.cut = True
    ether.run(5000.0)
    assert ether.core.connected
    assert of(ether, Closed) == []
    assert ether.core.stats.resumes == 1


def test_no_key_is_used_by_two_links() -> None:
    """Servers of netcode 1.02 that were started anew sealed under an old token's keys with sequences from 0 on (its
    pull requests 159 and 165). Here a token dies with the gateway and with its link: the next has other keys."""
    ether = on_datagrams()
    for _ in range(3):
        ether.gateway.line = None  # a gateway that was started anew knows no session, no token and no key
        ether.run_until(lambda: not ether.core.on_datagrams)
        ether.run_until(lambda: ether.core.on_datagrams, 10 * FIRST_MS)
    tokens = [c.token for c in ether.connects if c.token is not None]
    assert len(tokens) == 4
    keys = [key for token in tokens for key in (token.key_up, token.key_down)]
    assert len(set(keys)) == len(keys)
    assert len({token.number for token in tokens}) == len(tokens)
    no_sequence_twice(ether)


def test_a_move_is_followed_over_websocket_and_the_new_gateway_asked_at_once() -> None:
    ether = on_datagrams()
    line = ether.gateway.line
    assert line is not None
    line.sseq += 1
    ether.gateway.say(line, Move("ws://b/ws", b"go", 5000, line.sseq))
    ether.run(3000.0)
    assert [c.url for c in ether.connects] == ["ws://a/ws", "ws://a/ws", "ws://b/ws", "ws://b/ws"]
    assert ether.core.on_datagrams
    assert of(ether, Lost) == []
    hellos = [m.resume for m in ether.gateway.body.heard if isinstance(m, Hello)]
    assert hellos == [None, b"ticket-1", b"go", b"ticket-1"]


def test_a_move_to_the_same_gateway_asks_at_once_as_well() -> None:
    ether = on_datagrams()
    line = ether.gateway.line
    assert line is not None
    line.sseq += 1
    ether.gateway.say(line, Move("", b"go", 5000, line.sseq))
    ether.run(3000.0)
    assert [(c.url, c.token is None) for c in ether.connects] == [("ws://a/ws", True), ("ws://a/ws", False)] * 2


def test_a_close_over_datagrams_ends_the_link_with_its_code() -> None:
    ether = on_datagrams()
    line = ether.gateway.line
    assert line is not None
    ether.gateway.end(line, Closing(Close.KICKED, None, "enough"))
    ether.run(500.0)
    closed = of(ether, Closed)[0]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.text) == (Close.KICKED, "enough")


def test_leaving_is_said() -> None:
    ether = on_datagrams()
    ether.core.leave()
    ether.run(200.0)
    assert ether.gateway.gone


def test_frames_over_datagrams_break_the_standard() -> None:
    ether = on_datagrams()
    ether.core.receive(2, encode_frame(Frame(1, 5, 101, 1)), ether.now_ms)
    assert ether.core.stats.violations == 1
    assert [action.link for action in ether.core.take_actions() if isinstance(action, Disconnect)] == [2]
    ether.run(3000.0)
    assert (ether.core.connected, ether.core.on_datagrams) == (True, False)


def test_values_before_the_welcome_are_as_good_as_lost() -> None:
    """The stream that brings it may be slower than they are."""
    ether = Ether(5, loss=0.5, spread_ms=400.0)
    ether.run_until(lambda: ether.core.on_datagrams, 120_000.0)
    ether.loss = 0.1
    ether.gateway.restless = False
    ether.run_until(lambda: agree(ether), 20_000.0)
    assert ether.core.stats.violations == 0


def test_what_a_second_without_datagrams_held_up_is_walked_afterwards() -> None:
    ether = on_datagrams()
    ether.core.steer(1.0, 0.0)
    ether.run(1000.0)
    ether.cut = True
    ether.run(1000.0)
    ether.cut = False
    ether.run(2000.0)
    assert ether.core.stats.corrections == 0
    assert ether.core.on_datagrams


def test_a_body_at_rest_says_its_last_command_until_it_is_applied() -> None:
    ether = on_datagrams()
    ether.core.steer(1.0, 0.0)
    ether.run(1000.0)
    ether.core.steer(0.0, 0.0)
    ether.cut = True
    ether.run(1500.0)
    ether.cut = False
    ether.run(1000.0)
    assert ether.core.on_datagrams
    assert ether.core.acknowledged_seq == ether.core.newest_seq


def test_who_was_steady_is_not_punished_for_one_silence() -> None:
    ether = on_datagrams()
    ether.gateway.restless = False
    pauses = []
    for steady_ms in (1000.0, 1000.0, STEADY_MS + 1.0):
        ether.run(steady_ms)
        ether.cut = True
        ether.run_until(lambda: not ether.core.on_datagrams)
        ether.cut = False
        began_ms = ether.now_ms
        ether.run_until(lambda: ether.core.on_datagrams, MOST_MS)
        pauses.append(ether.now_ms - began_ms)
    assert pauses[1] > 1.8 * pauses[0]
    assert pauses[2] < 0.6 * pauses[1]


def test_a_link_acknowledges_stream_bytes_though_it_has_nothing_to_say() -> None:
    mine = DatagramLink(TOKEN, 5)
    server = DatagramLink(Token(TOKEN.address, TOKEN.number, TOKEN.key_down, TOKEN.key_up), 5)
    server.say(encode_server(Notice(1, "hi", 1)), may_be_lost=False)
    (sealed,) = server.take(0.0)
    assert mine.receive(sealed, 1.0) == [encode_server(Notice(1, "hi", 1))]
    assert mine.receive(sealed, 1.0) is None, "it was had"
    assert mine.take(1.0) == []
    (answer,) = mine.take(50.0)
    assert server.receive(answer, 60.0) == []
    assert server.settled
    assert mine.take(1000.0) == []
    with pytest.raises(ValueError, match="does not fit"):
        mine.say(bytes(DATAGRAM_BYTES_MAX), may_be_lost=True)
    with pytest.raises(ValueError, match="no address"):
        DatagramLink(Token(None, text="not here"), 5)


def test_a_datagram_of_another_session_or_the_other_direction_is_nothing() -> None:
    mine, other = DatagramLink(TOKEN, 5), DatagramLink(TOKEN, 6)
    mine.say(b"hello", may_be_lost=True)
    (sealed,) = mine.take(0.0)
    assert other.receive(sealed, 0.0) is None
    assert mine.receive(sealed, 0.0) is None
    assert mine.next_ms == float("inf")
