"""The shell of one member's process: carries questions to the store, messages over links, and tells the core the time.

Decides nothing about the world: every rule is the core's. Invariants: the core is called in the event loop's thread
alone; an answer is handed on once; a question is given up after ASK_TIMEOUT_S, and a transaction that was given up
counts as unknown. When the member drains it ends once it is ``drained``, or ``drain_s`` later.
Not responsible for: what a gateway does for its clients (``isthmus.gateway``), logs of behaviours (``on_out``).
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog

from cluster.asks import Answer, Ask, Failed, Grant, Question, Read, Renew, Revoke
from cluster.clock import WorldClock
from cluster.links.frames import LinkBroken
from cluster.links.handshake import Self
from cluster.links.links import Event, LinkDown, Links, LinksConfig, LinkUp, Refused
from cluster.member import MemberCore, State
from cluster.out import Out
from cluster.records import WorldRecord
from cluster.store.contract import LeaseLost, Store, StoreClosed, StoreRefused, StoreUnavailable, Transaction, WatchItem
from isthmus.observe.figure import Figure, as_line
from protocol.carried import DROPPABLE, Kind
from protocol.codes import ProtocolViolation
from shard.ticker import Ticker

_log = structlog.get_logger(__name__)
ASK_TIMEOUT_S = 2.0
"""Less than a lease, so that a keep-alive that hangs is not the last one."""
BREATH_S = 0.002
"""Between two ticks of a process that is late."""
LEAVE_S = 2.0
"""For giving the lease back; it ends by itself otherwise."""
LOAD_PART = 0.05
"""Weight of the newest tick in the mean load: a second at 20 Hz."""
FIGURES_S = 10.0
"""So often a member without a port for its figures logs them."""


class ProcessCore(Protocol):
    """What the cores of shards, gateways and placers have in common."""

    name: str
    member: MemberCore

    def watched(self, item: WatchItem, now_s: float) -> Out:
        """The watch of the namespace told something."""

    def answered(self, whose: str, number: int, answer: Answer, now_s: float) -> Out:
        """The answer to one of ``asks``."""

    def received(self, member: str, kind: Kind, data: bytes, now_s: float) -> Out:
        """A message of another member. Raises ProtocolViolation: the link is then reset."""

    def link_up(self, member: str, now_s: float) -> Out:
        """There is a link to a member."""

    def link_down(self, member: str, now_s: float) -> Out:
        """The link to a member broke."""

    def link_refused(self, member: str, generation: int, address: str, now_s: float) -> Out:
        """A member that ended its link listens no more where it did."""

    def tick(self, tick: int, now_s: float) -> Out:
        """The world's ``tick`` begins."""

    def leave(self, now_s: float) -> Out:
        """End: the lease is given back."""


async def nothing() -> None:
    """Nothing more."""


@dataclass(slots=True)
class Turn:
    """How a process makes its tick, where it is more than the core's. Defaults do nothing more."""

    before: Callable[[float], None] = lambda far_slack: None
    """Told how far off far levels may be (``shard.ticker``) before each tick."""
    after: Callable[[float], None] = lambda load: None
    """Told the mean part of a core that this process uses, after each tick."""
    on_out: Callable[[Out], None] = lambda out: None
    """Told everything that the core wants done, before it is done."""
    drained: Callable[[], bool] = lambda: True
    """Whether a member that drains may go."""
    ticked: Callable[[int, float, float, float, int, int], None] | None = None
    """Told each tick when it was made, as ``Observed.ticked`` is; None: the process tells it itself."""
    on_drain: Callable[[], None] = lambda: None
    """Called once when the member begins to drain."""
    before_leaving: Callable[[], Awaitable[None]] = nothing
    """Awaited when the last tick was made, while the member still owns what it has."""
    after_all: Callable[[], Awaitable[None]] = nothing
    """Awaited when the member has left."""
    figures: Callable[[], list[Figure]] | None = None
    """Logged from time to time, for a process that does not show them otherwise."""


