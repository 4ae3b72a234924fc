"""Datagrams in C (STANDARD.md §9.2, §9.3): sequences, and the reliable streams both ways over a network that loses,
doubles and reorders. The other end is made of a cipher alone (``native.Link``)."""

import struct
from itertools import pairwise
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.native import DROPPED, FULL, OK, STREAM_MESSAGE_BYTES, U32, Link, Native, said
from tests.vectors.test_native import WELCOME


@given(
    text=st.lists(st.binary(max_size=60), max_size=8),
    order=st.randoms(use_true_random=False),
    begin=st.sampled_from([0, U32 - 20]),
)
@settings(max_examples=60, deadline=None)
def test_a_reliable_stream_arrives_whole(native: Native, text: list[bytes], order: Any, begin: int) -> None:
    """Pieces of all sizes, in any order, some twice, over the end of 2³²."""
    stream = b"".join(struct.pack("<I", len(each)) + each for each in text)
    cuts = sorted({0, len(stream), *(order.randint(0, len(stream)) for _ in range(12))})
    pieces = [(a, stream[a : b + order.randint(0, 9)]) for a, b in pairwise(cuts)]
    pieces += order.sample(pieces, len(pieces) // 2)
    order.shuffle(pieces)
    link = Link(native, received=begin)
    got: list[str] = []
    have: set[int] = set()
    for at, piece in pieces:
        answer = link.flow(begin + at, piece)
        have |= set(range(at, at + len(piece)))
        whole = next(i for i in range(len(stream) + 1) if i not in have)
        assert (answer["result"], answer["received"]) == (DROPPED, (begin + whole) % U32)
        got += [m["hex"] for m in answer["messages"][1:]]
    assert got == [each.hex() for each in text]


def test_a_reliable_stream_longer_than_its_memory(native: Native) -> None:
    """Three times through it, with pieces in pairs that are the wrong way round, and messages up to the longest."""
    sizes = [STREAM_MESSAGE_BYTES, 0, 9, 50_000, 1, 65_000, 3] * 2
    messages = [bytes([i]) * size for i, size in enumerate(sizes)]
    stream = b"".join(struct.pack("<I", len(each)) + each for each in messages)
    pieces = [(at, stream[at : at + 1171]) for at in range(0, len(stream), 1171)]
    link = Link(native, received=U32 - 1000)
    got: list[str] = []
    for pair in zip(pieces[1::2], pieces[::2], strict=False):
        for at, piece in pair:
            answer = link.flow(U32 - 1000 + at, piece)
            assert answer["result"] == DROPPED
            got += [m["hex"] for m in answer["messages"][1:]]
    if len(pieces) % 2:
        at, piece = pieces[-1]
        got += [m["hex"] for m in link.flow(U32 - 1000 + at, piece)["messages"][1:]]
    assert got == [each.hex() for each in messages]


@given(steps=st.lists(st.integers(-400, 40), max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_sequence_is_taken_once(native: Native, steps: list[int]) -> None:
    link = Link(native)
    newest, had = 0, set[int]()
    for step in steps:
        sequence = max(0, newest + step)
        expected = sequence > 0 and sequence not in had and newest - sequence < 256
        assert (native.ask("read", link.sealed(bytes(4), sequence), 0)["read"] == 1) == expected
        if expected:
            had.add(sequence)
            newest = max(newest, sequence)


def test_a_message_longer_than_its_memory_ends_the_connection(native: Native) -> None:
    for size, room, result in ((9, 8, FULL), (2**20 + 1, 2**20, -2), (2**32 - 1, 8, -2)):
        link = Link(native, room=room)
        for _ in range(3):  # and nothing is written beyond it whatever else comes
            assert link.flow(0, struct.pack("<I", size) + bytes(99))["result"] == result
    assert [m["hex"] for m in Link(native, room=8).flow(0, b"\x08\0\0\0" + bytes(8))["messages"][1:]] == ["00" * 8]


@given(
    text=st.lists(st.binary(min_size=1, max_size=900), max_size=12),
    dice=st.randoms(use_true_random=False),
    begin=st.sampled_from([0, U32 - 500]),
)
@settings(max_examples=40, deadline=None)
def test_what_is_said_arrives_in_order_once(native: Native, text: list[bytes], dice: Any, begin: int) -> None:
    """Datagrams and acknowledgements are lost and come late; what was not acknowledged is said again."""
    link, stream, received, now_ms = Link(native, sent=begin), bytearray(), 0, 0
    late: list[str] = []
    said_all = b"".join(struct.pack("<I", len(each)) + each for each in text)
    for each in text:
        assert native.ask("say", said(each))["result"] == 1
    for turn in range(400):
        now_ms += 50
        late.append(native.ask("write", "-", now_ms)["hex"])
        if turn < 60 and dice.random() < 0.5:
            late.pop(dice.randrange(len(late)))
        for datagram in late if dice.random() < 0.5 else []:
            for kind, data in link.opened(datagram)[1]:
                at = (int.from_bytes(data[:4], "little") - begin) % U32 if kind == 1 else 0
                if kind == 1 and at <= len(stream):
                    stream[at : at + len(data) - 4] = data[4:]
            late = []
        received = len(stream)
        if turn >= 60 or dice.random() < 0.5:
            acked = link.read(received=(begin + received) % U32, now_ms=now_ms)["acked"]
            assert acked == (begin + received) % U32
        if received == len(said_all) and turn >= 60:
            break
    assert bytes(stream) == said_all
    assert link.opened(native.ask("write", "-", now_ms + 10_000)["hex"]) == (0, [])  # nothing is said again


def test_acknowledgements_of_what_was_not_said_are_ignored(native: Native) -> None:
    link = Link(native, sent=100)
    native.ask("say", said(bytes(16)))
    for received in (121, 99, 2**31 + 100, 0):
        assert link.read(received=received)["acked"] == 100
    assert link.read(received=120)["acked"] == 120


def test_no_more_than_the_window_is_said(native: Native) -> None:
    link = Link(native)
    results = [native.ask("say", said(bytes(4092)))["result"] for _ in range(17)]
    assert results == [1] * 16 + [0]
    assert native.ask("say", said(bytes(4097)))["result"] == 0
    sizes = 0
    while (got := native.ask("write", said(b"\x93\x03\0\0"), 1))["due"]:
        assert len(got["hex"]) // 2 <= 1200
        sizes += 1
    assert sizes == 56  # 65,536 bytes in full datagrams
    assert link.read(received=4096)["acked"] == 4096
    assert native.ask("say", said(bytes(4092)))["result"] == 1
    assert native.ask("write", said(bytes(1165)), 1)["hex"] is None  # longer than a datagram
    assert native.ask("write", said(bytes(1164)), 1)["hex"] is not None


def test_what_comes_is_given_to_the_view(native: Native) -> None:
    """WELCOME on the stream and VALUES beside it, as an engine's loop takes them."""
    link = Link(native)
    native.ask("view", 4, 1)
    native.ask("apply", 1)
    welcome = bytes.fromhex(WELCOME)
    stream = bytes(4) + struct.pack("<I", len(welcome)) + welcome
    values = msgpack.packb([28, 1, 1, 5, 0, None, None, None])
    got = link.read((200, b"of a later version"), (1, stream), (2, values), (3, b""))
    native.ask("apply", 0)
    assert [(m["type"], m["result"]) for m in got["messages"][1:]] == [(16, OK), (28, OK)]
    assert bytes.fromhex(native.ask("ack", 5)["hex"]) == msgpack.packb([3, 1, 5, 0])
