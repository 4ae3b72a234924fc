"""Connections over real sockets: messages in, frames out, and every way in which a connection ends."""

import asyncio
import gc
import os
import socket
import struct
from collections.abc import Callable

import aiohttp
import numpy as np
import pytest

from protocol.codes import Close
from protocol.messages import (
    Ack,
    Closing,
    Hello,
    Input,
    Notice,
    Pose,
    Say,
    decode_server,
    encode_client,
    encode_server,
    pack,
)
from protocol.wsframe import frame
from server.http.guard import Guard
from server.transport.config import CarrierConfig
from server.transport.inbound import Lost, Opened
from server.transport.link import Link
from tests.integration.transport.harness import UPGRADE, raw_client, read_frame, serving, until
from tests.unit.kernels.test_wsparse import masked

HELLO = encode_client(Hello(1, 1, None, "Ada"))


async def closing(reader: asyncio.StreamReader) -> tuple[Closing, int]:
    """The CLOSE message and the close frame's code that end a connection; frames before them are passed over."""
    opcode, payload = await read_frame(reader)
    while not (opcode == 2 and payload[1] == 24):
        opcode, payload = await read_frame(reader)
    message = decode_server(payload)
    assert isinstance(message, Closing)
    opcode, payload = await read_frame(reader)
    assert opcode == 8
    assert await reader.read() == b""
    return message, int.from_bytes(payload[:2], "big")


async def test_messages_arrive_as_columns_and_cold_bytes() -> None:
    async with serving() as s, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://127.0.0.1:{s.port}/ws", protocols=["isthmus.v1"], max_msg_size=0) as ws:
            assert ws.protocol == "isthmus.v1"
            await ws.send_bytes(HELLO)
            await ws.send_bytes(encode_client(Ack(70_000, 5)))
            await ws.send_bytes(encode_client(Input(9, 300, 2**32 - 1, bytes(range(16)))))
            await ws.send_bytes(pack([3, 1, 2, 3, "an item of a later version"]))
            await until(lambda: len(s.log.acks) == 2 and s.log.inputs and s.log.cold)
            assert s.log.opened == [Opened(0, 1, "127.0.0.1")]
            assert s.log.cold == [(0, HELLO)]
            assert s.log.inputs == [(0, 9, 300, 2**32 - 1, bytes(range(16)))]
            assert s.log.acks == [(0, 70_000, 5), (0, 1, 2)]
        await until(lambda: s.carriers.open_count == 0)
        assert s.log.lost == [Lost(0, 1000, "peer_closed")]


async def test_poses_arrive_as_columns_apart_from_what_is_cold() -> None:
    pose, later = encode_client(Pose(5, bytes(34))), pack([8, 6, bytes(68), "an item of a later version"])
    async with serving() as s, raw_client(s.port) as (_, writer):
        writer.write(masked(HELLO) + masked(pose) + masked(encode_client(Ack(1, 2))) + masked(later))
        await until(lambda: len(s.log.poses) == 2 and s.log.acks)
        assert s.log.poses == [(0, pose), (0, later)]
        assert s.log.cold == [(0, HELLO)]
        writer.write(masked(encode_client(Ack(3, 4))))
        await until(lambda: len(s.log.acks) == 2)
        assert len(s.log.poses) == 2, "each is delivered once"


async def test_people_who_come_one_after_the_other_use_one_slot() -> None:
    async with serving() as s:

        def have_come(count: int) -> Callable[[], bool]:
            return lambda: len(s.log.opened) == count

        for count in range(1, 20):
            async with raw_client(s.port):
                await until(have_come(count))
            await until(lambda: s.carriers.open_count == 0)
        assert {opened.conn for opened in s.log.opened} == {0}, "what a slot has in columns is memory once it was used"


async def test_what_comes_in_one_packet_with_the_request_is_not_lost() -> None:
    async with serving() as s, raw_client(s.port, masked(HELLO)[:9]) as (_, writer):
        await until(lambda: s.log.opened)
        writer.write(masked(HELLO)[9:])
        await until(lambda: s.log.cold)
        assert s.log.cold == [(0, HELLO)]


async def test_fragments_and_pings() -> None:
    async with serving() as s, raw_client(s.port) as (reader, writer):
        for part in (masked(HELLO[:3], fin=False), masked(b"beat", 9), masked(b"", 0, False), masked(HELLO[3:], 0)):
            for byte in part:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
        assert await read_frame(reader) == (10, b"beat")
        await until(lambda: s.log.cold)
        assert s.log.cold == [(0, HELLO)]


