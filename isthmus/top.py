"""A server live in the terminal: ``isthmus top`` draws what GET /api/status says, once a second.

Decides only how figures look. Invariant: a server that is away is shown as away and asked again; Ctrl-C ends it with
status 0. Keys that a server does not report are shown as a dash. Not responsible for: what is measured (``/metrics``
has the same figures for Prometheus).
"""

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

import aiohttp
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

EVERY_S = 1.0
TIMEOUT_S = 2.0
BAR_CELLS = 24
REGIONS_SHOWN = 20
NONE = "–"

Status = Mapping[str, Any]


def number(value: Any, unit: str = "") -> str:
    """A figure with thousands separated, or a dash."""
    if value is None:
        return NONE
    text = f"{value:,.1f}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
    return f"{text} {unit}".rstrip()


def amount(value: Any) -> str:
    """Bytes per second in the largest unit that keeps a figure before the point."""
    if value is None:
        return NONE
    size = float(value)
    for unit in ("B/s", "KB/s", "MB/s"):
        if size < 1000.0:
            return f"{size:.1f} {unit}"
        size /= 1000.0
    return f"{size:.2f} GB/s"


def _figures(rows: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _bar(ms: float, of_ms: float) -> Text:
    share = min(1.0, ms / of_ms) if of_ms > 0 else 0.0
    style = "green" if share < 0.5 else "yellow" if share < 0.9 else "red"
    return Text("█" * round(share * BAR_CELLS), style)


def rate(now: Status, before: Status | None, key: str) -> float | None:
    """Increase of a total per second between two answers, by the server's own clock; None without both."""
    if before is None or key not in now or key not in before:
        return None
    seconds = now["uptime_s"] - before["uptime_s"]
    return (now[key] - before[key]) / seconds if seconds > 0 and now[key] >= before[key] else None


def phases_ms(now: Status, before: Status | None) -> list[tuple[str, float]]:
    """Milliseconds per tick of each phase between two answers (since the start if there is one alone)."""
    was = before or {}
    ticks = (now.get("tick") or 0) - (was.get("tick") or 0)
    spent, spent_before = now.get("phases_s") or {}, was.get("phases_s") or {}
    return (
        [(name, 1000.0 * (s - spent_before.get(name, 0.0)) / ticks) for name, s in spent.items()] if ticks > 0 else []
    )


def draw(status: Status, before: Status | None = None) -> RenderableType:
    """The whole screen for one answer; ``before`` is an earlier one, for rates."""
    rate_hz = float(status.get("rate_hz") or 20)
    tick_ms = status.get("tick_ms") or {}
    budget_ms = 1000.0 / rate_hz
    uptime_s = int(status.get("uptime_s") or 0)
    up = f"{uptime_s // 3600}:{uptime_s // 60 % 60:02}:{uptime_s % 60:02}"
    title = f"{status.get('world', NONE)}  tick {number(status.get('tick'))}  {rate_hz:.0f} Hz  up {up}"
    counts = {
        "sessions": "sessions",
        "views": "views",
        "views_paused": "paused",
        "entities": "entities",
        "joins": "joins",
    }
    who = [(name, number(status.get(key))) for key, name in counts.items()]
    who.extend((f"· {kind}", number(count)) for kind, count in (status.get("kinds") or {}).items())
    flow = [
        ("updates", number(rate(status, before, "updates"), "/s")),
        ("inputs", number(rate(status, before, "inputs"), "/s")),
        ("out", amount(rate(status, before, "bytes_out"))),
        ("in", amount(rate(status, before, "bytes_in"))),
        ("visible", number(status.get("visible"))),
    ]
    phases = Table.grid(padding=(0, 2))
    phases.add_column(style="dim")
    phases.add_column(justify="right")
    phases.add_column()
    for name in ("p50", "p99", "p999", "max"):
        value = tick_ms.get(name)
        phases.add_row(f"tick {name}", number(value, "ms"), _bar(value, budget_ms) if value is not None else "")
    for name, value in phases_ms(status, before):
        phases.add_row(name, f"{value:.2f} ms", _bar(value, budget_ms))
    shed, lag = status.get("shed_level"), status.get("lag_ticks")
    merged = status.get("ticks_merged")
    health = f"lag {number(lag, 'ticks')}   ticks merged {number(merged)}   shed level {number(shed)}"
    rejected = status.get("rejected") or {}
    ended = "   ".join(f"{why} {number(times)}" for why, times in sorted(rejected.items(), key=lambda item: -item[1]))
    regions = Table(box=None, padding=(0, 2), header_style="dim")
    listed = [region for region in status.get("regions") or [] if isinstance(region, Mapping)]
    for key in listed[0] if listed else ():
        regions.add_column(str(key), justify="right")
    for region in listed[:REGIONS_SHOWN]:
        regions.add_row(*(number(v) if isinstance(v, int | float) else str(v) for v in region.values()))
    columns = Table.grid(expand=True)
    columns.add_row(
        Panel(_figures(who), title="world"), Panel(_figures(flow), title="flow"), Panel(phases, title="tick")
    )
    parts: list[RenderableType] = [
        Text(title, "bold"),
        columns,
        Text(health, "red" if lag or shed else "green"),
        Text(f"ended by reason: {ended or 'none'}"),
    ]
    return Group(*parts, regions) if listed else Group(*parts)


async def _run(url: str, console: Console) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    address = url.rstrip("/") + "/api/status"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    before: Status | None = None
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with Live(Text(f"asking {address} …"), console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while not stop.is_set():
                try:
                    async with session.get(address) as answer:
                        answer.raise_for_status()
                        now = await answer.json()
                        shown = draw(now, before)
                        before = now
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    shown = Text(f"{address}: {str(error) or type(error).__name__}; trying again", "red")
                live.update(shown, refresh=True)
                try:
                    await asyncio.wait_for(stop.wait(), EVERY_S)
                except TimeoutError:
                    continue
    return 0


def run(url: str) -> int:
    """Show the server at ``url`` (its page's address) until Ctrl-C; returns the exit status."""
    return asyncio.run(_run(url, Console()))
