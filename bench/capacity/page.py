"""docs/capacity.md, from costs and estimates. Not responsible for: any number (``costs``, ``model``)."""

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from bench.capacity.model import Costs, Estimate, Limits, Need, World, without

PAGE = Path(__file__).resolve().parents[2] / "docs" / "capacity.md"
LIFTS_MAX = 5
"""Bottlenecks that are named one after the other, each as if those before it were lifted."""
HOW = {
    "rest_us": "two regions in one process, 2,000 entities, difference to 20 (`bench/capacity/regions.py`)",
    "moving_us": "the same, all restless (speeds change four times a second, 1 m/s² rms), deltas encoded",
    "region_us": "the same with 20 entities, for one region",
    "body_us": "1 shard + 1 gateway, 1,200 clients with 10 inputs/s, difference to 200 (`served.py`)",
    "ghost_us": "the regions with all entities near the border, difference to far from it; messages as bytes",
    "crossing_us": "the regions with 200 who go to and fro across the border, difference to along it",
    "mirror_us": "`bench.kernels`, restless, 5,000 rows",
    "visible_us": "`bench.kernels`, restless, 500 views of 50",
    "client_us": "as `body_us`, the gateway's part without what is seen and mirrored: inputs, sends, session",
    "visible_bytes": "`bench.kernels`, restless",
    "row_bytes": "deltas of the restless regions over their rows",
    "rows_part": "the same: rows of deltas over entities",
    "ghost_bytes": "border messages over ghosts",
    "message_us": "41 members in one process on loopback, messages of 200 bytes (`members.py`)",
    "link_us": "the same, 40 idle links, 5 beats/s each way",
    "session_bytes": "a roster of 20,000 sessions, traced",
    "session_us": "the same, heard in rolls of 100",
    "member_puts": "revisions of etcd: 3 shards, 2 gateways, a placer, nobody there, no trouble (`rates.py`)",
    "keepalives": "etcd's own count, the same run",
    "etcd_put_us": "CPU of etcd over writes of 32 writers (`stores.py`)",
    "etcd_event_us": "CPU of etcd with 40 watchers, difference to none",
    "event_us": "CPU of who hears: HTTP, JSON, and the book with four regions",
    "event_region_us": "the book with 4,000 regions, difference to four",
    "commits": "pg_stat_database, the run of `member_puts`, for each of its four regions (a batch is two: itself, and "
    "the pool's reset of the connection)",
    "wal_bytes": "bytes written ahead with 1,000 ducks, difference to 20, all moving",
    "wal_commit_bytes": "the rest of the run with 20",
}
ASSUMED = {
    "shards": "as the heading says",
    "clients": "as the issue asks",
    "rate_hz": "the world's rate",
    "visible": "entities that a client sees",
    "inhabitants": "of each shard, beside people",
    "moving_part": "of inhabitants; people all move",
    "regions": "of each shard",
    "border_part": "of a region's entities that are ghosts at neighbours",
    "crossings_part": "of what moves, per second, crosses a border",
    "mirror_part": "regions a gateway mirrors over those its clients fill (affinity; random: all of them)",
    "stay_s": "how long a client stays, seconds",
}


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _of(need: Need) -> str:
    return f"**{need.resource}**: {_number(need.demand)} of {_number(need.limit)} {need.unit}"


def _lifts(estimated: Estimate) -> str:
    lines: list[str] = []
    lifted: list[str] = []
    for _ in range(LIFTS_MAX):
        need = without(estimated, lifted)
        if need.share <= 1.0 and lifted:
            lines.append(f"- Then {_of(need)} is next, and holds.")
            break
        state = "holds" if need.share <= 1.0 else "cannot be served"
        lines.append(f"- {'Then' if lifted else 'First'} {_of(need)} ({100 * need.share:,.0f} %, {state}). "
                     f"Lifted by: {need.remedy}.")  # fmt: skip
        lifted.append(need.resource)
    return "\n".join(lines) + "\n"


def _section(estimated: Estimate) -> str:
    world = estimated.world
    needs = sorted(estimated.needs, key=lambda need: -need.share)
    busiest = _table(
        ("resource (the busiest single one)", "asked", "there is", "unit", "part"),
        [
            [need.resource, _number(need.demand), _number(need.limit), need.unit, f"{100 * need.share:,.1f} %"]
            for need in needs
        ],
    )
    verdict = "It holds." if estimated.holds else "It does not hold."
    return f"""## {world.shards:,} shards, {world.clients:,} clients

{verdict} {estimated.gateways:,} gateways (as many as their CPU asks for), {estimated.members:,} members in all.

{_lifts(estimated)}
{busiest}"""


