"""The network of datagrams on virtual time: sockets of gateways, and of clients whose addresses may change.

Decides who gets what: what is sent to an address reaches whoever has it when it arrives. Every datagram is lost,
doubled, overtaken and queued as ``network.Datagrams`` decides. ``replay`` is somebody on the path who sends what he has
seen once more, from an address of his own. Not responsible for: what is in a datagram.
"""

import socket
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

import numpy as np

from client.datagrams import DatagramLink
from kernels.peers import Rows
from server.transport.datagrams.plain import pack_address, unpack_address
from server.transport.mmsg import C_DATAGRAMS, CALL_COUNTS
from tests.sim.clock import Time
from tests.sim.ledger import Ledger, Nonces
from tests.sim.network import Datagrams, Faults

PORT = 9000
ROOM = 500
"""Datagrams that a gateway's system holds for it: some 200 KB."""
SEEN = 200
"""Datagrams that somebody on the path remembers."""
TIMER_MS = 1.0
"""Of a client's system: no timer is finer."""
STRANGER = ("10.9.9.9", 666)


def address_of(number: int) -> str:
    """Where the gateway behind door ``number`` takes datagrams, whatever process that is."""
    return f"10.1.0.{number}:{PORT}"


class GateSocket:
    """A gateway's: the ``Medium`` of its datagrams."""

    def __init__(self, air: "Air", arrivals: Rows, departures: Rows) -> None:
        self.received, self.sent = np.zeros(CALL_COUNTS, np.int64), np.zeros(CALL_COUNTS, np.int64)
        self._air, self._life = air, air.count()
        self._arrivals, self._departures = arrivals, departures
        self._came: deque[tuple[bytes, bytes]] = deque()

    def arrive(self, datagram: bytes, address: bytes) -> bool:
        """It has come, from a packed address, and waits until the process reads; False if there is no room for it."""
        if len(self._came) >= ROOM:
            self._air.counts["datagram beyond the buffer"] += 1
            return False
        self._came.append((datagram, address))
        return True

    def receive(self, first: int) -> int:
        """As ``Medium``."""
        rows = self._arrivals
        while self._came and first < len(rows.who):
            datagram, address = self._came.popleft()
            rows.wire[first, : len(datagram)] = np.frombuffer(datagram, np.uint8)
            rows.wire_bytes[first], rows.address_bytes[first] = len(datagram), len(address)
            rows.address[first, : len(address)] = np.frombuffer(address, np.uint8)
            self.received[C_DATAGRAMS] += 1
            first += 1
        return first

    def send(self, count: int) -> int:
        """As ``Medium``."""
        rows = self._departures
        for i in range(count):
            datagram = rows.wire[i, : rows.wire_bytes[i]].tobytes()
            self._air.nonces.sealed(self._life, datagram)
            self._air.down(datagram, rows.address[i, : rows.address_bytes[i]].tobytes())
        self.sent[C_DATAGRAMS] += count
        return count


class Endpoint:
    """A client's socket for one link, and the link; ``heard`` is called for each datagram that comes."""

    def __init__(
        self, air: "Air", gate: int, ip: str, link: DatagramLink, ledger: Ledger, heard: Callable[[bytes], None]
    ) -> None:
        self.air, self.gate, self.ip, self.link, self.ledger = air, gate, ip, link, ledger
        self._life = air.count()
        self._timer_ms = float("inf")
        self.open = True
        self._moved = False
        self.heard = heard
        make = air.clock, air.rng
        self._up = Datagrams(*make, air.up_faults, air.counts, self._to_gate)
        self._down = Datagrams(*make, air.down_faults, air.counts, self._to_client)
        self.address = air.bind(self)

    def send(self) -> None:
        """All that its link has to say now."""
        for datagram in self.link.take(self.air.clock.now_ms):
            self.air.nonces.sealed(self._life, datagram)
            self._up.send(self.address + datagram)

    def serve(self) -> None:
        """Send, and again when the link has something more."""
        self.send()
        at_ms = max(self.link.next_ms, self.air.clock.now_ms + TIMER_MS)
        if at_ms < self._timer_ms:
            self._timer_ms = at_ms
            self.air.clock.at(at_ms, partial(self._due, at_ms))

    def _due(self, at_ms: float) -> None:
        if self.open and at_ms == self._timer_ms:
            self._timer_ms = float("inf")
            self.serve()

    def hear(self, datagram: bytes, address: bytes) -> None:
        """A gateway has sent this to an address that was its own then."""
        self._down.send(address + datagram)

    def _to_gate(self, data: bytes) -> None:
        self.air.to_gate(self.gate, data[16:], data[:16])

    def _to_client(self, data: bytes) -> None:
        if not self.open or data[:16] != self.address:
            self.air.counts["datagram to a former address"] += 1
        else:
            self.air.note(self, data[16:])
            self.air.counts["went on from another address"] += self._moved
            self._moved = False
            self.heard(data[16:])

    def move(self) -> None:
        """Its network gives it another address."""
        self.address = self.air.bind(self)
        self._moved = True

    def close(self) -> None:
        """The socket is closed; nothing comes any more."""
        self.open = False
        self.air.release(self)


