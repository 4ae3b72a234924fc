"""The durable store's meaning without any I/O: rows, epochs and limits as a state machine that is told the time.

The simulator uses ``DurableCore`` directly; it outlives the processes of a simulated cluster as a disk does.
``MemoryDurable`` puts the asynchronous interface around it, for worlds that need not survive their process.

Invariants: see ``contract``; in here also: a session has actions exactly as long as it has a place. Time never runs
backwards: an earlier ``now_s`` than before changes nothing. Not responsible for: damage (memory has none).
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from shard.durable.contract import (
    ActionRow,
    Away,
    Batch,
    Committed,
    Durable,
    EntityRow,
    Fenced,
    Limits,
    Loaded,
    NoteRow,
    PoseRow,
    WorldIdentity,
    check_batch,
    check_epoch,
    check_span,
)
from shard.durable.spans import Span, span_of

PRUNE_EVERY_S = 60.0


@dataclass(slots=True)
class _Owner:
    """What the store knows of a region."""

    span: Span
    epoch: int
    tick: int = 0
    note: NoteRow | None = None


@dataclass(slots=True)
class _Place:
    """Where a session was named last, and its journal by number."""

    span: Span
    tick: int
    heard_s: float
    actions: dict[int, ActionRow]


class DurableCore:
    """The durable store as a pure state machine. ``now_s``: seconds from any origin."""

    def __init__(self, world: WorldIdentity, limits: Limits | None = None) -> None:
        self.world = world
        self._limits = limits or Limits()
        self._owners: dict[int, _Owner] = {}
        self._entities: dict[int, EntityRow] = {}
        self._tombstones: dict[int, tuple[int, float]] = {}
        """By id: hop, and when it left."""
        self._poses: dict[int, dict[int, PoseRow]] = {}
        self._sessions: dict[int, _Place] = {}
        self._now_s = float("-inf")

    def fence(self, region: int, epoch: int) -> None:
        """See ``contract.Durable``."""
        check_epoch(epoch)
        span = span_of(region, self.world.leaf_level)
        newest = self.newest_epoch(region)
        if newest > epoch:
            raise Fenced(newest)
        self._owners.setdefault(region, _Owner(span, epoch))
        for owner in self._overlapping(span):
            owner.epoch = epoch

    def newest_epoch(self, region: int) -> int:
        """See ``contract.Durable``."""
        return max((owner.epoch for owner in self._overlapping(span_of(region, self.world.leaf_level))), default=0)

    def hops(self, ids: Iterable[int]) -> dict[int, int]:
        """See ``contract.Durable``."""
        known = {id_: self._entities[id_].hop for id_ in ids if id_ in self._entities}
        return known | {id_: self._tombstones[id_][0] for id_ in ids if id_ in self._tombstones}

    def load(self, first_leaf: int, last_leaf: int) -> Loaded:
        """See ``contract.Durable``."""
        span = check_span(first_leaf, last_leaf, self.world.leaf_level)
        entities = [row for _, row in sorted(self._entities.items()) if first_leaf <= row.leaf <= last_leaf]
        leaves = sorted(leaf for leaf in self._poses if first_leaf <= leaf <= last_leaf)
        poses = [self._poses[leaf][max(self._poses[leaf])] for leaf in leaves]
        places = [place for _, place in sorted(self._sessions.items()) if place.span.overlaps(span)]
        actions = [row for place in places for _, row in sorted(place.actions.items())]
        owners = self._overlapping(span)
        tick = max((owner.tick for owner in owners), default=0)
        notes = sorted((owner.note for owner in owners if owner.note is not None), key=lambda note: note.region)
        return Loaded(tick, entities, poses, actions, [], notes)

    def commit(self, batch: Batch, now_s: float) -> Committed:
        """See ``contract.Durable``."""
        span = check_batch(batch, self.world.leaf_level)
        self._now_s = max(self._now_s, now_s)
        owner = self._owners.get(batch.region)
        if owner is None or owner.epoch != batch.epoch:
            raise Fenced(self.newest_epoch(batch.region))
        owner.tick = max(owner.tick, batch.tick)
        if batch.note:
            owner.note = NoteRow(batch.region, batch.tick, batch.note)
        refused = [gone.id for gone in batch.gone if not self._bury(gone.id, gone.hop)]
        refused += [row.id for row in batch.entities if not self._put(row)]
        for pose in batch.poses:
            seconds = self._poses.setdefault(pose.leaf, {})
            seconds[pose.second] = pose
            for old in sorted(seconds)[: -self._limits.poses_per_leaf]:
                del seconds[old]
        for session in {action.session for action in batch.actions}:
            self._place(session, span, batch.tick)
        for action in batch.actions:
            journal = self._sessions[action.session].actions
            journal.setdefault(action.number, action)
            for number in sorted(journal)[: -self._limits.actions_per_session]:
                del journal[number]
        return Committed(sorted(refused))

    def prune(self, now_s: float) -> None:
        """See ``contract.Durable``."""
        self._now_s = max(self._now_s, now_s)
        gone_before_s = self._now_s - self._limits.tombstone_kept_s
        heard_before_s = self._now_s - self._limits.session_kept_s
        self._tombstones = {id: grave for id, grave in self._tombstones.items() if grave[1] >= gone_before_s}
        self._sessions = {id: place for id, place in self._sessions.items() if place.heard_s >= heard_before_s}

    def _overlapping(self, span: Span) -> list[_Owner]:
        return [owner for owner in self._owners.values() if owner.span.overlaps(span)]

    def _bury(self, entity_id: int, hop: int) -> bool:
        """Whether it is gone now; not if a newer hop of it is known."""
        row = self._entities.get(entity_id)
        known = row.hop if row else self._tombstones.get(entity_id, (-1, 0.0))[0]
        if known > hop:
            return False
        self._entities.pop(entity_id, None)
        self._tombstones[entity_id] = (hop, self._now_s)
        return True

    def _put(self, row: EntityRow) -> bool:
        """Whether it is written; not if a newer hop of it is known, or it has left with this one."""
        known = self._entities.get(row.id)
        grave = self._tombstones.get(row.id)
        if (known and known.hop > row.hop) or (grave and grave[0] >= row.hop):
            return False
        self._entities[row.id] = row
        self._tombstones.pop(row.id, None)
        return True

    def _place(self, session: int, span: Span, tick: int) -> None:
        place = self._sessions.setdefault(session, _Place(span, tick, self._now_s, {}))
        if tick >= place.tick:
            place.span, place.tick, place.heard_s = span, tick, self._now_s


class MemoryDurable(Durable):
    """A ``contract.Durable`` within one process. ``clock``: seconds; without one nothing is ever pruned."""

    def __init__(self, core: DurableCore, clock: Callable[[], float] | None = None) -> None:
        """Several clients may share a core."""
        self._core = core
        self._clock = clock or (lambda: 0.0)
        self._closed = False
        self._prune_s = self._clock() + PRUNE_EVERY_S

    async def fence(self, region: int, epoch: int) -> None:
        """See ``contract.Durable``."""
        self._open().fence(region, epoch)

    async def load(self, first_leaf: int, last_leaf: int) -> Loaded:
        """See ``contract.Durable``."""
        return self._open().load(first_leaf, last_leaf)

    async def commit(self, batch: Batch) -> Committed:
        """See ``contract.Durable``."""
        now_s = self._clock()
        committed = self._open().commit(batch, now_s)
        if now_s >= self._prune_s:
            self._prune_s = now_s + PRUNE_EVERY_S
            self._core.prune(now_s)
        return committed

    async def newest_epoch(self, region: int) -> int:
        """See ``contract.Durable``."""
        return self._open().newest_epoch(region)

    async def hops(self, ids: Collection[int]) -> dict[int, int]:
        """See ``contract.Durable``."""
        return self._open().hops(ids)

    async def prune(self) -> None:
        """See ``contract.Durable``."""
        self._open().prune(self._clock())

    async def close(self) -> None:
        """See ``contract.Durable``."""
        self._closed = True

    def _open(self) -> DurableCore:
        if self._closed:
            raise Away("the store is closed")
        return self._core
