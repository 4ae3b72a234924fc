"""Figures of a member of a cluster: its links, its membership, what its process counts. One list of them serves both
/metrics and, for a shard or placer without a port, a line in the log.

Decides which figures there are, and what they are called. Invariant: label values come from fixed sets of words, never
from a client or a member's name. Not responsible for: figures of clients and ticks (``server.metrics``), when they are
told (``fleet.host``).
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from cluster.asks import NEVER_S
from cluster.links.links import Links
from cluster.links.tally import Ended
from cluster.member import MemberCore
from cluster.moves import How
from cluster.placing import PlacerProcess
from cluster.records import GATEWAY, KIND_PLACER, SHARD
from isthmus.durable import Bank
from isthmus.observe.figure import Definition, Figure
from isthmus.overview import without_durable
from protocol.carried import Kind
from server.process import GatewayProcess
from shard.journal.keeping import Keeping
from shard.process import ShardProcess

SERVE = "serve"
"""``isthmus serve``: shard and gateway in one process."""

_any = partial(Definition, of=(GATEWAY, SHARD, KIND_PLACER, SERVE))
_member = partial(Definition, of=(GATEWAY, SHARD, KIND_PLACER))
_gateway = partial(Definition, of=(GATEWAY,))
_shard = partial(Definition, of=(SHARD,))
_placer = partial(Definition, of=(KIND_PLACER,))
_journal = partial(Definition, of=(SHARD, SERVE))

TASKS = _any("asyncio_tasks", "Tasks of the event loop that have not ended.", counts=False)
BLOCKS = _any("memory_blocks", "Blocks of memory that Python objects have now.", counts=False)

LINKS = _member("links", "Links to other members that are up.", counts=False)
STRANGERS = _member("link_strangers", "Connections that are not proven yet.", counts=False)
WAITING = _member("link_waiting_bytes", "Bytes that wait to be sent to all peers.", counts=False)
WAITING_MOST = _member("link_waiting_bytes_most", "Bytes that wait for the slowest peer.", counts=False)
LINK_UPS = _member("link_ups", "Links that came up.")
LINK_DOWNS = _member("link_downs", "Links that ended, by reason.", label="reason", words=tuple(Ended))
STRANGERS_ENDED = _member(
    "link_strangers_ended",
    "Connections that ended before they were a link, by reason.",
    label="reason",
    words=tuple(Ended),
)
DIALS_FAILED = _member("link_dials_failed", "Dials that found nobody, or were refused.")
SENT_MESSAGES = _member("link_sent_messages", "Messages sent to other members, by kind.", label="kind")
SENT_BYTES = _member("link_sent_bytes", "Bytes of messages sent to other members, by kind.", label="kind")
RECEIVED_MESSAGES = _member("link_received_messages", "Messages received from other members, by kind.", label="kind")
RECEIVED_BYTES = _member("link_received_bytes", "Bytes of messages received from other members, by kind.", label="kind")
REPLACED = _member(
    "link_values_replaced", "Values that a newer one took the place of while they waited, by kind.", label="kind"
)
DROPPED = _member("link_values_dropped", "Values dropped because too much waited for a peer, by kind.", label="kind")

LOAD = _member("load", "Mean part of a core that this process uses, over a second.", counts=False)
DRAINING = _member("draining", "1: this member moves away what it has, and ends.", counts=False)
MEMBERS = _member("members", "Living members, by kind.", label="kind", counts=False)
WITHOUT_OWNER = _member("regions_without_owner", "Regions without a living owner.", counts=False)
PLACER_KNOWN = _member(
    "placer_known", "1: some placer places; 0: regions that lose their owner stay alone.", counts=False
)
MAY_ACT = _member("may_act", "1: this member acts, by its lease or the failsafe; 0: it stands still.", counts=False)
STORE_SILENT = _member(
    "store_silent_seconds", "For how long the coordination store (etcd) has not answered this member.", counts=False
)
RENEWALS_FAILED = _member("lease_renewals_failed", "Keep-alives of the own lease without an answer.")
LEASES_LOST = _member("leases_lost", "Own leases that ended.")
LIVES_ENDED = _member("lives_ended", "Lives of others that were found dead, and whose leases were revoked.")
HELD = _member("held", "Entries of tables that have no bound of their own, by table.", label="what", counts=False)

MIRRORED = _gateway("regions_mirrored", "Regions that this gateway mirrors.", counts=False)
SILENT = _gateway(
    "regions_silent", "Mirrored regions that have told nothing for half a second: people in them stand still.",
    counts=False,
)  # fmt: skip
REGION_MOVES = _gateway(
    "region_moves", "Regions that changed their owner, by how: planned, lost (it died), back (the same again).",
    label="how", words=tuple(How),
)  # fmt: skip
SNAPSHOTS_AGAIN = _gateway("snapshots_asked_again", "Snapshots asked for because a region was silent or left a gap.")
UPWARD_LOST = _gateway("upward_lost", "Messages to regions that got lost and were said again.")
MESSAGES_DROPPED = _gateway("messages_dropped", "Messages of members that were dropped, by reason.", label="reason")

OWNED = _shard("regions_owned", "Regions that this shard simulates.", counts=False)
FROZEN = _shard(
    "regions_frozen", "Of these, regions that stand still: they are on their way to or from another shard.",
    counts=False,
)  # fmt: skip
SIMULATED = _shard("simulated_entities", "Entities in the regions that this shard simulates.", counts=False)
BORDER_EVENTS = _shard(
    "border_events", "What happened at the borders of regions: hand-overs by their states, what was dropped.",
    label="what",
)  # fmt: skip
MOVES = _shard(
    "moves", "Moves of regions from and to here, by what came of them.", label="what",
    words=("offered", "gone", "received", "declined", "withdrawn", "taken_back", "discarded", "too_large", "settled"),
)  # fmt: skip
CHANGES = _shard("changes", "Splits and merges of regions here, by what came of them.", label="what")
INBOX_DROPPED = _shard("inbox_dropped", "Messages that newer ones took the place of before a step.")
FAULTS = _journal("behaviour_faults", "Behaviours that were stopped in a region because they failed.")
EVENTS = Definition(
    "events", "What happened to regions and messages here, by what.", (SHARD, KIND_PLACER), label="what"
)

JOURNAL = _journal("journal", "Questions to the durable store, by what came of them.", label="what")
JOURNAL_WAITING = _journal("journal_waiting", "Regions whose batch is not committed yet.", counts=False)
JOURNAL_BEHIND = _journal(
    "journal_behind_seconds", "Age of the oldest batch that is not committed: what a crash now would lose of poses.",
    counts=False,
)  # fmt: skip
DURABLE_AWAY = Definition(
    "durable_away",
    "Shards that cannot use the durable store; of a shard or a world in one process: 1 if it cannot.",
    (GATEWAY, SHARD, SERVE),
    counts=False,
)
DURABLE_AWAY_SECONDS = _journal("durable_away_seconds", "For how long it cannot be used by now.", counts=False)
DURABLE_DAMAGED = _journal("durable_damaged", "Rows that could not be read when regions were loaded.")

ELECTIONS = _placer("elections", "How often this process became the placer.")
PLACED = _placer("regions_placed", "Regions given to an owner because they had none.")

DEFINITIONS: tuple[Definition, ...] = tuple(value for value in list(globals().values()) if type(value) is Definition)
"""All figures that any process tells."""


def of_interpreter() -> list[Figure]:
    """What any process holds that should not grow as long as its work does not. Inside a running event loop."""
    return [Figure(TASKS, len(asyncio.all_tasks())), Figure(BLOCKS, sys.getallocatedblocks())]


def of_host(load: float, draining: bool) -> list[Figure]:
    """Of a member's process."""
    return [Figure(LOAD, load), Figure(DRAINING, draining)]


