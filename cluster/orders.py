"""What operators order of all gateways of a world: to end a session, to keep somebody out or quiet, to say something to
everybody, to tell a class of devices more or less.

Decides keys and values, and how long an order stands. *Passing* orders (:class:`Kick`, :class:`Broadcast`) are carried
out once, by gateways that lived when they were given; *standing* ones (:class:`Ban`, :class:`Mute`,
:class:`ProfileChange`) hold until their time is over or they are taken back. Invariant: two orders of one kind about
the same thing have the same key, so the later takes the place of the earlier. Not responsible for: who may give them
(``server.console``), carrying them out (``server.session.moderation``, ``server.core.gateway``).
"""

from collections.abc import Mapping

import msgspec

from cluster.records import RecordError

ORDERS = "order/"
PASSING_S = 30
"""A passing order is known for so long: longer than any gateway's watch is behind."""
STANDING_MAX = 10_000
"""Each gateway holds all of them."""
KEY_BYTES = 16
"""Of the digest that names an identity among gateways (``server.session.roster.digest``)."""


class Kick(msgspec.Struct, frozen=True, tag="kick"):
    """End ``session``, and tell it ``reason``."""

    session: int
    reason: str
    by: str


class Broadcast(msgspec.Struct, frozen=True, tag="broadcast"):
    """Say ``text`` to everybody. ``number`` tells two of them apart."""

    number: int
    text: str
    by: str


class Ban(msgspec.Struct, frozen=True, tag="ban"):
    """Keep an identity out until ``until_unix_s`` (0: for good). ``key``: its digest, with or without a body; ``name``:
    how it was called then."""

    key: bytes
    until_unix_s: float
    reason: str
    by: str
    name: str


class Mute(msgspec.Struct, frozen=True, tag="mute"):
    """Pass on nothing that an identity says; fields as of :class:`Ban`."""

    key: bytes
    until_unix_s: float
    reason: str
    by: str
    name: str


class ProfileChange(msgspec.Struct, frozen=True, tag="profile"):
    """Clients of ``profile`` are told by these values in place of the configured ones; names and units as in the
    configuration's ``[profile_…]``."""

    profile: str
    values: dict[str, float]
    by: str


Order = Kick | Broadcast | Ban | Mute | ProfileChange
Standing = Ban | Mute | ProfileChange
Orders = Mapping[str, Order]
"""By key."""
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)


def order_key(order: Order) -> str:
    """The key of an order."""
    match order:
        case Kick():
            return f"{ORDERS}kick/{order.session}"
        case Broadcast():
            return f"{ORDERS}broadcast/{order.number}"
        case Ban():
            return f"{ORDERS}ban/{order.key.hex()}"
        case Mute():
            return f"{ORDERS}mute/{order.key.hex()}"
        case ProfileChange():
            return f"{ORDERS}profile/{order.profile}"


def write_order(order: Order) -> bytes:
    """An order's bytes."""
    return _encoder.encode(order)


def read_order(key: str, value: bytes) -> Order:
    """An order from its bytes. Raises RecordError."""
    try:
        order = _decoder.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RecordError(f"{key}: an order was expected: {error}") from None
    if isinstance(order, Ban | Mute) and len(order.key) != KEY_BYTES:
        raise RecordError(f"{key}: an identity's digest has {KEY_BYTES} bytes, not {len(order.key)}")
    if order_key(order) != key:
        raise RecordError(f"{key}: the order there is for {order_key(order)}")
    return order
