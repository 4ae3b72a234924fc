"""Reliable streams: what one end says, the other hears, once and in order, whatever the way loses, doubles and
delays. One end is the kernel's, the other the protocol's."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import streams
from kernels.peers import DROPS, GAPS, PEER, Drop
from protocol.datagrams import STREAM_WINDOW_BYTES, StreamIn, StreamOut

WRAP = 2**32


class End:
    """The kernel's end of one connection. ``begin``: where its streams stand, as after so many bytes."""

    def __init__(self, begin: int = 0) -> None:
        self.rows = np.zeros(1, PEER)
        self.peer = self.rows[0]
        for name in ("in_origin", "in_read", "in_next", "out_origin", "out_acked", "out_sent", "out_end"):
            self.peer[name] = begin
        self.peer["rtt_ms"], self.peer["rtt_off_ms"] = streams.RTT_FIRST_MS, streams.RTT_OFF_FIRST_MS
        self.peer["window_bytes"] = streams.WINDOW_FIRST_BYTES
        self.gaps = np.zeros((GAPS, 2), np.int64)
        self.into, self.out = np.zeros(STREAM_WINDOW_BYTES, np.uint8), np.zeros(STREAM_WINDOW_BYTES, np.uint8)
        self.drops = np.zeros(DROPS, np.int64)
        self.head, self.message = np.zeros(4, np.uint8), np.zeros(4096, np.uint8)

    def hear(self, offset: int, data: bytes) -> list[bytes]:
        area = np.frombuffer(bytearray(data), np.uint8) if data else np.zeros(1, np.uint8)
        streams.take_segment(self.peer, self.gaps, self.into, offset % WRAP, area, 0, len(data), self.drops)
        heard = []
        while (size := streams.next_message(self.peer, self.into, self.head, self.message)) >= 0:
            heard.append(self.message[:size].tobytes())
        return heard

    def say(self, message: bytes) -> bool:
        buffer = np.frombuffer(bytearray(message + b"x"), np.uint8)
        return streams.append(self.peer, self.out, buffer, 0, len(message)) >= 0

    def pieces(self, now_ms: int, room: int) -> list[tuple[int, bytes]]:
        out = np.zeros(2000, np.uint8)
        said: list[tuple[int, bytes]] = []
        streams.look_for_loss(self.peer, now_ms)
        while True:
            place, size, _ = streams.next_piece(self.peer, room, now_ms)
            if not size:
                return said
            streams.copy_piece(self.peer, self.out, place, size, out, 0)
            said.append((place % WRAP, out[:size].tobytes()))


begins = st.sampled_from([0, 1, WRAP - 5000, 3 * WRAP - 7])
sizes = st.lists(st.integers(0, 3000), min_size=1, max_size=30)


