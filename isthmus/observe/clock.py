"""From the monotonic clock, by which a process measures, to Unix time, by which several are compared.

Not responsible for: how far the machines' clocks are from each other.
"""

import time

TRIES = 3


def unix_of_monotonic_s() -> float:
    """What to add to a time of the monotonic clock to have Unix time: of some tries that which nothing came between."""
    tries = []
    for _ in range(TRIES):
        before_s, unix_s, after_s = time.monotonic(), time.time(), time.monotonic()
        tries.append((after_s - before_s, unix_s - (before_s + after_s) / 2))
    return min(tries)[1]
