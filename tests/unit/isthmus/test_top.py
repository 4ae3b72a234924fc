"""The live view draws whatever a server says, also nothing."""

from io import StringIO

from rich.console import Console

from isthmus.top import amount, draw, number


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