def of_links(links: Links) -> list[Figure]:
    """What the links of any member carried and lost."""
    tally, waiting = links.tally, links.waiting_bytes.values()
    return [
        Figure(LINKS, len(waiting)),
        Figure(STRANGERS, links.strangers),
        Figure(WAITING, sum(waiting)),
        Figure(WAITING_MOST, max(waiting, default=0)),
        Figure(LINK_UPS, tally.ups),
        Figure(LINK_DOWNS, by=_words(tally.downs)),
        Figure(STRANGERS_ENDED, by=_words(tally.strangers)),
        Figure(DIALS_FAILED, tally.dials_failed),
        Figure(SENT_MESSAGES, by=_kinds(tally.sent)),
        Figure(SENT_BYTES, by=_kinds(tally.sent_bytes)),
        Figure(RECEIVED_MESSAGES, by=_kinds(tally.received)),
        Figure(RECEIVED_BYTES, by=_kinds(tally.received_bytes)),
        Figure(REPLACED, by=_kinds(tally.replaced)),
        Figure(DROPPED, by=_kinds(tally.dropped)),
    ]


def of_member(member: MemberCore, now_s: float) -> list[Figure]:
    """What any member knows of the cluster. ``now_s``: on the clock that the member is told."""
    book = member.book
    alone = sum(book.owner(region) is None for region in book.regions)
    return [
        Figure(MEMBERS, by=Counter(other.record.kind for other in book.members.values())),
        Figure(WITHOUT_OWNER, alone),
        Figure(PLACER_KNOWN, book.placer is not None),
        Figure(MAY_ACT, member.may_act(now_s)),
        Figure(STORE_SILENT, max(0.0, now_s - member.answered_s) if member.answered_s > NEVER_S else 0.0),
        Figure(RENEWALS_FAILED, member.renewals_failed),
        Figure(LEASES_LOST, member.lost_leases),
        Figure(LIVES_ENDED, member.lives_ended),
    ]


