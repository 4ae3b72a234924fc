"""A region: told what gateways said and the tick, it moves by one step and says what is to be published.

Decides the order of a tick's phases. Invariants: ``step`` depends on its arguments and the state alone (no clock, no
random source, no I/O), so equal histories give equal state hashes on one build; a step covers 1 to 4 ticks and ticks
never go back. Not responsible for: when to step (``ticker``), links to gateways (the shell), who sees what (gateways).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from protocol.border import Border
from protocol.link import RegionDelta, Upward
from protocol.place import Place
from shard.acting import Answered
from shard.behaviours.api import Script
from shard.behaviours.runner import Fault
from shard.border.holding import is_ready
from shard.border.links import Square
from shard.border.regroup import regroup
from shard.config import ShardConfig
from shard.durable.contract import Loaded
from shard.journal.journal import Draft, Journal
from shard.journal.restore import Restored, restore
from shard.phases import actions, behaviours, borders, index, ingest, physics, poses, publish, replay
from shard.phases.replay import ReplayMotion
from shard.physics.pool import Pool
from shard.state import ShardState
from shard.world.table import IdBlocks

TICKS_MAX = 4
"""A late shard makes one step over several ticks, at most so many."""
PHASES = ("ingest", "behaviours", "physics", "index", "border", "publish")


@dataclass(slots=True)
class RegionStep:
    """What a step obliges its shell to do: send ``delta`` to each of ``gateways`` (to those in ``subscribe`` send
    ``RegionCore.snapshot_delta(delta.seq)`` instead), ``borders`` to the owners of the regions that they name, and log
    ``faults``. ``lost``: somebody knows a newer owner of this region: look into the store, and step it no more if that
    is so. ``draft``: a batch to commit; then call ``RegionCore.journaled``."""

    delta: RegionDelta
    subscribe: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    gateways: list[int] = field(default_factory=list)
    borders: list[Border] = field(default_factory=list)
    lost: bool = False
    answered: list[Answered] = field(default_factory=list)
    """What acts were answered in this step; where the world is durable, the next ``draft`` has it."""
    draft: Draft | None = None


class RegionCore:
    """One region's simulation. ``options`` are for behaviours (``World.options``); ``tick``: the world's tick that is
    over already; the first step is a later one; ``pool``: what the process keeps of physics.

    Raises DeclarationError if scripts contradict themselves or each other.
    """

    def __init__(
        self,
        config: ShardConfig,
        place: Place | None = None,
        scripts: Sequence[Script] = (),
        *,
        options: Mapping[str, Any] | None = None,
        tick: int = 0,
        replay_motion: ReplayMotion | None = None,
        pool: Pool | None = None,
    ) -> None:
        self.state = ShardState(config, place, scripts, options or {}, tick, pool)
        self.journal = Journal(self.state, config.leaves) if config.leaves is not None else None
        self._journal_channels()
        self._schema_due = True
        self._is_reshaped = False
        """It has taken the place of others, and has not stepped yet: all are told everything."""
        self.on_phase: Callable[[str], None] | None = None
        """Called with the name of each phase as it begins, and with "" after the last: the shell's timers hook in
        here."""
        if replay_motion is not None:
            self.state.replay = replay_motion
            replay.start(self.state, replay_motion)

    @property
    def ids(self) -> IdBlocks:
        """Where ids for new entities come from."""
        return self.state.ids

    @property
    def schema(self) -> dict[str, Any]:
        """Kinds and components for WELCOME (STANDARD.md §3)."""
        return self.state.registry.schema

    @property
    def schema_hash(self) -> bytes:
        return self.state.registry.schema_hash

    @property
    def counts(self) -> Counter[str]:
        """What happened at the borders since this core was made: transitions of hand-overs, entities that came and
        went, and odd events."""
        return self.state.links.counts

    @property
    def epoch(self) -> int:
        """Of the owner that this is."""
        return self.state.config.epoch

    @property
    def entities(self) -> int:
        """How many entities are simulated here."""
        return len(self.state.table.rows())

    @property
    def tick(self) -> int:
        """The last tick that was stepped to."""
        return self.state.tick

    def step(self, tick: int, upward: Sequence[Upward] = (), border: Sequence[Border] = ()) -> RegionStep:
        """Take in what gateways and neighbours told, go on to ``tick``, and tell what changed. Messages may come in any
        order and repeatedly; those that are not for this region, or come from the past, are dropped.

        Raises ValueError unless ``tick`` is 1 to TICKS_MAX after the last one.
        """
        state = self.state
        ticks = tick - state.tick
        if not 1 <= ticks <= TICKS_MAX:
            raise ValueError(f"step to tick {tick} after {state.tick}: a step covers 1 to {TICKS_MAX} ticks")
        state.clear_step()
        state.tick, state.ticks = tick, ticks
        state.seq += 1
        if self._is_reshaped:
            for row in state.row_of_session.values():
                if state.table.columns["o.attached"][row]:
                    state.told_attached(row)
        self._begin("ingest")
        borders.take_in(state, border)
        if state.links.neighbours:  # what neighbours told is as of the end of the last tick, like all that is here
            index.run(state)
        fresh = self._fresh(upward)
        ingest.run(state, fresh)
        poses.hear(state, fresh)
        if state.replay is None:
            self._begin("behaviours")
            behaviours.run(state)
            self._begin("physics")
            physics.run(state)
            self._begin("index")
            if not state.links.neighbours:
                index.run(state)
        else:
            self._begin("physics")
            replay.run(state, state.replay)
        state.past.note(state.tick)
        answered = actions.close(state)
        self._begin("border")
        told = borders.hand_out(state)
        self._begin("publish")
        delta = publish.run(state, self._schema_due)
        self._schema_due = False
        self._begin("")
        subscribe = state.gateways.subscribe(fresh)
        if self._is_reshaped:
            subscribe, self._is_reshaped = state.gateways.subscribed, False
        faults, state.runner.faults = state.runner.faults, []
        # Who asked for a body is told of it, even if it does not mirror this region yet.
        asked = {*(entry[5] for entry in delta.attached), *np.unique(delta.kept_gateway).tolist()}
        asked.update(entry[4] for entry in delta.answers)
        gateways = sorted({*state.gateways.subscribed, *asked})
        draft = self.journal.draft(at_once=bool(answered)) if self.journal is not None else None
        return RegionStep(delta, subscribe, faults, gateways, told, state.lost, answered, draft)

    def journaled(self, tick: int, refused: list[int]) -> None:
        """The batch of ``tick`` is durable, but for the entities ``refused``, which are elsewhere."""
        if self.journal is not None:
            self.journal.committed(tick, refused)

    def begin_from(self, loaded: Loaded, hops: Mapping[int, int]) -> Restored:
        """Fill a region that has not stepped yet with what the store holds of it; ``hops``: of those whom
        ``journal.notes.leaving`` names."""
        assert self.journal is not None
        restored = restore(self.state, self.journal, loaded, hops)
        self.journal.adopt()
        index.run(self.state)
        return restored

    def last_draft(self) -> Draft | None:
        """The batch after the last step, before the process ends; None while one is under way."""
        return self.journal.draft(at_once=True) if self.journal is not None else None

    def draft_again(self) -> Draft | None:
        """The batch that is under way, under the present epoch: a raised one was not told of it."""
        return self.journal.again() if self.journal is not None else None

    def _journal_channels(self) -> None:
        for neighbour in self.state.links.neighbours.values():
            neighbour.channel.journaled = self.journal is not None

    def _fresh(self, upward: Sequence[Upward]) -> list[Upward]:
        state = self.state
        config = state.config
        mine: list[Upward] = []
        for message in upward:
            if message.epoch > config.epoch:
                state.lost = True
            elif message.region == config.region:
                mine.append(message)
        return state.gateways.fresh(mine, state.tick)

    def _begin(self, phase: str) -> None:
        if self.on_phase is not None:
            self.on_phase(phase)

    # -------------------------------------------------------------------------------------------- splitting and merging
    def hold(self, number: int) -> None:
        """Hold still, so that the region can be split or merged; ``number`` > 0 is used once. 0: go on as before."""
        self.state.links.hold = number

    @property
    def is_still(self) -> bool:
        """Whether nothing is under way between this region and its neighbours, and will not be until ``hold(0)``."""
        return is_ready(self.state)

    @property
    def neighbours(self) -> dict[int, int]:
        """The newest epoch of each neighbour that was heard of (0: none)."""
        return {number: neighbour.epoch for number, neighbour in self.state.links.neighbours.items()}

    def owed(self) -> list[tuple[int, int]]:
        """(id, hop) of those who left the world, which the durable store has not been told for good."""
        return self.journal.owed() if self.journal is not None else []

    def begin_reshaped(self, former: list[int]) -> None:
        """It has been filled with all that the regions ``former`` held."""
        self.state.former, self.state.reshaped = former, self.state.tick
        self._is_reshaped = self._schema_due = True

    def regroup(self, neighbours: Mapping[int, Square]) -> None:
        """The neighbours are these from now on: some of them were split or merged."""
        regroup(self.state, neighbours)

    def snapshot_delta(self, seq: int) -> RegionDelta:
        """Everything, for a gateway that (re)subscribes: the state after the last step, with what that step told
        sessions.

        It takes the place of that step's delta: give it ``seq`` of that delta, so that the next delta follows.
        """
        return publish.snapshot(self.state, seq)

    def shed(self, far_slack: float) -> None:
        """Let far levels be off by ``far_slack`` times their tolerance (1: as configured), to save work when
        overloaded."""
        self.state.far_slack = max(1.0, far_slack)

    def rebuild_space(self) -> None:
        """Make the physics space anew from the columns; contact caches are lost, as after a restore."""
        self.state.exchange.rebuild()

    def dump(self) -> bytes:
        """The whole world between two steps."""
        return self.state.dump()

    def restore(self, data: bytes) -> None:
        """Take the state of a dump of the same scripts, seed and region; the epoch stays this core's. Subscribers go on
        where they were. Raises ValueError."""
        self.state.load(data)
        self._journal_channels()
        if self.journal is not None:
            self.journal.adopt()
        index.run(self.state)
        self._schema_due = True

    def set_epoch(self, epoch: int) -> None:
        """This owner's epoch, when the store has it. Raises ValueError if it goes back."""
        if epoch < self.state.config.epoch:
            raise ValueError(f"epoch {epoch} after {self.state.config.epoch}: epochs only grow")
        self.state.config = replace(self.state.config, epoch=epoch)

    def state_hash(self) -> str:
        """Equal for equal worlds (128 bits, hex)."""
        return self.state.hash()
