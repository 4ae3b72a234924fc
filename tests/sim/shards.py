"""Shard processes, placers and a store on virtual time: a world of drones that fly over borders while processes die,
freeze and lose sight of each other. The cores are the production ones; this file joins them by a bad network.

Checked after each tick: a region is stepped by one process alone, an entity is in one region alone, hops and epochs
only grow; nothing is lost but what a killed process alone held (``allowed_losses``). When a region is loaded: nobody
else commits it any more (``databank``), and everything is where it was a second ago at most (``poses``). Not
responsible for: clients and gateways.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from cluster.asks import Answer, Question
from cluster.out import Out
from cluster.partition import Partition
from cluster.placing import PlacerProcess
from cluster.records import KIND_PLACER, REGIONS, SHARD, MemberRecord, region_of
from cluster.regions import LEVEL_MAX, Layout
from protocol.carried import Send
from protocol.place import Place
from server.process import GatewayProcess
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.core import ShardCore
from shard.durable.contract import WorldIdentity
from shard.journal.keeping import Reply
from shard.process import ShardOut, ShardProcess
from shard.region import RegionCore
from tests.sim.databank import Databank
from tests.sim.hosts import RATE_HZ, TICK_S, Host
from tests.sim.poses import Poses
from tests.sim.storefront import StoreFront
from tests.sim.tally import Epochs, Tally, check_bounds

HALF_M = 64.0
LATE_S = (0.1, 2.5)
LATE_COPIES = 1.0
"""Where messages come late at all: part of the second copies that do."""
LOAD_OF_ONE = 0.03
"""Part of a tick that an entity costs: with this a shard that has most of them is worth unburdening."""
DRIFT = 2e-4
"""Of a monotonic clock: ten times what a cheap quartz does."""
DRONES = 24
LEAF_LEAST_M = 32.0
REFUSED_S = (0.005, 0.6, 1.5)
"""After a kill: when others dial again, at the earliest, and by how much that varies."""
REFUSED_JITTER_S = 0.2


def drones() -> Script:
    """Drones fly straight, turn at the world's edge, count their ticks, and keep an alarm running."""
    made = Script("drones")
    serial = made.component("serial", "i8", replicate=True)
    flown = made.component("flown", "i8")
    rung = made.component("rung", "i8")
    made.kind("drone", [serial, flown, rung])

    @made.start
    def launch(world: World) -> None:
        angle = np.linspace(0.0, 2 * np.pi, DRONES, endpoint=False)
        pos, vel = np.zeros((DRONES, 3)), np.zeros((DRONES, 3))
        pos[:, 0], pos[:, 2] = 5.0 + 3.0 * np.cos(angle), 5.0 + 3.0 * np.sin(angle)
        vel[:, 0], vel[:, 2] = 9.0 * np.cos(angle), 9.0 * np.sin(angle)
        world.spawn("drone", DRONES, pos=pos, vel=vel, serial=np.arange(1, DRONES + 1))

    @made.enter("drone")
    def wind(world: World, rows: Rows) -> None:
        world.after(1.0, "alarm", rows.id)

    @made.timer("alarm", "drone")
    def ring(world: World, rows: Rows, values: object) -> None:
        rows.rung += 1
        world.after(1.0, "alarm", rows.id)

    @made.every("drone")
    def fly(world: World, rows: Rows) -> None:
        rows.flown += 1
        for axis in (0, 2):
            out = np.abs(rows.pos[:, axis]) > HALF_M - 1.0
            inward = np.sign(rows.pos[:, axis]) * rows.vel[:, axis] > 0
            rows.vel[out & inward, axis] *= -1.0

    return made


@dataclass
class LinkFaults:
    """For each message: part lost, part that comes twice, part that comes ``LATE_S`` late, delay and its jitter (which
    reorders)."""

    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    delay_s: float = 0.001
    jitter_s: float = 0.001


@dataclass
class Known:
    """What the checks remember."""

    hops: dict[int, int] = field(default_factory=dict)
    epochs: Counter[int] = field(default_factory=Counter)
    ids: set[int] = field(default_factory=set)
    allowed_losses: set[int] = field(default_factory=set)
    """Whom a killed process, or one whose lease ended, may have taken: nobody who was stepped anywhere since."""


