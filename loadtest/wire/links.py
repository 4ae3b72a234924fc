"""Does what one client core asks for: a greenlet for each link, over WebSocket or datagrams.

Decides nothing about the protocol. Invariants: a link that ended is reported to the core once; greenlets of a client
that is gone are gone. ``pull_the_plug`` ends all connections without a word, as a network does, and keeps the next one
waiting; the core then comes back by itself. Not responsible for: when the core is told the time (``users``).
"""

from collections.abc import Callable

import gevent

from client.core import ABNORMAL, ClientCore
from client.events import Connect, Disconnect, Send
from client.shell.connection import now_ms
from loadtest.measuring import Meter
from loadtest.wire.trouble import Line
from loadtest.wire.udp import Datagrams
from loadtest.wire.websocket import WebSocket


class Links:
    """Of one client. ``woke`` is called when the core has heard something."""

    def __init__(self, core: ClientCore, line: Line, meter: Meter, woke: Callable[[], None]) -> None:
        self._core, self._line, self._meter, self._woke = core, line, meter, woke
        self._open: dict[int, WebSocket | Datagrams] = {}
        self._running: dict[int, gevent.Greenlet[..., None]] = {}
        self._away_until_ms = 0.0

    def perform(self) -> None:
        """Carry out what the core wants now."""
        for action in self._core.take_actions():
            match action:
                case Connect(link):
                    self._running[link] = gevent.spawn(self._run, action)
                case Send(link, data, may_be_lost):
                    self._send(link, data, may_be_lost)
                case Disconnect(link):
                    self._disconnect(link)

    def _send(self, number: int, data: bytes, may_be_lost: bool) -> None:
        link = self._open.get(number)
        if link is None:
            return
        before = link.bytes_out
        try:
            if isinstance(link, WebSocket):
                link.send(data)
            else:
                link.say(data, may_be_lost)
        except OSError:
            link.drop()  # its greenlet sees the end and reports it
        self._meter.cell.count("bytes_out", link.bytes_out - before)

    def _disconnect(self, number: int) -> None:
        link = self._open.pop(number, None)
        if isinstance(link, WebSocket):
            link.say_goodbye()
        if isinstance(link, Datagrams):
            link.end()
        elif number in self._running:
            self._running[number].kill(block=False)

    def pull_the_plug(self, away_s: float) -> None:
        """All connections end without a word; none is opened again for ``away_s``."""
        self._away_until_ms = now_ms() + 1000.0 * away_s
        for number, running in list(self._running.items()):
            running.kill(block=True)
            self._core.closed(number, ABNORMAL, "the plug was pulled", now_ms())

    def end(self, within_s: float) -> None:
        """The client has left: let last words go out, then drop what is still open."""
        gevent.joinall(list(self._running.values()), timeout=within_s)
        gevent.killall(list(self._running.values()))

    def _run(self, connect: Connect) -> None:
        number = connect.link
        code, text = ABNORMAL, "no connection"
        try:
            wait_s = (self._away_until_ms - now_ms()) / 1000.0
            if wait_s > 0.0:
                gevent.sleep(wait_s)
            if connect.token is None:
                code, text = self._websocket(connect)
            else:
                text = self._datagrams(connect)
        except (OSError, ValueError) as problem:
            text = str(problem) or type(problem).__name__
        finally:
            link = self._open.pop(number, None)
            if link is not None:
                link.drop()
            self._running.pop(number, None)
        self._core.closed(number, code, text, now_ms())
        self._woke()

    def _read(self, size: int) -> None:
        self._meter.cell.count("bytes_in", size)

    def _pause(self, size: int) -> None:
        pause_s = self._line.pause_s(now_ms(), size)
        if pause_s > 0.0:
            gevent.sleep(pause_s)

    def _websocket(self, connect: Connect) -> tuple[int, str]:
        core, number = self._core, connect.link
        link = WebSocket(connect.url, self._pause, self._read)
        try:
            link.open()
            self._open[number] = link

            def opened() -> None:
                core.opened(number, now_ms())
                self._woke()

            for message in link.messages(opened):
                core.receive(number, message, now_ms())
                self._woke()
        finally:
            link.drop()
        return link.code, link.text

    def _datagrams(self, connect: Connect) -> str:
        core, number = self._core, connect.link
        link = self._open[number] = Datagrams(core, connect, self._line, now_ms, self._read, self._pause)
        core.opened(number, now_ms())
        self._woke()
        link.run(self._woke)
        return "the link was closed"
