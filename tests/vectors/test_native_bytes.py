"""Any bytes at all to the decoder in C: it answers, and the sanitizers find no fault."""

from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.native import BROKEN, DROPPED, FULL, MALFORMED, OK, WAITS, Link, Native, said
from tests.vectors.test_native import DATAGRAMS, FRAMES, MESSAGES, POSES, WELCOME, welcomed

SEEDS = [
    bytes.fromhex(each["hex"])
    for each in [*FRAMES["stream"]["steps"], *DATAGRAMS["values"], *MESSAGES, *POSES["heard"], *FRAMES["crowds"]]
    if len(each["hex"]) > 2
]
PLAINS = [
    bytes.fromhex("05000000" + f"{k:02x}{len(p) // 2 & 255:02x}00" + p) for k, p in DATAGRAMS["sealed"][4]["parts"]
]

SOME = st.integers(0, 255)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A message of the vectors with some bytes set, put in, taken out, or its end cut off."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = bytes([draw(SOME)])
            case 1:
                data[at:at] = draw(st.binary(max_size=9))
            case 2:
                del data[at : at + draw(st.integers(1, 9))]
            case 3:  # sizes and counts at their ends
                data[at : at + 2] = draw(st.sampled_from([b"\xff\xff", b"\x00\x00", b"\xff\x7f", b"\x00\x80"]))
            case _:
                del data[at:]
    return bytes(data)


