"""Moving a region from one living owner to another: both sides as state machines.

Theory of operation. The source freezes the region, offers its dump, and writes the region's record (compare-and-set on
the revision that it read as owner) once the target has loaded it. The record names the ``move``; the target steps only
when it has both the dump and a record, or the source's word, with the same ``move``. States of a departure:

    OFFERED --loaded--> WRITING --written--> (gone)
       |                   |--not written--> (lost: somebody else owns it)
       |                   `--unknown-----> SETTLING --read: the move stands--> (gone)
       |                                        `--read: ours still----------> take back, read again
       `--declined, silence, link down--> (thawed)

Invariants: the region is frozen from the dump on until the source knows that it goes on itself or has lost it; a write
whose outcome is unknown is never overtaken by a thaw: the source first writes the record once more (same owner, same
epoch), so that the lost write's comparison can no longer hold; a dump is never used for another move than its own, so
what the source did after a withdrawal can not be undone.
Not responsible for: who should own what (``cluster.placer``), stepping and dumping (``shard``), reaching the store.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto

from protocol.link import LINK_BYTES_MAX
from protocol.moving import (
    Declined,
    Loaded,
    Merge,
    Offer,
    Please,
    Settle,
    Settled,
    Split,
    Withdrawn,
    Word,
    Yours,
)

PATIENCE_S = 1.0
"""Silence of the target after which the owner goes on itself: people stand still meanwhile."""
KEEP_S = 10.0
"""How long a target keeps a dump whose record does not come: longer than a source waits for its own write."""
HEAR_S = 0.1
"""Two ticks: so long a new owner waits for the old one's word after the store's; it is dead, or cut off."""
DEPARTURES_MAX = 4
"""Regions that may be under way from one shard at once."""
ARRIVALS_MAX = 4
DUMPS_BYTES_MAX = LINK_BYTES_MAX - 1024
"""Dumps that are on their way to one member at once: more than its link takes would reset that. The last region waits
until it is asked for again; one that is larger on its own cannot be moved."""


class Phase(Enum):
    """Where a departure stands."""

    OFFERED = auto()
    WRITING = auto()
    SETTLING = auto()


# --------------------------------------------------------------------------------------------------- what is to be done
@dataclass(frozen=True, slots=True)
class Freeze:
    """Step the region no more, dump it, and call :meth:`Moving.frozen`."""

    region: int


@dataclass(frozen=True, slots=True)
class Thaw:
    """Step the region again: it stays here."""

    region: int


@dataclass(frozen=True, slots=True)
class Drop:
    """The region is another shard's now: forget it. ``to``: who has it by this move, if that is known."""

    region: int
    to: str = ""


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a word to a member."""

    member: str
    word: Word


@dataclass(frozen=True, slots=True)
class WriteOwner:
    """Write the record (new owner in the life of ``lease``, epoch + 1, this move) if it is as the owner knows it; then
    :meth:`Moving.wrote`."""

    region: int
    owner: str
    lease: int
    epoch: int
    move: int


@dataclass(frozen=True, slots=True)
class Read:
    """Read the record and call :meth:`Moving.read`."""

    region: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Write the record as it is (own name, same epoch), only if unchanged, so that a write under way fails for good.
    Then :meth:`Moving.wrote`."""

    region: int


@dataclass(frozen=True, slots=True)
class Load:
    """Make the region from its dump, without stepping it, and call :meth:`Moving.loaded`."""

    move: int
    region: int
    epoch: int
    dump: bytes


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget what was loaded."""

    region: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Step the loaded region from now on, under ``epoch``, if this process still lives by ``lease``."""

    region: int
    epoch: int
    lease: int


Action = Freeze | Thaw | Drop | Tell | WriteOwner | Read | TakeBack | Load | Discard | Begin


class Outcome(Enum):
    """What came of a write."""

    DONE = auto()
    REFUSED = auto()
    """The record was not as compared."""
    UNKNOWN = auto()
    NOT_DONE = auto()
    """The store could not be asked, and certainly did nothing."""


@dataclass(slots=True)
class _Departure:
    move: int
    to: str
    lease: int
    epoch: int
    since_s: float
    phase: Phase = Phase.OFFERED
    taking_back: bool = False
    dump_bytes: int = 0


@dataclass(slots=True)
class _Arrival:
    move: int
    source: str
    epoch: int
    since_s: float
    loaded: bool = False
    assigned_s: float = 0.0
    """When the store said so."""
    owned_epoch: int = 0
    """The epoch under which the region is ours, once that is known; ``lease``: the life of ours that it is for."""
    lease: int = 0


