"""The bad network does what it says, and the same again for the same seed."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.sim.clock import Clock
from tests.sim.network import HEADER_BYTES, Carrier, Datagrams, Faults

BAD: dict[str, Any] = {"loss": 0.2, "reorder": 0.1, "duplicate": 0.1}


def run(make: Callable[..., Datagrams | Carrier], seed: int) -> tuple[list[int], list[float], Counter[str]]:
    clock, counts = Clock(), Counter[str]()
    got: list[int] = []
    times: list[float] = []

    def deliver(data: bytes) -> None:
        got.append(int(data))
        times.append(clock.now_ms)

    link = make(clock, np.random.default_rng(seed), Faults(**BAD), counts, deliver)
    for k in range(500):
        clock.at(10.0 * k, lambda k=k: link.send(str(k).encode()))  # type: ignore[misc]  # a default binds k
    clock.run_until(60_000.0)
    return got, times, counts


def test_datagrams_are_lost_doubled_and_overtaken() -> None:
    got, _, counts = run(Datagrams, 1)
    assert got != sorted(got)
    assert len(set(got)) == 500 - counts["datagram lost"]
    assert len(got) - len(set(got)) == counts["datagram doubled"]
    assert min(counts["datagram lost"], counts["datagram doubled"], counts["datagram overtaken"]) > 20


def test_a_carrier_delivers_all_in_order_and_late() -> None:
    got, times, counts = run(Carrier, 1)
    assert got == list(range(500))
    assert max(at - 10.0 * k for k, at in zip(got, times, strict=True)) > 200.0
    assert min(counts["segment lost"], counts["segment overtaken"], counts["head of line blocked"]) > 20


@pytest.mark.parametrize("make", [Datagrams, Carrier])
def test_the_same_seed_does_the_same(make: Callable[..., Datagrams | Carrier]) -> None:
    assert run(make, 3) == run(make, 3)
    assert run(make, 3)[0:2] != run(make, 4)[0:2]


def test_a_cut_carrier_delivers_nothing_more() -> None:
    clock = Clock()
    got: list[bytes] = []
    carrier = Carrier(clock, np.random.default_rng(0), Faults(), Counter(), got.append)
    carrier.send(b"a")
    clock.run_until(100.0)
    carrier.send(b"b")
    carrier.cut()
    clock.run_until(200.0)
    assert got == [b"a"]


def test_a_narrow_link_delays_datagrams_and_drops_what_its_queue_does_not_hold() -> None:
    clock, counts = Clock(), Counter[str]()
    times: list[float] = []
    faults = Faults(delay_ms=20.0, jitter_ms=0.0, bytes_per_s=10_000.0)
    link = Datagrams(clock, np.random.default_rng(1), faults, counts, lambda data: times.append(clock.now_ms))
    for _ in range(4):
        link.send(bytes(1000 - HEADER_BYTES))
    clock.run_until(1000.0)
    assert times == [120.0, 220.0]
    assert counts["datagram beyond the queue"] == 2
    link.send(bytes(1000 - HEADER_BYTES))
    faults.cut = True
    link.send(b"never")
    clock.run_until(2000.0)
    assert times[2:] == [1120.0]
