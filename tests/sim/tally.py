"""What happened in runs: each fault and each transition of the state machines, counted, so that a test can see that it
was tried; and what must hold of those who receive.

A core's counters end with it, so they are taken over when a process or a region goes, and at the end of a run.
"""

from collections import Counter
from collections.abc import Iterable

from protocol.border import ITEMS_MAX
from server.core.regions import DETACH_MAX, SENT_MAX
from server.process import GatewayProcess
from shard.border.handover import SOURCE, TARGET
from shard.border.links import HANDOVERS_MAX
from shard.process import ShardProcess
from shard.region import RegionCore
from tests.sim.hosts import Host

MOVES = ("offered", "declined", "withdrawn", "settled", "taken back", "gone", "received", "discarded")
CHANGES = ("asked", "split", "merged", "given up", "refused", "settled")
TRANSITIONS = (
    *(f"{state.name} {event.name}" for state, event in SOURCE),
    *(f"{state.name} {event.name}" for state, event in TARGET),
    *(f"move {how}" for how in MOVES),
    "entities come", "entities gone", "regions begun", "regions moved in", "regions moved out", "regions lost",
    "regions kept", "border of an older epoch", "border for another's region",
    "entities loaded", "journal fenced", "journal loaded", "journal committed", "journal away", "failsafe asked",
    "failsafe granted", "failsafe objected", "elected", "placed", "move asked", "split asked", "merge asked",
    "found dead",
    *(f"change {how}" for how in CHANGES),
)  # fmt: skip
"""Of shards, placers, and the store's members."""
GATEWAYS = (
    "delta of an older epoch", "resubscribed", "upward lost", "session moved", "session resumed", "commands forwarded",
    "acts said again", "acts forwarded", "acts left", "crossings that wait for a commit",
    "deeds answered", "deeds lost", "deeds stored",
)  # fmt: skip
"""Of gateways and their sessions."""

DATAGRAMS = (
    "went on over datagrams", "datagrams begun in a crossing", "datagrams given up before they began",
    "fell back after silence", "fell back in a crossing", "moved to another gateway from datagrams",
    "came back after its own late HELLO", "token expired", "went on from another address", "on datagrams in the end",
    "datagram lost", "datagram doubled", "datagram overtaken", "datagram beyond the queue",
    "datagram to a former address", "datagram replayed", "datagram unknown_number", "datagram ended",
    "datagrams silent", "stream said again", "values that waited for structure",
    "shown on television",
)  # fmt: skip
"""Of sessions over datagrams, and of what befalls them on their way."""


class Tally:
    """Counters of those who are over. ``of`` adds those who live."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def region(self, core: RegionCore) -> None:
        """A region's core is over."""
        self.counts += core.state.links.counts
        core.state.links.counts = Counter()

    def host(self, host: Host) -> None:
        """A process is over."""
        process = host.process
        self.counts += process.counts
        self.counts["found dead"] += process.member.lives_ended
        self.counts["failsafe asked"] += process.failsafe.rounds
        self.counts["failsafe granted"] += process.failsafe.grants
        self.counts["failsafe objected"] += process.failsafe.objections
        if isinstance(process, ShardProcess):
            if process.keeper is not None:
                self.counts.update({f"journal {how}": count for how, count in process.keeper.keeping.counts.items()})
            self.counts.update({f"move {how}": count for how, count in process.moving.counts.items()})
            self.counts.update({f"change {how}": count for how, count in process.changing.machine.counts.items()})
            for core in process.core.regions.values():
                self.region(core)
        elif isinstance(process, GatewayProcess):
            self.counts["resubscribed"] += process.core.regions.resubscribed
            self.counts["upward lost"] += process.core.regions.lost
            self.counts.update({f"session {how}": count for how, count in process.core.sessions.joins.items()})
        else:
            self.counts["elected"] += process.placer.elections
            self.counts["placed"] += process.placer.placed

    def of(self, living: Iterable[Host]) -> Counter[str]:
        """All counters; only once, at the end of a run."""
        for host in living:
            self.host(host)
        return self.counts


class Epochs:
    """Nobody accepts anything of an older epoch of a region after something of a newer one."""

    def __init__(self) -> None:
        self._newest: dict[Host, Counter[int]] = {}

    def heard(self, host: Host) -> None:
        """A process took something in."""
        if host.shard is not None:
            for border in host.shard._border[-1:]:
                self._took(host, border.source, border.epoch)
        elif host.gateway is not None:
            for region in host.gateway.core.mirror.regions:
                self._took(host, region, host.gateway.core.mirror.heard(region)[0])

    def over(self, host: Host) -> None:
        """A process is over, and with it what it knew."""
        self._newest.pop(host, None)

    def _took(self, host: Host, region: int, epoch: int) -> None:
        newest = self._newest.setdefault(host, Counter())
        assert epoch >= newest[region], f"{host.name} took epoch {epoch} of region {region} after {newest[region]}"
        newest[region] = epoch


def check_bounds(host: Host) -> None:
    """No queue of a process is longer than its bound."""
    if host.shard is not None:
        for region, core in host.shard.core.regions.items():
            for neighbour in core.state.links.neighbours.values():
                where = f"{host.name}, region {region} to {neighbour.region}"
                assert len(neighbour.channel.queue) <= ITEMS_MAX, where
                assert len(neighbour.outgoing) <= HANDOVERS_MAX, where
    elif host.gateway is not None:
        for link in host.gateway.core.regions.links.values():
            where = f"{host.name} to region {link.number}"
            assert len(link.sent) <= SENT_MAX, where
            assert len(link.detach) <= DETACH_MAX, where
            assert len(link.attach) <= 64 * SENT_MAX, where
