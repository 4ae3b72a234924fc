"""Links between the members of a cluster: authenticated, bounded, and lost and found again as ordinary events."""

from cluster.links.frames import LinkBroken
from cluster.links.handshake import Self
from cluster.links.links import LinkDown, Links, LinksConfig, LinkUp

__all__ = ["LinkBroken", "LinkDown", "LinkUp", "Links", "LinksConfig", "Self"]
