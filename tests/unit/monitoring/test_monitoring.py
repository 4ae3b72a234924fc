"""What watches a world is whole and up to date: metrics' page, rules, alerts with their runbooks, dashboard."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s.monitoring.__main__ import HERE, REPOSITORY, files, groups, operators
from k8s.monitoring.dashboard import ROWS, dashboard
from k8s.monitoring.reference import entries, names_in, users

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
RULES = [rule for group in groups() for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SERVED = {series for entry in entries() for series in entry.series}
SECTIONS = ("## What it means", "## What people notice", "## Look", "## Do")


def test_what_is_made_is_not_stale() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run `python -m k8s.monitoring`"


@pytest.mark.parametrize("command", [["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]])
def test_prometheus_takes_the_rules_and_they_do_as_they_should(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], cwd=HERE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_name_only_what_is_served_or_recorded() -> None:
    assert {rule["record"] if "record" in rule else rule["alert"] for rule in RULES} == RECORDED | set(ALERTS)
    for rule in RULES:
        named = names_in(rule["expr"])
        assert named, rule
        assert named <= SERVED | RECORDED, (rule, named - SERVED - RECORDED)


def test_a_rule_that_names_nothing_that_is_served_would_be_noticed() -> None:
    assert names_in('rate(isthmus_gone_total{a="isthmus"}[5m]) / isthmus:other:ratio') == {
        "isthmus_gone_total",
        "isthmus:other:ratio",
    }
    assert "isthmus_gone_total" not in SERVED


def test_each_alert_says_how_bad_it_is_and_has_a_runbook() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        assert [line for line in SECTIONS if line in text] == list(SECTIONS), name


def test_each_runbook_has_an_alert_and_is_listed() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(ALERTS)
    listed = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for name, rule in ALERTS.items():
        assert f"[{name}]({name}.md), {rule['labels']['severity']} |" in listed


@pytest.mark.parametrize(
    "page", sorted([*RUNBOOKS.glob("*.md"), REPOSITORY / "docs" / "METRICS.md"]), ids=lambda p: p.stem
)
def test_links_and_names_in_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    names = {name for name in names_in(text) if not name.endswith("_")} - {"isthmus_and"}
    assert names <= SERVED | RECORDED, names - SERVED - RECORDED


def test_commands_in_runbooks_exist() -> None:
    from isthmus.cli import cli

    for page in RUNBOOKS.glob("*.md"):
        for words in re.findall(r"\bisthmus ((?:[a-z]+ ?)+)", page.read_text(encoding="utf-8")):
            first, *rest = words.split()
            assert first in cli.commands, (page.name, words)
            group: Any = cli.commands[first]
            if hasattr(group, "commands") and rest:
                assert rest[0] in group.commands, (page.name, words)


def test_the_operators_rules_are_the_same_with_links_where_they_are_served() -> None:
    resource = yaml.safe_load(operators("https://docs.example/runbooks/"))
    assert (resource["apiVersion"], resource["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    told = [rule for group in resource["spec"]["groups"] for rule in group["rules"]]
    assert [rule["expr"] for rule in told] == [rule["expr"] for rule in RULES]
    urls = [rule["annotations"]["runbook_url"] for rule in told if "alert" in rule]
    assert urls == [f"https://docs.example/runbooks/{name}/" for name in ALERTS]


def test_the_dashboard_asks_for_what_is_served_in_a_unit() -> None:
    told = json.loads((HERE / "dashboard.json").read_text(encoding="utf-8"))
    assert told == dashboard()
    charts = [panel for panel in told["panels"] if panel["type"] != "row"]
    assert len(charts) == sum(map(len, ROWS.values()))
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])
    seen: set[tuple[int, int]] = set()
    for panel in charts:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"], panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & seen, f"{panel['title']} lies over another one"
        seen |= cells
        for target in panel["targets"]:
            named = names_in(target["expr"])
            assert named, target
            assert named <= SERVED | RECORDED, (panel["title"], named)
            assert "$S" not in target["expr"]


def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """As recording rules: promtool has no other way to read one without a server."""
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    queries.append(dashboard()["annotations"]["list"][0]["expr"])
    plain = [query.replace("$job", ".*").replace("$instance", ".*") for query in queries]
    rules = [{"record": f"query:{k}", "expr": query} for k, query in enumerate(plain)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "queries.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_follow_the_conventions_of_prometheus() -> None:
    for entry in entries():
        assert re.fullmatch(r"(isthmus|process)_[a-z0-9]+(_[a-z0-9]+)*", entry.name), entry
        assert (entry.type == "counter") == entry.name.endswith("_total"), entry
        assert entry.meaning.endswith("."), entry
        assert not re.search(r"_(ms|us|kb|mb|percent|count|sum|bucket)(_total)?$", entry.name), entry
    assert len({entry.name for entry in entries()}) == len(entries())


def test_who_looks_at_a_metric_is_known_through_recorded_series() -> None:
    by = users(groups())
    assert "IsthmusTicksLate" in by["isthmus_tick_late_seconds_bucket"]
    assert "isthmus:tick_late:ratio_rate2m" in by["isthmus_tick_late_seconds_bucket"]
