"""Rows of a table as durable bytes: which columns, in which order, and how bytes of older declarations are read.

An entity is stored in two parts. The *row* has what an acknowledged action may have changed: components that persist,
whose body it is, what it is attached to, its timers, and the place where it was when the row was written. The *pose*
has what changes all the time: place, motion, and components that do not persist; it is at most a second old.
Invariant: bytes name the layout they were written in, so that a world's declarations may change between two runs: what
has the same name is kept, what is new gets its default. Not responsible for: when anything is written (``journal``).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from shard.behaviours.timers import TIMER
from shard.world.table import Table

I64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

KEY_BYTES = 8
ROW = ("flags", "o.session", "o.generation", "o.acted", "h.parent", "h.offset", "h.turn")
POSE = ("pos", "vel", "yaw", "spin", "o.seq")
HEAD = np.dtype([("id", "<u8"), ("hop", "<u4")])
"""Before each pose in a blob of a leaf."""


class LayoutError(ValueError):
    """Bytes that are of no known layout, or do not fit theirs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``row`` and ``pose``: the columns by name; ``kinds``: names of the kinds, the first has number 1."""

    row: np.dtype[np.void]
    pose: np.dtype[np.void]
    kinds: tuple[str, ...]
    described: bytes
    key: bytes

    @classmethod
    def of(cls, table: Table) -> "Layout":
        """That of a table as it is declared."""
        components = table.registry.components.values()
        row = [("kind", "<u2"), *_fields(table, ROW), *_fields(table, [f"c.{c.name}" for c in components if c.persist])]
        pose = _fields(table, [*POSE, *(f"c.{c.name}" for c in components if not c.persist)])
        return cls._made(row, pose, [kind.name for kind in table.registry.kinds])

    @classmethod
    def read(cls, described: bytes) -> "Layout":
        """Inverse of ``described``. Raises LayoutError."""
        try:
            row, pose, kinds = msgspec.msgpack.decode(described, type=tuple[list[Any], list[Any], list[str]])
            return cls._made([_field(entry) for entry in row], [_field(entry) for entry in pose], kinds)
        except (msgspec.DecodeError, TypeError, ValueError) as error:
            raise LayoutError(f"the description of a layout is damaged: {error}") from None

    @classmethod
    def _made(cls, row: list[Any], pose: list[Any], kinds: list[str]) -> "Layout":
        described = msgspec.msgpack.encode((row, pose, kinds))
        key = hashlib.blake2b(described, digest_size=KEY_BYTES).digest()
        return cls(np.dtype(row), np.dtype(pose), tuple(kinds), described, key)

    @property
    def bytes_min(self) -> int:
        """Of an entity without timers."""
        return KEY_BYTES + self.row.itemsize + self.pose.itemsize

    # ------------------------------------------------------------------------------------------------------- writing
    def rows(self, table: Table, rows: I64) -> Records:
        """The row parts, row[k]."""
        return _gather(self.row, table, rows)

    def poses(self, table: Table, rows: I64) -> Records:
        """The poses, pose[k]."""
        return _gather(self.pose, table, rows)

    @staticmethod
    def unlike(table: Table, records: Records) -> npt.NDArray[np.bool_]:
        """Of which of the table's first k rows ``records`` (row[k] or pose[k]) are not what its columns are, to the
        bit; without copying either."""
        found = np.zeros(len(records), bool)
        for name in records.dtype.names or ():
            now, was = table.columns[name][: len(records)], records[name]
            if now.dtype.kind == "f":  # not a number is like itself, and -0.0 is not like 0.0
                bits = f"u{now.dtype.itemsize}"
                now, was = now.view(bits), was.view(bits)
            differs = now != was
            found |= differs.any(axis=tuple(range(1, differs.ndim)))
        return found

    # ------------------------------------------------------------------------------------------------------- reading
    def split(self, data: bytes) -> tuple[bytes, npt.NDArray[np.void]]:
        """(row and pose, timers TIMER[k]) of one entity's bytes behind the key. Raises LayoutError."""
        size = self.row.itemsize + self.pose.itemsize
        if len(data) < size or (len(data) - size) % TIMER.itemsize:
            raise LayoutError(f"{len(data)} bytes are not an entity of this layout")
        return data[:size], np.frombuffer(data, TIMER, offset=size)

    def records(self, data: bytes) -> tuple[Records, Records]:
        """(row[k], pose[k]) of entities whose first parts of :meth:`split` were joined."""
        both = np.frombuffer(data, np.dtype([("row", self.row), ("pose", self.pose)]))
        return both["row"], both["pose"]

    def blob(self, data: bytes) -> tuple[Records, Records]:
        """(HEAD[k], pose[k]) of a leaf's blob behind the key. Raises LayoutError."""
        try:
            both = np.frombuffer(data, np.dtype([("head", HEAD), ("pose", self.pose)]))
        except ValueError:
            raise LayoutError(f"{len(data)} bytes are not poses of this layout") from None
        return both["head"], both["pose"]


def fill(table: Table, rows: I64, records: Records) -> None:
    """Set what is declared now, of what ``records`` of any layout have; texts that are too long are cut."""
    for name in records.dtype.names or ():
        column = table.columns.get(name)
        if column is not None and name != "kind" and column.shape[1:] == records.dtype[name].shape:
            column[rows] = records[name].astype(column.dtype)


def _fields(table: Table, names: list[str] | tuple[str, ...]) -> list[Any]:
    return [_field((name, table.columns[name].dtype.str, table.columns[name].shape[1:])) for name in names]


def _field(entry: Any) -> tuple[str, str] | tuple[str, str, tuple[int, ...]]:
    name, dtype, *shape = entry
    sides = tuple(int(side) for side in shape[0]) if shape else ()
    return (str(name), str(dtype), sides) if sides else (str(name), str(dtype))


def _gather(dtype: np.dtype[np.void], table: Table, rows: I64) -> Records:
    out = np.zeros(len(rows), dtype)  # padding of texts too: equal rows have equal bytes
    for name in dtype.names or ():
        out[name] = table.columns[name][rows]
    return out
