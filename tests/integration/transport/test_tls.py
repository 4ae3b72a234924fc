"""The same interface over TLS inside the process."""

import asyncio
import ssl

import numpy as np
import pytest
import trustme

from protocol.codes import Close
from protocol.messages import Ack, Hello, Input, Notice, encode_client, encode_server
from protocol.wsframe import frame
from server.transport.config import CarrierConfig
from server.transport.inbound import Lost
from tests.integration.transport.harness import raw_client, read_frame, serving, until
from tests.integration.transport.test_carriers import closing
from tests.unit.kernels.test_wsparse import masked


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def test_both_directions_and_our_close(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts
    async with (
        serving(tls=server) as s,
        raw_client(s.port, ssl=client, server_hostname="localhost") as (reader, writer),
    ):
        await until(lambda: s.log.opened)
        assert s.carriers.columns["tls"][0] == 1
        # More than one receive area holds, in one go.
        count = 100
        writer.write(b"".join(masked(encode_client(Input(n, 0, n, bytes(64)))) for n in range(count)))
        writer.write(masked(b"?", 9))
        await until(lambda: len(s.log.inputs) == count)
        assert [row[1] for row in s.log.inputs] == list(range(count))
        assert await read_frame(reader) == (10, b"?")
        s.carriers.post(np.array([0], np.int32), encode_server(Notice(1, "a")), np.array([5], np.uint32))
        assert s.send({0: frame(b"z" * 9000)}).frames == 1
        assert await read_frame(reader) == (2, encode_server(Notice(1, "a", 5)))
        assert await read_frame(reader) == (2, b"z" * 9000)
        s.carriers.close(0, Close.GOING_AWAY, None, "later")
        message, code = await closing(reader)
        assert message.code == code == 4000
        await until(lambda: s.carriers.open_count == 0)
        assert s.log.lost == []


async def test_a_client_that_leaves(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts
    async with serving(tls=server) as s:
        async with raw_client(s.port, ssl=client, server_hostname="localhost") as (_, writer):
            writer.write(masked(encode_client(Hello(1, 1, None, "a"))) + masked(encode_client(Ack(3, 4))))
            await until(lambda: s.log.acks)
        await until(lambda: s.log.lost and s.carriers.open_count == 0)
        assert s.log.lost == [Lost(0, 1006, "eof")]


async def test_a_slow_reader_is_blocked_within_bounds(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts
    config = CarrierConfig(capacity=4)
    async with (
        serving(config, tls=server) as s,
        raw_client(s.port, ssl=client, server_hostname="localhost", limit=1024) as (reader, _),
    ):
        await until(lambda: s.log.opened)
        sent = 0
        for _ in range(4000):
            if s.carriers.blocked[0]:
                break
            s.send({0: frame(sent.to_bytes(4, "big") + bytes(12_000))})
            sent += 1
            await asyncio.sleep(0)
        assert s.carriers.blocked[0]
        link = s.carriers._links[0]
        assert link is not None
        assert link.waiting_bytes() < 16_384 + config.tx_bytes + 65_536
        for number in range(sent):
            opcode, payload = await read_frame(reader)
            assert (opcode, int.from_bytes(payload[:4], "big")) == (2, number)
            s.carriers.flush()
        assert s.carriers.columns["tx_fill"][0] == 0
