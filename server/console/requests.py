"""What an operator asks to be done: read, checked as far as its own text tells, and said in words for the log.

Decides which acts there are and their bounds. Invariant: ``read_request`` raises :class:`BadRequest` and nothing else,
and what it returns is safe to write down. Not responsible for: whether it can be done (``isthmus.console``).
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.limits import CHAT_CHARS_MAX
from server.session.chat import cleaned

REASON_CHARS_MAX = 200
HOURS_MAX = 24 * 366
Region = Annotated[int, Meta(ge=1, le=1 << 25)]
Member = Annotated[str, Meta(min_length=1, max_length=64)]
Number = Annotated[str, Meta(pattern="^[0-9]{1,20}$")]
"""Of a session, as text: JavaScript's numbers end at 2**53."""
Reason = Annotated[str, Meta(max_length=REASON_CHARS_MAX)]
Hours = Annotated[float, Meta(ge=0, le=HOURS_MAX)]
"""How long a ban or mute stands; 0: until it is taken back."""
Key = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class BadRequest(Exception):
    """This is no request; the text says what to mend."""


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    pass


class MoveRegion(_Request, tag="move", frozen=True):
    """Move a region to a shard."""

    region: Region
    to: Member


class SplitRegion(_Request, tag="split", frozen=True):
    """Split a region into its quarters."""

    region: Region


class MergeRegion(_Request, tag="merge", frozen=True):
    """Make one region of four; ``region``: one of them, or the cell."""

    region: Region


class DrainMember(_Request, tag="drain", frozen=True):
    """Have a member move away what it has, and end."""

    member: Member


class KickSession(_Request, tag="kick", frozen=True):
    """End a session."""

    session: Number
    reason: Reason = ""


class BanSession(_Request, tag="ban", frozen=True):
    """Keep the identity of a session out."""

    session: Number
    hours: Hours
    reason: Reason = ""


class MuteSession(_Request, tag="mute", frozen=True):
    """Pass on nothing that the identity of a session says."""

    session: Number
    hours: Hours
    reason: Reason = ""


class Unban(_Request, tag="unban", frozen=True):
    """Take a ban back. ``key``: as the list of orders has it."""

    key: Key


class Unmute(_Request, tag="unmute", frozen=True):
    """Take a mute back."""

    key: Key


class SayToAll(_Request, tag="broadcast", frozen=True):
    """Say something to everybody."""

    text: Annotated[str, Meta(min_length=1, max_length=CHAT_CHARS_MAX)]


class ChangeProfile(_Request, tag="profile", frozen=True):
    """Tell clients of a profile by ``values`` in place of what is configured; those left out are as configured."""

    profile: Annotated[str, Meta(min_length=1, max_length=16)]
    values: dict[str, float]


Request = (
    MoveRegion
    | SplitRegion
    | MergeRegion
    | DrainMember
    | KickSession
    | BanSession
    | MuteSession
    | Unban
    | Unmute
    | SayToAll
    | ChangeProfile
)
_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def read_request(data: bytes) -> Request:
    """A request from JSON, its texts cleaned as chat is. Raises BadRequest."""
    try:
        request = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadRequest(f"not done: {error}") from None
    match request:
        case SayToAll():
            request = msgspec.structs.replace(request, text=cleaned(request.text))
            if not request.text:
                raise BadRequest("not done: there is no text to say")
        case KickSession() | BanSession() | MuteSession():
            request = msgspec.structs.replace(request, reason=cleaned(request.reason))
        case _:
            pass
    return request


def as_written(request: Request) -> dict[str, Any]:
    """What the log has of a request."""
    told: dict[str, Any] = msgspec.to_builtins(request)
    return told
