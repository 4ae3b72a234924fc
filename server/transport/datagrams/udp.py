"""Datagrams over UDP: one medium for all, each sealed with the keys of its token (STANDARD.md §9.2).

Decides what a token says, and whose a datagram is. Invariants: what does not decrypt is nobody's; nothing is sent to an
address from which nothing was decrypted. Not responsible for: the socket (``live``), the cipher (``sealing``), keys
(``tokens``).
"""

from typing import Protocol

import numpy as np

from kernels.hotmessages import I64
from kernels.peers import sift
from protocol.datagrams import binding
from protocol.messages import Token
from server.transport import mmsg
from server.transport.datagrams.sealing import Sealer
from server.transport.datagrams.sockets import remote_text
from server.transport.datagrams.tokens import Given
from server.transport.datagrams.way import Table


class Medium(Protocol):
    """What takes datagrams to and from the network. ``received``, ``sent``: int64[CALL_COUNTS], as ``mmsg`` counts."""

    received: I64
    sent: I64

    def receive(self, first: int) -> int:
        """Fill rows for what arrives from ``first`` on; returns where the filled ones end."""
        ...

    def send(self, count: int) -> int:
        """Send the first ``count`` rows for what departs; returns how many left."""
        ...


class SealedWay:
    """A ``Way`` without a socket. ``wire``: over ``table``'s rows; ``address``: what tokens name."""

    def __init__(self, table: Table, wire: Medium, address: str) -> None:
        self._table, self.wire, self._address = table, wire, address
        self.received, self.sent = wire.received, wire.sent
        self.opening, self.sealing = Sealer(table.arrivals), Sealer(table.departures)
        self._filled = self._full = 0

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._address

    @property
    def dropped(self) -> dict[str, int]:
        """Those that the system did not send, and ticks in which more had come than is taken in one."""
        return {
            "send_blocked": int(self.sent[mmsg.C_BLOCKED]),
            "send_too_big": int(self.sent[mmsg.C_TOO_BIG]),
            "send_failed": int(self.sent[mmsg.C_FAILED]),
            "arrivals_full": self._full,
        }

    def start(self) -> None:
        """Nothing arrives by itself."""

    def stop(self) -> None:
        """There is nothing to close."""

    def token(self, given: Given, session: int, within_ms: int) -> Token:
        """With both keys, which are bound to the session, the number and the address."""
        bind = binding(session, given.number, self.address)
        self._table.peers.bind[given.slot] = np.frombuffer(bind, np.uint8)
        return Token(self.address, given.number, given.key_up, given.key_down, within_ms, "")

    def fill(self) -> None:
        """Take off the wire what has arrived; ``take`` looks at it."""
        self._filled = self.wire.receive(self._filled)

    def take(self) -> int:
        """Receive, find out whose each is, decrypt."""
        arrivals, peers, tokens, drops = (
            self._table.arrivals,
            self._table.peers,
            self._table.tokens,
            self._table.drops,
        )
        self.fill()
        count, self._filled = self._filled, 0
        self._full += count == len(arrivals.who)
        if count:
            sift(arrivals, count, peers, drops)
            self.opening.unseal(count, tokens.up, drops)
        return count

    def send(self, count: int) -> None:
        """Seal them, and send them in one go."""
        self.sealing.seal(count, self._table.tokens.down)
        self.wire.send(count)

    def remote(self, slot: int) -> str:
        """The host that the newest datagram of the slot came from."""
        peers = self._table.peers
        return remote_text(peers.address[slot, : peers.row["address_bytes"][slot]].tobytes())

    def ended(self) -> list[int]:
        """None: UDP knows no end, silence decides."""
        return []

    def let_go(self, slot: int) -> None:
        """Keys and number are forgotten with the slot (``tokens``, ``peers``)."""
