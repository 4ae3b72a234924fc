"""``python -m bench``: all cases, a table, one line in bench/results.jsonl; README.md beside this file explains them.

Exit status: 0 when every run was valid and every target that was measured is met, 1 when a target was missed, 2 when a
run was INVALID or a process failed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from bench.contenders import ALL, OURS, OURS_UDP, PEERS
from bench.crowd import CrowdFigures, measure_crowd
from bench.floor import calls_alone
from bench.kernels import ALL_DUE, KernelResult, measure_apart
from bench.latency import Delays, latency_targets, measure_latency, show_latency
from bench.prepare import BENCH, CACHE, PreparationError, Tools, prepare
from bench.process import ChildFailed
from bench.report import ERROR_P999_M, Target, cpu_ratio, record, show_crowd, show_kernels, show_runs, show_targets
from bench.run import Figures, measure
from bench.trajectory import Motion, ensure

COLYSEUS, HAND = ("colyseus-ws",), ("hand-ws", "hand-uws")
CROWDS = {"crowd": (2000, "websocket"), "crowd-3000": (3000, "websocket"), "crowd-udp": (3000, "udp")}
"""Clients and transport of each simulated case."""
SERVERS = {**ALL, OURS_UDP.name: OURS_UDP}
Rounds = list[dict[str, Figures]]


@dataclass(frozen=True)
class Case:
    """A replayed case: each of ``rounds`` runs all of its contenders, one after the other."""

    name: str
    motion: Motion
    clients: int
    visible: float
    rounds: tuple[tuple[str, ...], ...]
    window_s: float = 5.0
    settle_s: float = 2.5
    entities_per_client: int = 10
    calls_alone: bool = True
    """Whether the system calls alone are measured behind each of our runs."""


FULL = (
    Case("500x200", "restless", 500, 200, 2 * ((OURS.name, *COLYSEUS, *HAND),)),
    Case("500x50", "restless", 500, 50, ((OURS.name, *COLYSEUS, *HAND), (OURS.name,))),
    Case("500x50-waypoint", "waypoint", 500, 50, ((OURS.name,),)),
    Case("3000x50", "restless", 3000, 50, ((OURS.name, OURS_UDP.name),), 12.0, 4.0, 2, calls_alone=False),
)
SMOKE_ROUND = (OURS.name, OURS_UDP.name, *COLYSEUS, *HAND)
SMOKE = (Case("smoke", "restless", 20, 10, (SMOKE_ROUND,), window_s=2.0, settle_s=0.7),)


def physical_limit(tools: Tools, run: Figures, seconds: float) -> dict[str, Any]:
    """CPU of the system calls alone, for as many messages of the same mean size as ``run`` had."""
    message_bytes = round(run.bytes_per_s_client / max(0.01, run.messages_per_s_client))
    limit = calls_alone(
        tools, run.clients, message_bytes, run.messages_per_s_client, run.input_wire_bytes, run.inputs_per_s_client,
        seconds,
    )  # fmt: skip
    # By the price of a call: on a busy machine the calls alone may not keep the pace either.
    calls_per_s = run.clients * (run.messages_per_s_client + run.inputs_per_s_client)
    limit["cpu_s_per_s"] = limit["us_per_call"] * 1e-6 * calls_per_s
    return {**limit, "frame_bytes": message_bytes, "frames_per_s": run.messages_per_s_client}


def run_case(console: Console, tools: Tools, case: Case, only: Sequence[str]) -> tuple[Rounds, list[dict[str, Any]]]:
    """All rounds of a case, and the physical limit beside each of our runs."""
    entities = case.entities_per_client * case.clients
    motion = ensure(CACHE / "trajectories", case.motion, case.clients, entities, case.visible)
    rounds: Rounds = []
    limits = []
    for names in case.rounds:
        figures = {}
        for name in (name for name in names if name in only):
            console.print(f"{case.name}: {name} ...", style="dim")
            figures[name] = measure(tools, SERVERS[name], motion, case.clients, case.window_s, case.settle_s)
            if name == OURS.name and case.calls_alone:
                limits.append(physical_limit(tools, figures[name], min(3.0, case.window_s)))
        rounds.append(figures)
    return rounds, limits


def targets_of(
    cases: dict[str, Rounds],
    limits: dict[str, list[dict[str, Any]]],
    crowds: dict[str, CrowdFigures],
    kernels: Sequence[KernelResult],
) -> list[Target]:
    """The promises, with what was measured of them."""
    wide, ours = cases.get("500x200", []), OURS.name
    runs = [
        figures[ours]
        for case in ("500x200", "500x50")
        for figures in cases.get(case, [])
        if ours in figures
    ]  # fmt: skip
    narrow = [figures[ours] for figures in cases.get("500x50", []) if ours in figures]
    over_limit = [
        run.cpu_s_per_s / limit["cpu_s_per_s"] for run, limit in zip(narrow, limits.get("500x50", []), strict=True)
    ]
    errors = [run.error_p999_m for run in runs if run.error_p999_m is not None]
    widest = max((run.bytes_per_entity_tick for run in runs), default=None)
    crowd, large = crowds.get("crowd"), crowds.get("crowd-3000")
    over_udp = crowds.get("crowd-udp")
    late_ms = crowd.tick_p999_s * 1000 if crowd else None

    def missed(figures: CrowdFigures | None) -> float | None:
        return None if figures is None else 20 - figures.ticks_per_s

    dearest_ns = max((load.ns_per_due for load in kernels if load.load == ALL_DUE), default=None)
    return [
        Target("CPU per entity-tick, 500x200: ours / Colyseus", cpu_ratio(wide, ours, COLYSEUS), 0.1),
        Target("CPU per entity-tick, 500x200: ours / hand-written, its cheaper form", cpu_ratio(wide, ours, HAND), 0.7),
        Target("CPU, 500x50: ours / system calls alone", median(over_limit) if over_limit else None, 2.0),
        Target("bytes per entity-tick, restless, worst run", widest, 5.0, "B"),
        Target("error p99.9, restless, worst run", max(errors, default=None), ERROR_P999_M, "m"),
        Target("2000x50 simulated: p99.9 tick", late_ms, 50.0, "ms"),
        Target("2000x50 simulated: ticks a second missed of 20", missed(crowd), 1.0),
        Target("3000x50 simulated: ticks a second missed of 20", missed(large), 1.0),
        Target("3000x50 simulated, UDP: ticks a second missed of 20", missed(over_udp), 1.0),
        Target("kernels, each due update culled and encoded, all due", dearest_ns, 20.0, "ns"),
    ]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one small case, 2 s windows, nothing is judged or kept")
    parser.add_argument("--only", nargs="+", choices=sorted(SERVERS), default=list(SERVERS), help="only these servers")
    names = [*(case.name for case in FULL), "latency", *CROWDS, "kernels"]
    parser.add_argument("--cases", nargs="+", choices=names, default=names, help="run only these cases")
    parser.add_argument("--results", type=Path, default=BENCH / "results.jsonl", help="where the JSON line goes")
    return parser.parse_args()


def main() -> int:
    """Run what was asked for; returns the exit status."""
    given, console, began = arguments(), Console(width=None if sys.stdout.isatty() else 240), time.monotonic()
    try:
        tools = prepare(with_peers=any(name in PEERS for name in given.only))
        cases: dict[str, Rounds] = {}
        limits: dict[str, list[dict[str, Any]]] = {}
        for case in SMOKE if given.smoke else FULL:
            if given.smoke or case.name in given.cases:
                cases[case.name], limits[case.name] = run_case(console, tools, case, given.only)
                show_runs(console, f"{case.name}, {case.motion}", cases[case.name])
        delays: list[dict[str, Delays]] = []
        if "latency" in given.cases and {OURS.name, *COLYSEUS} <= set(given.only):
            delays = measure_latency(console, tools, 1, (20,), 4.0) if given.smoke else measure_latency(console, tools)
            show_latency(console, delays)
        crowds: dict[str, CrowdFigures] = {}
        for name, (clients, transport) in CROWDS.items():
            if not given.smoke and name in given.cases and OURS.name in given.only:
                console.print(f"{name}: isthmus ...", style="dim")
                crowds[name] = measure_crowd(tools, clients, 12.0, 4.0, transport)
                show_crowd(console, crowds[name])
        kernels: list[KernelResult] = []
        if not given.smoke and "kernels" in given.cases and OURS.name in given.only:
            console.print("kernels ...", style="dim")
            kernels = measure_apart()
            show_kernels(console, kernels)
    except (PreparationError, ChildFailed) as error:
        console.print(f"[red]failed[/red]: {error}", markup=True, highlight=False)
        return 2
    runs = [run for rounds in cases.values() for figures in rounds for run in figures.values()]
    valid = all(run.valid for run in runs) and all(crowd.valid for crowd in crowds.values())
    valid &= all(run.valid for each in delays for run in each.values())
    if not valid:
        console.print("[bold red]INVALID[/bold red]: a run may not be judged; its line says why")
    if given.smoke:
        return 0 if valid else 2
    targets = [*targets_of(cases, limits, crowds, kernels), *latency_targets(delays)]
    show_targets(console, targets)
    extra = {
        "valid": valid,
        "physical": limits,
        "latency": [{name: asdict(run) for name, run in each.items()} for each in delays],
        "crowds": {name: asdict(figures) for name, figures in crowds.items()},
        "kernels": [asdict(load) for load in kernels],
    }
    kept = {
        name: [{server: asdict(figures) for server, figures in one.items()} for one in rounds]
        for name, rounds in cases.items()
    }
    record({"cases": kept, **extra}, targets, given.results)
    console.print(f"{time.monotonic() - began:.0f} s; appended to {given.results}")
    if not valid:
        return 2
    return 1 if any(target.verdict == "MISSED" for target in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
