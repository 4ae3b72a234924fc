"""Versions, identities, and the step from version 1, as far as they are pure."""

import pytest

from shard.durable import rows, schema
from shard.durable.contract import Incompatible, WorldIdentity
from shard.durable.rows import ACTION, SESSION, Table
from shard.durable.spans import span_of

WORLD = WorldIdentity("harbour", 5, 1024.0, 3)
OLD_ACTION = Table("action", ("session", "number", "region", "tick", "heard_s", "answer"), 2, True, "")


def test_there_is_a_step_to_each_version() -> None:
    assert sorted(schema.STEPS) == list(range(2, schema.VERSION + 1))
    assert [number for number, _ in schema.missing_steps(1)] == sorted(schema.STEPS)
    assert schema.missing_steps(schema.VERSION) == []


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(Incompatible, match=f"version {schema.VERSION + 1}.*run the newer program"):
        schema.missing_steps(schema.VERSION + 1)
    with pytest.raises(Incompatible, match="damaged"):
        schema.missing_steps(0)


def test_a_session_gets_the_place_of_its_newest_action() -> None:
    old = [
        OLD_ACTION.sealed(7, 1, 4, 10, 100, b"a"),
        OLD_ACTION.sealed(7, 2, 5, 12, 102, b"b"),
        OLD_ACTION.sealed(7, 3, 6, 11, 103, b"c"),
    ]
    new = schema.STEPS[2].convert(old, WORLD)
    assert new["session"] == [rows.session(7, 5, span_of(5, 3), 12, 102)]
    assert new["action"] == [
        ACTION.sealed(7, n, tick, data) for n, tick, data in ((1, 10, b"a"), (2, 12, b"b"), (3, 11, b"c"))
    ]


def test_damage_stays_damage() -> None:
    sound = OLD_ACTION.sealed(7, 1, 4, 10, 100, b"a")
    (action,) = schema.STEPS[2].convert([(*sound[:3], 99, *sound[4:])], WORLD)["action"]
    assert ACTION.problem(action) is not None
    (place,) = schema.STEPS[2].convert([(*sound[:3], 99, *sound[4:])], WORLD)["session"]
    assert SESSION.problem(place) is not None
    assert all(SESSION.problem(row) is None for row in schema.STEPS[2].convert([sound], WORLD)["session"])


def test_an_identity_comes_back() -> None:
    world = WorldIdentity("Å harbour", 1 << 80, 1000, 6)
    assert schema.identity([schema.identity_row(world)]) == world
    schema.compare_identity(world, world)


@pytest.mark.parametrize("field", range(5))
def test_a_changed_identity_is_not_believed(field: int) -> None:
    row: list[object] = list(schema.identity_row(WORLD))
    row[field] = {0: "x", 1: "6", 2: 2.0, 3: 4, 4: 0}[field]
    stored: list[list[tuple[object, ...]]] = [
        [tuple(row)],
        [],
        [schema.identity_row(WORLD)] * 2,
        [("x", None, 1.0, 2, 3)],
    ]
    for found in stored:
        with pytest.raises(Incompatible, match="damaged"):
            schema.identity(found)


def test_another_world_is_refused_by_the_fields_that_differ() -> None:
    with pytest.raises(Incompatible, match=r"seed is 6 there and 5 here; leaf_level is 4 there and 3 here") as info:
        schema.compare_identity(WorldIdentity("harbour", 6, 1024.0, 4), WORLD)
    assert "name is" not in str(info.value)


@pytest.mark.parametrize(("name", "leaf_level"), [("", 1), ("x" * 201, 1), ("a\0b", 1), ("a", -1), ("a", 25)])
def test_what_no_world_is(name: str, leaf_level: int) -> None:
    with pytest.raises(ValueError, match="world"):
        WorldIdentity(name, 1, 1.0, leaf_level)
