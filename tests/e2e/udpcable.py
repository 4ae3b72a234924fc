"""A cable between browser and server that a test can cut: a UDP relay on loopback."""

import socket
from contextlib import suppress
from select import select
from threading import Thread

_LOOK_S = 0.2
_BYTES = 2048


class UdpCable:
    """Relays datagrams to ``target`` and back, by client. While it is ``unplugged``, all are lost."""

    def __init__(self) -> None:
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self.port: int = self._near.getsockname()[1]
        self.target = 0
        self.unplugged = False
        self.relayed = 0
        self._far: dict[tuple[str, int], socket.socket] = {}
        self._ends = False
        self._thread = Thread(target=self._relay, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Cut it for good, and wait until its thread has ended."""
        self._ends = True
        self._thread.join()
        for sock in (self._near, *self._far.values()):
            sock.close()

    def _relay(self) -> None:
        while not self._ends:
            ready, _, _ = select([self._near, *self._far.values()], [], [], _LOOK_S)
            for sock in ready:
                with suppress(ConnectionRefusedError):  # the server has not begun yet, or has ended
                    data, source = sock.recvfrom(_BYTES)
                    if not self.unplugged:
                        self._pass(sock, data, source)

    def _pass(self, sock: socket.socket, data: bytes, source: tuple[str, int]) -> None:
        self.relayed += 1
        if sock is self._near:
            if source not in self._far:
                self._far[source] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._far[source].connect(("127.0.0.1", self.target))
            self._far[source].send(data)
        else:
            [client] = [client for client, far in self._far.items() if far is sock]
            self._near.sendto(data, client)
