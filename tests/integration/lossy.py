"""A network between clients and a gateway's UDP socket that loses datagrams, from one seed: a relay on loopback."""

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

Address = tuple[str, int]


class Relay:
    """Runs on the running event loop. ``address``: what clients send to; ``server``: where it goes on to. Each client
    has a socket of its own on that side."""

    def __init__(self, loss: float, seed: int) -> None:
        self.loss = loss
        self.server: Address = ("127.0.0.1", 0)
        self.passed = self.lost = 0
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._near = self._open(self._up)
        self._far: dict[Address, socket.socket] = {}
        self.address: Address = self._near.getsockname()

    def _open(self, take: Callable[[bytes, Address], None]) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._read, sock, take)
        return sock

    def _read(self, sock: socket.socket, take: Callable[[bytes, Address], None]) -> None:
        data, whence = sock.recvfrom(2048)
        if self._random.random() < self.loss:
            self.lost += 1
        else:
            self.passed += 1
            take(data, whence)

    def _up(self, data: bytes, client: Address) -> None:
        if client not in self._far:
            self._far[client] = self._open(partial(self._down, client))
        self._far[client].sendto(data, self.server)

    def _down(self, client: Address, data: bytes, _server: Address) -> None:
        self._near.sendto(data, client)

    def close(self) -> None:
        for sock in (self._near, *self._far.values()):
            self._loop.remove_reader(sock.fileno())
            sock.close()


@contextmanager
def relay(loss: float, seed: int = 1) -> Iterator[Relay]:
    """One that is open; set its ``server`` before anything is sent to it."""
    made = Relay(loss, seed)
    try:
        yield made
    finally:
        made.close()
