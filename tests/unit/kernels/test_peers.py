"""The window of sequences, against the protocol's own, and whose a datagram says that it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.peers import DROPS, PEER, STATE_OPEN, Drop, admit, make_peers, make_rows, sift
from protocol.datagrams import ReplayWindow

LAST = 2**64 - 1


class Window:
    """The kernel's window of one connection."""

    def __init__(self) -> None:
        self.rows = np.zeros(1, PEER)
        self.seen = np.zeros((1, 16), np.uint64)

    def admit(self, sequence: int) -> int:
        return int(admit(self.rows[0], self.seen[0], np.uint64(sequence)))


near = st.integers(0, 3000)
sequences = st.lists(
    st.one_of(near, near.map(lambda back: LAST - back), st.sampled_from([0, 1, 1023, 1024, 1025, 2**32, 2**63, LAST])),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(sequences)
def test_the_window_is_the_protocols(said: list[int]) -> None:
    slow, fast = ReplayWindow(), Window()
    for sequence in said:
        assert (fast.admit(sequence) < 0) == slow.admit(sequence), sequence
        assert int(fast.rows["newest"][0]) == slow.newest


def test_a_sequence_at_the_end_of_numbers_overflows_nothing() -> None:
    # A published mistake of another library: `sequence + window <= newest` overflows, and takes replays.
    fast = Window()
    assert fast.admit(LAST) < 0
    assert fast.admit(LAST) == Drop.REPLAYED
    assert fast.admit(LAST - 1023) < 0
    assert fast.admit(LAST - 1023) == Drop.REPLAYED
    for old in (0, 1, 2, 1024, 2**63, LAST - 1024):
        assert fast.admit(old) == Drop.OLD
    assert int(fast.rows["newest"][0]) == LAST


@pytest.mark.parametrize("leap", [1, 63, 64, 1023, 1024, 1025, 2**40])
def test_a_leap_leaves_nothing_of_the_round_before(leap: int) -> None:
    fast = Window()
    for sequence in range(1, 1100):
        assert fast.admit(sequence) < 0
    assert fast.admit(1099 + leap) < 0
    for sequence in range(max(1100, 1099 + leap - 1023), 1099 + leap):
        assert fast.admit(sequence) < 0, sequence


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.binary(min_size=30, max_size=40).map(lambda b: b"\x31" + b), max_size=4))
def test_strangers_are_nobody(datagrams: list[bytes]) -> None:
    rows, peers, drops = make_rows(4), make_peers(3), np.zeros(DROPS, np.int64)
    peers.row["number"][1], peers.row["state"][1] = 0x00050001, STATE_OPEN
    for i, datagram in enumerate(datagrams):
        rows.wire[i, : len(datagram)] = np.frombuffer(datagram, np.uint8)
        rows.wire_bytes[i] = len(datagram)
    sift(rows, len(datagrams), peers, drops)
    for i, datagram in enumerate(datagrams):
        ours = len(datagram) >= 33 and datagram[:5] == bytes([0x31, 1, 0, 5, 0])
        assert rows.who[i] == (1 if ours else -1)
    assert drops.sum() == (rows.who[: len(datagrams)] < 0).sum()


def test_each_reason_is_counted() -> None:
    rows, peers, drops = make_rows(5), make_peers(1), np.zeros(DROPS, np.int64)
    good = bytes([0x31]) + (0x00050000).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(20)
    peers.row["number"][0], peers.row["state"][0] = 0x00050000, STATE_OPEN
    said = [good, good[:-1], b"\x30" + good[1:], good[:1] + b"\1" + good[2:], good + bytes(1201 - len(good))]
    for i, datagram in enumerate(said):
        rows.wire[i, : len(datagram)] = np.frombuffer(datagram, np.uint8)
        rows.wire_bytes[i] = len(datagram)
    sift(rows, 5, peers, drops)
    assert rows.who.tolist() == [0, -1, -1, -1, -1]
    for reason in (Drop.SHORT, Drop.VERSION, Drop.UNKNOWN_NUMBER, Drop.OVERSIZED):
        assert drops[reason] == 1
