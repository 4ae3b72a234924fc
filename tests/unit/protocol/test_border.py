"""Words between regions: malformed bytes, and the channel over a network that loses, repeats and reorders."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.border import (
    ACT_BYTES_MAX,
    ACTS_BYTES_MAX,
    ACTS_MAX,
    ITEMS_MAX,
    WINDOW_BYTES,
    WINDOW_ITEMS,
    Accept,
    Border,
    Cancel,
    Channel,
    ChannelFullError,
    Commit,
    Inputs,
    Item,
    Message,
    Prepare,
    Push,
    decode_item,
    encode_item,
)
from protocol.codes import ProtocolViolation
from protocol.messages import pack, unpack

ITEMS: list[Item] = [
    Prepare(1, [2, 3], [1, 1], b"l"),
    Accept(4),
    Cancel(4),
    Commit(1, 1, [("pos", "<f8", b"\0" * 24)], b"", [2], [("hi", [2], {"a": None})]),
    Push([1], [(0.5, -0.5)]),
    Message("hi", [1, 2], ["x", 1.5, None]),
    Inputs([1], [7], b"\0" * 8),
]


def full() -> Border:
    return Border(
        4, 5, 2, 1, 2, 100, 3, 1, 9, 8, 1, 2, [encode_item(item) for item in ITEMS],
        ghost_id=np.array([7], np.uint64), ghost_hop=np.array([1], np.uint32), ghost_kind=np.array([1], np.uint16),
        ghost_pos=np.zeros((1, 3)), ghost_vel=np.ones((1, 3)), ghost_yaw=np.zeros(1), ghost_spin=np.zeros(1),
        ghost_flags=np.ones(1, np.uint8), components=[["name", "<U32", b"\0" * 128]],
    )  # fmt: skip


def test_a_message_comes_back_as_it_was() -> None:
    back = Border.decode(full().encode())
    assert back.encode() == full().encode()
    assert [decode_item(item) for item in back.items] == ITEMS
    assert back.ghost_vel.tolist() == [[1, 1, 1]]


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)


@given(st.binary(max_size=200) | JUNK.map(pack))
def test_malformed_bytes_are_a_violation_and_nothing_else(data: bytes) -> None:
    readers: tuple[Callable[[bytes], object], ...] = (Border.decode, decode_item)
    for read in readers:
        try:
            read(data)
        except ProtocolViolation:
            continue


@given(st.integers(0, 20), JUNK)
def test_a_message_with_one_field_of_junk_is_read_or_refused(at: int, junk: Any) -> None:
    fields = unpack(full().encode())
    fields[at] = junk
    try:
        made = Border.decode(pack(fields))
    except ProtocolViolation:
        return
    assert len(made.ghost_pos) == len(made.ghost_id)


@given(st.sampled_from(ITEMS), st.integers(0, 5), JUNK)
def test_an_item_with_one_field_of_junk_is_read_or_refused(item: Item, at: int, junk: Any) -> None:
    fields = unpack(encode_item(item))
    fields[min(at, len(fields) - 1)] = junk
    try:
        decode_item(pack(fields))
    except ProtocolViolation:
        return


def test_what_msgpack_cannot_carry_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_item(Message("x", [1], object()))
    with pytest.raises((TypeError, ValueError)):
        encode_item(Message("x", [1], 1 << 70))


def test_a_full_channel_refuses_acts_first_and_hand_overs_last() -> None:
    channel = Channel(1)
    for _ in range(ACTS_MAX):
        channel.put(b"x")
    with pytest.raises(ChannelFullError):
        channel.put(b"x")
    for _ in range(ITEMS_MAX - ACTS_MAX):
        channel.put(b"x", act=False)
    with pytest.raises(ChannelFullError):
        channel.put(b"x", act=False)
    assert len(channel.window()) == WINDOW_ITEMS
    big = Channel(1)
    for _ in range(3):
        big.put(b"x" * (WINDOW_BYTES // 2 + 1), act=False)
    assert len(big.window()) == 1


class End:
    """One region's life: its epoch, its channel, and what it has taken by the neighbour's channel."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.channel = Channel(epoch)
        self.peer_epoch = 0
        self.said = 0
        self.took: dict[int, list[tuple[int, int]]] = {}

    def message(self) -> Border:
        c = self.channel
        return Border(
            1, 2, self.epoch, self.peer_epoch, c.born, 0, c.first, c.peer_born, c.taken, c.safe, *c.former, c.window()
        )  # fmt: skip

    def receive(self, m: Border) -> None:
        if m.epoch < self.peer_epoch or m.target_epoch > self.epoch:
            return
        self.peer_epoch = m.epoch
        for number, item in self.channel.take(m):
            self.took.setdefault(m.born, []).append((number, int(item)))


OPS = st.sampled_from(["put", "put", "put", "send", "send", "deliver", "deliver", "deliver", "move", "crash"])


def test_acts_are_bounded_in_bytes_and_hand_overs_are_not() -> None:
    channel = Channel(1)
    with pytest.raises(ChannelFullError, match="can be carried"):
        channel.put(bytes(ACT_BYTES_MAX + 1))
    for _ in range(ACTS_BYTES_MAX // ACT_BYTES_MAX):
        channel.put(bytes(ACT_BYTES_MAX))
    with pytest.raises(ChannelFullError, match="not acknowledged"):
        channel.put(b"x")
    channel.put(bytes(ACT_BYTES_MAX + 1), act=False)
    assert Channel.load(channel.state()).queue_bytes == channel.queue_bytes
    channel.take(Border(1, 2, 1, 1, 1, 0, ack_born=1, ack=2, safe=2))
    channel.put(b"x")
    channel.take(Border(1, 2, 1, 1, 1, 0, ack_born=1, ack=1000, safe=1000))
    assert (len(channel.queue), channel.queue_bytes) == (0, 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), OPS, st.integers(0, 10**6)), max_size=120))
