"""What is good in a day of an autoscaler: headroom, rest, and no more than is needed.

Invariant: pure. Not responsible for: the day (``simulate``).
"""

from dataclasses import dataclass

import numpy as np

from bench.autoscale.simulate import STEP_S, Course

BUSY = 0.7
"""Load of the busiest process above which its ticks have too little headroom (``capacity.model.Limits.busy``)."""
SOON_S = 900.0
"""A change that is taken back within this was for nothing: flapping."""


@dataclass(frozen=True, slots=True)
class Judged:
    """``short_s``: for how long in a row, at most, the busiest process had too little headroom; ``short_part``: of the
    day; ``changes``: how often the number of replicas changed; ``reversals``: changes that went the other way within
    SOON_S of the one before; ``replica_hours``: what was run, ``most``: at once."""

    short_s: float
    short_part: float
    changes: int
    reversals: int
    replica_hours: float
    most: int


def judge(course: Course) -> Judged:
    """All of one day."""
    short = course.busiest > BUSY
    longest = run = 0
    for is_short in short.tolist():
        run = run + 1 if is_short else 0
        longest = max(longest, run)
    steps = np.diff(course.wanted)
    at = np.flatnonzero(steps)
    turned = np.sign(steps[at][1:]) != np.sign(steps[at][:-1])
    soon = np.diff(course.at_s[at]) <= SOON_S
    return Judged(
        longest * STEP_S,
        float(short.mean()),
        len(at),
        int((turned & soon).sum()),
        float(course.ready.sum()) * STEP_S / 3600.0,
        int(course.wanted.max()),
    )
