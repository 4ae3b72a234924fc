"""From the monotonic clock, by which a process measures, to Unix time, by which recordings of several lie side by side."""

import time

TRIES = 3


def unix_of_monotonic_s() -> float:
    """What to add to a time of the monotonic clock to have Unix time: of some tries the one that nothing came between."""
    tries = []
    for _ in range(TRIES):
        before_s, unix_s, after_s = time.monotonic(), time.time(), time.monotonic()
        tries.append((after_s - before_s, unix_s - (before_s + after_s) / 2))
    return min(tries)[1]
