"""What a gateway remembers of one session.

Invariant: ``conn`` is set exactly in the states admitting, attaching and live. Not responsible for: changing any of
it (``sessions``).
"""

from dataclasses import dataclass

from protocol.channels import TV
from server.session.chat import Voice
from server.session.identity import Identity
from server.session.states import State

OBSERVER = "observer"
"""The profile that looks on: a view without a body."""
BODILESS = frozenset({OBSERVER, TV})
"""A television shows channels (``server.core.channels``): it has neither a body nor a view."""
DEVICE = "device"
"""The profile of machines: no person, so presence does not count it."""


def key_of(identity: Identity, profile: str) -> tuple[str, str, bool]:
    """What a session is found by: an identity has at most one with a body, and one without."""
    return identity.issuer, identity.subject, profile in BODILESS


@dataclass(slots=True, eq=False)
class Session:
    """One session as its gateway remembers it. ``conn`` is None when detached or ended; ``body`` None until given, and
    for observers and televisions."""

    id: int
    identity: Identity
    name: str
    profile: str
    state: State
    conn: int | None
    schema_hash: bytes | None
    version: int
    """Of the wire, on its latest connection: the newest that both speak."""
    voice: Voice
    generation: int = 0
    body: int | None = None
    welcomed: int = 0
    """The generation under which this gateway last had the body; 0: never yet."""
    lost: bool = False
    """The body ended with its region: the next one is a new one."""
    moved_s: float = -1.0e9
    """When it came from another gateway, or was last told to go to one."""
    window_bytes: int = 0
    """What the way to its client holds, if another gateway has told (``tickets``)."""
    present: bool = False
    ticket_hash: bytes = b""
    not_resumed: bool = False
    """Its client wanted to go on with another one, of which nothing is left; it has not been told yet."""
    came: str = "new"
    """How its latest connection came: new; resumed, after the older one had broken; replaced, while it stood; or
    moved, from another gateway."""

    @property
    def key(self) -> tuple[str, str, bool]:
        return key_of(self.identity, self.profile)
