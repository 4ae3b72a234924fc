"""Gateways as their clients see them: the real gateway core behind carriers and datagrams of the simulator.

Decides, as the shell does (``isthmus.clients``), only when the core is told what, and which way each message goes.
Connections over datagrams are numbered behind those of carriers. Not responsible for: clients (``people``), what
shards tell gateways (``cluster``, ``whole``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kernels.values import UNRELIABLE
from protocol.layouts import COMMAND
from protocol.messages import (
    SSEQ_OFFSET,
    T_ACK,
    T_INPUT,
    Ack,
    Closing,
    Input,
    decode_client,
    encode_server,
)
from server.core.gateway import GatewayCore
from server.core.outgoing import Deliver
from server.session.actions import CloseConn, GiveToken
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.transport import Datagrams
from server.transport.datagrams.udp import SealedWay
from server.transport.datagrams.way import Table
from server.transport.inbound import Inbound
from tests.sim.air import GateSocket, address_of
from tests.sim.checkers import NumberWatch
from tests.sim.ledger import Ledgers
from tests.sim.network import Carrier

if TYPE_CHECKING:
    from tests.sim.people import People, Person

CAPACITY = 32
"""Connections of a gateway over carriers; as many again over datagrams."""
DATAGRAMS = DatagramConfig(capacity=CAPACITY, arrivals_max=1024, departures_max=64, token_ms=2500, silence_ms=3000)
"""Tokens end before a client gives up, so that some do."""


def hot(messages: Sequence[tuple[int, Input | Ack]]) -> Inbound:
    """Messages of connections in columns, as a transport hands them over."""
    came = Inbound()
    acks = [(conn, ack.frame, ack.stamp_ms) for conn, ack in messages if isinstance(ack, Ack)]
    came.ack_conn, came.ack_frame, came.ack_stamp = np.array(acks, np.uint32).reshape(-1, 3).T
    inputs = [(conn, said) for conn, said in messages if isinstance(said, Input)]
    rows = [(conn, said.seq, said.frame, said.stamp_ms) for conn, said in inputs]
    came.input_conn, came.input_seq, came.input_frame, came.input_stamp = np.array(rows, np.uint32).reshape(-1, 4).T
    came.commands = np.frombuffer(b"".join(said.commands for _, said in inputs), COMMAND)
    count = np.array([len(said.commands) // COMMAND.itemsize for _, said in inputs], np.uint32)
    came.command_count, came.command_first = count.astype(np.uint8), (np.cumsum(count) - count).astype(np.uint32)
    return came


@dataclass(slots=True, eq=False)
class Connection:
    """One open connection over a carrier between a client and a gateway."""

    person: "Person"
    link: int
    gateway: "Door"
    conn: int
    up: Carrier
    down: Carrier
    numbers: NumberWatch | None
    """None of a television: its channel's numbers are used again at once (``server.core.channels``)."""
    alive: bool = True


