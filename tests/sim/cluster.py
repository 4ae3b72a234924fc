"""A shard, two gateways and some clients: the real cores, joined by bad networks on virtual time.

Decides, as the shells do, only when a core is told what. One tick at ``t``: gateways send ``upward``; the shard steps
8 ms later with what has arrived; gateways encode a quarter tick after that with what they have. What gateways say to
the shard travels on a reliable carrier (a lost command would be a lost input), what the shard publishes as datagrams,
which the gateways must survive. Not responsible for: what is right (``checkers``).
"""

import hashlib
from collections import Counter

import numpy as np

from protocol.link import RegionDelta, Upward
from server.core.gateway import GatewayCore, GatewayFacts
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.sim.checkers import Truth
from tests.sim.clock import Clock
from tests.sim.doors import CAPACITY, Door
from tests.sim.network import Carrier, Datagrams, Faults
from tests.sim.people import LIMITS, RULES, People, authenticate, seeded_bytes
from tests.sim.world import place, script, walk_ground

RATE_HZ = 20
TICK_MS = 1000.0 / RATE_HZ
STEP_AT_MS = 8.0
ENCODE_AT_MS = STEP_AT_MS + TICK_MS / 4
GATEWAYS = 2


class Gateway(Door):
    """A gateway core, its connections, and its way to the shard."""

    def __init__(self, cluster: "Cluster", number: int, map_path: str | None) -> None:
        facts = GatewayFacts(number, "sim", RATE_HZ, 3, None, map_path, "", "sim")
        draw = seeded_bytes(cluster.seed * 8 + number)
        core = GatewayCore(facts, 2 * CAPACITY, RULES, LIMITS, authenticate, draw, datagrams_from=CAPACITY)
        super().__init__(cluster.folk, core, number, draw)
        self.cluster = cluster
        make = cluster.rng, cluster.link_faults, cluster.counts
        self.to_shard = Carrier(cluster.clock, cluster.rng, cluster.up_faults, cluster.counts, cluster.upward)
        self.from_shard = Datagrams(cluster.clock, *make, self.receive)

    def receive(self, data: bytes) -> None:
        """A delta arrived."""
        before = self.core.regions.resubscribed
        self.core.receive(RegionDelta.decode(data), self.cluster.now_s)
        self.cluster.counts["resubscribed"] += self.core.regions.resubscribed - before


class Cluster:
    """Everything, from one seed; all people over ``datagrams``, or none."""

    def __init__(self, seed: int, people: int, link: Faults, carrier: Faults, datagrams: bool = False) -> None:
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.clock = Clock(1000.0)
        self.counts: Counter[str] = Counter()
        self.link_faults = link
        self.up_faults = Faults(delay_ms=1.0, jitter_ms=2.0)
        self.shard = RegionCore(ShardConfig(seed=seed), place(), [script()])
        self.truth = Truth(lambda: self.cores)
        self._arrived: list[Upward] = []
        doors: dict[int, Door] = {}
        self.folk = People(seed, self.clock, self.rng, carrier, self.counts, walk_ground(), doors, self.truth.check)
        self.gateways = [Gateway(self, number, "/map/index.json") for number in range(GATEWAYS)]
        doors.update(enumerate(self.gateways))
        for number in range(people):
            self.folk.begin(number, number % GATEWAYS, datagrams)
        self.tick = 0
        self.clock.at(self.clock.now_ms, self._tick)

    @property
    def cores(self) -> list[RegionCore]:
        """All regions: the one."""
        return [self.shard]

    @property
    def now_s(self) -> float:
        """The servers' clock."""
        return self.clock.now_ms / 1000.0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now_ms + 1000.0 * seconds)

    def digest(self) -> str:
        """Of all that clients got, and of the shard as it is."""
        self.folk.digest.update(self.shard.state_hash().encode())
        return hashlib.blake2b(self.folk.digest.digest(), digest_size=16).hexdigest()

    def upward(self, data: bytes) -> None:
        """What a gateway said has arrived at the shard."""
        self._arrived.append(Upward.decode(data))

    # ------------------------------------------------------------------------------------------------------- servers
    def _tick(self) -> None:
        self.tick += 1
        tick = self.tick
        for gateway in self.gateways:
            gateway.poll()
            for _, data in gateway.core.upward(tick):
                gateway.to_shard.send(data)
        self.clock.after(STEP_AT_MS, lambda: self._step(tick))
        self.clock.after(ENCODE_AT_MS, lambda: self._encode(tick))
        self.clock.after(TICK_MS, self._tick)

    def _step(self, tick: int) -> None:
        arrived, self._arrived = self._arrived, []
        result = self.shard.step(tick, arrived)
        assert not result.faults, result.faults
        self.truth.stepped(tick)
        delta = result.delta.encode()
        snapshot = self.shard.snapshot_delta(result.delta.seq).encode() if result.subscribe else b""
        for gateway in self.gateways:
            gateway.from_shard.send(snapshot if gateway.core.facts_fixed.gateway in result.subscribe else delta)

    def _encode(self, tick: int) -> None:
        for gateway in self.gateways:
            gateway.encode(tick)
