"""Rows that nobody uses take no memory, also after all of them were looked at and cleared."""

import re
from pathlib import Path

import numpy as np

from kernels.layout import SLOT
from kernels.sparse import PAGE_BYTES, clear, sparse_zeros

ROWS, COLUMNS = 4000, 1000


def resident_bytes(array: np.ndarray) -> int:
    """What of an array is in memory, as the kernel says."""
    address = array.__array_interface__["data"][0]
    at = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if found:
            at = int(found[1], 16) <= address < int(found[2], 16)
        elif at and line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the array is nowhere")


def test_only_touched_pages_are_there() -> None:
    rows = sparse_zeros((ROWS, COLUMNS), SLOT)
    before = resident_bytes(rows)
    assert not rows.view(np.uint8).any()
    for row in rows:
        clear(row)
    assert resident_bytes(rows) - before <= 2 * PAGE_BYTES
    rows[7]["row"] = 5
    assert resident_bytes(rows) - before >= COLUMNS * SLOT.itemsize - PAGE_BYTES


def test_a_cleared_row_is_zero_and_its_neighbours_are_not() -> None:
    rows = sparse_zeros((3, 3 * PAGE_BYTES // 4 + 5), np.uint32)
    rows[:] = 1
    clear(rows[1])
    assert not rows[1].any()
    assert rows[0].all()
    assert rows[2].all()


def test_small_arrays_are_plain() -> None:
    small = sparse_zeros(3, np.int64)
    small[:] = 1
    assert small.tolist() == [1, 1, 1]
