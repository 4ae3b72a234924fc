"""The checks of datagrams can fail: with one mistake each, at either end, a few cells of the matrix find it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from protocol.datagrams import ReplayWindow, StreamOut
from protocol.values import ValueRecords, Values
from server.core.views import Batch, Views
from server.transport.datagrams.tokens import Tokens
from server.transport.datagrams.transport import Datagrams
from server.transport.inbound import Inbound
from tests.sim import matrix
from tests.sim.matrix import Cell

CELL = Cell(0.2, "duplication")
SEEDS = range(1, 5)
ALL = np.uint64(2**64 - 1)


def hold_what_was_sent(patch: pytest.MonkeyPatch) -> None:
    """A value counts as known to its client as soon as it was sent."""
    honest = Views._values

    def send(self: Views, *given: Any) -> Iterator[Batch]:
        yield from honest(self, *given)
        first, slot = self.sent.first, self.state.slot
        frame = self.state.views["frame"][first:, None]
        for way in (self.sent.older, self.sent.newer):
            now = (way["frame"] == frame) & (frame > 0)
            slot["held"][first:][now] = way["version"][now]

    patch.setattr(Views, "_values", send)


def name_bases_that_were_lost(patch: pytest.MonkeyPatch) -> None:
    """An acknowledgement counts for all frames before it."""
    honest = Views.take_acks

    def take(self: Views, conn: Any, frame: Any, stamp: Any, earlier: npt.NDArray[np.uint64], now_ms: int) -> Any:
        return honest(self, conn, frame, stamp, np.full_like(earlier, ALL), now_ms)

    patch.setattr(Views, "take_acks", take)


def say_structure_once(patch: pytest.MonkeyPatch) -> None:
    """The gateway never says a piece of its stream again."""
    honest = Datagrams.flush

    def flush(self: Datagrams) -> None:
        self.rows["resend"], self.rows["timer_ms"] = 0, self._clock_ms()
        honest(self)

    patch.setattr(Datagrams, "flush", flush)


def say_acts_once(patch: pytest.MonkeyPatch) -> None:
    """A client never says a piece of its stream again."""
    patch.setattr(StreamOut, "_late", lambda self, now_ms: None)


def forget_sequences(patch: pytest.MonkeyPatch) -> None:
    """The gateway's window against replay knows nothing."""
    honest = Datagrams.poll

    def poll(self: Datagrams, now_ms: int) -> Inbound:
        self._peers.seen[:] = 0
        return honest(self, now_ms)

    patch.setattr(Datagrams, "poll", poll)


def forget_what_was_had(patch: pytest.MonkeyPatch) -> None:
    """A client's window against replay knows nothing."""
    patch.setattr(ReplayWindow, "admit", lambda self, sequence: True)


def tell_somebody_else(patch: pytest.MonkeyPatch) -> None:
    """A gateway sends values to the session next to the one that they are for."""
    honest = Datagrams.send

    def send(self: Datagrams, buffer: Any, conn: npt.NDArray[np.int32], *rest: Any) -> None:
        swapped = np.where(conn == self.base, self.base + 1, np.where(conn == self.base + 1, self.base, conn))
        honest(self, buffer, swapped.astype(np.int32), *rest)

    patch.setattr(Datagrams, "send", send)


def stay_at_the_first_address(patch: pytest.MonkeyPatch) -> None:
    """A gateway answers where the first datagram came from, for ever."""
    honest = Datagrams.poll

    def poll(self: Datagrams, now_ms: int) -> Inbound:
        known = self.rows["number"].copy(), self._peers.address.copy()
        inbound = honest(self, now_ms)
        same = (self.rows["number"] == known[0]) & known[1].any(axis=1)
        self._peers.address[same] = known[1][same]
        return inbound

    patch.setattr(Datagrams, "poll", poll)


def wait_for_no_structure(patch: pytest.MonkeyPatch) -> None:
    """A client applies values though the structure that they build on has not come."""

    def heard(self: ValueRecords, f: Values) -> bool:
        if not self.arrivals.is_new(f.frame) or not self._apply(f):
            return False
        self.arrivals.note(f.frame)
        return True

    patch.setattr(ValueRecords, "heard", heard)


def draw_the_same_keys(patch: pytest.MonkeyPatch) -> None:
    """A session's next token has the keys of the one before."""
    honest = Tokens.give

    def give(self: Tokens, session: int, now_ms: int) -> Any:
        drawn, self._random_bytes = self._random_bytes, lambda count: session.to_bytes(8, "little").ljust(count, b"k")
        given = honest(self, session, now_ms)
        self._random_bytes = drawn
        return given

    patch.setattr(Tokens, "give", give)


MUTANTS = [
    hold_what_was_sent, name_bases_that_were_lost, say_structure_once, say_acts_once, forget_sequences,
    forget_what_was_had, tell_somebody_else, stay_at_the_first_address, wait_for_no_structure, draw_the_same_keys,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_mutant_is_found(mutant: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    for seed in SEEDS:
        try:
            matrix.run(CELL, seed)
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} was not found within {len(SEEDS)} seeds")