def _of_book(member: MemberCore) -> dict[str, float]:
    book = member.book
    return {"claims": len(book.claims), "disowned": len(book.disowned)}


def of_gateway(process: GatewayProcess, links: Links, now_s: float) -> list[Figure]:
    """A gateway's."""
    core = process.core
    held = {
        "mirrored": core.mirror.count,
        "mirror_claims": core.mirror.claims,
        "sessions": core.sessions.held,
        "asked": core.bodies.asked,
        "sessions_elsewhere": core.sessions.held_elsewhere,
        "gateways_addressed": process.gateways_addressed,
        **_of_book(process.member),
    }
    return [
        *of_links(links),
        *of_member(process.member, now_s),
        Figure(MIRRORED, len(core.mirror.regions)),
        Figure(SILENT, core.regions.silent(now_s)),
        Figure(HELD, by=held),
        Figure(REGION_MOVES, by=_words(process.moves.counts)),
        Figure(SNAPSHOTS_AGAIN, core.regions.resubscribed),
        Figure(UPWARD_LOST, core.regions.lost),
        Figure(MESSAGES_DROPPED, by=_words(process.counts)),
        Figure(DURABLE_AWAY, len(without_durable(process.member.book))),
    ]


class Borders:
    """Counts of regions that come and go, added up over all that were ever here: such a total never falls."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._seen: dict[int, Counter[str]] = {}

    def look(self, counts: Mapping[int, Counter[str]]) -> Mapping[str, int]:
        """``counts`` of each region that is here now; one that has less than before began anew."""
        for region, now in counts.items():
            before = self._seen.get(region, Counter())
            for what, count in now.items():
                self.total[what] += count - before[what] if count >= before[what] else count
        self._seen = {region: now.copy() for region, now in counts.items()}
        return self.total


def of_shard(process: ShardProcess, links: Links, borders: Borders, faults: int, now_s: float) -> list[Figure]:
    """A shard's. ``faults``: behaviours that were stopped."""
    core = process.core
    states = [region.state for region in core.regions.values()]
    held = {
        "ghosts": sum(len(state.table.ghosts()) for state in states),
        "bodies": sum(len(state.row_of_session) for state in states),
        "gateways": max((len(state.gateways) for state in states), default=0),
        "gateways_addressed": process.gateways_addressed,
        "tombstones": sum(len(state.links.tombstones) for state in states),
        "remembered": sum(len(state.acting) for state in states),
        **_of_book(process.member),
    }
    return [
        *of_links(links),
        *of_member(process.member, now_s),
        Figure(OWNED, len(core.regions)),
        Figure(FROZEN, len(core.frozen)),
        Figure(SIMULATED, sum(region.entities for region in core.regions.values())),
        Figure(HELD, by=held),
        Figure(EVENTS, by=_words(process.counts)),
        Figure(BORDER_EVENTS, by=_words(borders.look({n: region.counts for n, region in core.regions.items()}))),
        Figure(MOVES, by=_words(process.moving.counts)),
        Figure(CHANGES, by=_words(process.changing.machine.counts)),
        Figure(INBOX_DROPPED, process.inbox_dropped),
        Figure(FAULTS, faults),
    ]


def of_journal(keeping: Keeping, bank: Bank, damaged: int, tick: int, rate_hz: int) -> list[Figure]:
    """Of a process that writes a durable store; ``damaged``: what could not be read of it; ``tick``: the world's."""
    oldest = keeping.oldest_tick
    return [
        Figure(JOURNAL, by=_words(keeping.counts)),
        Figure(JOURNAL_WAITING, keeping.waiting),
        Figure(JOURNAL_BEHIND, 0.0 if oldest is None else max(0, tick - oldest) / rate_hz),
        Figure(DURABLE_AWAY, bank.is_away),
        Figure(DURABLE_AWAY_SECONDS, bank.away_s),
        Figure(DURABLE_DAMAGED, damaged),
    ]


def of_placer(process: PlacerProcess, links: Links, now_s: float) -> list[Figure]:
    """A placer's."""
    return [
        *of_links(links),
        *of_member(process.member, now_s),
        Figure(HELD, by=_of_book(process.member)),
        Figure(ELECTIONS, process.placer.elections),
        Figure(PLACED, process.placer.placed),
        Figure(EVENTS, by=_words(process.counts)),
    ]


def _words(counts: Mapping[Any, int]) -> dict[str, float]:
    return {str(what).replace(" ", "_"): count for what, count in counts.items()}


def _kinds(counts: Mapping[Kind, int]) -> dict[str, float]:
    return {kind.name.lower(): count for kind, count in counts.items()}
