"""Who is kept out or quiet by operators' orders, and which orders are new.

Decides when an order stands, what is said to those it is about, and that passing orders which a gateway finds when it
begins are over: they were for those who lived. Invariant: an identity is found with or without a body
(``record.key_of``), so nobody who is banned comes back as a mere onlooker. Not responsible for: closing (``sessions``),
keeping orders (the coordination store, or a file)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from cluster.orders import Ban, Broadcast, Kick, Mute, Orders
from server.session.identity import Identity
from server.session.roster import digest

T = TypeVar("T", Ban, Mute)


def no_wall_clock() -> float:
    """For gateways that are told no wall clock: no order's time is ever over."""
    return 0.0


@dataclass(slots=True)
class News:
    """What is new among the orders."""

    kicks: list[Kick] = field(default_factory=list)
    broadcasts: list[Broadcast] = field(default_factory=list)
    bans: list[Ban] = field(default_factory=list)


class Moderation:
    """``unix_s``: seconds since 1970, by which orders end."""

    def __init__(self, unix_s: Callable[[], float] = no_wall_clock) -> None:
        self._unix_s = unix_s
        self._bans: dict[bytes, Ban] = {}
        self._mutes: dict[bytes, Mute] = {}
        self._known: Orders | None = None

    def take(self, orders: Orders) -> News:
        """All orders that there are now; returns what is new. The first time passing ones are not."""
        news = News()
        known = self._known
        for key, order in orders.items():
            if known is not None and known.get(key) == order:
                continue
            match order:
                case Ban():
                    news.bans.append(order)
                case Kick() if known is not None:
                    news.kicks.append(order)
                case Broadcast() if known is not None:
                    news.broadcasts.append(order)
                case _:
                    pass
        self._known = orders
        self._bans = {order.key: order for order in orders.values() if isinstance(order, Ban)}
        self._mutes = {order.key: order for order in orders.values() if isinstance(order, Mute)}
        return news

    def banned(self, identity: Identity) -> str | None:
        """What somebody who is kept out is told; None: nobody keeps them out."""
        ban = self._of(identity, self._bans)
        return None if ban is None else _text("an operator has banned you", ban)

    def muted(self, identity: Identity) -> str | None:
        """What somebody who is not heard is told; None: they are."""
        mute = self._of(identity, self._mutes)
        return None if mute is None else _text("an operator has muted you", mute)

    def _of(self, identity: Identity, orders: dict[bytes, T]) -> T | None:
        if not orders:
            return None
        for bodiless in (False, True):
            found = orders.get(digest((identity.issuer, identity.subject, bodiless)))
            if found is not None and not is_over(found, self._unix_s()):
                return found
        return None


def is_over(order: Ban | Mute, unix_s: float) -> bool:
    """Whether an order's time has passed."""
    return 0 < order.until_unix_s <= unix_s


def _text(what: str, order: Ban | Mute) -> str:
    if order.until_unix_s:
        what += f" until {datetime.fromtimestamp(order.until_unix_s, UTC):%Y-%m-%d %H:%M} UTC"
    return f"{what}: {order.reason}" if order.reason else what
