"""``python -m bench.webtransport``: what one datagram over WebTransport costs a gateway, beside ``bench.datagrams``.

One process: the gateway's table with its way over aioquic, and aioquic's clients, on one loop. Measured is the CPU time
of the gateway's own calls: sending, and all that its socket brings, acknowledgements of QUIC included, in ticks of 50
ms as a gateway has them. Timers of QUIC are not in it. A browser's acknowledgements come at other times than aioquic's.
"""

import argparse
import asyncio
import gc
import logging
import time
from contextlib import AsyncExitStack
from statistics import median
from unittest.mock import patch

import numpy as np
import structlog
from rich.console import Console
from rich.table import Table as Shown

from bench.datagrams import COMMANDS, batch_of
from protocol.datagrams import KIND_MESSAGE, KIND_OPENING, plaintext
from protocol.messages import Input, encode_client
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.transport import Datagrams
from server.transport.mmsg import C_CALLS
from server.transport.webtransport.certificates import Generated
from server.transport.webtransport.config import WebTransportConfig
from server.transport.webtransport.server import WebTransportServer
from server.transport.webtransport.way import WebTransportWay
from tests.webtransportpeer import Wire, opened, proof_of

TICK_S = 0.05
SAID = encode_client(Input(1, 1, 1, COMMANDS, 2**64 - 1))


class Reading:
    """Adds up the CPU of what the socket brings, for servers that start within it."""

    def __init__(self) -> None:
        self.us = 0.0
        self._read = WebTransportServer._on_readable
        self._patch = patch.object(WebTransportServer, "_on_readable", lambda server: self._timed(server))

    def _timed(self, server: WebTransportServer) -> None:
        begun = time.thread_time_ns()
        self._read(server)
        self.us += (time.thread_time_ns() - begun) / 1e3

    def __enter__(self) -> "Reading":
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


async def measure(clients: int, value_bytes: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU for each datagram out, for each in, and how many packets came for each datagram in."""
    granted = DatagramConfig(capacity=clients, messages_per_s=1e6, message_burst=10**6)
    config = WebTransportConfig(handshake_burst=2 * clients, handshakes_max=clients)
    transport = Datagrams(granted, 0, way=lambda table: WebTransportWay(config, Generated(), table))
    async with AsyncExitStack() as stack:
        reading = stack.enter_context(Reading())
        transport.start()
        wires: list[Wire] = []
        for k in range(clients):
            token = transport.token(k + 1)
            wire = await stack.enter_async_context(opened(token))
            wire.show(proof_of(token))
            wires.append(wire)
        while transport.tokens_waiting:
            for wire in wires:
                wire.say(plaintext(0, [(KIND_OPENING, b"")]))
            await asyncio.sleep(TICK_S)
            transport.poll(time.monotonic_ns() // 1_000_000)
        values, kinds = batch_of(bytes(value_bytes), clients, 0), np.full(clients, KIND_MESSAGE, np.uint8)
        out, into, packets, handshake = [], [], [], reading.us / clients
        gc.collect()
        gc.disable()
        for turn in range(rounds + 5):
            reading.us, calls = 0.0, int(transport.way.received[C_CALLS])
            begun = time.thread_time_ns()
            transport.send(*values, kinds)
            transport.flush()
            sent_us = (time.thread_time_ns() - begun) / 1e3
            for wire in wires:
                wire.datagrams.clear()
                wire.say(plaintext(0, [(KIND_MESSAGE, SAID)]))
            await asyncio.sleep(TICK_S)
            begun = time.thread_time_ns()
            inbound = transport.poll(time.monotonic_ns() // 1_000_000)
            polled_us = (time.thread_time_ns() - begun) / 1e3
            if turn >= 5 and len(inbound.input_conn) == clients:
                out.append(sent_us / clients)
                into.append((reading.us + polled_us) / clients)
                packets.append((int(transport.way.received[C_CALLS]) - calls) / clients)
        gc.enable()
    transport.stop()
    return {"out": median(out), "in": median(into), "packets": median(packets), "handshake": handshake}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.webtransport", description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    shown = Shown("bytes out", "a datagram out", "an INPUT in", "calls for it", "a handshake", title="CPU, µs")
    for value_bytes in (100, 300, 1100):
        told = asyncio.run(measure(options.clients, value_bytes, options.rounds))
        shown.add_row(str(value_bytes), *(f"{told[name]:.1f}" for name in ("out", "in", "packets", "handshake")))
    console = Console()
    console.print(f"{options.clients} clients, median of {options.rounds} rounds")
    console.print(shown)


if __name__ == "__main__":
    main()
