"""Regions as one gateway talks to them: which are mirrored, what each was told, and what of that must be said again.

Decides which regions views can see (with a margin, and for LINGER_S longer than they are seen), when a snapshot is
asked for again, and what got lost: each delta says which messages its region has had (``RegionDelta.heard``), so what
was in a message that it has not had goes into the next. Invariants: ``seq`` of messages to a region only grows; an
attach or detach is said until the region has had it, or its time is over; nothing kept grows beyond SENT_MAX messages.
Not responsible for: who owns a region (``server.process``), rows (``mirror``), commands (``inputs``).
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.partition import Partition
from cluster.regions import MARGIN_M
from protocol.layouts import GRID_PER_M
from protocol.link import RegionDelta, Upward

ASK_AGAIN_S = 0.3
"""A snapshot that did not come is asked for again; so long a region may be silent before it is asked anew."""
SILENT_S = 0.5
LINGER_S = 5.0
SENT_MAX = 64
"""Messages whose fate is not known yet; the region's own memory of them is as long (``shard.gateways.WINDOW``)."""
DETACH_MAX = 4096
"""Of those who left while a region is away so many are kept; the bodies of others end with their gateway."""
OVERTAKEN = 2
"""A message that the region has not had, while it had one so much newer, is lost."""


@dataclass(slots=True)
class _Sent:
    seq: int
    conns: npt.NDArray[np.uint32]
    attach: list[list[Any]]
    detach: list[list[Any]]


@dataclass(slots=True)
class RegionLink:
    """One region. ``wanted``: it shall be mirrored, since ``wanted_s``; ``asked_s``, ``heard_s``: when a snapshot was
    asked for, when a delta came."""

    number: int
    wanted: bool = False
    wanted_s: float = 0.0
    seen_s: float = 0.0
    asked_s: float = -1.0e9
    heard_s: float = -1.0e9
    begin: bool = False
    stop: bool = False
    seq: int = 0
    attach: list[list[Any]] = field(default_factory=list)
    detach: list[list[Any]] = field(default_factory=list)
    sent: deque[_Sent] = field(default_factory=deque)

    @property
    def waits(self) -> bool:
        """Whether something is said whose fate is not known."""
        return bool(self.attach or self.detach or any(sent.attach or sent.detach for sent in self.sent))


@dataclass(frozen=True, slots=True)
class Gone:
    """A region that was split or merged, and those in its place; attaches that it may not have had and that are still
    wanted, and connections whose commands or acts were on their way to it."""

    number: int
    heirs: list[int]
    attach: list[list[Any]]
    conns: set[int]


