"""The live view draws whatever a server says, also nothing."""

from io import StringIO
from typing import Any

from rich.console import Console

from isthmus.top import ago, amount, draw, number


def shown(status: dict[str, object], before: dict[str, object] | None = None) -> str:
    console = Console(width=120, file=StringIO())
    console.print(draw(status, before))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_figures_are_drawn() -> None:
    text = shown(
        {
            "world": "helsinki",
            "tick": 12345,
            "rate_hz": 20,
            "uptime_s": 4000,
            "sessions": 200,
            "tick_ms": {"p50": 3.25, "p99": 9.0, "max": 30.0},
            "phases_s": {"physics": 3.0},
            "bytes_out": 2_234_567,
            "rejected": {"name_taken": 2, "full": 7},
            "regions": [{"region": 1, "entities": 1200}],
        },
        {"uptime_s": 3999, "tick": 12325, "phases_s": {"physics": 2.975}, "bytes_out": 1_000_000},
    )
    for part in ("helsinki", "12,345", "1:06:40", "1.2 MB/s", "1.25 ms", "full 7   name_taken 2", "1,200"):
        assert part in text


def test_missing_figures_are_dashes() -> None:
    assert "ticks merged –" in shown({})
    assert number(None) == amount(None) == "–"
    assert amount(5e9) == "5.00 GB/s"


CLUSTER: dict[str, Any] = {
    "world": "helsinki",
    "member": "gateway-0",
    "members": [
        {"member": "shard-0", "kind": "shard", "load": 0.42, "regions": 3, "sessions": None, "draining": False},
        {"member": "shard-1", "kind": "shard", "load": 0.05, "regions": 0, "sessions": None, "draining": True},
        {"member": "gateway-0", "kind": "gateway", "load": 0.1, "regions": None, "sessions": 1234, "draining": False},
        {"member": "placer-0", "kind": "placer", "load": None, "regions": None, "sessions": None, "places": True},
    ],
    "regions": [
        {"region": 6, "owner": None, "epoch": 4, "load": None, "seen_by": 0, "mirrored": False},
        {"region": 21, "owner": "shard-0", "epoch": 2, "load": 0.3, "seen_by": 17, "mirrored": True,
         "mirrored_epoch": 1},
        {"region": 22, "owner": "shard-0", "epoch": 1, "load": 0.2, "seen_by": 2, "mirrored": True, "mirrored_epoch": 1,
         "asked_for": "shard-1"},
    ],
    "regions_total": 900,
    "regions_without_owner": 1,
    "moves": [
        {"region": 21, "from": "shard-1", "to": "shard-0", "epoch": 2, "how": "planned", "ago_s": 3.2},
        {"region": 6, "from": "shard-1", "to": "shard-0", "epoch": 4, "how": "lost", "ago_s": 240.0},
    ],
}  # fmt: skip


def lines(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_a_cluster_is_drawn_with_members_regions_and_moves() -> None:
    text = shown(CLUSTER)
    assert lines(text, "2 shards, 1 gateway, 1 placer")
    assert lines(text, "shard-0", "42 %")
    assert lines(text, "shard-1", "5.0 %", "draining")
    assert lines(text, "gateway-0", "1,234", "this one")
    assert lines(text, "placer-0", "places")
    assert lines(text, "900 regions, 1 without an owner")
    assert lines(text, " 6 ", "nobody")
    assert lines(text, "21", "shard-0", "30 %", "17", "waits for its new owner")
    assert lines(text, "22", "shard-0 → shard-1", "20 %", "mirrored")
    assert lines(text, "and 897 more")
    assert lines(text, "21", "shard-1", "→", "shard-0", "planned", "3 s ago")
    assert lines(text, "shard-1", "shard-0", "lost", "4 min ago")


def test_no_table_has_more_rows_than_there_is_room_for() -> None:
    many = {
        **CLUSTER,
        "regions": [{"region": 64 + k, "owner": "shard-0", "load": 0.01} for k in range(64)],
        "regions_total": 64,
        "moves": [{"region": 64 + k, "from": "a", "to": "b", "how": "planned", "ago_s": k} for k in range(40)],
    }
    text = shown(many)
    assert lines(text, "and 44 more")
    assert len(text.splitlines()) < 60
    assert len(shown({"regions": [{"region": k, "epoch": 1} for k in range(99)]}).splitlines()) < 40


def test_a_cluster_that_tells_little_is_drawn_all_the_same() -> None:
    assert "none lately" in shown({"members": [], "regions": [], "moves": []})
    assert "nobody" in shown({"members": [{}], "regions": [{}], "moves": [{}]})
    assert [ago(s) for s in (0.4, 61, 7300)] == ["0 s ago", "1 min ago", "2 h ago"]
