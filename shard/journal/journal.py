"""What has changed in a region since it was written down last, as batches for the durable store.

Decides when a batch is due (JOURNAL_S, at once when answers wait for it) and what is in it: all that changed up to the
end of one tick, so that what is stored is always one moment of the region. One batch is under way at a time; whoever
carries it repeats the same one until it is committed. Invariants: what neighbours are told to have arrived, and the
answers of acts, are released by the commit of a batch that was made after them (``committed``); a crossing waits for
nothing: who left stays in the store as they were until their new home writes them with a higher hop. No Python loop
over what did not change. Not responsible for: carrying batches (``shard.process``), reading them (``restore``).
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from cluster.regions import Layout as Regions
from protocol.messages import pack
from shard.behaviours.timers import Timers
from shard.border.links import Links
from shard.durable.contract import ActionRow, Batch, EntityRow, Gone, PoseRow
from shard.durable.spans import span_of
from shard.journal.layouts import Layout
from shard.journal.notes import NOTE_FORMAT
from shard.journal.poses import LeafPoses, runs
from shard.state import ShardState
from shard.world.table import Table

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

JOURNAL_S = 0.4
"""Between two batches: a pose is as old as this and one commit after a crash, at most a second."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch, and what its commit releases: ``taken`` [(neighbour, its channel, number)] items that were taken, and
    answers up to number ``answered`` of the region's journal."""

    batch: Batch
    taken: list[tuple[int, int, int]]
    answered: int


@dataclass(slots=True)
class _Written:
    """What the store has of each row of the table: whose row it was, with which hop, its row part, and its timers.
    ``stale``: it may have something else, or nothing."""

    id: U64
    hop: npt.NDArray[np.uint32]
    parts: npt.NDArray[np.void]
    timers: U64
    stale: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, capacity: int, layout: Layout) -> "_Written":
        """Nothing."""
        return cls(
            np.zeros(capacity, np.uint64),
            np.zeros(capacity, np.uint32),
            np.zeros(capacity, layout.row),
            np.zeros(capacity, np.uint64),
            np.zeros(capacity, bool),
        )