async def test_posts_are_numbered_for_each_and_leave_before_frames() -> None:
    async with serving() as s, raw_client(s.port) as (r0, _), raw_client(s.port) as (r1, _):
        await until(lambda: len(s.log.opened) == 2)
        note = encode_server(Notice(7, "x" * 200))
        s.carriers.post(np.array([0, 1], np.int32), note, np.array([41, 2**32 - 1], np.uint32))
        s.carriers.post(np.array([1], np.int32), encode_server(Closing(1, None, "not numbered")))
        sent = s.send({0: frame(b"f" * 16_000), 1: frame(b"g")})
        assert sent.frames == 2
        assert await read_frame(r0) == (2, encode_server(Notice(7, "x" * 200, 41)))
        while s.carriers.blocked.any():
            s.carriers.flush()
            await asyncio.sleep(0.001)
        assert await read_frame(r1) == (2, encode_server(Notice(7, "x" * 200, 2**32 - 1)))
        assert await read_frame(r1) == (2, encode_server(Closing(1, None, "not numbered")))
        assert await read_frame(r1) == (2, b"g")
        with pytest.raises(ValueError, match="structure numbers"):
            s.carriers.post(np.array([0], np.int32), note, np.zeros(2, np.uint32))


async def test_our_close_says_why_and_is_not_reported() -> None:
    async with serving() as s, raw_client(s.port) as (reader, writer):
        await until(lambda: s.log.opened)
        s.carriers.close(0, Close.KICKED, 1500, "enough")
        writer.write(masked(HELLO))
        assert await closing(reader) == (Closing(4305, 1500, "enough"), 4305)
        writer.close()
        await until(lambda: s.carriers.open_count == 0)
        assert s.log.lost == []
        assert s.log.cold == []


@pytest.mark.parametrize(
    ("data", "reason", "code"),
    [
        (masked(b"text", 1), "text_frame", Close.PROTOCOL),
        (masked(b"", 3), "bad_opcode", Close.PROTOCOL),
        (b"\xc2\x80\0\0\0\0", "reserved_bits", Close.PROTOCOL),
        (b"\x82\x01a", "unmasked", Close.PROTOCOL),
        (masked(b"x", 0), "bad_fragment", Close.PROTOCOL),
        (masked(b"x", 9, fin=False), "bad_control", Close.PROTOCOL),
        (masked(b"x", wide=8), "bad_length", Close.PROTOCOL),
        (masked(bytes(5000)), "oversized", Close.TOO_LARGE),
        (masked(encode_client(Ack(1, 1))) * 121, "too_many_messages", Close.TOO_MANY_MESSAGES),
        (masked(pack([2, 1, 2, 3, bytes(9)])), "malformed", Close.PROTOCOL),
        (masked(pack([3, -1, 2])), "wrong_type", Close.PROTOCOL),
    ],
)
async def test_a_violation_closes_that_session_alone(data: bytes, reason: str, code: Close) -> None:
    async with serving() as s, raw_client(s.port) as (_, good), raw_client(s.port) as (reader, bad):
        await until(lambda: len(s.log.opened) == 2)
        bad.write(data)
        message, ws_code = await closing(reader)
        assert message.code == ws_code == code
        await until(lambda: s.log.lost)
        assert s.log.lost == [Lost(1, code, reason)]
        assert s.carriers.rejected == {reason: 1}
        good.write(masked(HELLO))
        await until(lambda: s.log.cold)
        assert s.log.cold == [(0, HELLO)]


async def test_random_bytes_never_reach_beyond_their_session() -> None:
    rng = np.random.default_rng(3)
    async with serving() as s, raw_client(s.port) as (_, good):
        for round_ in range(60):
            async with raw_client(s.port) as (reader, bad):
                noise = rng.integers(0, 256, rng.integers(1, 3000), np.uint8).tobytes()
                bad.write(noise if round_ % 2 else masked(noise))
                bad.write_eof()
                await reader.read()
        good.write(masked(encode_client(Say(0, "still here"))))
        await until(lambda: (0, encode_client(Say(0, "still here"))) in s.log.cold)
        await until(lambda: s.carriers.open_count == 1)
        assert len(s.log.lost) == 60


