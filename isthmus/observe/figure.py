"""A figure of a process: defined once (name, kind, meaning, who serves it), told with a value when somebody asks. The
same definitions serve /metrics, a line in the log, and docs/METRICS.md.

Decides how names become those of Prometheus: without the prefix ``isthmus_``, and without the ending ``_total`` of what
only grows. Invariant: values of a label come from a fixed set of words. Not responsible for: which figures there are
(``isthmus.fleet.figures``).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

PREFIX = "isthmus_"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a figure means. ``label``: what it is told by, "": one value alone; ``counts``: it only grows; ``of``: the
    kinds of processes that serve it; ``words``: values of the label that /metrics tells from the start, so that a rate
    sees the first time that something happens."""

    name: str
    help: str
    of: tuple[str, ...]
    label: str = ""
    counts: bool = True
    words: tuple[str, ...] = ()

    @property
    def exposed(self) -> str:
        """Its name in Prometheus."""
        return f"{PREFIX}{self.name}{'_total' if self.counts else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure's value now: ``value``, or ``by`` the words of its label."""

    what: Definition
    value: float = 0
    by: Mapping[str, float] = field(default_factory=dict)


def as_line(figures: list[Figure]) -> dict[str, Any]:
    """For a structured log: by name; a figure with a label as a mapping."""
    return {figure.what.name: dict(figure.by) if figure.what.label else figure.value for figure in figures}


class Shown(Collector):
    """For /metrics: ``figures`` is asked each time."""

    def __init__(self, registry: CollectorRegistry, figures: Callable[[], list[Figure]]) -> None:
        self._figures = figures
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """All of them as they are now."""
        for figure in self._figures():
            what = figure.what
            family = CounterMetricFamily if what.counts else GaugeMetricFamily
            shown = family(f"{PREFIX}{what.name}", what.help, labels=[what.label] if what.label else [])
            told = dict.fromkeys(what.words, 0.0) | dict(figure.by) if what.label else {"": figure.value}
            for word, value in told.items():
                shown.add_metric([word] if what.label else [], value)
            yield shown
