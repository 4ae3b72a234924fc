"""What a process knows of the others from its watch of the store: members, regions, who places.

Invariants: the newest epoch that was ever seen of a region is never forgotten, whatever the store says later (a store
restored from a backup, a peer that knows more); what the store says replaces everything else. Not responsible for:
acting on it.
"""

from dataclasses import dataclass, field

from cluster.orders import ORDERS, Order, read_order
from cluster.partition import Partition
from cluster.records import (
    ASKS,
    CLAIMS,
    DRAINS,
    GATEWAY,
    MEMBERS,
    PLACER,
    REGIONS,
    SHARD,
    WISHES,
    WORLD,
    AskRecord,
    ClaimRecord,
    MemberRecord,
    RecordError,
    RegionRecord,
    WishRecord,
    WorldRecord,
    life_of,
    read,
    region_of,
)
from cluster.regions import Layout, level_of
from cluster.store.contract import Record, Relisted, WatchItem


@dataclass(frozen=True, slots=True)
class Member:
    """A living member. ``lease`` tells its lives apart."""

    name: str
    lease: int
    record: MemberRecord
    revision: int


@dataclass(frozen=True, slots=True)
class Owner:
    """A region's record, and the revision to compare with when it is changed."""

    record: RegionRecord
    revision: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Who is asked before a life is given up, and the revision to compare with."""

    members: frozenset[str]
    revision: int


@dataclass(slots=True)
class Book:
    """``problems``: records that could not be read, for the log; taken and emptied by whoever logs."""

    world: WorldRecord | None = None
    members: dict[str, Member] = field(default_factory=dict)
    regions: dict[int, Owner] = field(default_factory=dict)
    placer: str | None = None
    claims: dict[tuple[str, int], Claim] = field(default_factory=dict)
    """By name and lease of the life that they stand for."""
    asks: dict[int, str] = field(default_factory=dict)
    """What operators want: region to the name of the member that shall own it."""
    wishes: dict[int, str] = field(default_factory=dict)
    """By cell: what operators want of the regions there (records.SPLIT, MERGE)."""
    drains: set[tuple[str, int]] = field(default_factory=set)
    """Lives that operators want drained: name and lease."""
    orders: dict[str, Order] = field(default_factory=dict)
    """What operators order of all gateways, by key; another dict when there is news of it."""
    disowned: set[tuple[str, int]] = field(default_factory=set)
    """Lives that this process has called over, or is about to: it never consents to their acting again. Kept as long
    as their claims stand: without one nobody consents."""
    confirmers: frozenset[str] = frozenset()
    """Whom this process has to ask before it acts without the store: all in its own claims, as written or under way."""
    epochs: dict[int, int] = field(default_factory=dict)
    revision: int = 0
    partition_revision: int = 0
    """Of the store, when regions came or went last."""
    problems: list[str] = field(default_factory=list)
    _partition: tuple[Layout, Partition] | None = field(default=None, repr=False)

    def watched(self, item: WatchItem) -> set[int]:
        """Take over what the watch told; returns the regions whose record changed."""
        before = dict(self.regions)
        if isinstance(item, Relisted):
            self.world, self.placer = None, None
            self.members, self.regions, self.claims = {}, {}, {}
            self.asks, self.wishes, self.drains, self.orders = {}, {}, set(), {}
            for record in item.records:
                self._put(record.key, record)
            self.disowned &= self.claims.keys()
        else:
            if any(change.key.startswith(ORDERS) for change in item.changes):
                self.orders = dict(self.orders)
            for change in item.changes:
                self._put(change.key, change.record)
        self.revision = item.revision
        if before.keys() != self.regions.keys():
            self.partition_revision = item.revision
            self._partition = None
        both = before.keys() | self.regions.keys()
        return {region for region in both if before.get(region) != self.regions.get(region)}

    def _put(self, key: str, record: Record | None) -> None:
        try:
            if key.startswith(MEMBERS):
                self._member(key, record)
            elif key.startswith(REGIONS):
                self._region(key, record)
            elif key.startswith(CLAIMS):
                life = life_of(key)
                self.claims.pop(life, None)
                if record is None:
                    self.disowned.discard(life)
                else:
                    names = frozenset(read(key, record.value, ClaimRecord).members)
                    self.claims[life] = Claim(names, record.mod_revision)
            elif key.startswith(ASKS):
                self.asks.pop(region_of(key, ASKS), None)
                if record is not None:
                    self.asks[region_of(key, ASKS)] = read(key, record.value, AskRecord).to
            elif key.startswith(WISHES):
                self.wishes.pop(region_of(key, WISHES), None)
                if record is not None:
                    self.wishes[region_of(key, WISHES)] = read(key, record.value, WishRecord).what
            elif key.startswith(DRAINS):
                name = key.removeprefix(DRAINS)
                self.drains = {life for life in self.drains if life[0] != name}
                if record is not None and record.lease is not None:
                    self.drains.add((name, record.lease))
            elif key.startswith(ORDERS):
                self.orders.pop(key, None)
                if record is not None:
                    self.orders[key] = read_order(key, record.value)
            elif key == WORLD:
                self.world = None if record is None else read(key, record.value, WorldRecord)
            elif key == PLACER:
                self.placer = None if record is None else record.value.decode(errors="replace")
        except RecordError as error:
            self.problems.append(str(error))

    def _member(self, key: str, record: Record | None) -> None:
        name = key.removeprefix(MEMBERS)
        self.members.pop(name, None)
        if record is not None and record.lease is not None:
            told = read(key, record.value, MemberRecord)
            self.members[name] = Member(name, record.lease, told, record.mod_revision)

    def _region(self, key: str, record: Record | None) -> None:
        region = region_of(key)
        self.regions.pop(region, None)
        if record is not None:
            told = read(key, record.value, RegionRecord)
            try:
                level_of(region)
            except ValueError as error:
                raise RecordError(f"{key}: {error}") from None
            self.regions[region] = Owner(told, record.mod_revision)
            self.saw(region, told.epoch)

    def partition(self, layout: Layout) -> Partition:
        """The regions as the store tells of them; where it tells of none, as ``layout`` cuts the world."""
        if self._partition is None or self._partition[0] != layout:
            self._partition = layout, Partition.of(layout, self.regions)
        return self._partition[1]

    def saw(self, region: int, epoch: int) -> None:
        """An epoch was seen, in the store or in a message."""
        if epoch > self.epochs.get(region, 0):
            self.epochs[region] = epoch

    def is_stale(self, region: int, epoch: int) -> bool:
        """Whether a newer epoch of the region is known: nothing of this one counts any more."""
        return epoch < self.epochs.get(region, 0)

    def is_alive(self, name: str, lease: int) -> bool:
        """Whether this life of a member goes on, as far as the store has told."""
        member = self.members.get(name)
        return member is not None and member.lease == lease

    def may_go_on(self, region: int, epoch: int) -> bool:
        """Whether, as far as is known here, nobody has called over the life that owns ``region`` under ``epoch``."""
        entry = self.regions.get(region)
        if entry is None:
            return False
        life = entry.record.owner, entry.record.lease
        return entry.record.epoch < epoch or (life in self.claims and life not in self.disowned)

    def owner(self, region: int) -> Member | None:
        """The living owner of a region."""
        owner = self.regions.get(region)
        if owner is None or not self.is_alive(owner.record.owner, owner.record.lease):
            return None
        return self.members[owner.record.owner]

    def shards(self) -> list[Member]:
        """Living shards by name."""
        return [m for _, m in sorted(self.members.items()) if m.record.kind == SHARD]

    def gateways(self) -> list[Member]:
        """Living gateways by name."""
        return [m for _, m in sorted(self.members.items()) if m.record.kind == GATEWAY]