class Shards:
    """All of it. ``make_shard`` lets a test put a mutant in."""

    def __init__(
        self,
        seed: int,
        shards: int = 3,
        level: int = 1,
        make_shard: Callable[[str, MemberRecord, Layout, ShardCore, int], ShardProcess] = ShardProcess,
        ground: Place | None = None,
        scripts: Callable[[], Script] = drones,
        half_m: float = HALF_M,
        options: Mapping[str, Any] | None = None,
        durable: bool = True,
        grows: bool = True,
    ) -> None:
        self.durable, self.grows = durable, grows
        self.ground, self.scripts, self.half_m, self.options = ground, scripts, half_m, options
        self.rng = np.random.default_rng(seed)
        self.now_s = 0.0
        self.tick = 0
        self.layout = Layout(2 * half_m, level)
        self.counts: Counter[str] = Counter()
        self.known = Known()
        self.faults = LinkFaults()
        self.cut: set[tuple[str, str]] = set()
        leaf_level = level
        while leaf_level < LEVEL_MAX and 2 * half_m / (2 << leaf_level) >= LEAF_LEAST_M:
            leaf_level += 1
        self.leaves = Layout(2 * half_m, leaf_level)
        identity = WorldIdentity("sim", 7, 2 * half_m, leaf_level)
        self.bank = Databank(identity, self.rng, self.later, lambda: self.now_s, self.counts)
        self.front = StoreFront(self.rng, self.later, lambda: self.now_s, self.passes, self.counts)
        self.hosts: dict[str, Host] = {}
        self.poses = Poses()
        self.tally = Tally()
        self.epochs = Epochs()
        self._make = make_shard
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._lives = 0
        self.hash = hashlib.blake2b(digest_size=16)
        for k in range(shards):
            self.begin_shard(f"s{k}")
        for k in range(2):
            self.begin_placer(f"p{k}")

    # ------------------------------------------------------------------------------------------------- processes
    def begin_shard(self, name: str) -> None:
        """A shard process starts, perhaps again under its old name."""
        config = ShardConfig(
            seed=7, rate_hz=RATE_HZ, bounds_half_m=self.half_m, orphan_s=8.0,
            durable=self.durable, leaves=self.leaves if self.durable else None
        )  # fmt: skip
        core = ShardCore(config, self.ground, [self.scripts()], options=self.options, tick=self.tick)
        core.on_phase = lambda phase: None if phase else self.poses.stepped(list(core.regions.values()), self.now_s)
        first_move = int(self.rng.integers(1 << 40))
        shard = self._make(name, self.record(SHARD, name), self.layout, core, first_move)
        shard.on_lost = lambda region: self.lapsed(shard, region)
        shard.on_change = lambda former, now, is_done: self.poses.reshaped(former, list(now)) if is_done else None
        self.begin(shard, late_s=float(self.rng.uniform(0, TICK_S / 2)))

    def begin_placer(self, name: str) -> None:
        """A candidate for placing starts."""
        record = self.record(KIND_PLACER, name)
        self.begin(PlacerProcess(name, record, self.layout, self.layout.level + self.grows), late_s=0.0)

    def record(self, kind: str, name: str, url: str = "") -> MemberRecord:
        """Of a process that starts now, and listens where nobody listened before."""
        self._lives += 1
        return MemberRecord(kind, f"link-{name}/{self._lives}", url, generation=self._lives)

    def begin(self, process: ShardProcess | GatewayProcess | PlacerProcess, late_s: float) -> Host:
        """A process starts on a host of its own, whose wall clock is ``late_s`` behind."""
        offset_s, drift = float(self.rng.uniform(-100, 100)), float(self.rng.uniform(-DRIFT, DRIFT))
        host = Host(process.name, offset_s, drift, -late_s, process, self.front.core.watch(""))
        host.begin(self.now_s, self.tick)
        self.hosts[host.name] = host
        self.later(0.0, lambda: self._turn(host))
        return host

    def kill(self, name: str, again_s: float = 0.0, *, silently: bool = False) -> None:
        """As kill -9: what only this process held may be lost. It starts again ``again_s`` later. ``silently``: with
        its host."""
        host = self.hosts[name]
        host.dead = True  # so that what it has does not count as being somewhere
        if host.shard is not None:
            for region in host.shard.core.regions:
                self._takes(host.shard, region)
        self.tally.host(host)
        self.epochs.over(host)
        if not silently:
            self.refuse(host)
        begin = self.begin_placer if isinstance(host.process, PlacerProcess) else self.begin_shard
        self.later(again_s, lambda: begin(name))

    def refuse(self, dead: Host) -> None:
        """Half of those who die leave a host behind that refuses links; the others go with it, and fall silent."""
        if self.rng.random() < 0.5:
            return
        for host in list(self.hosts.values()):
            for at_s in REFUSED_S:
                self.later(at_s + REFUSED_JITTER_S * float(self.rng.random()), partial(self._dial, host, dead))

    def _dial(self, host: Host, dead: Host) -> None:
        record = dead.process.member.record

        def refused() -> None:
            now_s = host.now_s(self.now_s)
            self.do(host, host.process.link_refused(dead.name, record.generation, record.link, now_s))

        if self.passes(host.name, dead.name) and self.passes(dead.name, host.name):
            self._when_awake(host, refused)

    def lapsed(self, shard: ShardProcess, region: int) -> None:
        """A living process drops a region that it has not moved away: its lease has ended."""
        self._takes(shard, region)

    def _takes(self, shard: ShardProcess, region: int) -> None:
        """What a process alone held goes back to what is durable; who is not durable yet, by nobody's hand, goes with
        it. Those whom it had sent on their way are among them as long as nobody has acknowledged them, and those of
        whom it has a frozen copy: who sent that may let it go in the same moment."""
        core = shard.core.regions.get(region)
        if core is None:
            return
        self.tally.region(core)
        self.poses.stepped([core], self.now_s)
        table, links = core.state.table, core.state.links
        held = set(table.id[table.rows()].tolist()) | set(links.tombstones)
        self.known.allowed_losses |= held - self.bank.hops().keys()

    @property
    def partition(self) -> Partition:
        """The regions as the store has them."""
        return Partition.of(self.layout, [region_of(record.key) for record in self.front.core.list(REGIONS).records])

    # ---------------------------------------------------------------------------------------------------- network
    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Do something so much later."""
        self.at(self.now_s + delay_s, do)

    def at(self, at_s: float, do: Callable[[], None]) -> None:
        """Do something at a time; what is asked for one moment is done in the order in which it was asked for."""
        self._sequence += 1
        heapq.heappush(self._events, (at_s, self._sequence, do))

    def passes(self, source: str, target: str) -> bool:
        """Whether anything gets from one to the other."""
        return (source, target) not in self.cut

    def isolate(self, name: str, others: Sequence[str], *, hears: bool = False, speaks: bool = False) -> None:
        """Nothing passes between a name and others, but what it ``hears`` or ``speaks``."""
        if not speaks:
            self.cut |= {(name, other) for other in others}
        if not hears:
            self.cut |= {(other, name) for other in others}

    def do(self, host: Host, out: Out) -> None:
        """Carry out what a process wants done."""
        for whose, ask in out.asks:
            self._ask(host, ask.question, self._answer_to(host, whose, ask.number))
        for send in out.sends:
            self._send(host, send)
        if isinstance(out, ShardOut):
            for number, question in out.journal:
                self.bank.ask(host.name, question, self._bank_answer_to(host, number))
            for region, restored in out.loaded:
                assert not restored.damage, restored.damage
                others = (other.shard for other in self.hosts.values() if other is not host and not other.dead)
                held = [s.core.regions[region] for s in others if s is not None and region in s.core.regions]
                self.poses.stepped(held, self.now_s)
                self.poses.loaded(_core(host, region), self.bank)
        assert not isinstance(out, ShardOut) or not out.faults, out

    def _answer_to(self, host: Host, whose: str, number: int) -> Callable[[Answer], None]:
        return lambda answer: self.do(host, host.process.answered(whose, number, answer, host.now_s(self.now_s)))

    def _bank_answer_to(self, host: Host, number: int) -> Callable[[Reply], None]:
        def deliver(reply: Reply) -> None:
            assert host.shard is not None
            self.do(host, host.shard.journaled(number, reply, host.now_s(self.now_s)))

        return lambda reply: self._when_awake(host, lambda: deliver(reply))

    def _ask(self, host: Host, question: Question, deliver: Callable[[Answer], None]) -> None:
        def arrive(answer: Answer) -> None:
            self._when_awake(host, lambda: deliver(answer))

        self.front.ask(host.name, question, host.now_s(self.now_s), arrive)

    def _when_awake(self, host: Host, do: Callable[[], None]) -> None:
        if host.dead:
            return
        if host.paused:
            self.later(TICK_S, lambda: self._when_awake(host, do))
        elif host.held:
            host.mail.append(do)
        else:
            do()

    def _send(self, source: Host, send: Send) -> None:
        f, rng = self.faults, self.rng
        if not self.passes(source.name, send.member):
            self.counts["message cut off"] += 1
            return
        copies = 1 + (rng.random() < f.duplicate)
        for copy in range(copies):
            if rng.random() < f.loss:
                self.counts["message lost"] += 1
                continue
            late_s = float(rng.uniform(*LATE_S)) if rng.random() < (LATE_COPIES if copy and f.late else f.late) else 0.0
            self.counts["message late"] += late_s > 0
            delay_s = f.delay_s + f.jitter_s * float(rng.random()) + late_s
            self.later(delay_s, lambda: self._arrive(source.name, send))
        self.counts["message doubled"] += copies - 1

    def _arrive(self, source: str, send: Send) -> None:
        host = self.hosts.get(send.member)
        if host is not None:
            self._when_awake(host, lambda: self._heard(host, source, send))

    def _heard(self, host: Host, source: str, send: Send) -> None:
        self.do(host, host.process.received(source, send.kind, send.data, host.now_s(self.now_s)))
        self.epochs.heard(host)

    # ------------------------------------------------------------------------------------------------------- time
    def run(self, ticks: int) -> None:
        """So many ticks of the world pass."""
        for _ in range(ticks):
            self.tick += 1
            self._until((self.tick + 1) * TICK_S)
            self.check()

    def _until(self, end_s: float) -> None:
        events = self._events
        while events and events[0][0] < end_s:
            at_s, _, do = heapq.heappop(events)
            self.now_s = max(self.now_s, at_s)
            do()
        self.now_s = end_s
        self.front.core.advance(end_s)

    def _turn(self, host: Host) -> None:
        """A process looks at its clocks, and makes a tick if one is due."""
        if host.dead:
            return
        if host.asleep:
            self.later(TICK_S, lambda: self._turn(host))
            return
        tick, wait_s = host.turn(self.now_s)
        if tick is None:
            self.later(min(wait_s, 0.1), lambda: self._turn(host))
            return
        out, hold_s = self.make_tick(host, tick), host.hold_s()
        if hold_s:
            host.held = True
            self.later(hold_s, lambda: self._ended(host, tick, out))
        else:
            self._ended(host, tick, out)

    def _ended(self, host: Host, tick: int, out: Out) -> None:
        if host.dead:
            return
        host.held = False
        host.ticker.ended(host.now_s(self.now_s), tick)
        self.do(host, out)
        mail, host.mail = host.mail, []
        for read in mail:
            self._when_awake(host, read)
        self._turn(host)

    def make_tick(self, host: Host, tick: int) -> Out:
        """What has come from the store's watch, then the tick; returns what is to be done when it is over."""
        now_s = host.now_s(self.now_s)
        if self.passes("store", host.name) and self.passes(host.name, "store"):
            for item in self.front.core.poll(host.cursor):
                self.do(host, host.process.watched(item, now_s))
        if host.shard is not None and tick % RATE_HZ == 0:
            parts = {n: LOAD_OF_ONE * core.entities for n, core in host.shard.core.regions.items()}
            host.shard.member.report(sum(parts.values()), parts)
        return host.process.tick(tick, now_s)

    # ------------------------------------------------------------------------------------------------------ checks
    def stepping(self) -> dict[int, list[Host]]:
        """Who would step each region at this moment."""
        found: dict[int, list[Host]] = {}
        for host in self.hosts.values():
            if host.shard is not None and not host.dead:
                owned = host.shard.member.owned(host.now_s(self.now_s))
                for region in host.shard.core.regions:
                    if region in owned and region not in host.shard.core.frozen:
                        found.setdefault(region, []).append(host)
        return found

    def entities(self) -> dict[int, tuple[int, int]]:
        """id → (region, hop) of all that is simulated, and of what is frozen on its way to another owner: of such a
        region both owners may have a copy, and the newer one counts."""
        frozen: dict[int, RegionCore] = {}
        stepping = self.stepping()
        for host in self.hosts.values():
            if host.shard is None or host.dead:
                continue
            owned = host.shard.member.owned(host.now_s(self.now_s))
            for region in host.shard.core.frozen & owned.keys() - stepping.keys():
                core = host.shard.core.regions[region]
                if region not in frozen or core.epoch > frozen[region].epoch:
                    frozen[region] = core
        found: dict[int, tuple[int, int]] = {}
        for region, core in [*frozen.items(), *((r, _core(hosts[0], r)) for r, hosts in stepping.items())]:
            table = core.state.table
            rows = table.rows()
            for id_, hop in zip(table.id[rows].tolist(), table.hop[rows].tolist(), strict=True):
                assert id_ not in found, f"tick {self.tick}: {id_} is in {found[id_]} and in region {region}"
                found[id_] = region, hop
        return found

    def check(self) -> None:
        """Raises AssertionError with what is wrong."""
        for host in self.hosts.values():
            check_bounds(host)
            for core in host.shard.core.regions.values() if host.shard is not None else ():
                self.tally.region(core)
        stepping = self.stepping()
        self.poses.stepped([_core(hosts[0], region) for region, hosts in stepping.items()], self.now_s)
        for region, hosts in stepping.items():
            names = [host.name for host in hosts]
            assert len(names) == 1, f"tick {self.tick}: region {region} is stepped by {names}"
            epoch = _core(hosts[0], region).epoch
            assert epoch >= self.known.epochs[region], f"region {region} went back to epoch {epoch}"
            self.known.epochs[region] = epoch
        for id_, (region, hop) in self.entities().items():
            if region in stepping:
                self.known.allowed_losses.discard(id_)
            before = self.known.hops.get(id_, 0)
            if hop < before:  # a process that is no owner any more, and may not know it yet, held the newer one
                durable = self.bank.hops().get(id_, 0)
                assert hop >= durable, f"tick {self.tick}: hop of {id_} went back from {before} to {hop}, of {durable}"
                self.counts["hop undone"] += 1
            self.counts["crossed"] += max(0, hop - before)
            self.known.hops[id_] = hop
            self.known.ids.add(id_)

    def present(self) -> set[int]:
        """Ids of all that is somewhere, or on its way with a copy where it comes from."""
        under_way: set[int] = set()
        for hosts in self.stepping().values():
            shard = hosts[0].shard
            assert shard is not None
            for core in shard.core.regions.values():
                links = core.state.links
                under_way |= {e for e, stone in links.tombstones.items() if not links.acknowledged(stone)}
        return under_way | set(self.entities())

    def check_nothing_lost(self) -> None:
        """When the faults have stopped: everybody is there but those whom a kill may have taken."""
        lost = self.known.ids - self.present() - self.known.allowed_losses
        assert not lost, f"lost: {sorted(lost)}"

    def digest(self) -> str:
        """Equal for equal runs."""
        for host in sorted(self.hosts.values(), key=lambda host: host.name):
            if host.shard is not None and not host.dead:
                for region, core in host.shard.core.regions.items():
                    self.hash.update(f"{host.name}/{region}/{core.state_hash()}".encode())
        return self.hash.hexdigest()


def _core(host: Host, region: int) -> RegionCore:
    assert host.shard is not None
    return host.shard.core.regions[region]
