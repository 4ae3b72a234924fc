"""``python -m bench.failover``: real processes are killed, cut off and restarted under a walking and acting crowd, and
what clients notice is held to what is promised (docs/FAILOVER.md explains the figures).

Exit status: 0 when every target is met, 1 when one is missed, 2 when the cluster did not come back.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.failover.cluster import Cluster, running
from bench.failover.faults import KINDS, Fault
from bench.process import ChildFailed
from bench.report import RESULTS, Target, record, show_targets

SEVERAL, ALONE = ("etcd-0", "etcd-1", "etcd-2"), ("etcd-0",)
DETECTED_S = {"shard": 1.0, "gateway": 1.0, "placer": 1.0, "silent": 4.5}
AGAIN_S = {"silent": 8.0, "partition": 8.0}
AGAIN_OTHERS_S = 5.0
UNNOTICED = ("placer", "etcd", "postgres", "etcd-away")
POSE_S = 1.0
ACTS = 100_000
REST_S = 1.0
"""Between the cluster's being whole and the next fault."""


@dataclass
class Figures:
    """Of all faults of one kind, seconds."""

    detected_s: list[float] = field(default_factory=list)
    undetected: int = 0
    again_s: list[float] = field(default_factory=list)
    never: int = 0
    ages_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)
    losses: int = 0
    faults: int = 0
    affected: int = 0

    def add(self, told: dict[str, Any], detects: bool) -> None:
        """One more."""
        self.faults += 1
        self.affected += told["affected"]
        if told["detected_s"] is not None:
            self.detected_s.append(told["detected_s"])
        elif detects:
            self.undetected += 1
        self.again_s += [again_s for again_s in told["again_s"] if again_s is not None]
        self.never += sum(again_s is None for again_s in told["again_s"])
        self.ages_s += told["ages_s"]
        self.gaps_s.append(told["gap_s"])
        self.answers_s.append(told["answer_s"])
        self.losses += told["losses"]


@dataclass
class Acts:
    """What became of acts, all clusters together. ``missing``: answered, and not in the books; ``more``: the other
    way."""

    answered: int = 0
    missing: int = 0
    more: int = 0
    wrong: list[str] = field(default_factory=list)
    bodies: int = 0

    def add(self, settled: dict[str, Any]) -> None:
        """A cluster has come to rest."""
        self.answered += settled["done"]
        off = settled["done"] - settled["entries"]
        self.missing += max(0, off)
        self.more += max(0, -off)
        self.wrong += settled["wrong"]
        self.bodies += settled["bodies"]
        if settled["books"] != 4:
            self.wrong.append(f"{settled['books']} of 4 books are there")


def hit(cluster: Cluster, kind: str, rng: np.random.Generator) -> tuple[Fault, dict[str, Any]]:
    """One fault, until the cluster is whole again; and what was noticed. Raises ChildFailed."""
    fault = KINDS[kind](cluster, rng)
    if fault.mend_after_s is not None:
        time.sleep(max(0.0, fault.at_s + fault.mend_after_s - time.monotonic()))
        fault.mend()
    cluster.until("all walk again", lambda state: not state["standing"] and not state["orphans"])
    told = _measured(cluster, fault)
    if fault.mend_after_s is None:
        fault.mend()
    cluster.until("the cluster is whole", lambda state: cluster.is_whole(state) and not state["silent"])
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
                    f"{_short(max(told['ages_s'], default=None))}, gap {_short(told['gap_s'])}, answer "
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


def show(console: Console, found: dict[str, Figures]) -> None:
    """Print each kind as a line."""
    table = Table(title="Failover, seconds", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in (
        "fault", "times", "detected p50 / max", "affected", "moving again p50 / p99 / max", "pose age p50 / max",
        "frame gap p50 / max", "answer p50 / max", "connections lost",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for kind, f in found.items():
        table.add_row(
            kind, str(f.faults), _spread(f.detected_s, 50, 100), str(f.affected), _spread(f.again_s, 50, 99, 100),
            _spread(f.ages_s, 50, 100), _spread(f.gaps_s, 50, 100), _spread(f.answers_s, 50, 100), str(f.losses),
        )  # fmt: skip
    console.print(table, "")


def _spread(values: Sequence[float], *percents: int) -> str:
    return " / ".join(f"{value:.2f}" for value in np.percentile(values, percents)) if values else "-"


def targets_of(found: dict[str, Figures], acts: Acts, *, whole: bool) -> list[Target]:
    """The promises, with what was measured of them. ``whole``: enough was done to speak of all."""
    targets = []
    for kind, f in found.items():
        if kind in DETECTED_S:
            worst_s = float("inf") if f.undetected else max(f.detected_s, default=None)
            targets.append(Target(f"{kind}: detected, worst", worst_s, DETECTED_S[kind], "s"))
        again_s = float(np.percentile(f.again_s, 99)) if f.again_s else None
        limit_s = AGAIN_S.get(kind, AGAIN_OTHERS_S)
        targets.append(Target(f"{kind}: moving again, p99", float("inf") if f.never else again_s, limit_s, "s"))
        if f.ages_s:
            targets.append(Target(f"{kind}: pose age, worst", max(f.ages_s), POSE_S, "s"))
        if kind in UNNOTICED:
            targets.append(Target(f"{kind}: connections lost", f.losses, 0))
    targets.append(Target("acknowledged acts lost", acts.missing, 0))
    targets.append(Target("acts done without an answer, or twice", acts.more, 0))
    targets.append(Target("answers that are not the next number, or nobody's", len(acts.wrong), 0))
    targets.append(Target("bodies lost", acts.bodies, 0))
    if whole:
        targets.append(Target(f"acts short of {ACTS:,}", max(0, ACTS - acts.answered), 0))
    return targets


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
                    acts = Acts(
                        acts.answered + done.answered, acts.missing + done.missing, acts.more + done.more,
                        acts.wrong + done.wrong, acts.bodies + done.bodies,
                    )  # fmt: skip
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
        kept = {kind: vars(figures) for kind, figures in found.items()}
        record({"failover": json.loads(json.dumps(kept)), "acts": vars(acts)}, targets, RESULTS)
    return int(any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