@dataclass(slots=True)
class Moving:
    """All moves of one shard, by region. ``counts``: how often each came about, for metrics: offered, declined,
    withdrawn, settled (a write whose outcome was not known), taken back, gone, received, discarded, too large."""

    departures: dict[int, _Departure] = field(default_factory=dict)
    arrivals: dict[int, _Arrival] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    # ---------------------------------------------------------------------------------------------------- source
    def ask(self, region: int, epoch: int, to: str, lease: int, move: int, now_s: float) -> list[Action]:
        """Move an owned region to ``to``, who lives by ``lease``; ``move`` is never used again. Nothing if it is under
        way or too many are."""
        if region in self.departures or region in self.arrivals or len(self.departures) >= DEPARTURES_MAX:
            return []
        self.departures[region] = _Departure(move, to, lease, epoch, now_s)
        self.counts["offered"] += 1
        return [Freeze(region)]

    def frozen(self, region: int, dump: bytes, gateways: dict[int, str], revision: int = 0) -> list[Action]:
        """The region was frozen and dumped; ``gateways``: members by the numbers that its subscribers may go by;
        ``revision``: of the store, when regions were split or merged last."""
        leaving = self.departures[region]
        offered = [d for d in self.departures.values() if d.to == leaving.to and d.phase is Phase.OFFERED]
        if sum(d.dump_bytes for d in offered) + len(dump) > DUMPS_BYTES_MAX:
            self.counts["too large"] += 1
            return self._withdraw(region)
        leaving.dump_bytes = len(dump)
        offer = Offer(leaving.move, region, leaving.epoch, leaving.lease, dump, gateways, revision)
        return [Tell(leaving.to, offer)]

    def wrote(self, region: int, outcome: Outcome, now_s: float) -> list[Action]:
        """What came of the last WriteOwner or TakeBack of ``region``."""
        leaving = self.departures.get(region)
        if leaving is None or leaving.phase is Phase.OFFERED:
            return []
        if outcome is Outcome.DONE:
            if leaving.taking_back:
                self.counts["taken back"] += 1
                return self._withdraw(region)
            return self._gone(region)
        if outcome is Outcome.NOT_DONE and not leaving.taking_back:
            return self._withdraw(region)
        # Unknown, or refused: perhaps by a write of ours that was done after all.
        leaving.phase, leaving.since_s = Phase.SETTLING, now_s
        self.counts["settled"] += 1
        leaving.taking_back = False
        return [Read(region)]

    def read(self, region: int, owner: str | None, epoch: int, move: int, me: str) -> list[Action]:
        """The record as the store has it; ``owner`` None: it could not be read."""
        leaving = self.departures.get(region)
        if leaving is None or leaving.phase is not Phase.SETTLING:
            return []
        if owner is None:
            return []  # ``tick`` asks again
        if move == leaving.move and epoch == leaving.epoch + 1:
            return self._gone(region)
        if owner == me and epoch == leaving.epoch:
            leaving.taking_back = True
            leaving.phase = Phase.WRITING
            return [TakeBack(region)]
        del self.departures[region]
        return [Drop(region)]

    def lost(self, region: int, move: int = 0) -> list[Action]:
        """The shard owns the region no more: its lease ended, a newer epoch was seen, or the watch tells of its own
        write before the answer does (``move``: of the record as it is known now)."""
        coming = self.arrivals.get(region)
        if coming is not None and coming.owned_epoch:
            del self.arrivals[region]  # it was to begin here in a moment
        leaving = self.departures.get(region)
        if leaving is None:
            return []
        if move == leaving.move:
            return self._gone(region)
        del self.departures[region]
        # Once a write is under way the target keeps what it has loaded: the record may come to name this move yet.
        return [Tell(leaving.to, Withdrawn(leaving.move, region))] if leaving.phase is Phase.OFFERED else []

    def _gone(self, region: int) -> list[Action]:
        leaving = self.departures.pop(region)
        self.counts["gone"] += 1
        yours = Yours(leaving.move, region, leaving.epoch + 1, leaving.lease)
        return [Drop(region, leaving.to), Tell(leaving.to, yours)]

    def _withdraw(self, region: int) -> list[Action]:
        leaving = self.departures.pop(region)
        self.counts["withdrawn"] += 1
        return [Thaw(region), Tell(leaving.to, Withdrawn(leaving.move, region))]

    # ---------------------------------------------------------------------------------------------------- target
    def loaded(self, region: int, move: int, problem: str | None) -> list[Action]:
        """The dump was loaded, or could not be (``problem``)."""
        coming = self.arrivals.get(region)
        if coming is None or coming.move != move:
            return []
        if problem is not None:
            del self.arrivals[region]
            return [Tell(coming.source, Declined(move, region, problem))]
        coming.loaded = True
        return [Tell(coming.source, Loaded(move, region)), *self._begin(region, coming)]

    def assigned(self, region: int, epoch: int, lease: int, move: int, now_s: float) -> list[Action] | None:
        """The store says that the region is ours under ``epoch``, in the life of ``lease``. None: not by a move that is
        under way here, so it begins without what it held. Otherwise it begins with the source's word, which comes
        behind what was said to the region meanwhile; or HEAR_S later."""
        coming = self.arrivals.get(region)
        if coming is None:
            return None
        if coming.move != move or epoch != coming.epoch + 1:
            del self.arrivals[region]
            return None
        if not coming.owned_epoch:
            coming.owned_epoch, coming.lease, coming.assigned_s = epoch, lease, now_s
        return []

    def _begin(self, region: int, coming: _Arrival) -> list[Action]:
        if not coming.loaded or not coming.owned_epoch:
            return []
        del self.arrivals[region]
        self.counts["received"] += 1
        return [Begin(region, coming.owned_epoch, coming.lease)]

    # ---------------------------------------------------------------------------------------------------- both
    def heard(
        self, member: str, word: Word, owns: bool, lease: int | None, now_s: float, revision: int = 0
    ) -> list[Action]:
        """A member said something about a region; ``owns``: whether this shard owns that region now, ``lease``: the
        life of this shard, None while it has none; ``revision`` of the store, as it is known here."""
        match word:
            case Offer():
                if word.lease != lease:  # a former life: the record would name that one, and nobody would have it
                    self.counts["declined"] += 1
                    return [Tell(member, Declined(word.move, word.region, "it is for another life of this shard"))]
                if word.revision > revision:
                    self.counts["declined"] += 1
                    return [Tell(member, Declined(word.move, word.region, "the store's news are late here"))]
                return self._offered(member, word, owns, now_s)
            case Loaded():
                leaving = self._departure(member, word)
                if leaving is None or leaving.phase is not Phase.OFFERED:
                    return []
                leaving.phase, leaving.since_s = Phase.WRITING, now_s
                return [WriteOwner(word.region, leaving.to, leaving.lease, leaving.epoch + 1, leaving.move)]
            case Declined():
                leaving = self._departure(member, word)
                if leaving is None or leaving.phase is not Phase.OFFERED:
                    return []
                return self._withdraw(word.region)
            case Withdrawn():
                coming = self._arrival(member, word)
                if coming is None or coming.owned_epoch:
                    return []
                del self.arrivals[word.region]
                self.counts["discarded"] += 1
                return [Discard(word.region)] if coming.loaded else []
            case Yours():
                coming = self._arrival(member, word)
                if coming is None or word.epoch != coming.epoch + 1:
                    return []
                coming.owned_epoch, coming.lease = word.epoch, word.lease
                return self._begin(word.region, coming)
            case Please() | Settle() | Settled() | Split() | Merge():
                return []  # whoever composes the shard decides about it

    def _offered(self, member: str, offer: Offer, owns: bool, now_s: float) -> list[Action]:
        if owns or offer.region in self.departures:
            self.counts["declined"] += 1
            return [Tell(member, Declined(offer.move, offer.region, "it is owned here"))]
        held = self.arrivals.get(offer.region)
        if held is not None and (held.move == offer.move or held.owned_epoch):
            return []
        if held is None and len(self.arrivals) >= ARRIVALS_MAX:
            return [Tell(member, Declined(offer.move, offer.region, "too many regions are arriving"))]
        self.arrivals[offer.region] = _Arrival(offer.move, member, offer.epoch, now_s)
        before: list[Action] = [Discard(offer.region)] if held is not None and held.loaded else []
        return [*before, Load(offer.move, offer.region, offer.epoch, offer.dump)]

    def _departure(self, member: str, word: Loaded | Declined) -> _Departure | None:
        leaving = self.departures.get(word.region)
        return leaving if leaving is not None and leaving.move == word.move and leaving.to == member else None

    def _arrival(self, member: str, word: Withdrawn | Yours) -> _Arrival | None:
        coming = self.arrivals.get(word.region)
        return coming if coming is not None and coming.move == word.move and coming.source == member else None

    def link_down(self, member: str) -> list[Action]:
        """The link to a member broke: what was only offered to it comes back at once."""
        waiting = [r for r, d in self.departures.items() if d.to == member and d.phase is Phase.OFFERED]
        return [action for region in waiting for action in self._withdraw(region)]

    def tick(self, now_s: float) -> list[Action]:
        """Time passed."""
        actions: list[Action] = []
        for region, leaving in list(self.departures.items()):
            if now_s - leaving.since_s < PATIENCE_S:
                continue
            if leaving.phase is Phase.OFFERED:
                actions += self._withdraw(region)
            elif leaving.phase is Phase.SETTLING:
                leaving.since_s = now_s
                actions.append(Read(region))
        for region, coming in list(self.arrivals.items()):
            if coming.owned_epoch and now_s - coming.assigned_s >= HEAR_S:
                actions += self._begin(region, coming)
            elif now_s - coming.since_s >= KEEP_S and not coming.owned_epoch:
                del self.arrivals[region]
                if coming.loaded:
                    actions.append(Discard(region))
        return actions
