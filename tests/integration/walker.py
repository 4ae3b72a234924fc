"""A client over datagrams for tests, whatever carries them."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import numpy as np

from protocol.datagrams import KIND_MESSAGE, StreamOut
from protocol.frames import Structure
from protocol.frames import decode as decode_block
from protocol.layouts import COMMAND
from protocol.messages import Ack, Closing, Hello, Input, Welcome, decode_server, encode_client
from protocol.values import ValueRecords, Values
from protocol.values import decode as decode_values
from tests.integration.wire import PATIENCE_S, now_ms


class Way(Protocol):
    """``tests.udppeer.UdpPeer``, or ``tests.webtransportpeer.WebTransportPeer``."""

    out: StreamOut
    now_ms: float
    messages: list[bytes]
    stream: list[bytes]
    datagrams: int

    def send(self, *sent: tuple[int, bytes]) -> object: ...
    def receive(self) -> list[bytes]: ...
    def open(self, datagram: bytes) -> None: ...


class Walker:
    """A client over datagrams, as the standard has it: HELLO with the ticket, records, acknowledgements."""

    def __init__(self, way: Way, resume: bytes) -> None:
        self.way = way
        self.way.out.push(encode_client(Hello(1, 1, None, None, resume=resume)))
        self.records = ValueRecords()
        self.welcome: Welcome | None = None
        self.own: np.void | None = None
        self.seq = 0
        self.closing: Closing | None = None
        self.said: list[object] = []
        self.lost = 0

    def take(self, loses: Callable[[int], bool] = lambda nth: False) -> None:
        """What has come; ``loses`` says which datagrams count as lost."""
        way = self.way
        for datagram in way.receive():
            if loses(way.datagrams):
                way.datagrams += 1
                self.lost += 1
            else:
                way.open(datagram)
        stream, way.stream = way.stream, []
        for data in stream:
            block = decode_block(data)
            if isinstance(block, Structure):
                self.records.apply_structure(block)
            else:
                said = decode_server(data)
                if isinstance(said, Welcome):
                    self.welcome = said
                else:
                    self.records.count_structure(getattr(said, "sseq", 0))
                    self.said.append(said)
        self.records.release()
        messages, way.messages = way.messages, []
        for data in messages:
            values = decode_values(data)
            if isinstance(values, Values):
                self.records.heard(values)
                if values.own is not None:
                    self.own = values.own_state
            else:
                closing = decode_server(data)
                assert isinstance(closing, Closing)
                self.closing = closing

    async def until(
        self, condition: Callable[[], object], walk: bool = False, loses: Callable[[int], bool] = lambda nth: False
    ) -> None:
        """Speak twenty times a second, as a client does, until ``condition`` holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.way.now_ms = now_ms()
                arrivals, hot = self.records.arrivals, b""
                if walk:
                    self.seq += 1
                    command = np.array([(127, 0, 0, 0, 0, 3, 0)], COMMAND).tobytes()
                    hot = encode_client(Input(self.seq, arrivals.newest, now_ms(), command, arrivals.earlier))
                elif self.welcome is not None:
                    hot = encode_client(Ack(arrivals.newest, now_ms(), arrivals.earlier))
                self.way.send(*([(KIND_MESSAGE, hot)] if hot else []))
                await asyncio.sleep(0.05)
                self.take(loses)

    async def join(self) -> Welcome:
        await self.until(lambda: self.welcome is not None and self.own is not None)
        assert self.welcome is not None
        return self.welcome

    @property
    def x(self) -> int:
        assert self.own is not None
        return int(self.own["p"][0])