@dataclass(slots=True)
class Journal:
    """Of one region. ``leaves``: the cells that rows are stored by, of the whole world; ``kept``: layouts of rows in
    the store that are not declared any more and stay as they are, by key."""

    state: ShardState
    leaves: Regions
    kept: dict[bytes, bytes] = field(default_factory=dict)
    _wants: bool = field(init=False, default=False)
    """A batch is due as soon as none is under way: somebody waits for an answer."""
    layout: Layout = field(init=False)
    """In which rows are written now."""
    _written: _Written = field(init=False)
    _under_way: Draft | None = field(init=False, default=None)
    _since: int = field(init=False, default=-1)
    """Tick of the last batch."""
    _poses: LeafPoses = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout.of(self.state.table)
        self._written = _Written.empty(self.state.table.capacity, self.layout)
        self._poses = LeafPoses(self.layout, self._leaf)

    @property
    def number(self) -> int:
        """The region's number in the store: a world in one process is the whole square."""
        return self.state.config.region or 1

    def adopt(self) -> None:
        """The region was loaded, from a dump or from the store: all that is here is to be written, and whoever leaves
        now may be in the store."""
        table = self.state.table
        self._written = _Written.empty(table.capacity, self.layout)
        rows = table.rows()
        self._written.id[rows], self._written.hop[rows] = table.id[rows], table.hop[rows]
        self._written.stale[rows] = True

    def owed(self) -> list[tuple[int, int]]:
        """(id, hop) of those who left the world, which the store has not been told for good."""
        table = self.state.table
        gone = {id_: hop for id_, hop in [*self.state.owed, *self._gone(table)] if not self._is_here(table, id_)}
        return sorted(gone.items())

    def inherit(self, former: "Journal", old: I64, new: I64) -> None:
        """Rows ``old`` of a former region are ``new`` here, and the store has of them what that one wrote: nothing is
        written again, but what was in a batch whose fate is not known."""
        table = self.state.table
        if len(self._written.id) < table.capacity:
            self._grow(table.capacity)
        written, theirs = self._written, former._written
        known = old < len(theirs.id)
        at, here = old[known], new[known]
        for name in ("id", "hop", "parts", "timers", "stale"):
            getattr(written, name)[here] = getattr(theirs, name)[at]
        written.stale[here] |= former._under_way is not None
        strangers = written.id[here] != table.id[here]
        written.id[here[strangers]] = 0
        inside = span_of(self.number, self.leaves.level)
        self._poses.inherit(former._poses, inside.first, inside.last)
        self.kept |= former.kept

    def again(self) -> Draft | None:
        """The batch that is under way, for the region's present epoch: the store takes it once."""
        if self._under_way is not None:
            batch = replace(self._under_way.batch, epoch=self.state.config.epoch)
            self._under_way = replace(self._under_way, batch=batch)
        return self._under_way

    def draft(self, *, at_once: bool = False) -> Draft | None:
        """At the end of a step: the next batch, if it is due (``at_once``: it is) and none is under way."""
        state = self.state
        self._wants |= at_once and state.tick != self._since
        if self._under_way is not None:
            return None
        if at_once and state.tick == self._since:
            return None
        is_due = self._since < 0 or state.tick - self._since >= JOURNAL_S * state.config.rate_hz
        if not (self._wants or is_due):
            return None
        self._wants = False
        self._since = state.tick
        table = state.table
        state.owed = self.owed()
        entities, new = self._entities(table, state.runner.timers)
        batch = Batch(
            region=self.number,
            epoch=state.config.epoch,
            tick=state.tick,
            entities=entities,
            gone=[Gone(id_, hop) for id_, hop in state.owed],
            poses=self._leaf_poses(table),
            actions=self._actions(new),
            note=self._note(),
        )
        taken = [(n.region, n.channel.peer_born, n.channel.taken) for n in state.links.neighbours.values()]
        self._under_way = Draft(batch, taken, state.acting.journal)
        return self._under_way

    def committed(self, tick: int, refused: list[int]) -> None:
        """The batch of ``tick`` is durable, but for entities of which the store has a newer hop: they are elsewhere,
        and end here."""
        draft = self._under_way
        if draft is None or draft.batch.tick != tick:
            return
        self._under_way = None
        state = self.state
        state.acting.commit(draft.answered)
        drafted = {(gone.id, gone.hop) for gone in draft.batch.gone}
        state.owed = [each for each in state.owed if each not in drafted]
        for region, born, number in draft.taken:
            neighbour = state.links.neighbours.get(region)
            if neighbour is not None:
                neighbour.channel.is_durable(born, number)
        here = [id_ for id_ in refused if self._is_here(state.table, id_)]
        if here:
            state.links.counts["superseded in the store"] += len(here)
            state.doomed += here

    # ----------------------------------------------------------------------------------------------------- what is new
    def _gone(self, table: Table) -> list[tuple[int, int]]:
        """Who was written and has left the world; who left for another region stays until that one writes it."""
        written = self._written
        if len(written.id) < table.capacity:
            self._grow(table.capacity)
        rows = np.flatnonzero(written.id)
        left = rows[(table.id[rows] != written.id[rows]) | ~table.live[rows] | table.ghost[rows]]
        ids, hops = written.id[left].tolist(), written.hop[left].tolist()
        written.id[left] = 0
        stones = self.state.links.tombstones
        return [(id_, hop) for id_, hop in zip(ids, hops, strict=True) if id_ not in stones]

    @staticmethod
    def _is_here(table: Table, id_: int) -> bool:
        row = table.row(id_)
        return row >= 0 and not table.ghost[row]

    def _grow(self, capacity: int) -> None:
        old, new = self._written, _Written.empty(capacity, self.layout)
        for name in ("id", "hop", "parts", "timers", "stale"):
            getattr(new, name)[: len(old.id)] = getattr(old, name)
        self._written = new

    def _actions(self, new: I64) -> list[ActionRow]:
        """Answers that wait to be stored, and all that the sessions of ``new`` rows remember: their journal is to be
        found here from now on."""
        acting, session = self.state.acting, self.state.table.columns["o.session"]
        answers = {(owner, number): answer for owner, number, answer in acting.waiting()}
        for owner in session[new[session[new] != 0]].tolist():
            answers |= {(owner, number): answer for number, answer in acting.remembered(owner)}
        return [ActionRow(*key, self.state.tick, answer) for key, answer in answers.items()]

    def _entities(self, table: Table, timers: Timers) -> tuple[list[EntityRow], I64]:
        """Those that are new or whose row part is not what was written; and the rows of those that came since."""
        rows = table.rows()
        layout, written = self.layout, self._written
        marks = _marks(timers, table, rows)
        ids, hops = table.id[rows], table.hop[rows]
        came = written.stale[rows] | (written.id[rows] != ids) | (written.hop[rows] != hops)
        new = rows[came]
        unlike = layout.unlike(table, written.parts[: table.high])[rows]
        at = np.flatnonzero(came | (written.timers[rows] != marks) | unlike)
        if not len(at):
            return [], new
        changed = rows[at]
        written.id[changed], written.hop[changed], written.timers[changed] = ids[at], hops[at], marks[at]
        parts = layout.rows(table, changed)
        written.parts[changed], written.stale[changed] = parts, False
        size = layout.row.itemsize + layout.pose.itemsize
        both = np.empty(len(at), np.dtype([("row", layout.row), ("pose", layout.pose)]))
        both["row"], both["pose"] = parts, layout.poses(table, changed)
        data = both.tobytes()
        behind = _timers_of(timers, ids[at])
        entities = [
            EntityRow(id_, hop, leaf, layout.key + data[k * size : (k + 1) * size] + behind.get(id_, b""))
            for k, (id_, hop, leaf) in enumerate(
                zip(ids[at].tolist(), hops[at].tolist(), self._leaf(table, changed).tolist(), strict=True)
            )
        ]
        return entities, new

    def _leaf(self, table: Table, rows: I64) -> I64:
        """The leaf of each row, int64[k]: of those that are a little outside, the nearest in the region."""
        x, z = table.pos[rows, 0], table.pos[rows, 2]
        square = self.state.config.square_m
        if square is not None:
            x0, z0, x1, z1 = square
            inset = self.leaves.region_m / 2
            x, z = np.clip(x, x0 + inset, x1 - inset), np.clip(z, z0 + inset, z1 - inset)
        return self.leaves.region_at(x, z)

    def _leaf_poses(self, table: Table) -> list[PoseRow]:
        """Blobs of leaves in which something has moved."""
        second = self.state.tick // self.state.config.rate_hz
        key = self.layout.key
        return [PoseRow(number, second, key + blob) for number, blob in sorted(self._poses.changed(table).items())]

    # ------------------------------------------------------------------------------------------------------- the note
    def _note(self) -> bytes:
        """What is nobody's: what behaviours will be told, and what the neighbours and this region owe each other."""
        state = self.state
        pending = state.runner.pending
        return pack(
            {
                "format": NOTE_FORMAT,
                "seed": state.config.seed,
                "layouts": {**self.kept, self.layout.key: self.layout.described},
                "spawned": state.spawned,
                "ids": state.ids.state(),
                "pending": [pending.started, pending.enter, pending.leave, pending.messages],
                "doomed": state.doomed,
                "links": links_note(state.links),
            }
        )


