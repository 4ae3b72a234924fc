"""Checksums: whatever changes in a row shows, and nothing that was written is suspected."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shard.durable import rows
from shard.durable.rows import TABLES, Row, Table

i64 = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def sealed(draw: st.DrawFn) -> tuple[Table, Row]:
    """A table and a row of it."""
    table = TABLES[draw(st.sampled_from(sorted(TABLES)))]
    values: list[Any] = [draw(i64) for _ in table.columns]
    if table.blob:
        values[-1] = draw(st.binary(max_size=40))
    return table, table.sealed(*values)


@given(sealed())
def test_what_was_written_fits(one: tuple[Table, Row]) -> None:
    table, row = one
    assert table.problem(row) is None


@given(sealed(), st.integers(0, 100), st.integers(0, 1 << 16))
def test_a_flipped_bit_shows(one: tuple[Table, Row], column: int, bit: int) -> None:
    table, row = one
    column %= len(row)
    value = row[column]
    if isinstance(value, bytes):
        if not value:
            return
        changed = bytearray(value)
        changed[bit // 8 % len(value)] ^= 1 << bit % 8
        value = bytes(changed)
    else:
        value ^= 1 << bit % 63
    assert table.problem((*row[:column], value, *row[column + 1 :])) == "the checksum does not fit"


@given(sealed())
def test_other_types_and_lengths_show(one: tuple[Table, Row]) -> None:
    table, row = one
    for column in range(len(row)):
        for value in (None, "text", 1.5, True):
            assert table.problem((*row[:column], value, *row[column + 1 :])) is not None
    assert table.problem(row[:-1]) is not None
    assert table.problem((*row, 1)) is not None


def test_a_row_does_not_fit_into_another_table() -> None:
    session = TABLES["session"]
    other = Table("other", session.columns, session.key, session.blob, "")
    row = session.sealed(1, 2, 3, 4, 5, 6)
    assert session.problem(row) is None
    assert other.problem(row) == "the checksum does not fit"


@given(st.integers(0, (1 << 64) - 1))
def test_numbers_without_sign_come_back(number: int) -> None:
    assert -(1 << 63) <= rows.signed(number) < 1 << 63
    assert rows.unsigned(rows.signed(number)) == number


def test_damage_is_named_in_words() -> None:
    assert TABLES["entity"].named((-1,)) == f"entity {(1 << 64) - 1}"
    assert TABLES["action"].named((7, 3)) == "action 3 of session 7"
    assert TABLES["pose"].named((70, 3)) == "pose of leaf 70, second 3"
    assert TABLES["region"].named((4,)) == "epoch of region 4"


def test_blobs_do_not_run_into_numbers() -> None:
    sums = {rows.ACTION.sealed(1, 2, 3, data)[-1] for data in (b"", b"\0", b"\0\0", b"\1")}
    assert len(sums) == 4
    with pytest.raises(Exception, match=r"."):
        rows.ACTION.sealed(1 << 63, 2, 3, b"")
