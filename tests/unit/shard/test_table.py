"""Rows, generations and ids against a plain model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shard.world.components import Body, Component, DeclarationError, Kind, Registry
from shard.world.table import BLOCKS_MAX, IdBlocks, OutOfIdsError, Table, TableFullError

REGISTRY = Registry([Kind("duck", (Component("mood", "f4", default=0.5),))])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=40))
def test_rows_against_a_dictionary(steps: list[tuple[bool, int]]) -> None:
    table = Table(REGISTRY, 4, 1 << 12)
    ids = IdBlocks([(1, 1 << 20)])
    model: dict[int, int] = {}
    generations: dict[int, int] = {}
    for begins, number in steps:
        if begins:
            new = ids.take(number)
            rows = table.begin(2, new)
            assert table.columns["c.mood"][rows].tolist() == [0.5] * number
            for id_, row in zip(new.tolist(), rows.tolist(), strict=True):
                assert row not in model.values()
                model[id_] = row
                assert table.generation[row] > generations.get(row, 0)
                generations[row] = int(table.generation[row])
            table.columns["c.mood"][rows] = 9
        else:
            chosen = sorted(model)[:number]
            table.end(np.array([model.pop(id_) for id_ in chosen], np.int64))
        assert table.rows().tolist() == sorted(model.values())
        assert {id_: table.row(id_) for id_ in model} == model
        assert table.count == len(model)
        assert len(set(table.free)) == len(table.free) == table.high - table.count
    copy = Table(REGISTRY, 4, 1 << 12)
    copy.load(table.state())
    assert copy.state() == table.state()
    assert copy.rows().tolist() == table.rows().tolist()


def test_a_full_table_changes_nothing() -> None:
    table = Table(REGISTRY, 2, 3)
    table.begin(2, np.arange(1, 3, dtype=np.uint64))
    with pytest.raises(TableFullError, match="rows_max"):
        table.begin(2, np.arange(3, 5, dtype=np.uint64))
    assert table.count == 2
    assert table.begin(2, np.array([9], np.uint64)).tolist() == [2]


@given(st.lists(st.integers(0, 7), max_size=20))
def test_ids_are_given_once_in_order(counts: list[int]) -> None:
    blocks = IdBlocks([(10, 5), (100, 30)])
    expected = [*range(10, 15), *range(100, 130)]
    taken: list[int] = []
    for count in counts:
        if count > blocks.left:
            with pytest.raises(OutOfIdsError):
                blocks.take(count)
        else:
            taken += blocks.take(count).tolist()
    assert taken == expected[: len(taken)]
    assert blocks.left == 35 - len(taken)


@given(st.lists(st.integers(0, 50), max_size=60))
def test_ids_are_given_once_however_often_blocks_are_shared_and_brought_together(takes: list[int]) -> None:
    blocks, given_out = IdBlocks([(1, 1 << 40)]), list[int]()
    for count in takes:
        shares = blocks.share(4)
        assert sum(share.left for share in shares) <= 1 << 40
        assert max(share.left for share in shares) - min(share.left for share in shares) <= 1
        for share in shares:
            given_out += share.take(count).tolist()
        blocks = IdBlocks((first, end - first) for share in shares for first, end in share.state())
    assert len(set(given_out)) == len(given_out)
    assert len(blocks.state()) <= BLOCKS_MAX
    assert blocks.left > 1 << 39, "what is given up is little"


@pytest.mark.parametrize("block", [(0, 5), (1, 0), (12, 2), (1 << 64, 1)])
def test_bad_blocks_are_refused(block: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="id block"):
        IdBlocks([(10, 5)]).add(*block)


def test_declarations_that_cannot_work_say_why() -> None:
    with pytest.raises(DeclarationError, match="identifier"):
        Component("my mood", "f4")
    with pytest.raises(DeclarationError, match="not a number"):
        Component("mood", "O")
    with pytest.raises(DeclarationError, match="scale"):
        Component("mood", "f4", scale=0.0)
    with pytest.raises(DeclarationError, match="same name"):
        Registry([Kind("duck"), Kind("duck")])
    with pytest.raises(DeclarationError, match="declared twice"):
        Registry([Kind("a", (Component("m", "f4"),)), Kind("b", (Component("m", "i4"),))])
    with pytest.raises(DeclarationError, match="bytes"):
        Registry([Kind("a", (Component("m", "U300", replicate=True, default=""),))])
    with pytest.raises(DeclarationError, match="unknown kinds"):
        Registry([], [("duk", Component("m", "f4"))])
    with pytest.raises(DeclarationError, match="radius_m"):
        Body(radius_m=0.0)


def test_the_schema_lists_what_is_replicated() -> None:
    registry = Registry([Kind("duck", (Component("mood", "f4", "1", True, scale=0.5), Component("secret", "i4")))])
    assert registry.schema == {
        "kinds": [[1, "person"], [2, "duck"]],
        "components": [[1, "name", "str", "", None], [2, "mood", "float32", "1", 0.5]],
    }
    assert len(registry.schema_hash) == 8
