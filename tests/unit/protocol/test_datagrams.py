"""Datagrams against plain twins: the replay window, streams over a network that loses and reorders, any bytes."""

from contextlib import suppress

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol import datagrams as d
from protocol.codes import ProtocolViolation
from protocol.limits import SERVER_MESSAGE_BYTES_MAX, STREAM_MESSAGE_BYTES_MAX

KEY = ChaCha20Poly1305(bytes(32))
BIND = d.binding(5, 7, "127.0.0.1:9")
LAST = 2**64 - 1
SEQUENCES = st.integers(0, 40) | st.integers(0, 3000) | st.integers(LAST - 3000, LAST) | st.integers(0, LAST)


@given(st.lists(SEQUENCES, max_size=60))
@example([LAST - 1023, LAST, LAST - 1023, LAST - 1022, LAST - 1024])
@example([1, LAST, 1])
def test_a_replay_window_is_what_a_set_would_be(sequences: list[int]) -> None:
    """Also at the top of the range, where a sequence plus the size of the window does not fit into 64 bits:
    implementations of netcode 1.02 that added the two took new ones for old there (its IMPLEMENTERS.md, 1)."""
    window, had = d.ReplayWindow(), set[int]()
    for sequence in sequences:
        newest = max(had, default=0)
        fresh = sequence > 0 and sequence not in had and sequence > newest - d.REPLAY_WINDOW
        assert window.admit(sequence) == fresh
        if fresh:
            had.add(sequence)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_datagram(data: bytes) -> None:
    assert d.open_sealed(KEY, 7, BIND, data) is None
    assert d.number_of(data) in (None, int.from_bytes(data[1:5], "little"))


@given(st.binary(max_size=60), st.integers(1, LAST))
def test_what_was_sealed_opens(plain: bytes, sequence: int) -> None:
    data = d.seal(KEY, 7, sequence, BIND, bytes(4) + plain)
    assert d.number_of(data) == 7
    assert d.open_sealed(KEY, 7, BIND, data) == (sequence, bytes(4) + plain)


@given(st.binary(min_size=4, max_size=80), st.data())
def test_one_changed_bit_is_enough(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(d.seal(KEY, 7, 3, BIND, plain))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert d.open_sealed(KEY, 7, BIND, bytes(sealed)) is None


def test_no_sequence_is_left_after_the_last_one() -> None:
    """It does not wrap: a nonce of the beginning would be made again under the same key. (That keys do not outlive the
    process that made them is the other half: ``test_no_key_is_used_by_two_links``.)"""
    d.seal(KEY, 7, LAST, BIND, bytes(4))
    for sequence in (LAST + 1, 0, -1):
        with pytest.raises(ValueError, match="end the connection"):
            d.seal(KEY, 7, sequence, BIND, bytes(4))
    with pytest.raises(ValueError, match="do not fit"):
        d.seal(KEY, 7, 1, BIND, bytes(d.PLAIN_BYTES_MAX + 1))


@given(st.lists(SEQUENCES.filter(bool), unique=True, max_size=30))
def test_every_sequence_has_a_nonce_of_its_own(sequences: list[int]) -> None:
    assert len({d.nonce(sequence) for sequence in sequences}) == len(sequences)


@given(st.binary(max_size=120))
@example(bytes(4) + b"\x01\x04\x00")
@example(bytes(4) + b"\x01\x03\x00abc")
def test_any_plaintext_is_read_or_a_violation(plain: bytes) -> None:
    with suppress(ProtocolViolation):
        received, parts = d.parts(plain)
        assert d.plaintext(received, parts)[:4] == plain[:4]
        for kind, data in parts:
            if kind == d.KIND_STREAM:
                assert d.stream_part(*d.stream_bytes(data)) == (kind, data)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.binary(min_size=4, max_size=50)), max_size=8), st.integers(0, 2**32 - 1)
)
def test_parts_come_out_as_they_went_in(parts: list[tuple[int, bytes]], received: int) -> None:
    assert d.parts(d.plaintext(received, parts)) == (received, parts)


PIECES = st.tuples(st.integers(0, 300) | st.sampled_from([65_535, 65_536, 2**31, 2**32 - 1]), st.binary(max_size=40))


@given(st.lists(PIECES, max_size=60))
def test_any_pieces_of_a_stream(pieces: list[tuple[int, bytes]]) -> None:
    stream, before = d.StreamIn(STREAM_MESSAGE_BYTES_MAX), 0
    for offset, data in pieces:
        with suppress(ProtocolViolation):
            stream.take(offset, data)
        assert stream.received >= before
        before = stream.received


