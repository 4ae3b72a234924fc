"""The channels of a world: ``[[channel]]`` tables of its file, one for each (docs/TV.md).

Decides which keys a channel has, their bounds and defaults, and what fits together. A channel is a thing of the world
and not an option of a process: it has no environment variable and no flag. Not responsible for: reading the file
(``loading``), cameras (``server.core``).
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, get_type_hints

import msgspec
from msgspec import Meta

from isthmus.config.problems import Problem
from protocol.channels import CHANNEL_NAME_CHARS_MAX

CHANNELS_MAX = 64
PATH_POINTS_MAX = 256
Point = tuple[float, float, float]
Waypoint = tuple[float, float, float, float, float, float, float]
"""Seconds since the path begins, the eye (x, y, z), what it looks at (x, y, z)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel; metres unless a name says otherwise."""

    name: Annotated[str, Meta(min_length=1, max_length=CHANNEL_NAME_CHARS_MAX)]
    title: Annotated[str, Meta(max_length=128)] = ""
    camera: Literal["fixed", "follow", "path", "director"] = "director"
    place_m: Point = (0.0, 0.0, 0.0)
    distance_m: Annotated[float, Meta(ge=1, le=200)] = 14.0
    height_m: Annotated[float, Meta(ge=0, le=200)] = 8.0
    bearing_deg: Annotated[float, Meta(ge=-360, le=360)] = 0.0
    follow_id: Annotated[int, Meta(ge=1)] | None = None
    follow_kind: Annotated[str, Meta(max_length=64)] = ""
    follow_name: Annotated[str, Meta(max_length=64)] = ""
    path: Annotated[tuple[Waypoint, ...], Meta(max_length=PATH_POINTS_MAX)] = ()
    shot_least_s: Annotated[float, Meta(ge=1, le=600)] = 6.0
    shot_most_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    radius_m: Annotated[float, Meta(ge=5, le=230)] = 80.0
    near_radius_m: Annotated[float, Meta(ge=0, le=230)] = 30.0
    entities_max: Annotated[int, Meta(ge=1, le=1000)] = 200
    rate_hz: Annotated[float, Meta(ge=1, le=20)] = 5.0
    bytes_per_s: Annotated[int, Meta(ge=2_000, le=200_000)] = 40_000


DEFAULT = (Channel(name="live", title="Live"),)
"""Of a world that declares none: what is liveliest."""
_FIELDS = {field.name: field for field in dataclasses.fields(Channel)}
_TYPES = get_type_hints(Channel, include_extras=True)


def read_channels(tables: object, path: str, lines: Mapping[str, int], out: list[Channel]) -> Iterator[Problem]:
    """Append the channels that ``tables`` (what TOML holds under ``channel``) declares to ``out``; yields all mistakes.
    ``lines``: of ``channel[0].name`` and so on."""

    def place(key: str) -> str:
        line = lines.get(key)
        return f"{path}:{line} {key}" if line else f"{path} {key}"

    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        yield Problem(place("channel"), "channels are a list of tables", "write [[channel]] above each one's keys")
        return
    if len(tables) > CHANNELS_MAX:
        yield Problem(place("channel"), f"{len(tables)} channels", f"declare at most {CHANNELS_MAX}")
        return
    for index, table in enumerate(tables):
        base = f"channel[{index}]"
        values: dict[str, object] = {}
        wrong = False
        for name, value in table.items():
            if name not in _FIELDS:
                wrong = True
                yield Problem(place(f"{base}.{name}"), f"a channel has no {name}", f"known are {', '.join(_FIELDS)}")
                continue
            try:
                values[name] = _value(name, value)
            except msgspec.ValidationError as problem:
                wrong = True
                yield Problem(place(f"{base}.{name}"), f"{problem} (got {value!r})", "give a value within its bounds")
        if "name" not in table:
            wrong = True
            yield Problem(place(base), "a channel without a name", 'give it one: name = "square"')
        if wrong:
            continue
        channel = msgspec.convert(values, type=Channel)
        for key, what, remedy in _broken(channel, [other.name for other in out]):
            yield Problem(place(f"{base}.{key}"), what, remedy)
        out.append(channel)


def _value(name: str, value: object) -> object:
    numbers = [value] if not isinstance(value, list) else msgspec.to_builtins(value)
    flat = [n for each in numbers for n in (each if isinstance(each, list) else [each])]
    if any(isinstance(number, float) and not math.isfinite(number) for number in flat):
        raise msgspec.ValidationError("every number must be finite")
    return msgspec.convert(value, type=_TYPES[name])


def _broken(c: Channel, names: list[str]) -> Iterator[tuple[str, str, str]]:
    if c.name in names:
        yield "name", f"two channels are called {c.name}", "give each a name of its own"
    if c.near_radius_m > c.radius_m:
        yield "near_radius_m", f"near ({c.near_radius_m:g} m) lies beyond the view itself", "make it at most radius_m"
    if c.shot_least_s > c.shot_most_s:
        yield "shot_least_s", "the least length of a shot is above the greatest", "make it at most shot_most_s"
    if c.camera == "follow" and c.follow_id is None and not c.follow_kind:
        yield "camera", "a camera that follows nobody", 'name whom: follow_kind = "person", or follow_id'
    times_s = [point[0] for point in c.path]
    if c.camera == "path" and len(c.path) < 2:
        yield "path", f"a path of {len(c.path)} points", "give two or more: [seconds, eye x, y, z, looked at x, y, z]"
    elif any(later <= earlier for earlier, later in pairwise(times_s)):
        yield "path", "the times of the path's points do not ascend", "give each point a later time than the one before"
