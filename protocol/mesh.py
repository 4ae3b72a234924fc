"""What gateways of a cluster tell each other: who is in the world by which gateway, and what is said.

Invariant: ``decode`` raises :class:`ProtocolViolation` and nothing else. Not responsible for: what a gateway makes of
it (``server.session.roster``).
"""

import msgspec

from protocol.codes import ProtocolViolation
from protocol.link import LINK_BYTES_MAX

KEY_BYTES = 16


class Person(msgspec.Struct, array_like=True, frozen=True):
    """One session. ``key``: digest of its identity (KEY_BYTES); ``body``: 0 until it is given; ``present``: whether it
    counts as a person."""

    session: int
    generation: int
    key: bytes
    name: str
    body: int
    present: bool


class Roll(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """Who came or changed, and who ended, at ``gateway`` since its message before; with ``whole`` everybody who is
    there. ``seq`` counts a gateway's rolls up by one; also with nothing to tell one comes each second. ``left``:
    [session, generation]."""

    gateway: int
    seq: int
    whole: bool
    came: list[Person]
    left: list[tuple[int, int]]


class Again(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """``gateway`` has missed something: tell it everything."""

    gateway: int


class Line(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """Somebody said something. ``scope`` as in CHAT; ``to``: the body spoken to, or 0; ``x_m, z_m``: where it was
    said."""

    gateway: int
    scope: int
    sender: int
    name: str
    text: str
    to: int
    x_m: float
    z_m: float


Word = Roll | Again | Line
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)


def encode(word: Word) -> bytes:
    """Msgpack."""
    return _encoder.encode(word)


def decode(data: bytes | memoryview) -> Word:
    """Inverse of :func:`encode`. Raises ProtocolViolation."""
    if len(data) > LINK_BYTES_MAX:
        raise ProtocolViolation("link", f"mesh: {len(data)} bytes, at most {LINK_BYTES_MAX} are allowed")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolViolation("link", f"mesh: {error}") from None
