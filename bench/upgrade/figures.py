"""What came of each kind of step, what it is held to, and the table of docs/SCALING.md.

Decides what "nobody notices" means in figures. Invariant: pure. Not responsible for: measuring (``crowd``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.report import Target
from bench.upgrade.crowd import Noticed

GAP_TICKS = 2
CORRECTION_M = 0.1
HEADINGS = (
    "step", "times", "s to end p50 / max", "switches", "frames", "gap p99 / max, ticks", "later than 2",
    "longest without a frame, ms", "all others seen after, ticks", "own correction max, cm", "closes unplanned",
)  # fmt: skip


@dataclass
class Step:
    """All steps of one kind. ``ended_s``: how long each process took to end after SIGTERM."""

    what: str
    ended_s: list[float] = field(default_factory=list)
    noticed: Noticed = field(default_factory=Noticed)

    def row(self) -> tuple[str, ...]:
        """As HEADINGS has it."""
        n = self.noticed
        gaps = np.array(n.gaps_ticks or [0])
        ended = f"{np.median(self.ended_s):.1f} / {max(self.ended_s):.1f}" if self.ended_s else "-"
        return (
            self.what, str(len(self.ended_s)), ended, f"{n.switches:,}", f"{len(gaps):,}",
            f"{np.percentile(gaps, 99):g} / {gaps.max()}", f"{n.late(GAP_TICKS):,}", f"{n.silent_ms:.0f}",
            str(n.filled_ticks), f"{100 * n.correction_m:.1f}", str(len(n.unplanned)),
        )  # fmt: skip


@dataclass(frozen=True)
class Ending:
    """How long a loaded process took to end. ``had``: what it had to give away."""

    what: str
    had: str
    ended_s: float


def targets(steps: Sequence[Step], rest: Step) -> list[Target]:
    """What nobody may notice. Frames that are late while nothing is done are the machine's, not the step's: the part of
    late frames is compared with that."""
    all_of = Noticed()
    for step in steps:
        all_of.add(step.noticed)
    gaps = np.array(all_of.gaps_ticks or [0])
    return [
        Target("connections that ended unplanned", float(len(all_of.unplanned)), 0.0),
        Target("numbers changed, acts lost or doubled", float(len(all_of.odd)), 0.0),
        Target("own correction", all_of.correction_m, CORRECTION_M, "m"),
        Target("gap between applied frames, p99", float(np.percentile(gaps, 99)), float(GAP_TICKS), "ticks"),
        Target(
            "frames later than 2 ticks, beside those at rest",
            max(0.0, all_of.late(GAP_TICKS) / len(gaps) - rest.noticed.late(GAP_TICKS) / len(rest.noticed.gaps_ticks)),
            0.005,
        ),
    ]


def document(steps: Sequence[Step], endings: Sequence[Ending], people: int, measured: str) -> str:
    """The part of docs/SCALING.md."""
    lines = [f"{measured} {people} people, half of them over UDP, half speaking the next version as well.", ""]
    lines += [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(step.row())} |" for step in steps]
    lines += ["", "| process | what it had | s from SIGTERM to its end |", "| --- | --- | --- |"]
    lines += [f"| {ending.what} | {ending.had} | {ending.ended_s:.1f} |" for ending in endings]
    return "\n".join(lines)
