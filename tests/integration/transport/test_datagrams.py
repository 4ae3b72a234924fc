"""Datagram connections on loopback, with a clock that is turned by hand."""

import select
import socket
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from kernels.peers import PEER, STATE_OPEN, Drop
from protocol.codes import Close
from protocol.datagrams import KIND_MESSAGE, KIND_OPENING, open_sealed, plaintext, seal
from protocol.layouts import COMMAND
from protocol.limits import SERVER_MESSAGE_BYTES_MAX
from protocol.messages import Ack, Bye, Closing, Hello, Input, Notice, Say, decode_server, encode_client, encode_server
from protocol.wsframe import frame
from server.transport import mmsg
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.live import UdpWay
from server.transport.datagrams.transport import Datagrams
from server.transport.inbound import Inbound, Lost, Opened
from tests.counting import Work
from tests.integration.transport.harness import until
from tests.udppeer import UdpPeer

BASE = 10
SESSION = 77
HELLO = encode_client(Hello(1, 1, None, "a"))


def socket_name(transport: Datagrams) -> tuple[str, int]:
    """Where its UDP socket is."""
    assert isinstance(transport.way, UdpWay)
    host, port = transport.way.sock.getsockname()[:2]
    return host, port


class Gate:
    """The transport, and everybody's time."""

    def __init__(self, config: DatagramConfig | None = None, batched: bool | None = None) -> None:
        self.now_ms = 1_000_000
        config = config or DatagramConfig(capacity=4, arrivals_max=512, departures_max=4)
        self.transport = Datagrams(config, BASE, clock_ms=lambda: self.now_ms, batched=batched)
        self.peers: list[UdpPeer] = []

    def peer(self, session: int = SESSION) -> UdpPeer:
        """A client with a fresh token, which has said nothing."""
        peer = UdpPeer(self.transport.token(session), session, socket_name(self.transport))
        peer.now_ms = self.now_ms
        self.peers.append(peer)
        return peer

    def joined(self, session: int = SESSION) -> UdpPeer:
        """A client that has said HELLO, and heard that it came."""
        peer = self.peer(session)
        peer.out.push(HELLO)
        peer.send()
        assert [message for _, message in self.poll().cold] == [HELLO]
        self.transport.flush()
        assert peer.wait() == 1
        return peer

    def poll(self, ms: int = 0) -> Inbound:
        """What has arrived, after ``ms``. On loopback it is there as soon as it was sent."""
        self.now_ms += ms
        for peer in self.peers:
            peer.now_ms = self.now_ms
        return self.transport.poll(self.now_ms)

    def send(self, *messages: tuple[int, int, bytes]) -> None:
        """Messages: connection, kind, bytes."""
        sizes = np.array([len(data) for *_, data in messages], np.int64)
        buffer = np.frombuffer(bytearray(b"".join(data for *_, data in messages)), np.uint8)
        conns = np.array([conn for conn, *_ in messages], np.int32)
        kinds = np.array([kind for _, kind, _ in messages], np.uint8)
        self.transport.send(buffer, conns, np.cumsum(sizes) - sizes, sizes, kinds)

    def dropped(self, reason: Drop) -> int:
        return self.transport.dropped[reason.name.lower()]


@pytest.fixture(params=[True, False], ids=["batched", "plain"])
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    gate = Gate(batched=request.param)
    yield gate
    gate.transport.stop()
    for peer in gate.peers:
        peer.close()


