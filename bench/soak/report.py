"""What a soak found, as tables on the terminal, a line in results.jsonl, and docs/SOAK.md.

Decides which figures are judged and by which bounds (``BOUNDS``), and what fails a soak. Invariant: a figure that is
not judged is named with the reason. Not responsible for: the judgement itself (``series``).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.report import Target
from bench.soak.people import Tally
from bench.soak.series import GROWS, SHORT, Bound, Growth, judge
from bench.soak.watching import Series

PAGE = Path(__file__).resolve().parents[2] / "docs" / "SOAK.md"
SURVIVORS = ("shard-0#1", "gateway-0#1")
TREE = 85
"""Regions of a world whose squares go down to level 3, all levels together."""
BOUNDS = {
    "memory MiB": Bound(4.0, 0.05, "allocators keep what the largest moment took (a move's dump is held whole)"),
    "memory blocks": Bound(2_000, 0.03, "Python objects: exact, but people come and go"),
    "descriptors": Bound(2, 0, "no trend; a link more or less at the moment of a sample"),
    "tasks": Bound(2, 0, "no trend; a question to a store that is under way"),
    "descriptors of a gateway": Bound(16, 0, "no trend; one for each person, and people change their gateway"),
    "tasks of a gateway": Bound(40, 0, "no trend; two or three for each person, and people change their gateway"),
    "link bytes waiting": Bound(64 << 10, 0, "no trend; one snapshot under way"),
    "connections": Bound(2, 0, "all gateways: people are as many all the time"),
    "entities": Bound(5, 0, "all shards: ducks, and people who are as many all the time"),
    "held: bodies": Bound(2, 0, "all shards: people are as many all the time"),
    "held: remembered": Bound(2, 0, "all shards: people are as many all the time"),
    "held: sessions": Bound(2, 0, "all gateways: people are as many all the time"),
    "held: asked": Bound(2, 0, "all gateways: people are as many all the time"),
    "held: ghosts": Bound(30, 0.2, "all shards: ducks drift to borders and away; smaller regions have more of them"),
    "held: tombstones": Bound(10, 0.2, "all shards: those who crossed in the last seconds"),
    "held: mirrored": Bound(220, 0, "there are 216 in all, and a gateway mirrors what its people see"),
    "held: sessions_elsewhere": Bound(16, 0, "there are 16 people in all, and they change their gateway"),
    "held: gateways": Bound(4, 0, "most of one region: those who spoke in the last 40 s, lives that ended included"),
    "held": Bound(3, 0, "no trend; members and their lives"),
    "etcd keys": Bound(2, 0, "no trend; a wish that is under way, a member that begins (those of regions apart)"),
    "etcd keys of regions": Bound(TREE, 0, "one for each region that there is or was; the tree has 85"),
    "etcd leases": Bound(2, 0, "no trend; a life that has ended a moment ago, an operator's"),
    "etcd watchers": Bound(2, 0, "no trend; one for each member"),
    "rows: entity": Bound(5, 0, "living ones: ducks and people"),
    "rows: pose": Bound(TREE, 0, "two for each leaf at most"),
    "rows: region": Bound(TREE, 0, "one for each region that there ever was; the tree has 85"),
    "rows: note": Bound(TREE, 0, "one for each region that there ever was; the tree has 85"),
}
UNJUDGED = {
    "etcd file MiB": "etcd keeps ten to twenty minutes of history (compaction); its quota is 256 MiB",
    "etcd file in use MiB": "the same, without what it will use again",
    "rows: tombstone": "one for each entity that ended, for a day",
    "rows: action": "the newest 64 of each session, for a week",
    "rows: session": "one for each person that there was, for a week",
    "database MiB": "rows above, and what vacuum has not freed yet",
}


def bound_of(who: str, figure: str) -> Bound | None:
    """The bound that a figure is held to; None: it is shown alone."""
    if figure == "memory MiB" and who in ("etcd", "postgresql"):
        return None
    return BOUNDS.get(figure) or BOUNDS.get(figure.partition(":")[0])


@dataclass(frozen=True)
class Done:
    """One disturbance. ``problem``: why it failed; empty: it did not."""

    kind: str
    what: str
    at_s: float
    took_s: float
    problem: str


@dataclass
class Outcome:
    """A whole soak."""

    minutes: float
    people: int
    seed: int
    done: list[Done]
    tally: Tally
    problems: list[str]
    series: Series

    def growths(self) -> list[Growth]:
        """Of all judged figures and lives, those that were too short included."""
        return [
            judge(who, figure, samples, bound)
            for (who, figure), samples in sorted(self.series.items())
            if (bound := bound_of(who, figure)) is not None
        ]

    def targets(self) -> list[Target]:
        """What the exit status says."""
        growing = sum(growth.verdict == GROWS for growth in self.growths())
        unjudged = sum(growth.verdict == SHORT and growth.who in SURVIVORS for growth in self.growths())
        return [
            Target("figures that grow", float(growing), 0.0),
            Target("figures of shard-0 and gateway-0 that ran too short to judge", float(unjudged), 0.0),
            Target("complaints of people", float(len(self.tally.complaints)), 0.0),
            Target("disturbances that failed", float(sum(bool(done.problem) for done in self.done)), 0.0),
            Target("other problems", float(len(self.problems)), 0.0),
        ]

    def figures(self) -> dict[str, Any]:
        """For results.jsonl: verdicts, not samples."""
        judged = [asdict(growth) for growth in self.growths() if growth.verdict != SHORT]
        return {
            "soak": {
                "minutes": self.minutes,
                "people": self.people,
                "seed": self.seed,
                "disturbances": Counter(done.kind for done in self.done),
                "failed": [asdict(done) for done in self.done if done.problem],
                "joins": self.tally.joins,
                "deeds": self.tally.deeds,
                "slowest_deed_s": self.tally.slowest_s,
                "losses_planned": self.tally.losses_planned,
                "complaints": self.tally.complaints,
                "problems": self.problems,
                "growth": judged,
            }
        }


TROUBLE_HEADINGS = ("kind", "times", "until all go on, s: median / most", "slowest answer, s", "failed", "why")
HEADINGS = ("process", "figure", "life min", "first third", "last third", "most", "per hour", "allowed", "")


def _row(growth: Growth) -> list[str]:
    values = (growth.first, growth.last, growth.most, growth.per_hour, growth.allowed)
    told = [f"{value:,.1f}" if value % 1 else f"{value:,.0f}" for value in values]
    return [growth.who, growth.figure, f"{growth.life_s / 60:.1f}", *told, growth.verdict]


def _shown(outcome: Outcome) -> list[Growth]:
    """Those that were judged; when none was (a short run), those that outlived all."""
    growths = outcome.growths()
    judged = [growth for growth in growths if growth.verdict != SHORT]
    return judged or [growth for growth in growths if growth.who in SURVIVORS or "#" not in growth.who]


def _disturbances(outcome: Outcome) -> list[list[str]]:
    by_kind: dict[str, list[Done]] = defaultdict(list)
    for done in outcome.done:
        by_kind[done.kind].append(done)
    rows = []
    for kind, all_of in sorted(by_kind.items()):
        well = sorted(done.took_s for done in all_of if not done.problem)
        spread = f"{well[len(well) // 2]:.1f} / {well[-1]:.1f}" if well else "-"
        failed = [done.problem for done in all_of if done.problem]
        slowest = f"{outcome.tally.slowest_s.get(kind, 0.0):.1f}"
        rows.append([kind, str(len(all_of)), spread, slowest, str(len(failed)), failed[0] if failed else ""])
    return rows


def _alone(outcome: Outcome) -> list[list[str]]:
    return [
        [who, figure, f"{samples[0][1]:,.1f}", f"{samples[-1][1]:,.1f}", UNJUDGED[figure]]
        for (who, figure), samples in sorted(outcome.series.items())
        if figure in UNJUDGED
    ]


def show(console: Console, outcome: Outcome) -> None:
    """Everything, for a terminal."""
    _table(console, "Disturbances", TROUBLE_HEADINGS,
           _disturbances(outcome))  # fmt: skip
    _table(console, "Growth", HEADINGS, [_row(growth) for growth in _shown(outcome)])
    _table(console, "Not judged", ("where", "figure", "first", "last", "why"), _alone(outcome))
    tally = outcome.tally
    console.print(
        f"{outcome.people} people: {tally.joins} joins, {tally.deeds} deeds answered (slowest "
        f"{max(tally.slowest_s.values(), default=0.0):.1f} s), {tally.lines_heard} lines heard, connections lost "
        f"as planned {dict(tally.losses_planned)}"
    )
    for text in [*tally.complaints[:20], *outcome.problems]:
        console.print(text, style="red", markup=False)


def _table(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    console.print(table, "", markup=False)


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def write(outcome: Outcome, measured_on: str, path: Path = PAGE) -> None:
    """Write docs/SOAK.md anew."""
    tally, targets = outcome.tally, outcome.targets()
    slowest_s = max(tally.slowest_s.values(), default=0.0)
    verdicts = _markdown(
        ("judged", "found", "allowed", ""),
        [[target.name, f"{target.value:g}", f"{target.limit:g}", target.verdict] for target in targets],
    )
    reasons = _markdown(
        ("figure", "the last third may exceed the first by", "why"),
        [[name, f"{bound.slack:g} + {100 * bound.part:g} %", bound.why] for name, bound in BOUNDS.items()],
    )
    said = "".join(f"- {text}\n" for text in [*tally.complaints, *outcome.problems]) or "None.\n"
    path.write_text(
        f"""# A soak

Written by `python -m bench.soak --write` (`make soak`); do not edit. {measured_on}

A real cluster (etcd, PostgreSQL, a placer, three shards, two gateways) for {outcome.minutes:g} minutes, seed
{outcome.seed}, with {outcome.people} people who join, walk, do numbered deeds, talk and leave all the time:
{tally.joins} joins, {tally.deeds} deeds answered (the slowest after {slowest_s:.1f} s). One disturbance
after the other; after each, everybody must have got another answer. shard-0 and gateway-0 are never killed nor drained:
growth shows over them.

{verdicts}
## Disturbances

{_markdown(TROUBLE_HEADINGS, _disturbances(outcome))}
## Growth

Of each life of a process the first 15 % are left out, then the median of the first third of the rest is compared with
the last third's. More than the bound below, and more than twice the samples' spread, is growth. Lives shorter than ten
minutes are not judged.

{_markdown(HEADINGS, [_row(growth) for growth in _shown(outcome)])}
{reasons}
## Not judged, and why

{_markdown(("where", "figure", "first", "last", "why"), _alone(outcome))}
## Complaints

{said}"""
    )