class Regions:
    """All regions that a gateway speaks to. ``partition`` None: one region without borders. ``still(attach)``: whether
    a body is still wanted as that attach says."""

    def __init__(self, gateway: int, partition: Partition | None, still: Callable[[list[Any]], bool]) -> None:
        self.gateway = gateway
        self.partition = partition
        self._still = still
        self.links: dict[int, RegionLink] = {}
        self.resubscribed = 0
        """Snapshots asked for because a delta did not follow, or a region was silent."""
        self.lost = 0
        """Messages to regions that got lost."""
        self.unreachable: Callable[[int], bool] = lambda region: False
        """Whether a region has no owner that can be reached; whoever knows the cluster says so."""

    def link(self, region: int) -> RegionLink:
        """What is known of a region; begun if nothing is."""
        found = self.links.get(region)
        if found is None:
            found = self.links[region] = RegionLink(region)
        return found

    def want(self, region: int, now_s: float) -> None:
        """The region is to be mirrored from now on."""
        link = self.link(region)
        link.seen_s = now_s
        if not link.wanted:
            link.wanted, link.stop, link.wanted_s = True, False, now_s
            self._ask(link, now_s)

    def _ask(self, link: RegionLink, now_s: float) -> None:
        link.begin, link.asked_s = True, now_s

    def is_wanted(self, region: int) -> bool:
        """Whether deltas of a region are to be applied."""
        link = self.links.get(region)
        return link is not None and link.wanted

    def look(self, x: npt.NDArray[np.int32], z: npt.NDArray[np.int32], radius_m: float, now_s: float) -> list[int]:
        """Views look from these places (grid units, int32[n] each); returns regions that nobody has seen for long:
        forget them."""
        if self.partition is None:
            return []
        for region in touched(self.partition, x / GRID_PER_M, z / GRID_PER_M, radius_m + MARGIN_M):
            self.want(region, now_s)
        gone = []
        for link in self.links.values():
            if link.wanted and now_s - link.seen_s > LINGER_S and not link.waits:
                link.wanted, link.stop, link.begin = False, True, False
                gone.append(link.number)
        return gone

    def gap(self, region: int, now_s: float) -> bool:
        """A delta came that does not follow. Whether a snapshot is asked for, or the region is not wanted."""
        link = self.link(region)
        if link.wanted:
            if now_s - link.asked_s >= ASK_AGAIN_S and not link.begin:
                self.resubscribed += 1
                self._ask(link, now_s)
        elif now_s - link.asked_s >= ASK_AGAIN_S:  # the region has not heard that it is not wanted any more
            link.stop, link.asked_s = True, now_s
        return link.begin or not link.wanted

    def is_away(self, region: int, now_s: float) -> bool:
        """Whether nobody speaks for a region now: its owner is dead or silent, and whoever is in it comes back with the
        next one."""
        link = self.links.get(region)
        return (link is not None and self._is_silent(link, now_s)) or self.unreachable(region)

    def silent(self, now_s: float) -> int:
        """For metrics: mirrored regions that have told nothing for SILENT_S."""
        return sum(self._is_silent(link, now_s) for link in self.links.values())

    @staticmethod
    def _is_silent(link: RegionLink, now_s: float) -> bool:
        return link.wanted and now_s - max(link.heard_s, link.wanted_s) >= SILENT_S

    def silence(self, now_s: float) -> None:
        """Time passed: regions that say nothing are asked anew; perhaps they have another owner."""
        for link in self.links.values():
            if link.wanted and now_s - max(link.heard_s, link.asked_s) >= SILENT_S and not link.begin:
                self.resubscribed += 1
                self._ask(link, now_s)

    def reached(self, regions: Iterable[int], now_s: float) -> None:
        """The way to the owner of these regions is there, perhaps again: what was asked of them and not answered may
        have got lost on the former one."""
        for region in regions:
            link = self.links.get(region)
            if link is not None and link.wanted and link.heard_s < link.asked_s and not link.begin:
                self.resubscribed += 1
                self._ask(link, now_s)

    def regroup(self, partition: Partition, now_s: float) -> list[Gone]:
        """Regions were split or merged: who was subscribed to one that is gone is to those in its place, as their
        shard knows too. Returns what is gone, and what it may not have heard."""
        self.partition = partition
        gone: list[Gone] = []
        for number in [number for number in self.links if not partition.holds(number)]:
            link = self.links.pop(number)
            heirs = partition.in_place_of(number)
            attach, detach = list(link.attach), list(link.detach)
            conns: set[int] = set()
            for sent in link.sent:
                attach += sent.attach
                detach += sent.detach
                conns.update(sent.conns.tolist())
            gone.append(Gone(number, heirs, [entry for entry in attach if self._still(entry)], conns))
            for heir in heirs:
                mine = self.link(heir)
                mine.detach += detach
                if link.wanted:
                    self._inherit(mine, now_s)
        return gone

    def heir(self, region: int, former: Sequence[int], now_s: float) -> None:
        """A region says that it took the place of others, perhaps before the store does: it is mirrored if one of those
        was."""
        if any(self.is_wanted(other) for other in former):
            self._inherit(self.link(region), now_s)

    @staticmethod
    def _inherit(link: RegionLink, now_s: float) -> None:
        if not link.wanted:
            link.wanted, link.stop = True, False
            link.seen_s = link.asked_s = link.wanted_s = now_s

    # -------------------------------------------------------------------------------------------------------- messages
    def upward(
        self,
        tick: int,
        heard: Callable[[int], tuple[int, int]],
        commands: dict[int, tuple[Any, Any, Any, Any, Any]],
        acts: Mapping[int, Sequence[tuple[int, list[list[Any]]]]] = MappingProxyType({}),
    ) -> list[Upward]:
        """One message for each region that is mirrored or is told something. ``heard(region)``: (epoch, seq) of its
        newest delta; ``commands`` by region: rows, generations, numbers, commands, connections; ``acts`` by region:
        connection and its entries of ``Upward.acts``."""
        messages = []
        for region, link in sorted(self.links.items()):
            if not (link.wanted or link.stop or link.attach or link.detach or region in commands or region in acts):
                continue
            link.seq += 1
            epoch, newest = heard(region)
            up = Upward(self.gateway, link.seq, tick, region, epoch, newest, link.begin, link.stop)
            up.attach, up.detach = link.attach, link.detach
            conns = np.zeros(0, np.uint32)
            if region in commands:
                up.input_row, up.input_generation, up.input_seq, up.input_command, conns = commands[region]
            for conn, entries in acts.get(region, ()):
                up.acts += entries
                conns = np.append(conns, np.uint32(conn))
            link.begin = link.stop = False
            link.attach, link.detach = [], []
            if self.partition is not None and (len(conns) or up.attach or up.detach):
                link.sent.append(_Sent(link.seq, conns, up.attach, up.detach))
                if len(link.sent) > SENT_MAX:  # a region that is away: it must hear later who left
                    self._say_again(link, link.sent.popleft())
            messages.append(up)
        return messages

    def _say_again(self, link: RegionLink, sent: _Sent) -> None:
        link.attach += [entry for entry in sent.attach if self._still(entry)]
        link.detach += sent.detach
        del link.detach[: -DETACH_MAX or None]

    def heard(self, delta: RegionDelta, now_s: float) -> set[int]:
        """A delta came: connections whose commands or acts got lost on their way."""
        link = self.link(delta.region)
        link.heard_s = now_s
        lost: set[int] = set()
        for gateway, newest, seen in delta.heard:
            if gateway != self.gateway:
                continue
            while link.sent and link.sent[0].seq <= newest - OVERTAKEN:
                sent = link.sent.popleft()
                back = newest - sent.seq
                if back < SENT_MAX and seen >> back & 1:
                    continue
                self.lost += 1
                lost.update(sent.conns.tolist())
                self._say_again(link, sent)
        return lost


def touched(
    partition: Partition, x_m: npt.NDArray[np.float64], z_m: npt.NDArray[np.float64], radius_m: float
) -> list[int]:
    """Regions that circles around places (float64[n] each) touch, and some that their squares touch alone."""
    regions: list[int] = np.unique(partition.seen(x_m, z_m, radius_m).regions).tolist()
    return regions