class Air:
    """All datagrams. ``gates``: sockets by the numbers of doors, those of processes that live."""

    def __init__(
        self, clock: Time, rng: np.random.Generator, counts: Counter[str], gates: Callable[[int], GateSocket | None]
    ) -> None:
        self.clock, self.rng, self.counts = clock, rng, counts
        self.up_faults, self.down_faults = Faults(delay_ms=20.0, jitter_ms=5.0), Faults(delay_ms=20.0, jitter_ms=5.0)
        self.nonces = Nonces()
        self._gates = gates
        self._endpoints: dict[bytes, Endpoint] = {}
        self._ports = 40_000
        self._lives = 0
        self._seen_up: deque[tuple[int, bytes]] = deque(maxlen=SEEN)
        self._seen_down: deque[tuple[Endpoint, bytes]] = deque(maxlen=SEEN)

    def count(self) -> int:
        """A number for one more socket."""
        self._lives += 1
        return self._lives

    @property
    def endpoints(self) -> list[Endpoint]:
        """Of clients, in the order in which they got their addresses."""
        return list(self._endpoints.values())

    def bind(self, endpoint: Endpoint) -> bytes:
        """A fresh address; packed, as all addresses here are."""
        self.release(endpoint)
        self._ports += 1
        address = pack_address(socket.AF_INET, (endpoint.ip, self._ports))
        self._endpoints[address] = endpoint
        return address

    def release(self, endpoint: Endpoint) -> None:
        """Nobody has the address any more."""
        self._endpoints.pop(getattr(endpoint, "address", b""), None)

    def to_gate(self, gate: int, datagram: bytes, address: bytes) -> None:
        """It arrives at whatever process is behind that door by now."""
        found = self._gates(gate)
        if found is not None and found.arrive(datagram, address):
            self._seen_up.append((gate, datagram))

    def down(self, datagram: bytes, address: bytes) -> None:
        """A gateway sends something."""
        assert unpack_address(address) != STRANGER, "a gateway answers somebody who only repeated what he saw"
        endpoint = self._endpoints.get(address)
        if endpoint is None:
            self.counts["datagram to a former address"] += 1
        else:
            endpoint.hear(datagram, address)

    def note(self, endpoint: Endpoint, datagram: bytes) -> None:
        """It has come to a client."""
        self._seen_down.append((endpoint, datagram))

    def replay(self) -> bool:
        """Somebody on the path sends once more what he has seen, to gateways from an address of his own."""
        for gate, datagram in list(self._seen_up):
            self._soon(partial(self._repeat, gate, datagram))
        for endpoint, datagram in list(self._seen_down):
            if endpoint.open:
                self._soon(partial(endpoint.heard, datagram))
        return bool(self._seen_up)

    def _soon(self, do: Callable[[], None]) -> None:
        self.clock.after(float(self.rng.uniform(0.0, 50.0)), do)

    def _repeat(self, gate: int, datagram: bytes) -> None:
        found = self._gates(gate)
        if found is not None:
            found.arrive(datagram, pack_address(socket.AF_INET, STRANGER))

    def calm(self) -> None:
        """From now on only the delay is left."""
        for faults in (self.up_faults, self.down_faults):
            faults.calm()
            faults.delay_ms = 20.0
