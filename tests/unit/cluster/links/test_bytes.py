"""Frames and handshake: any bytes end in LinkBroken or in nothing, and nothing of one link serves another."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.links.frames import (
    FRAME_BYTES_MAX,
    HEADER,
    HELLO_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    MORE,
    LinkBroken,
    Reader,
    Writer,
    _mac,
)
from cluster.links.handshake import Handshake, Self
from cluster.links.outgoing import Outgoing
from protocol.carried import Kind

KEY = b"k" * 32
A, B = Self("w", "a", 1), Self("w", "b", 2)


def _nonce(value: int) -> bytes:
    return bytes([value]) * 32


@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_end_in_link_broken_or_nothing(data: bytes, believed: bool) -> None:
    reader = Reader()
    if believed:
        reader.believe(KEY)
    with contextlib.suppress(LinkBroken):
        list(reader.feed(data))
    for expected in ("b", None):
        with contextlib.suppress(LinkBroken):
            Handshake(A, KEY, _nonce(1), expected).receive(data)


@given(st.lists(st.tuples(st.sampled_from(list(Kind)[1:]), st.binary(max_size=50))), st.integers(1, 30))
def test_frames_arrive_whole_however_they_are_cut(messages: list[tuple[Kind, bytes]], size: int) -> None:
    writer, reader = Writer(KEY), Reader()
    reader.believe(KEY)
    data = b"".join(b"".join(writer.frame(kind, payload)) for kind, payload in messages)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [message for piece in pieces for message in reader.feed(piece)] == messages


PIECES = st.tuples(
    st.integers(0, 10),
    st.sampled_from([0, 0, 0, MORE, MORE, 2]),
    st.binary(max_size=40),
    st.sampled_from([0, 0, 0, -1, 1]),
)
"""A frame's kind, flags and payload, and by how much its length lies."""


def _joined(pieces: list[tuple[int, int, bytes, int]]) -> list[tuple[Kind, bytes]] | None:
    """What frames with true lengths say; None if the link must break."""
    whole: list[tuple[Kind, bytes]] = []
    parts: dict[Kind, bytes] = {}
    for code, flags, payload, _ in pieces:
        if code not in list(Kind) or flags == 2:
            return None
        kind = Kind(code)
        if kind <= Kind.HEARTBEAT and flags:
            return None
        parts[kind] = parts.get(kind, b"") + payload
        if not flags:
            whole.append((kind, parts.pop(kind)))
    return whole


@given(st.lists(PIECES, max_size=12), st.booleans(), st.integers(1, 60))
def test_frames_of_any_kind_flags_and_length_are_joined_or_break_the_link(
    pieces: list[tuple[int, int, bytes, int]], tls: bool, size: int
) -> None:
    reader, data = Reader(), b""
    reader.believe(b"" if tls else KEY)
    for seq, (code, flags, payload, lie) in enumerate(pieces):
        header = HEADER.pack(max(0, len(payload) + lie), code, flags)
        data += header + payload + (b"" if tls else _mac(KEY, seq, header, payload))
    came: list[tuple[Kind, bytes]] = []
    broken = False
    try:
        for at in range(0, len(data), size):
            came += reader.feed(data[at : at + size])
    except LinkBroken:
        broken = True
    if not any(lie for *_, lie in pieces):
        expected = _joined(pieces)
        assert broken == (expected is None)
        assert expected is None or came == expected
    assert sum(len(message) for _, message in came) <= len(data)


@given(st.integers(0, 200))
def test_a_changed_or_repeated_frame_breaks_the_link(at: int) -> None:
    data = bytearray(b"".join(Writer(KEY).frame(Kind.DELTA, b"x" * 40)))
    twice, changed = Reader(), Reader()
    twice.believe(KEY)
    changed.believe(KEY)
    with pytest.raises(LinkBroken):
        list(twice.feed(bytes(data) * 2))
    data[5 + at % (len(data) - 5)] ^= 1  # beyond the length and kind: those may wait for more, or be refused as such
    with pytest.raises(LinkBroken):
        list(changed.feed(bytes(data)))


def test_a_stranger_may_not_announce_a_large_frame() -> None:
    with pytest.raises(LinkBroken):
        list(Reader().feed(HEADER.pack(HELLO_BYTES_MAX + 1, Kind.HELLO, 0)))


