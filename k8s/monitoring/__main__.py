"""``python -m k8s.monitoring``: write everything that is made from the code and from ``rules.yaml``; with ``--check``
say what is stale instead, and end with status 1."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from k8s.monitoring.dashboard import dashboard
from k8s.monitoring.reference import page

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
_NOTE = "# Made from rules.yaml by `python -m k8s.monitoring`: do not edit.\n"


def groups() -> list[dict[str, Any]]:
    """Of rules.yaml."""
    found: list[dict[str, Any]] = yaml.safe_load((HERE / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    return found


def operators(runbooks_url: str) -> str:
    """The rules as a PrometheusRule of the Prometheus Operator; ``runbooks_url``: where the runbooks are served, in the
    place of docs/runbooks/ and their ending."""
    told = groups()
    for rule in (rule for group in told for rule in group["rules"] if "alert" in rule):
        if runbooks_url:
            rule["annotations"]["runbook_url"] = f"{runbooks_url.rstrip('/')}/{rule['alert']}/"
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "isthmus", "labels": {"app.kubernetes.io/name": "isthmus"}},
        "spec": {"groups": told},
    }
    text: str = yaml.safe_dump(resource, sort_keys=False, width=120, allow_unicode=True)
    return _NOTE + text


def files(runbooks_url: str = "") -> dict[Path, str]:
    """Everything that is made, by where it goes."""
    return {
        REPOSITORY / "docs" / "METRICS.md": page(groups()),
        HERE / "prometheusrule.yaml": operators(runbooks_url),
        HERE / "dashboard.json": json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n",
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m k8s.monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; status 1 if something is stale.")
    parser.add_argument("--runbooks-url", default="", help="Where your runbooks are served, for links in alerts.")
    given = parser.parse_args()
    made = files(given.runbooks_url)
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if given.check:
        sys.exit("\n".join(f"stale: {path.relative_to(REPOSITORY)}" for path in stale) if stale else 0)
    for path in stale:
        path.write_text(made[path], encoding="utf-8")


if __name__ == "__main__":
    main()
