"""What was said on each connection over datagrams, and what of it has come: the account of both ends.

Decides what must hold whatever the network does (STANDARD.md §9): what was said reliably comes once, in order and on
the connection on which it was said; of what may be lost nothing comes twice, and nothing that was not said there; a
token is used once, a key and a sequence for one datagram. Raises AssertionError with what it found. Not responsible
for: what messages mean, how old they are (``staleness``).
"""

from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from protocol.datagrams import HEADER_BYTES
from protocol.messages import T_ACK, T_CLOSE, T_INPUT, Ack, Input, Token, decode_client
from server.transport.inbound import Inbound


@dataclass(slots=True)
class Way:
    """One direction of one connection. ``came``: how many messages."""

    name: str
    came: int = 0
    _in_order: deque[bytes] = field(default_factory=deque)
    _loose: Counter[Hashable] = field(default_factory=Counter)

    def said(self, message: bytes, may_be_lost: bool) -> None:
        """One end says something."""
        if may_be_lost:
            self._loose[key_of(message)] += 1
        else:
            self._in_order.append(message)

    def heard(self, message: bytes) -> None:
        """The other end got it, reliably or not."""
        if self._in_order and self._in_order[0] == message:
            self.came += 1
            self._in_order.popleft()
        else:
            self.heard_loose(key_of(message))

    def heard_loose(self, key: Hashable) -> None:
        """The other end got what may be lost."""
        self.came += 1
        left = self._loose[key]
        assert left, f"{self.name}: {key!r:.80} came, and was not said here, or twice, or out of order"
        if left == 1:
            del self._loose[key]
        else:
            self._loose[key] = left - 1


def key_of(message: bytes) -> Hashable:
    """By what a message is known again: INPUT and ACK by what a gateway has in columns."""
    if message[1] not in (T_INPUT, T_ACK):
        return message
    said = decode_client(message)
    assert isinstance(said, Input | Ack)
    return "input" if isinstance(said, Input) else "ack", said.frame, said.stamp_ms, getattr(said, "seq", 0)


@dataclass(slots=True)
class Ledger:
    """Of one token and the connection that it opens."""

    token: Token
    session: int
    up: Way
    down: Way
    tried: bool = False
    opened: bool = False

    @classmethod
    def of(cls, token: Token, session: int) -> "Ledger":
        """Nothing was said yet."""
        who = f"session {session}, number {token.number}"
        return cls(token, session, Way(f"{who}, up"), Way(f"{who}, down"))

    def try_it(self) -> None:
        """A client begins with the token."""
        assert not self.tried, f"the token of number {self.token.number} was used twice by a client"
        self.tried = True

    def open_it(self, session: int | None) -> None:
        """A gateway has a connection for it."""
        assert not self.opened, f"the token of number {self.token.number} opened two connections"
        assert session == self.session, f"the token of session {self.session} opened a connection for {session}"
        self.opened = True

    def hear_server(self, message: bytes) -> None:
        """A client got a message; a gateway says CLOSE as often as it likes."""
        if message[1] != T_CLOSE:
            self.down.heard(message)


class Ledgers:
    """Of one gateway's life. ``base``: its first connection over datagrams."""

    def __init__(self, base: int) -> None:
        self.of_number: dict[int, Ledger] = {}
        self.of_conn: dict[int, Ledger] = {}
        self._base = base
        self._keys: set[bytes] = set()

    def give(self, token: Token, session: int) -> None:
        """A token was made."""
        assert not self._keys & {token.key_up, token.key_down}, f"session {session}: a key was used before"
        self._keys |= {token.key_up, token.key_down}
        self.of_number[token.number] = Ledger.of(token, session)

    def take(self, inbound: Inbound, numbers: npt.NDArray[np.uint32]) -> None:
        """A gateway has polled; ``numbers`` by slot."""
        for opened in inbound.opened:
            ledger = self.of_number[int(numbers[opened.conn - self._base])]
            ledger.open_it(opened.session)
            self.of_conn[opened.conn] = ledger
        for conn, message in inbound.cold:
            self.of_conn[conn].up.heard(message)
        for k, conn in enumerate(inbound.pose_conn.tolist()):
            at, size = int(inbound.pose_at[k]), int(inbound.pose_bytes[k])
            self.of_conn[conn].up.heard(inbound.pose_data[at : at + size].tobytes())
        columns = inbound.input_conn, inbound.input_frame, inbound.input_stamp, inbound.input_seq
        for conn, *rest in zip(*(column.tolist() for column in columns), strict=True):
            self.of_conn[conn].up.heard_loose(("input", *rest))
        columns = inbound.ack_conn, inbound.ack_frame, inbound.ack_stamp, np.zeros_like(inbound.ack_conn)
        for conn, *rest in zip(*(column.tolist() for column in columns), strict=True):
            self.of_conn[conn].up.heard_loose(("ack", *rest))

    def say(self, conn: int, message: bytes, may_be_lost: bool) -> None:
        """A gateway says something on a connection."""
        ledger = self.of_conn.get(conn)
        if ledger is not None:
            ledger.down.said(message, may_be_lost)


class Nonces:
    """No number seals two datagrams with one sequence in one direction (STANDARD.md §9.2)."""

    def __init__(self) -> None:
        self._heads: set[tuple[int, bytes]] = set()

    def sealed(self, whose: int, datagram: bytes) -> None:
        """``whose``: a number for each key's holder."""
        head = whose, datagram[1:HEADER_BYTES]
        assert head not in self._heads, f"number and sequence {head[1].hex()} have sealed two datagrams"
        self._heads.add(head)
