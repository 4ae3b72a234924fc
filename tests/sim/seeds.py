"""Many seeds of one simulation over all cores: each is run and checked, and all together must have tried everything.

Decides that a run fails when a seed fails, or when a fault or a transition of the state machines occurred in none.
Not responsible for: what is checked (the tests).
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.sim import test_shards, test_whole
from tests.sim.storms import FAULTS, MESSAGES, WHOLE_FAULTS, totals
from tests.sim.tally import GATEWAYS, TRANSITIONS


def of_shards(seed: int) -> Counter[str]:
    """One seed of shards and placers: what happened. Raises AssertionError."""
    return totals(test_shards.run(seed))


def of_whole(seed: int) -> Counter[str]:
    """One seed of the whole cluster: what happened. Raises AssertionError."""
    return totals(test_whole.run(seed))


KINDS: dict[str, tuple[Callable[[int], Counter[str]], Sequence[str]]] = {
    "shards": (of_shards, (*FAULTS, *MESSAGES, *TRANSITIONS)),
    "whole": (of_whole, (*WHOLE_FAULTS, *MESSAGES, *TRANSITIONS, *GATEWAYS)),
}
"""Simulations, and what must occur in many seeds of them."""


@dataclass(slots=True)
class Seeds:
    """What came of many."""

    run: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


def _one(kind: str, seed: int) -> tuple[int, Counter[str], str | None]:
    try:
        return seed, KINDS[kind][0](seed), None
    except AssertionError as error:
        return seed, Counter(), str(error) or "an assertion without words"


def run(kind: str, seeds: Sequence[int], jobs: int) -> Seeds:
    """Run them all, ``jobs`` at a time."""
    found = Seeds()
    with ProcessPoolExecutor(jobs) as pool:
        for seed, counts, problem in pool.map(_one, [kind] * len(seeds), seeds):
            found.run += 1
            found.counts += counts
            if problem is not None:
                found.failed[seed] = problem
                sys.stdout.write(f"seed {seed}: {problem}\nagain: make sim SEED={seed} OF={kind}\n")
            sys.stdout.flush()
    return found


def report(kind: str, found: Seeds) -> int:
    """Show what happened; returns the exit status."""
    expected = KINDS[kind][1]
    table = Table(title=f"{found.run} seeds", box=None, pad_edge=False, title_justify="left")
    for _ in range(3):
        table.add_column(overflow="fold")
        table.add_column(justify="right")
    cells = [(what, f"{found.counts[what]:,}") for what in expected]
    third = -(-len(cells) // 3)
    for row in range(third):
        table.add_row(*(part for cell in cells[row::third] for part in cell))
    Console(width=140).print(table, markup=False)
    never = [what for what in expected if not found.counts[what]]
    if never:
        sys.stdout.write(f"these never happened: {', '.join(never)}\n")
    if found.failed:
        sys.stdout.write(f"{len(found.failed)} seeds failed: {sorted(found.failed)}\n")
    return int(bool(never or found.failed))