def mostly(good: Any, *bad: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([good] * 5 * len(bad) + list(bad))


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """STRUCTURE, FRAME, VALUES, POSES or CROWD with counts, sizes and columns that fit, or almost."""
    kind = draw(st.sampled_from([17, 18, 28, 32, 33]))
    a, b, c = (draw(st.integers(0, 3)) for _ in range(3))
    small = st.sampled_from([0, 1, 2, 3, 4, 127, 128, 255])

    def some(count: int, of: st.SearchStrategy[int] = small) -> bytes:
        return bytes(draw(st.lists(of, min_size=count, max_size=count)))

    def numbers(count: int) -> bytes:
        return b"".join(bytes([draw(mostly(i, 4, 255)), 0]) for i in range(count))

    if kind == 17:
        blob = draw(mostly(b"\x80", b"\x81\1\2", b"\x80\0", b"\x81", b"\x90", b"\xde\0\0"))
        size = len(blob).to_bytes(2, "little")
        columns = some(8 * a) + b"".join(bytes([4 + i, 0]) for i in range(a)) + some(14 * a) + size * a
        columns += numbers(b) + numbers(c) + size * c + some(2 * a) + blob * (a + c)
        counts = [a, b, c, 0]
    elif kind == 32:
        samples = [draw(mostly(1, 0, 2, 3, 9)) for _ in range(a)]
        n = draw(mostly(sum(samples), 0, 4))
        columns = draw(st.binary(min_size=28, max_size=28)) * (n + b)
        columns = columns[: 24 * n + 4 * b] + numbers(a) + numbers(b)
        columns += some(4 * b) + bytes(samples) + bytes(n) + some(1, mostly(7, 1, 3, 0, 255)) * n + bytes(range(2 * n))
        counts = [a, b, n, 0]
    elif kind == 33:
        columns, counts = some(10 * a), [a, draw(mostly(32, 0))]
    else:
        columns = numbers(a) + numbers(b) + some(12 * b + 7 * a)
        columns += some(a, mostly(1, 0, 2, 255)) if kind == 28 else b""
        columns += some(2 * b)
        counts = [a, b]
    columns = draw(mostly(columns, columns + b"more", columns[:-1], columns[:-3], b""))
    counts = draw(mostly(counts, [65_535, *counts[1:]], [counts[0], 65_535, *counts[2:]], [n + 1 for n in counts]))
    block = draw(mostly(b"\0", b"\1\0", b"\7" + bytes(7), b"\xff")) + b"".join(n.to_bytes(2, "little") for n in counts)
    block = draw(mostly(block + columns, block[:3], b""))
    tick = draw(mostly(104, 0, 2**53, 2**53 + 1))
    origin = draw(mostly([2**31 - 40_000, 1, -(2**31) + 40_000], [2**31 - 1, 0, 0], [0, -(2**31), 0], [0, 0], None))
    if kind == 17:
        return bytes(msgpack.packb([17, 2, tick, 9, origin, block]))
    if kind == 32:
        return bytes(msgpack.packb([32, draw(mostly(1, 2)), tick, draw(mostly(1, 0, 2)), block]))
    if kind == 33:
        return bytes(msgpack.packb([33, draw(mostly(1, 2)), tick, block]))
    own = draw(mostly(None, bytes(32), bytes(31)))
    return bytes(msgpack.packb([kind, 1, draw(mostly(2, 1, 3, 300)), tick, 1, own, origin, block]))


def any_message() -> st.SearchStrategy[bytes]:
    """Random bytes, changed vectors, and well-formed msgpack of the right types with anything in it."""
    items = st.one_of(
        st.none(),
        st.integers(-(2**63), 2**64 - 1),
        st.binary(max_size=80),
        st.lists(st.integers(-(2**31), 2**31)),
        st.text(),
    )
    shaped = st.tuples(st.integers(16, 34), st.lists(items, max_size=8)).map(lambda m: msgpack.packb([m[0], *m[1]]))
    return st.one_of(st.binary(max_size=200), changed(), shaped, blocks(), blocks())


@given(messages=st.lists(any_message(), min_size=1, max_size=25), kind=st.sampled_from(["vr", "desktop", "tv"]))
@settings(max_examples=300, deadline=None)
def test_any_messages(native: Native, messages: list[bytes], kind: str) -> None:
    """Into a view that is in the middle of a stream, so that what is changed only a little is applied."""
    if kind == "tv":
        welcomed(native, numbers=9, profile="tv")
        for begun in ([29, 0, "a", 1, "A", 5, 0, ""], [30, 0, 1, 0, 9, 0]):
            assert native.take(msgpack.packb(begun))["result"] == OK
    elif kind == "vr":
        welcomed(native, numbers=3, datagrams=1)
    else:
        welcomed(native, numbers=1024, datagrams=1)
        for step in DATAGRAMS["values"][:8]:
            native.ask("take", step["hex"])
    for data in messages:
        got = native.take(data)
        assert got["result"] in (OK, DROPPED, WAITS, MALFORMED, BROKEN, FULL)
        native.ask("ack", 1)
        native.ask("camera", 200.5)
    native.shown(200.5)
    # A new stream begins as if nothing had been.
    assert native.ask("take", WELCOME)["result"] == OK
    assert not native.shown(200.5)


@given(block=blocks())
@settings(max_examples=400, deadline=None)
def test_any_block_in_a_stream_that_it_fits(native: Native, block: bytes) -> None:
    """Each alone, in a stream with four entities of which the last has no record but its enter's."""
    welcomed(native, numbers=8, datagrams=1)
    entered = b"\4\0" + bytes(6) + b"".join(n.to_bytes(8, "little") for n in range(4)) + b"\0\0\1\0\2\0\3\0"
    entered += bytes(8 + 48) + b"\1\0" * 4 + bytes(8) + b"\x80" * 4
    told = b"\0\0\3\0\0\0\1\0\2\0" + bytes(36 + 6)
    assert native.take(msgpack.packb([17, 1, 100, 1, [0, 0, 0], b"\0" + entered]))["result"] == OK
    assert native.take(msgpack.packb([28, 1, 1, 101, 1, None, [0, 0, 0], b"\0" + told]))["result"] == OK
    assert native.take(block)["result"] in (OK, DROPPED, MALFORMED, BROKEN, FULL)
    native.shown(200.5)


@given(
    data=st.one_of(st.binary(max_size=200), st.sampled_from(PLAINS).flatmap(lambda p: st.binary().map(lambda b: p + b)))
)
@settings(max_examples=80, deadline=None)
def test_any_datagram_and_plaintext(native: Native, data: bytes) -> None:
    link = Link(native)
    assert native.ask("read", said(data), 0)["read"] == 0
    native.ask("read", link.sealed(data), 0)
    assert link.read()["read"] == 1


@given(
    pieces=st.lists(st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 90_000), st.binary(max_size=90)), max_size=30),
    room=st.sampled_from([0, 5, 65_536]),
)
@settings(max_examples=60, deadline=None)
def test_any_stream(native: Native, pieces: list[tuple[int, bytes]], room: int) -> None:
    link = Link(native, room=room)
    for offset, data in pieces:
        assert link.flow(offset, data)["result"] in (DROPPED, BROKEN, FULL)


def test_depth_and_counts_that_lie_cost_no_stack_and_no_time(native: Native) -> None:
    welcomed(native)
    deep = b"\x94\x19\x01\xc0\xa1a" + b"\x91" * 200_000 + b"\xc0"
    assert native.take(b"\x95" + deep[1:])["result"] == OK
    assert native.take(b"\xdd\xff\xff\xff\xff\x10" + b"\xdf\xff\xff\xff\xff" * 1000)["result"] == MALFORMED
    assert native.take(b"\x92\x10\xdf\xff\xff\xff\xff")["result"] == MALFORMED
