"""The Grafana dashboard of a world, as its JSON model: what people notice first, then why, then resources.

Decides panels, queries and units. A dashboard is a long JSON of which a dozen words matter, so it is made from those
words. Invariant: each panel has a unit, and queries name only what docs/METRICS.md or the recording rules have. Not
responsible for: how Grafana gets it (``kustomization.yaml``: a ConfigMap that its sidecar finds).
"""

from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 8, 7
COLUMNS = 24 // WIDTH
SELECTED = 'job=~"$job", instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart. ``queries``: (PromQL with ``$S`` for the selected targets, legend). ``limit``: drawn as a red line."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    meaning: str
    limit: float | None = None


ROWS: dict[str, tuple[Panel, ...]] = {
    "What people notice": (
        Panel(
            "Sessions",
            "short",
            (("sum by (state) (isthmus_sessions{$S})", "{{state}}"),),
            "People at all gateways, by the state of their sessions.",
        ),
        Panel(
            "Frozen views",
            "percentunit",
            (("isthmus:views_paused:ratio{$S}", "{{instance}}"),),
            "Part of the views that get no frames until their client catches up.",
            0.1,
        ),
        Panel(
            "Regions in trouble",
            "short",
            (
                ("max(isthmus_regions_without_owner{$S})", "without an owner"),
                ("max(isthmus_regions_silent{$S})", "silent"),
                ("sum(isthmus_regions_frozen{$S})", "on their way"),
            ),
            "Regions in which people stand still. On their way: for some ticks, while they are moved.",
            1,
        ),
        Panel(
            "Ticks, p99",
            "s",
            (("isthmus:tick_seconds:p99_rate2m{$S}", "{{instance}}"),),
            "From a tick's time to its end; of gateways until frames are sent, their wait for regions included.",
            0.05,
        ),
        Panel(
            "Ticks that begin late",
            "percentunit",
            (("isthmus:tick_late:ratio_rate2m{$S}", "{{instance}}"),),
            "More than 25 ms after their time.",
            0.05,
        ),
        Panel(
            "Turned away",
            "ops",
            (("sum by (reason) (rate(isthmus_rejected_total{$S}[2m]))", "{{reason}}"),),
            "Requests, messages and connections refused, by reason.",
        ),
        Panel(
            "Acknowledged lag",
            "s",
            (("max by (quantile) (isthmus_acknowledged_lag_seconds{$S})", "p{{quantile}}"),),
            "For how long clients have left their oldest frame unacknowledged.",
            0.5,
        ),
        Panel(
            "Joins and closes",
            "ops",
            (
                ("sum by (kind) (rate(isthmus_joins_total{$S}[2m]))", "join {{kind}}"),
                ("sum by (code) (rate(isthmus_closes_total{$S}[2m]))", "close {{code}}"),
            ),
            "How people come, and with which close codes they go (protocol/STANDARD.md).",
        ),
        Panel(
            "Shedding",
            "short",
            (("isthmus_shed_level{$S}", "{{instance}}"),),
            "0: nothing is given up. 1, 2: the far is coarser. 3, 4: steps of 2 and 4 ticks.",
            1,
        ),
    ),
    "The world": (
        Panel(
            "Entities by shard",
            "short",
            (("isthmus_simulated_entities{$S}", "{{instance}}"),),
            "Entities in the regions that a shard simulates.",
        ),
        Panel(
            "Regions by shard",
            "short",
            (("isthmus_regions_owned{$S}", "{{instance}}"),),
            "Regions that a shard owns.",
        ),
        Panel(
            "Moves of regions",
            "short",
            (("max by (how) (increase(isthmus_region_moves_total{$S}[5m]))", "{{how}} in 5 min"),),
            "planned: by balance, drain or an operator. lost: a shard died.",
        ),
        Panel(
            "Where ticks go",
            "percentunit",
            (("sum by (phase) (isthmus:tick_phase_seconds:rate2m{$S})", "{{phase}}"),),
            "Part of a core in each phase of the tick, all selected processes together.",
        ),
        Panel(
            "Load",
            "percentunit",
            (("isthmus_load{$S}", "{{instance}}"),),
            "Mean part of a core that a process uses; by it regions are balanced, split and merged.",
            0.8,
        ),
        Panel(
            "Updates to views",
            "ops",
            (("sum by (form) (rate(isthmus_updates_sent_total{$S}[2m]))", "{{form}}"),),
            "Updates of entities that were encoded for views.",
        ),
    ),
    "Coordination and keeping": (
        Panel(
            "Silence of etcd",
            "s",
            (("isthmus_store_silent_seconds{$S}", "{{instance}}"),),
            "For how long etcd has not answered a member. A lease ends after 3.",
            3,
        ),
        Panel(
            "Members",
            "short",
            (("max by (kind) (isthmus_members{$S})", "{{kind}}"),),
            "Living members, by kind.",
        ),
        Panel(
            "Behind with writing",
            "s",
            (("isthmus_journal_behind_seconds{$S}", "{{instance}}"),),
            "Age of the oldest batch that is not in the durable store yet.",
            1,
        ),
        Panel(
            "Durable store",
            "ops",
            (("sum by (what) (rate(isthmus_journal_total{$S}[2m]))", "{{what}}"),),
            "Questions to it, by what came of them; away: it could not be used.",
        ),
        Panel(
            "Links",
            "Bps",
            (("sum by (kind) (rate(isthmus_link_sent_bytes_total{$S}[2m]))", "{{kind}}"),),
            "What members send each other, by kind of message.",
        ),
        Panel(
            "Waiting for the slowest peer",
            "bytes",
            (("isthmus_link_waiting_bytes_most{$S}", "{{instance}}"),),
            "Beyond 16 MiB of what may not be dropped, the link is reset.",
            4194304,
        ),
    ),
    "Network and resources": (
        Panel(
            "Egress",
            "Bps",
            (("isthmus:egress_bytes:rate2m{$S}", "{{instance}}"),),
            "Bytes to clients, over TCP and UDP.",
        ),
        Panel(
            "Blocked connections",
            "percentunit",
            (("isthmus:connections_blocked:ratio{$S}", "{{instance}}"),),
            "Connections with an unsent tail.",
            0.05,
        ),
        Panel(
            "Datagrams sent again",
            "percentunit",
            (("isthmus:datagram_resent:ratio_rate5m{$S}", "{{instance}} {{carrier}}"),),
            "Part of the bytes of reliable streams that was sent again: about the loss on the way.",
            0.1,
        ),
        Panel(
            "Memory",
            "percentunit",
            (("isthmus:memory:ratio{$S}", "{{instance}}"),),
            "Part of what the control group grants.",
            0.9,
        ),
        Panel(
            "CPU",
            "percentunit",
            (("rate(process_cpu_seconds_total{$S}[2m])", "{{instance}}"),),
            "Part of a core; a process computes with one, and a little more for system calls.",
            1,
        ),
        Panel(
            "Certificates",
            "s",
            (("min by (of) (isthmus_certificate_ends_timestamp_seconds{$S}) - time()", "{{of}}"),),
            "Time until a certificate runs out.",
            1209600,
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """The JSON model (schema version 39)."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        for k, panel in enumerate(row):
            panels.append(_panel(panel, k % COLUMNS * WIDTH, y + k // COLUMNS * HEIGHT))
        y += (len(row) + COLUMNS - 1) // COLUMNS * HEIGHT
    for number, panel_of in enumerate(panels, start=1):
        panel_of["id"] = number
    return {
        "title": "Isthmus",
        "uid": "isthmus",
        "tags": ["isthmus"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source(), _chosen("job", ""), _chosen("instance", '{job=~"$job"}')]},
        "annotations": {"list": [_lost()]},
        "panels": panels,
    }


def _datasource() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${source}"}


def _panel(panel: Panel, x: int, y: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.meaning,
        "datasource": _datasource(),
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": {
                    "lineWidth": 1,
                    "fillOpacity": 8,
                    "showPoints": "never",
                    "thresholdsStyle": {"mode": "off" if panel.limit is None else "line"},
                },
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + k),
                "expr": query.replace("$S", SELECTED),
                "legendFormat": legend,
                "datasource": _datasource(),
            }
            for k, (query, legend) in enumerate(panel.queries)
        ],
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _chosen(label: str, among: str) -> dict[str, Any]:
    return {
        "name": label,
        "type": "query",
        "datasource": _datasource(),
        "query": f"label_values(isthmus_build_info{among}, {label})",
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
    }


def _lost() -> dict[str, Any]:
    return {
        "name": "a shard was lost",
        "datasource": _datasource(),
        "enable": True,
        "expr": 'max(increase(isthmus_region_moves_total{how="lost"}[1m])) > 0',
        "iconColor": "red",
        "titleFormat": "a shard was lost",
    }
