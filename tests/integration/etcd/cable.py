"""A TCP relay on loopback between a client and a server, which a test can cut, mute or make swallow the answers."""

import asyncio
from enum import Enum
from typing import Self


class Mode(Enum):
    THROUGH = "all bytes pass"
    CUT = "connections are dropped, new ones at once"
    SILENT = "connections stay, nothing passes"
    ONE_WAY = "requests pass, answers do not; the connection is dropped instead"


class Cable:
    """``async with Cable(port) as cable``: ``cable.url`` leads to the port of 127.0.0.1."""

    def __init__(self, port: int, mode: Mode = Mode.THROUGH) -> None:
        self._target_port = port
        self.mode = mode
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.relayed = 0
        """Connections that were made through it."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await self._idle.wait()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Drop all connections, and new ones until the mode is changed."""
        self.mode = Mode.CUT
        for writer in self._writers:
            writer.transport.abort()

    def _is_cut(self) -> bool:
        return self.mode is Mode.CUT

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut():
            writer.transport.abort()
            return
        self.relayed += 1
        self._writers.add(writer)
        self._idle.clear()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers.add(there_writer)
        try:
            if not self._is_cut():  # it may have been cut meanwhile
                await asyncio.gather(
                    self._relay(reader, there_writer, answers=False), self._relay(there_reader, writer, answers=True)
                )
        finally:
            for end in (writer, there_writer):
                end.transport.abort()
                self._writers.remove(end)
            if not self._writers:
                self._idle.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while data := await reader.read(65536):
                if self.mode is Mode.ONE_WAY and answers:
                    self.cut()
                    return
                if self.mode is not Mode.SILENT:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass  # one end is gone: so is the other
        finally:
            writer.transport.abort()
