"""The part of docs/SCALING.md that tells of the simulated day, and its pictures.

Not responsible for: any number (``simulate``, ``judge``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.autoscale.judge import BUSY, Judged
from bench.autoscale.simulate import Course
from loadtest.report.plot import COLOURS, HEIGHT, WIDTH, Line, plot

EVERY = 24
"""Steps between two points of a line: two minutes."""
STYLE = (
    "text{font:11px sans-serif;fill:#555}.grid{stroke:#ddd;fill:none}.title{font-weight:bold;fill:#222}"
    "path{stroke-width:1.4}"
)
HEADINGS = (
    "settings", "changes of the number", "taken back within 15 min", f"busiest above {BUSY:g}, longest s",
    "part of the day, %", "replica hours", "most at once",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """One sort of settings, over all seeds."""

    what: str
    days: Sequence[Judged]

    def row(self) -> tuple[str, ...]:
        """As HEADINGS has it: the mean and, behind a slash, the worst day."""
        days = self.days
        mean_hours = sum(day.replica_hours for day in days) / len(days)
        return (
            self.what, _both([day.changes for day in days]), _both([day.reversals for day in days]),
            f"{max(day.short_s for day in days):.0f}", f"{100 * max(day.short_part for day in days):.2f}",
            f"{mean_hours:.0f}", str(max(day.most for day in days)),
        )  # fmt: skip


def _both(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):.1f} / {max(values)}"


def text(tried: Mapping[str, Sequence[Tried]], seeds: int) -> str:
    """Tables for all targets. Mean / worst of ``seeds`` days."""
    parts = [f"{seeds} days each, mean / worst."]
    for name, rows in tried.items():
        lines = [f"**{name}**", "", f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
        lines += [f"| {' | '.join(row.row())} |" for row in rows]
        parts += ["\n".join(lines), f"![{name}, replicas and load over a day](scaling-{name.lower()}.svg)"]
    return "\n\n".join(parts)


def picture(name: str, course: Course) -> str:
    """An SVG file: replicas and people above, the busiest process's load below."""
    hours = (course.at_s[::EVERY] / 3600.0).tolist()

    def line(what: str, values: Sequence[float]) -> Line:
        return Line(what, list(zip(hours, values, strict=True)))

    def highest(values: Sequence[float]) -> list[float]:
        return [max(values[at : at + EVERY]) for at in range(0, len(values), EVERY)]

    above = [
        line("replicas wanted", course.wanted[::EVERY].tolist()),
        line("replicas ready", course.ready[::EVERY].tolist()),
        line("thousands of people", (course.people[::EVERY] / 1000.0).tolist()),
    ]
    below = [line("load of the busiest (the most in two minutes)", highest(course.busiest.tolist()))]
    below.append(line(f"{BUSY:g}", [BUSY] * len(hours)))
    plots = [plot(name, lines, 24.0, unit="h") for lines in (above, below)]
    legends = [
        " ".join(
            f'<tspan dx="12" fill="{colour}">{each.name}</tspan>'
            for each, colour in zip(lines, COLOURS[: len(lines)], strict=True)
        )
        for lines in (above, below)
    ]
    body = []
    for number, (made, legend) in enumerate(zip(plots, legends, strict=True)):
        inner = made[made.index("<svg") : made.index("</svg>") + len("</svg>")]
        top = number * (HEIGHT + 30)
        place = f'<svg y="{top + 24}" width="{WIDTH}" height="{HEIGHT}"'
        body += [f'<text class="title" x="62" y="{top + 16}">{name} {legend}</text>', inner.replace("<svg", place, 1)]
    size = f'viewBox="0 0 {WIDTH} {2 * (HEIGHT + 30)}"'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    inside = "\n".join(body)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{background}\n{inside}\n</svg>\n'
