"""What each class of device is told: data, not code. Televisions are told what their channel is (``channels``).

Decides how often, how far, how exactly and how many bytes. Invariants: no profile sees farther or more than the world's
view allows (``ViewRules``), because mirrors and numbers are sized by that; a profile that says nothing gets the
world's. Not responsible for: what of it fits a frame (``kernels.interest``), what the way to a client holds
(``kernels.pace``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from server.core.views import Portion, ViewRules

WHOLE = frozenset({"rate_hz", "entities_max", "bytes_per_s"})
"""Fields that are whole numbers."""


@dataclass(frozen=True, slots=True)
class Profile:
    """None: as the world has it.

    ``rate_hz``: frames a second at most. ``radius_m``: entities within it are seen. ``near_radius_m``: within it the
    near tolerance holds, and ``outer_radius_m`` beyond which the outermost one does. ``entities_max``: told of at once,
    the nearest win. ``bytes_per_s``: all that is written for the view, 0: no limit but what the way holds; over it the
    nearest and those that waited longest come first.
    """

    rate_hz: int | None = None
    radius_m: float | None = None
    near_radius_m: float | None = None
    outer_radius_m: float | None = None
    entities_max: int | None = None
    bytes_per_s: int | None = None

    def but(self, other: "Profile") -> "Profile":
        """This one, with what ``other`` says."""
        said = {f.name: value for f in fields(other) if (value := getattr(other, f.name)) is not None}
        return Profile(**{**{f.name: getattr(self, f.name) for f in fields(self)}, **said})


def changed(values: Mapping[str, float]) -> Profile:
    """What operators changed of a profile (``cluster.orders.ProfileChange``); fields that there are not are left out:
    they are of another version's gateway."""
    said: dict[str, Any] = {f.name: values[f.name] for f in fields(Profile) if f.name in values}
    for name in said.keys() & WHOLE:
        said[name] = int(said[name])
    return Profile(**said)


PROFILES: Mapping[str, Profile] = {
    # With head and hands, which get at least 4 kB/s beside (``poses``), 256 kbit/s: what a headset on a shared wireless
    # network can count on.
    "vr": Profile(bytes_per_s=28_000),
    # 1 Mbit/s: any line that carries video.
    "desktop": Profile(bytes_per_s=125_000),
    # Somebody who watches and does not act.
    "observer": Profile(rate_hz=10, bytes_per_s=125_000),
    # A machine wants to know what is close to it.
    "device": Profile(rate_hz=5, radius_m=30.0, near_radius_m=10.0, entities_max=64, bytes_per_s=8_000),
}
"""What a world gets that says nothing of profiles."""


def portion_of(profile: Profile, rules: ViewRules, rate_hz: int) -> Portion:
    """A profile within the world's rules; ``rate_hz``: the world's."""
    radius_m = min(profile.radius_m or rules.radius_m, rules.radius_m)
    near_m = rules.near_radius_m if profile.near_radius_m is None else profile.near_radius_m
    return Portion(
        radius_m=radius_m,
        near_radius_m=min(near_m, radius_m),
        outer_radius_m=rules.outer_radius_m if profile.outer_radius_m is None else profile.outer_radius_m,
        cap=min(profile.entities_max or rules.cap, rules.cap),
        every_ticks=max(1, round(rate_hz / (profile.rate_hz or rate_hz))),
        bytes_per_s=profile.bytes_per_s or 0,
    )
