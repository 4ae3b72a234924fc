"""Figures of a member of a cluster: its links, its membership, what its process counts. One list of them serves both
/metrics (a gateway, ``Shown``) and a line in the log (shards and placers, which have no port for it; ``as_line``).

Decides their names, after Prometheus' conventions (without the prefix ``isthmus_`` and the ending ``_total``).
Invariant: label values come from fixed sets of words, never from a client or a member's name. Not responsible for:
figures of clients and ticks (``server.metrics``), when they are told (``fleet.host``).
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cluster.links.links import Links
from cluster.member import MemberCore
from cluster.placing import PlacerProcess
from isthmus.durable import Bank
from isthmus.overview import without_durable
from protocol.carried import Kind
from server.process import GatewayProcess
from shard.journal.keeping import Keeping
from shard.process import ShardProcess


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: ``value`` alone, or ``by`` a label called ``label``. ``counts``: it only grows."""

    name: str
    help: str
    value: float = 0
    label: str = ""
    by: Mapping[str, float] = field(default_factory=dict)
    counts: bool = True


def of_interpreter() -> list[Figure]:
    """What any process holds that should not grow as long as its work does not. Inside a running event loop."""
    return [
        Figure("asyncio_tasks", "Tasks of the event loop that have not ended.", len(asyncio.all_tasks()), counts=False),
        Figure(
            "memory_blocks", "Blocks of memory that Python objects have now.", sys.getallocatedblocks(), counts=False
        ),
    ]


def of_links(links: Links) -> list[Figure]:
    """What the links of any member carried and lost."""
    tally, waiting = links.tally, links.waiting_bytes.values()
    return [
        Figure("links", "Links to other members that are up.", len(waiting), counts=False),
        Figure("link_strangers", "Connections that are not proven yet.", links.strangers, counts=False),
        Figure("link_waiting_bytes", "Bytes that wait to be sent to all peers.", sum(waiting), counts=False),
        Figure(
            "link_waiting_bytes_most", "Bytes that wait for the slowest peer.", max(waiting, default=0), counts=False
        ),
        Figure("link_ups", "Links that came up.", tally.ups),
        Figure("link_downs", "Links that ended, by reason.", label="reason", by=_words(tally.downs)),
        Figure(
            "link_strangers_ended",
            "Connections that ended before they were a link, by reason.",
            label="reason",
            by=_words(tally.strangers),
        ),
        Figure("link_dials_failed", "Dials that found nobody, or were refused.", tally.dials_failed),
        Figure("link_sent_messages", "Messages sent, by kind.", label="kind", by=_kinds(tally.sent)),
        Figure("link_sent_bytes", "Bytes of messages sent, by kind.", label="kind", by=_kinds(tally.sent_bytes)),
        Figure("link_received_messages", "Messages received, by kind.", label="kind", by=_kinds(tally.received)),
        Figure(
            "link_received_bytes", "Bytes of messages received, by kind.", label="kind", by=_kinds(tally.received_bytes)
        ),
        Figure(
            "link_values_replaced",
            "Values that a newer one took the place of while they waited, by kind.",
            label="kind",
            by=_kinds(tally.replaced),
        ),
        Figure(
            "link_values_dropped",
            "Values dropped because too much waited for a peer, by kind.",
            label="kind",
            by=_kinds(tally.dropped),
        ),
    ]


def of_member(member: MemberCore) -> list[Figure]:
    """What any member knows of the cluster."""
    book = member.book
    alone = sum(book.owner(region) is None for region in book.regions)
    kinds = Counter(other.record.kind for other in book.members.values())
    return [
        Figure("load", "Mean part of a core that this process uses, over a second.", member.record.load, counts=False),
        Figure("members", "Living members, by kind.", label="kind", by=kinds, counts=False),
        Figure("regions_without_owner", "Regions without a living owner.", alone, counts=False),
        Figure("lease_renewals_failed", "Keep-alives of the own lease without an answer.", member.renewals_failed),
        Figure("leases_lost", "Own leases that ended.", member.lost_leases),
        Figure(
            "lives_ended", "Lives of others that were found dead, and whose leases were revoked.", member.lives_ended
        ),
    ]


def _held(**by: float) -> Figure:
    return Figure(
        "held", "Entries of tables that have no bound of their own, by table.", label="what", by=by, counts=False
    )


def _of_book(member: MemberCore) -> dict[str, float]:
    book = member.book
    return {"claims": len(book.claims), "disowned": len(book.disowned)}


