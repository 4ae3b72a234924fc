"""One list of figures serves /metrics and the log, and names nothing that comes from outside."""

import asyncio
import json

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest

from cluster.links import Links, LinksConfig, Self
from cluster.links.tally import Ended
from isthmus.fleet.figures import of_interpreter, of_links
from isthmus.observe.figure import Definition, Figure, Shown, as_line
from protocol.carried import Kind


def _links() -> Links:
    config, rng = LinksConfig(listen="127.0.0.1:0", key=b"k" * 32), np.random.default_rng(1)
    links = Links(config, Self("w", "a", 1), lambda *said: None, lambda event: None, rng.bytes, rng)
    links.tally.ups = 3
    links.tally.downs[Ended.FULL] += 1
    links.tally.sent[Kind.DELTA] += 5
    links.tally.dropped[Kind.DELTA] += 2
    return links


def test_links_are_told_by_reason_and_kind() -> None:
    told = as_line(of_links(_links()))
    assert (told["links"], told["link_ups"], told["link_downs"]) == (0, 3, {"queue_full": 1})
    assert (told["link_sent_messages"], told["link_values_dropped"]) == ({"delta": 5}, {"delta": 2})
    assert json.loads(json.dumps(told)) == told


def test_tasks_and_memory_of_the_process_are_told() -> None:
    async def told(beside: int) -> dict[str, float]:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(beside):
                tasks.create_task(over.wait())
            found = as_line(of_interpreter())
            over.set()
        return found

    assert asyncio.run(told(3))["asyncio_tasks"] == 4, "the one that asks, and three"
    before = asyncio.run(told(0))["memory_blocks"]
    kept = [str(k) for k in range(100_000)]
    assert asyncio.run(told(0))["memory_blocks"] > before + 0.9 * len(kept)


def test_metrics_show_the_figures_as_they_are_when_asked() -> None:
    registry, links = CollectorRegistry(), _links()
    Shown(
        registry, lambda: [*of_links(links), Figure(Definition("plain", "A gauge.", ("gateway",), counts=False), 1.5)]
    )
    links.tally.ups = 4
    text = generate_latest(registry).decode()
    for line in (
        "# TYPE isthmus_link_ups_total counter",
        "isthmus_link_ups_total 4.0",
        'isthmus_link_downs_total{reason="queue_full"} 1.0',
        "# TYPE isthmus_links gauge",
        "isthmus_plain 1.5",
    ):
        assert line in text.splitlines()