def _overview(estimates: Sequence[Estimate]) -> str:
    rows: list[tuple[str, list[str]]] = [
        ("gateways", [f"{e.gateways:,}" for e in estimates]),
        ("CPU of all shards, cores", [_number(e.shard_cores) for e in estimates]),
        ("CPU of all gateways, cores", [_number(e.gateway_cores) for e in estimates]),
        ("to clients, MB/s", [_number(e.client_bytes_per_s / 1e6) for e in estimates]),
        ("shards to gateways, MB/s", [_number(e.delta_bytes_per_s / 1e6) for e in estimates]),
        ("links (every pair of members)", [f"{e.links:,}" for e in estimates]),
        ("etcd: writes/s", [_number(e.etcd_puts_per_s) for e in estimates]),
        ("etcd: told to watchers/s", [_number(e.etcd_events_per_s) for e in estimates]),
        ("PostgreSQL: transactions/s", [_number(e.commits_per_s) for e in estimates]),
        ("holds", ["yes" if e.holds else "no" for e in estimates]),
        ("fails first", [e.bottleneck.resource for e in estimates]),
    ]
    return _table(["", *(f"{e.world.shards:,} shards" for e in estimates)], [[name, *cells] for name, cells in rows])


def _measured(costs: Costs, limits: Limits) -> str:
    lines = [[f"`{f.name}`", _number(getattr(costs, f.name)), HOW[f.name]] for f in fields(costs)]
    own = {
        "etcd_puts": "measured: 32 writers, `stores.py`; each write is on the disk before it is answered",
        "etcd_cores": "assumed: cores of the etcd that leads",
        "commits": "measured: 16 stores that commit one pose each and flush it, counted as above, `stores.py`",
        "wal_bytes": "measured: four connections that log one megabyte at a time, each flushed, `stores.py`",
        "network_bytes": "assumed: 10 Gbit/s",
        "memory_bytes": "assumed: 4 GiB for this table alone",
        "descriptors": "assumed: a usual hard limit (ulimit -n)",
        "busy": "assumed: part of a core that a process is planned to use",
    }
    there = [[f"`{f.name}`", _number(getattr(limits, f.name)), own[f.name]] for f in fields(limits)]
    return _table(("unit cost", "value", "how"), lines) + "\n" + _table(("limit", "value", "how"), there)


def text(costs: Costs, limits: Limits, estimates: Sequence[Estimate], measured_on: str) -> str:
    """The whole page."""
    world = estimates[0].world
    assumed = _table(
        ("assumption", "value", "meaning"),
        [[f"`{f.name}`", _number(float(getattr(world, f.name))), ASSUMED[f.name]] for f in fields(World)
         if f.name != "shards"],
    )  # fmt: skip
    sections = "\n".join(_section(each) for each in estimates)
    return f"""# Capacity, on paper

Written by `python -m bench.capacity --write` (`make capacity`); do not edit. {measured_on}

Unit costs are measured on this machine by that command, in this run; what follows is arithmetic on them
(`bench/capacity/model.py`), not a measurement: nobody ran a million clients here. A cost is taken to grow evenly with
its cause: caches, garbage collection, networks between hosts and skew (everybody in one square) are not in it. The end
says what is assumed. Each resource is reckoned for its busiest single instance: a process has one core for its Python.

{_overview(estimates)}
{sections}
## Measured

Units are the names' last part: `us` are microseconds of one core; for entities, rows, views and clients for one tick.

{_measured(costs, limits)}
## Assumed

{assumed}
- Clients are spread evenly over shards, and gateways over clients; so many gateways run as their CPU asks for.
- All members keep links to all others, and watch all of etcd, as they do today.
- etcd is one leader, whose followers tell nobody; PostgreSQL is one server. Shards of one host share nothing.
- Acts, chat and moves of regions are not in it: they are rare beside ticks.
"""


def read(page: str) -> tuple[Costs, Limits]:
    """The costs and limits that the page tells, for those who reckon on with them. Raises ValueError if one is
    missing."""

    def table(heading: str) -> dict[str, float]:
        rows = page.partition(f"| {heading} | value | how |")[2].partition("\n\n")[0]
        return {
            name: float(value.replace(",", "")) for name, value in re.findall(r"^\| `(\w+)` \| (\S+) \|", rows, re.M)
        }

    costs, limits = table("unit cost"), table("limit")
    missing = ({f.name for f in fields(Costs)} - costs.keys()) | ({f.name for f in fields(Limits)} - limits.keys())
    if missing:
        raise ValueError(f"docs/capacity.md does not tell {', '.join(sorted(missing))}: run `make capacity`")
    return Costs(**costs), Limits(**limits)
