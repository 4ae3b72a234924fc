"""A cable between browser and server that a test can cut: a TCP relay on loopback."""

import socket
import struct
from contextlib import suppress
from threading import Lock, Thread

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection, as when a network is gone."""


class Cable:
    """Relays connections to ``port``. While it is ``unplugged``, new ones are reset at once."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._lock = Lock()
        self._ends: set[socket.socket] = set()
        self._unplugged = False
        self._threads: list[Thread] = []
        self._run(self._accept)

    def _run(self, work: "object", *args: socket.socket) -> None:
        assert callable(work)
        thread = Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def unplug(self) -> None:
        """Cut all connections, and refuse new ones until ``plug``."""
        with self._lock:
            self._unplugged = True
            ends = list(self._ends)
        for end in ends:
            with suppress(OSError):  # it may have ended by itself just now
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)

    def plug(self) -> None:
        """Let new connections through again."""
        with self._lock:
            self._unplugged = False

    def close(self) -> None:
        """Cut everything and wait until all threads have ended."""
        self.unplug()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                cut = self._unplugged
            if cut:
                here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._ends |= {here, there}
            self._run(self._relay, here, there)

    def _relay(self, here: socket.socket, there: socket.socket) -> None:
        back = Thread(target=self._copy, args=(there, here), daemon=True)
        back.start()
        self._copy(here, there)
        back.join()
        with self._lock:
            self._ends -= {here, there}
        here.close()
        there.close()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        """Until either side ends; then both do."""
        with suppress(OSError):  # a reset is an end like any other
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):  # it has ended already
                end.shutdown(socket.SHUT_RDWR)
