"""What sessions ask of the rest of the gateway, and the WELCOME made of it.

Not responsible for: how the facts come about.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from protocol.messages import Welcome
from server.session.actions import Conns
from server.session.record import Session


@dataclass(frozen=True, slots=True)
class WelcomeFacts:
    """What WELCOME says of the world (STANDARD.md §3); ``stream`` and radii are those of the asked connection and
    profile."""

    world: str
    tick: int
    rate_hz: int
    steps_per_tick: int
    stream: int
    radius_m: float
    near_radius_m: float
    schema: dict[str, Any]
    schema_hash: bytes
    anchor: tuple[float, float, float] | None
    map: str | None
    attribution: str
    idle_ack_ms: int
    server: str


class World(Protocol):
    """What sessions ask of the rest of the gateway; answers are at hand, nothing waits."""

    def facts(self, conn: int, profile: str) -> WelcomeFacts:
        """Facts for the WELCOME of ``conn``."""

    def body_kind(self, profile: str) -> int:
        """The entity kind of bodies of this profile."""

    def place(self, conn: int) -> tuple[float, float]:
        """Where the view of ``conn`` is (x, z; metres)."""

    def window_bytes(self, conn: int) -> int:
        """How many bytes the way to the client of ``conn`` holds, as its view has found out."""

    def near(self, place_m: tuple[float, float], radius_m: float) -> Conns:
        """int32[n]: connections with bodies within ``radius_m`` of a place."""


def welcome(facts: WelcomeFacts, session: Session, ticket: bytes, acted: int) -> Welcome:
    """The WELCOME of a session that was given its body, whose newest act is ``acted``; the schema is left out if the
    client has it."""
    return Welcome(
        version=session.version,
        session=session.id,
        generation=session.generation,
        resume=ticket,
        world=facts.world,
        tick=facts.tick,
        rate_hz=facts.rate_hz,
        steps_per_tick=facts.steps_per_tick,
        body=session.body,
        stream=facts.stream,
        profile=session.profile,
        radius_m=facts.radius_m,
        near_radius_m=facts.near_radius_m,
        schema=None if session.schema_hash == facts.schema_hash else facts.schema,
        schema_hash=facts.schema_hash,
        anchor=facts.anchor,
        map=facts.map,
        attribution=facts.attribution,
        idle_ack_ms=facts.idle_ack_ms,
        server=facts.server,
        acted=acted,
    )
