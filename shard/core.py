"""The core of a shard process: the regions that it owns, stepped together; they speak to each other as to strangers.

Decides which message is for which region, and the order of regions (by number). Invariants: a region is stepped only
while it is not frozen; what a region tells a neighbour in this process is taken in by that one's next step, as if it
had come over a link; equal inputs give equal results. Not responsible for: who owns a region (``cluster``), sending.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from protocol.border import Border
from protocol.link import RegionDelta, Upward
from protocol.place import Place
from shard.behaviours.api import Script
from shard.behaviours.runner import Fault
from shard.border.links import Square
from shard.config import ShardConfig
from shard.journal.journal import Draft
from shard.phases.replay import ReplayMotion
from shard.physics.pool import Pool
from shard.physics.stock import Stock
from shard.region import TICKS_MAX, RegionCore
from shard.reshape import reshape, stock_for

Geometry = tuple[Square, Sequence[tuple[int, Square]]]
"""A region's square, and its neighbours with theirs."""
STOCK_PER_TICK = 250
"""Bodies and walls that a tick makes for regions to come, and as many of regions that ended that it puts away: some
5 ms."""
CATCH_UP_STEPS = 2
"""Steps of a region in one step of the process: one that was on its way between processes catches up with the rest."""


@dataclass(slots=True)
class Published:
    """What one step of a region is for its gateways: ``delta`` for each of ``gateways``, and for those in ``subscribe``
    ``snapshot()`` instead of it."""

    delta: RegionDelta
    gateways: list[int]
    subscribe: list[int]
    snapshot: Callable[[], RegionDelta]


