"""What a client core reports to its program, and what it asks of its shell: plain dataclasses.

Invariant: nothing here has behaviour. Not responsible for: when they occur (``client.core``).
"""

from dataclasses import dataclass
from typing import Any

from protocol.codes import Advice
from protocol.messages import Token, Welcome


@dataclass(frozen=True, slots=True)
class Welcomed:
    """Admitted, for the first time or again. A new stream begins: forget all entities, they enter again.

    ``resumed``: the body is the one held before (a lost connection, a move to another gateway, a change between
    WebSocket and datagrams).
    """

    welcome: Welcome
    resumed: bool


@dataclass(frozen=True, slots=True)
class Entered:
    """An entity became visible; ``components`` maps names of the schema (or keys it does not know, as text) to plain
    values."""

    entity: int
    kind: int
    components: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Left:
    """An entity is no longer visible."""

    entity: int


@dataclass(frozen=True, slots=True)
class Changed:
    """Components of a visible entity changed; only the changed ones are listed, removed ones as None."""

    entity: int
    components: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatHeard:
    """Somebody said something."""

    scope: int
    sender: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """People came and went; ``online`` counts those in the world."""

    online: int
    joined: tuple[tuple[int, str], ...]
    left: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something that this client alone should know, e.g. that a chat line was refused."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """A behaviour said something about ``entity``, or to this client."""

    entity: int | None
    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class ActAnswered:
    """What came of an act (``ClientCore.act``): ``value`` is the action's own if ``code`` is 0, else a text."""

    act: int
    code: int
    value: Any


@dataclass(frozen=True, slots=True)
class ActLost:
    """Nobody knows whether this act was done: its body is gone, or the session is over."""

    act: int


@dataclass(frozen=True, slots=True)
class Watching:
    """A television is on this channel from now on, ``behind_ms`` behind the present at first."""

    name: str
    title: str
    rate_hz: float
    behind_ms: int


@dataclass(frozen=True, slots=True)
class NotWatching:
    """A television may not have that channel (``code``: ``protocol.channels.ChannelCode``), or watches nothing any
    more."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class ChannelBegan:
    """A keyframe: forget all entities, they enter again. ``tick`` is the stream's, and may lie in the past."""

    tick: int


@dataclass(frozen=True, slots=True)
class CameraMoved:
    """The picture is another one: cut to (``move_ms`` 0) or moved to. ``text``: what is on."""

    entity: int | None
    move_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class SchemaChanged:
    """The world's components changed: forget all entities, they enter again."""

    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Corrected:
    """The server disagreed with the prediction of the own body; it jumped by ``distance_m`` at the present.

    ``by_server``: something else than its commands moved the body (STANDARD.md §4, flag 2), so that nothing was
    predicted wrongly.
    """

    distance_m: float
    by_server: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to ``url`` ended; another one is asked for in ``retry_ms``."""

    code: int
    text: str
    retry_ms: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over, as far as this core can tell; ``advice`` says what its program may do."""

    code: int
    text: str
    advice: Advice


ClientEvent = (
    Welcomed
    | Entered
    | Left
    | Changed
    | ChatHeard
    | PresenceChanged
    | Noticed
    | Told
    | ActAnswered
    | ActLost
    | Watching
    | NotWatching
    | ChannelBegan
    | CameraMoved
    | SchemaChanged
    | Corrected
    | Lost
    | Closed
)


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection to ``url`` and call it ``link`` from now on. With a ``token`` it is one over datagrams, to the
    address that the token names, for ``session``."""

    link: int
    url: str
    token: Token | None = None
    session: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message on a connection that was reported open. ``may_be_lost``: a newer one will say all that it says;
    over WebSocket that makes no difference."""

    link: int
    data: bytes
    may_be_lost: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection; nothing that it says later is wanted."""

    link: int


ShellAction = Connect | Send | Disconnect
