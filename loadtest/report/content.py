"""What a report says, as plain values: the JSON, and what the page is made of.

Decides which figures are shown and with which percentiles (p50, p99, p99.9 and the greatest). Invariant: the page and
the JSON are made of the same values. Not responsible for: how it looks (``page``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.budgets import Verdict, judged_from, measures
from loadtest.figures import LATE, RATES, SAMPLED, Sampled, rate
from loadtest.scenario import Entry, Scenario
from loadtest.scraping import Series
from loadtest.tally import GENERATOR, Cell, Tally

SHOWN = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
FORMAT = 1
CORE_PART = 0.7
"""Of a core that a generator may use before it is late itself."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run that began; ``until_s``: its end, or now. ``verdict``: None while it is not over."""

    scenario: Scenario
    tally: Tally
    server: Series
    began_s: float
    until_s: float
    verdict: Verdict | None
    notes: Sequence[str]


def sampled_row(entry: str, figure: Sampled, cell: Cell) -> dict[str, Any] | None:
    """One figure of one entry; None if there is no sample."""
    histogram = cell.histograms.get(figure.name)
    if histogram is None or not histogram.count:
        return None
    parts = {name: histogram.percentile(part) for name, part in SHOWN.items()}
    row = {"entry": entry, "figure": figure.name, "title": figure.title, "unit": figure.unit}
    return row | {"count": histogram.count, "mean": histogram.mean, **parts}


def tables(tally: Tally, entries: Mapping[str, Entry], from_s: float, to_s: float) -> dict[str, list[dict[str, Any]]]:
    """``sampled``: a row for each figure of each entry. ``rates``: a row for each entry, rates by name; None for what
    such clients do not have."""
    sampled, rates = [], []
    for entry, told in entries.items():
        cell = tally.over(entry, from_s, to_s)
        sampled += [row for figure in SAMPLED.values() if (row := sampled_row(entry, figure, cell)) is not None]
        values = {name: rate(name, cell.counts) if measures(told, each) else None for name, each in RATES.items()}
        rates.append({"entry": entry, "client_s": cell.counts.get("client_ms", 0.0) / 1000.0, **values})
    late = sampled_row(GENERATOR, LATE, tally.over(GENERATOR, from_s, to_s))
    return {"sampled": sampled + ([late] if late is not None else []), "rates": rates}


def series(tally: Tally, entries: Mapping[str, Entry], began_s: float, to_s: float) -> dict[str, dict[str, list[Any]]]:
    """By entry and name, [second of the run, value]: the percentiles of each second, and rates."""
    found: dict[str, dict[str, list[Any]]] = {}
    for entry in [*entries, GENERATOR]:
        lines: dict[str, list[Any]] = {}
        shown = [name for name, each in RATES.items() if entry in entries and measures(entries[entry], each)]
        for second, cell in tally.series(entry):
            if not began_s - 1.0 <= second < to_s:
                continue
            at = round(second - began_s, 1)
            for figure in (*SAMPLED.values(), LATE):
                histogram = cell.histograms.get(figure.name)
                if histogram is not None:
                    for part in ("p50", "p99"):
                        lines.setdefault(f"{figure.name} {part}", []).append([at, histogram.percentile(SHOWN[part])])
            if cell.counts.get("client_ms"):
                lines.setdefault("clients", []).append([at, cell.counts["client_ms"] / 1000.0])
                for name in shown:
                    if (value := rate(name, cell.counts)) is not None:
                        lines.setdefault(name, []).append([at, value])
        found[entry] = lines
    return found


def generator(tally: Tally, entries: Iterable[str], from_s: float, to_s: float) -> dict[str, float | None]:
    """What the load itself cost: ``cores`` used by all processes that make it, and how many of such clients one core
    would hold at CORE_PART of it."""
    span_s = to_s - from_s
    used_s = tally.over(GENERATOR, from_s, to_s).counts.get("cpu_ms", 0.0) / 1000.0
    client_s = sum(tally.over(entry, from_s, to_s).counts.get("client_ms", 0.0) for entry in entries) / 1000.0
    return {
        "cores": used_s / span_s if span_s > 0.0 else None,
        "clients_per_core": CORE_PART * client_s / used_s if used_s > 0.0 and client_s > 0.0 else None,
    }


def content(run: Run) -> dict[str, Any]:
    """Everything about a run; one that is not over is told as far as it is."""
    scenario, verdict = run.scenario, run.verdict
    entries, from_s, until_s = scenario.users, judged_from(scenario, run.began_s), run.until_s
    server: dict[str, dict[str, list[Any]]] = {}
    for (title, who), points in run.server.items():
        server.setdefault(title, {})[who] = [[round(at_s - run.began_s, 1), value] for at_s, value in points]
    return {
        "format": FORMAT,
        "scenario": {"name": scenario.path.stem, "title": scenario.title, "description": scenario.description},
        "began_unix_s": run.began_s,
        "took_s": until_s - run.began_s,
        "judged_from_s": scenario.ramp.judged_from_s,
        "storms_s": [storm.at_s for storm in scenario.storms],
        "verdict": None if verdict is None else verdict.exit.name.lower(),
        "reasons": [] if verdict is None else list(verdict.reasons),
        "budgets": []
        if verdict is None
        else [
            {
                "entry": line.entry,
                "budget": line.budget,
                "title": line.title,
                "unit": line.unit,
                "bound": line.bound,
                "value": line.value,
                "kept": line.kept,
            }
            for line in verdict.lines
        ],
        **tables(run.tally, entries, from_s, until_s),
        "generator": generator(run.tally, entries, from_s, until_s),
        "series": series(run.tally, entries, run.began_s, until_s),
        "server": server,
        "notes": list(run.notes),
    }
