"""Our part of locust's own page: two tabs with live figures, and links to the report.

Decides what the tabs show. Uses the hooks that locust's page has: ``extended_tabs``, ``extended_tables``,
``extended_csv_files`` and ``extended_stats`` in the answer to /stats/requests. Invariant: with locust's login these
pages ask for it, too. Not responsible for: the figures (``report.content``).
"""

import json
from typing import Any

from flask import Blueprint, Response, request
from locust.web import WebUI

from loadtest.collecting import Gathering
from loadtest.figures import RATES
from loadtest.report.content import content, tables
from loadtest.report.page import figure, render

WORLD, SERVER = "world", "server"


def _column(key: str, title: str) -> dict[str, str]:
    return {"key": key, "title": title}


TABLES = [
    {
        "key": WORLD,
        "structure": [
            _column("entry", "Users"),
            _column("figure", "Figure"),
            *(
                _column(part, title)
                for part, title in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"), ("max", "max"))
            ),
            _column("samples", "# Samples"),
        ],
    },
    {"key": SERVER, "structure": [_column("figure", "Figure"), _column("who", "Who"), _column("value", "Now")]},
]
"""Keys have no capital letters and no digit before a letter: the page turns them into camel case."""


def world_rows(run: Gathering) -> list[dict[str, str]]:
    """What clients have seen since the run began (budgets: since ``judged_from_s``), ready to be shown."""
    if not run.began_s:
        return []
    scenario = run.scenario
    held = tables(run.tally, scenario.users, run.began_s - 1.0, run.judged_until_s + 1.0)
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
            title = f"{rate.title}, {rate.unit}" if rate.unit else rate.title
            rows.append({"entry": row["entry"], "figure": title, "p50": figure(row[rate.name])})
    return rows


def server_rows(run: Gathering) -> list[dict[str, str]]:
    """What the server said last."""
    return [
        {"figure": title, "who": who, "value": figure(points[-1][1])}
        for (title, who), points in sorted(run.scraper.series.items())
        if points
    ]


def extend(web_ui: WebUI, run: Gathering) -> None:
    """Add tabs and pages."""
    web_ui.template_args |= {
        "extended_tabs": [{"title": "World", "key": WORLD}, {"title": "Server", "key": SERVER}],
        "extended_tables": TABLES,
        "extended_csv_files": [
            {"href": "./isthmus/report", "title": "Isthmus: report so far"},
            {"href": "./isthmus/report.json", "title": "Isthmus: report so far, as JSON"},
        ],
    }
    pages = Blueprint("isthmus", __name__, url_prefix="/isthmus")

    def report(form: str) -> Response:
        if not run.began_s:
            return Response("nothing was run yet", status=404, mimetype="text/plain")
        told = content(run)
        if form == "json":
            return Response(json.dumps(told), mimetype="application/json")
        return Response(render(told), mimetype="text/html")

    guarded: Any = web_ui.auth_required_if_enabled
    pages.add_url_rule("/report", "report", guarded(lambda: report("html")))
    pages.add_url_rule("/report.json", "report_json", guarded(lambda: report("json")))

    def add(response: Response) -> Response:
        if request.path.endswith("/stats/requests") and response.status_code == 200:
            stats: dict[str, Any] = response.get_json()
            stats["extended_stats"] = [
                {"key": WORLD, "data": world_rows(run)},
                {"key": SERVER, "data": server_rows(run)},
            ]
            response.set_data(json.dumps(stats))
        return response

    app = web_ui.app
    assert app is not None
    app.after_request(add)
    app.register_blueprint(pages)
