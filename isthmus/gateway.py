"""The tick of a gateway's process in a cluster: what clients said goes to the regions, what regions publish to clients.

Decides nothing about the world. Order: at the tick (LEAD_S before the shards', so that commands are there when they
step) clients' messages are taken and the regions told; when all mirrored regions have told of the tick, or a quarter of
a tick after it, frames are written. Invariant: of two ticks' frames the later tick's come later. Not responsible for:
links, store and time (``fleet.host``), sockets of clients (``clients``).
"""

import asyncio
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable
from importlib.metadata import version as installed_version
from typing import Any

from cluster.records import GATEWAY, MemberRecord
from isthmus.clients import Clients
from isthmus.config import Config
from isthmus.console.desk import Desk, Surroundings
from isthmus.console.keeping import StoreKeeper
from isthmus.console.opening import is_wanted, open_desk
from isthmus.durable import AWAY
from isthmus.fleet.figures import of_gateway, of_host, of_interpreter
from isthmus.fleet.host import Host, ProcessCore, Turn
from isthmus.fleet.rates import Rates
from isthmus.fleet.setup import cluster_key, layout_of, member_name
from isthmus.front import Front
from isthmus.logging import configure
from isthmus.member import be_member, run
from isthmus.node import RECENT_TICKS
from isthmus.observe.figure import Figure, Shown
from isthmus.observe.following import follow_clients, open_traces
from isthmus.overview import overview, without_durable
from isthmus.warmup import warm_up
from isthmus.worlds import make_facts, the_place
from server.process import GatewayProcess
from server.sending import Rules
from server.session.admission import Headroom
from shard.ticker import Ticker

LEAD_S = 0.004
"""A message over a link of one machine or one rack, and the time that the gateway takes to write it."""
WAIT_PART = 0.25
"""Of a tick: longer, and the slowest region would delay what all clients see."""


class GatewayRun:
    """Makes a gateway's ticks; ``turn`` is for the host."""

    def __init__(
        self,
        process: GatewayProcess,
        clients: Clients,
        ticker: Ticker,
        headroom_close_at: float,
        ticked: Callable[[int, float, float, float], None],
    ) -> None:
        """``ticked``: told each tick that was made (``Observed.ticked``)."""
        self.process = process
        self.clients = clients
        self.ticker = ticker
        self.tick_seconds: deque[float] = deque(maxlen=RECENT_TICKS)
        self.shed_level = 0
        self.draining = False
        self._tick_s = 1.0 / ticker.rate_hz
        self._ticked = ticked
        self.headroom = Headroom(self._tick_s, close_at=headroom_close_at, open_at=0.8 * headroom_close_at)
        self._begun_s = 0.0
        self._rates = Rates()
        self._drained_s = 0.0
        self._heard = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        process.on_heard = self._heard.set
        self.turn = Turn(self._before, self._after, drained=self._drained, on_drain=self._drain)

    @property
    def tick(self) -> int:
        """The world's tick that was begun last."""
        return self.process.tick_now

    def ready(self) -> bool:
        """Whether newcomers may be sent here."""
        return self.clients.gateway.ready and not self.draining

    def overview(self) -> dict[str, Any]:
        """For the status: the whole cluster, as this gateway knows it."""
        mirror, process = self.clients.gateway.mirror, self.process
        mirrored = {region: mirror.heard(region)[0] for region in mirror.regions}
        told = overview(process.member.book, process.moves, mirrored, time.monotonic())
        return {"member": process.name, **told}

    def warnings(self) -> list[str]:
        """What an operator should see to."""
        away = without_durable(self.process.member.book)
        return [f"{', '.join(away)}: {AWAY}"] if away else []

    def _drain(self) -> None:
        self.draining = True
        now_s = time.monotonic()
        self._drained_s = now_s + self.process.drain(now_s)

    def _drained(self) -> bool:
        return time.monotonic() >= self._drained_s or not len(self.clients.gateway.sessions.live_conns)

    def _before(self, far_slack: float) -> None:
        self._begun_s = time.monotonic()
        self.clients.phases.begin("receive")
        self.clients.poll(self._begun_s)
        self.clients.phases.begin("upward")

    def _after(self, load: float) -> None:
        self.clients.phases.begin("")
        self.process.load = load
        self.process.bytes_per_s = self._rates.per_s("out", self.clients.sent_bytes, time.monotonic())
        self._heard.clear()
        previous = self._sending
        self._sending = asyncio.get_running_loop().create_task(self._send(self.tick, self._begun_s, previous))

    async def _send(self, tick: int, begun_s: float, previous: asyncio.Task[None] | None) -> None:
        if previous is not None and not previous.done():
            await previous
        planned_s = self.ticker.start_s + tick * self._tick_s
        until_s = planned_s + LEAD_S + WAIT_PART * self._tick_s
        while self.process.due and (left_s := until_s - time.monotonic()) > 0:
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), left_s)
            except TimeoutError:
                break  # who is late is shown as it goes on
        now_s = time.monotonic()
        self.clients.phases.begin("frames")
        self.clients.send(tick, now_s, self.headroom.admits)
        ended_s = time.monotonic()
        self.headroom.ticked((ended_s - now_s) / self._tick_s)
        self._note(tick, begun_s, ended_s)

    def _note(self, tick: int, begun_s: float, ended_s: float) -> None:
        planned_s = self.ticker.start_s + tick * self._tick_s
        self._ticked(tick, planned_s, begun_s, ended_s)
        self.tick_seconds.append(ended_s - planned_s)


