"""The map that operators see: members, regions as columns, and how many entities are in each cell of a window.

A pure function of what a gateway knows. Invariants: the answer is bounded whatever the world holds (REGIONS_MAX
regions, those with the highest load; CELLS cells), and entities are never told one by one. Not responsible for:
drawing."""

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.book import Book, Member
from cluster.moves import Moves
from cluster.records import GATEWAY, SHARD
from protocol.layouts import GRID_PER_M

REGIONS_MAX = 4096
MOVES_SHOWN = 12
MEMBERS_MAX = 512
ACROSS = 64
CELLS = ACROSS * ACROSS
"""Cells of a window."""
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Window:
    """A square of the ground plane: its least corner and its side, metres."""

    x_m: float
    z_m: float
    side_m: float


def atlas(
    book: Book, moves: Moves, mirrored: Mapping[int, int], here: str, rate_hz: int, now_s: float
) -> dict[str, Any]:
    """Members and regions. ``mirrored``: regions that this gateway mirrors; ``here``: its own name."""
    owned: Counter[str] = Counter()
    seen_by: Counter[int] = Counter()
    for gateway in book.gateways():
        seen_by.update({region: int(count) for region, count in gateway.record.regions.items()})
    shards = book.shards()[:MEMBERS_MAX]
    index = {member.name: k for k, member in enumerate(shards)}
    rows = []
    entities = 0
    for region, entry in book.regions.items():
        owner = book.owner(region)
        load, held = 0.0, (0, 0.0)
        if owner is not None:
            owned[owner.name] += 1
            load, held = owner.record.regions.get(region, 0.0), owner.record.held.get(region, held)
        entities += held[0]
        rows.append((
            load, region, -1 if owner is None else index.get(owner.name, -1), entry.record.epoch, held[0],
            round(load * 1000 / rate_hz, 2), round(held[1]), seen_by[region], int(region in mirrored),
        ))  # fmt: skip
    rows.sort(key=lambda row: (row[2] >= 0, -row[0]))  # who is without an owner is told first
    columns = list(zip(*rows[:REGIONS_MAX], strict=True)) if rows else [()] * 9
    names = ("region", "owner", "epoch", "entities", "tick_ms", "bytes_per_s", "seen_by", "mirrored")
    return {
        "shards": [_shard(member, book, owned[member.name]) for member in shards],
        "gateways": [_gateway(member, book, here) for member in book.gateways()[:MEMBERS_MAX]],
        "placers": [
            {"name": m.name, "places": book.placer == f"{m.name}/{m.lease:x}", "draining": m.record.draining}
            for _, m in sorted(book.members.items())
            if m.record.kind not in (SHARD, GATEWAY)
        ][:MEMBERS_MAX],
        "regions": dict(zip(names, columns[1:], strict=True)),
        "regions_total": len(rows),
        "entities": entities,
        "without_owner": sum(row[2] < 0 for row in rows),
        "asks": [[region, to] for region, to in sorted(book.asks.items())][:MEMBERS_MAX],
        "wishes": [[cell, what] for cell, what in sorted(book.wishes.items())][:MEMBERS_MAX],
        "moves": [
            {
                "region": moved.region, "from": moved.source, "to": moved.target, "how": str(moved.how),
                "ago_s": round(now_s - moved.at_s, 1),
            }
            for moved in list(reversed(moves.recent))[:MOVES_SHOWN]
        ],
    }  # fmt: skip


def cells(x: I32, z: I32, window: Window) -> dict[str, Any]:
    """How many of the places ``x``, ``z`` (grid units, int32[n]) are in each cell of a window: ``counts`` is uint16
    [ACROSS, ACROSS], little-endian, rows along Z, in base64."""
    per_unit = ACROSS / (window.side_m * GRID_PER_M)
    i = np.floor((x - window.x_m * GRID_PER_M) * per_unit)
    k = np.floor((z - window.z_m * GRID_PER_M) * per_unit)
    inside = (i >= 0) & (i < ACROSS) & (k >= 0) & (k < ACROSS)
    at = (k[inside] * ACROSS + i[inside]).astype(np.int64)
    counts = np.minimum(np.bincount(at, minlength=CELLS), 65_535).astype("<u2")
    return {
        "x_m": window.x_m,
        "z_m": window.z_m,
        "side_m": window.side_m,
        "across": ACROSS,
        "counts": base64.b64encode(counts.tobytes()).decode(),
    }


def _shard(member: Member, book: Book, regions: int) -> dict[str, Any]:
    record = member.record
    return {
        "name": member.name,
        "load": record.load,
        "regions": regions,
        "entities": sum(count for count, _ in record.held.values()),
        "bytes_per_s": round(sum(rate for _, rate in record.held.values())),
        "draining": record.draining or (member.name, member.lease) in book.drains,
        "durable_away": record.durable_away,
    }


def _gateway(member: Member, book: Book, here: str) -> dict[str, Any]:
    record = member.record
    return {
        "name": member.name,
        "load": record.load,
        "sessions": record.sessions,
        "bytes_per_s": round(record.bytes_per_s),
        "draining": record.draining or (member.name, member.lease) in book.drains,
        "url": record.url,
        "here": member.name == here,
    }
