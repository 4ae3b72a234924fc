"""What is asked of SQLite within one transaction: fences, commits, pruning. Plain functions of a connection.

Invariants: each is called within a transaction that writes (``BEGIN IMMEDIATE``), whose end is the caller's. A function
that raises Fenced has written nothing. Not responsible for: connections, errors, threads (``sqlite``), reading worlds,
also damaged ones (``sqlite_reading``).
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence

from shard.durable import rows
from shard.durable.contract import Batch, Committed, Fenced, Limits, NotEmpty
from shard.durable.rows import ACTION, ENTITY, NOTE, POSE, REGION, SESSION, TABLES, TOMBSTONE_LEAF, Row, Table
from shard.durable.schema import ENTITY_WINS
from shard.durable.spans import Span

_OVERLAPS = "first_leaf <= ? AND last_leaf >= ?"


def insert_sql(table: Table) -> str:
    """Insert one row of a table."""
    marks = ", ".join("?" * len(table.all_columns))
    return f"INSERT INTO {table.name} ({', '.join(table.all_columns)}) VALUES ({marks})"


def _replace_sql(table: Table, when: str) -> str:
    """The same, or write it over the row with this key when the condition holds."""
    values = ", ".join(f"{column} = excluded.{column}" for column in table.all_columns[table.key :])
    return f"{insert_sql(table)} ON CONFLICT ({', '.join(table.keys)}) DO UPDATE SET {values} WHERE {when}"


_ENTITY = _replace_sql(ENTITY, ENTITY_WINS)
_POSE = _replace_sql(POSE, "true")
_SESSION = _replace_sql(SESSION, "excluded.tick >= session.tick")
_ACTION = f"{insert_sql(ACTION)} ON CONFLICT (session, number) DO NOTHING"
_REGION = _replace_sql(REGION, "true")
_NOTE = _replace_sql(NOTE, "true")
_OLD_POSES = (
    "DELETE FROM pose WHERE leaf = ?1 AND second <"
    " (SELECT second FROM pose WHERE leaf = ?1 ORDER BY second DESC LIMIT 1 OFFSET ?2)"
)
_OLD_ACTIONS = (
    "DELETE FROM action WHERE session = ?1 AND number <"
    " (SELECT number FROM action WHERE session = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)"
)


def newest_epoch(connection: sqlite3.Connection, span: Span) -> int:
    """The highest epoch of all regions that overlap; 0: none."""
    found = connection.execute(f"SELECT max(epoch) FROM region WHERE {_OVERLAPS}", (span.last, span.first)).fetchone()
    return int(found[0] or 0)


def fence(connection: sqlite3.Connection, region: int, epoch: int, span: Span) -> None:
    """Write the epoch into the region's row and all that overlap. Raises Fenced."""
    newest = newest_epoch(connection, span)
    if newest > epoch:
        raise Fenced(newest)
    select = f"SELECT region, tick, first_leaf, last_leaf FROM region WHERE {_OVERLAPS}"
    known = {number: (tick, Span(a, b)) for number, tick, a, b in connection.execute(select, (span.last, span.first))}
    known.setdefault(region, (0, span))
    written = [rows.region(number, epoch, tick, its_span) for number, (tick, its_span) in known.items()]
    connection.executemany(_REGION, written)


def commit(connection: sqlite3.Connection, batch: Batch, span: Span, now_s: int, limits: Limits) -> Committed:
    """Write the batch. Raises Fenced."""
    found = connection.execute("SELECT epoch, tick FROM region WHERE region = ?", (batch.region,)).fetchone()
    if found is None or found[0] != batch.epoch:
        raise Fenced(newest_epoch(connection, span))
    connection.execute(_REGION, rows.region(batch.region, batch.epoch, max(found[1], batch.tick), span))
    if batch.note:
        connection.execute(_NOTE, rows.note(batch.region, batch.tick, span, batch.note))
    written = [rows.tombstone(gone.id, gone.hop, now_s) for gone in batch.gone]
    written += [rows.entity(row) for row in batch.entities]
    refused = _put_entities(connection, written)
    connection.executemany(_POSE, map(rows.pose, batch.poses))
    leaves = {row.leaf for row in batch.poses}
    connection.executemany(_OLD_POSES, [(leaf, limits.poses_per_leaf - 1) for leaf in leaves])
    sessions = {rows.signed(row.session) for row in batch.actions}
    places = [rows.session(session, batch.region, span, batch.tick, now_s) for session in sessions]
    connection.executemany(_SESSION, places)
    connection.executemany(_ACTION, map(rows.action, batch.actions))
    connection.executemany(_OLD_ACTIONS, [(session, limits.actions_per_session - 1) for session in sessions])
    return Committed(refused)


def hops(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, int]:
    """The newest hop of those that are known."""
    asked = json.dumps([rows.signed(id) for id in ids])
    found = connection.execute("SELECT id, hop FROM entity WHERE id IN (SELECT value FROM json_each(?))", (asked,))
    return {rows.unsigned(id): hop for id, hop in found}


def prune(connection: sqlite3.Connection, now_s: int, limits: Limits) -> None:
    """Forget what is over."""
    gone_before_s = now_s - limits.tombstone_kept_s
    connection.execute("DELETE FROM entity WHERE leaf = ? AND gone_s < ?", (TOMBSTONE_LEAF, gone_before_s))
    heard_before_s = now_s - limits.session_kept_s
    connection.execute(
        "DELETE FROM action WHERE session IN (SELECT session FROM session WHERE heard_s < ?)", (heard_before_s,)
    )
    connection.execute("DELETE FROM session WHERE heard_s < ?", (heard_before_s,))


def fill(connection: sqlite3.Connection, pieces: Iterable[tuple[str, list[Row]]]) -> None:
    """Write rows as they are. Raises NotEmpty if there are any already."""
    for table in TABLES.values():
        if connection.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchone():
            raise NotEmpty(table.name)
    for name, piece in pieces:
        connection.executemany(insert_sql(TABLES[name]), piece)


def _put_entities(connection: sqlite3.Connection, written: Sequence[Row]) -> list[int]:
    """Write what is not older than what is known; ids of the rest."""
    if not written or connection.executemany(_ENTITY, written).rowcount == len(written):
        return []
    refused = []
    for entity_id, hop, leaf, *_ in written:
        found = connection.execute("SELECT hop, leaf FROM entity WHERE id = ?", (entity_id,)).fetchone()
        if found[0] > hop or (found[1] == TOMBSTONE_LEAF and leaf != TOMBSTONE_LEAF):
            refused.append(rows.unsigned(entity_id))
    return sorted(refused)
