"""Channels (STANDARD.md §10): what a television asks for, and the messages of a channel's stream beside its frames.

Invariant: everything here is plain data with finite bounds. Not responsible for: bytes (``messages``), STRUCTURE and
FRAME (``frames``), what a camera looks at (``server.core``).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

TV: Final = "tv"
"""The profile without a body and without a view of its own."""
CHANNEL_NAME_CHARS_MAX: Final = 64
BEHIND_S_MAX: Final = 60
"""So far back a channel may be joined."""
TV_ACK_MS: Final = 1000
"""So often a television acknowledges."""

Point = tuple[int, int, int]
"""x, y, z in grid units."""


class ChannelCode(IntEnum):
    """What became of a WATCH."""

    WATCHING = 0
    UNKNOWN = 1
    """There is no such channel."""
    PROFILE = 2
    """This session has a view of its own: only profile tv joins channels."""
    OFF = 3
    """Nothing is watched any more, as it was asked for."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A client wants this channel, ``behind_s`` in the past; "": none. None: the world's first one."""

    name: str | None
    behind_s: int = 0


@dataclass(frozen=True, slots=True)
class Channel:
    """The answer: what comes from now on is of ``stream``, ``behind_ms`` behind the present at first."""

    code: int
    name: str
    stream: int = 0
    title: str = ""
    rate_hz: float = 0.0
    behind_ms: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Keyframe:
    """Forget what this stream told: the next ``parts`` structure messages, from ``sseq`` + 1 on, say all that its
    viewers hold after ``frame``."""

    stream: int
    frame: int
    tick: int
    parts: int
    sseq: int = 0


@dataclass(frozen=True, slots=True)
class Camera:
    """Where to look from ``tick`` on: from ``eye`` to ``look``, relative to where ``entity`` is shown if there is one.
    ``move_ms``: the way there from the pose before; 0: a cut. ``text``: what is on."""

    stream: int
    tick: int
    move_ms: int
    entity: int | None
    eye: Point
    look: Point
    text: str = ""
    sseq: int = 0