@dataclass(slots=True)
class StepResult:
    """What a step obliges its shell to do: send ``published``, in this order; send each of ``borders`` to the owner of
    the region that it names; log ``faults``; look up the owners of ``lost`` regions in the store, and drop those that
    are another's now; commit ``drafts`` (region and batch), and tell the region."""

    published: list[Published] = field(default_factory=list)
    borders: list[Border] = field(default_factory=list)
    faults: list[tuple[int, Fault]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    drafts: list[tuple[int, Draft]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stocked:
    former: tuple[int, ...]
    stock: Stock


class ShardCore:
    """All regions of one process. Regions are added by ``add_region`` (fresh) or ``take_region`` (moved here).

    ``config``: of all regions; number, epoch, square, neighbours and ids are told for each.
    """

    def __init__(
        self,
        config: ShardConfig,
        place: Place | None = None,
        scripts: Sequence[Script] = (),
        *,
        options: Mapping[str, Any] | None = None,
        tick: int = 0,
    ) -> None:
        self.config = config
        self.place = place
        self.tick = tick
        """The last tick that was stepped to."""
        self.regions: dict[int, RegionCore] = {}
        self.frozen: set[int] = set()
        self.on_phase: Callable[[str], None] | None = None
        """Called with the name of each phase as it begins, and with "" after a region's last."""
        self.on_region: Callable[[int], None] | None = None
        """Called with the number of a region before it is stepped, and with 0 after the last."""
        self.on_step: Callable[[Sequence[Upward]], None] | None = None
        """For traces, as the next: called before a step with the messages that it takes in."""
        self.on_stepped: Callable[[StepResult], None] | None = None
        """Called after it."""
        self._scripts = scripts
        self._options = options or {}
        self._far_slack = 1.0
        self._inbox: list[Border] = []
        self._pool = Pool()
        self._stocks: dict[int, _Stocked] = {}
        """By the least of the regions that they are for."""

    # ------------------------------------------------------------------------------------------------------- regions
    def add_region(
        self,
        region: int,
        epoch: int,
        square_m: Square | None = None,
        neighbours: Sequence[tuple[int, Square]] = (),
        *,
        first_id: int = 1,
        id_count: int = 1 << 40,
        start: bool = False,
        replay_motion: ReplayMotion | None = None,
    ) -> RegionCore:
        """Own a region that begins empty: of a new world, or because its owner died. ``start``: run the scripts'
        ``start`` in it (in one region of a new world). Raises ValueError if it is owned already."""
        config = self._config(region, epoch, square_m, neighbours, start, first_id, id_count)
        core = RegionCore(
            config,
            self.place,
            self._scripts,
            options=self._options,
            tick=self.tick,
            replay_motion=replay_motion,
            pool=self._pool,
        )
        return self._own(core)

    def take_region(
        self, region: int, dump: bytes, epoch: int, square_m: Square, neighbours: Sequence[tuple[int, Square]]
    ) -> RegionCore:
        """Load a region that moves here. It stays frozen until ``thaw_region``: its former owner writes the record
        first. Raises ValueError for another world's dump, or if it is owned already."""
        config = self._config(region, epoch, square_m, neighbours, False, 1, 1)
        core = RegionCore(config, self.place, self._scripts, options=self._options, pool=self._pool)
        core.restore(dump)
        self.frozen.add(region)
        return self._own(core)

    def freeze_region(self, region: int) -> bytes:
        """Step a region no more, and return its dump for the new owner."""
        self.frozen.add(region)
        return self.regions[region].dump()

    def thaw_region(self, region: int, epoch: int | None = None) -> None:
        """Go on with a frozen region: the new owner after the record was written (``epoch``: what it says, if that is
        not what was foreseen), the old one if the move failed. Raises ValueError if the epoch would go back."""
        if epoch is not None:
            self.regions[region].set_epoch(epoch)
        self.frozen.discard(region)

    def reshape(self, former: Sequence[int], now: Mapping[int, int], geometry: Callable[[int], Geometry]) -> None:
        """Split a region into its quarters, or merge four into one: ``now`` has their epochs, ``geometry(region)`` says
        where each is. All of ``former`` are here, hold still, and end."""
        olds = {region: self.regions[region] for region in former}
        shares = [old.ids.share(len(now)) for old in olds.values()]
        begun: dict[int, RegionCore] = {}
        for nth, (region, epoch) in enumerate(sorted(now.items())):
            config = self._config(region, epoch, *geometry(region), False, 1, 1)
            tick = max(old.tick for old in olds.values())
            core = RegionCore(config, self.place, self._scripts, options=self._options, tick=tick, pool=self._pool)
            core.ids.skip_to(2)
            for share in shares:
                for first, end in share[nth].state():
                    core.ids.add(first, end - first)
            begun[region] = core
        reshape(olds, begun, None if (kept := self._stocks.pop(min(now), None)) is None else kept.stock)
        for region in former:
            self.drop_region(region)
        for core in begun.values():
            self._own(core)

    def prepare(self, former: Sequence[int], squares: Mapping[int, Square] | None) -> None:
        """``former`` will be split or merged into regions with these squares: what that needs is made tick by tick.
        None: they will not be."""
        if squares is None:
            for key in [key for key, kept in self._stocks.items() if kept.former == tuple(former)]:
                self._stocks.pop(key).stock.end()
        else:
            cores = [self.regions[region] for region in former]
            self._stocks[min(squares)] = _Stocked(tuple(former), stock_for(cores, squares, self._pool))

    def is_prepared(self, former: Sequence[int]) -> bool:
        """Whether all is made that a split or merge of these needs."""
        return all(kept.stock.is_full for kept in self._stocks.values() if kept.former == tuple(former))

    def regroup(self, geometry: Callable[[int], Geometry]) -> None:
        """Regions were split or merged somewhere: each of ours has the neighbours that ``geometry(region)`` names."""
        for region, core in self.regions.items():
            core.regroup(dict(geometry(region)[1]))

    def drop_region(self, region: int) -> None:
        """Forget a region: it is another's."""
        self.regions.pop(region).state.exchange.end()
        self.frozen.discard(region)
        self._inbox = [message for message in self._inbox if message.target != region]

    def _config(
        self,
        region: int,
        epoch: int,
        square_m: Square | None,
        neighbours: Sequence[tuple[int, Square]],
        start: bool,
        first_id: int,
        id_count: int,
    ) -> ShardConfig:
        if region in self.regions:
            raise ValueError(f"region {region} is owned already")
        return replace(
            self.config,
            region=region,
            epoch=epoch,
            square_m=square_m,
            neighbours=tuple(neighbours),
            start=start,
            first_id=first_id,
            id_count=id_count,
        )

    def _own(self, core: RegionCore) -> RegionCore:
        self.regions[core.state.config.region] = core
        self.regions = dict(sorted(self.regions.items()))
        core.shed(self._far_slack)
        return core

    # --------------------------------------------------------------------------------------------------------- steps
    def step(self, tick: int, upward: Sequence[Upward] = (), border: Sequence[Border] = ()) -> StepResult:
        """Take in what came, in any order and however often, and step all regions that are not frozen to ``tick``.

        A region that is further behind makes up to CATCH_UP_STEPS steps. Raises ValueError unless ``tick`` is 1 to
        TICKS_MAX after the last one.
        """
        if not 1 <= tick - self.tick <= TICKS_MAX:
            raise ValueError(f"step to tick {tick} after {self.tick}: a step covers 1 to {TICKS_MAX} ticks")
        self.tick = tick
        if self.on_step is not None:
            self.on_step(upward)
        for kept in self._stocks.values():
            kept.stock.fill(STOCK_PER_TICK)
        self._pool.tidy(STOCK_PER_TICK)
        result = StepResult()
        inbox, self._inbox = [*self._inbox, *border], []
        for number, core in self.regions.items():
            if number not in self.frozen:
                said = [message for message in upward if message.region == number]
                told = [message for message in inbox if message.target == number]
                if self.on_region is not None:
                    self.on_region(number)
                self._step(number, core, said, told, result)
        if self.on_region is not None:
            self.on_region(0)
        if self.on_stepped is not None:
            self.on_stepped(result)
        return result

    def _step(
        self, number: int, core: RegionCore, said: Sequence[Upward], told: Sequence[Border], result: StepResult
    ) -> None:
        core.on_phase = self.on_phase
        anew: list[int] = []
        for left in reversed(range(CATCH_UP_STEPS)):
            if core.tick >= self.tick:
                return
            step = core.step(min(self.tick, core.tick + TICKS_MAX), said, told)
            said, told = (), ()
            anew += step.subscribe
            if left and core.tick < self.tick:  # a snapshot is as of the last step
                gateways, subscribe = [g for g in step.gateways if g not in anew], []
            else:
                gateways, subscribe = step.gateways, anew
            snapshot = partial(core.snapshot_delta, step.delta.seq)
            result.published.append(Published(step.delta, gateways, subscribe, snapshot))
            result.faults += [(number, fault) for fault in step.faults]
            if step.lost:
                result.lost.append(number)
            if step.draft is not None:
                result.drafts.append((number, step.draft))
            for message in step.borders:
                (self._inbox if message.target in self.regions else result.borders).append(message)

    def shed(self, far_slack: float) -> None:
        """Let far levels be off by ``far_slack`` times their tolerance, to save work when overloaded."""
        self._far_slack = far_slack
        for core in self.regions.values():
            core.shed(far_slack)

    # ---------------------------------------------------------------------------------------------------------- facts
    @property
    def schema(self) -> dict[str, Any]:
        """Kinds and components for WELCOME (STANDARD.md §3). Raises LookupError while there is no region."""
        for core in self.regions.values():
            return core.schema
        raise LookupError("no region is here")
