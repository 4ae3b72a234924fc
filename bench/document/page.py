"""The page: tables of medians with their spread, what was measured on what, and where we lose.

Decides what counts as losing: any figure of ours whose median is worse than another server's that held as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.contenders import OURS
from bench.report import commit, machine, versions
from bench.run import Figures


@dataclass(frozen=True)
class Column:
    """A figure: its heading, the field of Figures, what it is multiplied by, digits. Less is better in all."""

    title: str
    field: str
    factor: float = 1.0
    digits: int = 2


COLUMNS = (
    Column("CPU, cores", "cpu_s_per_s"),
    Column("µs per entity-tick", "us_per_entity_tick", digits=3),
    Column("bytes per entity-tick", "bytes_per_entity_tick"),
    Column("tick p99, ms", "tick_p99_s", 1000, 1),
    Column("greatest error, mm", "error_max_m", 1000, 0),
    Column("memory, MiB", "rss_mib", digits=0),
)


@dataclass(frozen=True)
class Case:
    """All runs of one case by server."""

    clients: int
    visible: int
    runs: dict[str, list[Figures]]

    @property
    def name(self) -> str:
        """As files and headings have it."""
        return f"{self.clients}x{self.visible}"

    def median(self, server: str, field: str) -> float:
        """Of one figure over all rounds."""
        return float(median(getattr(run, field) for run in self.runs[server]))

    def held(self, server: str) -> bool:
        """Whether a server kept 20 ticks a second in each round."""
        return all(run.held for run in self.runs[server])


@dataclass(frozen=True)
class Largest:
    """The most clients that a server held, and why not more."""

    name: str
    held: Figures | None
    why: str


INTRODUCTION = """\
# Benchmarks

Made by `make benchmarks` (`python -m bench.document`); do not edit. [bench/README.md](../bench/README.md) says how each
figure is measured, and what each server is.

One server process, with all its threads, on one core; all clients on another. Everybody moves restlessly (a new heading
and speed four times a second), sees everything within 50 m at 20 Hz, and sends ten inputs a second. Five clients of
each run decode everything and compare it with the truth in each tick; a run in which one of them saw what is not true
is no run. Medians of {rounds} interleaved rounds, the spread in brackets.
"""

CAVEATS = """\
## What these figures do not say

- Loopback, WebSocket in the clear, nothing lost: [DATAGRAMS.md](DATAGRAMS.md) has what loss and encryption change.
- The others' entities have float32 positions and no velocity, as is natural to each; ours are quantised and predicted
  within the tolerance of their level of detail, which is why ours show an error and send less. Colyseus' quantised
  fields save it a third of its bytes and cost it CPU.
- Hand-written servers do this one job and nothing else: no sessions, no reconnection, no physics, no second region.
  Colyseus, nengi and ours are general.
- Colyseus and nengi have no spatial index; both are given the one of the hand-written server. nengi's own box channel
  compares each entity with each client, and is slower.
- Colyseus and nengi run on Node 24 and Node 20: the one build of uWebSockets.js on npm that loads here is for Node 20.
- Joins, worlds in which most things rest, and more than one process are not compared. Numbers of one machine; ratios
  travel better.
"""


def cell(runs: Sequence[Figures], column: Column) -> str:
    """Median and spread of one figure."""
    values = [getattr(run, column.field) * column.factor for run in runs]
    digits = column.digits
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(case: Case) -> list[str]:
    """One case."""
    lines = [
        f"## {case.clients} clients, {case.visible} visible, {10 * case.clients:,} entities",
        "",
        f"![CPU](benchmarks/cpu-{case.name}.svg) ![bytes](benchmarks/bytes-{case.name}.svg)",
        "",
        "| server | " + " | ".join(column.title for column in COLUMNS) + " | 20 Hz held |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for name, runs in case.runs.items():
        cells = " | ".join(cell(runs, column) for column in COLUMNS)
        ticks = min(run.ticks_per_s for run in runs)
        lines.append(f"| {name} | {cells} | {'yes' if case.held(name) else f'no: {ticks:.1f}'} |")
    return [*lines, ""]


def losses(cases: Sequence[Case], most: Sequence[Largest]) -> list[str]:
    """Where another server that held is better than ours."""
    lines = []
    for case in cases:
        for column in COLUMNS:
            ours = case.median(OURS.name, column.field)
            better = {
                name: case.median(name, column.field)
                for name in case.runs
                if name != OURS.name and case.held(name) and case.median(name, column.field) < ours
            }
            if better:
                told = ", ".join(f"{name} {value * column.factor:.{column.digits}f}" for name, value in better.items())
                lines.append(
                    f"- {case.name}, {column.title}: ours {ours * column.factor:.{column.digits}f}; better: {told}"
                )
    clients = {one.name: one.held.clients if one.held else 0 for one in most}
    more = [name for name, count in clients.items() if count > clients[OURS.name]]
    if more:
        told = ", ".join(f"{name} {clients[name]}" for name in more)
        lines.append(f"- clients held: ours {clients[OURS.name]}; more: {told}")
    return lines or ["- nowhere in these cases"]


def page(cases: Sequence[Case], most: Sequence[Largest], rounds: int) -> str:
    """The whole page."""
    what, known = machine(), versions()
    lines = [INTRODUCTION.format(rounds=rounds)]
    for case in cases:
        lines += table(case)
    lines += [
        "## How many clients one core holds",
        "",
        "![clients](benchmarks/largest.svg)",
        "",
        "50 visible, ten entities for each client; one run for each number. Held: at least 19 of 20 ticks a second, at"
        " each probe.",
        "",
        "| server | clients | CPU, cores | tick p99, ms | and more |",
        "|---|---|---|---|---|",
    ]
    for one in most:
        if one.held is None:
            lines.append(f"| {one.name} | none of those tried | | | {one.why} |")
        else:
            cpu, late_ms = one.held.cpu_s_per_s, one.held.tick_p99_s * 1000
            lines.append(f"| {one.name} | {one.held.clients:,} | {cpu:.2f} | {late_ms:.1f} | {one.why} |")
    lines += ["", "## Where we lose", "", *losses(cases, most), "", CAVEATS, "## On what", ""]
    lines.append(", ".join(f"{key}: {value}" for key, value in what.items()) + f". Commit {commit()}.")
    lines += ["", ", ".join(f"{name} {version}" for name, version in known.items()) + "."]
    return "\n".join(lines) + "\n"
