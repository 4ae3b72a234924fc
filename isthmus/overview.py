"""What a gateway says of its whole cluster in GET /api/status: members, regions with their owners and load, moves.

A pure function of what the process knows; decides the order (what needs eyes first) and the bound. Of a region
``seen_by`` tells how many sessions of all gateways see it. Invariant: at most REGIONS_MAX regions are listed, and the
totals tell of all. Not responsible for: drawing it (``top``).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from cluster.book import Book, Member
from cluster.moves import Moves
from cluster.records import GATEWAY, KIND_PLACER, SHARD

REGIONS_MAX = 1024
_KINDS = (SHARD, GATEWAY, KIND_PLACER)


def overview(book: Book, moves: Moves, mirrored: Mapping[int, int], now_s: float) -> dict[str, Any]:
    """``mirrored``: regions that this gateway mirrors, with the epoch of the newest delta (0: none came yet)."""
    owned = Counter(owner.name for region in book.regions if (owner := book.owner(region)) is not None)
    seen_by: Counter[int] = Counter()
    for gateway in book.gateways():
        seen_by.update({region: int(count) for region, count in gateway.record.regions.items()})
    regions = [_region(region, book, mirrored, seen_by[region]) for region in book.regions]
    regions.sort(key=lambda r: (r["owner"] is not None, -(r["load"] or 0.0), -r["seen_by"], r["region"]))
    return {
        "members": [_member(member, book, owned) for member in sorted(book.members.values(), key=_rank)],
        "regions": regions[:REGIONS_MAX],
        "regions_total": len(regions),
        "regions_without_owner": sum(region["owner"] is None for region in regions),
        "moves": [
            {
                "region": moved.region,
                "from": moved.source,
                "to": moved.target,
                "epoch": moved.epoch,
                "how": str(moved.how),
                "ago_s": round(now_s - moved.at_s, 1),
            }
            for moved in reversed(moves.recent)
        ],
    }


def without_durable(book: Book) -> list[str]:
    """Shards that cannot use the durable store, by name."""
    return sorted(member.name for member in book.shards() if member.record.durable_away)


def _rank(member: Member) -> tuple[int, str]:
    kind = member.record.kind
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS), member.name


def _member(member: Member, book: Book, owned: Counter[str]) -> dict[str, Any]:
    record = member.record
    return {
        "member": member.name,
        "kind": record.kind,
        "load": None if record.kind == KIND_PLACER else record.load,
        "regions": owned[member.name] if record.kind == SHARD else None,
        "sessions": record.sessions if record.kind == GATEWAY else None,
        "draining": record.draining or (member.name, member.lease) in book.drains,
        "durable_away": record.durable_away,
        "places": book.placer == f"{member.name}/{member.lease:x}",
    }


def _region(region: int, book: Book, mirrored: Mapping[int, int], seen_by: int) -> dict[str, Any]:
    owner = book.owner(region)
    return {
        "region": region,
        "owner": None if owner is None else owner.name,
        "epoch": book.regions[region].record.epoch,
        "load": None if owner is None else owner.record.regions.get(region, 0.0),
        "seen_by": seen_by,
        "mirrored": region in mirrored,
        "mirrored_epoch": mirrored.get(region, 0),
        "asked_for": book.asks.get(region),
    }
