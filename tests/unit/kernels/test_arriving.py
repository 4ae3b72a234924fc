"""What is in decrypted datagrams, against the protocol's own reading: any plaintext, also where outputs are full."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import arriving as a
from kernels import hotmessages as h
from kernels.peers import DROPS, GAPS, STATE_CLOSING, STATE_GONE, STATE_OPEN, STATE_TOKEN, Drop, make_peers, make_rows
from protocol.codes import ProtocolViolation
from protocol.datagrams import (
    KIND_MESSAGE,
    KIND_OPENING,
    KIND_STREAM,
    StreamIn,
    parts,
    plaintext,
    stream_bytes,
    stream_part,
)
from protocol.layouts import COMMAND
from protocol.messages import Ack, Bye, Input, Say, decode_client, encode_client, pack
from server.transport.inbound import Inbound, Outputs

BASE = 100
SLOT = 1
BURST = 400.0


Columns = tuple[Any, Any, Any, Any, Any, Any, Any, Any, Any]


class Gateway:
    """The kernel with three connections, one of which speaks. ``events``: what it delivered."""

    def __init__(self) -> None:
        self.rows, self.peers = make_rows(8), make_peers(3)
        self.drops = np.zeros(DROPS, np.int64)
        self.out = Outputs(3, 4096, a.MESSAGES_MAX)
        self.ready, self.opened = np.zeros(3, np.int32), np.zeros(4, np.int32)
        self.peer = self.peers.row[SLOT]
        self.peer["state"], self.peer["tokens"], self.peer["window_bytes"] = STATE_OPEN, BURST, 20_000
        self.sequence = 0
        self.events: list[tuple[str, object]] = []
        self.ends: list[int] = []

    def hear(self, *plain: bytes, sequences: tuple[int, ...] = (), now_ms: int = 0, rate: float = 0.0) -> None:
        out, counts = self.out, self.out.counts
        for i, said in enumerate(plain):
            self.sequence = sequences[i] if sequences else self.sequence + 1
            self.rows.who[i], self.rows.plain_bytes[i] = SLOT, len(said)
            self.rows.plain[i] = 0xA5
            self.rows.plain[i, : len(said)] = np.frombuffer(said, np.uint8)
            self.rows.wire[i, 5:13] = np.frombuffer(self.sequence.to_bytes(8, "little"), np.uint8)
        counts[:] = 0
        self.opened[0] = 0
        done = 0
        while True:
            done = a.take_datagrams(
                done, len(plain), self.rows, self.peers, BASE, now_ms, rate, BURST, 4096, *self._columns(), self.opened,
                self.ready, self.drops, counts,
            )  # fmt: skip
            if done == len(plain):
                break
            out.grow()
        done = 0
        message = np.zeros(4096, np.uint8)
        while True:
            done = a.take_streams(
                done, self.ready, self.peers, BASE, now_ms, rate, BURST, message, *self._columns(), counts
            )
            if done == counts[h.N_READY]:
                break
            out.grow()
        self._note()

    def _columns(self) -> Columns:
        out = self.out
        return (
            out.inputs, out.input_earlier, out.command_counts, out.commands, out.acks, out.ack_earlier, out.cold,
            out.cold_bytes, out.ends,
        )  # fmt: skip

    def _note(self) -> None:
        inbound, refused = Inbound(), []
        self.out.take_cold(
            inbound, self.peers.row["odd"], BASE, lambda conn, violation: refused.append((conn, violation))
        )
        self.out.columns(inbound)
        for k, conn in enumerate(inbound.input_conn.tolist()):
            assert conn == BASE + SLOT
            first = int(inbound.command_first[k])
            words = inbound.commands[first : first + int(inbound.command_count[k])]
            assert words.dtype == COMMAND
            hot = (int(inbound.input_seq[k]), int(inbound.input_frame[k]), int(inbound.input_stamp[k]))
            self.events.append(("input", (*hot, words.tobytes(), int(inbound.input_earlier[k]))))
        for k in range(len(inbound.ack_conn)):
            acked = int(inbound.ack_frame[k]), int(inbound.ack_stamp[k]), int(inbound.ack_earlier[k])
            self.events.append(("ack", acked))
        self.events += [("cold", message) for _, message in inbound.cold]
        self.events += [("refused", conn) for conn, _ in refused]
        self.ends += self.out.ends[1, : self.out.counts[h.N_END]].tolist()


def read(plain: list[bytes]) -> tuple[list[tuple[str, object]], bool]:
    """What the protocol's reader makes of it, and whether the connection ends."""
    loose: list[bytes] = []
    whole: list[bytes] = []
    stream, ended = StreamIn(4096), False
    for said in plain:
        try:
            received, each = parts(said)
        except ProtocolViolation:
            return [], True
        if 0 < received < 2**31:
            return [], True  # nothing was ever sent
        for kind, data in each:
            if kind == KIND_MESSAGE:
                loose.append(data)
            elif kind == KIND_STREAM:
                try:
                    whole += stream.take(*stream_bytes(data))
                except ProtocolViolation as violation:
                    if violation.reason == "stream_window":
                        continue  # ours drops what it cannot hold
                    return [], True
    return [event for message in loose + whole for event in events_of(message)], ended


