"""The whole cluster on virtual time: shards, placers, a store, gateways and people in their clients.

What ``shards`` has, and the gateways' processes between it and ``people``. Not responsible for: what is right
(``checkers``, and ``shards`` for what shards owe each other).
"""

from collections import deque
from collections.abc import Callable

from cluster.out import Out
from cluster.records import GATEWAY
from server.core.gateway import GatewayCore, GatewayFacts
from server.process import GatewayProcess
from server.session.tickets import Tickets
from shard.region import RegionCore
from shard.ticker import FAR_SLACK
from tests.sim.checkers import Truth
from tests.sim.doors import CAPACITY, Door
from tests.sim.hosts import RATE_HZ, TICK_S, Host
from tests.sim.network import Faults
from tests.sim.people import ANY, LIMITS, RULES, People, authenticate, seeded_bytes
from tests.sim.shards import Shards
from tests.sim.world import CHANNEL, place, script, walk_ground

ENCODE_AT_S = 0.6 * TICK_S
"""After the latest shard has stepped, and its delta has come."""


DRAIN_S = 3.0


class SharedTime:
    """The time of the shards, as people's clock."""

    def __init__(self, world: Shards) -> None:
        self._world = world

    @property
    def now_ms(self) -> float:
        return 1000.0 * (1.0 + self._world.now_s)

    def at(self, ms: float, do: Callable[[], None]) -> None:
        self._world.at(ms / 1000.0 - 1.0, do)  # equal moments stay equal, whenever they were named

    def after(self, ms: float, do: Callable[[], None]) -> None:
        self._world.later(ms / 1000.0, do)


class Whole(Shards):
    """``gateways``, ``people`` and ``televisions`` besides the shards. ``datagrams``: one of so many people, and every
    second television, goes on over them; 0: nobody."""

    def __init__(
        self,
        seed: int,
        shards: int = 3,
        gateways: int = 2,
        people: int = 20,
        level: int = 1,
        durable: bool = False,
        grows: bool = True,
        datagrams: int = 3,
        televisions: int = 0,
    ) -> None:
        self.seed = seed
        self.slacks: deque[float] = deque(maxlen=RATE_HZ)
        self.doors: dict[int, Door] = {}
        super().__init__(seed, shards, level, ground=place(), scripts=script, durable=durable, grows=grows)
        self.carriers = Faults(delay_ms=20.0, jitter_ms=5.0)
        self.truth = Truth(lambda: self.cores)
        clock = SharedTime(self)
        self.folk = People(
            seed, clock, self.rng, self.carriers, self.counts, walk_ground(), self.doors, self.truth.check
        )
        self.folk.switches.hop_of = lambda entity: self.known.hops.get(entity, 0)
        self.folk.bank = self.bank if durable else None
        for k in range(gateways):
            self.begin_gateway(k)
        for k in range(people):
            self.folk.begin(k, ANY, datagrams > 0 and k % datagrams == 1)
        for k in range(people, people + televisions):
            self.folk.begin_television(k, ANY, datagrams > 0 and k % 2 == 1)

    @property
    def cores(self) -> list[RegionCore]:
        """Regions as their owners step them."""
        found = []
        for region, hosts in self.stepping().items():
            shard = hosts[0].shard
            assert shard is not None
            found.append(shard.core.regions[region])
        return found

    def begin_gateway(self, number: int) -> None:
        """A gateway's process starts, perhaps again under its old name."""
        drawn = int(self.rng.integers(1, 1 << 31))
        layout, squares = self.layout, [self.layout.square(region) for region in self.layout.all()]
        spawns = tuple(((square.x0 + square.x1) / 2, (square.z0 + square.z1) / 2) for square in squares)
        facts = GatewayFacts(
            drawn, "sim", RATE_HZ, 3, None, "/map/index.json", "", "sim", 200, "person", layout, spawns
        )
        draw = seeded_bytes(drawn)
        tickets = Tickets.of_cluster(b"sim", draw, lambda: self.now_s)
        core = GatewayCore(
            facts, 2 * CAPACITY, RULES, LIMITS, authenticate, draw, tickets, [CHANNEL], datagrams_from=CAPACITY
        )
        name = f"g{number}"
        process = GatewayProcess(name, self.record(GATEWAY, name, f"http://{number}/"), layout, core)
        host = self.begin(process, late_s=float(self.rng.uniform(0, TICK_S / 4)))
        self.doors[number] = Door(self.folk, core, number, draw, lambda: host.now_s(self.now_s))

    def kill_gateway(self, number: int, again_s: float = 0.0) -> None:
        """As kill -9; it starts again ``again_s`` later."""
        self._end_gateway(number, again_s)

    def _end_gateway(self, number: int, again_s: float) -> None:
        host = self.hosts[f"g{number}"]
        self.tally.host(host)
        self.epochs.over(host)
        host.dead = True
        self.refuse(host)
        self.doors[number].kill()
        self.later(again_s, lambda: self.begin_gateway(number))

    def drain_gateway(self, number: int) -> bool:
        """It sends its people away, ends some seconds later, and starts again; False if there is nowhere to send
        them."""
        host = self.hosts[f"g{number}"]
        assert host.gateway is not None
        if host.asleep or not host.gateway.drain(host.now_s(self.now_s)):
            return False
        host.gateway.member.drain()
        self.later(DRAIN_S, lambda: self._end_drained(number, host))
        return True

    def _end_drained(self, number: int, host: Host) -> None:
        if not host.dead:
            assert host.gateway is not None
            self.do(host, host.gateway.leave(host.now_s(self.now_s)))
            self._end_gateway(number, 0.0)

    def make_tick(self, host: Host, tick: int) -> Out:
        if host.gateway is None:
            return super().make_tick(host, tick)
        door = self.doors[int(host.name[1:])]
        door.read()
        door.poll()
        out = super().make_tick(host, tick)
        self.later(ENCODE_AT_S, lambda: door.encode(tick) if door.open and not host.asleep else None)
        return out

    def digest(self) -> str:
        """Also of all that clients got and noticed."""
        self.hash.update(self.folk.digest.digest())
        return super().digest()

    def check(self) -> None:
        super().check()
        levels = [host.ticker.level for host in self.hosts.values() if host.shard is not None and not host.dead]
        slack = max((FAR_SLACK[level] for level in levels), default=1.0)
        # A level ends with the step that was made under it, and what clients are shown is some ticks old.
        self.slacks.append(slack)
        self.truth.far_slack = max(self.slacks)
        self.truth.stepped(self.tick, len(self.partition.regions))


def live(world: Whole, ticks: int) -> None:
    """So many ticks pass, and people walk about meanwhile."""
    for k in range(ticks):
        world.run(1)
        if k % 2:
            world.folk.disturb()
