"""What carries the datagrams of a table of connections, and proves whose each is: over UDP (``udp``), over WebTransport
(``server.transport.webtransport``).

Decides nothing. Invariants: only what is proven to be a slot's names it in ``arrivals.who``; nothing here blocks, and
no bytes from outside raise. Not responsible for: what is in a datagram, when a connection is over (``transport``).
"""

from typing import NamedTuple, Protocol

from kernels.hotmessages import I64
from kernels.peers import Peers, Rows
from protocol.messages import Token
from server.transport.datagrams.tokens import Given, Tokens


class Table(NamedTuple):
    """What a way shares with its table of connections."""

    peers: Peers
    tokens: Tokens
    arrivals: Rows
    departures: Rows
    drops: I64
    """int64[DROPS]: datagrams that were not taken, by ``kernels.peers.Drop``."""


class Way(Protocol):
    """Use from one event loop only. ``received``, ``sent``: int64[CALL_COUNTS] of ``server.transport.mmsg``."""

    received: I64
    sent: I64

    @property
    def address(self) -> str:
        """Where clients find it, as tokens name it."""
        ...

    @property
    def dropped(self) -> dict[str, int]:
        """Datagrams that were not taken or not sent, by reason, beside ``Table.drops``."""
        ...

    def start(self) -> None:
        """Take what arrives between polls, too, from the running loop."""
        ...

    def stop(self) -> None:
        """Close the socket. Idempotent."""
        ...

    def token(self, given: Given, session: int, within_ms: int) -> Token:
        """What the client is told of a token that was given for its session."""
        ...

    def take(self) -> int:
        """Fill ``arrivals`` with what has come; returns how many rows. Those with a slot in ``who`` are opened."""
        ...

    def send(self, count: int) -> None:
        """Send the first ``count`` of ``departures``, each to who has its slot."""
        ...

    def remote(self, slot: int) -> str:
        """The address, without a port, that a slot's datagrams come from."""
        ...

    def ended(self) -> list[int]:
        """Slots whose way has ended by itself since the last call."""
        ...

    def let_go(self, slot: int) -> None:
        """The slot is free: nothing of whoever had it may be taken or sent any more."""
        ...