class Door:
    """A gateway core as its clients see it. ``clock``: its process's own, the servers' if there is none; ``number``:
    of its address for datagrams, if it takes any; ``draw``: randomness. ``open``: whether its process lives."""

    def __init__(
        self,
        people: "People",
        core: GatewayCore,
        number: int,
        draw: Callable[[int], bytes],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.people = people
        self.core = core
        self.clock = clock
        self.open = True
        self.connections: dict[int, Connection] = {}
        self.number_watches: dict[int, NumberWatch] = {}
        """Of connections over datagrams."""
        self.ledgers = Ledgers(CAPACITY)
        self._came: list[tuple[Connection, bytes]] = []
        self.datagrams: Datagrams | None = None
        if core.sessions.carriers:

            def way(table: Table) -> SealedWay:
                return SealedWay(table, GateSocket(people.air, table.arrivals, table.departures), address_of(number))

            self.datagrams = Datagrams(
                DATAGRAMS, CAPACITY, random_bytes=draw, clock_ms=lambda: int(self.now_s * 1000), way=way
            )

    @property
    def now_s(self) -> float:
        """The time of its process."""
        return self.people.now_s if self.clock is None else self.clock()

    @property
    def socket(self) -> GateSocket | None:
        """Where its datagrams arrive, while its process lives."""
        if not self.open or self.datagrams is None:
            return None
        assert isinstance(self.datagrams.way, SealedWay)
        assert isinstance(self.datagrams.way.wire, GateSocket)
        return self.datagrams.way.wire

    def arrived(self, connection: Connection, data: bytes) -> None:
        """A message has come; it waits until the process reads."""
        self._came.append((connection, data))

    def read(self) -> None:
        """Hand over what has come by carriers, in the order of a transport: first what is not hot."""
        came, self._came = self._came, []
        messages = []
        for connection, data in came:
            if not connection.alive:
                continue
            if data[1] in (T_INPUT, T_ACK):
                message = decode_client(data)
                assert isinstance(message, Input | Ack)
                if connection.numbers is not None:
                    connection.numbers.acknowledged(message.frame)
                messages.append((connection.conn, message))
            else:
                self.core.said(connection.conn, data, self.now_s)
        if messages:
            self.core.take_inbound(hot(messages), self.now_s)

    def poll(self) -> None:
        """Hand over what has come by datagrams."""
        if self.datagrams is None:
            return
        now_ms, counts = int(self.now_s * 1000), self.people.counts
        counts["token expired"] += len(self.datagrams._tokens.expired(now_ms))
        inbound = self.datagrams.poll(now_ms)
        self.ledgers.take(inbound, self.datagrams.rows["number"])
        for opened in inbound.opened:
            self.number_watches[opened.conn] = NumberWatch(self.ledgers.of_conn[opened.conn].down.name)
        for conns, frames in (
            (inbound.input_conn, inbound.input_frame),
            (inbound.ack_conn, inbound.ack_frame),
        ):
            for conn, frame in zip(conns.tolist(), frames.tolist(), strict=True):
                self.number_watches[conn].acknowledged(frame)
        for lost in inbound.lost:
            counts[f"datagrams {lost.reason}"] += 1
        self.core.take_inbound(inbound, self.now_s)

    def encode(self, tick: int) -> None:
        """Deadlines, messages, frames."""
        core, now_s, datagrams = self.core, self.now_s, self.datagrams
        self.read()
        core.tick(tick, now_s)
        self.deliver()
        blocked = np.zeros(CAPACITY, np.uint8)
        if datagrams is not None:
            blocked = np.concatenate((blocked, datagrams.blocked))
        for batch in core.frames(tick, now_s, blocked):
            messages = list(zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True))
            if batch.kind is None:
                for conn, at, length in messages:
                    split(bytes(batch.buffer[at : at + length]), partial(self._send_frame, conn))
                over_udp = batch.conn >= CAPACITY
                if datagrams is not None and over_udp.any():
                    datagrams.send_frames(
                        batch.buffer, batch.conn[over_udp], batch.at[over_udp], batch.length[over_udp]
                    )
                continue
            assert datagrams is not None
            for (conn, at, length), kind in zip(messages, batch.kind.tolist(), strict=True):
                self._note(conn, bytes(batch.buffer[at : at + length]), kind == UNRELIABLE)
            datagrams.send(batch.buffer, batch.conn, batch.at, batch.length, batch.kind)
        if datagrams is not None:
            datagrams.flush()

    def deliver(self) -> None:
        """Carry out what the core wants done."""
        for action in self.core.take():
            match action:
                case Deliver(conns, data, sseq):
                    self._post(conns.astype(np.int32, copy=False), data, sseq)
                case CloseConn(conn, code, retry_after_ms, text):
                    self.people.counts[f"closed {code}"] += 1
                    if conn >= CAPACITY:
                        assert self.datagrams is not None
                        self.datagrams.close(conn, int(code), retry_after_ms, text)
                    else:
                        self.send(conn, encode_server(Closing(code, retry_after_ms, text)))
                        self.people.end(self.connections[conn], code, gently=True)
                case GiveToken(conn, session):
                    assert self.datagrams is not None
                    token = self.datagrams.token(session)
                    self.ledgers.give(token, session)
                    self._post(np.array([conn], np.int32), encode_server(token), None)

    def _post(self, conns: npt.NDArray[np.int32], data: bytes, sseq: npt.NDArray[np.uint32] | None) -> None:
        for k, conn in enumerate(conns.tolist()):
            message = data
            if sseq is not None:
                message = data[:SSEQ_OFFSET] + int(sseq[k]).to_bytes(4, "big") + data[SSEQ_OFFSET + 4 :]
            if conn >= CAPACITY:
                self._note(conn, message, may_be_lost=False)
            else:
                self.send(conn, message)
        over_udp = conns >= CAPACITY
        if over_udp.any():
            assert self.datagrams is not None
            self.datagrams.post(conns[over_udp], data, None if sseq is None else sseq[over_udp])

    def _send_frame(self, conn: int, message: bytes) -> None:
        """Of a view over a carrier, or of a channel over either."""
        if conn >= CAPACITY:
            self.ledgers.say(conn, message, may_be_lost=False)
        else:
            self.send(conn, message)

    def _note(self, conn: int, message: bytes, may_be_lost: bool) -> None:
        self.ledgers.say(conn, message, may_be_lost)
        if conn in self.number_watches:
            self.number_watches[conn].sent(message)

    def send(self, conn: int, data: bytes) -> None:
        """One message to one connection over a carrier."""
        connection = self.connections.get(conn)
        if connection is not None and connection.alive:
            if connection.numbers is not None:
                connection.numbers.sent(data)
            connection.down.send(data)

    def tally(self) -> None:
        """Count what its datagrams came to; only once, at its end."""
        if self.datagrams is not None:
            counts = self.people.counts
            counts.update({f"datagram {why}": count for why, count in self.datagrams.dropped.items()})
            counts["stream said again"] += self.datagrams.resent_bytes > 0

    def kill(self) -> None:
        """The process ends without a word: its connections are reset."""
        self.tally()
        self.open = False
        for connection in list(self.connections.values()):
            self.people.end(connection, 1006, gently=False)


def split(frames: bytes, send: Callable[[bytes], None]) -> None:
    """WebSocket messages (RFC 6455 §5.2, unmasked, whole) out of what the encoder wrote for one connection."""
    at = 0
    while at < len(frames):
        assert frames[at] == 0x82, "a whole binary message"
        length, head = frames[at + 1], 2
        if length == 126:
            length, head = int.from_bytes(frames[at + 2 : at + 4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(frames[at + 2 : at + 10], "big"), 10
        send(frames[at + head : at + head + length])
        at += head + length
