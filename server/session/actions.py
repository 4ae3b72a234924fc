"""What ``Sessions`` wants done, in imperative form. A shell or the gateway's core carries these out in the given order.

Invariant: order matters. WELCOME is posted before its OpenView (it carries no ``sseq``), everything else after it.
CloseView comes before the CloseConn of its connection.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.acting import Act
from protocol.channels import Watch
from protocol.messages import CARRIER_UDP, ServerMessage

Conns = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Post:
    """Encode ``message`` once and send it to all ``conns`` (int32[n]); each stream numbers it for itself."""

    conns: Conns
    message: ServerMessage


@dataclass(frozen=True, slots=True)
class CloseConn:
    """Send CLOSE where possible, then close. The connection is forgotten here only when ``lost`` or ``connected``
    follows."""

    conn: int
    code: int
    retry_after_ms: int | None
    text: str


@dataclass(frozen=True, slots=True)
class AttachBody:
    """Ask the shard for a body (``body`` None: a new one, or that of this session if it has one by now) under
    ``generation``."""

    session: int
    generation: int
    name: str
    kind: int
    profile: str
    body: int | None


@dataclass(frozen=True, slots=True)
class DetachBody:
    """The session no longer steers its body; ``remove``: take it out of the world. The shard ignores older
    generations."""

    session: int
    generation: int
    remove: bool


@dataclass(frozen=True, slots=True)
class ForgetBody:
    """The session goes on at another gateway, which has its body: nothing is said to the shard."""

    session: int


@dataclass(frozen=True, slots=True)
class OpenView:
    """Start the stream of ``conn``. ``body`` is None and ``row`` −1 for who has none; ``window_bytes``: what the way to
    the client holds, 0 if nobody knows."""

    conn: int
    session: int
    generation: int
    body: int | None
    row: int
    row_generation: int
    profile: str
    window_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CloseView:
    """End the stream of ``conn``."""

    conn: int


@dataclass(frozen=True, slots=True)
class ReleaseBody:
    """The view of ``conn`` goes on without a say over its body: that is another gateway's by now."""

    conn: int


@dataclass(frozen=True, slots=True)
class TakeAct:
    """A live session acts: to the region that has its body."""

    conn: int
    act: Act


@dataclass(frozen=True, slots=True)
class GiveToken:
    """The client of ``conn`` may go on over datagrams by ``carrier``: post it a TOKEN, good for ``session`` alone."""

    conn: int
    session: int
    carrier: int = CARRIER_UDP


@dataclass(frozen=True, slots=True)
class TakeWatch:
    """A live session wants to watch a channel."""

    conn: int
    watch: Watch


@dataclass(frozen=True, slots=True)
class RefreshKeys:
    """A token named an unknown key: fetch the key set anew, then call ``keys_refreshed`` whatever came of it."""


Action = (
    Post
    | CloseConn
    | AttachBody
    | DetachBody
    | ForgetBody
    | OpenView
    | CloseView
    | ReleaseBody
    | TakeAct
    | GiveToken
    | TakeWatch
    | RefreshKeys
)
