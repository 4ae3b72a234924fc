"""Many seeds over all cores: each is run and checked, and all together must have tried everything.

Decides that a run fails when a seed fails, or when a fault or a transition of the state machines occurred in none.
Not responsible for: what is checked (the tests).
"""

import gc
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.sim import matrix, test_shards, test_whole
from tests.sim.storms import AIR_FAULTS, MESSAGES, WHOLE_FAULTS, totals
from tests.sim.tally import DATAGRAMS, GATEWAYS, TRANSITIONS


def of_shards(seed: int) -> Counter[str]:
    """One seed of shards and placers: what happened. Raises AssertionError."""
    return totals(test_shards.run(seed))


def of_whole(seed: int) -> Counter[str]:
    """One seed of the whole cluster: what happened. Raises AssertionError."""
    return totals(test_whole.run(seed))


def of_datagrams(seed: int) -> Counter[str]:
    """One cell of the matrix, the next one with the next seed: what happened. Raises AssertionError."""
    return matrix.run(matrix.CELLS[seed % len(matrix.CELLS)], seed).counts


KINDS: dict[str, Callable[[int], Counter[str]]] = {
    "datagrams": of_datagrams, "shards": of_shards, "whole": of_whole
}  # fmt: skip
PARTS = {"datagrams": 0.2, "shards": 1.5, "whole": 1.0}
"""Of the seeds asked for."""
FOUND: dict[str, tuple[int, ...]] = {"datagrams": (), "shards": (), "whole": ()}
"""Seeds beyond the first hundreds that have found something once: they stay."""
EXPECTED = (*WHOLE_FAULTS, *AIR_FAULTS, *MESSAGES, *TRANSITIONS, *GATEWAYS, *DATAGRAMS)
"""What must occur in many seeds of all kinds."""


@dataclass(slots=True)
class Seeds:
    """What came of many."""

    run: int = 0
    failed: list[str] = field(default_factory=list)
    """How to run them again."""
    counts: Counter[str] = field(default_factory=Counter)


def _one(kind: str, seed: int) -> tuple[int, Counter[str], str | None]:
    try:
        return seed, KINDS[kind](seed), None
    except Exception as error:  # whatever a seed raises is what it has found
        return seed, Counter(), f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
    finally:
        gc.collect()  # a world refers to itself, and Python does not know how large its arrays are


def run(kinds: Sequence[str], seeds: Sequence[int], jobs: int) -> Seeds:
    """Run them all, of each kind, ``jobs`` at a time."""
    found = Seeds()
    with ProcessPoolExecutor(jobs) as pool:
        for kind in kinds:
            first = range(seeds[0], seeds[0] + max(1, round(len(seeds) * PARTS[kind])))
            chosen = [*first, *(seed for seed in FOUND[kind] if seed not in first)]
            for seed, counts, problem in pool.map(_one, [kind] * len(chosen), chosen, chunksize=4):
                found.run += 1
                found.counts += counts
                if problem is not None:
                    found.failed.append(f"make sim SEED={seed} OF={kind}")
                    sys.stdout.write(f"{kind}, seed {seed}: {problem}\n")
                    sys.stdout.flush()
    return found


ENOUGH = 80
"""Seeds of the whole cluster, with half as many again of shards, in which every fault and every transition comes."""


def report(found: Seeds, expected: Sequence[str], *, enough: bool) -> int:
    """Show what happened; returns the exit status. ``enough``: so many seeds that each of ``expected`` must have been
    there once; of fewer it is only told."""
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
        sys.stdout.write(f"{len(found.failed)} failed; again:\n  " + "\n  ".join(found.failed) + "\n")
    return int(bool(never and enough) or bool(found.failed))
