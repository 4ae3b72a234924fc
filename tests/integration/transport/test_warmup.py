"""Nothing is compiled once clients are connected, and a second process compiles nothing at all."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from kernels import arriving, departing, peers, streams, wsparse
from protocol.messages import Ack, Bye, Notice, encode_client, encode_server
from protocol.wsframe import frame
from server.transport import mmsg, outbox, syscalls
from server.transport.config import CarrierConfig
from tests.integration.transport.harness import raw_client, serving, until
from tests.integration.transport.test_datagrams import BASE, Gate
from tests.unit.kernels.test_wsparse import masked

KERNELS: tuple[Any, ...] = (
    syscalls.watch,
    syscalls.receive_and_parse,
    syscalls.send,
    outbox.enqueue,
    wsparse.parse,
    mmsg.receive,
    mmsg.send,
    peers.sift,
    arriving.take_datagrams,
    arriving.take_streams,
    departing.write_messages,
    departing.write_rest,
    departing.post,
    departing.post_frames,
    streams.pour,
    departing.mark_blocked,
)


async def traffic() -> None:
    async with serving(CarrierConfig(capacity=4, message_burst=5000)) as s, raw_client(s.port) as (_, writer):
        await until(lambda: s.log.opened)
        # Enough in one poll for the outputs to grow.
        s.carriers._outputs.acks = np.zeros((3, 8), np.uint32)
        writer.write(masked(encode_client(Ack(1, 1))) * 200 + masked(b"p", 9))
        await until(lambda: len(s.log.acks) == 200)
        s.carriers.post(np.zeros(1, np.int32), encode_server(Notice(1, "a")), np.zeros(1, np.uint32))
        s.carriers.post(np.zeros(1, np.int32), encode_server(Notice(1, "a")))
        s.send({0: frame(b"x")})
        s.carriers.close(0, 4000)
        await until(lambda: s.carriers.open_count == 0)


def datagrams() -> None:
    gate = Gate()
    peer = gate.joined()
    for _ in range(50):
        peer.say(encode_client(Ack(1, 1)))
    peer.out.push(encode_client(Bye()))
    peer.send()
    assert len(gate.poll().ack_conn) == 50
    gate.transport.post(np.full(1, BASE, np.int32), b"a")
    gate.transport.post(np.full(1, BASE, np.int32), encode_server(Notice(1, "a")), np.ones(1, np.uint32))
    gate.send((BASE, 1, bytes(10_000)), (BASE, 2, b"b"))
    note = np.frombuffer(bytearray(frame(b"c")), np.uint8)
    gate.transport.send_frames(note, np.full(1, BASE, np.int32), np.zeros(1, np.int64), np.full(1, 3, np.int64))
    assert not gate.transport.blocked.any()
    gate.transport.post(np.full(1, BASE, np.int32), bytes(60_000), np.ones(1, np.uint32))
    gate.transport.close(BASE, 4000)
    gate.transport.flush()
    gate.transport.stop()
    peer.close()


def report() -> None:
    """Run in a process of its own: warm up, work, and print what was compiled when."""
    from server.transport.warmup import warm_up

    warm_up()
    compiled = sum(sum(kernel.stats.cache_misses.values()) for kernel in KERNELS)
    signatures = [len(kernel.signatures) for kernel in KERNELS]
    uvloop.run(traffic())
    asyncio.run(traffic())
    datagrams()
    later = [len(kernel.signatures) for kernel in KERNELS]
    print(compiled, later == signatures, flush=True)  # noqa: T201  # the parent reads it


def test_a_second_process_compiles_nothing() -> None:
    code = "from tests.integration.transport.test_warmup import report; report()"
    root = Path(__file__).parents[3]
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=110)
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    assert runs[1].stdout.split() == ["0", "True"]
