"""docs/METRICS.md, made from the code and the rules: each metric that a process serves, what it means, who looks at it.

Decides how the page looks. Invariant: nothing is written by hand but units, which follow from names as Prometheus
demands (``_seconds``, ``_bytes``, ``_ratio``). Not responsible for: the metrics (``server.metrics``,
``isthmus.fleet.figures``), the rules (``rules.yaml``).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from cluster.records import GATEWAY, KIND_PLACER, SHARD
from isthmus.fleet.figures import DEFINITIONS, SERVE
from server.metrics import Metrics

KINDS = (GATEWAY, SHARD, KIND_PLACER, SERVE)
CLIENTS = (GATEWAY, SERVE)
"""Kinds of processes that clients connect to."""
_UNITS = {"seconds": "s", "bytes": "bytes", "ratio": "0 to 1", "blocks": "blocks"}
_NAME = re.compile(r"\b(?:isthmus|process)_[a-z0-9_]+|\bisthmus:[a-z0-9_:]+")
_HEAD = """# Metrics

<!-- Made by `python -m k8s.monitoring` from the code and k8s/monitoring/rules.yaml: do not edit. -->

What each process of a world serves at `/metrics` for Prometheus: gateways and `isthmus serve` at their page's address,
every process at `observe.listen` if that is set ([OBSERVING.md](OBSERVING.md)). A shard or placer logs the figures of
its own every 10 s, too, under the same names without `isthmus_` and `_total`. Labels take values from fixed sets of
words: no client's and no member's name is one. Counters only grow while a process lives: look at `rate()` and
`increase()`.

*of*: the kinds of processes that serve it (`serve`: a world in one process; a shard whose world is kept nowhere has
none of the durable store). *looked at by*: recording rules and alerts
of `k8s/monitoring/rules.yaml`; each alert has a page in [runbooks](runbooks/README.md).
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric as Prometheus sees it. ``series``: the names that queries may use."""

    name: str
    type: str
    labels: tuple[str, ...]
    of: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> tuple[str, ...]:
        if self.type != "histogram":
            return (self.name,)
        return self.name, f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum"

    @property
    def unit(self) -> str:
        words = self.name.removesuffix("_total").split("_")
        if words[-1] in ("seconds", "bytes", "ratio"):
            return _UNITS[words[-1]]
        return next((_UNITS[word] for word in reversed(words) if word in ("seconds", "bytes")), "")


def entries() -> list[Entry]:
    """Every metric, by name."""
    metrics = Metrics()
    found = [_entry(metric, CLIENTS) for metric in _wrapped(vars(metrics).values())]
    found += [_entry(metric, KINDS) for metric in _wrapped(vars(metrics.pace).values())]
    found += [
        Entry(
            what.exposed, "counter" if what.counts else "gauge", (what.label,) if what.label else (), what.of, what.help
        )
        for what in DEFINITIONS
    ]
    known = {entry.name for entry in found}
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name not in known and name.startswith("process_"):  # those of the process itself
            found.append(Entry(name, family.type, (), KINDS, family.documentation))
    return sorted(found, key=lambda entry: entry.name)


def _wrapped(values: Iterable[object]) -> list[MetricWrapperBase]:
    return [value for value in values if isinstance(value, MetricWrapperBase)]


def _entry(metric: MetricWrapperBase, of: tuple[str, ...]) -> Entry:
    family = next(iter(metric.describe()))
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = tuple(metric._labelnames)  # the library has no public name for them
    return Entry(name, family.type, labels, of, family.documentation)


def names_in(expression: str) -> set[str]:
    """Metrics and recorded series that a PromQL expression names."""
    return set(_NAME.findall(expression))


def users(groups: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By name of a series: the alerts and recording rules that look at it, through recorded series as well."""
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"]: names_in(rule["expr"]) for rule in rules if "record" in rule}
    out: dict[str, list[str]] = {}
    for rule in rules:
        who = rule.get("alert") or rule["record"]
        for name in _behind(names_in(rule["expr"]), recorded):
            seen = out.setdefault(name, [])
            if who not in seen:
                seen.append(who)
    return out


def _behind(names: set[str], recorded: Mapping[str, set[str]]) -> set[str]:
    out = set()
    for name in names:
        out |= _behind(recorded[name], recorded) if name in recorded else {name}
    return out


def page(groups: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    by = users(groups)
    lines = [_HEAD, "| metric | type | labels | unit | of | meaning | looked at by |", "|---|---|---|---|---|---|---|"]
    found = entries()
    for entry in found:
        who = sorted({name for series in entry.series for name in by.get(series, ())})
        told = ", ".join(f"[{name}](runbooks/{name}.md)" if ":" not in name else f"`{name}`" for name in who)
        of = "all" if entry.of == KINDS else ", ".join(entry.of)
        labels = ", ".join(f"`{label}`" for label in entry.labels)
        lines.append(f"| `{entry.name}` | {entry.type} | {labels} | {entry.unit} | {of} | {entry.meaning} | {told} |")
    lines += ["", f"{len(found)} metrics.", "", "## Recorded series", "", "| series | expression |", "|---|---|"]
    for group in groups:
        for rule in group["rules"]:
            if "record" in rule:
                expression = " ".join(rule["expr"].split()).replace("|", "\\|")
                lines.append(f"| `{rule['record']}` | `{expression}` |")
    return "\n".join(lines) + "\n"
