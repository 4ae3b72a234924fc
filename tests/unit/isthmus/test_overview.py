"""What a gateway says of its cluster: drawn from the book alone, worst first, bounded."""

from typing import Any

from cluster.book import Book
from cluster.moves import Moves
from cluster.records import (
    GATEWAY,
    KIND_PLACER,
    PLACER,
    SHARD,
    AskRecord,
    MemberRecord,
    RegionRecord,
    ask_key,
    drain_key,
    member_key,
    region_key,
    write,
)
from cluster.store.contract import Record, Relisted
from isthmus.overview import REGIONS_MAX, overview


def _book(records: dict[str, tuple[bytes, int | None]]) -> tuple[Book, Moves]:
    book, moves = Book(), Moves()
    book.watched(Relisted(1, tuple(Record(key, value, 1, 1, lease) for key, (value, lease) in records.items())))
    moves.watched(book, 10.0)
    return book, moves


def _cluster() -> dict[str, tuple[bytes, int | None]]:
    return {
        member_key("placer-0"): (write(MemberRecord(KIND_PLACER, "l")), 9),
        member_key("gateway-0"): (write(MemberRecord(GATEWAY, "l", load=0.1, sessions=7, regions={4: 5.0, 6: 2.0})), 3),
        member_key("gateway-1"): (write(MemberRecord(GATEWAY, "l", sessions=1, regions={4: 1.0})), 4),
        member_key("shard-0"): (write(MemberRecord(SHARD, "l", load=0.5, regions={4: 0.1, 5: 0.4})), 1),
        member_key("shard-1"): (write(MemberRecord(SHARD, "l")), 2),
        drain_key("shard-1"): (b"", 2),
        PLACER: (b"placer-0/9", 9),
        ask_key(5): (write(AskRecord("shard-1")), 8),
        region_key(4): (write(RegionRecord("shard-0", 1, 3)), None),
        region_key(5): (write(RegionRecord("shard-0", 1, 2)), None),
        region_key(6): (write(RegionRecord("shard-1", 1, 1)), None),  # of a life that is over
    }


def test_members_and_regions_are_told_with_owners_load_and_viewers() -> None:
    book, moves = _book(_cluster())
    told = overview(book, moves, {4: 2}, 11.0)
    assert [member["member"] for member in told["members"]] == [
        "shard-0", "shard-1", "gateway-0", "gateway-1", "placer-0"
    ]  # fmt: skip
    first, second, gateway, _, placer = told["members"]
    assert (first["load"], first["regions"], first["sessions"], first["draining"]) == (0.5, 2, None, False)
    assert (second["regions"], second["draining"]) == (0, True)
    assert (gateway["load"], gateway["regions"], gateway["sessions"]) == (0.1, None, 7)
    assert (placer["load"], placer["places"], gateway["places"]) == (None, True, False)
    assert [(r["region"], r["owner"], r["epoch"], r["load"], r["seen_by"]) for r in told["regions"]] == [
        (6, None, 1, None, 2), (5, "shard-0", 2, 0.4, 0), (4, "shard-0", 3, 0.1, 6)
    ]  # fmt: skip
    assert [(r["mirrored"], r["mirrored_epoch"], r["asked_for"]) for r in told["regions"]] == [
        (False, 0, None), (False, 0, "shard-1"), (True, 2, None)
    ]  # fmt: skip
    assert (told["regions_total"], told["regions_without_owner"], told["moves"]) == (3, 1, [])


def test_moves_are_told_newest_first() -> None:
    records = _cluster()
    book, moves = _book(records)
    for revision, (region, owner, lease, epoch, move) in enumerate(
        ((5, "shard-1", 2, 3, 77), (6, "shard-0", 1, 2, 0)), 2
    ):
        records[region_key(region)] = write(RegionRecord(owner, lease, epoch, move)), None
        book.watched(Relisted(revision, tuple(Record(k, v, 1, 1, lease) for k, (v, lease) in records.items())))
        moves.watched(book, 10.0 + revision)
    assert overview(book, moves, {}, 20.0)["moves"] == [
        {"region": 6, "from": "shard-1", "to": "shard-0", "epoch": 2, "how": "lost", "ago_s": 7.0},
        {"region": 5, "from": "shard-0", "to": "shard-1", "epoch": 3, "how": "planned", "ago_s": 8.0},
    ]


def test_a_large_world_lists_the_heaviest_regions_and_counts_all() -> None:
    count = REGIONS_MAX + 50
    loads = {region: region / 8192 for region in range(4096, 4096 + count)}
    records: dict[str, tuple[bytes, int | None]] = {
        member_key("shard-0"): (write(MemberRecord(SHARD, "l", regions=loads)), 1)
    }
    records |= {region_key(region): (write(RegionRecord("shard-0", 1, 1)), None) for region in loads}
    told: dict[str, Any] = overview(*_book(records), {}, 11.0)
    assert (len(told["regions"]), told["regions_total"]) == (REGIONS_MAX, count)
    assert told["regions"][0]["region"] == 4095 + count
