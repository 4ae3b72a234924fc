"""What is asked of PostgreSQL within one transaction: fences, commits, loading, pruning. Functions of a connection.

Invariants: the search path leads to the world's schema; each function is called within a transaction, whose end is the
caller's. Fences of a world wait for each other (an advisory lock), because one has to see regions that another is just
adding; a commit locks its region's row, so it comes wholly before or wholly after a fence. Rows are locked in the order
of their keys. A function that raises Fenced has written nothing.

Not responsible for: connections and their errors (``postgres``), damaged pages: PostgreSQL has checksums for them.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice

from asyncpg import Connection

from shard.durable import rows
from shard.durable.contract import Batch, Committed, Damage, Fenced, Limits, Loaded
from shard.durable.rows import ACTION, ENTITY, NOTE, POSE, REGION, SESSION, TOMBSTONE_LEAF, Row, Table
from shard.durable.schema import ENTITY_WINS
from shard.durable.spans import Span

STATEMENT_ROWS = 5_000
"""Of one bulk statement; also of one fetch, which is how long the event loop is held up while sums are checked."""
FETCH_ROWS = 1_000

_OVERLAPS = "first_leaf <= $2 AND last_leaf >= $1"
_NOW_S = "floor(extract(epoch FROM now()))::bigint"


def insert_sql(table: Table) -> str:
    """Insert rows, given as one array for each column."""
    arrays = [f"${n + 1}::bigint[]" for n in range(len(table.all_columns))]
    if table.blob:
        arrays[-2] = arrays[-2].replace("bigint", "bytea")
    return f"INSERT INTO {table.name} ({', '.join(table.all_columns)}) SELECT * FROM unnest({', '.join(arrays)})"


def _replace_sql(table: Table, when: str) -> str:
    """The same, or write them over the rows with these keys where the condition holds."""
    values = ", ".join(f"{column} = excluded.{column}" for column in table.all_columns[table.key :])
    return f"{insert_sql(table)} ON CONFLICT ({', '.join(table.keys)}) DO UPDATE SET {values} WHERE {when}"


_ENTITY = f"{_replace_sql(ENTITY, ENTITY_WINS)} RETURNING id"
_POSE = _replace_sql(POSE, "true")
_SESSION = _replace_sql(SESSION, "excluded.tick >= session.tick")
_ACTION = f"{insert_sql(ACTION)} ON CONFLICT (session, number) DO NOTHING"
_REGION = _replace_sql(REGION, "true")
_NOTE = _replace_sql(NOTE, "true")
_OLD_POSES = (
    "DELETE FROM pose USING unnest($1::bigint[]) AS named (leaf) WHERE pose.leaf = named.leaf AND pose.second <"
    " (SELECT second FROM pose AS kept WHERE kept.leaf = named.leaf ORDER BY second DESC LIMIT 1 OFFSET $2)"
)
_OLD_ACTIONS = (
    "DELETE FROM action USING unnest($1::bigint[]) AS named (session) WHERE action.session = named.session AND number <"
    " (SELECT number FROM action AS kept WHERE kept.session = named.session ORDER BY number DESC LIMIT 1 OFFSET $2)"
)


async def newest_epoch(connection: Connection, span: Span) -> int:
    """The highest epoch of all regions that overlap; 0: none."""
    return int(await connection.fetchval(f"SELECT coalesce(max(epoch), 0) FROM region WHERE {_OVERLAPS}", *span))


async def lock_fences(connection: Connection, schema_name: str) -> None:
    """Nobody else fences, migrates or restores this world until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", schema_name)


async def fence(connection: Connection, region: int, epoch: int, span: Span) -> None:
    """Write the epoch into the region's row and all that overlap. Raises Fenced. ``lock_fences`` comes before."""
    select = f"SELECT region, epoch, tick, first_leaf, last_leaf FROM region WHERE {_OVERLAPS} ORDER BY 1 FOR UPDATE"
    found = await connection.fetch(select, *span)
    newest = max((row[1] for row in found), default=0)
    if newest > epoch:
        raise Fenced(newest)
    known = {number: (tick, Span(first, last)) for number, _, tick, first, last in found}
    known.setdefault(region, (0, span))
    written = [rows.region(number, epoch, tick, its_span) for number, (tick, its_span) in sorted(known.items())]
    await _put(connection, _REGION, written)


