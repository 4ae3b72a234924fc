"""A client that writes its bytes by hand, so that it can do everything that a client must not (RFC 6455)."""

import asyncio
import contextlib
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from protocol.frames import Frame, Records, Structure, decode
from protocol.layouts import COMMAND
from protocol.messages import (
    Ack,
    Closing,
    Hello,
    Input,
    ServerMessage,
    Token,
    Welcome,
    decode_server,
    encode_client,
)

BINARY, TEXT, CLOSE = 2, 1, 8
MASK = b"\x37\xfa\x21\x3d"
PATIENCE_S = 20.0


def ws_frame(payload: bytes, opcode: int = BINARY, first: int | None = None) -> bytes:
    """One masked WebSocket frame; ``first`` replaces its first byte."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | size])
    elif size < 65536:
        head = b"\xfe" + struct.pack(">H", size)
    else:
        head = b"\xff" + struct.pack(">Q", size)
    key = np.frombuffer((MASK * (size // 4 + 1))[:size], np.uint8)
    masked = (np.frombuffer(payload, np.uint8) ^ key).tobytes()
    return bytes([0x80 | opcode if first is None else first]) + head + MASK + masked


class Ended(Exception):
    """The server closed the connection: ``code`` of its CLOSE message or close frame (1006: it just broke)."""

    def __init__(self, code: int, closing: Closing | None) -> None:
        super().__init__(f"{code} {closing}")
        self.code = code
        self.closing = closing


class Peer:
    """One connection after its upgrade. ``records`` holds what was applied; ``welcome`` is set when it was welcomed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.records = Records()
        self.welcome: Welcome | None = None
        self.own: Any = None
        self.frames = 0
        self.heard: list[ServerMessage] = []
        self.closing: Closing | None = None
        self.seq = 0

    # ---------------------------------------------------------------------------------------------------- writing
    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def say(self, payload: bytes, opcode: int = BINARY) -> None:
        self.writer.write(ws_frame(payload, opcode))

    def hello(self, token: str | None, name: str | None = None, resume: bytes | None = None, **more: Any) -> None:
        self.say(encode_client(Hello(1, 1, token, name, resume=resume, **more)))

    def ack(self, frame: int | None = None) -> None:
        self.say(encode_client(Ack(self.records.frame if frame is None else frame, now_ms())))

    def walk(self, move_x: int = 127, move_z: int = 0, steps: int = 3, seq: int | None = None) -> None:
        """One command, numbered by itself unless ``seq`` is given."""
        self.seq = self.seq + 1 if seq is None else seq
        command = np.array([(move_x, move_z, 0, 0, 0, steps, 0)], COMMAND).tobytes()
        self.say(encode_client(Input(self.seq & 0xFFFFFFFF, self.records.frame, now_ms(), command)))

    # ---------------------------------------------------------------------------------------------------- reading
    async def message(self) -> bytes:
        """The next binary message. Raises Ended."""
        try:
            while True:
                first, second = await self.reader.readexactly(2)
                size = second & 0x7F
                if size == 126:
                    (size,) = struct.unpack(">H", await self.reader.readexactly(2))
                elif size == 127:
                    (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
                payload = await self.reader.readexactly(size)
                if first & 15 == BINARY:
                    return payload
                if first & 15 == CLOSE:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
                    assert self.closing is None or self.closing.code == code
                    raise Ended(code, self.closing)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Ended(1006 if self.closing is None else self.closing.code, self.closing) from None

    def apply(self, data: bytes) -> Structure | Frame | ServerMessage | None:
        """Apply one message as a client does."""
        block = decode(data)
        if isinstance(block, Frame):
            self.records.apply_frame(block)
            self.frames += 1
            if block.own is not None:
                self.own = block.own_state
            return block
        if isinstance(block, Structure):
            self.records.apply_structure(block)
            return block
        message = decode_server(data)
        if isinstance(message, Welcome):
            self.welcome = message
        elif isinstance(message, Closing):
            self.closing = message
        elif isinstance(message, Token):
            self.heard.append(message)
        elif message is not None:
            self.records.count_structure(getattr(message, "sseq", 0))
            self.heard.append(message)
        return message

    async def take(self) -> Structure | Frame | ServerMessage | None:
        return self.apply(await self.message())

    async def until(self, condition: Callable[[], object], ack: bool = True) -> None:
        """Read, acknowledging each frame, until ``condition`` holds. Raises Ended, TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                if isinstance(await self.take(), Frame) and ack:
                    self.ack()

    async def end(self) -> Ended:
        """Read on until the server closes, and return how."""
        try:
            await self.until(lambda: False)
        except Ended as ended:
            return ended
        raise AssertionError("unreachable")

    async def join(
        self, token: str | None, name: str | None = None, resume: bytes | None = None, **more: Any
    ) -> Welcome:
        """HELLO, and read until the first own state."""
        self.hello(token, name, resume, **more)
        await self.until(lambda: self.welcome is not None and (self.own is not None or self.welcome.body is None))
        assert self.welcome is not None
        return self.welcome

    def drop(self) -> None:
        """Break the connection without a word."""
        self.writer.transport.abort()


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000 & 0xFFFFFFFF


async def upgrade(
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    headers: str = "",
    host: str = "127.0.0.1",
    limit: int = 1 << 16,
) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for /ws; returns the HTTP status and the streams."""
    name = None if tls is None else "localhost"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=limit, server_hostname=name)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Protocol: isthmus.v1\r\n{headers}\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), reader, writer


@asynccontextmanager
async def peer(port: int, *, tls: ssl.SSLContext | None = None, limit: int = 1 << 16) -> AsyncIterator[Peer]:
    """A connection that has been upgraded and has said nothing."""
    status, reader, writer = await upgrade(port, tls=tls, limit=limit)
    try:
        assert status == 101
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