def of_gateway(process: GatewayProcess, links: Links) -> list[Figure]:
    """A gateway's."""
    regions = process.core.regions
    mirrored, moves = len(process.core.mirror.regions), _words(process.moves.counts)
    return [
        *of_links(links),
        *of_member(process.member),
        Figure("regions_mirrored", "Regions that this gateway mirrors.", mirrored, counts=False),
        _held(
            mirrored=process.core.mirror.count,
            mirror_claims=process.core.mirror.claims,
            sessions=process.core.sessions.held,
            asked=process.core.bodies.asked,
            sessions_elsewhere=process.core.sessions.held_elsewhere,
            gateways_addressed=process.gateways_addressed,
            **_of_book(process.member),
        ),
        Figure("region_moves", "Regions that changed their owner, by how.", label="how", by=moves),
        Figure(
            "snapshots_asked_again",
            "Snapshots asked for because a region was silent or left a gap.",
            regions.resubscribed,
        ),
        Figure("upward_lost", "Messages to regions that got lost and were said again.", regions.lost),
        Figure("messages_dropped", "Messages dropped, by reason.", label="reason", by=_words(process.counts)),
        Figure(
            "durable_away",
            "Shards that cannot use the durable store.",
            len(without_durable(process.member.book)),
            counts=False,
        ),
    ]


def of_shard(process: ShardProcess, links: Links) -> list[Figure]:
    """A shard's. ``events``: regions begun, lost and moved, messages dropped by reason."""
    core = process.core
    states = [region.state for region in core.regions.values()]
    return [
        *of_links(links),
        *of_member(process.member),
        Figure("regions_owned", "Regions that this shard simulates.", len(core.regions), counts=False),
        Figure("entities", "Entities in them.", sum(region.entities for region in core.regions.values()), counts=False),
        _held(
            ghosts=sum(len(state.table.ghosts()) for state in states),
            bodies=sum(len(state.row_of_session) for state in states),
            gateways=max((len(state.gateways) for state in states), default=0),
            gateways_addressed=process.gateways_addressed,
            tombstones=sum(len(state.links.tombstones) for state in states),
            remembered=sum(len(state.acting) for state in states),
            **_of_book(process.member),
        ),
        Figure("events", "What happened.", label="what", by=_words(process.counts)),
        Figure(
            "moves",
            "Moves of regions from and to here, by what came of them.",
            label="what",
            by=_words(process.moving.counts),
        ),
        Figure(
            "changes",
            "Splits and merges of regions here, by what came of them.",
            label="what",
            by=_words(process.changing.machine.counts),
        ),
        Figure("inbox_dropped", "Messages that newer ones took the place of before a step.", process.inbox_dropped),
    ]


def of_journal(keeping: Keeping, bank: Bank, damaged: int) -> list[Figure]:
    """Of a process that writes a durable store; ``damaged``: what could not be read of it."""
    return [
        Figure(
            "journal", "Questions to the durable store, by what came of them.", label="what", by=_words(keeping.counts)
        ),
        Figure("journal_waiting", "Regions whose batch is not committed yet.", keeping.waiting, counts=False),
        Figure("durable_away", "1 while the durable store cannot be used.", float(bank.is_away), counts=False),
        Figure("durable_away_seconds", "For how long it cannot be used by now.", bank.away_s, counts=False),
        Figure("durable_damaged", "Rows that could not be read when regions were loaded.", damaged),
    ]


def of_placer(process: PlacerProcess, links: Links) -> list[Figure]:
    """A placer's."""
    return [
        *of_links(links),
        *of_member(process.member),
        _held(**_of_book(process.member)),
        Figure("elections", "How often this process became the placer.", process.placer.elections),
        Figure("regions_placed", "Regions given to an owner because they had none.", process.placer.placed),
        Figure("events", "What happened.", label="what", by=_words(process.counts)),
    ]


def _words(counts: Mapping[Any, int]) -> dict[str, float]:
    return {str(what).replace(" ", "_"): count for what, count in counts.items()}


def _kinds(counts: Mapping[Kind, int]) -> dict[str, float]:
    return {kind.name.lower(): count for kind, count in counts.items()}


def as_line(figures: list[Figure]) -> dict[str, Any]:
    """For a structured log: by name; a figure with a label as a mapping."""
    return {figure.name: dict(figure.by) if figure.label else figure.value for figure in figures}


class Shown(Collector):
    """For /metrics: ``figures`` is asked each time."""

    def __init__(self, registry: CollectorRegistry, figures: Callable[[], list[Figure]]) -> None:
        self._figures = figures
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """All of them as they are now."""
        for figure in self._figures():
            family = CounterMetricFamily if figure.counts else GaugeMetricFamily
            shown = family(f"isthmus_{figure.name}", figure.help, labels=[figure.label] if figure.label else [])
            for word, value in figure.by.items() if figure.label else [("", figure.value)]:
                shown.add_metric([word] if figure.label else [], value)
            yield shown
