"""The world of one process in its durable store: read before it is served, written while it is, and at its end.

Decides the order: the epoch first, then what is stored, then the scripts' ``start`` if nothing is. Invariant: two
processes never write one store; the one that comes later ends the other. Not responsible for: what is written
(``shard.journal``), the engines (``shard.durable``).
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from cluster.regions import Layout
from isthmus.config import Config
from isthmus.durable import AWAY, FOLDER, MEMORY, Bank, identity_of, make_folder, name_of, url_of
from isthmus.fleet.figures import of_journal
from isthmus.fleet.setup import cluster_key, make_key, read_key
from isthmus.observe.figure import Figure
from shard.core import ShardCore
from shard.durable.opening import open_durable
from shard.durable.spans import span_of
from shard.journal.journal import Draft
from shard.journal.keeping import Keeping, Kept, Overtaken, Reply
from shard.region import RegionCore

_log = structlog.get_logger(__name__)
WHOLE = 1
"""The store's number of the whole world."""
ID_GAP = 1 << 16
"""Ids that may have been given after the last batch."""
LAST_S = 5.0
"""For what is still to be written when the process ends."""


class KeptWorld:
    """One region, ``core``, whose batches are carried. ``damaged``: what could not be read of it; ``on_overtaken``:
    another process has the store now."""

    def __init__(
        self, config: Config, leaves: Layout, core: RegionCore, damaged: int, on_overtaken: Callable[[], None]
    ) -> None:
        self._core = core
        self._damaged = damaged
        self._keeping = Keeping(leaves.level)
        self._on_overtaken = on_overtaken
        self._bank = Bank(url_of(config), identity_of(config, leaves), self._answered)
        self._keeping.take(WHOLE, core.epoch)

    def figures(self) -> list[Figure]:
        """For /metrics."""
        return of_journal(self._keeping, self._bank, self._damaged, self._core.tick, self._core.state.config.rate_hz)

    def warnings(self) -> list[str]:
        """What an operator should see to."""
        return [AWAY] if self._bank.is_away else []

    def stepped(self, draft: Draft | None) -> None:
        """After each step."""
        if draft is not None and self._keeping.keeps(WHOLE):
            self._keeping.put(WHOLE, draft)
        self._ask()

    async def close(self) -> None:
        """Write what is left, and let go of the store."""
        end_s = time.monotonic() + LAST_S
        while self._keeping.keeps(WHOLE) and time.monotonic() < end_s:
            draft = self._core.last_draft()
            if draft is not None:
                self._keeping.put(WHOLE, draft)
            elif not self._keeping.waits(WHOLE):  # the batch of the last step is stored
                _log.info("durable_closed", tick=self._core.tick)
                break
            self._ask()
            await asyncio.sleep(0.005)
        await self._bank.close()

    def _ask(self) -> None:
        for number, question in self._keeping.due(time.monotonic()):
            self._bank.ask(number, question)

    def _answered(self, number: int, reply: Reply) -> None:
        for news in self._keeping.answered(number, reply, time.monotonic()):
            match news:
                case Kept():
                    self._core.journaled(news.tick, news.refused)
                case Overtaken():
                    _log.error("durable_overtaken", epoch=news.epoch, why="another process serves this world now")
                    self._on_overtaken()
        self._ask()


def key_of_sessions(config: Config) -> bytes | None:
    """What resume tickets and guests' tokens are sealed with, the same after a restart; None if the world itself begins
    anew. It is kept beside what it opens, never in it: who may read the store, or a backup, may not be everybody in the
    world. Made if there is none. Raises OSError, SetupError."""
    url = url_of(config)
    if url == MEMORY:
        return None
    if config.cluster.key_path is not None:
        return cluster_key(config)
    path = FOLDER / f"{name_of(config)}.key"
    if url.startswith("sqlite:"):
        path = Path(f"{url.removeprefix('sqlite:')}.key")
    path.parent.mkdir(parents=True, exist_ok=True)
    make_key(path)
    return read_key(path, "the key of sessions")


def orders_path(config: Config) -> Path | None:
    """Where the bans and what else operators order of a world of one process is kept: beside its store; None if the
    world itself begins anew."""
    url = url_of(config)
    if url == MEMORY:
        return None
    if url.startswith("sqlite:"):
        return Path(f"{url.removeprefix('sqlite:')}.orders.json")
    return FOLDER / f"{name_of(config)}.orders.json"


async def begin(config: Config, leaves: Layout, shard: ShardCore) -> tuple[RegionCore, int]:
    """The world's region, as its store has it, and how much of that could not be read. Raises DurableError."""
    url = url_of(config)
    make_folder(url)
    store = await open_durable(url, identity_of(config, leaves))
    try:
        epoch = await store.newest_epoch(WHOLE) + 1
        await store.fence(WHOLE, epoch)
        loaded = await store.load(*span_of(WHOLE, leaves.level))
    finally:
        await store.close()
    shard.tick = loaded.tick
    core = shard.add_region(0, epoch, start=loaded.tick == 0)
    damaged = 0
    if loaded.tick:
        restored = core.begin_from(loaded, {})
        core.ids.skip_to(restored.next_id + ID_GAP)
        damaged = len(restored.damage)
        for damage in restored.damage:
            _log.error("durable_damaged", what=damage.what, why=damage.why)
        _log.info("world_goes_on", entities=restored.entities, tick=loaded.tick, damaged=damaged)
    return core, damaged
