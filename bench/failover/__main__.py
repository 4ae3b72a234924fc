"""``python -m bench.failover``: real processes are killed, cut off and restarted under a walking and acting crowd, and
what clients notice is held to what is promised (docs/FAILOVER.md explains the figures, and has those of the last run).

Exit status: 0 when every target is met, 1 when one is missed, 2 when the cluster did not come back.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.failover.cluster import Cluster, running
from bench.failover.faults import KINDS, Fault
from bench.failover.figures import Acts, Figures, document, show, targets_of
from bench.prepare import BENCH
from bench.process import ChildFailed
from bench.report import RESULTS, record, show_targets

SEVERAL, ALONE = ("etcd-0", "etcd-1", "etcd-2"), ("etcd-0",)
DOCUMENT = BENCH.parent / "docs" / "FAILOVER.md"
REST_S = 1.0
"""Between the cluster's being whole and the next fault."""


def hit(cluster: Cluster, kind: str, rng: np.random.Generator) -> tuple[Fault, dict[str, Any]]:
    """One fault, until the cluster is whole again; and what was noticed. Raises ChildFailed."""
    fault = KINDS[kind](cluster, rng)
    if fault.mend_after_s is not None:
        time.sleep(max(0.0, fault.at_s + fault.mend_after_s - time.monotonic()))
        fault.mend()
    cluster.until("all walk again", lambda state: not state["standing"] and not state["orphans"])
    _measured(cluster, fault)
    if fault.mend_after_s is None:
        fault.mend()
    time.sleep(fault.rest_s)
    cluster.until("the cluster is whole", lambda state: cluster.is_whole(state) and not state["silent"])
    told = _measured(cluster, fault)
    time.sleep(REST_S)
    return fault, told


def _measured(cluster: Cluster, fault: Fault) -> dict[str, Any]:
    """Again while somebody of the affected does not move, or the store has not told of the death."""
    end_s = time.monotonic() + 30.0
    while True:
        told = cluster.measure(fault.at_s, fault.victims, fault.sort)
        whole = None not in told["again_s"] and (told["detected_s"] is not None or not fault.victims)
        if whole or time.monotonic() > end_s:
            return told
        time.sleep(0.1)


def run(
    console: Console, folder: Path, stores: tuple[str, ...], kinds: Sequence[str], given: argparse.Namespace
) -> tuple[dict[str, Figures], Acts]:
    """All faults of these kinds on one cluster, the kinds by turns. Raises ChildFailed."""
    found: dict[str, Figures] = {kind: Figures() for kind in kinds}
    acts, rng = Acts(), np.random.default_rng(given.seed)
    with running(folder, stores, given.people) as cluster:
        for number in range(given.kills):
            for kind in kinds:
                fault, told = hit(cluster, kind, rng)
                found[kind].add(told, bool(fault.victims))
                again = sorted(again_s for again_s in told["again_s"] if again_s is not None)
                console.print(
                    f"{number + 1:3} {kind:9} {fault.what:22} detected {_short(told['detected_s'])}, "
                    f"{told['affected']:2} affected, again {_short(again[-1] if again else None)} at most, pose "
                    f"{_short(max(told['ages_s'], default=None))}, still {_short(told['still_s'])}, "
                    f"gap {_short(told['gap_s'])}, answer "
                    f"{_short(told['answer_s'])}, {told['losses']} losses",
                    style="dim",
                    highlight=False,
                )
                if given.odd:
                    console.print("\n".join(told["odd"]), markup=False, highlight=False, soft_wrap=True)
        acts.add(cluster.settle())
    return found, acts


def _short(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.2f} s"


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="one of each, nothing is kept")
    parser.add_argument("--odd", action="store_true", help="tell of those who came back oldest and latest")
    parser.add_argument("--folder", type=Path, help="where logs are kept; none: nowhere")
    given = parser.parse_args()
    given.kills = 1 if given.smoke else given.kills
    console, began_s = Console(width=200), time.monotonic()
    found: dict[str, Figures] = {}
    acts = Acts()
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        try:
            for stores in (SEVERAL, ALONE):
                kinds = [kind for kind in given.kinds if (kind == "etcd-away") == (stores is ALONE)]
                if kinds:
                    place = folder / f"{len(stores)}"
                    place.mkdir(parents=True, exist_ok=True)
                    part, done = run(console, place, stores, kinds, given)
                    found |= part
                    acts.join(done)
        except ChildFailed as problem:
            console.print(f"bench.failover: {problem}", style="bold red", markup=False)
            return 2
    show(console, found)
    console.print(f"{acts.answered:,} acts were answered; {time.monotonic() - began_s:.0f} s")
    for text in acts.wrong:
        console.print(text, markup=False)
    whole = not given.smoke and given.kinds == list(KINDS)
    targets = targets_of(found, acts, whole=whole)
    show_targets(console, targets)
    if not given.smoke:
        record({"failover": {kind: vars(f) for kind, f in found.items()}, "acts": vars(acts)}, targets, RESULTS)
    if whole:
        document(DOCUMENT, found, acts)
    return int(any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