def test_a_stream_holds_a_bounded_number_of_pieces() -> None:
    stream = d.StreamIn(STREAM_MESSAGE_BYTES_MAX)
    whole = (600).to_bytes(4, "little") + bytes(600)
    for offset in range(4, len(whole), 2):  # each one a gap
        assert stream.take(offset, whole[offset : offset + 1]) == []
    assert stream.received == 0
    assert stream.take(0, whole[:4]) == []
    for offset in range(5, len(whole), 2):  # what closes a gap is always taken
        stream.take(offset, whole[offset : offset + 1])
    assert stream.received == 4 + 2 * d.GAPS_MAX, "those beyond were as good as lost"
    assert stream.take(stream.received, whole[stream.received :]) == [bytes(600)]


def test_the_largest_message_and_one_more_byte() -> None:
    most = STREAM_MESSAGE_BYTES_MAX
    out, into = d.StreamOut(most), d.StreamIn(most)
    out.push(bytes(most))
    with pytest.raises(ValueError, match="allowed"):
        out.push(bytes(most + 1))
    got: list[bytes] = []
    while not got:
        piece = out.take(0.0, 1000)
        if piece is None:  # the window is full, four bytes before the end
            assert into.received == d.STREAM_WINDOW_BYTES
            out.acknowledged(into.received, 1.0)
        else:
            got = into.take(*piece)
    assert got == [bytes(most)]
    with pytest.raises(ProtocolViolation, match="allowed"):
        into.take(into.received, (most + 1).to_bytes(4, "little"))


def test_an_acknowledgement_of_what_was_not_said_is_a_violation_and_an_old_one_is_nothing() -> None:
    out = d.StreamOut()
    out.push(b"hello")
    with pytest.raises(ProtocolViolation):
        out.acknowledged(1, 0.0)
    assert out.take(0.0, 100) == (0, b"\5\0\0\0hello")
    assert out.take(0.0, 100) is None
    out.acknowledged(9, 10.0)
    out.acknowledged(4, 11.0)
    assert out.waiting_bytes == 0
    assert out.next_ms == float("inf")


def deliver(out: d.StreamOut, into: d.StreamIn, count: int, rng: np.random.Generator, loss: float) -> list[bytes]:
    """Run a stream over a network with loss, doubles and reordering both ways, until ``count`` messages came."""
    got: list[bytes] = []
    up: list[tuple[float, int, bytes]] = []
    down: list[tuple[float, int]] = []
    now_ms = 0.0
    while len(got) < count or out.waiting_bytes:
        now_ms += 10.0
        assert now_ms < 120_000.0, "the stream stands still"
        while (piece := out.take(now_ms, int(rng.integers(1, d.STREAM_BYTES_MAX + 1)))) is not None:
            times = 0 if rng.random() < loss else int(rng.integers(1, 3))
            up += [(now_ms + float(rng.uniform(20.0, 120.0)), piece[0] % 2**32, piece[1]) for _ in range(times)]
        for _, offset, data in (each for each in up if each[0] <= now_ms):
            got += into.take(offset, data)
        up = [each for each in up if each[0] > now_ms]
        if rng.random() >= loss:
            down.append((now_ms + float(rng.uniform(20.0, 120.0)), into.received % 2**32))
        for _, received in (each for each in down if each[0] <= now_ms):
            out.acknowledged(received, now_ms)
        down = [each for each in down if each[0] > now_ms]
    return got


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), loss=st.sampled_from([0.0, 0.05, 0.3]))
def test_streams_deliver_everything_once_and_in_order(seed: int, loss: float) -> None:
    rng = np.random.default_rng(seed)
    out, into = d.StreamOut(SERVER_MESSAGE_BYTES_MAX), d.StreamIn(SERVER_MESSAGE_BYTES_MAX)
    said = [rng.bytes(int(size)) for size in rng.choice([0, 1, 100, 5000, 70_000], 6)]
    for message in said:
        out.push(message)
    assert deliver(out, into, len(said), rng, loss) == said


def test_offsets_pass_the_end_of_32_bits() -> None:
    """Sixty-five thousand windows would take a minute: both ends are put shortly before it."""
    rng = np.random.default_rng(1)
    first = 2**32 - 90_000
    out, into = d.StreamOut(SERVER_MESSAGE_BYTES_MAX, first), d.StreamIn(SERVER_MESSAGE_BYTES_MAX, first)
    said = [rng.bytes(50_000) for _ in range(4)]
    for message in said:
        out.push(message)
    assert deliver(out, into, len(said), rng, 0.1) == said
    assert into.received > 2**32


def test_bindings_differ_by_each_of_their_parts() -> None:
    all_of = [(5, 7, "a:1"), (6, 7, "a:1"), (5, 8, "a:1"), (5, 7, "a:2"), (5, 7, "ä:1")]
    assert len({d.binding(*each) for each in all_of}) == len(all_of)
