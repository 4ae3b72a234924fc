"""Reading a SQLite store, also one whose pages are damaged or whose file was cut.

Each table is read from two witnesses: its rows in the order of the file (no index is asked), and the keys that an index
of it holds. A row whose checksum does not fit is named. A row that the index knows and the table does not give is read
by its number; what that does not give either is named. Where a scan breaks off it goes on from the other end. Where
there is no index that can be read, all damaged rows of the table are named, because each may have been in the span.

Invariant: a row is served as it was committed, or not at all. Not responsible for: damage that both witnesses agree
about (a page of an older state put back whole), the repair of a file: that is a backup, and a restore.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shard.durable.contract import Damage, Loaded
from shard.durable.rows import ACTION, ENTITY, NOTE, POSE, REGION, SESSION, Row, Table, loaded
from shard.durable.spans import Span

_WITNESSES = {"entity": "entity_leaf", "pose": "pose_key", "session": "session_leaf", "action": "action_key"}
"""An index of each table that has one; with the number of the row it holds the whole key."""
PIECE_ROWS = 50_000
_ENDS = (-1e19, 1e19)
"""Beyond all numbers that a row can have."""


@dataclass(slots=True)
class Found:
    """What is left of a table: sound rows, the keys of all rows (also of damaged ones), and what is not served."""

    rows: list[Row] = field(default_factory=list)
    keys: list[Row] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)


def load(connection: sqlite3.Connection, span: Span) -> Loaded:
    """What is kept for the leaves. The caller holds a transaction, so that it is of one moment."""
    both = (span.first, span.last)
    entities = read(connection, ENTITY, "leaf BETWEEN ? AND ?", both)
    poses = read(connection, POSE, "leaf BETWEEN ? AND ?", both)
    sessions = read(connection, SESSION, "last_leaf >= ? AND first_leaf <= ?", both)
    # By number: the journal of a session whose place is damaged is served all the same.
    numbers = json.dumps([number for (number,) in sessions.keys])
    actions = read(connection, ACTION, "session IN (SELECT value FROM json_each(?))", (numbers,))
    regions = read(connection, REGION, "last_leaf >= ? AND first_leaf <= ?", both)
    notes = read(connection, NOTE, "last_leaf >= ? AND first_leaf <= ?", both)
    damage = [damage for found in (entities, poses, sessions, actions, regions, notes) for damage in found.damage]
    return loaded(entities.rows, poses.rows, actions.rows, regions.rows, notes.rows, damage)


def read(connection: sqlite3.Connection, table: Table, where: str = "true", values: tuple[object, ...] = ()) -> Found:
    """All rows of a table for which the condition holds, as far as they can be read."""
    scan = _Scan(connection, table, where, values)
    broken = scan.everything()
    missing, unwitnessed = scan.missing()
    if unwitnessed and where != "true":
        # No index says what ought to be here: a damaged row whose column hides it from the condition may be.
        full = _Scan(connection, table, "true", ())
        broken = full.everything()
        hidden = full.rows.keys() - scan.rows.keys()
        scan.rows.update({n: full.rows[n] for n in hidden if table.problem(full.rows[n]) is not None})
    found = Found()
    for number in sorted(scan.rows):
        row = scan.rows[number]
        key = row[: table.key]
        problem = table.problem(row)
        found.keys.append(key)
        if problem is None:
            found.rows.append(row)
        else:
            found.damage.append(Damage(table.named(key), problem))
    for key, why in missing:
        found.keys.append(key)
        found.damage.append(Damage(table.named(key), why))
    if broken is not None and unwitnessed:
        low, high, why = broken
        after = "the first" if low == _ENDS[0] else f"number {low}"
        before = "the last" if high == _ENDS[1] else f"number {high}"
        found.damage.append(Damage(f"{table.name}: rows from {after} to {before}", f"{why}; nor is there an index"))
    return found


def pieces(connection: sqlite3.Connection, table: Table) -> Iterator[Found]:
    """The whole table in pieces that fit in memory, or in one where its rows cannot be counted any more."""
    low = _ENDS[0]
    while True:
        select = f"SELECT rowid FROM {table.name} NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT 1 OFFSET ?"
        try:
            found = connection.execute(select, (low, PIECE_ROWS)).fetchone()
        except sqlite3.DatabaseError:
            found = None
        if found is None:
            yield read(connection, table, "rowid > ?", (low,))
            return
        yield read(connection, table, "rowid > ? AND rowid <= ?", (low, found[0]))
        low = found[0]


class _Scan:
    """One table read from all sides; ``rows`` by number in the file."""

    def __init__(self, connection: sqlite3.Connection, table: Table, where: str, values: tuple[object, ...]) -> None:
        self.rows: dict[int, Row] = {}
        self._connection = connection
        self._table = table
        self._values = values
        self._where = where
        self._select = f"SELECT rowid, {', '.join(table.all_columns)} FROM {table.name} NOT INDEXED WHERE ({where})"

    def everything(self) -> tuple[float, float, str] | None:
        """Read what can be read. If that is not all: the numbers between which rows may be missing, and why."""
        low, why = self._walk(">", _ENDS[0], "")
        if why is None:
            return None
        high, _ = self._walk("<", _ENDS[1], "DESC")
        return low, high, why

    def missing(self) -> tuple[list[tuple[Row, str]], bool]:
        """Keys that the index knows and no scan has met, with the reason; and whether the index breaks off."""
        name = _WITNESSES.get(self._table.name)
        if name is None:
            return [], True
        keys: dict[int, Row] = {}
        select = f"SELECT rowid, {', '.join(self._table.keys)} FROM {self._table.name} INDEXED BY {name}"
        unwitnessed = False
        try:
            for number, *key in self._connection.execute(f"{select} WHERE ({self._where})", self._values):
                if number not in self.rows:
                    keys[number] = tuple(key)
        except sqlite3.DatabaseError:
            unwitnessed = True
        lost = [(key, self._point(number)) for number, key in keys.items()]
        return [(key, why) for key, why in lost if why is not None], unwitnessed

    def _walk(self, sign: str, end: float, order: str) -> tuple[float, str | None]:
        """From one end on until it breaks off: the last number before anything was wrong, and what was."""
        select = f"{self._select} AND rowid {sign} ? ORDER BY rowid {order}"
        sure, why = end, None
        try:
            for number, *row in self._connection.execute(select, (*self._values, end)):
                if why is None and not (number > end if sign == ">" else number < end):
                    # The page says of itself what its neighbours contradict: rows may be missing from here on.
                    sure, why = end, "rows are out of order"
                self._take(number, row)
                end = number
            return sure, why
        except sqlite3.DatabaseError as error:
            if why is None:
                sure, why = end, str(error)
        # A statement that fails takes the row before the failure with it: the last ones are fetched one at a time.
        met: set[int] = set()
        while True:
            try:
                found = self._connection.execute(f"{select} LIMIT 1", (*self._values, end)).fetchone()
            except sqlite3.DatabaseError:
                return sure, why
            if found is None or found[0] in met:
                return sure, why
            end = found[0]
            met.add(found[0])
            self._take(found[0], found[1:])

    def _take(self, number: int, row: Sequence[object]) -> None:
        """A damaged page may claim a number that is another row's."""
        if number not in self.rows or self._table.problem(self.rows[number]) is not None:
            self.rows[number] = tuple(row)

    def _point(self, number: int) -> str | None:
        """Read one row by its number. Why not, if not."""
        try:
            found = self._connection.execute(f"{self._select} AND rowid = ?", (*self._values, number)).fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
        if found is None:
            return "the index knows the row, the table does not have it (any more)"
        self._take(number, found[1:])
        return None
