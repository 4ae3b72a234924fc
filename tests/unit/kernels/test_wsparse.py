"""The frame parser against its slow twin: any bytes, cut anywhere."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import hotmessages as h
from kernels import wsparse as w
from protocol.codes import ProtocolViolation
from protocol.layouts import COMMAND
from protocol.messages import Ack, Bye, Hello, Input, Say, decode_client, encode_client, pack
from tests.reference.wsframe import SlowParser

BYTES_MAX = 300
AREA = 2 * BYTES_MAX + 200
BURST = 20


class Fast:
    """The kernel with one connection, and its outputs turned into the twin's events."""

    def __init__(self, columns: int = 64) -> None:
        self.carriers = np.zeros(3, w.CARRIER)
        self.rx = np.zeros((3, AREA), np.uint8)
        self.tx = np.zeros((3, 4096), np.uint8)
        self.columns = columns
        self.carriers["state"][1] = w.STATE_OPEN
        self.carriers["tokens"][1] = BURST
        self.events: list[tuple[str, object]] = []

    def feed(self, data: bytes, now_ms: int = 0, tokens_per_ms: float = 0.0) -> None:
        while data and self.carriers["state"][1] == w.STATE_OPEN:
            fill = int(self.carriers["rx_fill"][1])
            piece, data = data[: AREA - fill], data[AREA - fill :]
            assert piece, "the receive area is stuck"
            self.rx[1, fill : fill + len(piece)] = np.frombuffer(piece, np.uint8)
            self.carriers["rx_fill"][1] = fill + len(piece)
            self._parse(now_ms, tokens_per_ms)

    def _parse(self, now_ms: int, tokens_per_ms: float) -> None:
        counts = np.zeros(h.COUNTS, np.int64)
        counts[h.N_READY] = 1
        ready = np.array([1, 0, 0], np.int32)
        done = 0
        while done < 1:
            n = self.columns
            counts[: h.N_READY] = 0
            inputs, acks = np.zeros((5, n), np.uint32), np.zeros((3, n), np.uint32)
            input_earlier, ack_earlier = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
            command_counts, commands = np.zeros(n, np.uint8), np.zeros(64 * n, np.uint8)
            cold, cold_bytes, ends = (
                np.zeros((4, n), np.int32),
                np.zeros(BYTES_MAX * n, np.uint8),
                np.zeros((3, 3), np.int32),
            )
            done = w.parse(
                ready,
                done,
                self.carriers,
                self.rx,
                self.tx,
                now_ms,
                tokens_per_ms,
                float(BURST),
                BYTES_MAX,
                4000,
                inputs,
                input_earlier,
                command_counts,
                commands,
                acks,
                ack_earlier,
                cold,
                cold_bytes,
                ends,
                counts,
            )
            for k in range(counts[h.N_INPUT]):
                conn, seq, frame, stamp, first = inputs[:, k].tolist()
                assert conn == 1
                words = commands.view(COMMAND)[first : first + command_counts[k]].tobytes()
                self.events.append(("input", (seq, frame, stamp, words, int(input_earlier[k]))))
            acked = zip(acks[:, : counts[h.N_ACK]].T.tolist(), ack_earlier.tolist(), strict=False)
            self.events += [("ack", (f, s, earlier)) for (_, f, s), earlier in acked]
            for conn, kind, start, size in cold[:, : counts[h.N_COLD]].T.tolist():
                assert conn == 1
                self._cold(kind, cold_bytes[start : start + size].tobytes())
            for conn, why, code in ends[:, : counts[h.N_END]].T.tolist():
                assert conn == 1
                self.events.append(("end", (w.End(why), code)))
        self.carriers["odd"] = 0

    def _cold(self, kind: int, message: bytes) -> None:
        try:
            decoded = decode_client(message) if kind == h.MESSAGE_ODD else None
        except ProtocolViolation:
            decoded = None
        if isinstance(decoded, Input):
            self.events.append(
                ("input", (decoded.seq, decoded.frame, decoded.stamp_ms, decoded.commands, decoded.earlier or 0))
            )
        elif isinstance(decoded, Ack):
            self.events.append(("ack", (decoded.frame, decoded.stamp_ms, decoded.earlier or 0)))
        else:
            self.events.append(("cold", message))

    @property
    def pongs(self) -> bytes:
        return self.tx[1, : self.carriers["tx_fill"][1]].tobytes()


def masked(payload: bytes, opcode: int = 2, fin: bool = True, mask: bytes = b"\1\2\3\4", wide: int = 0) -> bytes:
    """A client's frame; ``wide`` forces 2 or 8 length bytes."""
    size = len(payload)
    wide = wide or (0 if size < 126 else 2 if size < 65536 else 8)
    length = bytes([0x80 | {0: size & 127, 2: 126, 8: 127}[wide]]) + (size.to_bytes(wide, "big") if wide else b"")
    return (
        bytes([(0x80 if fin else 0) | opcode]) + length + mask + bytes(b ^ mask[k % 4] for k, b in enumerate(payload))
    )


