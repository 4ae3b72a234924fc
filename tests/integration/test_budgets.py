"""What a tick may cost, counted: calls and lines of Python, records of kernels, bytes and system calls.

Counts do not depend on how fast a machine is or on what else it does, so a budget that is passed is a change of the
code. One that is far from being used up is not a guard: lower it then. Not counted: what compiled code takes
(``make bench``).
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from protocol.datagrams import KIND_MESSAGE, KIND_OPENING
from protocol.layouts import COMMAND
from protocol.messages import Input, encode_client
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.live import UdpWay
from server.transport.datagrams.transport import Datagrams
from server.transport.mmsg import C_CALLS
from tests.counting import Work
from tests.integration.crowd import PHASES, STEP, Crowd
from tests.udppeer import UdpPeer

PEOPLE = 500
PEERS = 100
"""On datagrams: a burst of them fits the buffer that a kernel gives a socket unasked."""
TICKS = 20
SETTLING = 2
"""Ticks before those that are counted: what is made at the first use is no cost of a tick."""
VALUE_BYTES = 300
USED_PART = 0.75
"""A budget of which less is used has become too wide to notice anything."""
BUDGETS: dict[str, Mapping[str, float]] = tomllib.loads(Path(__file__).with_name("budgets.toml").read_text())


def held(kind: str, counted: Mapping[str, float]) -> None:
    """Fail with everything that is wrong with the budgets of one kind."""
    budgets = BUDGETS[kind]
    assert counted.keys() == budgets.keys(), f"[{kind}] has other names than what is counted"
    wrong = []
    for name, figure in counted.items():
        budget = budgets[name]
        if figure > budget:
            wrong.append(f"{name}: {figure:.2f}, more than the {budget} that it may cost")
        elif figure < USED_PART * budget:
            wrong.append(f"{name}: {figure:.2f}, far below {budget}: lower the budget in budgets.toml")
    assert not wrong, f"[{kind}] " + "; ".join(wrong)


def crowd_costs() -> dict[str, float]:
    crowd = Crowd(PEOPLE)
    try:
        crowd.settle()
        carriers = crowd.carriers
        crowd.forget()
        sent, sends, receives = carriers.sent_bytes, carriers.send_calls, carriers.receive_calls
        for _ in range(TICKS):
            assert not crowd.tick()
            crowd.hear()
            crowd.say()
        gateway = [crowd.work[phase] for phase in PHASES]
        views = TICKS * PEOPLE
        return {
            "gateway_calls_per_tick": sum(work.calls for work in gateway) / TICKS,
            "gateway_lines_per_tick": sum(work.lines for work in gateway) / TICKS,
            "shard_calls_per_tick": crowd.work[STEP].calls / TICKS,
            "shard_lines_per_tick": crowd.work[STEP].lines / TICKS,
            "looked_at_per_view": crowd.looked / views,
            "updates_per_view": crowd.updates / views,
            "sent_bytes_per_view": (carriers.sent_bytes - sent) / views,
            "link_bytes_per_person": crowd.link_bytes / views,
            "send_calls_per_view": (carriers.send_calls - sends) / views,
            "receive_calls_per_view": (carriers.receive_calls - receives) / views,
        }
    finally:
        crowd.end()


def datagram_costs() -> dict[str, float]:
    now_ms = 1_000_000
    transport = Datagrams(DatagramConfig(capacity=PEERS, arrivals_max=PEERS), 0, clock_ms=lambda: now_ms)
    way = transport.way
    assert isinstance(way, UdpWay)
    address = way.sock.getsockname()
    peers = [UdpPeer(transport.token(k + 1), k + 1, address) for k in range(PEERS)]
    for peer in peers:
        peer.send((KIND_OPENING, b""))
    opened = transport.poll(now_ms).opened
    assert len(opened) == PEERS
    sizes = np.full(PEERS, VALUE_BYTES, np.int64)
    conns = np.array([one.conn for one in opened], np.int32)
    values = np.zeros(PEERS * VALUE_BYTES, np.uint8), conns, np.cumsum(sizes) - sizes, sizes
    kinds = np.full(PEERS, KIND_MESSAGE, np.uint8)
    said = Input(1, 1, 1, np.zeros(3, COMMAND).tobytes(), 2**64 - 1)
    out, into = Work(), Work()
    sends = receives = 0
    for turn in range(-SETTLING, TICKS):
        if turn == 0:
            out, into = Work(), Work()
            sends, receives = _calls(transport)
        now_ms += 50
        for peer in peers:
            peer.say(encode_client(said))
        with into.counting():
            arrived = transport.poll(now_ms)
        assert len(arrived.input_conn) == PEERS
        with out.counting():
            transport.send(*values, kinds)
            transport.flush()
        for peer in peers:
            assert peer.take() == 1
    after = _calls(transport)
    transport.stop()
    for peer in peers:
        peer.sock.close()
    datagrams = TICKS * PEERS
    return {
        "calls_per_datagram_out": out.calls / datagrams,
        "lines_per_datagram_out": out.lines / datagrams,
        "calls_per_datagram_in": into.calls / datagrams,
        "lines_per_datagram_in": into.lines / datagrams,
        "send_calls_per_tick": (after[0] - sends) / TICKS,
        "receive_calls_per_tick": (after[1] - receives) / TICKS,
    }


def _calls(transport: Datagrams) -> tuple[int, int]:
    return int(transport.way.sent[C_CALLS]), int(transport.way.received[C_CALLS])


async def test_a_tick_of_a_crowd_costs_no_more_than_it_may() -> None:
    held("crowd", crowd_costs())


def test_datagrams_cost_no_more_than_they_may() -> None:
    held("datagrams", datagram_costs())


def test_a_guard_that_cannot_fail_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "made_up", {"a": 10.0, "b": 10.0})
    held("made_up", {"a": 9.0, "b": 10.0})
    with pytest.raises(AssertionError, match=r"a: 10\.10, more than.*b: 7\.00, far below"):
        held("made_up", {"a": 10.1, "b": 7.0})
