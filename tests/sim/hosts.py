"""One process of the simulated cluster: its core, its clocks, and how it makes turns.

A host has a monotonic clock that runs a little wrong, and a wall clock that is off and may be set; the world's tick
comes from both by the production rules (``cluster.clock``, ``shard.ticker``). A turn that is held up (``stuck_s`` once,
``slow_s`` each time) has made its step already, and its messages leave when it is over: so a process is frozen between
the moment in which it looked at its lease and the moment in which it speaks. Not responsible for: what it is told.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.clock import WorldClock
from cluster.placing import PlacerProcess
from cluster.store.model import WatchCursor
from server.process import GatewayProcess
from shard.process import ShardProcess
from shard.ticker import Ticker

RATE_HZ = 20
TICK_S = 1.0 / RATE_HZ
EPOCH_S = 1.7e9
"""The wall clock at the world's tick 0."""


@dataclass(eq=False)
class Host:
    """``offset_s`` and ``drift``: its monotonic clock, ``offset_s + (1 + drift) * t``. ``wall_off_s``: what its wall
    clock is ahead; it makes its ticks so much earlier."""

    name: str
    offset_s: float
    drift: float
    wall_off_s: float
    process: ShardProcess | GatewayProcess | PlacerProcess
    cursor: WatchCursor
    tick: int = 0
    paused: bool = False
    dead: bool = False
    held: bool = False
    mail: list[Callable[[], None]] = field(default_factory=list)
    """What has come while a turn was held up: it is looked at when that is over."""
    slow_s: float = 0.0
    stuck_s: float = 0.0
    set_s: float = 0.0
    """What somebody has set the wall clock ahead, on top."""
    clock: WorldClock = field(init=False)
    ticker: Ticker = field(init=False)

    def begin(self, world_s: float, tick: int) -> None:
        """The process starts at ``world_s``; ``tick``: the last one it need not make."""
        self.clock = WorldClock.begin(EPOCH_S, self.unix_s(world_s), self.now_s(world_s))
        self.ticker = Ticker(self.clock.start_s, RATE_HZ)
        if self.gateway is not None:
            self.ticker.ticks_max = sys.maxsize
        self.tick = tick

    def now_s(self, world_s: float) -> float:
        """Its monotonic clock."""
        return self.offset_s + (1.0 + self.drift) * world_s

    def unix_s(self, world_s: float) -> float:
        """Its wall clock."""
        return EPOCH_S + world_s + self.wall_off_s + self.set_s

    @property
    def asleep(self) -> bool:
        """Whether it does nothing now, and is not over either."""
        return self.paused or self.held

    def turn(self, world_s: float) -> tuple[int | None, float]:
        """The tick to make now, or None and how long to wait (s)."""
        now_s = self.now_s(world_s)
        self.ticker.start_s = self.clock.told(self.unix_s(world_s), now_s)
        plan = self.ticker.plan(now_s, self.tick)
        if plan.tick is None:
            return None, max(plan.wait_s, 1e-6)
        if self.shard is not None:
            self.shard.core.shed(plan.far_slack)
        self.tick = plan.tick
        return plan.tick, 0.0

    def hold_s(self) -> float:
        """How long this turn is held up; said once."""
        hold_s, self.stuck_s = self.stuck_s or self.slow_s, 0.0
        return hold_s

    @property
    def shard(self) -> ShardProcess | None:
        """What it runs, if that is a shard."""
        return self.process if isinstance(self.process, ShardProcess) else None

    @property
    def gateway(self) -> GatewayProcess | None:
        """What it runs, if that is a gateway."""
        return self.process if isinstance(self.process, GatewayProcess) else None