async def reset(port: int, opened: Callable[[], bool]) -> socket.socket:
    """A connected client whose ``close`` sends a reset at once."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, UPGRADE)
    await until(opened)
    return sock


async def test_a_reset_is_noticed_by_reading() -> None:
    async with serving() as s:
        (await reset(s.port, lambda: bool(s.log.opened))).close()
        await until(lambda: s.log.lost)
        assert s.log.lost == [Lost(0, 1006, "reset")]
        await until(lambda: s.carriers.open_count == 0)


async def test_a_reset_is_noticed_by_sending() -> None:
    async with serving() as s:
        (await reset(s.port, lambda: bool(s.log.opened))).close()
        assert s.send({0: frame(b"a")}).lost == 1
        assert s.send({0: frame(b"a")}) == (0, 0, 0, 0, 0)
        await until(lambda: s.log.lost)
        assert s.log.lost == [Lost(0, 1006, "reset")]
        await until(lambda: s.carriers.open_count == 0)


async def test_a_slow_reader_gets_whole_frames_in_order_and_costs_bounded_memory() -> None:
    config = CarrierConfig(capacity=4)
    async with serving(config) as s, raw_client(s.port, limit=1024) as (reader, _):
        await until(lambda: s.log.opened)
        sent: list[bytes] = []
        for number in range(4000):
            if s.carriers.blocked[0]:
                break
            sent.append(number.to_bytes(4, "big") + os.urandom(9000))
            s.send({0: frame(sent[-1])})
        assert s.carriers.blocked[0]
        assert 0 < s.carriers.columns["tx_fill"][0] <= config.tx_bytes
        for number, expected in enumerate(sent):
            opcode, payload = await read_frame(reader)
            assert (opcode, payload == expected) == (2, True), number
            s.carriers.flush()
        assert not s.carriers.blocked[0]
        assert s.carriers.columns["tx_fill"][0] == 0


async def test_a_client_with_too_much_waiting_is_closed() -> None:
    async with serving(CarrierConfig(capacity=4, linger_s=0.2)) as s, raw_client(s.port, limit=1024):
        await until(lambda: s.log.opened)
        message = encode_server(Notice(1, "y" * 4000))
        for _ in range(5000):
            s.carriers.post(np.array([0], np.int32), message)
            s.carriers.flush()
            if s.carriers.rejected:
                break
        assert s.carriers.rejected == {"too_slow": 1}
        await until(lambda: s.carriers.open_count == 0)
        assert s.log.lost == [Lost(0, Close.TOO_SLOW, "too_slow")]


async def test_a_message_of_a_mebibyte_flows_through_a_transmit_area() -> None:
    """In fragments, with a pong between two of them; what is posted behind it comes behind it."""
    config = CarrierConfig(capacity=4)
    text = os.urandom(524_000).hex()
    largest = encode_server(Notice(1, text))
    small = encode_server(Notice(2, "behind it"))
    async with serving(config) as s, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://127.0.0.1:{s.port}/ws", max_msg_size=1 << 20) as ws:
            await until(lambda: s.log.opened)
            s.carriers.post(np.array([0], np.int32), largest, np.array([7], np.uint32))
            for sseq in range(8, 108):
                s.carriers.post(np.array([0], np.int32), small, np.array([sseq], np.uint32))
            assert s.carriers.blocked[0]
            s.carriers.flush()
            await ws.ping(b"in the middle")
            received = asyncio.create_task(ws.receive())
            for _ in range(200):
                await asyncio.sleep(0.005)
                assert s.carriers.columns["tx_fill"][0] <= config.post_bytes_max
                s.carriers.flush()
                if not s.carriers.blocked[0]:
                    break
            whole = decode_server((await received).data)
            assert whole == Notice(1, text, 7)
            behind = [decode_server((await ws.receive()).data) for _ in range(100)]
            assert [message.sseq for message in behind if isinstance(message, Notice)] == list(range(8, 108))
            assert not s.carriers.blocked[0]
            s.send({0: frame(b"as ever")})
            assert (await ws.receive()).data == b"as ever"
            assert not s.log.lost


async def test_who_does_not_read_a_large_message_costs_one_and_is_too_slow() -> None:
    async with serving(CarrierConfig(capacity=4, linger_s=0.2)) as s, raw_client(s.port, limit=1024):
        await until(lambda: s.log.opened)
        for _ in range(20):
            s.carriers.post(np.array([0], np.int32), bytes(600_000))
            for _ in range(20):
                s.carriers.flush()
            if s.carriers.rejected:
                break
        assert s.carriers.rejected == {"too_slow": 1}
        await until(lambda: s.carriers.open_count == 0)
        assert s.log.lost == [Lost(0, Close.TOO_SLOW, "too_slow")]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_close_does_not_come_in_the_middle_of_a_message(begun: bool) -> None:
    async with serving(CarrierConfig(capacity=4)) as s, raw_client(s.port) as (reader, _):
        await until(lambda: s.log.opened)
        s.carriers.post(np.array([0], np.int32), bytes(100_000))
        if begun:
            s.carriers.flush()
        s.carriers.close(0, Close.KICKED, text="out")
        if not begun:
            assert (await closing(reader))[1] == Close.KICKED
            return
        kinds = list[int]()
        while (head := await reader.readexactly(4))[0] & 15 != 8:
            kinds.append(head[0])
            await reader.readexactly(int.from_bytes(head[2:], "big"))
        assert kinds == [0x02, *[0x00] * (len(kinds) - 1)], "fragments of the message, none of them the last"
        assert int.from_bytes(head[2:], "big") == Close.KICKED


async def test_refusals_name_their_reason() -> None:
    config = CarrierConfig(capacity=3, connections_per_address=2)
    async with serving(config, Guard.of(origins=["https://friend.example"])) as s, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{s.port}/ws"
        async with session.ws_connect(url, headers={"Origin": "https://evil.example"}) as ws:
            await ws.receive()
            assert (await ws.receive()).data == Close.ORIGIN
        async with session.ws_connect(url, headers={"Origin": "https://friend.example"}), raw_client(s.port):
            async with session.ws_connect(url) as ws:
                first = decode_server((await ws.receive()).data)
                assert isinstance(first, Closing)
                assert (first.code, first.retry_after_ms) == (Close.TOO_MANY_CONNECTIONS, 2000)
                assert (await ws.receive()).data == Close.TOO_MANY_CONNECTIONS
        for headers, status in (({}, 426), ({"Upgrade": "websocket", "Connection": "Upgrade"}, 400)):
            async with session.get(url, headers=headers) as response:
                assert response.status == status
        assert s.acceptor.refused == {"origin": 1, "too_many_connections": 1}


async def test_a_full_server_says_when_to_come_back() -> None:
    async with serving(CarrierConfig(capacity=1)) as s, raw_client(s.port), raw_client(s.port) as (reader, _):
        message, _ = await closing(reader)
        assert (message.code, message.retry_after_ms) == (Close.FULL, 2000)


async def test_wake_ups_are_bounded_however_many_messages_arrive() -> None:
    async with serving(CarrierConfig(capacity=64, message_burst=10_000, mute_s=0.1)) as s:
        async with asyncio.TaskGroup() as group:

            async def talk() -> None:
                async with raw_client(s.port) as (_, writer):
                    for _ in range(50):
                        writer.write(masked(encode_client(Ack(1, 1))))
                        await writer.drain()
                        await asyncio.sleep(0)

            for _ in range(40):
                group.create_task(talk())
        await until(lambda: len(s.log.lost) == 40)
        assert len(s.log.acks) == 2000
        assert s.carriers.wakeups < 200


def census() -> tuple[int, int]:
    gc.collect()
    links = sum(isinstance(o, Link) for o in gc.get_objects())
    return len(os.listdir("/proc/self/fd")), links


async def test_a_thousand_connections_leave_nothing_behind() -> None:
    async with serving(CarrierConfig(capacity=256, connections_per_address=300)) as s:
        async with raw_client(s.port):
            await until(lambda: s.log.opened)
        await until(lambda: s.carriers.open_count == 0)
        await asyncio.sleep(0.05)
        before, tasks = census(), len(asyncio.all_tasks())
        for _ in range(5):
            async with asyncio.TaskGroup() as group:

                async def visit(number: int) -> None:
                    async with raw_client(s.port) as (reader, writer):
                        writer.write(masked(HELLO))
                        if number % 4 == 1:
                            writer.write(masked(b"", 8))
                            await reader.read()
                        elif number % 4 == 2:
                            writer.write(masked(b"no", 1))
                            await reader.read()
                        elif number % 4 == 3:
                            writer.transport.abort()

                for number in range(200):
                    group.create_task(visit(number))
            await until(lambda: s.carriers.open_count == 0 and len(s.log.lost) == len(s.log.opened))
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        await until(lambda: census() == before)
        assert len(s.log.opened) >= 750
        assert s.carriers.columns["generation"].sum() == len(s.log.opened)


async def test_one_slice_goes_to_many_and_one_who_does_not_read_costs_itself_alone() -> None:
    """What channels rely on: the same bytes of one buffer for many connections, in one call."""
    config = CarrierConfig(capacity=8)
    async with (
        serving(config) as s,
        raw_client(s.port, limit=1024),  # it never reads: its sockets and its area fill, and then it is left out
        raw_client(s.port) as (r1, _),
        raw_client(s.port) as (r2, _),
        raw_client(s.port) as (r3, _),
    ):
        await until(lambda: len(s.log.opened) == 4)
        rng = np.random.default_rng(1)
        skipped = turns = 0
        while skipped < 20:
            turns += 1
            assert turns < 2000, "it was never blocked"
            payload = rng.bytes(16_000)
            entry = frame(payload)
            ring = np.frombuffer(bytearray(b"other bytes" + entry), np.uint8)
            conns = np.flatnonzero(s.carriers.blocked[:4] == 0).astype(np.int32)
            assert set(conns.tolist()) >= {1, 2, 3}
            told = s.carriers.send(ring, conns, np.full(len(conns), 11), np.full(len(conns), len(entry)))
            assert told.lost == 0
            skipped += 4 - len(conns)
            for reader in (r1, r2, r3):
                assert await read_frame(reader) == (2, payload), "the others get every byte"
            await until(lambda: not s.carriers.blocked[1:4].any())
        assert s.carriers.columns["tx_fill"][0] <= config.tx_bytes
        assert s.log.lost == []
