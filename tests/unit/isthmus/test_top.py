"""The live view draws whatever a server says, also nothing."""

from io import StringIO

from rich.console import Console

from isthmus.top import amount, draw, number


def shown(status: dict[str, object]) -> str:
    console = Console(width=120, file=StringIO())
    console.print(draw(status))
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
            "phases_ms": {"physics": 1.25},
            "bytes_out_per_s": 1_234_567,
            "rejected": {"name_taken": 2, "full": 7},
            "regions": [{"region": 1, "entities": 1200}],
        }
    )
    for part in ("helsinki", "12,345", "1:06:40", "1.2 MB/s", "physics", "full 7   name_taken 2", "1,200"):
        assert part in text


def test_missing_figures_are_dashes() -> None:
    assert "sessions     –" in shown({})
    assert number(None) == amount(None) == "–"
    assert amount(5e9) == "5.00 GB/s"