def events_of(message: bytes) -> list[tuple[str, object]]:
    hot = message[1:2] in (b"\2", b"\3") if message[:1] and 0x90 <= message[0] <= 0x9F else False
    try:
        decoded = decode_client(message)
    except ProtocolViolation:
        return [("refused", BASE + SLOT)] if hot or looks_odd(message) else [("cold", message)]
    if isinstance(decoded, Input):
        return [("input", (decoded.seq, decoded.frame, decoded.stamp_ms, decoded.commands, decoded.earlier or 0))]
    if isinstance(decoded, Ack):
        return [("ack", (decoded.frame, decoded.stamp_ms, decoded.earlier or 0))]
    return [("cold", message)]


def looks_odd(message: bytes) -> bool:
    return len(message) < 2 or message[0] in (0xDC, 0xDD) or message[1] >= 0x80


u32 = st.integers(0, 2**32 - 1)
earlier = st.none() | st.integers(0, 2**64 - 1)
messages = st.one_of(
    st.builds(Input, u32, u32, u32, st.integers(1, 8).map(lambda n: bytes(range(8)) * n), earlier).map(encode_client),
    st.builds(Ack, u32, u32, earlier).map(encode_client),
    st.sampled_from(
        [encode_client(Bye()), encode_client(Say(0, "hi")), pack([3, 1, 2, None]), b"\xdc\x00\x03\x03\1\2"]
    ),
    st.binary(max_size=30),
)
part = st.one_of(
    st.tuples(st.just(KIND_MESSAGE), messages),
    st.tuples(st.just(KIND_OPENING), st.just(b"")),
    st.tuples(st.integers(4, 255), st.binary(max_size=9)),
    st.builds(lambda offset, data: stream_part(offset, data), st.integers(0, 60), st.binary(max_size=60)),
    messages.map(lambda m: stream_part(0, len(m).to_bytes(4, "little") + m)),
)
plains = st.lists(
    st.one_of(
        st.builds(plaintext, st.sampled_from([0, 0, 0, 2**32 - 1]), st.lists(part, max_size=6)).filter(
            lambda said: len(said) <= 1171
        ),
        st.binary(min_size=4, max_size=60),
        st.builds(lambda tail: bytes(4) + tail, st.binary(max_size=60)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=400, deadline=None)
@given(plains)
def test_any_plaintext_is_read_as_the_protocol_reads_it(said: list[bytes]) -> None:
    gateway = Gateway()
    gateway.hear(*said)
    expected, ends = read(said)
    assert bool(gateway.ends) == ends
    assert (gateway.peer["state"] == STATE_GONE) == ends
    if not ends:
        # Order holds within each kind of delivery alone.
        assert sorted(gateway.events, key=repr) == sorted(expected, key=repr)
    assert gateway.peers.row["in_next"][[0, 2]].sum() == 0


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=4, max_size=1171), min_size=1, max_size=8), st.integers(0, 2**64 - 1))
def test_any_bytes_end_in_messages_or_in_one_end(said: list[bytes], sequence: int) -> None:
    gateway = Gateway()
    gateway.hear(*said, sequences=tuple((sequence + k) % 2**64 for k in range(len(said))))
    assert len(gateway.ends) <= 1
    assert gateway.peer["gaps"] <= GAPS


