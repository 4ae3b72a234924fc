"""Resume tickets that every gateway of a cluster can open: the session itself, sealed.

Theory. A gateway knows its own tickets by their digest (``register``): of a session one is good, the newest. What is
sealed in them is for the others: when a gateway was killed or drained, whichever gateway gets the ticket makes the
session anew; a process that is a whole world does so after its restart. Sealed means AES-256-GCM (NIST SP 800-38D)
under a key that all gateways derive from the cluster's (or the world's, ``isthmus.kept``) by HKDF (RFC 5869); in a
world that keeps nothing it is drawn at its start. Nonces are drawn at random: 2³² tickets of one key are far
more than a cluster gives.

Invariants: nothing that was not sealed under the key is ever opened, nor anything after its time; a ticket of this very
gateway is never opened, since it says of itself which of its sessions still are; no ticket is longer than the wire
allows. Not responsible for: which of several tickets is the newest (``sessions``: by their generation).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.limits import RESUME_BYTES_MAX
from server.session.identity import Identity

KEY_BYTES = 32
LIFETIME_S = 24 * 3600.0
"""A ticket is given when a body is attached, and must still be good when the gateway dies after a long visit."""
PLAIN_BYTES = 32
_NONCE_BYTES = 12
_LIFE_BYTES = 8
_CONTEXT = b"isthmus resume ticket 1"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a gateway must know to go on with a session; ``body`` is None for observers and if there is none yet.
    ``window_bytes``: what the way to its client holds, as the gateway before has found it; 0 if that is not known."""

    session: int
    generation: int
    identity: Identity
    name: str
    profile: str
    body: int | None
    window_bytes: int = 0


class _Content(msgspec.Struct, array_like=True, frozen=True):
    life: bytes
    until_unix_s: int
    session: int
    generation: int
    issuer: str
    subject: str
    roles: list[str]
    guest: bool
    name: str
    profile: str
    body: int | None
    window_bytes: int = 0


def after_other_gateway(generation: int, gateway: int) -> int:
    """From where a session's generations go on at the next gateway: its attaches at the one before, of which the ticket
    may not tell the last, all have lower ones. The upper 16 bits count gateways; of two gateways that go on from one
    ticket, ``gateway`` keeps the generations apart."""
    return min((generation >> 16) + 1, 0xFFFF) << 16 | gateway % 256 << 8


class Tickets:
    """Seals and opens tickets under ``key`` (32 bytes). ``unix_s``: the wall clock. Raises ValueError on a key of
    another length."""

    def __init__(
        self,
        key: bytes,
        random_bytes: Callable[[int], bytes],
        unix_s: Callable[[], float],
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"tickets: a key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)
        self._random_bytes = random_bytes
        self._unix_s = unix_s
        self._lifetime_s = lifetime_s
        self._life = random_bytes(_LIFE_BYTES)

    @classmethod
    def of_cluster(cls, cluster_key: bytes, random_bytes: Callable[[int], bytes], unix_s: Callable[[], float]) -> Self:
        """For a gateway of a cluster: the key is derived from the cluster's. Raises ValueError if that is empty."""
        if not cluster_key:
            raise ValueError("tickets: the cluster's key is empty; without it a resume ticket could be forged")
        key = HKDF(SHA256(), KEY_BYTES, salt=None, info=_CONTEXT).derive(cluster_key)
        return cls(key, random_bytes, unix_s)

    @classmethod
    def alone(cls, random_bytes: Callable[[int], bytes]) -> Self:
        """For a single process that keeps nothing: nobody else has the key, so nothing is ever opened and no clock is
        needed."""
        return cls(random_bytes(KEY_BYTES), random_bytes, lambda: 0.0)

    def seal(self, ticket: Ticket) -> bytes:
        """The ticket's bytes, different each time. One that would be too long for the wire (an issuer may give many
        long roles) says nothing to other gateways: there its client goes on with its token."""
        who = ticket.identity
        content = _Content(
            self._life,
            int(self._unix_s() + self._lifetime_s),
            ticket.session,
            ticket.generation,
            who.issuer,
            who.subject,
            sorted(who.roles),
            who.guest,
            ticket.name,
            ticket.profile,
            ticket.body,
            ticket.window_bytes,
        )
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, msgspec.msgpack.encode(content), _CONTEXT)
        return sealed if len(sealed) <= RESUME_BYTES_MAX else self._random_bytes(PLAIN_BYTES)

    def open(self, data: bytes) -> Ticket | None:
        """What another gateway sealed, or None: forged, too old, or this gateway's own."""
        nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            plain = self._cipher.decrypt(nonce, sealed, _CONTEXT)
            content = msgspec.msgpack.decode(plain, type=_Content)
        except (InvalidTag, ValueError, msgspec.DecodeError):
            return None
        if content.life == self._life or content.until_unix_s <= self._unix_s():
            return None
        identity = Identity(content.issuer, content.subject, None, frozenset(content.roles), content.guest)
        c = content
        return Ticket(c.session, c.generation, identity, c.name, c.profile, c.body, c.window_bytes)
