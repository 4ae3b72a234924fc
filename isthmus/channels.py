"""A world's channels as its gateways take them: from what the file says to what the core is told.

Decides nothing but units. Not responsible for: what may be declared (``config.channels``), cameras (``server.core``).
"""

from math import radians

from isthmus.config import Config
from isthmus.config.channels import DEFAULT, Channel
from server.core.cameras import ChannelSpec, Waypoint


def channel_specs(config: Config) -> tuple[ChannelSpec, ...]:
    """The channels of a world; of one that declares none the one that shows what is liveliest."""
    return tuple(_spec(channel) for channel in config.channels or DEFAULT)


def _spec(c: Channel) -> ChannelSpec:
    return ChannelSpec(
        name=c.name,
        title=c.title,
        camera=c.camera,
        place_m=c.place_m,
        distance_m=c.distance_m,
        height_m=c.height_m,
        bearing=radians(c.bearing_deg),
        follow_id=c.follow_id,
        follow_kind=c.follow_kind,
        follow_name=c.follow_name,
        path=tuple(Waypoint(p[0], (p[1], p[2], p[3]), (p[4], p[5], p[6])) for p in c.path),
        shot_least_s=c.shot_least_s,
        shot_most_s=c.shot_most_s,
        radius_m=c.radius_m,
        near_radius_m=c.near_radius_m,
        cap=c.entities_max,
        rate_hz=c.rate_hz,
        bytes_per_s=c.bytes_per_s,
    )
