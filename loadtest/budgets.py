"""Whether a run kept its budgets: one line for each budget and entry, and the verdict over all.

Decides what counts as kept: a figure at most its budget; one that should have been measured and was not has missed. A
run whose generator was itself late, or that ended early, is invalid whatever its figures say: they tell of something
else. Invariant: pure; the same tally gives the same verdict. Not responsible for: exit statuses beyond their numbers.
"""

from dataclasses import dataclass
from enum import IntEnum

from loadtest.figures import LATE, PARTS, Rate, Sampled, rate, split_budget
from loadtest.scenario import Entry, Scenario
from loadtest.tally import GENERATOR, Cell, Tally

EARLY_S = 2.0
"""A run may end so much before its ramp: locust looks at it once a second."""


class Exit(IntEnum):
    """Exit statuses."""

    KEPT = 0
    MISSED = 1
    INVALID = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One budget of one entry. ``value``: None if nothing was measured."""

    entry: str
    budget: str
    title: str
    unit: str
    bound: float
    value: float | None

    @property
    def kept(self) -> bool:
        """At most its budget, and measured."""
        return self.value is not None and self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reasons``: why a run is invalid, empty if it is not."""

    lines: tuple[Line, ...]
    reasons: tuple[str, ...]

    @property
    def exit(self) -> Exit:
        """The exit status that says it."""
        if self.reasons:
            return Exit.INVALID
        return Exit.KEPT if all(line.kept for line in self.lines) else Exit.MISSED


def measures(entry: Entry, figure: Sampled | Rate) -> bool:
    """Whether clients of an entry can have a figure at all, so that a budget for everybody is meant for them."""
    name = figure.name
    if name in ("input_delay_ms", "correction_mm", "corrections_per_min"):
        return entry.moves and (name == "input_delay_ms" or entry.predict)
    if name in ("frame_gap_ms", "stale_ms", "frozen_ms_per_min", "instability"):
        return entry.moves or entry.kind == "tv"
    if name == "without_udp":
        return entry.transport == "datagrams"
    return bool(entry.acts) if name == "act_ms" else True


def always(figure: Sampled | Rate) -> bool:
    """Whether a run without a sample of a figure has failed to measure: corrections and returns may just not occur."""
    return figure.name not in ("correction_mm", "return_ms")


def value(cell: Cell, name: str) -> float | None:
    """The value of the figure that a budget's name says."""
    found = split_budget(name)
    if isinstance(found, Rate):
        return rate(found.name, cell.counts)
    figure, part = found
    histogram = cell.histograms.get(figure.name)
    return None if histogram is None else histogram.percentile(PARTS[part])


def judged_from(scenario: Scenario, began_s: float) -> float:
    """The wall-clock second from which cells are judged. The second in which a run begins holds nothing older than the
    run, so all of it counts; the one in which a warm-up ends does not."""
    warm_up_s = scenario.ramp.judged_from_s
    return began_s + warm_up_s if warm_up_s > 0.0 else float(int(began_s))


def judge(scenario: Scenario, tally: Tally, began_s: float, ended_s: float) -> Verdict:
    """``began_s``, ``ended_s``: wall-clock seconds of the run."""
    from_s = judged_from(scenario, began_s)
    lines = []
    for name, entry in scenario.users.items():
        cell = tally.over(name, from_s, ended_s)
        for budget, bound in {**scenario.budgets, **entry.budgets}.items():
            found = split_budget(budget)
            figure, part = found if isinstance(found, tuple) else (found, "")
            if budget not in entry.budgets and not measures(entry, figure):
                continue
            measured = value(cell, budget)
            if measured is None and not always(figure):
                measured = 0.0
            lines.append(Line(name, budget, f"{figure.title} {part}".strip(), figure.unit, bound, measured))
    return Verdict(tuple(lines), tuple(_reasons(scenario, tally, began_s, ended_s)))


def _reasons(scenario: Scenario, tally: Tally, began_s: float, ended_s: float) -> list[str]:
    reasons = []
    if ended_s - began_s < scenario.duration_s - EARLY_S:
        reasons.append(f"the run ended after {ended_s - began_s:.0f} s of {scenario.duration_s:g}")
    late = tally.over(GENERATOR, judged_from(scenario, began_s), ended_s).histograms.get(LATE.name)
    late_ms = None if late is None else late.percentile(0.99)
    if late_ms is None:
        reasons.append("the load generator measured nothing")
    elif late_ms > scenario.generator.late_p99_ms:
        reasons.append(
            f"the load generator was {late_ms:.0f} ms late (p99; {scenario.generator.late_p99_ms:g} are allowed): "
            "its figures tell of itself. Use more processes or machines, or fewer users"
        )
    return reasons
