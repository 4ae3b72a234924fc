"""Rows as the engines keep them: plain tuples of integers and bytes, the last one a checksum over all others.

The checksum is keyed by the table's name and covers a canonical encoding (numbers as 8 bytes each, then the blob), so a
row that was changed, cut, or put under another key does not fit. It finds accidents, not forgers.

Invariants: a row's order of columns is that of ``TABLES``; ids and sessions are 64 bits without sign, and are kept as
the signed number of the same bits, because that is what both engines have. Not responsible for: who keeps rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from struct import Struct
from typing import Any, TypeAlias

from shard.durable.contract import ActionRow, Damage, EntityRow, Loaded, NoteRow, PoseRow, WorldIdentity
from shard.durable.spans import Span

Row: TypeAlias = tuple[Any, ...]
"""Integers, and bytes where the table says so; for as long as ``Table.problem`` was not asked, anything."""

TOMBSTONE_LEAF = 0
"""No leaf has this number."""


def signed(number: int) -> int:
    """64 bits without sign as the engines keep them."""
    return number - (1 << 64) if number >> 63 else number


def unsigned(number: int) -> int:
    """The same back."""
    return number + (1 << 64) if number < 0 else number


def _summing(name: str, numbers_count: int, blob: bool) -> Callable[[Sequence[Any]], int]:
    """A function over a row's values without the checksum."""
    numbers = Struct(f"<{numbers_count}q")
    empty = blake2b(digest_size=8, person=name.encode())
    as_int = Struct("<q")

    def of_blob(values: Sequence[Any]) -> int:
        state = empty.copy()
        state.update(numbers.pack(*values[:-1]))
        state.update(values[-1])
        return int(as_int.unpack(state.digest())[0])

    def of_numbers(values: Sequence[Any]) -> int:
        state = empty.copy()
        state.update(numbers.pack(*values))
        return int(as_int.unpack(state.digest())[0])

    return of_blob if blob else of_numbers


@dataclass(frozen=True, slots=True)
class Table:
    """One table. ``columns`` without the checksum ``sum``; ``key``: how many of them, from the first, make the key."""

    name: str
    columns: tuple[str, ...]
    key: int
    blob: bool
    """Whether the last column is bytes; all others are integers."""
    title: str
    """Names a row in words; takes the key's columns."""
    sum_of: Callable[[Sequence[Any]], int] = field(init=False, repr=False, compare=False)
    """The checksum of a row without it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sum_of", _summing(self.name, len(self.columns) - self.blob, self.blob))

    @property
    def all_columns(self) -> tuple[str, ...]:
        """With the checksum."""
        return (*self.columns, "sum")

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the key's columns."""
        return self.columns[: self.key]

    def sealed(self, *values: Any) -> Row:
        """The row with its checksum."""
        return (*values, self.sum_of(values))

    def problem(self, row: Sequence[Any]) -> str | None:
        """Why this is not what was written, or None."""
        kinds: list[type] = [int] * (len(self.columns) + 1)
        if self.blob:
            kinds[-2] = bytes
        if len(row) != len(kinds) or any(type(value) is not kind for value, kind in zip(row, kinds, strict=True)):
            return "a column holds another type than was written"
        if self.sum_of(row[:-1]) != row[-1]:
            return "the checksum does not fit"
        return None

    def named(self, key: Sequence[Any]) -> str:
        """A row's key in words."""
        numbers = [unsigned(part) if isinstance(part, int) else part for part in key]
        return self.title.format(*numbers)


ENTITY = Table("entity", ("id", "hop", "leaf", "gone_s", "data"), 1, True, "entity {0}")
"""Alive: ``gone_s`` is 0. Gone: ``leaf`` is TOMBSTONE_LEAF, ``data`` is empty."""
POSE = Table("pose", ("leaf", "second", "data"), 2, True, "pose of leaf {0}, second {1}")
SESSION = Table(
    "session", ("session", "region", "first_leaf", "last_leaf", "tick", "heard_s"), 1, False, "place of session {0}"
)
"""Where the newest batch that named the session was committed, and when any last did."""
ACTION = Table("action", ("session", "number", "tick", "answer"), 2, True, "action {1} of session {0}")
REGION = Table("region", ("region", "epoch", "tick", "first_leaf", "last_leaf"), 1, False, "epoch of region {0}")
NOTE = Table("note", ("region", "tick", "first_leaf", "last_leaf", "data"), 1, True, "note of region {0}")
TABLES = {table.name: table for table in (ENTITY, POSE, SESSION, ACTION, REGION, NOTE)}


# ------------------------------------------------------------------------------------------- from and to the contract


def entity(row: EntityRow) -> Row:
    """An entity that is in the world."""
    return ENTITY.sealed(signed(row.id), row.hop, row.leaf, 0, row.data)


def tombstone(entity_id: int, hop: int, gone_s: int) -> Row:
    """An entity that has left."""
    return ENTITY.sealed(signed(entity_id), hop, TOMBSTONE_LEAF, gone_s, b"")


def pose(row: PoseRow) -> Row:
    """A leaf's poses."""
    return POSE.sealed(row.leaf, row.second, row.data)


def action(row: ActionRow) -> Row:
    """An entry of the journal."""
    return ACTION.sealed(signed(row.session), row.number, row.tick, row.answer)


def session(number: int, region: int, span: Span, tick: int, heard_s: int) -> Row:
    """Where a session is. ``number`` as it is kept, with a sign."""
    return SESSION.sealed(number, region, span.first, span.last, tick, heard_s)


def region(number: int, epoch: int, tick: int, span: Span) -> Row:
    """A region's epoch."""
    return REGION.sealed(number, epoch, tick, span.first, span.last)


def note(number: int, tick: int, span: Span, data: bytes) -> Row:
    """What a region holds that is no entity's."""
    return NOTE.sealed(number, tick, span.first, span.last, data)


def world_sum(world: WorldIdentity) -> int:
    """Checksum of a world's identity."""
    text = f"{world.name}\0{world.seed}\0{float(world.side_m)!r}\0{world.leaf_level}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=b"world").digest(), "little", signed=True)


def loaded(
    entities: Iterable[Row],
    poses: Iterable[Row],
    actions: Iterable[Row],
    regions: Iterable[Row],
    notes: Iterable[Row],
    damage: list[Damage],
) -> Loaded:
    """Sound rows as the contract has them: sorted, and of each leaf's poses the newest."""
    newest = {leaf: PoseRow(leaf, second, data) for leaf, second, data, _ in sorted(poses)}
    return Loaded(
        max((tick for _, _, tick, _, _, _ in regions), default=0),
        sorted((EntityRow(unsigned(i), hop, leaf, data) for i, hop, leaf, _, data, _ in entities), key=lambda e: e.id),
        list(newest.values()),
        sorted(
            (ActionRow(unsigned(s), number, tick, answer) for s, number, tick, answer, _ in actions),
            key=lambda action: (action.session, action.number),
        ),
        damage,
        sorted((NoteRow(number, tick, data) for number, tick, _, _, data, _ in notes), key=lambda note: note.region),
    )
