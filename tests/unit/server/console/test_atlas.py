"""The operators' map of a large world: 100 shards, 100,000 entities, 10,000 sessions, told in a bounded answer."""

import base64
from typing import Any

import msgspec
import numpy as np

from cluster.book import Book
from cluster.moves import Moves
from cluster.records import (
    GATEWAY,
    SHARD,
    AskRecord,
    MemberRecord,
    RegionRecord,
    WishRecord,
    ask_key,
    drain_key,
    member_key,
    region_key,
    wish_key,
    write,
)
from cluster.regions import Layout
from cluster.store.contract import Record, Relisted
from protocol.layouts import GRID_PER_M
from server.console.atlas import ACROSS, REGIONS_MAX, Window, atlas, cells
from server.console.history import KEPT, SERIES, History

SHARDS = 100
ENTITIES = 100_000


def _book(level: int) -> Book:
    layout = Layout(16_384.0, level)
    rng = np.random.default_rng(1)
    regions = layout.all()
    owners = rng.integers(0, SHARDS, len(regions))
    held = np.bincount(rng.integers(0, len(regions), ENTITIES), minlength=len(regions))
    records: dict[str, tuple[bytes, int | None]] = {}
    for k in range(SHARDS):
        mine = [(region, int(count)) for region, owner, count in zip(regions, owners, held, strict=True) if owner == k]
        record = MemberRecord(
            SHARD, "l", load=0.4, regions={region: 0.01 + count / 1e5 for region, count in mine},
            held={region: (count, 20.0 * count) for region, count in mine},
        )  # fmt: skip
        records[member_key(f"shard-{k}")] = write(record), k + 1
    for k in range(4):
        seen = dict.fromkeys(regions[k::4], 3.0)
        records[member_key(f"gateway-{k}")] = (
            write(MemberRecord(GATEWAY, "l", url="http://g/", load=0.5, sessions=2500, regions=seen)), 1000 + k
        )  # fmt: skip
    for region, owner in zip(regions, owners.tolist(), strict=True):
        records[region_key(region)] = write(RegionRecord(f"shard-{owner}", owner + 1, 7)), None
    records[drain_key("shard-3")] = b"", 4
    records[ask_key(regions[0])] = write(AskRecord("shard-5")), 9
    records[wish_key(regions[1])] = write(WishRecord("split")), 9
    book = Book()
    book.watched(Relisted(1, tuple(Record(key, value, 1, 1, lease) for key, (value, lease) in records.items())))
    return book


def test_a_large_world_is_told_in_a_bounded_answer() -> None:
    book = _book(level=5)  # 1,024 regions
    told = atlas(book, Moves(), dict.fromkeys(list(book.regions)[:50], 1), "gateway-0", 20, 1.0)
    rng = np.random.default_rng(2)
    x, z = (rng.integers(-8192 * GRID_PER_M, 8192 * GRID_PER_M, ENTITIES, dtype=np.int32) for _ in range(2))
    heat = cells(x, z, Window(-8192.0, -8192.0, 16_384.0))
    assert told["entities"] == ENTITIES
    assert told["regions_total"] == len(told["regions"]["region"]) == 1024
    assert sum(told["regions"]["entities"]) == ENTITIES
    assert len(told["shards"]) == SHARDS
    assert told["without_owner"] == 0
    assert [shard["name"] for shard in told["shards"] if shard["draining"]] == ["shard-3"]
    assert sum(gateway["sessions"] for gateway in told["gateways"]) == 10_000
    assert sum(told["regions"]["mirrored"]) == 50
    size = len(msgspec.json.encode({**told, "cells": heat}))
    assert size < 80_000, "a line of 1 Mbit/s carries it once a second"


def test_more_regions_than_are_shown_are_counted_and_those_without_an_owner_come_first() -> None:
    book = _book(level=7)  # 16,384
    gone = "shard-9"
    del book.members[gone]
    lost = sum(owner.record.owner == gone for owner in book.regions.values())
    told = atlas(book, Moves(), {}, "gateway-0", 20, 1.0)
    assert told["regions_total"] == 16_384
    assert len(told["regions"]["region"]) == REGIONS_MAX
    assert told["without_owner"] == lost
    assert all(owner == -1 for owner in told["regions"]["owner"][:lost])
    assert told["entities"] < ENTITIES, "nobody knows what those hold"


def _counts(heat: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(heat["counts"]), "<u2").reshape(ACROSS, ACROSS)


def test_cells_count_what_is_in_the_window_and_nothing_else() -> None:
    window = Window(0.0, -64.0, 64.0)  # a metre a cell
    places = np.array([[0.0, -64.0], [0.99, -63.01], [63.99, -0.01], [64.0, -1.0], [10.0, 0.0], [-0.01, -5.0]])
    x, z = (np.round(places[:, k] * GRID_PER_M).astype(np.int32) for k in range(2))
    counts = _counts(cells(x, z, window))
    assert counts.sum() == 3
    assert counts[0, 0] == 2
    assert counts[63, 63] == 1
    many = np.zeros(70_000, np.int32)
    assert _counts(cells(many, many, Window(-1.0, -1.0, 2.0))).max() == 65_535


def test_an_hour_of_samples_is_kept_and_each_is_told_once() -> None:
    history = History()
    for k in range(KEPT + 30):
        history.add(1000.0 + 5 * k, {name: float(k) for name in SERIES})
    first = history.since(0)
    assert first["first"] == 30
    assert first["next"] == KEPT + 30
    assert len(first["at_s"]) == KEPT
    assert first["series"]["sessions"][0] == 30.0
    assert first["series"]["sessions"][-1] == KEPT + 29
    assert history.since(first["next"])["at_s"] == []
    assert history.since(first["next"] - 2)["series"]["load_max"] == [KEPT + 28.0, KEPT + 29.0]
    assert history.since(10**18)["at_s"] == []
    assert len(msgspec.json.encode(first)) < 100_000
