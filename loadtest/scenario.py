"""A scenario: who comes, how many when, into which world, and what they may have to bear. A TOML file.

Decides what a scenario may say, with which bounds and defaults. docs/LOADTEST.md is the same for people. Invariant: an
object of ``Scenario`` satisfies every bound here. Not responsible for: reading files (``reading``), carrying it out.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

Part = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Ground = tuple[float, float]
"""x and z in metres."""
KINDS = ("headset", "desktop", "tv", "machine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a body goes. ``wander``: anywhere, with slow turns. ``gather``: into a circle, and about in it.
    ``oscillate``: to and fro along x through the centre, ``radius_m`` to each side. ``stand``: nowhere."""

    how: Literal["wander", "gather", "oscillate", "stand"]
    centre_m: Ground = (0.0, 0.0)
    radius_m: Annotated[float, Meta(gt=0, le=10_000)] = 60.0
    run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An action of the world that is asked for every so often, at random moments. ``payload``: anything that the
    action takes; the text ``"$count"`` in it stands for how many this client has asked for."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    every_s: Annotated[float, Meta(ge=0.1, le=3600)]
    payload: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong with a client's line; the same in each run, by the scenario's seed."""

    loss: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Part of datagrams that get lost, each way. Over WebSocket: see ``stall``."""
    stall_every_s: NotNegative = 0.0
    """The client reads nothing for ``stall_s`` so often, at random moments; 0: never."""
    stall_s: Annotated[float, Meta(gt=0, le=60)] = 0.3
    bytes_per_s: NotNegative = 0.0
    """What a client over WebSocket reads at most; 0: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kind of user in the mix."""

    kind: str
    """One of KINDS, or ``file.py:Class``, a user of the author's own beside the scenario."""
    share: Positive
    """How many of these there are, compared with the other entries."""
    transport: Literal["websocket", "datagrams"] = "websocket"
    move: Move = Move(how="wander")
    predict: bool = True
    """Whether the client predicts its body: half of its CPU; without it there are no corrections."""
    acts: tuple[Act, ...] = ()
    trouble: Trouble = Trouble()
    channel: str | None = None
    """What a TV watches; absent: the world's first channel."""
    behind_s: Annotated[int, Meta(ge=0, le=60)] = 0
    budgets: dict[str, NotNegative] = field(default_factory=dict)

    @property
    def moves(self) -> bool:
        """Whether it has a body that walks."""
        return self.kind != "tv" and self.move.how != "stand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """At a moment some connections end without a word, and their clients come back with their tickets."""

    at_s: NotNegative
    part: Part = 1.0
    away_s: tuple[float, float] = (0.1, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """How many users there are: straight lines between points of (second, users), until the last one."""

    points: tuple[tuple[float, int], ...]
    judged_from_s: NotNegative = 0.0
    """Budgets are held to what was measured from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """How busy the makers of load may be before their figures count for nothing."""

    late_p99_ms: Positive = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything. ``path``: of its file. ``world``: path of a world's file."""

    title: Annotated[str, Meta(min_length=1, max_length=80)]
    description: str = ""
    world: Path
    shards: Annotated[int, Meta(ge=1, le=64)] = 2
    gateways: Annotated[int, Meta(ge=1, le=64)] = 1
    options: dict[str, str | bool | int | float] = field(default_factory=dict)
    """Options of the local cluster besides the world's file, as ``"limits.joins_per_s" = 100``."""
    seed: Annotated[int, Meta(ge=0, lt=2**63)] = 1
    ramp: Ramp
    storms: tuple[Storm, ...] = ()
    users: dict[str, Entry]
    budgets: dict[str, NotNegative] = field(default_factory=dict)
    generator: Generator = Generator()
    path: Path = Path()

    @property
    def duration_s(self) -> float:
        """Until the last point of the ramp."""
        return self.ramp.points[-1][0]

    @property
    def needs_datagrams(self) -> bool:
        """Whether anybody goes over UDP."""
        return any(entry.transport == "datagrams" for entry in self.users.values())

    @property
    def users_most(self) -> int:
        """The most users at any time."""
        return max(users for _, users in self.ramp.points)
