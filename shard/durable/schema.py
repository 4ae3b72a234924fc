"""The tables in both engines' SQL, their version, and the steps from each version to the next.

A store says its version in its table ``schema_version``; opening it takes all missing steps in one transaction. Steps
are written once, in templates that both engines fill in with their names of types. What cannot be said in SQL alone
(checksums) is a function from old rows to new ones.

Invariants: a step never gives a checksum that fits to a row whose old one did not. Version n's step is never changed
once it was released: tests/integration/durable/worlds holds a store of version 1 as it was. Not responsible for: who
runs steps when (``sqlite``, ``postgres``).

Versions: 1, the journal's rows say their region and when they were written. 2, a session has one place, in a table of
its own, that moves with the newest batch which names the session. 3, a region has a note.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shard.durable.contract import Incompatible, WorldIdentity
from shard.durable.rows import ACTION, Row, Table, session, world_sum
from shard.durable.spans import span_of

VERSION = 3

Types = Mapping[str, str]
"""How an engine calls ``int`` (64 bits), ``real`` and ``bytes``, and its primary key of one such number ``id``."""

ENTITY_WINS = "excluded.hop > entity.hop OR (excluded.hop = entity.hop AND (entity.leaf <> 0 OR excluded.leaf = 0))"
"""When a row is written over the one that is there: it is not older, and does not bring back what has left."""

_FIRST = (
    "CREATE TABLE schema_version (version {int} NOT NULL)",
    "INSERT INTO schema_version (version) VALUES (1)",
    "CREATE TABLE world (name TEXT NOT NULL, seed TEXT NOT NULL, side_m {real} NOT NULL, leaf_level {int} NOT NULL,"
    " sum {int} NOT NULL)",
    "CREATE TABLE entity (id {id}, hop {int} NOT NULL, leaf {int} NOT NULL, gone_s {int} NOT NULL, data {bytes}"
    " NOT NULL, sum {int} NOT NULL)",
    "CREATE INDEX entity_leaf ON entity (leaf)",
    "CREATE TABLE pose (leaf {int} NOT NULL, second {int} NOT NULL, data {bytes} NOT NULL, sum {int} NOT NULL)",
    "CREATE UNIQUE INDEX pose_key ON pose (leaf, second)",
    "CREATE TABLE action (session {int} NOT NULL, number {int} NOT NULL, region {int} NOT NULL, tick {int} NOT NULL,"
    " heard_s {int} NOT NULL, answer {bytes} NOT NULL, sum {int} NOT NULL)",
    "CREATE UNIQUE INDEX action_key ON action (session, number)",
    "CREATE TABLE region (region {id}, epoch {int} NOT NULL, tick {int} NOT NULL, first_leaf {int} NOT NULL,"
    " last_leaf {int} NOT NULL, sum {int} NOT NULL)",
)

_ACTION_1 = Table("action", ("session", "number", "region", "tick", "heard_s", "answer"), 2, True, "")
"""The journal's rows in version 1."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one version to the next: ``before``, then rows that ``read`` finds become new rows, then ``after``."""

    before: tuple[str, ...]
    read: str
    convert: Callable[[Iterable[Row], WorldIdentity], dict[str, list[Row]]]
    after: tuple[str, ...]


def _places(old: Iterable[Row], world: WorldIdentity) -> dict[str, list[Row]]:
    """Version 1's journal as sessions with places and actions."""
    places: dict[int, tuple[int, int, int]] = {}
    doubtful: set[int] = set()
    actions: list[Row] = []
    for row in old:
        number, count, region, tick, heard_s, answer, _ = row
        new = ACTION.sealed(number, count, tick, answer)
        sound = _ACTION_1.problem(row) is None
        if not sound:
            # It stays damaged, under a checksum that does not fit either.
            new = _damaged(new)
            doubtful.add(number)
        actions.append(new)
        if sound and (tick, heard_s) >= places.get(number, (-1, -1))[:2]:
            places[number] = (tick, heard_s, region)
    sessions = [
        session(number, region, span_of(region, world.leaf_level), tick, heard_s)
        for number, (tick, heard_s, region) in places.items()
    ]
    # Nobody knows where these are: wherever the world is loaded, they are named.
    everywhere = span_of(1, world.leaf_level)
    sessions += [_damaged(session(number, 1, everywhere, 0, 0)) for number in doubtful - places.keys()]
    return {"session": sessions, "action": actions}


