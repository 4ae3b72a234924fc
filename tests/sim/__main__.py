"""``python -m tests.sim --seed N``: run one seed again, and say what happened."""

import argparse
import sys

from tests.sim.scenario import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    seed = parser.parse_args().seed
    try:
        outcome = run(seed)
    except AssertionError as error:
        sys.exit(f"seed {seed}: {error}")
    sys.stdout.write(f"{outcome}\n")
