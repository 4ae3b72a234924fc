"""What waits for a step is bounded, and what is left out is what newer messages make worthless."""

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protocol.border import Border, Channel
from shard.inbox import Inbox


@given(st.lists(st.tuples(st.integers(0, 3), st.integers()), max_size=60), st.integers(1, 5))
def test_of_each_sender_the_newest_are_kept_in_the_order_in_which_they_came(
    said: list[tuple[int, int]], each_max: int
) -> None:
    inbox: Inbox[tuple[int, int]] = Inbox(each_max, lambda message: message[0])
    kept: dict[int, deque[int]] = {}
    for at, message in enumerate(said):
        inbox.put(message)
        kept.setdefault(message[0], deque(maxlen=each_max)).append(at)
    places = sorted(at for waiting in kept.values() for at in waiting)
    assert inbox.dropped == len(said) - len(places)
    assert inbox.take() == [said[at] for at in places]
    assert inbox.take() == []


@given(st.data())
def test_the_newest_message_of_a_border_has_all_that_older_ones_had(data: Any) -> None:
    """A neighbour says more and more between two steps; the step has only the newest."""
    here, there = Channel(1), Channel(1)
    took: list[bytes] = []
    for k in range(data.draw(st.integers(1, 30))):
        for _ in range(data.draw(st.integers(0, 3))):
            there.put(f"{k}".encode())
        inbox: Inbox[Border] = Inbox(1, lambda message: "there")
        for _ in range(data.draw(st.integers(1, 4))):
            there.put(b"more")
            inbox.put(Border(1, 2, 1, 1, there.born, 0, there.first, here.born, 0, items=there.window()))
        for message in inbox.take():
            took += [item for _, item in here.take(message)]
        if data.draw(st.booleans()):
            there.take(Border(2, 1, 1, 1, here.born, 0, ack_born=there.born, ack=here.taken, safe=here.taken))
    assert (here.skipped, took) == (0, took[: here.taken])
    assert here.taken == there.base + len(there.queue) - 1