async def commit(connection: Connection, batch: Batch, span: Span, limits: Limits) -> tuple[Committed, int]:
    """Write the batch; with the result the server's time in seconds. Raises Fenced."""
    select = f"SELECT epoch, tick, {_NOW_S} FROM region WHERE region = $1 FOR UPDATE"
    found = await connection.fetchrow(select, batch.region)
    if found is None or found[0] != batch.epoch:
        raise Fenced(await newest_epoch(connection, span))
    _, tick, now_s = found
    await _put(connection, _REGION, [rows.region(batch.region, batch.epoch, max(tick, batch.tick), span)])
    if batch.note:
        await _put(connection, _NOTE, [rows.note(batch.region, batch.tick, span, batch.note)])
    written = [rows.tombstone(gone.id, gone.hop, now_s) for gone in batch.gone]
    written += [rows.entity(row) for row in batch.entities]
    accepted = await _put(connection, _ENTITY, sorted(written))
    refused = sorted(rows.unsigned(row[0]) for row in written if row[0] not in accepted)
    if batch.poses:
        await _put(connection, _POSE, sorted(map(rows.pose, batch.poses)))
        leaves = sorted({row.leaf for row in batch.poses})
        await connection.execute(_OLD_POSES, leaves, limits.poses_per_leaf - 1)
    if batch.actions:
        sessions = sorted({rows.signed(row.session) for row in batch.actions})
        places = [rows.session(session, batch.region, span, batch.tick, now_s) for session in sessions]
        await _put(connection, _SESSION, places)
        await _put(connection, _ACTION, sorted(map(rows.action, batch.actions)))
        await connection.execute(_OLD_ACTIONS, sessions, limits.actions_per_session - 1)
    return Committed(refused), now_s


async def load(connection: Connection, span: Span) -> Loaded:
    """What is kept for the leaves; within a transaction that sees one moment."""
    damage: list[Damage] = []
    entities = await _sound(connection, ENTITY, damage, "WHERE leaf BETWEEN $1 AND $2", *span)
    poses = await _sound(connection, POSE, damage, "WHERE leaf BETWEEN $1 AND $2", *span)
    await _sound(connection, SESSION, damage, f"WHERE {_OVERLAPS}", *span)
    here = f"WHERE session IN (SELECT session FROM session WHERE {_OVERLAPS})"
    actions = await _sound(connection, ACTION, damage, here, *span)
    regions = await _sound(connection, REGION, damage, f"WHERE {_OVERLAPS}", *span)
    notes = await _sound(connection, NOTE, damage, f"WHERE {_OVERLAPS}", *span)
    return rows.loaded(entities, poses, actions, regions, notes, damage)


async def hops(connection: Connection, ids: Iterable[int]) -> dict[int, int]:
    """The newest hop of those that are known."""
    found = await connection.fetch(
        "SELECT id, hop FROM entity WHERE id = ANY($1::bigint[])", [rows.signed(id) for id in ids]
    )
    return {rows.unsigned(id): hop for id, hop in found}


async def prune(connection: Connection, limits: Limits) -> None:
    """Forget what is over, by the server's clock. What another transaction is using is left for the next time."""
    await connection.execute(
        f"DELETE FROM entity WHERE leaf = $1 AND gone_s < {_NOW_S} - $2::bigint",
        TOMBSTONE_LEAF,
        limits.tombstone_kept_s,
    )
    over = await connection.fetch(
        f"DELETE FROM session WHERE session IN (SELECT session FROM session WHERE heard_s < {_NOW_S} - $1::bigint"
        " ORDER BY session FOR UPDATE SKIP LOCKED) RETURNING session",
        limits.session_kept_s,
    )
    await connection.execute("DELETE FROM action WHERE session = ANY($1::bigint[])", [row[0] for row in over])


async def pieces(connection: Connection, table: Table, suffix: str = "", *args: object) -> AsyncIterator[list[Row]]:
    """Rows as they are there, some at a time."""
    piece: list[Row] = []
    select = f"SELECT {', '.join(table.all_columns)} FROM {table.name} {suffix}"
    async for record in connection.cursor(select, *args, prefetch=FETCH_ROWS):
        piece.append(tuple(record))
        if len(piece) == FETCH_ROWS:
            yield piece
            piece = []
    if piece:
        yield piece


def sound(table: Table, piece: Sequence[Row], damage: list[Damage]) -> list[Row]:
    """Those whose checksum fits; the others are named in ``damage``."""
    kept = []
    for row in piece:
        problem = table.problem(row)
        if problem is None:
            kept.append(row)
        else:
            damage.append(Damage(table.named(row[: table.key]), problem))
    return kept


async def _sound(connection: Connection, table: Table, damage: list[Damage], suffix: str, *args: object) -> list[Row]:
    kept: list[Row] = []
    async for piece in pieces(connection, table, suffix, *args):
        kept += sound(table, piece, damage)
    return kept


async def _put(connection: Connection, sql: str, written: Sequence[Row]) -> set[int]:
    """Write rows by a bulk statement; the first column of what it returns."""
    returned: set[int] = set()
    for piece in _cut(written):
        returned.update(row[0] for row in await connection.fetch(sql, *zip(*piece, strict=True)))
    return returned


def _cut(written: Sequence[Row]) -> Iterator[list[Row]]:
    rest = iter(written)
    while piece := list(islice(rest, STATEMENT_ROWS)):
        yield piece
