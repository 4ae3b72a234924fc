"""Any bytes at all to the decoder in C: it answers, and the sanitizers find no fault."""

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.native import BROKEN, DROPPED, FULL, MALFORMED, OK, WAITS, Native, said
from tests.vectors.test_native import CLIENT_MESSAGE_BYTES, DATAGRAMS, FRAMES, MESSAGES, WELCOME, welcomed

SEEDS = [
    bytes.fromhex(each["hex"])
    for each in [*FRAMES["stream"]["steps"], *DATAGRAMS["values"], *MESSAGES]
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


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """STRUCTURE, FRAME or VALUES with counts, sizes and columns that fit, or almost."""
    kind = draw(st.sampled_from([17, 18, 28]))
    small = st.sampled_from([0, 1, 2, 3, 4, 127, 128, 255])
    many = st.integers(0, 3) | st.sampled_from([255, 65_535])
    a, b, c = draw(many), draw(many), draw(many)
    if kind == 17:
        sizes = [(24 * a, small), (2 * a, st.just(0)), (2 * b + 2 * c, small), (2 * c, st.just(0)), (2 * a, small)]
        counts = [a, b, c, 0]
    else:
        sizes = [((9 if kind == 18 else 10) * a + 16 * b, small)]
        counts = [a, b]
    if max(counts) > 3:
        sizes = [(draw(st.integers(0, 40)), small)]
    columns = bytearray(b"".join(bytes(draw(st.lists(of, min_size=n, max_size=n))) for n, of in sizes))
    if kind == 17 and max(counts) <= 3:  # each blob a map without keys
        columns[24 * a : 26 * a : 2] = b"\1" * a
        at = 26 * a + 2 * b + 2 * c
        columns[at : at + 2 * c : 2] = b"\1" * c
        columns += b"\x80" * (a + c)
    else:  # numbers below 256, so that some are there
        columns[1 : 2 * (a + b) : 2] = bytes(len(columns[1 : 2 * (a + b) : 2]))
    match draw(st.integers(0, 3)):
        case 0:
            columns += draw(st.binary(min_size=1, max_size=3))
        case 1:
            del columns[-draw(st.integers(1, 3)) :]
        case _:
            pass
    pads = draw(st.sampled_from([b"\0", b"\1\0", b"\7" + bytes(7), b"\xff"]))
    block = pads + b"".join(n.to_bytes(2, "little") for n in counts) + bytes(columns)
    sseq, tick = draw(st.integers(0, 5)), draw(st.sampled_from([0, 104, 200, 2**53, 2**53 + 1]))
    origin = draw(st.sampled_from([[0, 0, 0], [2**31 - 40_000, 1, -(2**31) + 40_000], [2**31 - 1, 0, 0], None]))
    if kind == 17:
        return bytes(msgpack.packb([17, sseq, tick, 9, origin, block]))
    own = draw(st.sampled_from([None, bytes(32), bytes(31)]))
    return bytes(msgpack.packb([kind, 1, draw(st.integers(0, 300)), tick, sseq, own, origin, block]))


def any_message() -> st.SearchStrategy[bytes]:
    """Random bytes, changed vectors, and well-formed msgpack of the right types with anything in it."""
    items = st.one_of(
        st.none(),
        st.integers(-(2**63), 2**64 - 1),
        st.binary(max_size=80),
        st.lists(st.integers(-(2**31), 2**31)),
        st.text(),
    )
    shaped = st.tuples(st.integers(16, 28), st.lists(items, max_size=8)).map(lambda m: msgpack.packb([m[0], *m[1]]))
    return st.one_of(st.binary(max_size=200), changed(), shaped, blocks(), blocks())


@given(messages=st.lists(any_message(), min_size=1, max_size=25), small=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_messages(native: Native, messages: list[bytes], small: bool) -> None:
    """Into a view that is in the middle of a stream, so that what is changed only a little is applied."""
    if small:
        welcomed(native, numbers=3, records=2, waiting=1, datagrams=1)
    else:
        welcomed(native, numbers=1024, records=64, waiting=8, datagrams=1)
        for step in DATAGRAMS["values"][:8]:
            native.ask("take", step["hex"])
    for data in messages:
        got = native.take(data)
        assert got["result"] in (OK, DROPPED, WAITS, MALFORMED, BROKEN, FULL)
        native.ask("ack", 1)
    native.shown(200.5)
    # A new stream begins as if nothing had been.
    assert native.ask("take", WELCOME)["result"] == OK
    assert not native.shown(200.5)


@given(
    data=st.one_of(st.binary(max_size=200), st.sampled_from(PLAINS).flatmap(lambda p: st.binary().map(lambda b: p + b)))
)
@settings(max_examples=80, deadline=None)
def test_any_datagram_and_plaintext(native: Native, data: bytes) -> None:
    native.ask("datagram", said(data))
    native.ask("plain", said(data))


@given(
    pieces=st.lists(st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 90_000), st.binary(max_size=90)), max_size=30)
)
@settings(max_examples=60, deadline=None)
def test_any_stream(native: Native, pieces: list[tuple[int, bytes]]) -> None:
    native.ask("new", CLIENT_MESSAGE_BYTES, 0)
    for offset, data in pieces:
        assert native.ask("flow", offset, said(data))["result"] in (OK, DROPPED, BROKEN, FULL)


def test_depth_and_counts_that_lie_cost_no_stack_and_no_time(native: Native) -> None:
    welcomed(native)
    deep = b"\x94\x19\x01\xc0\xa1a" + b"\x91" * 200_000 + b"\xc0"
    assert native.take(b"\x95" + deep[1:])["result"] == OK
    assert native.take(b"\xdd\xff\xff\xff\xff\x10" + b"\xdf\xff\xff\xff\xff" * 1000)["result"] == MALFORMED
    assert native.take(b"\x92\x10\xdf\xff\xff\xff\xff")["result"] == MALFORMED
