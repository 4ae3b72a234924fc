"""The report as one HTML file: verdict, budgets, figures, plots on one time axis. No script, nothing from elsewhere.

Decides which plots there are. Invariant: every text that came from a file or a server is escaped. Not responsible for:
the values (``content``).
"""

from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from loadtest.figures import LATE, RATES, SAMPLED
from loadtest.report.plot import Line, plot
from loadtest.tally import GENERATOR

_TEMPLATES = Environment(loader=PackageLoader("loadtest", "report"), autoescape=select_autoescape(["html"]))


def figure(value: float | None) -> str:
    """A number for a table."""
    if value is None:
        return "–"
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def render(content: dict[str, Any]) -> str:
    """The page of what ``content.content`` gave."""
    template = _TEMPLATES.get_template("page.html")
    return template.render(
        c=content,
        n=figure,
        rates=list(RATES.values()),
        sampled=list(SAMPLED.values()),
        late=LATE,
        plots=_plots(content),
    )


def _plots(content: dict[str, Any]) -> list[Markup]:
    """All plots, in order; those that would be empty are left out."""
    to_s, series = content["took_s"], content["series"]
    marks = (
        [(content["judged_from_s"], "budgets are held to what comes from here on")] if content["judged_from_s"] else []
    )
    marks += [(at_s, "a storm: connections end") for at_s in content["storms_s"]]

    def lines(name: str, label: str = "") -> list[Line]:
        return [
            Line(f"{entry}{label}", [(at, value) for at, value in held[name] if value is not None])
            for entry, held in series.items()
            if name in held
        ]

    wanted = [("users connected", lines("clients"))]
    for each in SAMPLED.values():
        p50, p99 = lines(f"{each.name} p50", " p50"), lines(f"{each.name} p99", " p99")
        both = [line for pair in zip(p50, p99, strict=True) for line in pair]
        wanted.append((f"{each.title}, {each.unit}, in each second", both))
    wanted += [
        (f"{rate.title}{', ' + rate.unit if rate.unit else ''}, in each second", lines(rate.name))
        for rate in RATES.values()
    ]
    wanted += [
        (f"server: {title}", [Line(who, [(at, value) for at, value in points]) for who, points in held.items()])
        for title, held in content["server"].items()
    ]
    late = series.get(GENERATOR, {}).get(f"{LATE.name} p99", [])
    wanted.append((f"{LATE.title}, ms, p99 in each second", [Line("all processes", [(at, v) for at, v in late])]))
    return [Markup(plot(title, some, to_s, marks)) for title, some in wanted if any(line.points for line in some)]
