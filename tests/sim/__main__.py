"""Runs of the simulator by hand: one seed again, or new seeds until told to stop.

``python -m tests.sim --seed N [--of one|shards|whole|datagrams]`` says what happened; ``--of datagrams`` runs all cells
of the matrix (seed 1, without one). ``--count M [--seed N]`` runs M seeds of the whole, half as many again of shards,
and the matrix, over all cores (``seeds``); ``--storm`` begins at that seed (at one that is drawn, without), goes on
until Ctrl-C, and names every seed that failed.
"""

import argparse
import os
import sys
from collections.abc import Callable

import numpy as np

from tests.sim import matrix, scenario, seeds, test_shards, test_whole
from tests.sim.storms import totals


def _one(seed: int) -> object:
    return scenario.run(seed)


def _shards(seed: int) -> object:
    world = test_shards.run(seed)
    return dict(totals(world)), world.digest()


def _whole(seed: int) -> object:
    world = test_whole.run(seed)
    return dict(totals(world)), world.digest()


def _datagrams(seed: int) -> object:
    return matrix.table(matrix.run(cell, seed) for cell in matrix.CELLS)


RUNS: dict[str, Callable[[int], object]] = {
    "one": _one, "shards": _shards, "whole": _whole, "datagrams": _datagrams
}  # fmt: skip
"""A gateway pair before one shard; shards and placers; the whole cluster; the same pair over each bad network."""


def storm(run: Callable[[int], object], first: int) -> int:
    """Seed after seed until Ctrl-C; returns how many failed."""
    failed, seed = 0, first
    try:
        while True:
            try:
                run(seed)
            except AssertionError as error:
                failed += 1
                sys.stdout.write(f"seed {seed}: {error}\n")
            seed += 1
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    sys.stdout.write(f"{seed - first} seeds from {first}: {failed} failed\n")
    return failed


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--of", choices=sorted(RUNS), default="one")
    parser.add_argument("--storm", action="store_true")
    parser.add_argument("--count", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.count is not None:
        first = given.seed or 0
        found = seeds.run(sorted(seeds.KINDS), range(first, first + given.count), given.jobs)
        return seeds.report(found, seeds.EXPECTED, enough=given.count >= seeds.ENOUGH)
    run = RUNS[given.of]
    if given.storm:
        drawn = int(np.random.default_rng().integers(1_000_000))
        return min(1, storm(run, drawn if given.seed is None else given.seed))
    if given.seed is None and given.of == "datagrams":
        given.seed = 1
    if given.seed is None:
        parser.error("name a --seed, or --storm")
    try:
        outcome = run(given.seed)
    except AssertionError as error:
        sys.stdout.write(f"seed {given.seed}: {error}\n")
        return 1
    sys.stdout.write(f"{outcome}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
