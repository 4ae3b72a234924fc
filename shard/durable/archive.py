"""A world's backup as bytes: a stream of records, each with its number in its checksum. No engine is known here.

After MAGIC, each record is its length (4 bytes, little-endian), 8 bytes of blake2b over its number and its payload, and
the payload in msgpack:

* record 0, the header: ["header", FORMAT, name, seed, side_m, leaf_level, schema version, counts]. ``counts``: how many
  rows there are of each table, 8 bytes each in the order of ``TABLES``: of one length, so that the header is written
  first and once more when they are known;
* then pieces: [table, rows], each row with its own checksum;
* the trailer: ["trailer", number of pieces, counts, number of rows that were damaged and are left out].

Invariant: what a reader has passed from header to trailer is what was written, whole and in order. Not responsible for:
where rows come from and go to (``transfer``).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import Any, BinaryIO

import msgpack

from shard.durable.contract import DurableError, WorldIdentity
from shard.durable.rows import TABLES, Row

MAGIC = b"isthmus backup\n"
FORMAT = 1
PIECE_BYTES = 1 << 20
"""After so much data a piece ends."""
RECORD_BYTES_MAX = 64 << 20
"""More is no length but damage: a piece ends with the row that fills it, and no row is larger than 16 MiB."""
_LENGTH = Struct("<I")
_COUNTS = Struct(f"<{len(TABLES)}Q")
_NUMBER = Struct("<Q")


class BadArchive(DurableError):
    """The file is no backup, or not whole. Says which record (the header is 0)."""

    def __init__(self, record: int, why: str) -> None:
        super().__init__(f"record {record}: {why}; nothing of this file was restored")
        self.record = record


@dataclass(frozen=True, slots=True)
class Header:
    """Whose backup it is, and what is in it."""

    world: WorldIdentity
    version: int
    counts: dict[str, int]


class ArchiveWriter:
    """Writes one backup into a file that can seek."""

    def __init__(self, file: BinaryIO, world: WorldIdentity, version: int) -> None:
        self._file = file
        self._world = world
        self._version = version
        self._counts: Counter[str] = Counter()
        self._records = 0
        file.write(MAGIC)
        self._write(self._header())

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each table, so far."""
        return {name: self._counts[name] for name in TABLES}

    def add(self, table: str, rows: Iterable[Row]) -> None:
        """Write rows of one table, in pieces."""
        piece: list[Row] = []
        size_bytes = 0
        for row in rows:
            piece.append(row)
            size_bytes += 64 + (len(row[-2]) if TABLES[table].blob else 0)
            if size_bytes >= PIECE_BYTES:
                self._write([table, piece])
                piece, size_bytes = [], 0
            self._counts[table] += 1
        if piece:
            self._write([table, piece])

    def end(self, damaged: int) -> None:
        """Write the trailer, and the header anew."""
        self._write(["trailer", self._records - 1, self._packed_counts(), damaged])
        self._file.seek(len(MAGIC))
        self._records = 0
        self._write(self._header())

    def _header(self) -> list[Any]:
        world = self._world
        identity = [world.name, str(world.seed), float(world.side_m), world.leaf_level]
        return ["header", FORMAT, *identity, self._version, self._packed_counts()]

    def _packed_counts(self) -> bytes:
        return _COUNTS.pack(*self.counts.values())

    def _write(self, record: list[Any]) -> None:
        payload = msgpack.packb(record)
        self._file.write(_LENGTH.pack(len(payload)) + _digest(self._records, payload) + payload)
        self._records += 1


def read_header(file: BinaryIO) -> Header:
    """From the beginning of the file; what follows is for :func:`read_pieces`. Raises BadArchive."""
    if file.read(len(MAGIC)) != MAGIC:
        raise BadArchive(0, "this is no backup of a world")
    match _read(file, 0):
        case ["header", int(form), *_] if form != FORMAT:
            raise BadArchive(
                0, f"the backup has format {form} and this program reads {FORMAT}: use the one that wrote it"
            )
        case ["header", _, str(name), str(seed), float(side_m), int(leaf_level), int(version), bytes(packed)]:
            try:
                world = WorldIdentity(name, int(seed), side_m, leaf_level)
                return Header(world, version, _counts(packed))
            except ValueError as error:
                raise BadArchive(0, f"the header makes no sense ({error})") from error
        case _:
            raise BadArchive(0, "it is no header")


def read_pieces(file: BinaryIO, header: Header) -> Iterator[tuple[str, list[Row]]]:
    """All rows, each checked, up to the trailer and the file's end. Raises BadArchive."""
    counts: Counter[str] = Counter()
    number = 0
    while True:
        number += 1
        match _read(file, number):
            case ["trailer", int(pieces), bytes(packed), int()]:
                if pieces != number - 1 or _counts(packed) != header.counts or _differ(counts, header.counts):
                    raise BadArchive(number, "header, trailer and what is between do not agree")
                if file.read(1):
                    raise BadArchive(number + 1, "something follows the trailer")
                return
            case [str(name), list(found)] if name in TABLES:
                rows = [tuple(row) for row in found]
                for row in rows:
                    if (problem := TABLES[name].problem(row)) is not None:
                        raise BadArchive(number, f"{TABLES[name].named(row[: TABLES[name].key])}: {problem}")
                counts[name] += len(rows)
                yield name, rows
            case _:
                raise BadArchive(number, "it is neither rows nor a trailer")


def _read(file: BinaryIO, number: int) -> Any:
    head = file.read(_LENGTH.size + 8)
    if not head:
        raise BadArchive(number, "the file was cut: its trailer is missing")
    if len(head) < _LENGTH.size + 8:
        raise BadArchive(number, "the file was cut")
    (length,) = _LENGTH.unpack_from(head)
    if length > RECORD_BYTES_MAX:
        raise BadArchive(number, f"its length ({length} bytes) cannot be right")
    payload = file.read(length)
    if len(payload) < length:
        raise BadArchive(number, "the file was cut, or the record's length was changed")
    if _digest(number, payload) != head[_LENGTH.size :]:
        raise BadArchive(number, "the checksum does not fit")
    return msgpack.unpackb(payload, strict_map_key=False)


def _digest(number: int, payload: bytes) -> bytes:
    return blake2b(_NUMBER.pack(number) + payload, digest_size=8, person=b"backup").digest()


def _counts(packed: bytes) -> dict[str, int]:
    if len(packed) != _COUNTS.size:
        raise ValueError("other tables than this program knows")
    return dict(zip(TABLES, _COUNTS.unpack(packed), strict=True))


def _differ(counts: Mapping[str, int], expected: Mapping[str, int]) -> bool:
    return any(counts.get(name, 0) != expected[name] for name in TABLES)
