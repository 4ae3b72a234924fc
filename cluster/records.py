"""What the store holds for a world: keys and typed values (docs/CLUSTER.md, "Who owns what").

Values are msgpack maps, so that a newer process may add a field. Invariant: ``read_*`` raises :class:`RecordError` and
nothing else, and names the key. Not responsible for: who writes what when.
"""

from typing import Any, TypeVar

import msgspec

WORLD = "world"
MEMBERS = "member/"
REGIONS = "region/"
CLAIMS = "claim/"
ASKS = "ask/"
DRAINS = "drain/"
WISHES = "wish/"
SPLIT, MERGE = "split", "merge"
PLACER = "placer"
IDS = "ids"
KIND_PLACER, SHARD, GATEWAY = "placer", "shard", "gateway"

_T = TypeVar("_T", bound=msgspec.Struct)


class RecordError(Exception):
    """A value in the store is not what its key promises; the text names the key."""


class WorldRecord(msgspec.Struct, frozen=True):
    """What all processes of a world must agree on. ``start_unix_ms``: the time of tick 0; ``side_m``, ``level``: the
    regions that it begins with (``regions.Layout``); ``level_max``: the level of the smallest that they may be split
    into."""

    name: str
    start_unix_ms: int
    rate_hz: int
    seed: int
    side_m: float
    level: int
    level_max: int = 0


class MemberRecord(msgspec.Struct, frozen=True):
    """A living process. ``kind``: SHARD, GATEWAY or KIND_PLACER; ``link``: where its links listen; ``url``: a gateway's
    address for clients; ``load``: part of a core that it uses; ``regions``: that part by region; ``generation``: by
    which the process proves itself on links, so that an ended link is known to be its own; ``durable_away``: the
    durable store cannot be used from there; ``bytes_per_s``: what a gateway sends to its clients; ``held``: of a shard,
    by region, how many entities it has and how many bytes a second of it gateways are told."""

    kind: str
    link: str
    url: str = ""
    draining: bool = False
    load: float = 0.0
    sessions: int = 0
    regions: dict[int, float] = {}
    generation: int = 0
    durable_away: bool = False
    bytes_per_s: float = 0.0
    held: dict[int, tuple[int, float]] = {}


class RegionRecord(msgspec.Struct, frozen=True):
    """Who owns a region. ``lease``: of the owner's membership, so that a process that came back under the same name
    is not taken for the one that had the region; ``move``: the planned move that made it so, or 0; ``former``: regions
    whose place it took, by the split or merge that made it so."""

    owner: str
    lease: int
    epoch: int
    move: int = 0
    former: list[int] = []


class ClaimRecord(msgspec.Struct, frozen=True):
    """Outlives the lease of one life of a member: while it stands, nothing of that life is given away. ``members``:
    those whom that life asks before it acts by the failsafe, and who alone may call it over."""

    members: list[str]


class AskRecord(msgspec.Struct, frozen=True):
    """An operator wants a region moved to the member ``to``. Its key has the operator's lease, so it ends with his
    patience."""

    to: str


class WishRecord(msgspec.Struct, frozen=True):
    """An operator wants a region split (SPLIT), or what lies in a cell to be one region (MERGE). Its key has the
    operator's lease, too."""

    what: str


def wish_key(cell: int) -> str:
    """The key of an operator's wish for the regions of a cell."""
    return f"{WISHES}{cell}"


def ask_key(region: int) -> str:
    """The key of an operator's wish for a region."""
    return f"{ASKS}{region}"


def drain_key(name: str) -> str:
    """The key that tells a member to drain. It has the member's own lease, so it never meets a later life."""
    return DRAINS + name


def claim_key(name: str, lease: int) -> str:
    """The key of a life's claim."""
    return f"{CLAIMS}{name}/{lease:x}"


def life_of(key: str) -> tuple[str, int]:
    """Name and lease of a claim's key. Raises RecordError."""
    name, _, lease = key.removeprefix(CLAIMS).rpartition("/")
    try:
        return name, int(lease, 16)
    except ValueError:
        raise RecordError(f"{key}: not the key of a claim") from None


def member_key(name: str) -> str:
    """The key of a member."""
    return MEMBERS + name


def region_key(region: int) -> str:
    """The key of a region."""
    return f"{REGIONS}{region}"


def region_of(key: str, prefix: str = REGIONS) -> int:
    """The region of a key. Raises RecordError."""
    tail = key.removeprefix(prefix)
    if key == tail or not tail.isdecimal():
        raise RecordError(f"{key}: not the key of a region")
    return int(tail)


def write(record: msgspec.Struct) -> bytes:
    """A record's bytes."""
    return msgspec.msgpack.encode(record)


def read(key: str, value: bytes, kind: type[_T]) -> _T:
    """A record from its bytes. Raises RecordError."""
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RecordError(f"{key}: {kind.__name__} was expected: {error}") from None


def plain(record: msgspec.Struct) -> dict[str, Any]:
    """For people: the fields by name."""
    return msgspec.structs.asdict(record)
