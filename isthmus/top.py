"""A server live in the terminal: ``isthmus top`` draws what GET /api/status says, once a second.

Decides only how figures look. Invariant: a server that is away is shown as away and asked again; Ctrl-C ends it with
status 0. Keys that a server does not report are shown as a dash. Not responsible for: what is measured (``/metrics``
has the same figures for Prometheus).
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

EVERY_S = 1.0
TIMEOUT_S = 2.0
BAR_CELLS = 24
LOAD_CELLS = 8
ROWS_SHOWN = 20
ROWS_ABOVE = 22
"""Lines that the panels of the process itself take; what is below them gets the rest of the terminal."""
ROWS_LEAST = 5
ROWS_FRAME = 3
"""Lines that a table takes besides its rows."""
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


def _bar(ms: float, of_ms: float, cells: int = BAR_CELLS) -> Text:
    share = min(1.0, ms / of_ms) if of_ms > 0 else 0.0
    style = "green" if share < 0.5 else "yellow" if share < 0.9 else "red"
    return Text("█" * round(share * cells), style)


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


def ago(seconds: float) -> str:
    """How long ago, in the unit that a person would use."""
    for unit, length_s in (("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _entries(status: Status, key: str) -> list[Status]:
    return [entry for entry in status.get(key) or [] if isinstance(entry, Mapping)]


def _table(*headings: str) -> Table:
    """A table whose headings that begin with ``>`` are of figures."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for heading in headings:
        figure = heading.startswith(">")
        table.add_column(heading.lstrip(">"), justify="right" if figure else "left", no_wrap=True)
    return table


def _percent(load: Any) -> str:
    """A part of a core."""
    if load is None:
        return NONE
    return f"{100 * load:.0f} %" if load >= 0.1 else f"{100 * load:.1f} %"


def _rest(count: int) -> str:
    return f"and {count} more" if count > 0 else ""


def _draw_members(status: Status, rows: int) -> Panel:
    members = _entries(status, "members")
    table = _table("member", ">load", "", ">regions", ">sessions", "")
    for member in members[:rows]:
        notes = [word for word in ("draining", "places", "durable_away") if member.get(word)]
        if member.get("member") == status.get("member"):
            notes.append("this one")
        style = "yellow" if member.get("draining") else ""
        figures = number(member.get("regions")), number(member.get("sessions"))
        name, load = Text(str(member.get("member"))), member.get("load")
        bar = _bar(load or 0.0, 1.0, LOAD_CELLS)
        bar.pad_right(LOAD_CELLS - len(bar))  # or the tables would move to and fro with it
        table.add_row(name, _percent(load), bar, *figures, ", ".join(notes), style=style)
    kinds = Counter(str(member.get("kind")) for member in members)
    title = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items())
    return Panel(table, title=title or "members", subtitle=_rest(len(members) - rows), expand=False)


def _draw_regions(status: Status, rows: int) -> Panel:
    regions = _entries(status, "regions")
    heaviest = max((region.get("load") or 0.0 for region in regions), default=0.0)
    table = _table(">region", "owner", ">load", "", ">seen by", ">epoch", "")
    for region in regions[:rows]:
        owner, wish, mirrored = region.get("owner"), region.get("asked_for"), region.get("mirrored")
        note = "mirrored" if mirrored else ""
        if mirrored and (region.get("mirrored_epoch") or 0) < (region.get("epoch") or 0):
            note = "waits for its new owner"
        named = Text("nobody", "bold red") if owner is None else Text(str(owner))
        if wish and wish != owner:
            named.append(f" → {wish}", "yellow")
        load = region.get("load")
        bar = Text("█" * round(LOAD_CELLS * (load or 0.0) / heaviest) if heaviest else "", "cyan")
        figures = number(region.get("seen_by")), number(region.get("epoch"))
        table.add_row(str(region.get("region")), named, _percent(load), bar, *figures, note)
    total, alone = status.get("regions_total") or len(regions), status.get("regions_without_owner") or 0
    title = Text(f"{total} regions")
    if alone:
        title.append(f", {alone} without an owner", "bold red")
    return Panel(table, title=title, subtitle=_rest(total - min(rows, len(regions))), expand=False)


def _draw_moves(status: Status, rows: int) -> Panel:
    moves = _entries(status, "moves")
    table = _table(">region", "from", "", "to", "", ">epoch", ">")
    styles = {"planned": "green", "lost": "red", "back": "yellow"}
    for move in moves[:rows]:
        how = str(move.get("how"))
        names = Text(str(move.get("from"))), "→", Text(str(move.get("to")))
        when = ago(float(move.get("ago_s") or 0.0))
        table.add_row(str(move.get("region")), *names, Text(how, styles.get(how, "")), number(move.get("epoch")), when)
    shown: RenderableType = table if moves else Text("none lately", "dim")
    return Panel(shown, title="moves", subtitle=_rest(len(moves) - rows), expand=False)


def _draw_own_regions(status: Status, rows: int) -> Table:
    """The regions of a process that is a whole world: whatever figures it gives."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    listed = _entries(status, "regions")
    for key in listed[0]:
        table.add_column(str(key), justify="right")
    for region in listed[:rows]:
        table.add_row(*(number(v) if isinstance(v, int | float) else str(v) for v in region.values()))
    return table


def draw(status: Status, before: Status | None = None, rows: int = ROWS_SHOWN) -> RenderableType:
    """The whole screen for one answer; ``before`` is an earlier one, for rates; no table has more than ``rows``."""
    rate_hz = float(status.get("rate_hz") or 20)
    tick_ms = status.get("tick_ms") or {}
    budget_ms = 1000.0 / rate_hz
    uptime_s = int(status.get("uptime_s") or 0)
    up = f"{uptime_s // 3600}:{uptime_s // 60 % 60:02}:{uptime_s % 60:02}"
    title = f"{status.get('world', NONE)}  tick {number(status.get('tick'))}  {rate_hz:.0f} Hz  up {up}"
    if "member" in status:
        title += f"  {status['member']}"
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
    columns = Table.grid(expand=True)
    columns.add_row(
        Panel(_figures(who), title="world"), Panel(_figures(flow), title="flow"), Panel(phases, title="tick")
    )
    parts: list[RenderableType] = [
        Text(title, "bold"),
        columns,
        Text(health, "red" if lag or shed else "green"),
        Text(f"ended by reason: {ended or 'none'}"),
        *(Text(str(warning), "bold red") for warning in status.get("warnings") or ()),
    ]
    if "members" in status:
        left = max(ROWS_LEAST, rows - len(_entries(status, "members")) - ROWS_FRAME)
        beside = Group(_draw_members(status, rows), _draw_moves(status, left))
        parts.append(Columns([beside, _draw_regions(status, rows)]))
    elif _entries(status, "regions"):
        parts.append(_draw_own_regions(status, rows))
    return Group(*parts)


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
                        shown = draw(now, before, max(ROWS_LEAST, console.height - ROWS_ABOVE))
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
