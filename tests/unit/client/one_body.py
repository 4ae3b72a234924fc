"""A server of one body for tests of the client core: applies commands by the walking rule, a tick at a time.

It speaks the protocol's bytes both ways over a link with a fixed delay and a virtual clock. Not responsible for:
views, sessions.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from client.config import ClientConfig
from client.core import ClientCore
from client.events import ClientEvent, Connect, Disconnect, Send
from client.walk import Ground, Walker, walk_step
from protocol.frames import Frame, encode_frame
from protocol.layouts import COMMAND, GRID_PER_M, OWN, OWN_MOVED, OWN_ON_GROUND, SHOWN_PER_M
from protocol.messages import Ack, Closing, Hello, Input, ServerMessage, Welcome, decode_client, encode_server

RATE_HZ = 20
STEPS_PER_TICK = 3
H = 1.0 / (RATE_HZ * STEPS_PER_TICK)
TICK_MS = 1000.0 / RATE_HZ
BODY = 77


def welcome(**changes: object) -> Welcome:
    """A WELCOME with some fields changed."""
    fields: dict[str, object] = {
        "version": 1,
        "session": 5,
        "generation": 1,
        "resume": b"ticket-1",
        "world": "test",
        "tick": 100,
        "rate_hz": RATE_HZ,
        "steps_per_tick": STEPS_PER_TICK,
        "body": BODY,
        "stream": 1,
        "profile": "desktop",
        "radius_m": 100.0,
        "near_radius_m": 30.0,
        "schema": {"kinds": [[1, "person"]], "components": [[1, "name", "str", "", None], [2, "hat", "u1", "cm", 0.5]]},
        "schema_hash": b"12345678",
        "anchor": None,
        "map": "/map/index.json",
        "attribution": "",
        "idle_ack_ms": 200,
        "server": "one body",
    }
    return Welcome(**{**fields, **changes})  # type: ignore[arg-type]  # checked by the tests that read them


class OneBody:
    """The server. ``body`` is the truth; ``applied`` counts the walk steps of the commands received."""

    def __init__(self, ground: Ground, x: float = 0.0, z: float = 0.0) -> None:
        self.ground = ground
        self.body = Walker(x, 0.0, z)
        self.tick = 100
        self.seq = 0
        self.frame = 0
        self.sseq = 0
        """Of the newest structure message that a test has sent."""
        self.steps = 0
        self.moved = False
        self.budget = STEPS_PER_TICK
        self.queue: deque[tuple[int, int, int, int, int]] = deque()
        self.heard: list[object] = []
        self.stamp = 0
        self.stamp_at_ms = 0.0
        self.newest = 0

    def take(self, data: bytes, now_ms: float) -> list[bytes]:
        """A client's message; returns answers."""
        message = decode_client(data)
        self.heard.append(message)
        if isinstance(message, Hello):
            self.frame = self.sseq = 0
            return [encode_server(welcome(tick=self.tick))]
        if isinstance(message, Ack | Input):
            self.stamp, self.stamp_at_ms = message.stamp_ms, now_ms
        if isinstance(message, Input):
            commands = np.frombuffer(message.commands, COMMAND)
            for i, c in enumerate(commands.tolist()):
                seq = message.seq - len(commands) + 1 + i
                if seq > self.newest:
                    self.newest = seq
                    self.queue.append((seq, c[0], c[1], c[4], c[5]))
        return []

    def step(self, now_ms: float) -> bytes:
        """One tick; returns the FRAME."""
        self.walk()
        return self.frame_bytes(now_ms)

    def walk(self) -> None:
        """One tick."""
        self.tick += 1
        self.budget = min(self.budget + STEPS_PER_TICK, 4 * STEPS_PER_TICK)
        while self.queue and self.budget:
            seq, move_x, move_z, buttons, steps = self.queue[0]
            walk_step(self.ground, self.body, move_x, move_z, buttons, H)
            self.steps += 1
            self.budget -= 1
            if self.steps == steps:
                self.queue.popleft()
                self.seq, self.steps = seq, 0

    def own_bytes(self, now_ms: float) -> bytes:
        """``own`` as it is now."""
        b = self.body
        own = np.zeros(1, OWN)
        own["seq"], own["steps"], own["stamp"] = self.seq, self.steps, self.stamp
        own["hold_ms"] = min(int(now_ms - self.stamp_at_ms), 65535)
        own["flags"] = (OWN_ON_GROUND if b.on_ground else 0) | (OWN_MOVED if self.moved else 0)
        own["p"] = np.round(np.array([b.x, b.y, b.z]) * GRID_PER_M)
        own["v"] = np.round(np.array([b.vx, b.vy, b.vz]) * SHOWN_PER_M / RATE_HZ)
        self.moved = False
        return own.tobytes()

    def frame_bytes(self, now_ms: float) -> bytes:
        """The FRAME of this tick: nothing but ``own``."""
        self.frame += 1
        return encode_frame(Frame(1, self.frame, self.tick, self.sseq, self.own_bytes(now_ms)))


class Wire:
    """Core and server on a virtual clock with a constant one-way delay."""

    def __init__(self, server: OneBody, config: ClientConfig | None = None, one_way_ms: float = 50.0) -> None:
        self.server = server
        self.core = ClientCore(config or ClientConfig(url="ws://a/ws", name="Ada"), lambda: 0.5)
        self.now_ms = 1000.0
        self.one_way_ms = one_way_ms
        self.up: deque[tuple[float, int, bytes]] = deque()
        self.down: deque[tuple[float, int, bytes]] = deque()
        self.link = 0
        self.refuse: Closing | None = None
        self.connects: list[tuple[int, str]] = []
        self.disconnects: list[int] = []
        self.events: list[ClientEvent] = []
        self._next_tick_ms = self.now_ms
        self.core.start(self.now_ms)

    def tell(self, message: ServerMessage) -> None:
        """Send something from the server."""
        self.down.append((self.now_ms + self.one_way_ms, self.link, encode_server(message)))

    def run(self, ms: float, every: Callable[[], None] = lambda: None) -> None:
        """Let time pass, 5 ms at a time; ``every`` is called after each."""
        until = self.now_ms + ms
        while self.now_ms < until:
            self.now_ms += 5.0
            while self.up and self.up[0][0] <= self.now_ms:
                _, link, data = self.up.popleft()
                for answer in self.server.take(data, self.now_ms) if link == self.link else []:
                    self.down.append((self.now_ms + self.one_way_ms, link, answer))
            if self.now_ms >= self._next_tick_ms:
                self._next_tick_ms += TICK_MS
                if self.core.connected:
                    self.down.append((self.now_ms + self.one_way_ms, self.link, self.server.step(self.now_ms)))
            while self.down and self.down[0][0] <= self.now_ms:
                _, link, data = self.down.popleft()
                self.core.receive(link, data, self.now_ms)
            self.core.advance(self.now_ms)
            self.act()
            every()

    def act(self) -> None:
        """Do what the core asks for."""
        for action in self.core.take_actions():
            match action:
                case Connect(link, url):
                    self.connects.append((link, url))
                    if self.refuse is not None:
                        self.core.receive(link, encode_server(self.refuse), self.now_ms)
                        self.core.closed(link, 1000, "", self.now_ms)
                        continue
                    self.link = link
                    self.core.opened(link, self.now_ms)
                    self.act()
                case Send(link, data):
                    self.up.append((self.now_ms + self.one_way_ms, link, data))
                case Disconnect(link):
                    self.disconnects.append(link)
        self.events.extend(self.core.take_events())
