"""Links between the members of a cluster: authenticated, bounded, and lost and found again as ordinary events."""

from cluster.links.frames import Kind, LinkBroken
from cluster.links.handshake import Self
from cluster.links.links import LinkDown, Links, LinksConfig, LinkUp

__all__ = ["Kind", "LinkBroken", "LinkDown", "LinkUp", "Links", "LinksConfig", "Self"]
