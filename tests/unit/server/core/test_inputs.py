"""Commands on their way: order of numbers, and everything unacknowledged once more when it is asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protocol.layouts import COMMAND
from server.core.inputs import RING, Inputs

ACKED = np.zeros(4, np.uint32)


def commands(seqs: list[int]) -> np.ndarray:
    made = np.zeros(len(seqs), COMMAND)
    made["steps"] = [seq % 200 for seq in seqs]
    return made


def take(inputs: Inputs, conn: int, seqs: list[int]) -> None:
    inputs.take(np.full(len(seqs), conn, np.uint32), np.array(seqs, np.uint32), commands(seqs))


def drained(inputs: Inputs, acked: int = 0) -> list[tuple[int, int]]:
    conn, seq, what = inputs.drain(np.full(4, acked, np.uint32))
    assert what["steps"].tolist() == [s % 200 for s in seq.tolist()]
    return list(zip(conn.tolist(), seq.tolist(), strict=True))


def test_commands_leave_once_in_order() -> None:
    inputs = Inputs(4)
    take(inputs, 1, [1, 2])
    take(inputs, 2, [7])
    take(inputs, 1, [3])
    assert drained(inputs) == [(1, 1), (1, 2), (2, 7), (1, 3)]
    assert drained(inputs) == []


def test_all_that_is_unacknowledged_is_said_again_with_what_is_new() -> None:
    inputs = Inputs(4)
    take(inputs, 1, [1, 2, 3])
    drained(inputs)
    take(inputs, 1, [4])
    take(inputs, 2, [1])
    inputs.again(1)
    assert drained(inputs, acked=1) == [(1, 2), (1, 3), (1, 4), (2, 1)]
    assert drained(inputs, acked=1) == []


def test_a_new_stream_has_nothing_of_the_old() -> None:
    inputs = Inputs(4)
    take(inputs, 1, [1, 2, 3])
    drained(inputs)
    inputs.again(1)
    inputs.begin(1)
    inputs.again(1)
    assert drained(inputs) == []


def test_numbers_pass_their_end() -> None:
    inputs = Inputs(4)
    last = (1 << 32) - 1
    take(inputs, 1, [last - 1, last, 0, 1])
    drained(inputs)
    inputs.again(1)
    assert drained(inputs, acked=last) == [(1, 0), (1, 1)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.data())
def test_again_is_what_was_taken_beyond_the_acknowledged(counts: list[int], data: st.DataObject) -> None:
    inputs = Inputs(4)
    newest = 0
    for count in counts:
        take(inputs, 3, list(range(newest + 1, newest + count + 1)))
        newest += count
    drained(inputs)
    acked = data.draw(st.integers(0, newest))
    inputs.again(3)
    first = max(acked, newest - RING) + 1
    assert drained(inputs, acked) == [(3, seq) for seq in range(first, newest + 1)]
