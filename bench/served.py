"""How a run talks to the server that it measures: peers by control lines, ours by HTTP, as an operator would.

Invariant: both give the same figures for a window: ticks, seconds, and how late the ticks ended.
Not responsible for: starting processes (``process``), the clients' view of the server (``run``).
"""

import math
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.process import Child, ChildFailed

TICKS = "isthmus_ticks_total"
"""Counter: world ticks done, those that a step took along included."""
TICKS_MERGED = "isthmus_ticks_merged_total"
"""Counter: of these, the ticks that a step took along: a world that sheds load makes fewer, longer steps."""
TICK_SECONDS = "isthmus_tick_seconds"
"""Histogram: from the planned start of a tick to the last byte of its frames handed to the kernel."""
INPUTS = "isthmus_inputs_total"
"""Counter: INPUT messages taken."""
PHASE_SECONDS = "isthmus_tick_phase_seconds_total"
"""Counter, by phase of the tick."""
READY_TIMEOUT_S = 120.0

Samples = dict[tuple[str, str], float]


class Served(Protocol):
    """A server under measurement."""

    def ready(self) -> None:
        """Return when clients may come. Raises ChildFailed."""

    def start(self) -> None:
        """All clients are in: the world may move, if it does not yet."""

    def begin(self) -> None:
        """The window begins."""

    def end(self) -> dict[str, Any]:
        """The window ended: ``ticks`` (steps of the world), ``seconds``, ``inputs``, ``done_p50_s``, p99, p999."""


@dataclass
class PeerServer:
    """A peer of bench/peers: control lines."""

    child: Child

    def ready(self) -> None:
        """See Served."""
        self.child.wait("listening", 60)

    def start(self) -> None:
        """See Served."""
        self.child.say("start")

    def begin(self) -> None:
        """See Served."""
        self.child.say("begin")

    def end(self) -> dict[str, Any]:
        """See Served."""
        self.child.say("end")
        return self.child.wait("ended", 60)


@dataclass
class OurServer:
    """Our server: /readyz and /metrics."""

    child: Child
    port: int
    _before: Samples = field(default_factory=dict)
    _began_s: float = 0.0

    def ready(self) -> None:
        """See Served."""
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end:
            if not self.child.alive():
                raise ChildFailed(self.child.ended_text())
            try:
                self._get("/readyz")
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise ChildFailed(f"/readyz did not answer 200 in {READY_TIMEOUT_S:g} s; {self.child.ended_text()}")

    def start(self) -> None:
        """See Served: our world moves by its own clock from the start."""

    def begin(self) -> None:
        """See Served."""
        self._before, self._began_s = parse_metrics(self._get("/metrics")), time.monotonic()

    def end(self) -> dict[str, Any]:
        """See Served."""
        after, seconds = parse_metrics(self._get("/metrics")), time.monotonic() - self._began_s
        gone = {key: value - self._before.get(key, 0.0) for key, value in after.items()}
        ticks = total(gone, TICKS) - total(gone, TICKS_MERGED)
        return {
            "seconds": seconds,
            "ticks": ticks,
            "phases_s": phases(gone, ticks),
            "inputs": total(gone, INPUTS),
            "done_p50_s": histogram_quantile(gone, TICK_SECONDS, 0.5),
            "done_p99_s": histogram_quantile(gone, TICK_SECONDS, 0.99),
            "done_p999_s": histogram_quantile(gone, TICK_SECONDS, 0.999),
        }

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())


def parse_metrics(text: str) -> Samples:
    """Prometheus' text format as (name, labels) -> value."""
    found: Samples = {}
    for line in text.splitlines():
        if match := re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line):
            found[match[1], match[2] or ""] = float(match[3])
    return found


def total(samples: Samples, name: str) -> float:
    """Sum over all labels of one metric. Raises ChildFailed if the server does not export it."""
    values = [value for (found, _labels), value in samples.items() if found == name]
    if not values:
        raise ChildFailed(f"the server's /metrics has no {name}")
    return sum(values)


def phases(samples: Samples, ticks: float) -> dict[str, float]:
    """Seconds of each phase for each of ``ticks``, the longest first."""
    each = {
        labels.partition('"')[2].partition('"')[0]: value / max(1.0, ticks)
        for (found, labels), value in samples.items()
        if found == PHASE_SECONDS and value > 0
    }
    return dict(sorted(each.items(), key=lambda item: -item[1]))


def histogram_quantile(samples: Samples, name: str, q: float) -> float:
    """The upper bound of the bucket in which the quantile falls: never better than the truth."""
    counts: dict[float, float] = {}
    for (found, labels), value in samples.items():
        if found == name + "_bucket" and (bound := re.search(r'le="([^"]+)"', labels)):
            counts[float(bound[1])] = counts.get(float(bound[1]), 0.0) + value
    if not counts:
        raise ChildFailed(f"the server's /metrics has no histogram {name}")
    wanted = q * counts[math.inf]
    return next(bound for bound in sorted(counts) if counts[bound] >= wanted)
