"""Figures of all faults of each kind, what they are held to, and how they are shown.

Decides the promises (the design's, and what follows from them for faults that nobody should notice). Invariant: what
did not come about counts as infinitely late, never as not measured. Not responsible for: measuring (``crowd``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.report import Target, commit, machine

DETECTED_S = {"shard": 1.0, "gateway": 1.0, "placer": 1.0, "silent": 4.5}
AGAIN_S = {"silent": 8.0, "partition": 8.0}
AGAIN_OTHERS_S = 5.0
UNNOTICED = ("placer", "etcd", "postgres", "etcd-away")
POSE_S = 1.0
ACTS = 100_000
BOOKS = 4
BEGIN, END = "<!-- figures: written by `make bench-failover` -->", "<!-- end of figures -->"
HEADINGS = (
    "fault", "times", "detected p50 / max", "affected", "moving again p50 / p99 / max", "pose age p50 / max",
    "stood still p50 / max", "frame gap p50 / max", "answer p50 / max", "connections lost",
)  # fmt: skip


@dataclass
class Figures:
    """Of all faults of one kind, seconds."""

    detected_s: list[float] = field(default_factory=list)
    undetected: int = 0
    again_s: list[float] = field(default_factory=list)
    never: int = 0
    ages_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    stills_s: list[float] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)
    losses: int = 0
    faults: int = 0
    affected: int = 0

    def add(self, told: dict[str, Any], detects: bool) -> None:
        """One more."""
        self.faults += 1
        self.affected += told["affected"]
        if told["detected_s"] is not None:
            self.detected_s.append(told["detected_s"])
        elif detects:
            self.undetected += 1
        self.again_s += [again_s for again_s in told["again_s"] if again_s is not None]
        self.never += sum(again_s is None for again_s in told["again_s"])
        self.ages_s += told["ages_s"]
        self.gaps_s.append(told["gap_s"])
        self.stills_s.append(told["still_s"])
        self.answers_s.append(told["answer_s"])
        self.losses += told["losses"]


@dataclass
class Acts:
    """What became of acts, all clusters together. ``missing``: answered, and not in the books; ``more``: the other
    way."""

    answered: int = 0
    missing: int = 0
    more: int = 0
    wrong: list[str] = field(default_factory=list)
    bodies: int = 0

    def add(self, settled: dict[str, Any]) -> None:
        """A cluster has come to rest."""
        self.answered += settled["done"]
        off = settled["done"] - settled["entries"]
        self.missing += max(0, off)
        self.more += max(0, -off)
        self.wrong += settled["wrong"]
        self.bodies += settled["bodies"]
        if settled["books"] != BOOKS:
            self.wrong.append(f"{settled['books']} of {BOOKS} books are there")

    def join(self, other: "Acts") -> None:
        """And those of another cluster."""
        self.answered += other.answered
        self.missing += other.missing
        self.more += other.more
        self.wrong += other.wrong
        self.bodies += other.bodies


def rows(found: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """One line for each kind, under HEADINGS."""
    return [
        (
            kind, str(f.faults), _spread(f.detected_s, 50, 100), str(f.affected), _spread(f.again_s, 50, 99, 100),
            _spread(f.ages_s, 50, 100), _spread(f.stills_s, 50, 100), _spread(f.gaps_s, 50, 100),
            _spread(f.answers_s, 50, 100), str(f.losses),
        )
        for kind, f in found.items()
    ]  # fmt: skip


def show(console: Console, found: Mapping[str, Figures]) -> None:
    """Print each kind as a line."""
    table = Table(title="Failover, seconds", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for row in rows(found):
        table.add_row(*row)
    console.print(table, "")


def document(path: Path, found: Mapping[str, Figures], acts: Acts) -> None:
    """Put the figures of a whole run into a page, in the place of those before. Raises ValueError without a place."""
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: {BEGIN} and {END} say where figures go")
    here = machine()
    about = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {here['cores']} cores of {here['cpu']}."
    told = (
        f"{acts.answered:,} acts were answered: {acts.missing} lost, {acts.more} too many, {acts.bodies} bodies lost."
    )
    lines = [_line(HEADINGS), _line(["---"] * len(HEADINGS)), *map(_line, rows(found))]
    path.write_text(before + begin + "\n\n" + f"{about} {told}\n\n" + "\n".join(lines) + "\n\n" + end + after)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float], *percents: int) -> str:
    return " / ".join(f"{value:.2f}" for value in np.percentile(values, percents)) if values else "-"


def targets_of(found: dict[str, Figures], acts: Acts, *, whole: bool) -> list[Target]:
    """The promises, with what was measured of them. ``whole``: enough was done to speak of all."""
    targets = []
    for kind, f in found.items():
        if kind in DETECTED_S:
            worst_s = float("inf") if f.undetected else max(f.detected_s, default=None)
            targets.append(Target(f"{kind}: detected, worst", worst_s, DETECTED_S[kind], "s"))
        again_s = float(np.percentile(f.again_s, 99)) if f.again_s else None
        limit_s = AGAIN_S.get(kind, AGAIN_OTHERS_S)
        targets.append(Target(f"{kind}: moving again, p99", float("inf") if f.never else again_s, limit_s, "s"))
        if f.ages_s:
            targets.append(Target(f"{kind}: pose age, worst", max(f.ages_s), POSE_S, "s"))
        if kind in UNNOTICED:
            targets.append(Target(f"{kind}: somebody stood still, worst", max(f.stills_s), AGAIN_OTHERS_S, "s"))
            targets.append(Target(f"{kind}: connections lost", f.losses, 0))
    targets.append(Target("acknowledged acts lost", acts.missing, 0))
    targets.append(Target("acts done without an answer, or twice", acts.more, 0))
    targets.append(Target("answers that are not the next number, or nobody's", len(acts.wrong), 0))
    targets.append(Target("bodies lost", acts.bodies, 0))
    if whole:
        targets.append(Target(f"acts short of {ACTS:,}", max(0, ACTS - acts.answered), 0))
    return targets
