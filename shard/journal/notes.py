"""A region's note: what is nobody's, as bytes; and the departures in it, which are said again after a crash.

Decides which of them are void: a prepare is taken back, since whom it was for is here again; of a commit those are
left out who have gone on, with a newer hop, from where it brought them. Not responsible for: what is in a note
(``journal``), what becomes of it (``restore``).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from protocol.border import Cancel, Commit, Prepare, decode_item, encode_item
from protocol.codes import ProtocolViolation
from protocol.messages import unpack
from shard.behaviours.timers import TIMER
from shard.durable.contract import Loaded

NOTE_FORMAT = 1
NOTE_BYTES_MAX = 1 << 28


def read_note(data: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    try:
        note = unpack(data, NOTE_BYTES_MAX)
    except ProtocolViolation as error:
        raise ValueError(str(error)) from None
    if not isinstance(note, dict) or note.get("format") != NOTE_FORMAT:
        raise ValueError(f"it is not of format {NOTE_FORMAT}")
    return note


def next_id(loaded: Loaded) -> int:
    """All entity ids that were given, as far as it was written down, are below."""
    given = [row.id + 1 for row in loaded.entities]
    for entry in loaded.notes:
        try:
            given += [first for first, _ in read_note(entry.data)["ids"]]
        except ValueError:
            continue  # whoever loads it names it
    return max([*given, 1])


def leaving(loaded: Loaded) -> tuple[int, ...]:
    """Ids of all who were on their way to a neighbour, and may not have been durable there."""
    found: set[int] = set()
    for entry in loaded.notes:
        try:
            note = read_note(entry.data)
        except ValueError:
            continue  # whoever loads it names it
        for _, channel in note["links"]["neighbours"]:
            found |= carried(channel[2])
    return tuple(sorted(found))


def carried(items: Iterable[bytes]) -> set[int]:
    """Ids of all who are in commits."""
    return {id_ for commit in _commits(items) for id_ in _column(commit, "id")}


def still_true(items: Iterable[bytes], hops: Mapping[int, int]) -> list[bytes]:
    """Items of a predecessor in the order of its numbers. ``hops``: how far those have come who were leaving."""
    out: list[bytes] = []
    for data in items:
        item = _decoded(data)
        if isinstance(item, Prepare):
            out.append(encode_item(Cancel(item.handover)))
        elif isinstance(item, Commit):
            out.append(_without_those_gone_on(item, data, hops))
        else:
            out.append(data)
    return out


def _without_those_gone_on(item: Commit, data: bytes, hops: Mapping[int, int]) -> bytes:
    ids = np.array(_column(item, "id"), np.uint64)
    known = np.array([hops.get(id_, -1) for id_ in ids.tolist()], np.int64)
    keep = known < np.array(_column(item, "hop"), np.int64)
    if keep.all():
        return data
    if not keep.any():
        return encode_item(Cancel(item.handover))
    stay = set(ids[keep].tolist())
    sessions = set(np.array(_column(item, "o.session"), np.uint64)[keep].tolist())
    timers = np.frombuffer(item.timers, TIMER)
    columns = [
        (name, dtype, np.frombuffer(raw, np.uint8).reshape(item.rows, -1)[keep].tobytes())
        for name, dtype, raw in item.columns
    ]
    return encode_item(
        Commit(
            item.handover,
            int(keep.sum()),
            columns,
            timers[np.isin(timers["id"], ids[keep])].tobytes(),
            [id_ for id_ in item.entered if id_ in stay],
            [(topic, [i for i in to if i in stay], payload) for topic, to, payload in item.messages],
            [entry for entry in item.answers if entry[0] in sessions],
        )
    )


def _commits(items: Iterable[bytes]) -> Iterator[Commit]:
    return (item for item in map(_decoded, items) if isinstance(item, Commit))


def _decoded(data: bytes) -> Any:
    try:
        return decode_item(data)
    except ProtocolViolation:
        return None


def _column(commit: Commit, wanted: str) -> list[int]:
    for name, dtype, data in commit.columns:
        if name == wanted:
            values: list[int] = np.frombuffer(data, dtype).tolist()
            return values
    return []
