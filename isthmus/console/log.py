"""The file of what operators did: a chain of lines (``server.console.audit``), appended to and never changed.

Invariants: an entry counts when it is on the disk (fsync); entries are written one after the other; a log that does not
hold is never written on. What a crash left half-written at the end was never answered, and is cut off. Not responsible
for: what an entry says.
"""

import asyncio
import fcntl
import os
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from server.console.audit import Altered, Chain, Entry, read_chain

_log = structlog.get_logger(__name__)
EXIT_ALTERED = 1
SHOWN_MAX = 1000
"""Newest entries that the console shows; all are in the file."""


class LogUnusable(Exception):
    """The log cannot be read or written; the text says what to do."""


class OperatorLog:
    """One gateway's. Two processes never write one file: ``file`` is a descriptor that holds its lock (flock(2))."""

    def __init__(self, path: Path, file: int, chain: Chain, newest: deque[Entry]) -> None:
        self.path = path
        self.newest = newest
        self._file = file
        self._chain = chain
        self._lock = asyncio.Lock()

    @classmethod
    def open(cls, path: Path) -> "OperatorLog":
        """The log at ``path``, made if there is none. Raises LogUnusable."""
        file = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, file, *_read(path, file))
        except BlockingIOError as problem:
            os.close(file)
            raise LogUnusable(
                f"console.log_path: another process writes {path}: each gateway needs a file of its own. Leave the "
                "option out to have them named after the gateways"
            ) from problem
        except Altered as problem:
            os.close(file)
            raise LogUnusable(
                f"console.log_path: {path}, {problem}. Keep that file, find out who changed it, and give another path"
            ) from problem
        except OSError as problem:
            raise LogUnusable(f"console.log_path: {problem}") from problem

    def close(self) -> None:
        """Another process may go on with the file."""
        os.close(self._file)

    async def write(
        self, operator: str, how: str, state: str, what: dict[str, Any], result: str = "", of: int = 0
    ) -> Entry:
        """The next entry, once it is on the disk. Raises LogUnusable: then it is not there."""
        async with self._lock:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            entry, line = self._chain.next(at, operator, how, state, what, result, of)
            try:
                await asyncio.to_thread(_append, self.path, line)
            except OSError as problem:
                raise LogUnusable(f"{self.path} cannot be written: {problem}") from problem
            self._chain.written(entry)
        self.newest.append(entry)
        _log.info(
            "operator", operator=operator, state=state, result=result, number=entry.number, of=of, digest=entry.digest,
            **{f"what_{name}": value for name, value in what.items()},
        )  # fmt: skip
        return entry

    def before(self, number: int | None, count: int) -> list[Entry]:
        """The newest entries, or those before one; the newest first."""
        found = [entry for entry in self.newest if number is None or entry.number < number]
        return list(reversed(found[-max(1, min(count, SHOWN_MAX)) :]))


def _read(path: Path, file: int) -> tuple[Chain, deque[Entry]]:
    """Where the log has come to, and its newest entries. Raises Altered, OSError."""
    chain, newest = Chain(), deque[Entry](maxlen=SHOWN_MAX)
    whole = 0
    lines = []
    with path.open("rb") as log:
        for line in log:
            if line.endswith(b"\n"):
                whole += len(line)
                lines.append(line)
            else:
                _log.warning("operator_log_cut", path=str(path), bytes=len(line))
    for entry in read_chain(lines):
        chain.written(entry)
        newest.append(entry)
    os.ftruncate(file, whole)
    return chain, newest


def show(path: Path) -> int:
    """``isthmus audit``: prints the entries of a log as far as its chain holds. Returns the exit status."""
    number, digest = 0, ""
    try:
        with path.open("rb") as lines:
            for entry in read_chain(lines):
                number, digest = entry.number, entry.digest
                words = " ".join(f"{name}={value}" for name, value in entry.what.items())
                of = f" of {entry.of}" if entry.of else ""
                result = f": {entry.result}" if entry.result else ""
                sys.stdout.write(f"{entry.number} {entry.at} {entry.operator} {entry.state}{of} {words}{result}\n")
    except (Altered, OSError) as problem:
        sys.stderr.write(f"isthmus: {path}, {problem}. Do not believe what follows\n")
        return EXIT_ALTERED
    sys.stdout.write(f"{number} entries, none altered; the last digest is {digest or 'none'}\n")
    return 0


def _append(path: Path, line: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        size = os.fstat(file).st_size
        try:
            if os.write(file, line) != len(line):
                raise OSError(f"only a part of {len(line)} bytes was written")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)  # half an entry would break the chain for the next
            raise
    finally:
        os.close(file)
