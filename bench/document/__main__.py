"""``python -m bench.document``: the same work for every server, several rounds, and the page that says what came out.

Rounds are interleaved: each runs all servers one after the other, so that a machine that gets slower does so for all.
Exit status: 0, or 2 when a run was INVALID or a process failed; nothing is written then. Not responsible for: what we
hold ourselves to (``bench``).
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench.contenders import ALL, OURS, Contender
from bench.document.page import Case, Largest, page
from bench.document.plot import bars
from bench.prepare import BENCH, CACHE, PreparationError, Tools, prepare
from bench.process import ChildFailed
from bench.run import Figures, measure
from bench.trajectory import ensure

DOCS = BENCH.parent / "docs"
ROUNDS = 3
CASES = ((500, 50), (500, 200))
"""Clients, and how many each sees."""
STEPS = (250, 500, 1000, 1500, 2000, 2500, 3000, 4000)
"""Clients that are tried one after the other until a server does not hold."""
VISIBLE = 50
WINDOW_S, SETTLE_S = 5.0, 2.5
PATIENT_SETTLE_S = 5.0


def run(tools: Tools, contender: Contender, clients: int, visible: int, settle_s: float) -> Figures:
    """One run. Raises ChildFailed."""
    motion = ensure(CACHE / "trajectories", "restless", clients, 10 * clients, visible)
    return measure(tools, contender, motion, clients, WINDOW_S, settle_s)


def largest(console: Console, tools: Tools, contender: Contender) -> Largest:
    """The most of STEPS that a server holds; more than that is not tried."""
    held: Figures | None = None
    for clients in STEPS:
        console.print(f"largest: {contender.name}, {clients} ...", style="dim")
        try:
            figures = run(tools, contender, clients, VISIBLE, PATIENT_SETTLE_S)
        except ChildFailed as error:
            return Largest(contender.name, held, f"at {clients} it failed: {str(error).split(';')[0]}")
        if not figures.held or not figures.valid:
            ticks = f"{figures.ticks_per_s:.1f} ticks/s"
            return Largest(contender.name, held, f"at {clients}: {ticks if figures.valid else 'wrong or lost'}")
        held = figures
    return Largest(contender.name, held, "more were not tried")


def main() -> int:
    """Run, and write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.document", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", choices=sorted(ALL), default=list(ALL), help="run only these servers")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder that gets benchmarks.md and its plots")
    given = parser.parse_args()
    console = Console(stderr=True)
    contenders = [ALL[name] for name in ALL if name in {OURS.name, *given.only}]
    try:
        tools = prepare(with_peers=True)
        cases = []
        for clients, visible in CASES:
            case = Case(clients, visible, {contender.name: [] for contender in contenders})
            for number in range(given.rounds):
                for contender in contenders:
                    console.print(f"{clients}x{visible}, round {number + 1}: {contender.name} ...", style="dim")
                    case.runs[contender.name].append(run(tools, contender, clients, visible, SETTLE_S))
            cases.append(case)
        most = [largest(console, tools, contender) for contender in contenders]
    except (PreparationError, ChildFailed) as error:
        console.print(f"[red]failed[/red]: {error}", markup=True, highlight=False)
        return 2
    wrong = [run for case in cases for runs in case.runs.values() for run in runs if not run.valid]
    for figures in wrong:
        console.print(
            f"INVALID: {figures.contender}: {figures.first_violation or 'connections were lost'}", style="red"
        )
    if wrong:
        return 2
    plots = given.docs / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    for case in cases:
        cpu = {name: case.median(name, "us_per_entity_tick") for name in case.runs}
        (plots / f"cpu-{case.name}.svg").write_text(bars(f"{case.name}: CPU, µs per entity-tick", cpu))
        sent = {name: case.median(name, "bytes_per_entity_tick") for name in case.runs}
        (plots / f"bytes-{case.name}.svg").write_text(bars(f"{case.name}: bytes per entity-tick", sent))
    held = {one.name: float(one.held.clients) if one.held else 0.0 for one in most}
    (plots / "largest.svg").write_text(bars(f"clients that are held at 20 Hz, {VISIBLE} visible", held, digits=0))
    (given.docs / "benchmarks.md").write_text(page(cases, most, given.rounds))
    kept = {case.name: {name: [asdict(one) for one in runs] for name, runs in case.runs.items()} for case in cases}
    (plots / "figures.json").write_text(json.dumps(kept, indent=1) + "\n")
    console.print(f"wrote {given.docs / 'benchmarks.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