def test_items_are_taken_once_in_order_and_none_is_missed(ops: list[tuple[int, str, int]]) -> None:
    """Two ends; messages may be lost, repeated and arrive in any order; ends crash (a new life) and move (a copy)."""
    ends = [End(1), End(1)]
    under_way: list[list[Border]] = [[], []]
    acknowledged: dict[tuple[int, int], int] = {}
    for who, what, chance in ops:
        end, other = ends[who], ends[1 - who]
        match what:
            case "put":
                end.said += 1
                end.channel.put(b"%d" % end.said)
            case "send":
                under_way[1 - who].append(Border.decode(end.message().encode()))
            case "deliver" if under_way[who]:
                end.receive(under_way[who][chance % len(under_way[who])])
            case "move":
                end.channel = Channel.load(unpack(pack(end.channel.state())))
                end.epoch += 1
            case "crash":
                made = End(end.epoch + 1)
                acknowledged[who, made.epoch] = other.channel.base
                ends[who] = made
    for _ in range(4):  # the faults have stopped
        for who in (0, 1):
            ends[1 - who].receive(ends[who].message())
    for who in (0, 1):
        end, other = ends[who], ends[1 - who]
        took = end.took.get(other.channel.born, [])
        numbers = [number for number, _ in took]
        assert all(number == said for number, said in took)
        assert numbers == list(range(numbers[0], numbers[-1] + 1)) if numbers else True
        assert not other.channel.queue
        assert end.channel.skipped == 0
        if numbers:  # a successor begins with what its predecessors had not acknowledged, at the earliest
            assert numbers[-1] == other.said
            assert numbers[0] >= acknowledged.get((who, end.channel.born), 1) or other.channel.born > end.channel.born
        if (who, end.channel.born) not in acknowledged:  # nobody died here: nothing is missing
            assert numbers == list(range(1, other.said + 1))


@dataclass
class Kept:
    """What a region's store has: its channel, what it has taken, and what it said."""

    channel: list[Any]
    took: list[int]
    said: list[int]


class Durable(End):
    """An end whose life ends in crashes, and goes on from what was stored."""

    def __init__(self) -> None:
        super().__init__(1)
        self.channel.journaled = True
        self.has: list[int] = []
        """All that was taken and is part of the world, in order."""
        self.spoken: list[int] = []
        self.kept = Kept(self.channel.state(), [], [])

    def receive(self, m: Border) -> None:
        if m.epoch < self.peer_epoch or m.target_epoch > self.epoch:
            return
        self.peer_epoch = m.epoch
        self.has += [int(item) for _, item in self.channel.take(m)]

    def commit(self) -> None:
        self.kept = Kept(unpack(pack(self.channel.state())), list(self.has), list(self.spoken))
        self.channel.is_durable(self.channel.peer_born, self.channel.taken)

    def crash(self) -> None:
        self.epoch += 1
        state = self.kept.channel
        self.channel = Channel.after_a_crash(state, self.epoch, state[2])
        self.channel.journaled = True
        self.has, self.spoken = list(self.kept.took), list(self.kept.said)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["put", "put", "send", "send", "deliver", "deliver", "deliver", "commit", "crash"]),
            st.integers(0, 10**6),
        ),
        max_size=150,
    )
)
def test_what_was_durable_when_its_speaker_crashed_is_taken_once(ops: list[tuple[int, str, int]]) -> None:
    """Acts that a crash undoes at their speaker may have been heard; all that it still knows of were heard once. One
    speaker crashes again only when the other has heard of its last life: two crashes in between may repeat acts."""
    ends = [Durable(), Durable()]
    under_way: list[list[Border]] = [[], []]
    number = 0
    for who, what, chance in ops:
        end, other = ends[who], ends[1 - who]
        match what:
            case "put":
                number += 1
                end.channel.put(b"%d" % number)
                end.spoken.append(number)
            case "send":
                under_way[1 - who].append(Border.decode(end.message().encode()))
            case "deliver" if under_way[who]:
                end.receive(under_way[who][chance % len(under_way[who])])
            case "commit":
                end.commit()
            case "crash" if other.channel.peer_born == end.channel.born:
                end.crash()
    for _ in range(4):
        for who in (0, 1):
            ends[1 - who].receive(ends[who].message())
            ends[1 - who].commit()
    for who in (0, 1):
        end, other = ends[who], ends[1 - who]
        assert len(set(other.has)) == len(other.has), "an act was taken twice"
        assert [each for each in other.has if each in set(end.spoken)] == end.spoken
        assert not end.channel.queue


def test_what_only_a_dead_life_had_is_waited_for() -> None:
    """Its neighbour does not know yet that it died, and says only what comes next."""
    here, there = Durable(), Durable()
    for _ in range(2):
        there.receive(here.message())
        here.receive(there.message())
    here.commit()
    there.channel.put(b"1")
    here.receive(there.message())
    there.receive(here.message())
    assert there.channel.window() == []
    here.crash()
    there.channel.put(b"2")
    here.receive(there.message())
    assert here.has == []
    for _ in range(3):
        there.receive(here.message())
        here.receive(there.message())
    assert here.has == [1, 2]
