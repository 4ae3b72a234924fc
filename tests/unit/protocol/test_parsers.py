"""Whatever bytes come, a parser answers with a value or a ProtocolViolation, and nothing else ever escapes."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.codes import ProtocolViolation
from protocol.frames import Frame, Records, Structure, decode, encode_frame, encode_structure
from protocol.link import RegionDelta, Upward
from protocol.messages import WELCOME_KEYS, decode_client, decode_server, pack
from protocol.values import ValueRecords, Values
from protocol.values import decode as decode_values
from protocol.values import encode as encode_values

PARSERS: list[Callable[[bytes], object]] = [
    decode_client,
    decode_server,
    decode,
    decode_values,
    RegionDelta.decode,
    Upward.decode,
]
INTEGERS = st.integers(-(2**63), 2**64 - 1) | st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63])
PLAIN = st.none() | st.booleans() | INTEGERS | st.floats() | st.text(max_size=20) | st.binary(max_size=80)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=12,
)


def holds(parser: Callable[[bytes], object], data: bytes) -> None:
    with suppress(ProtocolViolation):
        parser(data)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__qualname__)
@given(data=st.binary(max_size=300))
@example(data=b"\x91" * 5000)
@example(data=b"\xdf\xff\xff\xff\xff")
def test_random_bytes(parser: Callable[[bytes], object], data: bytes) -> None:
    holds(parser, data)


@pytest.mark.parametrize(
    "parser", [decode_client, decode_server, decode, decode_values], ids=lambda parser: parser.__qualname__
)
@settings(max_examples=300)
@given(kind=st.integers(0, 30), items=st.lists(VALUES, max_size=10))
@example(kind=20, items=[1, 1, [[float("inf"), "x"]], []])
@example(kind=20, items=[1, 1, [[1, "x"]], [float("nan")]])
@example(kind=20, items=[1, 1, [[-1, "x"]], [2**70 // 2**10]])
@example(kind=16, items=[dict.fromkeys(WELCOME_KEYS, 5)])
def test_messages_of_any_items(parser: Callable[[bytes], object], kind: int, items: list[Any]) -> None:
    holds(parser, msgpack.packb([kind, *items]))


@pytest.mark.parametrize("parser", [RegionDelta.decode, Upward.decode], ids=lambda parser: parser.__qualname__)
@given(data=st.data())
def test_links_of_any_items(parser: Callable[[bytes], object], data: st.DataObject) -> None:
    sample = RegionDelta(0, 1, 1, 1) if parser == RegionDelta.decode else Upward(1, 1, 1)
    items = msgpack.unpackb(sample.encode(), strict_map_key=False)
    for at in data.draw(st.lists(st.integers(0, len(items) - 1), max_size=3)):
        items[at] = data.draw(VALUES)
    holds(parser, msgpack.packb(items))


def apply(records: Records, data: bytes) -> None:
    block = decode(data)
    if isinstance(block, Structure):
        records.apply_structure(block)
        if isinstance(records, ValueRecords):
            records.release()
    elif isinstance(records, ValueRecords):
        values = decode_values(data)
        if values is not None:
            records.heard(values)
    elif isinstance(block, Frame):
        records.apply_frame(block)


NUMBERS = st.lists(st.integers(0, 9), max_size=4).map(lambda n: np.array(n, "<u2"))
TICKS = st.integers(0, 100) | st.sampled_from([2**31, 2**53, 2**62, 2**63])


def _zeros(count: int, dtype: str, width: int = 3) -> Any:
    return np.full((count, width), -1, dtype)


@st.composite
def structures(draw: st.DrawFn, sseq: int) -> bytes:
    enter, leave, state = draw(NUMBERS), draw(NUMBERS), draw(NUMBERS)
    blobs = st.sampled_from([pack({1: 2}), pack({1: None}), b"\x80", b"", b"\xff", pack([1]), pack({"a": 1})])
    e = len(enter)
    corner = draw(st.sampled_from([0, 2**31 - 1, -(2**31) + 1]))
    s = Structure(
        sseq,
        draw(TICKS),
        0,
        (corner, 0, corner),
        np.arange(e, dtype="<u8"),
        enter,
        np.ones(e, "<u2"),
        _zeros(e, "<i2"),
        _zeros(e, "<i2"),
        np.full(e, 255, "u1"),
        np.zeros(e, "u1"),
        [draw(blobs) for _ in range(e)],
        leave,
        state,
        [draw(blobs) for _ in range(len(state))],
    )
    return encode_structure(s)


@st.composite
def frames(draw: st.DrawFn, sseq: int) -> bytes:
    delta, full = draw(NUMBERS), draw(NUMBERS)
    d, f = len(delta), len(full)
    frame = Frame(
        1,
        draw(st.integers(0, 2**32 - 1)),
        draw(TICKS),
        sseq,
        draw(st.none() | st.just(bytes(32))),
        (1, 2, 3) if f else None,
        delta,
        _zeros(d, "i1"),
        _zeros(d, "i1"),
        np.zeros(d, "u1"),
        full,
        _zeros(f, "<i2"),
        _zeros(f, "<i2"),
        np.full(f, 255, "u1"),
        np.zeros(f, "u1"),
    )
    return encode_frame(frame)


@st.composite
def values(draw: st.DrawFn, sseq: int) -> bytes:
    delta, full = draw(NUMBERS), draw(NUMBERS)
    d, f = len(delta), len(full)
    bases = [draw(st.sampled_from([1, 1, 2, 3, 255, 0])) for _ in range(d)]
    message = Values(
        1,
        draw(st.integers(0, 6) | st.sampled_from([2**31, 2**32 - 1])),
        draw(TICKS),
        sseq,
        draw(st.none() | st.just(bytes(32))),
        (1, 2, 3) if f else None,
        delta,
        _zeros(d, "i1"),
        _zeros(d, "i1"),
        np.zeros(d, "u1"),
        full,
        _zeros(f, "<i2"),
        _zeros(f, "<i2"),
        np.full(f, 255, "u1"),
        np.zeros(f, "u1"),
        np.array(bases, "u1"),
    )
    return encode_values(message)


@settings(max_examples=300)
@given(data=st.data())
def test_values_that_break_the_standard(data: st.DataObject) -> None:
    """In any order, with bases that are held or not, before and after the structure that they name."""
    records = ValueRecords()
    for _ in range(data.draw(st.integers(1, 8))):
        sseq = records.sseq + data.draw(st.integers(0, 1))
        message = bytearray(data.draw(structures(sseq) | values(sseq + data.draw(st.integers(-1, 1)) & 0xFFFFFFFF)))
        if data.draw(st.booleans()):
            message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
        with suppress(ProtocolViolation):
            apply(records, bytes(message))
        records.shown(float(records.tick))


@settings(max_examples=300)
@given(data=st.data())
def test_streams_that_break_the_standard(data: st.DataObject) -> None:
    """Numbers that live or do not, blobs of anything, ticks of any size, bytes cut or changed."""
    records = Records()
    for _ in range(data.draw(st.integers(1, 6))):
        sseq = records.sseq + data.draw(st.integers(0, 1))
        message = bytearray(data.draw(structures(sseq) | frames(sseq)))
        if data.draw(st.booleans()):
            message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, 3))
        with suppress(ProtocolViolation):
            apply(records, bytes(message[: len(message) - cut]))
        records.shown(float(records.tick))
