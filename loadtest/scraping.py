"""The server's own figures while it is under load: /metrics and /api/status of each gateway, CPU of local processes.

Decides which figures are kept and how they are shown: counters as rates over the time between two looks, a histogram
of ticks as its mean and 99th percentile there. Shards have no port of their own: what they tell is in the status of any
gateway. Invariant: a gateway that does not answer leaves a gap, not an error: under load that is a finding, and counted
(``unanswered``). Not responsible for: what clients see.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

import gevent
import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.wire.http import get

EVERY_S = 2.0
Series = dict[tuple[str, str], list[tuple[float, float]]]
"""(figure with its unit, who) to (seconds since the epoch, value), ascending."""
Samples = dict[str, float]
"""Sums over all labels by name; a histogram's buckets by ``name|le``."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure of a gateway. ``names``: of metrics, added up. ``per_s``: a counter."""

    title: str
    unit: str
    names: tuple[str, ...]
    per_s: bool = False
    scale: float = 1.0


FIGURES = (
    Shown("sessions", "", ("isthmus_sessions|live",)),
    Shown("sent", "kB/s", ("isthmus_sent_bytes_total", "isthmus_datagram_sent_bytes_total"), True, 0.001),
    Shown("received", "kB/s", ("isthmus_received_bytes_total", "isthmus_datagram_received_bytes_total"), True, 0.001),
    Shown("inputs", "1/s", ("isthmus_inputs_total",), True),
    Shown("ticks", "1/s", ("isthmus_ticks_total",), True),
    Shown("ticks taken along", "1/s", ("isthmus_ticks_merged_total",), True),
    Shown("load shed", "level", ("isthmus_shed_level",)),
    Shown("views paused", "", ("isthmus_views_paused",)),
    Shown("refused", "1/s", ("isthmus_rejected_total",), True),
    Shown("visible to all views", "", ("isthmus_visible_entities",)),
)
TICK = "isthmus_tick_seconds"


class Scraper:
    """Of one run."""

    def __init__(self, cluster_pid: int | None) -> None:
        self.series: Series = defaultdict(list)
        self.unanswered = 0
        self._gateways: list[str] = []
        self._cluster_pid = cluster_pid
        self._before: dict[str, tuple[float, Samples]] = {}
        self._processes: dict[int, tuple[str, psutil.Process]] = {}
        self._looking: gevent.Greenlet[..., None] | None = None

    def start(self, gateways: Iterable[str]) -> None:
        """Begin anew, and look every EVERY_S."""
        self.stop()
        self._gateways = list(gateways)
        self.series.clear()
        self.unanswered = 0
        self._before.clear()
        self._looking = gevent.spawn(self._look)

    def stop(self) -> None:
        """Look no more; what was seen stays."""
        if self._looking is not None:
            self._looking.kill()
            self._looking = None

    def _look(self) -> None:
        while True:
            began_s = time.monotonic()
            for number, url in enumerate(self._gateways):
                self._gateway(f"gateway {number}" if len(self._gateways) > 1 else "gateway", url, number == 0)
            self._cpu()
            gevent.sleep(max(0.1, EVERY_S - (time.monotonic() - began_s)))

    def _gateway(self, who: str, url: str, tells_all: bool) -> None:
        try:
            text = get(f"{url.rstrip('/')}/metrics").decode()
            status = json.loads(get(f"{url.rstrip('/')}/api/status")) if tells_all else {}
        except (OSError, ValueError):
            self.unanswered += 1
            return
        self.heard(who, samples_of(text), status, time.time())

    def heard(self, who: str, samples: Samples, status: Mapping[str, object], now_s: float) -> None:
        """What a gateway says of itself, and one of them of all members."""
        before_s, before = self._before.get(who, (now_s, None))
        self._before[who] = now_s, samples
        for figure in FIGURES:
            new = sum(samples.get(name, 0.0) for name in figure.names)
            if not figure.per_s:
                self._put(figure.title, figure.unit, who, now_s, new)
            elif before is not None and now_s > before_s:
                old = sum(before.get(name, 0.0) for name in figure.names)
                self._put(
                    figure.title, figure.unit, who, now_s, max(0.0, new - old) * figure.scale / (now_s - before_s)
                )
        if before is not None:
            self._ticks(who, before, samples, now_s)
        members = status.get("members", [])
        for member in members if isinstance(members, list) else []:
            if member.get("load") is not None:
                self._put("load", "of a core", str(member["member"]), now_s, float(member["load"]))
            if member.get("kind") == "shard":
                self._put("regions", "", str(member["member"]), now_s, float(member["regions"] or 0))

    def _ticks(self, who: str, before: Samples, samples: Samples, now_s: float) -> None:
        count = samples.get(f"{TICK}_count", 0.0) - before.get(f"{TICK}_count", 0.0)
        if count <= 0.0:
            return
        took_s = samples.get(f"{TICK}_sum", 0.0) - before.get(f"{TICK}_sum", 0.0)
        self._put("tick, mean", "ms", who, now_s, 1000.0 * took_s / count)
        bound_s = bound_of(before, samples, TICK, 0.99)
        if bound_s is not None and bound_s < inf:
            self._put("tick, p99", "ms at most", who, now_s, 1000.0 * bound_s)

    def _put(self, title: str, unit: str, who: str, now_s: float, value: float) -> None:
        self.series[f"{title}, {unit}" if unit else title, who].append((now_s, value))

    def _cpu(self) -> None:
        if self._cluster_pid is None:
            return
        now_s = time.time()
        try:
            children = psutil.Process(self._cluster_pid).children()
        except psutil.NoSuchProcess:
            return
        for child in children:
            try:
                name, process = self._processes.setdefault(child.pid, (member_of(child.cmdline()), child))
                busy = process.cpu_percent() / 100.0
                memory = process.memory_info().rss / (1 << 20)
            except psutil.NoSuchProcess:
                continue
            self._put("CPU", "cores", name, now_s, busy)
            self._put("memory", "MiB", name, now_s, memory)


def samples_of(text: str) -> Samples:
    """The text of /metrics."""
    found: Samples = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "le" in sample.labels:
                found[f"{sample.name}|{float(sample.labels['le'])}"] += sample.value
                continue
            found[sample.name] += sample.value
            if "state" in sample.labels:
                found[f"{sample.name}|{sample.labels['state']}"] += sample.value
    return dict(found)


def bound_of(before: Samples, after: Samples, name: str, part: float) -> float | None:
    """The upper end of the bucket that holds a percentile of what a histogram counted between two looks."""
    buckets = sorted(
        (float(key.partition("|")[2]), value - before.get(key, 0.0))
        for key, value in after.items()
        if key.startswith(f"{name}_bucket|")
    )
    if not buckets or buckets[-1][1] <= 0.0:
        return None
    wanted = part * buckets[-1][1]
    return next(bound for bound, seen in buckets if seen >= wanted)


def member_of(command: list[str]) -> str:
    """What a process of a local cluster is called."""
    if "--cluster-member" in command[:-1]:
        return command[command.index("--cluster-member") + 1]
    return command[0].rpartition("/")[2] if command else "?"
