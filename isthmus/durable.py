"""The durable store as a process uses it: opened by the options, asked the core's questions, away without harm, and
operators are told.

Decides nothing about the world. Invariants: a store that another world's data is in ends the process before it starts;
one that is away is tried again with the next question; each question is answered once. Not responsible for: what is
asked (``shard.journal``), the engines (``shard.durable``).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from cluster.regions import LEVEL_MAX, Layout
from isthmus.config import Config
from shard.durable.contract import Away, Durable, Fenced, Incompatible, WorldIdentity
from shard.durable.opening import open_durable
from shard.durable.spans import span_of
from shard.journal.keeping import AskHops, CommitDraft, FenceRegion, LoadSpan, Question, Reply
from shard.journal.notes import next_id

_log = structlog.get_logger(__name__)
AWAY = (
    "the durable store is away: the world goes on, acts are not answered and nothing new is kept until it is back; the "
    "log says why and what to do (durable_away)"
)
"""For those who ask a process how it is: without its place, which is nobody else's business."""
LEAF_M = 32.0
"""Leaves are as narrow as a region may be, so that no split ever cuts one."""
MEMORY = "memory:"
FOLDER = Path(".isthmus")
"""Beside where the server was started."""


def leaves_of(layout: Layout) -> Layout:
    """The cells that rows are stored by: the deepest level whose cells are at least LEAF_M wide."""
    level = layout.level
    while level < LEVEL_MAX and layout.side_m / (2 << level) >= LEAF_M:
        level += 1
    return Layout(layout.side_m, level)


def url_of(config: Config) -> str:
    """Where the world's durable state is."""
    if config.durable.url is not None:
        return config.durable.url
    return f"sqlite:{FOLDER / f'{name_of(config)}.sqlite'}"


def name_of(config: Config) -> str:
    """The world's name as a part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in config.world.name)


def identity_of(config: Config, leaves: Layout) -> WorldIdentity:
    """What must be the same whenever the store is opened."""
    return WorldIdentity(config.world.name, config.world.seed, leaves.side_m, leaves.level)


@dataclass(frozen=True, slots=True)
class SoFar:
    """How far a world has come: the newest tick that is stored, and the least entity id that is free."""

    tick: int = 0
    next_id: int = 1


async def so_far(config: Config, leaves: Layout) -> SoFar:
    """What the durable store has of a world. Raises DurableError."""
    url = url_of(config)
    if url == MEMORY:
        return SoFar()
    make_folder(url)
    store = await open_durable(url, identity_of(config, leaves))
    try:
        loaded = await store.load(*span_of(1, leaves.level))
    finally:
        await store.close()
    return SoFar(loaded.tick, next_id(loaded))


class Bank:
    """One process's client of the durable store. ``deliver(number, reply)`` is called in the event loop."""

    def __init__(self, url: str, world: WorldIdentity, deliver: Callable[[int, Reply], None]) -> None:
        self._url = url
        self._world = world
        self._deliver = deliver
        self._store: Durable | None = None
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._why = ""
        self._since_s = 0.0

    @property
    def away_s(self) -> float:
        """For how long the store cannot be used; 0: it can."""
        return time.monotonic() - self._since_s if self._why else 0.0

    @property
    def is_away(self) -> bool:
        """Whether the store could not be used last."""
        return bool(self._why)

    async def open(self) -> None:
        """Raises Incompatible if it is not this world's; a store that is away comes later."""
        try:
            await self._opened()
            _log.info("durable_open", store=shown(self._url))
        except Away as away:
            self._say(str(away))

    def ask(self, number: int, question: Question) -> None:
        """Carry a question; its answer is delivered later."""
        task = asyncio.get_running_loop().create_task(self._carry(number, question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """After what was asked before."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._store is not None:
            await self._store.close()

    async def _carry(self, number: int, question: Question) -> None:
        reply: Reply
        try:
            reply = await self._put(await self._opened(), question)
            self._say("")
        except Fenced as fenced:
            reply = fenced
        except (Away, Incompatible) as problem:
            self._say(str(problem))
            reply = problem
        except ValueError as wrong:  # our mistake: as if the store were away, so that it is told and nothing is lost
            self._say(f"it refuses what it is asked: {wrong}")
            reply = Away(str(wrong))
        self._deliver(number, reply)

    async def _put(self, store: Durable, question: Question) -> Reply:
        match question:
            case FenceRegion():
                await store.fence(question.region, question.epoch)
                return None
            case LoadSpan():
                return await store.load(question.first_leaf, question.last_leaf)
            case AskHops():
                return await store.hops(question.ids)
            case CommitDraft():
                return await store.commit(question.draft.batch)

    async def _opened(self) -> Durable:
        async with self._opening:
            if self._store is None:
                make_folder(self._url)
                self._store = await open_durable(self._url, self._world)
            return self._store

    def _say(self, problem: str) -> None:
        """Once for each change: acknowledgements stop while it lasts."""
        if problem == self._why:
            return
        if not self._why:
            self._since_s = time.monotonic()
        away_s, self._why = self.away_s, problem
        if problem:
            _log.error("durable_away", store=shown(self._url), why=problem, remedy=_remedy(self._url))
        else:
            _log.info("durable_back", store=shown(self._url), away_s=round(away_s, 1))


def make_folder(url: str) -> None:
    """The folder of a SQLite file. Raises Away."""
    if url.startswith("sqlite:"):
        try:
            Path(url.removeprefix("sqlite:")).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Away(f"{url}: {error}") from error


def _remedy(url: str) -> str:
    if url.startswith("sqlite:"):
        return "make room on its disk, and see that it can be written; nothing needs a restart"
    return "see that the database runs, can be reached and lets this user write; nothing needs a restart"


def shown(url: str) -> str:
    """Without a password."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('//')[0]}//…@{tail}" if at else url
