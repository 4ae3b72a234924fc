"""Rows of the tables in locust's page, as texts that are ready to be shown.

Decides what a person who watches a run sees at once: everything since it began. Not responsible for: the page
(``loadtest.webpage``), budgets, which count from a moment of the scenario's.
"""

from loadtest.figures import RATES
from loadtest.report.content import Run, tables
from loadtest.report.page import figure


def world_rows(run: Run) -> list[dict[str, str]]:
    """What clients have seen since the run began (budgets: since ``judged_from_s``), ready to be shown."""
    held = tables(run.tally, run.scenario.users, run.began_s - 1.0, run.until_s + 1.0)
    rows = [
        {
            "entry": row["entry"],
            "figure": f"{row['title']}, {row['unit']}",
            **{part: figure(row[part]) for part in ("p50", "p99", "p999", "max")},
            "samples": figure(row["count"]),
        }
        for row in held["sampled"]
    ]
    for row in held["rates"]:
        for rate in RATES.values():
            if row[rate.name] is None:
                continue
            title = f"{rate.title}, {rate.unit}" if rate.unit else rate.title
            rows.append({"entry": row["entry"], "figure": title, "p50": figure(row[rate.name])})
    return rows


def server_rows(run: Run) -> list[dict[str, str]]:
    """What the server said last."""
    return [
        {"figure": title, "who": who, "value": figure(points[-1][1])}
        for (title, who), points in sorted(run.server.items())
        if points
    ]
