"""``python -m bench.cluster``: what a world over several processes costs, and what crossings in it cost.

The crowd in four forms (one process; one shard and one gateway, over one region and over four; two and two over four),
the mirror factor with clients at random gateways and at those of their surroundings, and crossings between real
processes. A million crossings on virtual time are ``bench.crossings``. Not responsible for: the single process against
others (``bench``).

Exit status: 0 when every target is met, 1 when one is missed, 2 when a run is invalid or a process failed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

from rich.console import Console

from bench import flights, forms, mirrors
from bench.fleet import Form
from bench.forms import RATE_HZ, FormFigures
from bench.prepare import PreparationError, prepare
from bench.process import ChildFailed
from bench.report import Target, record, show_targets

SINGLE = Form("one process", 0, 1)
APART = Form("1 shard + 1 gateway", 1, 1)
CUT = Form("1 + 1, four regions", 1, 1, 1)
"""What of ``SHARED`` over ``APART`` comes from the regions, and what from the processes."""
SHARED = Form("2 shards + 2 gateways", 2, 2, 1)
FORMS = (SINGLE, APART, CUT, SHARED)


def _ratio(over: Sequence[FormFigures], under: Sequence[FormFigures]) -> float:
    return median(a.server_cpu / b.server_cpu for a, b in zip(over, under, strict=True))


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--window-s", type=float, default=8.0)
    parser.add_argument("--crossings", type=int, default=10_000)
    given = parser.parse_args()
    console = Console(width=160)
    runs: list[FormFigures] = []
    try:
        tools = prepare(with_peers=False)
        for _ in range(given.rounds):
            runs += [forms.measure(tools, form, given.clients, given.window_s, 6.0) for form in FORMS]
        forms.show(console, runs)
        mirrored = mirrors.measure()
        mirrors.show(console, mirrored)
        flown = flights.measure(given.crossings)
    except (PreparationError, ChildFailed) as problem:
        console.print(f"bench.cluster: {problem}", style="bold red", markup=False)
        return 2
    costs = {ticks: count for ticks, count in enumerate(flown.delays) if count}
    console.print(f"{flown.crossings:,} crossings between two shards; of these cost ticks: {costs or 'none'}")
    single, apart, cut, shared = (runs[k :: len(FORMS)] for k in range(len(FORMS)))
    console.print(f"CPU of 1 + 1 over four regions / over one: {_ratio(cut, apart):.2f}")
    console.print(f"CPU of 2 + 2 / 1 + 1, both over four regions: {_ratio(shared, cut):.2f}")
    targets = [
        Target("CPU, 1 shard + 1 gateway / one process", _ratio(apart, single), 1.30),
        Target("CPU, 2 shards + 2 gateways / 1 + 1", _ratio(shared, apart), 1.15),
        Target("ticks a second missed of 20, worst run", max(RATE_HZ - f.ticks_per_s for f in runs), 1.0),
        Target("real crossings missing of those asked for", max(0, given.crossings - flown.crossings), 0),
        Target("drones lost", flown.lost, 0),
        Target("drones doubled", flown.doubled, 0),
        Target("extra delay of a real crossing, p99, ticks", flown.p99_ticks, 1),
    ]
    show_targets(console, targets)
    record({"forms": [asdict(f) for f in runs], "mirrors": asdict(mirrored), "flights": asdict(flown)}, targets)
    if not all(f.valid for f in runs) or not flown.calls:
        return 2
    return int(any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
