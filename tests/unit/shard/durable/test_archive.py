"""The format of backups: what was written comes back, and no damage passes."""

import io
import itertools

import pytest

from shard.durable import archive, rows
from shard.durable.archive import ArchiveWriter, BadArchive, Header
from shard.durable.contract import ActionRow, EntityRow, PoseRow, WorldIdentity
from shard.durable.rows import TABLES, Row
from shard.durable.spans import Span

WORLD = WorldIdentity("harbour", 1 << 70, 1024.0, 3)
ROWS: dict[str, list[Row]] = {
    "entity": [rows.entity(EntityRow(n, 1, 64, bytes([n]) * 9)) for n in range(5)] + [rows.tombstone(99, 3, 4)],
    "pose": [rows.pose(PoseRow(64, 3, b"pose"))],
    "session": [],
    "action": [rows.action(ActionRow(7, 1, 2, b"yes"))],
    "region": [rows.region(1, 2, 3, Span(64, 127))],
    "note": [rows.note(1, 3, Span(64, 127), b"owed")],
}


def written() -> bytes:
    """A small backup, every table in it."""
    file = io.BytesIO()
    writer = ArchiveWriter(file, WORLD, 2)
    for name, found in ROWS.items():
        writer.add(name, found[:2])
        writer.add(name, found[2:])
    writer.end(0)
    return file.getvalue()


def read(data: bytes) -> tuple[Header, dict[str, list[Row]]]:
    """All of it."""
    file = io.BytesIO(data)
    header = archive.read_header(file)
    found: dict[str, list[Row]] = {name: [] for name in TABLES}
    for name, piece in archive.read_pieces(file, header):
        found[name] += piece
    return header, found


def test_what_was_written_comes_back() -> None:
    header, found = read(written())
    assert header == Header(WORLD, 2, {name: len(those) for name, those in ROWS.items()})
    assert found == ROWS


def test_no_flipped_bit_passes() -> None:
    data = written()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        with pytest.raises(BadArchive, match=r"record \d+: .*nothing of this file was restored"):
            read(bytes(changed))


def test_no_cut_passes() -> None:
    data = written()
    for size in range(len(data)):
        with pytest.raises(BadArchive):
            read(data[:size])
    with pytest.raises(BadArchive, match="something follows"):
        read(data + b"x")


def test_the_record_is_named() -> None:
    data = bytearray(written())
    data[data.index(b"pose\x03") if b"pose\x03" in data else data.index(b"yes")] ^= 1
    with pytest.raises(BadArchive, match=r"^record [1-9]\d*: the checksum does not fit"):
        read(bytes(data))


def test_records_that_changed_places_are_found() -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file, WORLD, 2)
    marks = []
    for found in (ROWS["entity"][:1], ROWS["entity"][1:2]):
        marks.append(file.tell())
        writer.add("entity", found)
    marks.append(file.tell())
    writer.end(0)
    data = file.getvalue()
    first, second = (data[a:b] for a, b in itertools.pairwise(marks))
    assert len(first) == len(second)
    with pytest.raises(BadArchive, match="record 1: the checksum"):
        read(data[: marks[0]] + second + first + data[marks[2] :])


def test_large_rows_are_cut_into_pieces() -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file, WORLD, 2)
    large = [rows.entity(EntityRow(n, 1, 64, bytes(300_000))) for n in range(9)]
    writer.add("entity", large)
    writer.end(0)
    opened = io.BytesIO(file.getvalue())
    pieces = [len(piece) for _, piece in archive.read_pieces(opened, archive.read_header(opened))]
    assert sum(pieces) == 9
    assert max(pieces) < 9


@pytest.mark.parametrize("data", [b"", b"isthmus", b"PK\3\4 something else", b"SQLite format 3\0"])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadArchive, match="this is no backup"):
        read(data)
