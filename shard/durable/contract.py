"""What a world asks of its durable store: rows by leaf, one owner for each region by its epoch, commits that are whole.

Decided here: the data that goes in and comes out, what is refused as wrong in itself, and which exception says what.
docs/DURABLE.md tells why.

Invariants that every store keeps (tests/unit/shard/durable/contract_cases.py asks each of them):

* A commit happens as a whole or not at all, and what was answered survives the end of every process.
* A commit is carried out only under the region's epoch as the store has it; a fence raises that of every region that
  overlaps. So of two owners of one place at most one commits.
* The same batch committed again changes nothing.
* An entity has one row. Its hop never falls, also beyond its leaving the world (until the tombstone is pruned).
* What is loaded is what was committed, byte by byte; what is not is named in ``damage`` instead.

Not responsible for: what the bytes mean, who may own a region (``cluster``), when to commit.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from cluster.regions import level_of
from shard.durable.spans import Span, span_of

U64_MAX = (1 << 64) - 1
I64_MAX = (1 << 63) - 1
DATA_BYTES_MAX = 16 << 20
"""Of one row. Both engines take more; a row that is larger than this is a mistake."""
NAME_CHARS_MAX = 200


# ------------------------------------------------------------------------------------------------------------ errors


class DurableError(Exception):
    """Base of all that a store raises, besides ValueError for arguments that are wrong in themselves."""


class Fenced(DurableError):
    """A newer owner has written its epoch, or nobody has written this one: the caller does not own the region."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the region is owned under epoch {epoch}" if epoch else "nobody has fenced the region")
        self.epoch = epoch
        """The newest of all regions that overlap; 0: there is none."""


class Away(DurableError):
    """It could not be done, or nobody knows whether it was. Nothing is lost: the same may be asked again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Incompatible(DurableError):
    """The store is another world's, of a newer program, or no store at all. The text says what to do."""


class NotEmpty(DurableError):
    """A world is restored only into a store that holds nothing."""

    def __init__(self, table: str) -> None:
        super().__init__(f"the store has rows already ({table}): restore into a new one")


