"""A client core and a gateway on a virtual clock: WebSocket in order, datagrams over a network that loses, doubles and
reorders them, from one seed."""

from collections import deque
from collections.abc import Callable

import numpy as np

from client.config import ClientConfig
from client.core import ClientCore
from client.datagrams import DatagramLink
from client.events import ClientEvent, Connect, Disconnect, Send
from client.walk import Ground
from tests.unit.client.one_body import TICK_MS
from tests.unit.client.one_gateway import Gateway

WS_MS = 40.0


class Ether:
    """``loss``, ``twice``: chances of a datagram; ``spread_ms``: the most that one is later than another."""

    def __init__(self, seed: int, loss: float = 0.0, twice: float = 0.0, spread_ms: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.loss, self.twice, self.spread_ms = loss, twice, spread_ms
        self.cut = False
        """No datagram passes."""
        ground = Ground((-5000.0, -5000.0, 5000.0, 5000.0))
        self.gateway = Gateway(ground, self.rng)
        self.core = ClientCore(ClientConfig(url="ws://a/ws", name="Ada", datagrams=True), lambda: 0.5)
        self.core.set_ground(ground)
        self.now_ms = 1000.0
        self.links: dict[int, DatagramLink | None] = {}
        self.up: deque[tuple[float, int, bytes]] = deque()
        self.down: deque[tuple[float, int, bytes | int]] = deque()
        self.flying: list[tuple[float, bool, bytes]] = []
        self.seen: list[tuple[bool, bytes]] = []
        """All datagrams that were sent: (upwards, bytes)."""
        self.connects: list[Connect] = []
        self.events: list[ClientEvent] = []
        self._tick_ms = self.now_ms
        self.core.start(self.now_ms)

    def run(self, ms: float, every: Callable[[], None] = lambda: None) -> None:
        """Let time pass."""
        until = self.now_ms + ms
        while self.now_ms < until:
            self.now_ms += 5.0
            self._arrive()
            if self.now_ms >= self._tick_ms:
                self._tick_ms += TICK_MS
                self.gateway.step(self.now_ms)
            self.core.advance(self.now_ms)
            self._act()
            self._send()
            every()

    def run_until(self, holds: Callable[[], bool], most_ms: float = 60_000.0) -> None:
        """Let time pass until something holds."""
        until = self.now_ms + most_ms
        while not holds():
            assert self.now_ms < until, "it never came to be"
            self.run(5.0)

    def _arrive(self) -> None:
        now_ms, core = self.now_ms, self.core
        while self.up and self.up[0][0] <= now_ms:
            _, number, data = self.up.popleft()
            self.gateway.take_ws(number, data, now_ms)
        while self.down and self.down[0][0] <= now_ms:
            _, number, said = self.down.popleft()
            if isinstance(said, int):
                self.links.pop(number, None)
                core.closed(number, said, "", now_ms)
            else:
                core.receive(number, said, now_ms)
        landed = [each for each in self.flying if each[0] <= now_ms]
        self.flying = [each for each in self.flying if each[0] > now_ms]
        for _, upwards, data in sorted(landed, key=lambda each: each[0]):
            if upwards:
                self.gateway.take_datagram(data, now_ms)
                continue
            for number, link in self.links.items():
                messages = None if link is None else link.receive(data, now_ms)
                if messages is not None:
                    core.heard(number, now_ms)
                for message in messages or ():
                    core.receive(number, message, now_ms)

    def _act(self) -> None:
        core = self.core
        while actions := core.take_actions():
            for action in actions:
                match action:
                    case Connect(number, _, token, session):
                        self.connects.append(action)
                        self.links[number] = None if token is None else DatagramLink(token, session)
                        core.opened(number, self.now_ms)
                    case Send(number, data, may_be_lost) if number in self.links:
                        link = self.links[number]
                        if link is None:
                            self.up.append((self.now_ms + WS_MS, number, data))
                        else:
                            link.say(data, may_be_lost)
                    case Disconnect(number):
                        gone = self.links.pop(number, None)
                        if gone is not None:
                            self._fly(True, gone.take(self.now_ms))
        self.events.extend(core.take_events())

    def _send(self) -> None:
        gateway = self.gateway
        for link in self.links.values():
            if link is not None:
                self._fly(True, link.take(self.now_ms))
        gateway.flush(self.now_ms)
        self._fly(False, gateway.datagrams)
        gateway.datagrams = []
        self.down.extend((self.now_ms + WS_MS, number, said) for number, said in gateway.ws)
        gateway.ws = []

    def _fly(self, upwards: bool, datagrams: list[bytes]) -> None:
        for data in datagrams:
            self.seen.append((upwards, data))
            if self.cut or self.rng.random() < self.loss:
                continue
            for _ in range(2 if self.rng.random() < self.twice else 1):
                at_ms = self.now_ms + WS_MS + float(self.rng.uniform(0.0, self.spread_ms))
                self.flying.append((at_ms, upwards, data))
