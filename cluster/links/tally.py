"""What the links of one member have carried and lost since it began, all peers together.

Decides into which few words the ends of links are sorted, so that each can be counted. Invariant: counts only grow.
Not responsible for: names of metrics (``isthmus.fleet.figures``), what waits now (``Links.waiting_bytes``).
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from protocol.carried import Kind


class Ended(StrEnum):
    """Why a link, or a connection that never became one, ended."""

    FULL = "queue_full"
    """Items over the bound: the peer reads too slowly."""
    SILENT = "silent"
    BROKEN = "broken"
    """The peer sent what no peer sends."""
    REPLACED = "replaced"
    """The peer has connected anew."""
    REFUSED = "refused"
    """Proven, but not wanted: no member, or an older generation."""
    CROWDED = "crowded"
    """Too many were not proven; this one was the first of them."""
    CLOSED = "closed"
    """By the peer, or by the network."""
    STOPPED = "stopped"
    """By this member: it stops, or the peer is no member any more."""


@dataclass(slots=True)
class Tally:
    """Bytes are those of messages, without headers; a message in pieces counts when it is whole."""

    ups: int = 0
    downs: Counter[Ended] = field(default_factory=Counter)
    strangers: Counter[Ended] = field(default_factory=Counter)
    """Connections that ended before they became a link."""
    dials_failed: int = 0
    """Nobody there, or a certificate that was refused; tried again for as long as the peer is a member."""
    sent: Counter[Kind] = field(default_factory=Counter)
    sent_bytes: Counter[Kind] = field(default_factory=Counter)
    received: Counter[Kind] = field(default_factory=Counter)
    received_bytes: Counter[Kind] = field(default_factory=Counter)
    replaced: Counter[Kind] = field(default_factory=Counter)
    """Values that a newer one took the place of, while they waited."""
    dropped: Counter[Kind] = field(default_factory=Counter)
    """Values dropped because too much waited."""
