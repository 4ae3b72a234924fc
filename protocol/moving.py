"""How a region goes from one owner to the next: the words between the two shards (docs/CLUSTER.md, "Moving a region").

Invariant: ``decode`` raises :class:`ProtocolViolation` and nothing else. Not responsible for: the order of these words
and what the store is asked (``cluster.moving``), what is in a dump (``shard``).
"""

import msgspec

from protocol.codes import ProtocolViolation
from protocol.link import LINK_BYTES_MAX


class Offer(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """The owner of ``epoch`` has frozen ``region`` and gives all of it to the life of the target that ``lease`` names.
    ``move`` names this attempt and no other. ``gateways``: which members its subscribers are, by their numbers, so that
    none of them misses the first delta. ``revision`` of the store, when regions were split or merged last: who knows
    less does not know the region's neighbours."""

    move: int
    region: int
    epoch: int
    lease: int
    dump: bytes
    gateways: dict[int, str] = {}
    revision: int = 0


class Loaded(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """The target holds the region and could step it at once."""

    move: int
    region: int


class Declined(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """The target does not take it; ``reason`` is for people."""

    move: int
    region: int
    reason: str


class Withdrawn(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """The owner goes on itself: what was loaded is worth nothing."""

    move: int
    region: int


class Yours(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """The record is written: the target owns ``region`` under ``epoch``, in the life that ``lease`` names. The store
    says the same, a little later."""

    move: int
    region: int
    epoch: int
    lease: int


class Please(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """The placer asks the owner of ``epoch`` to move ``region`` to the member ``to``. It may be said again, and too
    late."""

    region: int
    epoch: int
    to: str


class Settle(msgspec.Struct, array_like=True, tag=7, frozen=True):
    """``region`` begins anew under ``epoch``: say when all that came from its former life is durable at yours."""

    region: int
    epoch: int


class Settled(msgspec.Struct, array_like=True, tag=8, frozen=True):
    """It is, and nothing of an older epoch is taken any more."""

    region: int
    epoch: int


class Split(msgspec.Struct, array_like=True, tag=9, frozen=True):
    """The placer asks the owner of ``epoch`` to split ``region`` into its quarters. It may be said again, and too late,
    as :class:`Merge` may."""

    region: int
    epoch: int


class Merge(msgspec.Struct, array_like=True, tag=10, frozen=True):
    """The placer asks the owner of all quarters of cell ``region`` to make one region of them; ``epochs``: of each."""

    region: int
    epochs: dict[int, int]


Word = Offer | Loaded | Declined | Withdrawn | Yours | Please | Settle | Settled | Split | Merge
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)


def encode(word: Word) -> bytes:
    """Msgpack."""
    return _encoder.encode(word)


def decode(data: bytes | memoryview) -> Word:
    """Inverse of :func:`encode`. Raises ProtocolViolation."""
    if len(data) > LINK_BYTES_MAX:
        raise ProtocolViolation("link", f"moving: {len(data)} bytes, at most {LINK_BYTES_MAX} are allowed")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolViolation("link", f"moving: {error}") from None
