"""What the figures are held to, the table, and the line that is kept in results.jsonl.

Invariants: a ratio is taken within one round of one benchmark and its median over rounds is judged; an invalid run is
never judged, it fails the whole. Not responsible for: measuring.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.crowd import CrowdFigures
from bench.kernels import KernelResult
from bench.prepare import BENCH
from bench.run import Figures

ERROR_P999_M = 0.01
RESULTS = BENCH / "results.jsonl"


@dataclass(frozen=True)
class Target:
    """One promise: the figure must be at most ``limit``."""

    name: str
    value: float | None
    limit: float
    unit: str = ""

    @property
    def verdict(self) -> str:
        """met, missed, or not measured."""
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.limit else "MISSED"


def cpu_ratio(rounds: Sequence[Mapping[str, Figures]], ours: str, peers: Sequence[str]) -> float | None:
    """Median over rounds of our CPU per entity-tick over that of the cheapest of ``peers``."""
    ratios = []
    for figures in rounds:
        others = [figures[peer].us_per_entity_tick for peer in peers if peer in figures]
        if ours in figures and others:
            ratios.append(figures[ours].us_per_entity_tick / min(others))
    return median(ratios) if ratios else None


def show_runs(console: Console, title: str, rounds: Sequence[Mapping[str, Figures]]) -> None:
    """Print one case: each run a line."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in (
        "server", "round", "ticks/s", "CPU s/s", "us / entity-tick", "B / entity-tick", "kB/s client",
        "frames/s client", "inputs/s taken", "tick p99 ms", "error p99.9 / max mm", "RSS MiB",
        "foreign CPU", "probe ticks", "",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in ("server", "") else "right")
    for number, figures in enumerate(rounds, start=1):
        for name, f in figures.items():
            p999 = "-" if f.error_p999_m is None else f"{1000 * f.error_p999_m:.1f}"
            error = f"{p999} / {1000 * f.error_max_m:.1f}"
            remarks = [] if f.held else ["did not hold"]
            if not f.valid:
                remarks.append(f"[red]INVALID[/red]: {f.violations} violations, {f.lost} lost; {f.first_violation}")
            table.add_row(
                name, str(number), f"{f.ticks_per_s:.1f}", f"{f.cpu_s_per_s:.3f}", f"{f.us_per_entity_tick:.4f}",
                f"{f.bytes_per_entity_tick:.2f}", f"{f.bytes_per_s_client / 1000:.1f}", f"{f.frames_per_s_client:.1f}",
                f"{f.inputs_taken_per_s_client:.1f}", f"{1000 * f.tick_p99_s:.1f}", error,
                f"{f.rss_mib:.0f}", f"{f.foreign_cpu_s_per_s:.2f}", str(f.probe_ticks), "; ".join(remarks),
            )  # fmt: skip
    console.print(table, "")


def show_crowd(console: Console, f: CrowdFigures) -> None:
    """Print the crowd as one line."""
    title = f"crowd, {f.clients} clients over {f.transport}, simulated"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in (
        "ticks/s", "CPU s/s", "visible", "kB/s client", "B / entity-tick", "inputs/s taken",
        "tick p50 / p99 / p99.9 ms", "longest gap ms", "skipped", "join s", "RSS MiB", "swarm CPU", "foreign CPU", "",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    remarks = [] if f.held else ["did not hold"]
    if not f.valid:
        remarks.append(f"[red]INVALID[/red]: {f.violations} violations, {f.lost} lost; {f.first_violation}")
    ticks = " / ".join(f"{1000 * value:g}" for value in (f.tick_p50_s, f.tick_p99_s, f.tick_p999_s))
    table.add_row(
        f"{f.ticks_per_s:.1f}", f"{f.cpu_s_per_s:.3f}", f"{f.visible:.1f}", f"{f.bytes_per_s_client / 1000:.1f}",
        f"{f.bytes_per_entity_tick:.2f}", f"{f.inputs_taken_per_s_client:.1f}", ticks, f"{1000 * f.gap_max_s:.0f}",
        str(f.skipped), f"{f.join_s:.1f}", f"{f.rss_mib:.0f}", f"{f.swarm_cpu_s_per_s:.2f}",
        f"{f.foreign_cpu_s_per_s:.2f}", "; ".join(remarks),
    )  # fmt: skip
    phases = ", ".join(f"{name} {1000 * seconds:.2f}" for name, seconds in f.phases_s.items())
    console.print(table, f"phases of a tick, ms: {phases}", "", highlight=False)


def show_kernels(console: Console, loads: Sequence[KernelResult]) -> None:
    """Print each load as a line."""
    table = Table(title="kernels, no sockets", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in (
        "load", "views", "visible", "due / tick", "ns / due", "ns / visible", "bare copy ns", "B / entity-tick",
        "publish ns / entity", "mirror ns / entity",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "load" else "right")
    for k in loads:
        table.add_row(
            k.load, str(k.views), f"{k.visible:.0f}", str(k.due_per_tick), f"{k.ns_per_due:.1f}",
            f"{k.ns_per_visible:.1f}", f"{k.ns_per_gathered:.1f}", f"{k.bytes_per_entity_tick:.2f}",
            f"{k.publish_ns_per_entity:.1f}", f"{k.mirror_ns_per_entity:.1f}",
        )  # fmt: skip
    console.print(table, "")


def show_targets(console: Console, targets: Sequence[Target]) -> None:
    """Print the promises and how they fared."""
    table = Table(title="Targets", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("figure", "measured", "at most", ""):
        table.add_column(heading, justify="left" if heading in ("figure", "") else "right")
    for target in targets:
        value = "-" if target.value is None else f"{target.value:.3f}"
        table.add_row(target.name, f"{value} {target.unit}", f"{target.limit:g} {target.unit}", target.verdict)
    console.print(table)


def _first_line(path: str, start: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(start)), "?")


def machine() -> dict[str, Any]:
    """What this was measured on."""
    return {
        "cpu": _first_line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _first_line("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
    }


def versions() -> dict[str, str]:
    """Ours and the peers'."""
    ours = {name: version(name) for name in ("numpy", "numba", "aiohttp", "uvloop", "msgpack", "pymunk")}
    peers = json.loads((BENCH / "peers" / "package.json").read_text())["dependencies"]
    return {"python": platform.python_version(), **ours, **peers}


def commit() -> str:
    """The commit, with "+" behind it when files differ from it."""

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", *arguments], cwd=BENCH, capture_output=True, text=True, check=False)
        return result.stdout.strip()

    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "-uno") else "")


def record(figures: Mapping[str, Any], targets: Sequence[Target], path: Path = RESULTS) -> None:
    """Append one JSON line: when, on what, all figures and the verdicts."""
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "targets": [{**asdict(target), "verdict": target.verdict} for target in targets],
        **figures,
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