def test_full_outputs_lose_nothing() -> None:
    gateway = Gateway()
    each = plaintext(0, [(KIND_MESSAGE, encode_client(Ack(k, k, k))) for k in range(100)])
    for _ in range(3):
        gateway.hear(*[each] * 1)
    assert gateway.events == [("ack", (k, k, k)) for k in range(100)] * 3


def test_a_stream_of_many_small_messages_is_resumed_where_outputs_were_full() -> None:
    gateway = Gateway()
    message = encode_client(Say(0, "x"))
    stream = (len(message).to_bytes(4, "little") + message) * 350
    pieces = [stream[at : at + 1100] for at in range(0, len(stream), 1100)]
    gateway.hear(*[plaintext(0, [stream_part(1100 * k, piece)]) for k, piece in enumerate(pieces)])
    assert gateway.events == [("cold", message)] * 350
    assert not gateway.ends


def test_the_budget_counts_datagrams_and_messages_of_both_kinds() -> None:
    gateway = Gateway()
    gateway.peer["tokens"] = 3
    empty = plaintext(0, [])
    gateway.hear(empty, empty, empty)
    assert gateway.ends == []
    gateway.hear(empty)
    assert gateway.ends == [a.PeerEnd.TOO_MANY_MESSAGES]
    gateway = Gateway()
    gateway.peer["tokens"] = 2
    for _ in range(2):  # who repeats commands says up to four in one
        gateway.hear(plaintext(0, [(KIND_MESSAGE, encode_client(Ack(1, 1)))] * 4))
    assert gateway.ends == []
    gateway.peer["tokens"] = 2
    gateway.hear(plaintext(0, [(KIND_MESSAGE, encode_client(Ack(1, 1)))] * 6))
    assert gateway.ends == [a.PeerEnd.TOO_MANY_MESSAGES]
    gateway = Gateway()
    gateway.peer["tokens"] = 2
    gateway.hear(plaintext(0, [stream_part(0, b"\1\0\0\0a" * 3)]))
    assert gateway.ends == [a.PeerEnd.TOO_MANY_MESSAGES]


def test_the_budget_refills_with_time() -> None:
    gateway = Gateway()
    gateway.peer["tokens"] = 1
    for now_ms in (0, 1000, 2000):
        gateway.hear(plaintext(0, []), now_ms=now_ms, rate=0.001)
    assert gateway.ends == []


def test_who_is_closed_is_not_heard_but_answered() -> None:
    gateway = Gateway()
    gateway.peer["state"] = STATE_CLOSING
    gateway.hear(plaintext(0, [(KIND_MESSAGE, encode_client(Ack(1, 1)))]))
    assert gateway.events == []
    assert gateway.drops[Drop.ENDED] == 1
    assert gateway.peer["ack_due"] == 1


def test_the_first_of_a_token_opens_it_and_a_repeated_one_does_not_move_the_address() -> None:
    gateway = Gateway()
    gateway.peer["state"] = STATE_TOKEN
    gateway.rows.address[0], gateway.rows.address_bytes[0] = 7, 16
    gateway.hear(plaintext(0, []), sequences=(5,))
    assert gateway.opened[:2].tolist() == [1, SLOT]
    assert gateway.peers.address[SLOT].tolist() == [7] * 28
    for sequence in (5, 4):  # had, and older: one is dropped, the other counts, and none says where its sender is
        gateway.rows.address[0] = 8
        gateway.hear(plaintext(0, []), sequences=(sequence,))
        assert gateway.peers.address[SLOT].tolist() == [7] * 28
    assert gateway.drops[Drop.REPLAYED] == 1
    gateway.rows.address[0] = 9
    gateway.hear(plaintext(0, []), sequences=(6,))
    assert gateway.peers.address[SLOT].tolist() == [9] * 28
