"""ACT and ANSWER: what may be said, what is a violation, and what survives every encoding."""

from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.acting import Act, Answer
from protocol.border import Acted, Commit, decode_item, encode_item
from protocol.codes import Close, ProtocolViolation
from protocol.limits import ACT_DEPTH_MAX, ACT_PAYLOAD_BYTES_MAX
from protocol.messages import SSEQ_OFFSET, decode_client, decode_server, encode_client, encode_server

NUMBERS = st.integers(1, 2**32 - 1)
PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=20) | st.binary(max_size=40)
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
).filter(lambda value: depth(value) <= ACT_DEPTH_MAX)
NAMES = st.text(min_size=1, max_size=16)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@given(number=NUMBERS, name=NAMES, payload=VALUES)
def test_what_is_said_is_heard(number: int, name: str, payload: Any) -> None:
    act = Act(number, name, payload)
    assert decode_client(encode_client(act)) == act
    for item in (Acted(7, 1, number, name, payload, 9, 1), Acted(7, 1, number, name, payload, 9, 1, (40, 44))):
        assert decode_item(encode_item(item)) == item


@given(number=NUMBERS, code=st.integers(0, 255), value=VALUES)
def test_answers_are_numbered_in_place(number: int, code: int, value: Any) -> None:
    answer = Answer(number, code, value, 2**31)
    data = encode_server(answer)
    assert decode_server(data) == answer
    assert data[SSEQ_OFFSET : SSEQ_OFFSET + 4] == (2**31).to_bytes(4, "big")


@settings(max_examples=300)
@given(
    items=st.lists(PLAIN | VALUES | st.dictionaries(PLAIN, PLAIN, max_size=3), max_size=5), tail=st.binary(max_size=9)
)
@example(items=[1, "ring", {1: 2}], tail=b"")
@example(items=[1, "ring", {"a": {b"x": 2}}], tail=b"")
@example(items=[True, "ring", None], tail=b"")
def test_whatever_comes_is_an_act_in_bounds_or_a_violation(items: list[Any], tail: bytes) -> None:
    try:
        act = decode_client(msgpack.packb([5, *items]) + tail)
    except ProtocolViolation:
        return
    assert isinstance(act, Act)
    assert act.number >= 1
    assert 1 <= len(act.name.encode()) <= 64
    assert depth(act.payload) <= ACT_DEPTH_MAX
    assert decode_client(encode_client(act)) is not None


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([0, "ring", None], "wrong_type"),
        ([2**32, "ring", None], "wrong_type"),
        ([1, "", None], "act_name"),
        ([1, "å" * 33, None], "act_name"),
        ([1, b"ring", None], "wrong_type"),
        ([1, "ring"], "malformed"),
        ([1, "ring", {1: "a"}], "act_value"),
        ([1, "ring", msgpack.ExtType(5, b"")], "act_value"),
        ([1, "ring", msgpack.ExtType(5, b"x")], "malformed"),
        ([1, "ring", nested(ACT_DEPTH_MAX + 1)], "act_value"),
        ([1, "ring", "x" * ACT_PAYLOAD_BYTES_MAX], "oversized"),
    ],
)
def test_what_is_wrong_is_named(items: list[Any], reason: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        decode_client(msgpack.packb([5, *items]))
    assert caught.value.reason == reason
    assert caught.value.code in (Close.PROTOCOL, Close.TOO_LARGE)


def test_the_largest_act_is_one_message() -> None:
    act = Act(2**32 - 1, "x" * 64, b"y" * (ACT_PAYLOAD_BYTES_MAX - 3))
    assert decode_client(encode_client(act)) == act
    assert decode_client(encode_client(Act(1, "deep", nested(ACT_DEPTH_MAX)))) is not None


def test_a_commit_carries_answers() -> None:
    commit = Commit(1, 0, [], b"", [], [], [(7, [(1, b"\x92\x00\xc0"), (2, b"\x92\x01\xa1x")])])
    assert decode_item(encode_item(commit)) == commit
