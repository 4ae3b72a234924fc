"""A crowd whose ticks are counted: the real shard, gateway and transport, over socket pairs and a clock of its own.

Everybody walks to and fro, and everybody's distance to the next is the same whatever their number. Nothing in it is
timed, so two runs count the same.
"""

import asyncio
import socket
import time

import numpy as np

from protocol.layouts import COMMAND
from protocol.link import RegionDelta, Upward
from protocol.messages import Hello, Input, encode_client
from server.core.gateway import GatewayCore, GatewayFacts
from server.core.outgoing import Deliver
from server.core.views import ViewRules
from server.session.identity import Identity
from server.session.limits import SessionLimits
from server.session.states import State
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig, raise_nofile
from server.transport.link import Link
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.counting import Work
from tests.integration.wire import ws_frame
from tests.unit.shard.worlds import boxes, place

APART_M = 12.0
RULES = ViewRules(radius_m=45.0, near_radius_m=15.0, cap=80)
RATE_HZ = 20
SETTLED_TICKS = 2 * RATE_HZ
"""Presence is told once a second: so long nothing was to be said, so nobody is coming in any more."""
PATIENCE_TICKS = 40 * RATE_HZ
PHASES = ("poll", "take_inbound", "upward", "receive", "deadlines", "encode", "send")
"""Of a gateway."""
STEP = "step"
"""Of the shard."""


class _End(asyncio.Transport):
    """Our end of a socket pair, as far as a link needs one."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self._sock = sock

    def abort(self) -> None:
        self._sock.close()


class Crowd:
    """A world with ``people`` clients, and a clock that ``tick`` turns."""

    def __init__(self, people: int) -> None:
        raise_nofile(2 * people)
        side = int(np.ceil(np.sqrt(people)))
        middle = (side - 1) / 2
        points = [((k % side - middle) * APART_M, (k // side - middle) * APART_M) for k in range(people)]
        ground = boxes(half_m=side * APART_M / 2 + 50.0)
        self.shard = RegionCore(ShardConfig(), place(ground, points))
        facts = GatewayFacts(1, "test", RATE_HZ, 3, None, None, "", "test")
        self.carriers = Carriers(CarrierConfig(capacity=people))
        limits = SessionLimits(joins_per_tick=people, presence_joined_max=people, presence_left_max=people)
        self.gateway = GatewayCore(facts, people, RULES, limits, self._identity, np.random.default_rng(1).bytes)
        self.forget()
        self.tick_now = self._came = 0
        self.clients: list[socket.socket] = []
        for _ in range(people):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            assert self.carriers.adopt(Link(_End(ours), "127.0.0.1", tls=False)) == len(self.clients)
            self.clients.append(theirs)
        self.start_s = time.monotonic()
        """Carriers counted allowances up to here by this clock; from now on ``tick`` turns it."""

    def forget(self) -> None:
        """Count from here on."""
        self.work = {phase: Work() for phase in (*PHASES, STEP)}
        self.updates = self.looked = self.link_bytes = 0

    def settle(self) -> None:
        """Let everybody in, and tick until nothing but frames is said."""
        self.hello()
        quiet = 0
        while quiet < SETTLED_TICKS:
            quiet = 0 if self.tick() else quiet + 1
            self.hear()
            self.say()
            assert self.tick_now < PATIENCE_TICKS, "they are still coming in"
        assert self.gateway.sessions.count()[State.LIVE] == len(self.clients)

    def _identity(self, token: str | None) -> Identity:
        self._came += 1
        return Identity("test", str(self._came), None, guest=True)

    def hello(self) -> None:
        for k, client in enumerate(self.clients):
            client.send(ws_frame(encode_client(Hello(1, 1, "t", f"Guest {k}"))))

    def say(self) -> None:
        """Everybody who is in walks to and fro, and acknowledges what was sent last."""
        back = self.tick_now // RATE_HZ % 2
        command = np.array([(-90 if back else 90, 0, 0, 0, 0, 3, 0)], COMMAND).tobytes()
        views = self.gateway.views.state.views
        for conn in np.flatnonzero(views["active"]).tolist():
            said = Input(self.tick_now, int(views["frame"][conn]), self.tick_now * 50, command)
            self.clients[conn].send(ws_frame(encode_client(said)))

    def hear(self) -> None:
        for client in self.clients:
            try:
                client.recv(1 << 16)
            except BlockingIOError:
                continue

    def tick(self) -> bool:
        """One tick as the node makes it; returns whether there was anything to deliver but frames."""
        self.tick_now += 1
        tick, now_s = self.tick_now, self.start_s + self.tick_now / RATE_HZ
        gateway, carriers, work = self.gateway, self.carriers, self.work
        with work["poll"].counting():
            inbound = carriers.poll(int(now_s * 1000))
        with work["take_inbound"].counting():
            gateway.take_inbound(inbound, now_s)
        with work["upward"].counting():
            upward = gateway.upward(tick)
        said = [Upward.decode(data) for _, data in upward]
        with work[STEP].counting():
            result = self.shard.step(tick, said)
        data = (self.shard.snapshot_delta(result.delta.seq) if result.subscribe else result.delta).encode()
        self.link_bytes += len(data) + sum(len(message) for _, message in upward)
        with work["receive"].counting():
            gateway.receive(RegionDelta.decode(data), now_s)
        with work["deadlines"].counting():
            gateway.tick(tick, now_s)
            outputs = gateway.take()
        for output in outputs:
            assert isinstance(output, Deliver), output
            carriers.post(output.conns.astype(np.int32, copy=False), output.data, output.sseq)
        with work["encode"].counting():
            batches = gateway.frames(tick, now_s, carriers.blocked)
            batch = next(batches, None)
        while batch is not None:
            with work["send"].counting():
                carriers.send(batch.buffer, batch.conn, batch.at, batch.length)
            with work["encode"].counting():
                batch = next(batches, None)
        totals = gateway.views.totals
        self.updates += totals.deltas + totals.fulls
        self.looked += totals.looked
        return bool(outputs)

    def end(self) -> None:
        self.carriers.stop()
        for client in self.clients:
            client.close()
