"""One WebSocket connection on a gevent socket: framing by wsproto, one greenlet that reads.

Decides nothing. Invariants: messages are handed on in the order in which they arrived; frames of two greenlets that
send at the same time are written one after the other. Not responsible for: what messages say (``client.core``).
"""

import ssl
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from gevent import socket
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from client.core import ABNORMAL
from protocol.layouts import SUBPROTOCOL
from protocol.limits import SERVER_MESSAGE_BYTES_MAX

READ_BYTES = 65536
CONNECT_S = 10.0
GOING_AWAY = 1001


class WebSocket:
    """``open`` it, iterate over ``messages``, ``send``. ``code`` and ``text``: how it ended."""

    def __init__(self, url: str, pause_s: Callable[[int], None], read: Callable[[int], None]) -> None:
        """``read`` is told how many bytes came, ``pause_s`` after each read: it may sleep."""
        self._url, self._pause, self._read = url, pause_s, read
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._socket: socket.socket | None = None
        self._out = bytearray()
        self._writing = False
        self.code, self.text = ABNORMAL, "no connection"
        self.bytes_out = 0

    def open(self) -> None:
        """Connect and ask for the subprotocol. Raises OSError."""
        parts = urlsplit(self._url)
        host, secure = parts.hostname or "", parts.scheme == "wss"
        port = parts.port or (443 if secure else 80)
        plain = socket.create_connection((host, port), timeout=CONNECT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
        self._write(self._ws.send(Request(host=parts.netloc, target=parts.path or "/", subprotocols=[SUBPROTOCOL])))
        self.text = "the connection ended"

    def messages(self, opened: Callable[[], None]) -> Iterator[bytes]:
        """Each binary message, until the connection ends; ``opened`` is called when the server has accepted. Raises
        OSError."""
        assert self._socket is not None
        self._socket.settimeout(CONNECT_S)
        parts: list[bytes] = []
        size = 0
        while True:
            data = self._socket.recv(READ_BYTES)
            if not data:
                return
            self._read(len(data))
            self._ws.receive_data(data)
            for event in self._events():
                if isinstance(event, BytesMessage):
                    parts.append(bytes(event.data))
                    size += len(event.data)
                    if size > SERVER_MESSAGE_BYTES_MAX:
                        raise OSError(f"the server sent a message of more than {SERVER_MESSAGE_BYTES_MAX} bytes")
                    if event.message_finished:
                        yield b"".join(parts)
                        parts.clear()
                        size = 0
                elif isinstance(event, AcceptConnection):
                    self._socket.settimeout(None)
                    opened()
                elif self._over(event):
                    return
            self._pause(len(data))

    def _events(self) -> Iterator[Event]:
        try:
            yield from self._ws.events()
        except RemoteProtocolError as breach:
            raise OSError(f"the server broke RFC 6455: {breach}") from breach

    def _over(self, event: Event) -> bool:
        match event:
            case Ping():
                self._write(self._ws.send(event.response()))
            case CloseConnection(code=code, reason=reason):
                self.code, self.text = int(code), reason or self.text
                if self._ws.state is ConnectionState.REMOTE_CLOSING:  # not an answer to our own
                    self._write(self._ws.send(event.response()))
                return True
            case RejectConnection(status_code=status):
                self.text = f"the server answered {status} instead of a WebSocket"
                return not event.has_body
            case RejectData():
                return event.body_finished
            case TextMessage():
                raise OSError("the server sent text where the standard has binary messages")
        return False

    def send(self, message: bytes) -> None:
        """One binary message. Raises OSError."""
        self._write(self._ws.send(BytesMessage(data=message)))

    def _write(self, data: bytes) -> None:
        self._out += data
        self.bytes_out += len(data)
        if self._writing or self._socket is None:
            return
        self._writing = True
        try:
            while self._out:
                out, self._out = self._out, bytearray()
                self._socket.sendall(out)
        finally:
            self._writing = False

    def say_goodbye(self) -> None:
        """A close frame, if the connection still takes one."""
        try:
            self._write(self._ws.send(CloseConnection(code=GOING_AWAY)))
        except (OSError, LocalProtocolError):
            return  # it has ended already, which is what was wanted

    def drop(self) -> None:
        """End without a word."""
        if self._socket is not None:
            self._socket.close()
