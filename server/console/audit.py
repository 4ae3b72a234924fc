"""What operators did, as a chain of lines: each holds the digest of all before it, so that a line that was altered,
taken out or put in is found.

Decides what a line is and when a chain holds. An action has two lines: *asked*, on the disk before anything is done,
and *done* or *failed* with what came of it (``of`` names the first). A line is a JSON object with sorted keys; its
``digest`` is SHA-256 over the digest before and the line without its own. What a chain cannot tell is that its end was
cut off; so each digest is logged as well. Not responsible for: files (``isthmus.console.log``).
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

BEGIN = "0" * 64
"""Before the first line."""
LINE_BYTES_MAX = 16_384
ASKED, DONE, FAILED = "asked", "done", "failed"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line. ``number`` counts from 1; ``at``: UTC, ISO 8601; ``what``: the request as it was read; ``result``: what
    came of it, in words; ``of``: the number of the *asked* line, or 0."""

    number: int
    at: str
    operator: str
    how: str
    state: str
    what: dict[str, Any]
    result: str
    of: int
    before: str
    digest: str = ""


class Altered(Exception):
    """A chain does not hold; ``line`` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line


@dataclass(slots=True)
class Chain:
    """Where a log has come to."""

    number: int = 0
    digest: str = BEGIN

    def next(
        self, at: str, operator: str, how: str, state: str, what: dict[str, Any], result: str = "", of: int = 0
    ) -> tuple[Entry, bytes]:
        """The next entry and its line. It counts when it is written: then call :meth:`written`."""
        open_entry = Entry(self.number + 1, at, operator, how, state, what, result, of, self.digest)
        entry = msgspec.structs.replace(open_entry, digest=_digest(open_entry))
        return entry, msgspec.json.encode(entry, order="sorted") + b"\n"

    def written(self, entry: Entry) -> None:
        """The entry is on the disk."""
        self.number, self.digest = entry.number, entry.digest


def _digest(entry: Entry) -> str:
    body = msgspec.json.encode(msgspec.structs.replace(entry, digest=""), order="sorted")
    return hashlib.sha256(entry.before.encode() + body).hexdigest()


def read_chain(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of a log, each checked. Raises Altered."""
    chain = Chain()
    for number, line in enumerate(lines, 1):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Altered(number, f"this is no entry of a log: {error}") from None
        if entry.number != chain.number + 1 or entry.before != chain.digest:
            raise Altered(number, "it does not follow the line before: one was altered, taken out or put in")
        if _digest(entry) != entry.digest or msgspec.json.encode(entry, order="sorted") != line.rstrip(b"\n"):
            raise Altered(number, "it was altered: its digest is another")
        chain.written(entry)
        yield entry