def _damaged(row: Row) -> Row:
    return (*row[:-1], row[-1] ^ 1)


STEPS: dict[int, Step] = {
    2: Step(
        before=(
            "CREATE TABLE session (session {id}, region {int} NOT NULL, first_leaf {int} NOT NULL, last_leaf {int}"
            " NOT NULL, tick {int} NOT NULL, heard_s {int} NOT NULL, sum {int} NOT NULL)",
            "CREATE INDEX session_leaf ON session (first_leaf, last_leaf)",
            "DROP INDEX action_key",
            "ALTER TABLE action RENAME TO action_1",
            "CREATE TABLE action (session {int} NOT NULL, number {int} NOT NULL, tick {int} NOT NULL, answer {bytes}"
            " NOT NULL, sum {int} NOT NULL)",
            "CREATE UNIQUE INDEX action_key ON action (session, number)",
        ),
        read="SELECT session, number, region, tick, heard_s, answer, sum FROM action_1",
        convert=_places,
        after=("DROP TABLE action_1",),
    ),
    3: Step(
        before=(
            "CREATE TABLE note (region {id}, tick {int} NOT NULL, first_leaf {int} NOT NULL, last_leaf {int} NOT NULL,"
            " data {bytes} NOT NULL, sum {int} NOT NULL)",
        ),
        read="SELECT region FROM note",
        convert=lambda old, world: {},
        after=(),
    ),
}


def first_statements(types: Types) -> list[str]:
    """Version 1 from nothing."""
    return [statement.format_map(types) for statement in _FIRST]


def missing_steps(version: int) -> list[tuple[int, Step]]:
    """What a store of this version lacks, in order. Raises Incompatible if it is newer than this program."""
    if version > VERSION:
        raise Incompatible(
            f"the store has schema version {version} and this program knows {VERSION}: run the newer program, or "
            "restore a backup that this one has written"
        )
    if version < 1:
        raise Incompatible(f"the store says it has schema version {version}, which there never was: it is damaged")
    return [(number, STEPS[number]) for number in range(version + 1, VERSION + 1)]


def identity(rows: list[tuple[object, ...]]) -> WorldIdentity:
    """The world that the table ``world`` names. Raises Incompatible if that cannot be believed."""
    if len(rows) == 1:
        name, seed, side_m, leaf_level, checksum = rows[0]
        if isinstance(name, str) and isinstance(side_m, float) and isinstance(leaf_level, int):
            try:
                world = WorldIdentity(name, int(str(seed)), side_m, leaf_level)
            except ValueError:
                pass
            else:
                if world_sum(world) == checksum:
                    return world
    raise Incompatible("the store does not say (any more) whose world it is: it is damaged, restore a backup")


def identity_row(world: WorldIdentity) -> tuple[str, str, float, int, int]:
    """The row of the table ``world``."""
    return world.name, str(world.seed), float(world.side_m), world.leaf_level, world_sum(world)


def compare_identity(found: WorldIdentity, expected: WorldIdentity) -> None:
    """Raises Incompatible and says which fields differ."""
    differ = [
        f"{field} is {getattr(found, field)!r} there and {getattr(expected, field)!r} here"
        for field in ("name", "seed", "side_m", "leaf_level")
        if getattr(found, field) != getattr(expected, field)
    ]
    if differ:
        raise Incompatible(
            f"the store belongs to another world: {'; '.join(differ)}. Use another store, or the world that it was "
            "made for"
        )