def conns(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(numbers, np.int32)


def test_a_token_opens_a_connection_and_messages_go_both_ways(gate: Gate) -> None:
    peer = gate.peer()
    peer.out.push(HELLO)
    peer.send((KIND_OPENING, b""), (KIND_MESSAGE, encode_client(Ack(5, 6, 2**64 - 1))))
    inbound = gate.poll()
    assert inbound.opened == [Opened(BASE, 1, "127.0.0.1", False, SESSION)]
    assert inbound.cold == [(BASE, HELLO)]
    assert (inbound.ack_conn.tolist(), inbound.ack_frame.tolist(), inbound.ack_stamp.tolist()) == ([BASE], [5], [6])
    assert inbound.ack_earlier.tolist() == [2**64 - 1]
    peer.say(encode_client(Input(9, 300, 2**32 - 1, bytes(range(16)), 5)))
    inbound = gate.poll()
    assert inbound.input_conn.tolist() == [BASE]
    assert inbound.input_earlier.tolist() == [5]
    assert inbound.commands.dtype == COMMAND
    assert inbound.commands.tobytes() == bytes(range(16))
    notice = encode_server(Notice(1, "text"))
    gate.transport.post(conns(BASE), notice, np.array([7], np.uint32))
    gate.transport.post(conns(BASE), b"plain")
    gate.send((BASE, 1, b"structure"), (BASE, 2, b"values"), (BASE, 2, b"more"))
    gate.transport.flush()
    assert peer.wait() == 2
    assert decode_server(peer.stream[0]) == Notice(1, "text", 7)
    assert peer.stream[1:] == [b"plain", b"structure"]
    assert peer.messages == [b"values", b"more"]
    assert peer.out.waiting_bytes == 0, "the client's stream was not acknowledged"


def test_who_has_said_nothing_is_told_nothing(gate: Gate) -> None:
    peer = gate.peer()
    gate.transport.post(conns(BASE), b"for nobody")
    gate.send((BASE, 2, b"for nobody"))
    for _ in range(5):
        gate.poll(600)
        gate.transport.flush()
    assert peer.hears_nothing()
    assert gate.transport.way.sent[mmsg.C_DATAGRAMS] == 0


def test_a_stranger_gets_not_one_byte(gate: Gate) -> None:
    peer = gate.peer()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        good = peer.sealed((KIND_OPENING, b""))
        number = peer.token.number
        guesses = [
            b"", b"\x31", good[:-1], good[:20] + bytes([good[20] ^ 1]) + good[21:], b"\x32" + good[1:], good + b"\0",
            good[:1] + (number ^ 1).to_bytes(4, "little") + good[5:], good[:5] + b"\xff" * 8 + good[13:],
            good[:1] + (number ^ 0x10000).to_bytes(4, "little") + good[5:], bytes(1200), good + bytes(1200),
            seal(peer.down, number, 1, peer.bind, plaintext(0, [])),  # the other direction's key
            seal(peer.up, number, 1, bytes(16), plaintext(0, [])),  # another session's, or another address'
        ]  # fmt: skip
        for guess in guesses:
            peer.raw(guess, stranger)
        assert not gate.poll()
        gate.transport.flush()
        assert not select.select([stranger], [], [], 0)[0]
    assert gate.transport.way.sent[mmsg.C_CALLS] == 0
    assert sum(gate.transport.dropped.values()) == len(guesses)
    assert gate.transport.rows["newest"].sum() == 0
    peer.raw(good)
    assert len(gate.poll().opened) == 1


def test_keys_and_numbers_are_fresh_for_each_token_and_each_process(gate: Gate) -> None:
    # A published mistake of another library: sequences begin anew after a restart, with keys of before.
    tokens = [gate.transport.token(session) for session in (1, 2, 3)]
    again = Gate()
    try:
        tokens += [again.transport.token(session) for session in (1, 2, 3)]
        assert len({key for token in tokens for key in (token.key_up, token.key_down)}) == 12
        assert all(len(token.key_up) == len(token.key_down) == 32 for token in tokens)
        old = UdpPeer(tokens[0], 1, socket_name(again.transport))
        old.send((KIND_OPENING, b""))
        assert not again.poll()
        again.transport.flush()
        assert old.hears_nothing()
        old.close()
    finally:
        again.transport.stop()


def test_no_sequence_is_used_twice(gate: Gate) -> None:
    peer = gate.joined()
    seen: list[bytes] = []
    for _ in range(20):
        gate.send((BASE, 2, b"values"), (BASE, 1, bytes(3000)))
        gate.transport.flush()
        select.select([peer.sock], [], [], 5.0)
        while not peer.hears_nothing():
            datagram = peer.sock.recv(2048)
            seen.append(datagram[5:13])
            peer.open(datagram)
        peer.say(encode_client(Ack(0, 0)))
        gate.poll(50)
    assert len(set(seen)) == len(seen) >= 60
    gate.transport.rows["sequence"][0] = 2**64 - 2
    for _ in range(2):
        gate.send((BASE, 2, b"last"))
        gate.transport.flush()
    assert peer.wait() == 1
    assert gate.poll().lost == [Lost(BASE, Close.GOING_AWAY, "sequences_spent")]
    gate.transport.flush()
    assert peer.hears_nothing()


def test_a_token_is_for_one_use_and_a_time(gate: Gate) -> None:
    late = gate.peer()
    gate.poll(9_999)
    assert gate.transport.tokens_waiting == 1
    gate.poll(1)
    late.send((KIND_OPENING, b""))
    assert not gate.poll()
    assert gate.dropped(Drop.UNKNOWN_NUMBER) == 1
    first, second = gate.peer(), gate.peer()
    first.send((KIND_OPENING, b""))
    assert not gate.poll(), "another request makes the one before useless"
    second.send((KIND_OPENING, b""))
    assert len(gate.poll().opened) == 1
    second.send((KIND_OPENING, b""))
    assert gate.poll().opened == []
    assert gate.transport.open_count == 1


def test_a_token_whose_connection_stands_is_not_ended_by_the_next_request(gate: Gate) -> None:
    peer = gate.joined()
    gate.peer()
    gate.poll(10_000 - 1)
    peer.say(encode_client(Ack(0, 0)))
    assert len(gate.poll(1).ack_conn) == 1


def test_all_places_taken_is_said_and_ends(gate: Gate) -> None:
    tokens = [gate.transport.token(session) for session in range(5)]
    assert [token.address is not None for token in tokens] == [True] * 4 + [False]
    assert tokens[4].text
    assert not tokens[4].key_up
    gate.poll(10_000)
    again = gate.transport.token(9)
    assert again.address is not None
    assert again.number not in {token.number for token in tokens}


def test_a_client_may_change_its_network_at_any_time(gate: Gate) -> None:
    peer = gate.joined()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.setblocking(False)
        before, peer.sock = peer.sock, elsewhere
        peer.say(encode_client(Ack(1, 1)))
        assert len(gate.poll().ack_conn) == 1
        gate.send((BASE, 2, b"there"))
        gate.transport.flush()
        assert peer.wait() == 1
        assert peer.messages == [b"there"]
        assert not select.select([before], [], [], 0)[0]
        peer.sock = before


def test_what_somebody_else_repeats_does_not_move_the_address(gate: Gate) -> None:
    peer = gate.joined()
    kept = [peer.sealed((KIND_MESSAGE, encode_client(Ack(k, k)))) for k in range(4)]
    peer.raw(kept[1])
    peer.raw(kept[3])
    assert len(gate.poll().ack_conn) == 2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        for datagram in (kept[3], kept[1]):
            peer.raw(datagram, thief)
        assert len(gate.poll().ack_conn) == 0
        assert gate.dropped(Drop.REPLAYED) == 2
        peer.raw(kept[2], thief)  # one that was held back counts, and says nothing about where its sender is
        assert gate.poll().ack_frame.tolist() == [2]
        gate.send((BASE, 2, b"mine"))
        gate.transport.flush()
        assert peer.wait() == 1
        assert not select.select([thief], [], [], 0)[0]


def test_a_sequence_at_the_end_of_numbers_takes_no_replay(gate: Gate) -> None:
    peer = gate.joined()
    last = peer.say(encode_client(Ack(1, 1)), sequence=2**64 - 1)
    old = peer.sealed((KIND_MESSAGE, encode_client(Ack(2, 2))), sequence=5)
    peer.raw(last)
    peer.raw(old)
    assert gate.poll().ack_frame.tolist() == [1]
    assert (gate.dropped(Drop.REPLAYED), gate.dropped(Drop.OLD)) == (1, 1)


def test_silence_ends_a_connection_and_its_slot_is_free(gate: Gate) -> None:
    peer = gate.joined()
    assert gate.poll(10_000).lost == []
    assert gate.poll(1).lost == [Lost(BASE, 1006, "silent")]
    gate.poll()
    assert gate.transport.open_count == 0
    peer.say(encode_client(Ack(1, 1)))
    assert not gate.poll()
    gate.transport.flush()
    assert peer.hears_nothing()
    assert gate.joined().token.number & 0xFFFF == peer.token.number & 0xFFFF


def test_a_quiet_connection_hears_that_the_server_is_there(gate: Gate) -> None:
    peer = gate.joined()
    for _ in range(3):
        gate.poll(499)
        gate.transport.flush()
        assert peer.hears_nothing()
        gate.poll(1)
        gate.transport.flush()
        assert peer.wait() == 1
    assert peer.messages == []


def test_close_is_said_and_said_again_to_who_still_speaks(gate: Gate) -> None:
    peer = gate.joined()
    gate.transport.close(BASE, Close.REPLACED, None, "elsewhere")
    gate.transport.flush()
    assert peer.wait() == 1
    assert decode_server(peer.messages[0]) == Closing(Close.REPLACED, None, "elsewhere")
    gate.transport.flush()
    assert peer.hears_nothing()
    peer.say(encode_client(Ack(1, 1)))
    assert not gate.poll(500)
    gate.transport.flush()
    assert peer.wait() == 1
    assert len(peer.messages) == 2
    assert not gate.poll(500)
    assert gate.transport.open_count == 0
    peer.say(encode_client(Ack(1, 1)))
    gate.poll()
    gate.transport.flush()
    assert peer.hears_nothing()


def test_a_violation_ends_it_with_its_code(gate: Gate) -> None:
    cases: list[tuple[bytes | None, Close, str]] = [
        (bytes(4) + b"\1", Close.PROTOCOL, "malformed_datagram"),
        (plaintext(0, [(KIND_MESSAGE, b"")]), Close.PROTOCOL, "malformed"),
        (plaintext(1_000_000, []), Close.PROTOCOL, "forged_received"),
        (None, Close.TOO_LARGE, "oversized"),
    ]
    for plain, code, reason in cases:
        peer = gate.joined()
        if plain is None:
            peer.out.push(bytes(4097))
            peer.send()
        else:
            peer.raw(peer.sealed(plain=plain))
        slot = peer.token.number & 0xFFFF
        assert gate.poll().lost == [Lost(BASE + slot, code, reason)]
        gate.transport.flush()
        peer.wait()
        said = decode_server(peer.messages[-1])
        assert isinstance(said, Closing)
        assert said.code == code
        assert gate.transport.rejected[reason] == 1
        gate.poll(1000)
    assert gate.transport.open_count == 0


def test_who_says_too_much_is_closed(gate: Gate) -> None:
    peer = gate.joined()
    for _ in range(130):
        peer.say(encode_client(Ack(0, 0)))
    inbound = gate.poll()
    assert [lost.reason for lost in inbound.lost] == ["too_many_messages"]
    assert len(inbound.ack_conn) <= 120


def test_who_acknowledges_nothing_is_held_back_and_then_too_slow(gate: Gate) -> None:
    gate.joined()
    assert not gate.transport.blocked.any()
    gate.send((BASE, 1, bytes(49_149)))
    assert gate.transport.blocked.tolist() == [1, 0, 0, 0]
    gate.send((BASE, 1, bytes(16_000)))
    gate.send((BASE, 1, bytes(16_000)))
    assert gate.poll().lost == [Lost(BASE, Close.TOO_SLOW, "too_slow")]


def lossy(gate: Gate, peer: UdpPeer, heard: int, loss: float, most_s: int = 300) -> int:
    """Ticks of 50 ms until ``peer`` has heard so many messages of its stream, while a part of all datagrams is lost.
    Returns the most bytes that were unacknowledged."""
    rng, most = np.random.default_rng(4), 0
    for _ in range(20 * most_s):
        if len(peer.stream) >= heard:
            return most
        gate.poll(50)
        gate.transport.flush()
        row = gate.transport.rows[0]
        most = max(most, int(row["out_sent"] - row["out_acked"]))
        while not peer.hears_nothing():
            datagram = peer.sock.recv(2048)
            if rng.random() >= loss:
                peer.open(datagram)
        ack = peer.sealed((KIND_MESSAGE, encode_client(Ack(0, 0))))
        if rng.random() >= loss:
            peer.raw(ack)
    raise AssertionError("it never came")


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_message_of_a_mebibyte_flows_through_the_window(gate: Gate, loss: float) -> None:
    peer = gate.joined()
    text = np.random.default_rng(1).bytes(524_000).hex()
    largest = encode_server(Notice(1, text))
    assert 1_048_000 < len(largest) <= SERVER_MESSAGE_BYTES_MAX
    small = encode_server(Notice(2, "behind it"))
    gate.transport.post(conns(BASE), encode_server(Notice(3, "before it")), np.array([1], np.uint32))
    gate.transport.post(conns(BASE), largest, np.array([2], np.uint32))
    for sseq in range(3, 203):
        gate.transport.post(conns(BASE), small, np.array([sseq], np.uint32))
    assert gate.transport.blocked[0], "no frame may overtake it"
    most = lossy(gate, peer, 202, loss)
    assert most <= 65_536
    heard = [decode_server(message) for message in peer.stream]
    assert [message.sseq for message in heard if isinstance(message, Notice)] == list(range(1, 203))
    assert heard[1] == Notice(1, text, 2)
    lossy(gate, peer, 202, 0.0)
    gate.poll(50)
    assert not gate.transport.blocked.any()
    gate.send((BASE, 1, b"as ever"))
    gate.transport.flush()
    lossy(gate, peer, 203, loss)
    assert peer.stream[-1] == b"as ever"


def test_a_large_message_is_in_memory_once_for_all_and_gone_with_who_had_it(gate: Gate) -> None:
    for session in range(4):
        gate.joined(session)
    tracemalloc.start()
    gate.transport.post(conns(*range(BASE, BASE + 4)), bytes(1 << 20))
    assert tracemalloc.get_traced_memory()[0] < 1.5 * (1 << 20)
    for conn in range(BASE, BASE + 4):
        gate.transport.close(conn, Close.GOING_AWAY)
    assert tracemalloc.get_traced_memory()[0] < 1 << 19
    tracemalloc.stop()


def test_behind_a_large_message_there_is_room_for_so_much_and_no_more(gate: Gate) -> None:
    gate.joined()
    gate.transport.post(conns(BASE), bytes(600_000))
    for _ in range(48):
        gate.transport.post(conns(BASE), bytes(1000))
    assert not gate.poll().lost
    gate.transport.post(conns(BASE), bytes(2000))
    assert gate.poll().lost == [Lost(BASE, Close.TOO_SLOW, "too_slow")]
    gate.transport.post(conns(BASE), bytes(100_000))
    other = gate.joined(78)
    conn = BASE + gate.transport.rows["number"].tolist().index(other.token.number)
    for _ in range(2):
        assert not gate.poll().lost
        gate.transport.post(conns(conn), bytes(600_000))
    assert gate.poll().lost == [Lost(conn, Close.TOO_SLOW, "too_slow")]


def test_frames_of_a_channel_go_to_streams_without_their_headers(gate: Gate) -> None:
    peers = [gate.joined(session) for session in (1, 2)]
    said = [b"", b"a" * 125, b"b" * 126, b"c" * 300]
    entry = np.frombuffer(bytearray(b"".join(map(frame, said))), np.uint8)
    at, length = np.zeros(2, np.int64), np.full(2, len(entry), np.int64)
    gate.transport.send_frames(entry, conns(BASE, BASE + 1), at, length)
    gate.transport.flush()
    for peer in peers:
        peer.wait()
        assert peer.stream == said
    wide = np.frombuffer(bytearray(frame(bytes(65_536))), np.uint8)
    gate.transport.send_frames(wide, conns(BASE), np.zeros(1, np.int64), np.full(1, len(wide), np.int64))
    assert gate.poll().lost == [Lost(BASE, Close.TOO_SLOW, "too_slow")], "more than a stream holds at once"


def test_the_round_trip_is_measured_over_a_network_that_loses(gate: Gate) -> None:
    """What was not lost is acknowledged within a tick: a loss that is being mended must not count as a long way."""
    peer = gate.joined()
    gate.transport.post(conns(BASE), bytes(200_000))
    lossy(gate, peer, 1, 0.2)
    assert gate.transport.rows["rtt_ms"][0] < 100
    assert gate.transport.resent_bytes > 10_000


def test_what_was_lost_of_the_stream_comes_in_another_datagram(gate: Gate) -> None:
    peer = gate.joined()
    gate.send((BASE, 1, bytes(3000)))
    gate.transport.flush()
    peer.sock.recv(2048)  # the first is lost
    peer.take()
    assert peer.stream == []
    for _ in range(20):
        peer.say(encode_client(Ack(0, 0)))
        gate.poll(100)
        gate.transport.flush()
        peer.take()
    assert peer.stream == [bytes(3000)]
    assert 1000 < gate.transport.resent_bytes < 2400
    assert gate.transport.stream_bytes == 3004 + gate.transport.resent_bytes


def test_a_message_of_its_own_that_fits_no_datagram_is_counted(gate: Gate) -> None:
    peer = gate.joined()
    gate.send((BASE, 2, bytes(1164)))
    gate.transport.flush()
    assert len(peer.sock.recv(2048)) == 1200
    gate.send((BASE, 2, bytes(1165)))
    gate.transport.flush()
    assert peer.hears_nothing()
    assert gate.transport.dropped["message_too_long"] == 1


def test_many_connections_at_once() -> None:
    gate = Gate(DatagramConfig(capacity=64, arrivals_max=64, departures_max=16))
    try:
        peers = [gate.peer(session) for session in range(1, 61)]
        for peer in peers:
            peer.out.push(HELLO)
            peer.send()
        inbound = gate.poll()
        assert [opened.session for opened in inbound.opened] == list(range(1, 61))
        assert {conn for conn, _ in inbound.cold} == set(range(BASE, BASE + 60))
        gate.send(*[(BASE + k, 1, bytes([k]) * 2000) for k in range(60)])
        gate.send(*[(BASE + k, 2, bytes([k]) * 100) for k in range(60)])
        gate.transport.flush()
        for k, peer in enumerate(peers):
            peer.wait()
            assert peer.stream == [bytes([k]) * 2000]
            assert peer.messages == [bytes([k]) * 100]
        assert gate.transport.rows["state"][:60].tolist() == [STATE_OPEN] * 60
        assert gate.transport.rows.dtype == PEER
    finally:
        gate.transport.stop()
        for peer in gate.peers:
            peer.close()


def test_chat_in_unusual_forms_is_decoded_as_over_websocket(gate: Gate) -> None:
    peer = gate.joined()
    peer.say(b"\xdc\x00\x03\x03\x07\x08")  # an array with a 16-bit length
    peer.say(encode_client(Ack(9, 9)))
    peer.out.push(encode_client(Say(0, "hi")))
    peer.out.push(encode_client(Bye()))
    peer.send()
    inbound = gate.poll()
    assert inbound.ack_frame.tolist() == [7, 9]
    assert [message for _, message in inbound.cold] == [encode_client(Say(0, "hi")), encode_client(Bye())]


async def test_the_socket_is_emptied_between_polls() -> None:
    gate = Gate(DatagramConfig(capacity=2, arrivals_max=2048))
    try:
        gate.transport.start()
        peer = gate.joined()
        for _ in range(50):
            peer.say(encode_client(Ack(1, 1)))
        await until(lambda: gate.transport.way.received[mmsg.C_DATAGRAMS] == 51)
        assert len(gate.poll().ack_conn) == 50
    finally:
        gate.transport.stop()
        for peer in gate.peers:
            peer.close()


def test_what_the_gateway_seals_opens_with_its_own_key_only(gate: Gate) -> None:
    one, other = gate.joined(1), gate.joined(2)
    gate.send((BASE, 2, b"secret"))
    gate.transport.flush()
    datagram = one.sock.recv(2048)
    assert b"secret" not in datagram
    assert open_sealed(other.down, one.token.number, one.bind, datagram) is None
    assert open_sealed(one.down, one.token.number, other.bind, datagram) is None
    assert open_sealed(one.down, one.token.number, one.bind, datagram) is not None


def calls_of_a_tick(people: int) -> tuple[int, int]:
    """Calls and lines of Python in a steady tick: an INPUT of everybody, something of the stream and values for
    everybody."""
    gate = Gate(DatagramConfig(capacity=people, arrivals_max=1024))
    try:
        for session in range(1, people + 1):
            gate.joined(session)
        counted = Work()
        everybody = np.arange(BASE, BASE + people, dtype=np.int32)
        sizes, kinds = np.full(2 * people, 100, np.int64), np.repeat(np.array([1, 2], np.uint8), people)
        buffer, places = np.zeros(200 * people, np.uint8), np.arange(0, 200 * people, 100)
        for turn in range(3):
            for peer in gate.peers:
                peer.say(encode_client(Input(turn, 1, 1, bytes(8), 0)))
            gate.now_ms += 50
            with Work().counting() if turn < 2 else counted.counting():
                inbound = gate.transport.poll(gate.now_ms)
                gate.transport.send(buffer, np.tile(everybody, 2), places, sizes, kinds)
                gate.transport.flush()
            assert len(inbound.input_conn) == people
            for peer in gate.peers:
                assert peer.wait() == 1
        return counted.calls, counted.lines
    finally:
        gate.transport.stop()
        for peer in gate.peers:
            peer.close()


def test_nothing_but_the_cipher_runs_for_each_connection() -> None:
    few, many = calls_of_a_tick(20), calls_of_a_tick(200)
    assert many[0] - few[0] == 2 * 180, "one call to open each datagram, and one to seal it"
    assert many[1] - few[1] <= 10 * 180


def test_any_plaintext_of_a_client_and_any_bytes_of_a_stranger_raise_nothing(gate: Gate) -> None:
    rng = np.random.default_rng(11)
    peer = gate.joined()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(300):
            noise = rng.bytes(int(rng.integers(0, 1300)))
            head = b"\x31" + peer.token.number.to_bytes(4, "little") if rng.random() < 0.5 else b""
            peer.raw(head + noise, stranger)
            plain = rng.bytes(int(rng.integers(4, 1171)))
            start = bytes(4) + bytes([int(rng.integers(0, 5))]) + int(rng.integers(0, 40)).to_bytes(2, "little")
            peer.raw(peer.sealed(plain=start + plain[:1160] if rng.random() < 0.7 else plain))
            gate.poll(50)
            gate.transport.flush()
            if gate.transport.rows["state"][0] != STATE_OPEN:
                gate.poll(2000)
                peer = gate.joined()
        assert not select.select([stranger], [], [], 0)[0]
    assert gate.transport.rejected["malformed_datagram"] > 10
    assert gate.dropped(Drop.NOT_SEALED) > 10


def test_people_who_come_one_after_the_other_use_one_slot_and_leave_nothing(gate: Gate) -> None:
    numbers = set()
    for turn in range(40):
        peer = gate.joined(session=turn + 1)
        numbers.add(peer.token.number)
        assert peer.token.number & 0xFFFF == 0
        gate.transport.post(conns(BASE), b"of this one alone")
        if turn % 2:
            gate.transport.close(BASE, Close.GOING_AWAY)
        else:
            assert gate.poll(10_001).lost == [Lost(BASE, 1006, "silent")]
        gate.transport.flush()
        gate.poll(1000)
        assert gate.transport.open_count == gate.transport.tokens_waiting == 0
        assert not gate.transport.blocked.any()
        assert b"of this one alone" not in peer.stream
    assert len(numbers) == 40
