"""What members ask each other while the store answers nobody (docs/CLUSTER.md, "Failsafe").

Invariant: ``decode`` raises :class:`ProtocolViolation` and nothing else. Not responsible for: what follows from an
answer (``cluster.failsafe``).
"""

import msgspec

from protocol.codes import ProtocolViolation

CLAIMS_MAX = 4096


class Question(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """May I go on? ``claims``: the regions that I own, each with its epoch. ``round`` counts up."""

    round: int
    claims: dict[int, int]


class Consent(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """I cannot reach the store either, and know of no newer epoch of your regions."""

    round: int


class Objection(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """You may not; ``reason`` is for people, ``epochs`` what I know of your regions."""

    round: int
    reason: str
    epochs: dict[int, int]


Word = Question | Consent | Objection
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)


def encode(word: Word) -> bytes:
    """Msgpack."""
    return _encoder.encode(word)


def decode(data: bytes | memoryview) -> Word:
    """Inverse of :func:`encode`. Raises ProtocolViolation."""
    try:
        word = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolViolation("link", f"failsafe: {error}") from None
    if isinstance(word, Question) and len(word.claims) > CLAIMS_MAX:
        raise ProtocolViolation("link", f"failsafe: {len(word.claims)} claims, at most {CLAIMS_MAX} are allowed")
    return word
