"""Links between the members of a cluster: authenticated, bounded, and lost and found again as ordinary events."""

from cluster.links.frames import LinkBroken
from cluster.links.handshake import Self
from cluster.links.links import Event, LinkDown, Links, LinksConfig, LinkUp, Refused

__all__ = ["Event", "LinkBroken", "LinkDown", "LinkUp", "Links", "LinksConfig", "Refused", "Self"]
