"""WebTransport as a way of datagrams, in one process with aioquic's client: what no whole server can be brought to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import numpy as np
import pytest
from aioquic.quic.connection import QuicConnection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.peers import STATE_OPEN
from protocol.datagrams import KIND_MESSAGE, KIND_OPENING, plaintext
from protocol.messages import Ack, Token, encode_client
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.transport import Datagrams
from server.transport.inbound import Lost, Opened
from server.transport.warmup import warm_up
from server.transport.webtransport.certificates import Generated
from server.transport.webtransport.config import WebTransportConfig
from server.transport.webtransport.way import WebTransportWay
from tests.integration.transport.harness import until
from tests.webtransportpeer import Wire, opened, proof_of

BASE = 10
OPENING = plaintext(0, [(KIND_OPENING, b"")])


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """A loop that stands still while kernels are compiled makes QUIC believe in a round trip of seconds."""
    warm_up()


class Gate:
    """The transport with a clock that is turned by hand."""

    def __init__(self, config: WebTransportConfig) -> None:
        self.now_ms = 1_000_000
        table = DatagramConfig(capacity=2, arrivals_max=16, departures_max=16)
        self.transport = Datagrams(
            table, BASE, clock_ms=lambda: self.now_ms, way=lambda table: WebTransportWay(config, Generated(), table)
        )
        self.opened: list[Opened] = []
        self.lost: list[Lost] = []
        self.acks = 0

    def poll(self, ms: int = 0) -> None:
        self.now_ms += ms
        inbound = self.transport.poll(self.now_ms)
        self.opened += inbound.opened
        self.lost += inbound.lost
        self.acks += len(inbound.ack_conn)

    async def until_open(self, wire: Wire, slot: int) -> None:
        """Say what a client says first, until it has come."""

        def is_open() -> bool:
            wire.say(OPENING)
            self.poll()
            return bool(self.transport.rows["state"][slot] == STATE_OPEN)

        await until(is_open)

    def dropped(self, reason: str) -> int:
        return self.transport.dropped.get(reason, 0)


@asynccontextmanager
async def gate(config: WebTransportConfig | None = None) -> AsyncIterator[Gate]:
    made = Gate(config or WebTransportConfig())
    made.transport.start()
    yield made
    made.transport.stop()


def slot_of(token: Token) -> int:
    return token.number & 0xFFFF


async def test_what_came_of_a_slot_that_was_let_go_is_not_its_next_owners() -> None:
    async with gate() as it:
        token = it.transport.token(7)
        async with opened(token) as wire:
            wire.show(proof_of(token))
            await it.until_open(wire, slot_of(token))
            [begun] = it.opened
            assert (begun.conn, begun.session, begun.remote) == (BASE + slot_of(token), 7, "127.0.0.1")
            said = encode_client(Ack(0, 0, 0))
            wire.say(plaintext(0, [(KIND_MESSAGE, said)]))
            received = it.transport.way.received.copy()
            await until(lambda: (it.transport.way.received != received).any())
            it.transport.close(begun.conn, 4003)
            it.poll(2000)
            again = it.transport.token(8)
            assert slot_of(again) == slot_of(token)
            assert again.number != token.number
            it.poll()
            assert it.acks == 0
            assert it.transport.tokens_waiting == 1, "nothing of the one before has opened it"


async def test_what_quic_cannot_send_is_dropped_and_not_kept() -> None:
    async with gate(WebTransportConfig(waiting_max=8)) as it:
        token = it.transport.token(7)
        async with opened(token) as wire:
            wire.show(proof_of(token))
            await it.until_open(wire, slot_of(token))
            conns = np.full(40, BASE + slot_of(token), np.int32)
            sizes, kinds = np.full(40, 1100, np.int64), np.full(40, KIND_MESSAGE, np.uint8)
            # Nothing is acknowledged meanwhile, for this loop does nothing else.
            it.transport.send(np.zeros(40 * 1100, np.uint8), conns, np.cumsum(sizes) - sizes, sizes, kinds)
            it.transport.flush()
            assert it.dropped("send_blocked") > 0
            session = next(session for session in it.transport.way._sessions if session is not None)  # type: ignore[attr-defined]
            assert len(session._quic._datagrams_pending) <= 8
            await wire.until(lambda: len(wire.datagrams) >= 8)
            assert max(map(len, wire.datagrams)) <= 1171


async def test_a_token_that_nobody_shows_is_over_with_its_slot() -> None:
    async with gate() as it:
        token = it.transport.token(7)
        it.poll(11_000)
        assert it.transport.open_count == 0
        async with opened(token) as wire:
            wire.show(proof_of(token))
            await wire.until(lambda: wire.ended is not None)
        assert it.dropped("wrong_token") == 1


async def test_who_shows_no_token_is_not_waited_for() -> None:
    async with gate(WebTransportConfig(proof_s=0.2, handshakes_max=1)) as it:
        async with opened(it.transport.token(7)) as wire:

            def is_over() -> bool:
                it.poll()
                return wire.ended is not None

            await until(is_over)
        assert it.dropped("no_token") == 1
        async with opened(it.transport.token(8)) as wire:  # there is room again
            assert wire.ended is None


async def test_a_stumble_of_the_library_costs_one_connection() -> None:
    async with gate() as it:
        good, bad = it.transport.token(7), it.transport.token(8)
        async with opened(good) as one, opened(bad) as other:
            one.show(proof_of(good))
            other.show(proof_of(bad))
            await it.until_open(one, slot_of(good))
            await it.until_open(other, slot_of(bad))
            session = it.transport.way._sessions[slot_of(bad)]  # type: ignore[attr-defined]
            receive = QuicConnection.receive_datagram

            def stumbles(quic: QuicConnection, *args: object, **named: object) -> None:
                if quic is session._quic:
                    raise IndexError("a mistake of a library")
                receive(quic, *args, **named)  # type: ignore[arg-type]

            with patch.object(QuicConnection, "receive_datagram", stumbles):
                other.say(OPENING)
                await until(lambda: it.dropped("stumbled") > 0)
            await other.until(lambda: other.ended is not None)
            one.say(OPENING)
            it.poll()
            assert it.transport.rows["state"][slot_of(good)] == STATE_OPEN


@pytest.fixture
async def open_gate() -> AsyncIterator[Gate]:
    async with gate(WebTransportConfig(handshake_burst=10_000, handshakes_max=10_000)) as it:
        yield it


@given(packets=st.lists(st.binary(max_size=1400), max_size=20), headed=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_packets_raise_nothing(open_gate: Gate, packets: list[bytes], headed: bool) -> None:
    server = open_gate.transport.way._server  # type: ignore[attr-defined]
    head = b"\xc0\x00\x00\x00\x01\x08" + bytes(8) + b"\x08" + bytes(8)
    for packet in packets:
        server.datagram_received((head + packet).ljust(1200, b"\x00") if headed else packet, ("192.0.2.1", 9))
    open_gate.poll()
    assert open_gate.opened == []
    await asyncio.sleep(0)
