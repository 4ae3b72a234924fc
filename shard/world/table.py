"""Entities as a struct of arrays: rows, generations, a free list, ids; every column of the shard grows here.

Decides which row an entity has. Invariants (``checks``): a row is live or in the free list, never both; a row's
generation goes up at each new occupant; ids are unique and never used again; the set of live rows below ``high`` is all
there is. Ghosts (copies of a neighbour's entities) are live rows too, found by id and by queries, yet not among
``rows`` and not in a dump. A column array is replaced when the table grows: nobody keeps one beyond a phase. Not
responsible for: what columns mean.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from shard.world.components import Registry

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
U16 = npt.NDArray[np.uint16]
U8 = npt.NDArray[np.uint8]


_PRESENT, _GHOSTS = -1, -2
"""Keys of kept lists of rows, beside numbers of kinds (0: all own)."""


class OutOfIdsError(RuntimeError):
    """All blocks of ids are used up: ask for another one earlier."""


class TableFullError(RuntimeError):
    """``rows_max`` entities live already."""


BLOCKS_MAX = 32
"""Of one region. Splits cut blocks, and merges bring together what neighbours left of theirs."""


class IdBlocks:
    """64-bit entity ids from blocks [first, first + count) that were handed to this shard; each is given once, lowest
    first. Of more than BLOCKS_MAX blocks the smallest are given up: their ids are given to nobody."""

    def __init__(self, blocks: Iterable[tuple[int, int]] = ()) -> None:
        self._blocks: list[tuple[int, int]] = []
        for first, count in blocks:
            self.add(first, count)

    def add(self, first: int, count: int) -> None:
        """Another block. Raises ValueError if it is empty, below 1, beyond 64 bits or overlaps one that is held."""
        end = first + count
        if not (0 < first < end <= 1 << 64) or any(first < e and b < end for b, e in self._blocks):
            raise ValueError(f"id block [{first}, {end}) is empty, out of range or overlaps another one")
        whole: list[tuple[int, int]] = []
        for block in sorted([*self._blocks, (first, end)]):
            if whole and whole[-1][1] == block[0]:
                whole[-1] = whole[-1][0], block[1]
            else:
                whole.append(block)
        if len(whole) > BLOCKS_MAX:
            whole.remove(min(whole, key=lambda block: block[1] - block[0]))
        self._blocks = whole

    @property
    def left(self) -> int:
        """How many ids are left."""
        return sum(end - first for first, end in self._blocks)

    def take(self, count: int) -> U64:
        """The next ``count`` ids, uint64[count]. Raises OutOfIdsError and takes none if there are not enough."""
        if count > self.left:
            raise OutOfIdsError(f"{count} ids were wanted, {self.left} are left")
        parts: list[U64] = []
        while count:
            first, end = self._blocks[0]
            some = min(count, end - first)
            parts.append(np.arange(some, dtype=np.uint64) + np.uint64(first))
            self._blocks[0] = (first + some, end)
            if first + some == end:
                self._blocks.pop(0)
            count -= some
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)

    def share(self, parts: int) -> list["IdBlocks"]:
        """All that is left, in as many parts of the same size, give or take one; these blocks give nothing any more."""
        left = self.left
        sizes = [left * (k + 1) // parts - left * k // parts for k in range(parts)]
        blocks, self._blocks = self._blocks, []
        shares = []
        for size in sizes:
            share = []
            while size:
                first, end = blocks[0]
                some = min(size, end - first)
                share.append((first, some))
                blocks[:1] = [(first + some, end)] if first + some < end else []
                size -= some
            shares.append(IdBlocks(share))
        return shares

    def skip_to(self, first: int) -> None:
        """Ids below ``first`` are not given any more."""
        self._blocks = [(max(begin, first), end) for begin, end in self._blocks if end > first]

    def state(self) -> list[list[int]]:
        """For a dump: [first, end] of what is left."""
        return [[first, end] for first, end in self._blocks]


class Table:
    """Columns by row. Core columns are attributes; all are in ``columns``, components as ``c.<name>``.

    ``pos`` float64[n, 3] m, ``vel`` float64[n, 3] m/s, ``yaw`` float64[n] rad, ``spin`` float64[n] rad/s
    (counter-clockwise seen from above), ``flags`` uint8[n] (protocol.walking), ``live`` and ``ghost`` bool[n].
    """

    live: npt.NDArray[np.bool_]
    ghost: npt.NDArray[np.bool_]
    generation: U32
    id: U64
    kind: U16
    hop: U32
    pos: F64
    vel: F64
    yaw: F64
    spin: F64
    flags: U8

    def __init__(self, registry: Registry, rows: int, rows_max: int) -> None:
        self.registry = registry
        self.capacity = rows
        self.rows_max = rows_max
        self.high = 0
        """Rows at and above were never used."""
        self.count = 0
        self.changes = 0
        """Counts up whenever a row began or ended, or came to be attached, so that lists of rows can be kept until
        then."""
        self.columns: dict[str, Array] = {}
        self._free: list[int] = []
        self._defaults: dict[str, Any] = {}
        self._row_of: dict[int, int] = {}
        self._rows: dict[int, tuple[int, Rows]] = {}
        self._layout = (0, b"")
        """Of so many columns."""
        self._by_id: tuple[int, U64, Rows] = (-1, np.zeros(0, np.uint64), np.zeros(0, np.int64))
        for name, dtype, width in (
            ("live", "?", 0),
            ("ghost", "?", 0),
            ("generation", "<u4", 0),
            ("id", "<u8", 0),
            ("kind", "<u2", 0),
            ("hop", "<u4", 0),
            ("pos", "<f8", 3),
            ("vel", "<f8", 3),
            ("yaw", "<f8", 0),
            ("spin", "<f8", 0),
            ("flags", "u1", 0),
        ):
            self.add_column(name, dtype, width)
        for component in registry.components.values():
            self.add_column(f"c.{component.name}", component.dtype, default=component.default)

    def add_column(self, name: str, dtype: npt.DTypeLike, width: int = 0, default: Any = 0) -> None:
        """A column that is set to ``default`` at each new occupant. Names without a dot become attributes."""
        if name in self.columns:
            raise ValueError(f"column {name} exists already")
        self._defaults[name] = default
        self._set(name, np.full((self.capacity, width) if width else self.capacity, default, dtype))

    def _set(self, name: str, column: Array) -> None:
        self.columns[name] = column
        if "." not in name:
            setattr(self, name, column)

    def _grow(self, rows: int, over: bool = False) -> None:
        if rows > self.rows_max and not over:
            raise TableFullError(f"{rows} rows are needed, at most {self.rows_max} are allowed (rows_max)")
        capacity = max(rows, min(self.rows_max, 2 * self.capacity))
        for name, old in self.columns.items():
            new = np.full((capacity, *old.shape[1:]), self._defaults[name], old.dtype)
            new[: self.capacity] = old
            self._set(name, new)
        self.capacity = capacity

    def begin(self, kind: int | U16, ids: U64, *, ghost: bool = False, over: bool = False) -> Rows:
        """New entities of one kind (or one each) with these ids; all columns get their defaults. Returns their rows,
        int64[k]. ``over``: beyond ``rows_max`` if need be, for those who have no other place.

        Raises TableFullError (and changes nothing) if there is no room.
        """
        count = len(ids)
        reused = min(count, len(self._free))
        fresh = count - reused
        if self.high + fresh > self.capacity:
            self._grow(self.high + fresh, over)
        rows = np.empty(count, np.int64)
        if reused:
            rows[:reused] = self._free[: -reused - 1 : -1]
            del self._free[-reused:]
        rows[reused:] = np.arange(self.high, self.high + fresh)
        self.high += fresh
        generation = self.generation[rows] + np.uint32(1)
        for name, column in self.columns.items():
            column[rows] = self._defaults[name]
        self.generation[rows] = generation
        self.live[rows] = True
        self.ghost[rows] = ghost
        self.id[rows] = ids
        self.kind[rows] = kind
        self._row_of.update(zip(ids.tolist(), rows.tolist(), strict=True))
        self.count += count
        self.changes += 1
        return rows

    def end(self, rows: Rows) -> None:
        """These live, distinct rows are free again."""
        if not len(rows):
            return
        assert self.live[rows].all()
        self.live[rows] = False
        for id_ in self.id[rows].tolist():
            del self._row_of[id_]
        self._free.extend(rows.tolist())
        self.count -= len(rows)
        self.changes += 1

    def row(self, id_: int) -> int:
        """The row of an entity, or -1."""
        return self._row_of.get(id_, -1)

    def rows_of(self, ids: Iterable[int]) -> Rows:
        """Rows of those ids that are live, int64[<= k], in order."""
        found = (self._row_of.get(int(id_), -1) for id_ in ids)
        return np.array([row for row in found if row >= 0], np.int64)

    def find(self, ids: U64) -> Rows:
        """The row of each id, int64[k]; -1 where there is none."""
        if self._by_id[0] != self.changes:
            rows = self.present()
            order = np.argsort(self.id[rows], kind="stable")
            self._by_id = (self.changes, self.id[rows][order], rows[order])
        _, known, rows = self._by_id
        if not len(known):
            return np.full(len(ids), -1, np.int64)
        at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        return np.where(known[at] == ids, rows[at], -1)

    def rows(self, kind: int = 0) -> Rows:
        """Rows of the region's own entities of a kind (0: of all), ascending; kept until a row begins or ends, so treat
        it as read-only."""
        kept = self._rows.get(kind)
        if kept is None or kept[0] != self.changes:
            mask = self.live[: self.high] & ~self.ghost[: self.high]
            if kind:
                mask &= self.kind[: self.high] == kind
            kept = self._rows[kind] = (self.changes, np.flatnonzero(mask))
        return kept[1]

    def present(self) -> Rows:
        """Rows of own entities and of ghosts, ascending; as read-only as :meth:`rows`."""
        return self._kept(_PRESENT, self.live[: self.high])

    def ghosts(self) -> Rows:
        """Rows of ghosts, ascending; as read-only as :meth:`rows`."""
        return self._kept(_GHOSTS, self.ghost[: self.high])

    def _kept(self, key: int, mask: npt.NDArray[np.bool_]) -> Rows:
        kept = self._rows.get(key)
        if kept is None or kept[0] != self.changes:
            kept = self._rows[key] = (self.changes, np.flatnonzero(mask & self.live[: self.high]))
        return kept[1]

    @property
    def free(self) -> list[int]:
        """The free list, last one used first (for checks and dumps)."""
        return self._free

    def pack(self, rows: Rows) -> list[tuple[str, str, bytes]]:
        """All columns of some rows, [name, dtype, data], for another table with the same columns (``layout``)."""
        return [(name, column.dtype.str, column[rows].tobytes()) for name, column in self.columns.items()]

    def unpack(self, count: int, packed: Iterable[tuple[str, str, bytes]]) -> dict[str, Array]:
        """Inverse of :meth:`pack`: columns of ``count`` rows. Raises ValueError if columns differ from ours."""
        out: dict[str, Array] = {}
        for name, dtype, data in packed:
            own = self.columns.get(name)
            if own is None or own.dtype.str != dtype:
                raise ValueError(f"there is no column {name} of dtype {dtype}")
            out[name] = np.frombuffer(data, own.dtype).reshape(count, *own.shape[1:])
        if missing := set(self.columns) - set(out):
            raise ValueError(f"columns are missing: {', '.join(sorted(missing))}")
        return out

    @property
    def layout(self) -> bytes:
        """8 bytes that are equal for tables whose rows can be exchanged."""
        if self._layout[0] != len(self.columns):
            names = [(name, column.dtype.str, column.shape[1:]) for name, column in self.columns.items()]
            kinds = [(kind.name, [component.name for component in kind.components]) for kind in self.registry.kinds]
            self._layout = (len(names), hashlib.sha256(repr((sorted(names), kinds)).encode()).digest()[:8])
        return self._layout[1]

    def state(self) -> dict[str, Any]:
        """For a dump: everything but ghosts, as plain values and bytes."""
        ghosts = self.ghosts()
        kept: dict[str, Array] = {name: column[: self.high] for name, column in self.columns.items()}
        if len(ghosts):
            for name in kept:
                if name != "generation":
                    kept[name] = kept[name].copy()
                    kept[name][ghosts] = self._defaults[name]
        columns = {
            name: [column.dtype.str, list(column.shape[1:]), np.ascontiguousarray(column).tobytes()]
            for name, column in kept.items()
        }
        return {"high": self.high, "free": [*self._free, *ghosts.tolist()], "columns": columns}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state`, into a table with the same columns. Raises ValueError if columns differ."""
        if set(state["columns"]) != set(self.columns):
            odd = sorted(set(state["columns"]) ^ set(self.columns))
            raise ValueError(f"the dump is of other declarations; columns on one side only: {', '.join(odd)}")
        if state["high"] > self.capacity:
            self._grow(state["high"])
        self.high = state["high"]
        self._free = list(state["free"])
        for name, (dtype, shape, data) in state["columns"].items():
            column = self.columns[name]
            if np.dtype(dtype) != column.dtype or tuple(shape) != column.shape[1:]:
                raise ValueError(f"the dump is of other declarations; column {name} is {dtype}{shape}")
            column[: self.high] = np.frombuffer(data, column.dtype).reshape(self.high, *column.shape[1:])
        rows = np.flatnonzero(self.live[: self.high])
        self._row_of = dict(zip(self.id[rows].tolist(), rows.tolist(), strict=True))
        self.count = len(rows)
        self.changes += 1
