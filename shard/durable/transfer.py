"""Backup and restore of a world's durable store, also from one engine to the other.

``backup`` writes one moment of the store, while others go on using it, beside the file and gives it its name when it
is whole and on the disk. ``restore`` reads the file twice: all of it is verified before anything is written, and then
it is written in one transaction, into a store that holds nothing.

Not responsible for: the file's format (``archive``), where a command takes URL and world from.
"""

import os
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from shard.durable import archive
from shard.durable.contract import Damage, Durable, DurableError, Incompatible, WorldIdentity
from shard.durable.opening import open_durable
from shard.durable.rows import Row
from shard.durable.schema import VERSION, compare_identity


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was written: rows by table, and what the store had but could not serve any more."""

    counts: dict[str, int]
    damage: list[Damage]


@runtime_checkable
class Movable(Durable, Protocol):
    """A store whose rows can be taken out and put in as they are."""

    def dump(self) -> AsyncGenerator[tuple[str, list[Row], list[Damage]], None]:
        """All sound rows of one moment in pieces, and what is damaged."""

    async def fill(self, pieces: Iterable[tuple[str, list[Row]]]) -> None:
        """Write rows as they are, all or none. Raises NotEmpty."""


async def backup(url: str, world: WorldIdentity, file: Path) -> Transferred:
    """Write the world's store into ``file``, which must not exist.

    Rows that are damaged are left out and named in the result. Raises what opening a store raises, and OSError.
    """
    _refuse_to_replace(file)
    beside = file.with_name(f"{file.name}.partial")
    store = _movable(await open_durable(url, world, make=False), url)
    try:
        return await _write(store, world, beside, file)
    finally:
        beside.unlink(missing_ok=True)
        await store.close()


async def restore(file: Path, url: str, world: WorldIdentity | None = None) -> Transferred:
    """Write ``file`` into an empty store, made if there is none; if ``world`` is given, only if it is that world's.

    Raises ``archive.BadArchive`` for a file that is not whole, NotEmpty, what opening a store raises, and OSError.
    """
    header = verify(file)
    if world is not None:
        compare_identity(header.world, world)
    store = _movable(await open_durable(url, header.world), url)
    try:
        await store.fill(_pieces(file, header))
    finally:
        await store.close()
    return Transferred(header.counts, [])


def verify(file: Path) -> archive.Header:
    """Read all of a backup. Raises ``archive.BadArchive`` and Incompatible."""
    with file.open("rb") as opened:
        header = archive.read_header(opened)
        if header.version != VERSION:
            raise Incompatible(
                f"{file} has schema version {header.version} and this program restores {VERSION}: restore it with the "
                "program that wrote it, and open that store with this one"
            )
        for _ in archive.read_pieces(opened, header):
            pass
    return header


def _pieces(file: Path, expected: archive.Header) -> Iterable[tuple[str, list[Row]]]:
    """The rows, verified once more as they are written: a transaction takes back what turns out to have changed."""
    with file.open("rb") as opened:
        header = archive.read_header(opened)
        if header != expected:
            raise archive.BadArchive(0, "the file was changed while it was read")
        yield from archive.read_pieces(opened, header)


async def _write(store: Movable, world: WorldIdentity, beside: Path, file: Path) -> Transferred:
    damage: list[Damage] = []
    with beside.open("wb") as opened:
        writer = archive.ArchiveWriter(opened, world, VERSION)
        async for table, rows, damaged in store.dump():
            writer.add(table, rows)
            damage += damaged
        writer.end(len(damage))
        opened.flush()
        os.fsync(opened.fileno())
    _give_name(beside, file)
    return Transferred(writer.counts, damage)


def _give_name(beside: Path, file: Path) -> None:
    """Durably: the folder is flushed too."""
    _refuse_to_replace(file)
    beside.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refuse_to_replace(file: Path) -> None:
    if os.path.lexists(file):
        raise DurableError(f"{file} exists already: a backup is not written over anything")


def _movable(store: Durable, url: str) -> Movable:
    if isinstance(store, Movable):
        return store
    raise Incompatible(f"a store at {url!r} lives in one process alone: there is nothing to back up or restore")