def links_note(links: Links) -> dict[str, object]:
    """What of the links must outlive the process: items that the neighbours have not acknowledged, what was taken of
    theirs, and who left."""
    return {
        "next_handover": links.next_handover,
        "neighbours": [[n.region, n.channel.state()] for n in links.neighbours.values()],
        "tombstones": links.state()["tombstones"],
        "deferred": links.deferred,
    }


def _marks(timers: Timers, table: Table, rows: I64) -> U64:
    """A number for the timers of each row, uint64[k]: equal for equal timers, whatever their order."""
    marks = np.zeros(table.high + 1, np.uint64)
    if len(timers.rows):
        found = table.find(timers.rows["id"])
        with np.errstate(over="ignore"):
            mixed = (
                timers.rows["due"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
                ^ timers.rows["topic"].astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
                ^ timers.rows["value"].astype(np.uint64) * np.uint64(0x165667B19E3779F9)
            ) | np.uint64(1)
            np.add.at(marks, np.where(found < 0, table.high, found), mixed)
    return marks[rows]


def _timers_of(timers: Timers, ids: U64) -> dict[int, bytes]:
    """Timers of those of ``ids`` that have any, as bytes."""
    rows = timers.rows[np.isin(timers.rows["id"], ids)]
    rows = rows[np.argsort(rows["id"], kind="stable")]
    owners, first = np.unique(rows["id"], return_index=True)
    data, size = rows.tobytes(), rows.dtype.itemsize
    return {id_: data[a * size : b * size] for id_, a, b in runs(owners, first, len(rows))}
