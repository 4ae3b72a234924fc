"""A server live in the terminal: ``isthmus top`` draws what GET /api/status says, twice a second.

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

EVERY_S = 0.5
TIMEOUT_S = 2.0
BAR_CELLS = 24
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


def draw(status: Status) -> RenderableType:
    """The whole screen for one answer."""
    rate_hz = float(status.get("rate_hz") or 20)
    tick_ms = status.get("tick_ms") or {}
    budget_ms = 1000.0 / rate_hz
    uptime_s = int(status.get("uptime_s") or 0)
    up = f"{uptime_s // 3600}:{uptime_s // 60 % 60:02}:{uptime_s % 60:02}"
    title = f"{status.get('world', NONE)}  tick {number(status.get('tick'))}  {rate_hz:.0f} Hz  up {up}"
    who = _figures(
        [(name, number(status.get(name))) for name in ("sessions", "views", "entities", "inhabitants", "joins")]
    )
    flow = _figures(
        [
            ("updates due", number(status.get("due_per_s"), "/s")),
            ("updates sent", number(status.get("updates_per_s"), "/s")),
            ("inputs", number(status.get("inputs_per_s"), "/s")),
            ("out", amount(status.get("bytes_out_per_s"))),
            ("in", amount(status.get("bytes_in_per_s"))),
        ]
    )
    phases = Table.grid(padding=(0, 2))
    phases.add_column(style="dim")
    phases.add_column(justify="right")
    phases.add_column()
    for name in ("p50", "p99", "max"):
        value = tick_ms.get(name)
        phases.add_row(f"tick {name}", number(value, "ms"), _bar(value, budget_ms) if value is not None else "")
    for name, value in (status.get("phases_ms") or {}).items():
        phases.add_row(name, f"{value:.2f} ms", _bar(value, budget_ms))
    shed, lag = status.get("shed_level"), status.get("lag_ticks")
    health = Text(f"lag {number(lag, 'ticks')}   shed level {number(shed)}", "red" if lag or shed else "green")
    rejected = status.get("rejected") or {}
    refused = "   ".join(f"{why} {number(times)}" for why, times in sorted(rejected.items(), key=lambda item: -item[1]))
    regions = Table(box=None, padding=(0, 2), header_style="dim")
    listed = [region for region in status.get("regions") or [] if isinstance(region, Mapping)]
    for key in listed[0] if listed else ():
        regions.add_column(str(key), justify="right")
    for region in listed[:20]:
        regions.add_row(*(number(v) if isinstance(v, int | float) else str(v) for v in region.values()))
    columns = Table.grid(expand=True)
    columns.add_row(Panel(who, title="world"), Panel(flow, title="flow"), Panel(phases, title="tick"))
    parts: list[RenderableType] = [Text(title, "bold"), columns, health, Text(f"rejected: {refused or 'none'}")]
    return Group(*parts, regions) if listed else Group(*parts)


async def _run(url: str, console: Console) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    address = url.rstrip("/") + "/api/status"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with Live(Text(f"asking {address} …"), console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while not stop.is_set():
                try:
                    async with session.get(address) as answer:
                        answer.raise_for_status()
                        shown = draw(await answer.json())
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
