"""Who is at the other end: three messages, both sides proven (docs/adr/0009).

    dialer   -> hello(oldest and newest version, world, name, generation, nonce)
    listener -> hello(the same, its own) , proof = HMAC-SHA256(key, "listener" | both hellos)
    dialer   -> proof = HMAC-SHA256(key, "dialer" | both hellos)

Decides that the dialer has the lower name, that both nonces, names and generations are under both proofs, and that each
direction's MAC key comes from the same transcript, so nothing of one link is worth anything in another. A link speaks
the newest version that both ends know; what they know is under the proofs as well, so nobody on the path can talk two
members down to an older one. Under TLS
certificates prove, proofs are empty, and the certificate must carry the member's name. Invariant: nothing but
:class:`LinkBroken` is raised, whatever arrives. Not responsible for: random numbers (nonces are given), sockets.
"""

import hmac
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import msgpack

from cluster.links.frames import LinkBroken

VERSIONS = (1, 1)
"""Oldest and newest version of what travels over links that this release speaks. A release that changes what members
tell each other raises the newest, and speaks the one before as well: a cluster is upgraded member by member."""
NONCE_BYTES = 32
NAME_CHARS_MAX = 64
KEY_BYTES_MIN = 32


@dataclass(frozen=True, slots=True)
class Self:
    """This member, as it names itself: ``generation`` grows with each life of ``name``; ``versions``: oldest and newest
    that it speaks."""

    world: str
    name: str
    generation: int
    versions: tuple[int, int] = VERSIONS


@dataclass(frozen=True, slots=True)
class Proven:
    """A peer that has proven itself; the MAC keys are empty under TLS. ``version``: what this link speaks."""

    name: str
    generation: int
    send_key: bytes
    receive_key: bytes
    version: int


class Handshake:
    """One side of one handshake. ``expected``: whom the dialer dials; None makes this the listener.

    ``key`` is the cluster's, or empty under TLS, where ``certified`` holds the names in the peer's certificate.
    """

    def __init__(
        self, me: Self, key: bytes, nonce: bytes, expected: str | None, certified: Set[str] = frozenset()
    ) -> None:
        self._me, self._key, self._expected, self._certified = me, key, expected, certified
        self._own = bytes(msgpack.packb(["isthmus-link", *me.versions, me.world, me.name, me.generation, nonce]))
        self._transcript = b""
        self._peer: tuple[str, int, int] | None = None

    def begin(self) -> bytes | None:
        """The dialer's first message; None for a listener."""
        return None if self._expected is None else bytes(msgpack.packb([self._own, b""]))

    def receive(self, data: bytes) -> tuple[bytes | None, Proven | None]:
        """(what to answer, the peer once it is proven). Raises LinkBroken."""
        hello, proof = _two(data)
        if self._expected is not None:
            name, generation, version = self._read(hello)
            if name != self._expected:
                raise LinkBroken(f"{self._expected} was dialed, {name} answered")
            self._transcript = _joined(self._own, hello)
            self._check(b"listener", proof)
            return bytes(msgpack.packb([b"", self._proof(b"dialer")])), self._proven(name, generation, version)
        if self._peer is None:
            self._peer = self._read(hello)
            if self._peer[0] >= self._me.name:
                raise LinkBroken(f"{self._peer[0]} dialed {self._me.name}, but the lower name dials")
            self._transcript = _joined(hello, self._own)
            return bytes(msgpack.packb([self._own, self._proof(b"listener")])), None
        self._check(b"dialer", proof)
        return None, self._proven(*self._peer)

    def _read(self, hello: bytes) -> tuple[str, int, int]:
        match _unpacked(hello):
            case ["isthmus-link", int(oldest), int(newest), str(world), str(name), int(generation), bytes(nonce)]:
                pass
            case _:
                raise LinkBroken("not a hello of a link")
        own_oldest, own_newest = self._me.versions
        version = min(newest, own_newest)
        if version < max(oldest, own_oldest):
            raise LinkBroken(
                f"{name[:NAME_CHARS_MAX]!r} speaks versions {oldest} to {newest} of the link protocol, this member "
                f"{own_oldest} to {own_newest}: go from one release to the next, and leave none out"
            )
        if world != self._me.world:
            raise LinkBroken(f"a member of the world {world[:NAME_CHARS_MAX]!r}, not {self._me.world!r}")
        if not 1 <= len(name) <= NAME_CHARS_MAX or generation < 0 or len(nonce) != NONCE_BYTES:
            raise LinkBroken("a hello beyond its bounds")
        if not self._key and name not in self._certified:
            raise LinkBroken(f"{name!r} is not in the certificate, which names {sorted(self._certified)}")
        return name, generation, version

    def _proof(self, role: bytes) -> bytes:
        return hmac.digest(self._key, role + b"|" + self._transcript, "sha256") if self._key else b""

    def _check(self, role: bytes, proof: bytes) -> None:
        if not hmac.compare_digest(self._proof(role), proof):
            raise LinkBroken("a wrong proof: do both have the same cluster key?")

    def _proven(self, name: str, generation: int, version: int) -> Proven:
        down, up = self._proof(b"key of the dialer"), self._proof(b"key of the listener")
        send, receive = (up, down) if self._expected is None else (down, up)
        return Proven(name, generation, send, receive, version)


def _joined(first: bytes, second: bytes) -> bytes:
    return len(first).to_bytes(2, "big") + first + second


def _two(data: bytes) -> tuple[bytes, bytes]:
    match _unpacked(data):
        case [bytes(first), bytes(second)]:
            return first, second
    raise LinkBroken("not a message of a handshake")


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as problem:
        raise LinkBroken(f"not msgpack: {type(problem).__name__}") from None