def run_gateway(config: Config) -> None:
    """A gateway, until it has drained."""
    configure(config.logging)
    warm_up()
    run(_gateway(config))


async def _gateway(config: Config) -> None:
    place = the_place(config)
    layout = layout_of(config, place)
    name = member_name(config, GATEWAY)
    # Drawn: a region tells the lives of a gateway apart by this number.
    facts = make_facts(config, place, installed_version("isthmus"), 1 + secrets.randbits(48), layout)
    front = await Front.prepare(config, facts, place, cluster_key(config), name=name, kind=GATEWAY)
    observed = front.observed
    gateway = front.clients.gateway
    traces = open_traces(config, name, GATEWAY)
    if traces is not None:
        lives = follow_clients(config, front.clients)
        observed.after_tick = lambda: traces.tell(lives.over(time.monotonic()))
    desks: list[Desk] = []

    async def make(host: Host, address: str) -> tuple[ProcessCore, Turn]:
        host.lead_s = LEAD_S
        host.ticker.ticks_max = sys.maxsize  # what is over can not be shown any more
        own = config.gateway
        rules = Rules(own.affinity, own.affinity_rest_s, config.limits.sessions_max)
        record = MemberRecord(GATEWAY, address, generation=host.generation)
        process = GatewayProcess(name, record, layout, gateway, rules=rules)
        close_at = config.limits.admission_load_ratio
        gateway_run = GatewayRun(process, front.clients, host.ticker, close_at, observed.ticked)

        def figures() -> list[Figure]:
            own = [*of_interpreter(), *of_host(host.load, gateway_run.draining)]
            return [*own, *of_gateway(process, host.links, time.monotonic())]

        Shown(observed.registry, figures)
        desk = None
        if is_wanted(config):
            around = Surroundings(
                name, layout.side_m, config.world.rate_hz, lambda: process.member.book, process.moves,
                process.gateway_name,
            )  # fmt: skip
            keeper = StoreKeeper(host.store, lambda: process.member.book)
            desk = open_desk(config, around, front.clients, gateway_run, keeper, host.store)
            desks.append(desk)
            desk.begin()
        url = await front.open(gateway_run, gateway_run.ready, process.origins, desk)
        process.member.report(0.0, {}, 0, url)
        front.clients.start()
        front.announce(url)
        return process, gateway_run.turn

    try:
        await be_member(config, name, layout, make)
        await front.clients.end("this gateway ends; another one takes you")
    finally:
        for desk in desks:
            await desk.close()
        await front.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
