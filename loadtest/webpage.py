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
from loadtest.report.content import content
from loadtest.report.page import render
from loadtest.report.rows import server_rows, world_rows

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
        told = content(run.told())
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
                {"key": WORLD, "data": world_rows(run.told()) if run.began_s else []},
                {"key": SERVER, "data": server_rows(run.told())},
            ]
            response.set_data(json.dumps(stats))
        return response

    app = web_ui.app
    assert app is not None
    app.after_request(add)
    app.register_blueprint(pages)
