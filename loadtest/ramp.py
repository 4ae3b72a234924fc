"""How many users there are at each moment: straight lines between the points of a scenario's ramp.

Decides how fast users are started and stopped, so that their number follows the line within a second, which is how
often locust asks. Invariant: pure. Not responsible for: which users (locust's dispatcher, by the shares).
"""

from dataclasses import replace
from itertools import pairwise

from loadtest.scenario import Ramp, Scenario


def scaled(scenario: Scenario, factor: float) -> Scenario:
    """The scenario with ``factor`` times its users. Raises ValueError for a factor that is not positive."""
    if not factor > 0.0:
        raise ValueError(f"a scale is a number above 0, got {factor:g}")
    points = tuple((second, round(users * factor)) for second, users in scenario.ramp.points)
    return replace(scenario, ramp=replace(scenario.ramp, points=points))


def users_at(ramp: Ramp, second: float) -> int | None:
    """The number of users; None when the ramp is over."""
    points = ramp.points
    if second >= points[-1][0]:
        return None
    for (from_s, before), (to_s, after) in pairwise(points):
        if second < to_s:
            part = (max(second, 0.0) - from_s) / (to_s - from_s)
            return round(before + (after - before) * part)
    raise AssertionError("points end where the ramp does")


def aim(ramp: Ramp, second: float, present: int) -> tuple[int, float] | None:
    """How many users there should be in a second from now, and how many are to be started or stopped in each second
    until then; None when the ramp is over."""
    if users_at(ramp, second) is None:
        return None
    # The last point is never reached by a line that is open there: its number holds for the last second.
    wanted = users_at(ramp, second + 1.0)
    wanted = ramp.points[-1][1] if wanted is None else wanted
    return wanted, float(max(1, abs(wanted - present)))
