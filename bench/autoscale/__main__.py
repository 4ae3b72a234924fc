"""``python -m bench.autoscale``: the settings of k8s/components/autoscaling on simulated days, beside others that are
worse. ``--write`` renews docs/SCALING.md and its pictures. Takes a minute.

Exit status: 0 when what the manifests say keeps its promises on all days, else 1.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.autoscale import page, simulate
from bench.autoscale.day import Day
from bench.autoscale.hpa import DOWN, UP
from bench.autoscale.judge import judge
from bench.autoscale.page import Tried
from bench.autoscale.settings import GATEWAY, SHARD, Settings, read
from bench.autoscale.simulate import restless
from bench.capacity.page import PAGE as CAPACITY
from bench.capacity.page import read as read_costs
from bench.report import Target, show_targets
from bench.written import PAGE, write

SEEDS = 6
SHORT_S, REVERSALS, CHANGES = 180.0, 2, 40
"""What a day may bring: see docs/SCALING.md."""
RUNS: dict[str, tuple[Path, simulate.Run]] = {
    "Shards": (SHARD, simulate.shards),
    "Gateways": (GATEWAY, simulate.gateways),
}


def variants(settings: Settings) -> dict[str, Settings]:
    """What is tried: first what the manifest says."""
    rules = settings.rules
    defaults = replace(rules, up=UP, down=DOWN)
    quick = replace(rules, down=replace(rules.down, window_s=300.0))
    slow = replace(rules, down=replace(rules.down, window_s=1800.0))
    return {
        "the manifest": settings,
        "scale-down window of 300 s": replace(settings, rules=quick),
        "scale-down window of 1800 s": replace(settings, rules=slow),
        "behaviour left to Kubernetes' defaults": replace(settings, rules=defaults),
        "no windows, no policies, no tolerance": restless(settings),
    }


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.autoscale", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--write", action="store_true", help="renew docs/SCALING.md and its pictures")
    given = parser.parse_args()
    costs, limits = read_costs(CAPACITY.read_text())
    tried: dict[str, list[Tried]] = {}
    pictures: dict[str, str] = {}
    targets: list[Target] = []
    for name, (path, run) in RUNS.items():
        tried[name] = []
        for what, settings in variants(read(path)).items():
            courses = [run(settings, costs, limits, Day(), seed) for seed in range(given.seeds)]
            days = [judge(course) for course in courses]
            tried[name].append(Tried(what, days))
            if what == "the manifest":
                pictures[name] = page.picture(name, courses[0])
                targets += [
                    Target(f"{name}: longest without headroom", max(day.short_s for day in days), SHORT_S, "s"),
                    Target(f"{name}: changes taken back soon", float(max(day.reversals for day in days)), REVERSALS),
                    Target(f"{name}: changes", float(max(day.changes for day in days)), CHANGES),
                ]
    console = Console(width=160)
    told = page.text(tried, given.seeds)
    console.print(told, markup=False)
    show_targets(console, targets)
    if given.write:
        write(PAGE, "autoscale", told)
        for name, drawn in pictures.items():
            (PAGE.parent / f"scaling-{name.lower()}.svg").write_text(drawn)
    return int(any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
