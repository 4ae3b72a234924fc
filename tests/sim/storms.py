"""Storms: everything that can go wrong in a cluster, drawn from a seed, one thing after the other and several at once.

Decides what goes wrong when. Faults come from a shuffled deck, so that each comes before any comes twice; each lasts
until the deck says calm. Not responsible for: what must hold (``shards``, ``checkers``).
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from cluster.records import MERGE, SPLIT, WishRecord, wish_key, write
from cluster.regions import level_of
from cluster.store.contract import Put, Transaction
from shard.process import ShardOut
from tests.sim.air import Air
from tests.sim.databank import BankFaults
from tests.sim.hosts import Host
from tests.sim.network import Faults
from tests.sim.shards import LinkFaults, Shards
from tests.sim.storefront import STORE, StoreFaults
from tests.sim.whole import Whole

FAULTS = (
    "killed", "paused", "stuck", "slow", "clock set", "cut from a shard", "cut one way", "cut from the store",
    "hears no store", "store away", "store compacted", "placer killed", "region moved", "region full", "database away",
    "two killed", "region split", "region merged",
)  # fmt: skip
"""Each of them is dealt once in a deck."""
AIR_FAULTS = ("bad air", "air cut", "air cut one way", "addresses changed", "datagrams replayed")
"""Of datagrams: a deck of its own, dealt besides the other, so that a storm still has a card of every other fault."""
AIR_PART = 0.25
"""So often is one of them dealt with another card."""
WHOLE_FAULTS = (*FAULTS, "cut from a gateway", "gateway killed", "gateway drained", "bad carriers")
WISH_S = 10
CALMS = 4
"""Of a deck: faults before it last for some cards."""
MESSAGES = (
    "message lost", "message late", "message doubled", "message cut off", "question lost", "answer lost",
    "database silent", "database answer lost",
)  # fmt: skip
"""Consequences of faults that must be seen as well."""


class Storm:
    """``run`` lets it rage. Every card that was dealt is counted in ``world.counts``."""

    def __init__(self, world: Shards) -> None:
        self.world = world
        self.rng = np.random.default_rng(world.rng.integers(1 << 40))
        self._deck: list[str] = []
        self._air_deck: list[str] = []

    def run(self, ticks: int, live: Callable[[int], None]) -> None:
        """For so many ticks; ``live`` lets some pass."""
        world, rng = self.world, self.rng
        end = world.tick + ticks
        while world.tick < end:
            world.faults = LinkFaults(0.05, 0.02, 0.01, 0.001, float(rng.choice([0.002, 0.02, 0.08])))
            world.front.faults = StoreFaults(
                float(rng.choice([0.0, 0.1])), float(rng.choice([0.0, 0.3])), float(rng.choice([0.02, 0.2, 0.5]))
            )
            faults = world.bank.faults
            faults.lost_question, faults.lost_answer = float(rng.choice([0.0, 0.05])), float(rng.choice([0.0, 0.1]))
            faults.slow_s = float(rng.choice([0.003, 0.02, 0.1]))
            self._play()
            live(min(end - world.tick, int(rng.integers(8, 44))))
        self.calm()

    def _play(self) -> None:
        faults = WHOLE_FAULTS if isinstance(self.world, Whole) else FAULTS
        card = self._deal(self._deck, [*faults, *["calm"] * CALMS])
        if card == "calm":
            self.calm()
        else:
            self._do(card)
        if isinstance(self.world, Whole) and self.rng.random() < AIR_PART:
            self._do(self._deal(self._air_deck, AIR_FAULTS))

    def _deal(self, deck: list[str], cards: Sequence[str]) -> str:
        if not deck:
            deck += [str(card) for card in self.rng.permutation(cards)]
        return deck.pop()

    def _do(self, card: str) -> None:
        if getattr(self, f"_{card.replace(' ', '_')}")():
            self.world.counts[card] += 1

    def calm(self) -> None:
        """No faults any more; what is held up ends by itself."""
        world = self.world
        world.cut.clear()
        world.faults, world.front.faults, world.bank.faults = LinkFaults(), StoreFaults(), BankFaults()
        for host in world.hosts.values():
            host.paused = False
        if isinstance(world, Whole):
            world.carriers.calm()
            world.folk.air.calm()

    # ---------------------------------------------------------------------------------------------------- who it hits
    def _names(self, kinds: str) -> list[str]:
        return [host.name for host in self.world.hosts.values() if host.name[0] in kinds and not host.dead]

    def _one(self, kinds: str) -> Host | None:
        names = self._names(kinds)
        return self.world.hosts[str(self.rng.choice(names))] if names else None

    # ---------------------------------------------------------------------------------------------------- processes
    def _killed(self) -> bool:
        host = self._one("s")
        if host is not None:
            self.world.kill(host.name, float(self.rng.choice([0.0, self.rng.uniform(1.0, 6.0)])))
        return host is not None

    def _two_killed(self) -> bool:
        """In the same tick, so that what was on its way between them is held by nobody."""
        names = self._names("s")
        if len(names) < 2:
            return False
        for name in self.rng.permutation(sorted(names))[:2]:
            self.world.kill(str(name), float(self.rng.uniform(0.0, 4.0)))
        return True

    def _placer_killed(self) -> bool:
        host = self._one("p")
        if host is not None:
            self.world.kill(host.name, float(self.rng.uniform(0.0, 3.0)))
        return host is not None

    def _paused(self) -> bool:
        host = self._one("sg")
        if host is not None:
            host.paused = True
        return host is not None

    def _stuck(self) -> bool:
        host = self._one("sg")
        if host is not None:
            host.stuck_s = float(self.rng.uniform(0.5, 5.0))
        return host is not None

    def _slow(self) -> bool:
        host = self._one("sg")
        if host is not None:
            host.slow_s = float(self.rng.uniform(0.02, 0.15))
            self.world.later(float(self.rng.uniform(0.5, 2.5)), lambda: setattr(host, "slow_s", 0.0))
        return host is not None

    def _clock_set(self) -> bool:
        host = self._one("sgp")
        if host is not None:
            host.set_s = float(self.rng.choice([-1, 1]) * 10.0 ** self.rng.uniform(-2, 4))
            self.world.later(float(self.rng.uniform(0.5, 6.0)), lambda: setattr(host, "set_s", 0.0))
        return host is not None

    # ------------------------------------------------------------------------------------------------------- network
    def _cut_from_a_shard(self) -> bool:
        host = self._one("s")
        if host is not None:
            self.world.isolate(host.name, [name for name in self._names("s") if name != host.name])
        return host is not None

    def _cut_one_way(self) -> bool:
        host = self._one("sg")
        if host is not None:
            others = [name for name in self._names("sg") if name != host.name and self.rng.random() < 0.7]
            hears = bool(self.rng.random() < 0.5)
            self.world.isolate(host.name, others, hears=hears, speaks=not hears)
        return host is not None

    def _cut_from_the_store(self) -> bool:
        host = self._one("sgp")
        if host is not None:
            self.world.isolate(host.name, [STORE])
        return host is not None

    def _hears_no_store(self) -> bool:
        host = self._one("s")
        if host is not None:
            self.world.isolate(host.name, [STORE], speaks=True)
        return host is not None

    def _store_away(self) -> bool:
        self.world.isolate(STORE, self._names("sgp"))
        return True

    def _database_away(self) -> bool:
        self.world.bank.faults.down = True
        return True

    def _store_compacted(self) -> bool:
        self.world.front.core.compact(self.world.front.core.revision)
        return True

    def _region_moved(self) -> bool:
        moved = [move_something(self.world, self.rng) for _ in range(2)]
        return any(moved)

    def _region_split(self) -> bool:
        regions = [n for n in self.world.partition.regions if level_of(n) == self.world.layout.level]
        return bool(regions) and self._wish(int(self.rng.choice(regions)), SPLIT)

    def _region_merged(self) -> bool:
        cells = {n >> 2 for n in self.world.partition.regions if level_of(n) > self.world.layout.level}
        return bool(cells) and self._wish(int(self.rng.choice(sorted(cells))), MERGE)

    def _wish(self, cell: int, what: str) -> bool:
        """As an operator asks for it, for some seconds."""
        store = self.world.front.core
        lease = store.grant(WISH_S, self.world.now_s)
        store.transact(Transaction((), (Put(wish_key(cell), write(WishRecord(what)), lease.id),)))
        return True

    def _region_full(self) -> bool:
        """For some seconds nobody else finds room in a region."""
        regions = sorted(self.world.stepping().items())
        if not regions:
            return False
        number, hosts = regions[int(self.rng.integers(len(regions)))]
        assert hosts[0].shard is not None
        table = hosts[0].shard.core.regions[number].state.table
        room, table.rows_max = table.rows_max, len(table.rows()) + 1
        self.world.later(float(self.rng.uniform(0.5, 4.0)), lambda: setattr(table, "rows_max", room))
        return True

    # ------------------------------------------------------------------------------------------------------ gateways
    def _cut_from_a_gateway(self) -> bool:
        host, shard = self._one("g"), self._one("s")
        if host is None or shard is None:
            return False
        self.world.isolate(host.name, [shard.name])
        return True

    def _gateway_killed(self) -> bool:
        host = self._one("g")
        assert isinstance(self.world, Whole)
        if host is not None:
            self.world.kill_gateway(int(host.name[1:]), float(self.rng.choice([0.0, self.rng.uniform(0.5, 4.0)])))
        return host is not None

    def _gateway_drained(self) -> bool:
        host = self._one("g")
        assert isinstance(self.world, Whole)
        return host is not None and self.world.drain_gateway(int(host.name[1:]))

    def _bad_carriers(self) -> bool:
        assert isinstance(self.world, Whole)
        carriers, rng = self.world.carriers, self.rng
        carriers.loss, carriers.reorder = float(rng.uniform(0.0, 0.05)), 0.03
        carriers.reset = float(rng.choice([0.0, 0.004]))
        return True

    # ----------------------------------------------------------------------------------------------------- datagrams
    def _air(self) -> Air:
        assert isinstance(self.world, Whole)
        return self.world.folk.air

    def _bad_air(self) -> bool:
        air, rng = self._air(), self.rng
        loss, delay_ms = float(rng.choice([0.02, 0.05, 0.2])), float(rng.choice([20.0, 100.0]))
        bytes_per_s = float(rng.choice([0.0, 64_000.0, 6_000.0]))
        for faults in (air.up_faults, air.down_faults):
            faults.loss, faults.reorder, faults.duplicate = loss, 0.04, 0.02
            faults.delay_ms, faults.bytes_per_s = delay_ms, bytes_per_s
        return True

    def _air_cut(self) -> bool:
        """As a firewall that has changed its mind, for longer or shorter than a client waits."""
        air = self._air()
        for faults in (air.up_faults, air.down_faults):
            self._cut_for(faults, float(self.rng.uniform(1.0, 6.0)))
        return True

    def _air_cut_one_way(self) -> bool:
        air = self._air()
        self._cut_for(air.up_faults if self.rng.random() < 0.5 else air.down_faults, float(self.rng.uniform(1.0, 6.0)))
        return True

    def _cut_for(self, faults: Faults, seconds: float) -> None:
        faults.cut = True
        self.world.later(seconds, lambda: setattr(faults, "cut", False))

    def _addresses_changed(self) -> bool:
        """As a NAT does that forgets, or a phone that leaves its WLAN."""
        moved = [endpoint for endpoint in self._air().endpoints if self.rng.random() < 0.5]
        for endpoint in moved:
            endpoint.move()
        return bool(moved)

    def _datagrams_replayed(self) -> bool:
        return self._air().replay()


def move_something(world: Shards, rng: np.random.Generator) -> bool:
    """Somebody's region goes to somebody else, as an operator may ask."""
    regions = world.stepping()
    others = {host.name for host in world.hosts.values() if host.shard is not None and not host.dead}
    if not regions or len(others) < 2:
        return False
    region = int(rng.choice(sorted(regions)))
    host = regions[region][0]
    assert host.shard is not None
    now_s, out = host.now_s(world.now_s), ShardOut()
    target = str(rng.choice(sorted(others - {host.name})))
    host.shard._move(host.shard.ask_move(region, target, now_s), now_s, out)
    world.do(host, out)
    return True


def totals(world: Shards) -> Counter[str]:
    """All that happened in a run; only once, at its end."""
    if isinstance(world, Whole):
        world.folk.tally()
    return world.counts + world.tally.of(host for host in world.hosts.values() if not host.dead)