@settings(max_examples=120, deadline=None)
@given(sizes, st.integers(0, 2**32 - 1), begins, st.sampled_from([0.0, 0.02, 0.3]), st.sampled_from([300, 1157]))
def test_what_the_kernel_says_is_heard(sent: list[int], seed: int, begin: int, loss: float, room: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, other = End(begin), StreamIn(1 << 20)
    other.received = other._begin = begin
    messages = [rng.bytes(size) for size in sent]
    waiting, heard = list(messages), []
    way: list[tuple[int, int, bytes]] = []
    for now_ms in range(0, 400_000, 50):
        while waiting and kernel.say(waiting[0]):
            waiting.pop(0)
        for offset, data in kernel.pieces(now_ms, room):
            copies = int(rng.random() >= loss) * (1 + int(rng.random() < 0.05))
            way += [(now_ms + int(rng.integers(0, 150)), offset, data)] * copies
        due = [entry for entry in way if entry[0] <= now_ms]
        way = [entry for entry in way if entry[0] > now_ms]
        for _, offset, data in due:
            heard += other.take(offset, data)
        if rng.random() >= loss:
            assert streams.acknowledge(kernel.peer, other.received % WRAP, now_ms)
        assert 0 <= kernel.peer["out_sent"] - kernel.peer["out_acked"] <= STREAM_WINDOW_BYTES
        if not waiting and len(heard) == len(messages):
            break
    assert heard == messages


@settings(max_examples=120, deadline=None)
@given(sizes, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.3]), st.sampled_from([300, 1157]))
def test_what_the_kernel_hears_is_what_was_said(sent: list[int], seed: int, loss: float, room: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, other = End(), StreamOut()
    messages = [rng.bytes(size) for size in sent]
    for message in messages:
        other.push(message)
    heard: list[bytes] = []
    way: list[tuple[int, int, bytes]] = []
    for now_ms in range(0, 400_000, 50):
        while (piece := other.take(now_ms, room)) is not None:
            if rng.random() >= loss:
                way.append((now_ms + int(rng.integers(0, 150)), *piece))
        due = [entry for entry in way if entry[0] <= now_ms]
        way = [entry for entry in way if entry[0] > now_ms]
        for _, offset, data in due:
            heard += kernel.hear(offset, data)
        if rng.random() >= loss:
            other.acknowledged(int(kernel.peer["in_next"]) % WRAP, now_ms)
        if len(heard) == len(messages):
            break
    assert heard == messages


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 90_000), st.integers(0, 1160)), max_size=80))
def test_any_pieces_are_held_or_counted(pieces: list[tuple[int, int]]) -> None:
    kernel, known = End(), np.zeros(200_000, np.bool_)
    # The stream says 4,096 bytes for each message, so that whatever fits is handed on and nothing ends it.
    whole = ((4096).to_bytes(4, "little") + bytes(4096)) * 40
    for offset, size in pieces:
        before = kernel.drops.sum()
        kernel.hear(offset, whole[offset : offset + size] if offset < 90_000 else bytes(size))
        place = offset if offset < 2**31 else offset - 2**32
        if kernel.drops.sum() == before and -size < place < 90_000:
            known[max(place, 0) : place + size] = True
        assert kernel.peer["gaps"] <= GAPS
        assert kernel.peer["in_read"] <= kernel.peer["in_next"] <= kernel.peer["in_read"] + STREAM_WINDOW_BYTES
    assert int(kernel.peer["in_next"]) == int(np.argmin(known))


def test_an_acknowledgement_of_what_was_never_said_changes_nothing() -> None:
    kernel = End()
    assert kernel.say(b"a" * 100)
    kernel.pieces(0, 1157)
    before = kernel.rows.copy()
    assert not streams.acknowledge(kernel.peer, 105, 10)
    assert (kernel.rows == before).all()
    assert streams.acknowledge(kernel.peer, 104, 10)


def test_what_has_no_room_is_refused_whole() -> None:
    kernel = End()
    assert kernel.say(bytes(65_000))
    assert not kernel.say(bytes(600))
    assert kernel.say(bytes(500))
    assert kernel.peer["out_end"] == 65_508


def test_a_piece_beyond_the_window_is_dropped_and_counted() -> None:
    kernel = End()
    kernel.hear(60_000, bytes(5536))
    assert kernel.drops.sum() == 0
    kernel.hear(60_000, bytes(5537))
    assert kernel.drops[Drop.SEGMENT_AHEAD] == 1


def test_memory_that_a_quiet_stream_touches_stays_small() -> None:
    kernel = End()
    for round_ in range(500):
        assert kernel.say(bytes([1] * 300))
        for offset, data in kernel.pieces(round_ * 50, 1157):
            assert streams.acknowledge(kernel.peer, offset + len(data), round_ * 50 + 20)
        kernel.hear(304 * round_, (300).to_bytes(4, "little") + bytes([1] * 300))
    assert np.flatnonzero(kernel.out).max() < 4096
    assert np.flatnonzero(kernel.into).max() < 4096


def waits_ms(message_bytes: int) -> list[int]:
    """Between the times that a lost message is said, by who hears nothing of it."""
    end = End()
    end.say(bytes(message_bytes))
    said = [now_ms for now_ms in range(0, 20_000, 10) if end.pieces(now_ms, 1157)]
    return [later - earlier for earlier, later in pairwise(said)]


def test_waiting_grows_with_losses_only_of_who_says_much() -> None:
    thick, thin = waits_ms(2 * streams.THIN_BYTES), waits_ms(500)
    assert thick[1] > 1.9 * thick[0]
    assert len(set(thin[: streams.THIN_TRIES + 1])) == 1
    assert thin[streams.THIN_TRIES + 1] > 1.9 * thin[0]
    assert max(*thick, *thin) <= 2010
