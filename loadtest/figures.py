"""What is measured: the names, units and meanings of all figures, the same in code, budgets, page, report and docs.

Decides which figures there are, and which a budget may name. Invariants: a figure that is *sampled* is a histogram, one
that is *counted* a sum; both add up over processes. A rate is made of sums only when it is shown. Not responsible for:
measuring (``noticing``, ``users``), judging (``budgets``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.instability import ratio


@dataclass(frozen=True, slots=True)
class Sampled:
    """A figure with many values. ``stem`` and ``unit`` make the name of a budget: ``<stem>_p99_<unit>``."""

    stem: str
    unit: str
    title: str
    means: str

    @property
    def name(self) -> str:
        """The key in a tally."""
        return f"{self.stem}_{self.unit}"


@dataclass(frozen=True, slots=True)
class Rate:
    """A figure made of sums: a quotient, or the sum itself."""

    name: str
    unit: str
    title: str
    means: str


SAMPLED = {
    figure.name: figure
    for figure in (
        Sampled("input_delay", "ms", "input to frame", "from an input that leaves to the frame that shows it applied"),
        Sampled("frame_gap", "ms", "frame gap", "between two frames, while some are due"),
        Sampled("stale", "ms", "staleness", "age of the newest tick shown, beyond the least that any client saw"),
        Sampled("correction", "mm", "correction", "how far the own body jumped because its prediction was wrong"),
        Sampled("join", "ms", "join", "from the wish to come in to the first welcome"),
        Sampled("return", "ms", "return", "from the end of a connection to the next welcome"),
        Sampled("act", "ms", "act", "from an act to its answer"),
    )
}
LATE = Sampled(
    "late", "ms", "generator late", "how late the load generator's own timers were: its fault, not the server's"
)
"""Of the process that makes the load, not of its clients."""
RATES = {
    rate.name: rate
    for rate in (
        Rate("frozen_ms_per_min", "ms/min", "frozen", "time without a frame beyond three frames' worth, per client"),
        Rate("bytes_per_s", "B/s", "bytes to a client", "all that came out of its sockets, frame headers included"),
        Rate("bytes_out_per_s", "B/s", "bytes from a client", "all that it wrote to its sockets"),
        Rate("corrections_per_min", "1/min", "corrections", "how often a prediction was wrong, per client"),
        Rate("instability", "", "instability ratio", "how much successive frame gaps jump (Meterstick's ISR)"),
        Rate("without_udp", "", "without UDP", "part of the time that those who want datagrams are not over them"),
        Rate("outside_s", "s", "outside", "how long clients wanted to be in the world and were not, all together"),
        Rate(
            "errors",
            "",
            "errors",
            "joins that failed, connections lost, acts refused or lost, breaches of the standard",
        ),
    )
}
PARTS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}


def rate(name: str, counts: Mapping[str, float]) -> float | None:
    """A rate's value from sums; None while there is nothing to divide by."""
    client_s = counts.get("client_ms", 0.0) / 1000.0
    if name == "errors":
        return counts.get("errors", 0.0)
    if name == "outside_s":
        return counts.get("outside_ms", 0.0) / 1000.0
    if name == "instability":
        return ratio(counts.get("jump_ms", 0.0), counts.get("span_ms", 0.0))
    if client_s <= 0.0:
        return None
    match name:
        case "frozen_ms_per_min":
            return counts.get("frozen_ms", 0.0) * 60.0 / client_s
        case "corrections_per_min":
            return counts.get("corrections", 0.0) * 60.0 / client_s
        case "without_udp":
            return max(0.0, 1.0 - counts.get("datagram_ms", 0.0) / (1000.0 * client_s))
        case "bytes_per_s":
            return counts.get("bytes_in", 0.0) / client_s
        case "bytes_out_per_s":
            return counts.get("bytes_out", 0.0) / client_s
    raise KeyError(name)


def budget_names() -> list[str]:
    """All names that a budget may have."""
    sampled = [f"{figure.stem}_{part}_{figure.unit}" for figure in SAMPLED.values() for part in PARTS]
    return [*sampled, *RATES]


def split_budget(name: str) -> tuple[Sampled, str] | Rate:
    """What a budget's name says: a sampled figure with its part, or a rate. Raises KeyError."""
    if name in RATES:
        return RATES[name]
    for figure in SAMPLED.values():
        middle = name.removeprefix(f"{figure.stem}_").removesuffix(f"_{figure.unit}")
        if middle in PARTS and name == f"{figure.stem}_{middle}_{figure.unit}":
            return figure, middle
    raise KeyError(name)