def test_pieces_of_all_kinds_together_are_bounded() -> None:
    reader = Reader()
    reader.believe()
    piece = bytes(FRAME_BYTES_MAX)
    kinds = [Kind.DELTA, Kind.MOVE] * (MESSAGE_BYTES_MAX // FRAME_BYTES_MAX // 2)
    for kind in kinds:
        assert list(reader.feed(HEADER.pack(len(piece), kind, MORE) + piece)) == []
    with pytest.raises(LinkBroken, match="in pieces beyond"):
        list(reader.feed(HEADER.pack(1, Kind.MOVE, MORE) + b"x"))


def test_both_sides_prove_themselves_and_a_replay_proves_nothing() -> None:
    dialer, listener = Handshake(A, KEY, _nonce(1), "b"), Handshake(B, KEY, _nonce(2), None)
    hello = dialer.begin()
    assert hello
    answer, _ = listener.receive(hello)
    assert answer
    proof, at_dialer = dialer.receive(answer)
    assert proof
    _, at_listener = listener.receive(proof)
    assert at_dialer
    assert at_listener
    assert (at_dialer.name, at_dialer.generation, at_listener.name) == ("b", 2, "a")
    assert (at_dialer.send_key, at_dialer.receive_key) == (at_listener.receive_key, at_listener.send_key)
    again = Handshake(B, KEY, _nonce(3), None)
    again.receive(hello)
    with pytest.raises(LinkBroken, match="wrong proof"):
        again.receive(proof)


def _greeted(of_a: tuple[int, int], of_b: tuple[int, int]) -> tuple[int, int]:
    """The versions that the dialer and the listener find."""
    dialer = Handshake(replace(A, versions=of_a), KEY, _nonce(1), "b")
    listener = Handshake(replace(B, versions=of_b), KEY, _nonce(2), None)
    answer, _ = listener.receive(dialer.begin() or b"")
    proof, at_dialer = dialer.receive(answer or b"")
    _, at_listener = listener.receive(proof or b"")
    assert at_dialer
    assert at_listener
    return at_dialer.version, at_listener.version


@given(*[st.tuples(st.integers(1, 9), st.integers(0, 3)) for _ in "ab"])
def test_a_link_speaks_the_newest_version_that_both_know_or_none(a: tuple[int, int], b: tuple[int, int]) -> None:
    of_a, of_b = (a[0], a[0] + a[1]), (b[0], b[0] + b[1])
    both = set(range(of_a[0], of_a[1] + 1)) & set(range(of_b[0], of_b[1] + 1))
    if both:
        assert _greeted(of_a, of_b) == (max(both), max(both))
    else:
        with pytest.raises(LinkBroken, match="go from one release to the next"):
            _greeted(of_a, of_b)


def test_nobody_on_the_path_makes_a_link_speak_an_older_version() -> None:
    newer, older = replace(A, versions=(1, 2)), replace(A, versions=(1, 1))
    dialer = Handshake(newer, KEY, _nonce(1), "b")
    listener = Handshake(replace(B, versions=(1, 2)), KEY, _nonce(2), None)
    answer, _ = listener.receive(Handshake(older, KEY, _nonce(1), "b").begin() or b"")
    with pytest.raises(LinkBroken, match="wrong proof"):
        dialer.receive(answer or b"")


def test_values_are_replaced_and_dropped_and_items_are_not() -> None:
    queue = Outgoing(100)
    assert queue.put(Kind.BORDER, None, b"i" * 40, droppable=False)
    assert queue.put(Kind.DELTA, 1, b"o" * 40, droppable=True)
    assert queue.put(Kind.DELTA, 1, b"n" * 40, droppable=True)
    assert queue.put(Kind.DELTA, 2, b"m" * 40, droppable=True)
    assert (queue.tally.replaced, queue.tally.dropped, queue.bytes) == ({Kind.DELTA: 1}, {Kind.DELTA: 1}, 80)
    assert not queue.put(Kind.BORDER, None, b"i" * 90, droppable=False)
    assert [bytes(data[:1]) for _, data, _ in queue.take(1000)] == [b"i", b"i"]