u32 = st.integers(0, 2**32 - 1)
earlier = st.none() | st.integers(0, 2**64 - 1)
messages = st.one_of(
    st.builds(Input, u32, u32, u32, st.integers(0, 9).map(lambda n: bytes(range(8)) * n), earlier).map(encode_client),
    st.builds(Ack, u32, u32, earlier).map(encode_client),
    st.just(encode_client(Hello(1, 1, None, "a"))),
    st.just(encode_client(Say(0, "hi"))),
    st.just(encode_client(Bye())),
    # Legal but unusual, and almost legal: trailing items, wide integers, wrong types.
    st.tuples(u32, u32, u32).map(lambda t: pack([2, *t, bytes(8), {"later": [1, None]}])),
    st.tuples(u32, u32).map(lambda t: b"\xdc\x00\x03\x03" + b"".join(b"\xcf" + v.to_bytes(8, "big") for v in t)),
    st.tuples(u32, st.integers(-5, 2**33)).map(lambda t: pack([3, *t])),
    st.tuples(u32, u32, st.none() | st.integers(-5, 2**33)).map(lambda t: pack([3, *t])),
    st.tuples(u32, u32, u32).map(lambda t: pack([3, *t, "later"])),
    st.binary(max_size=40),
    st.binary(max_size=12).map(lambda b: b"\x95\x02" + b),
    st.binary(max_size=8).map(lambda b: b"\x93\x03" + b),
)
mask = st.binary(min_size=4, max_size=4)


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in several frames, with pings between them."""
    message = draw(messages)
    cuts = sorted(draw(st.lists(st.integers(0, len(message)), max_size=3)))
    parts = [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    out = b""
    for k, part in enumerate(parts):
        out += masked(part, 2 if k == 0 else 0, k == len(parts) - 1, draw(mask))
        if draw(st.booleans()):
            out += masked(draw(st.binary(max_size=5)), 9)
    return out


frames = st.one_of(
    st.builds(masked, messages, mask=mask),
    fragmented(),
    st.builds(masked, st.binary(max_size=130), st.sampled_from([8, 9, 10]), mask=mask),
    st.builds(
        masked, st.binary(max_size=BYTES_MAX + 20), st.integers(0, 15), st.booleans(), mask, st.sampled_from([0, 2, 8])
    ),
    st.binary(max_size=20),
)


def check(data: bytes, cuts: list[int], columns: int = 64) -> None:
    """Both parsers say the same of ``data`` cut at ``cuts``."""
    slow, fast = SlowParser(BYTES_MAX, BURST), Fast(columns)
    at = 0
    for cut in [*sorted(c % (len(data) + 1) for c in cuts), len(data)]:
        slow.feed(data[at:cut])
        fast.feed(data[at:cut])
        at = cut
    for kind in ("input", "ack", "cold", "end"):
        assert [e for e in fast.events if e[0] == kind] == [e for e in slow.events if e[0] == kind]
    pongs = b"".join(bytes([0x8A, len(p)]) + p for kind, p in slow.events if kind == "pong" and isinstance(p, bytes))
    assert fast.pongs == pongs
    if not slow.ended:
        assert fast.carriers["tokens"][1] == slow.tokens
        assert fast.carriers["rx_fill"][1] == len(slow.partial) + len(slow.raw)


@settings(max_examples=400, deadline=None)
@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 5000), max_size=6), st.sampled_from([1, 3, 64]))
def test_any_frames_cut_anywhere(parts: list[bytes], cuts: list[int], columns: int) -> None:
    check(b"".join(parts), cuts, columns)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    check(data, cuts)


def test_random_bytes_with_plausible_headers() -> None:
    rng = np.random.default_rng(7)
    for _ in range(1500):
        noise = rng.integers(0, 256, rng.integers(1, 600), np.uint8)
        noise[0] = rng.choice([0x82, 0x02, 0x89, 0x88, 0x8A])
        noise[1 % len(noise)] |= 0x80
        check(noise.tobytes(), rng.integers(0, 600, 3).tolist())


def test_a_message_of_the_largest_size_byte_by_byte() -> None:
    payload = pack([4, 0, "x" * (BYTES_MAX - 7), None])
    assert len(payload) == BYTES_MAX
    data = masked(payload[:100], fin=False) + masked(b"p" * 125, 9) + masked(payload[100:], 0)
    check(data, list(range(len(data))))


def test_the_budget_refills_with_time() -> None:
    fast = Fast()
    fast.carriers["tokens"][1] = 0
    ack = masked(encode_client(Ack(1, 1)))
    fast.feed(ack, now_ms=1000, tokens_per_ms=0.001)
    assert fast.events == [("ack", (1, 1, 0))]
    fast.feed(ack, now_ms=1500, tokens_per_ms=0.001)
    assert fast.events[1:] == [("end", (w.End.TOO_MANY_MESSAGES, 0))]