# -------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class WorldIdentity:
    """Whose store it is: written once and compared whenever it is opened."""

    name: str
    seed: int
    side_m: float
    leaf_level: int
    """Depth of the quadtree at which rows are kept: at least that of any region."""

    def __post_init__(self) -> None:
        """Raises ValueError for what no world has."""
        if not 0 < len(self.name) <= NAME_CHARS_MAX or "\0" in self.name:
            raise ValueError(f"a world's name has 1 to {NAME_CHARS_MAX} characters and no NUL: {self.name[:40]!r}")
        if not 0 <= self.leaf_level <= 24:
            raise ValueError(f"a world's leaf_level is 0 to 24, not {self.leaf_level}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept, and for how long."""

    actions_per_session: int = 64
    poses_per_leaf: int = 2
    session_kept_s: int = 7 * 86_400
    """After the last batch that named it."""
    tombstone_kept_s: int = 86_400
    """Much longer than any commit or hand-over may be late."""


@dataclass(frozen=True, slots=True)
class EntityRow:
    """All that persists of one entity. ``hop`` counts its hand-overs; ``leaf`` lies in the region that commits it."""

    id: int
    hop: int
    leaf: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """The entity has left the world: rows of it with this hop or a lower one do not bring it back."""

    id: int
    hop: int


@dataclass(frozen=True, slots=True)
class PoseRow:
    """Where everything in one leaf was in one second."""

    leaf: int
    second: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ActionRow:
    """An acknowledged action of a session, and what it was answered.

    A session's journal is loaded where the newest batch that named the session was committed: who takes a session
    over from another region names at least one of its actions again.
    """

    session: int
    number: int
    tick: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class NoteRow:
    """What a region holds that is no entity's, as of the newest batch that had a note."""

    region: int
    tick: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What the owner of a region has to say at one tick. An id is named once, be it among entities or gone."""

    region: int
    epoch: int
    tick: int
    entities: Collection[EntityRow] = ()
    gone: Collection[Gone] = ()
    poses: Collection[PoseRow] = ()
    actions: Collection[ActionRow] = ()
    note: bytes = b""
    """Takes the place of the region's last one; empty: that one stays."""


@dataclass(frozen=True, slots=True)
class Committed:
    """All of the batch is durable, but for ``refused``: ids of which the store holds a newer hop, ascending."""

    refused: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Damage:
    """What is not served, and why: its bytes are not those that were committed, or cannot be read."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the store holds for a span of leaves, sorted by key. Poses: of each leaf the newest that is sound."""

    tick: int
    """The newest tick committed for any region that overlaps the span; 0: never, its scripts have not started."""
    entities: list[EntityRow]
    poses: list[PoseRow]
    actions: list[ActionRow]
    damage: list[Damage]
    notes: list[NoteRow] = field(default_factory=list)
    """Of all regions that overlap the span."""


# --------------------------------------------------------------------------------------------------------- interface


class Durable(Protocol):
    """One client of the store. Every call may raise Away, and does so after ``close``."""

    async def fence(self, region: int, epoch: int) -> None:
        """Own the region under this epoch: from here on no other owner of any part of it commits.

        Raises Fenced if a region that overlaps has a higher epoch. The same fence again changes nothing. Epochs of
        regions that come from a split or merge begin above those of all parents; the store relies on it.
        """

    async def load(self, first_leaf: int, last_leaf: int) -> Loaded:
        """All that is kept for these leaves (both included), as of one moment."""

    async def commit(self, batch: Batch) -> Committed:
        """Carry it out, durably. Raises Fenced, and ValueError for a batch that is wrong in itself."""

    async def newest_epoch(self, region: int) -> int:
        """The highest epoch of all regions that overlap; 0: none."""

    async def hops(self, ids: Collection[int]) -> dict[int, int]:
        """The newest hop of those that are known, wherever they are, or left the world with."""

    async def prune(self) -> None:
        """Forget tombstones and sessions whose time is over. Commits see to it as well, now and then."""

    async def close(self) -> None:
        """Let go of the store, after what was asked before has been done."""


# ------------------------------------------------------------------------------------------------------------ checks


def check_span(first_leaf: int, last_leaf: int, leaf_level: int) -> Span:
    """Raises ValueError unless these are leaves of the world, in order."""
    whole = span_of(1, leaf_level)
    if not whole.first <= first_leaf <= last_leaf <= whole.last:
        raise ValueError(f"leaves are {whole.first} to {whole.last}, not {first_leaf} to {last_leaf}")
    return Span(first_leaf, last_leaf)


def check_epoch(epoch: int) -> None:
    """Raises ValueError unless an owner can have it."""
    _check_numbers("epoch", (epoch,), 1, I64_MAX)


def check_batch(batch: Batch, leaf_level: int) -> Span:
    """The region's leaves. Raises ValueError for rows that are not this region's to write, or named twice.

    A row in a leaf outside of the region would be loaded by another owner than the one that simulates it.
    """
    if level_of(batch.region) > leaf_level:
        raise ValueError(f"region {batch.region} is smaller than the leaves, which are of level {leaf_level}")
    span = span_of(batch.region, leaf_level)
    check_epoch(batch.epoch)
    _check_numbers("tick", (batch.tick,), 0, I64_MAX)
    ids = [row.id for row in batch.entities] + [row.id for row in batch.gone]
    _check_numbers("entity id", ids, 0, U64_MAX)
    _check_once("entity", ids)
    _check_numbers("hop", [row.hop for row in batch.entities] + [row.hop for row in batch.gone], 0, I64_MAX)
    leaves = [row.leaf for row in batch.entities] + [row.leaf for row in batch.poses]
    _check_numbers(f"leaf of region {batch.region}", leaves, span.first, span.last)
    _check_numbers("second", [row.second for row in batch.poses], 0, I64_MAX)
    _check_once("pose", [(row.leaf, row.second) for row in batch.poses])
    _check_numbers("session", [row.session for row in batch.actions], 0, U64_MAX)
    _check_numbers("action number", [row.number for row in batch.actions], 0, I64_MAX)
    _check_numbers("tick of an action", [row.tick for row in batch.actions], 0, I64_MAX)
    _check_once("action", [(row.session, row.number) for row in batch.actions])
    sizes = [len(row.data) for row in batch.entities] + [len(row.data) for row in batch.poses]
    _check_numbers("size of a row in bytes", sizes + [len(row.answer) for row in batch.actions], 0, DATA_BYTES_MAX)
    _check_numbers("size of a note in bytes", (len(batch.note),), 0, DATA_BYTES_MAX)
    return span


def _check_numbers(what: str, numbers: Collection[int], least: int, most: int) -> None:
    if numbers and not (least <= min(numbers) and max(numbers) <= most):
        wrong = next(number for number in numbers if not least <= number <= most)
        raise ValueError(f"{what}: {wrong} is not within {least} to {most}")


def _check_once(what: str, keys: Iterable[object]) -> None:
    seen: set[object] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"{what} {key} is named twice in one batch")
        seen.add(key)