class Host:
    """One member. ``listen`` first, make the core with the address that it returns, then ``run``."""

    def __init__(self, name: str, store: Store, world: WorldRecord, links: LinksConfig, drain_s: float) -> None:
        """``drain_s``: after this a member that drains leaves with what it still has."""
        self.name = name
        self._drain_s = drain_s
        self.store = store
        self.world = world
        self.load = 0.0
        """Mean part of a core that this process uses."""
        self._used_s = time.process_time()
        self.lead_s = 0.0
        """How much before the world's time this member makes its ticks."""
        self.clock = WorldClock.begin(world.start_unix_ms / 1000.0, time.time(), time.monotonic())
        self.ticker = Ticker(self.clock.start_s, world.rate_hz)
        self.generation = time.time_ns() // 1_000_000
        """This process's, among all that had its name."""
        me = Self(world.name, name, self.generation)
        self.links = Links(links, me, self._on_message, self._on_event, os.urandom, np.random.default_rng())
        self._core: ProcessCore | None = None
        self._turn = Turn()
        self._tasks: asyncio.TaskGroup | None = None
        self._tick = 0
        self._peers: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._gone = asyncio.Event()
        self._draining_since_s: float | None = None

    @property
    def draining(self) -> bool:
        """Whether the member moves away what it has, and ends."""
        return self._draining_since_s is not None

    def ready(self) -> bool:
        """Whether others may rely on this member: it acts, by its lease or the failsafe, and does not drain."""
        return self._core is not None and not self.draining and self._core.member.may_act(time.monotonic())

    @property
    def tick_now(self) -> int:
        """The world's tick at this moment."""
        return max(0, self.ticker.tick_at(time.monotonic()))

    async def listen(self, advertise_host: str | None = None) -> str:
        """Listens for links; returns where others reach them. Raises OSError."""
        await self.links.start()
        address = self.links.address
        if advertise_host is None or address.startswith("unix:"):
            return address
        host = f"[{advertise_host}]" if ":" in advertise_host else advertise_host
        return f"{host}:{address.rpartition(':')[2]}"

    def stop(self) -> None:
        """Drain, then end. A second call ends at once."""
        if self._stopping.is_set():
            self._draining_since_s = float("-inf")
        self._stopping.set()

    async def run(self, core: ProcessCore, turn: Turn | None = None, tick: int | None = None) -> None:
        """Until the member has drained and left. ``tick``: the last one that the core stepped to; None: now."""
        self._core, self._turn = core, turn or Turn()
        self._tick = self.tick_now if tick is None else tick
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                beside = [tasks.create_task(self._watch(core))]
                if self._turn.figures is not None:
                    beside.append(tasks.create_task(self._tell(self._turn.figures)))
                await self._ticks(core)
                await self._turn.before_leaving()
                self.do(core.leave(time.monotonic()))
                if core.member.state is not State.GONE:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._gone.wait(), LEAVE_S)
                for task in beside:
                    task.cancel()
        finally:
            self._tasks = None
            await self.links.stop()

    # -------------------------------------------------------------------------------------------------------- time
    async def _ticks(self, core: ProcessCore) -> None:
        while True:
            now_s = time.monotonic()
            if self._may_end(core, now_s):
                return
            self.ticker.start_s = self.clock.told(time.time(), now_s) - self.lead_s
            plan = self.ticker.plan(now_s, self._tick)
            if plan.tick is None:
                await asyncio.sleep(min(plan.wait_s, 0.1))
                continue
            merged, self._tick = plan.tick - self._tick, plan.tick
            self._turn.before(plan.far_slack)
            self.do(core.tick(plan.tick, now_s))
            ended_s = time.monotonic()
            self.ticker.ended(ended_s, plan.tick)
            if self._turn.ticked is not None:
                planned_s = self.ticker.start_s + plan.tick / self.world.rate_hz
                self._turn.ticked(plan.tick, planned_s, now_s, ended_s, merged, plan.level)
            # By CPU, not by the clock: where processes share a core, moving a region from one to another wins nothing.
            used_s, self._used_s = time.process_time() - self._used_s, time.process_time()
            self.load += LOAD_PART * (used_s * self.world.rate_hz / merged - self.load)
            self._turn.after(self.load)
            # An overloaded process makes tick after tick; the store's answers, on which its lease hangs, take several
            # turns of the loop.
            late = self.ticker.tick_at(time.monotonic()) > plan.tick
            await asyncio.sleep(BREATH_S if late else 0)

    def _may_end(self, core: ProcessCore, now_s: float) -> bool:
        if core.member.told_to_drain:
            self._stopping.set()
        if not self._stopping.is_set():
            return False
        if self._draining_since_s is None:
            self._draining_since_s = now_s
            core.member.drain()
            self._turn.on_drain()
            _log.info("draining", member=self.name)
        if now_s - self._draining_since_s >= self._drain_s:
            _log.warning("drained_not", member=self.name, regions=sorted(core.member.owned(now_s)))
            return True
        return self._turn.drained()

    async def _tell(self, figures: Callable[[], list[Figure]]) -> None:
        while True:
            await asyncio.sleep(FIGURES_S)
            _log.info("figures", member=self.name, **as_line(figures()))

    # ------------------------------------------------------------------------------------------------------- store
    def do(self, out: Out) -> None:
        """Carry out what the core wants done."""
        self._turn.on_out(out)
        for send in out.sends:
            self.links.send(send.member, send.kind, send.key, send.data, send.kind in DROPPABLE)
        for whose, ask in out.asks:
            assert self._tasks is not None
            self._tasks.create_task(self._ask(whose, ask))

    async def _ask(self, whose: str, ask: Ask) -> None:
        answer: Answer
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                answer = await self._put(ask.question)
        except LeaseLost:
            answer = Failed(lease_lost=True)
        except (StoreUnavailable, TimeoutError) as problem:
            unknown = problem.unknown if isinstance(problem, StoreUnavailable) else True
            answer = Failed(unknown=unknown and isinstance(ask.question, Transaction))
            _log.debug("store_silent", question=type(ask.question).__name__, why=str(problem))
        except StoreRefused as problem:
            answer = Failed()
            _log.error("store_refused", question=type(ask.question).__name__, why=str(problem))
        assert self._core is not None
        self.do(self._core.answered(whose, ask.number, answer, time.monotonic()))
        if self._core.member.state is State.GONE:
            self._gone.set()

    async def _put(self, question: Question) -> Answer:
        match question:
            case Grant():
                return await self.store.grant(question.ttl_s)
            case Renew():
                return await self.store.keep_alive(question.lease)
            case Revoke():
                await self.store.revoke(question.lease)
                return None
            case Read():
                return await self.store.get(question.key)
            case Transaction():
                return await self.store.transact(question)

    async def _watch(self, core: ProcessCore) -> None:
        with contextlib.suppress(StoreClosed):
            async with contextlib.aclosing(self.store.watch("")) as items:
                async for item in items:
                    self.do(core.watched(item, time.monotonic()))
                    book = core.member.book
                    for problem in book.problems:
                        _log.error("record_unreadable", why=problem)
                    book.problems.clear()
                    self._follow_members(core)

    def _follow_members(self, core: ProcessCore) -> None:
        """Links to all living members, and to those gone whom the failsafe still has to ask."""
        book = core.member.book
        peers = {name: self._peers[name] for name in book.confirmers if name in self._peers}
        peers |= {name: member.record.link for name, member in book.members.items() if member.record.link}
        peers.pop(self.name, None)
        if peers != self._peers:
            self._peers = peers
            self.links.set_peers(peers)

    # ------------------------------------------------------------------------------------------------------- links
    def _on_message(self, member: str, kind: Kind, data: bytes) -> None:
        if self._core is None or self._tasks is None:
            return
        try:
            self.do(self._core.received(member, kind, data, time.monotonic()))
        except ProtocolViolation as problem:
            _log.warning("link_reset", member=member, why=str(problem))
            raise LinkBroken(str(problem)) from problem

    def _on_event(self, event: Event) -> None:
        match event:
            case LinkUp():
                _log.info("link_up", member=event.member, version=event.version)
                if self._core is not None and self._tasks is not None:
                    self.do(self._core.link_up(event.member, time.monotonic()))
            case LinkDown():
                _log.info("link_down", member=event.member, why=event.why)
                if self._core is not None and self._tasks is not None:
                    self.do(self._core.link_down(event.member, time.monotonic()))
            case Refused(member, generation, address):
                if self._core is not None and self._tasks is not None:
                    out = self._core.link_refused(member, generation, address, time.monotonic())
                    if out.asks:
                        _log.info("member_dead", member=member, address=address)
                    self.do(out)


def draw_move() -> int:
    """Where a life begins to number its moves: no other life's numbers come near."""
    return secrets.randbits(62)
