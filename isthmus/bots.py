"""Many Python clients in one process, who walk about, look and chat: ``isthmus bots 200``.

Decides what is counted; where bots go is ``client.wanderer``'s, everything else the client's. Invariants: each bot is
an ordinary client with prediction, so that its corrections say what a person would have felt; the exit status is 0 only
if all bots got in. Not responsible for: measuring the server (``bench``).
"""

import asyncio
import heapq
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import uvloop
from rich.console import Console

from client import ClientConfig, ClientCore, Closed, Lost
from client.shell.connection import Links, guest_token, now_ms, whole_map, ws_url
from client.tiles import MapError
from client.walk import Ground
from client.wanderer import Wanderer

JOIN_PATIENCE_S = 30.0
LEAVE_S = 1.0
"""Time for the last messages of all bots to go out."""
CHAT_EVERY_S = 60.0
LOOK_MS = 500.0
"""How often a bot looks whether it still gets on."""
SERVE_MS = 100.0
"""Longest time until a bot is looked after."""
LINES = (
    "Hello!",
    "Nice day for a walk.",
    "Which way to the harbour?",
    "See you at the square.",
    "I have been here before.",
    "Mind the tram.",
)
EXIT_OK, EXIT_NOT_JOINED = 0, 1


@dataclass(slots=True, eq=False)
class Bot:
    """One client and where it wants to go."""

    core: ClientCore
    links: Links
    wanderer: Wanderer
    look_ms: float
    chat_ms: float
    joined: bool = False


@dataclass(slots=True)
class Plan:
    """What ``isthmus bots`` was asked for."""

    count: int
    url: str
    duration_s: float | None
    seed: int
    tokens: list[str]
    joins_per_s: float
    input_hz: float
    predict: bool
    datagrams: bool


class Crowd:
    """All bots of one process."""

    def __init__(self, plan: Plan, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        self.plan = plan
        self.bots: list[Bot] = []
        self.failed: Counter[str] = Counter()
        self.stopping = False
        self._session = session
        self._tasks = tasks
        self._seeds = np.random.SeedSequence(plan.seed).spawn(plan.count)
        self._due: list[tuple[float, int]] = []
        self._ground: Ground | None = None
        self._map_asked = False

    async def join(self) -> None:
        """Send the bots in, ``joins_per_s`` of them."""
        plan = self.plan
        for number in range(plan.count):
            if self.stopping:
                return
            self._tasks.create_task(self._join_one(number))
            await asyncio.sleep(1.0 / plan.joins_per_s)

    async def _join_one(self, number: int) -> None:
        plan = self.plan
        rng = np.random.default_rng(self._seeds[number])
        name = f"Bot {plan.seed}-{number + 1}"
        url = ws_url(plan.url)
        try:
            token = plan.tokens[number] if plan.tokens else await guest_token(self._session, url, name)
        except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError) as error:
            self.failed[str(error)[:100]] += 1
            return
        config = ClientConfig(
            url=url,
            name=name,
            token=token,
            agent="isthmus-bots",
            input_hz=plan.input_hz,
            predict=plan.predict,
            events=False,
            datagrams=plan.datagrams,
        )
        core = ClientCore(config, rng.random)
        at_ms = now_ms()
        chat_ms = at_ms + float(rng.uniform(0.0, 2.0)) * CHAT_EVERY_S * 1000.0
        links: Links = Links(self._session, core, self._tasks, lambda: links.perform())
        bot = Bot(core, links, Wanderer(rng), at_ms, chat_ms)
        core.set_ground(self._ground)
        core.start(at_ms)
        self.bots.append(bot)
        self._serve(len(self.bots) - 1)

    def _serve(self, index: int) -> None:
        """Let one bot act, and note when it is to act again."""
        bot, at_ms = self.bots[index], now_ms()
        core = bot.core
        if core.connected:
            if not bot.joined:
                bot.joined = True
                self._load_map(core)
            if at_ms >= bot.look_ms:
                bot.look_ms = at_ms + LOOK_MS
                bot.wanderer.steer(core, at_ms)
            if at_ms >= bot.chat_ms:
                bot.chat_ms = at_ms + CHAT_EVERY_S * 2000.0
                core.say(LINES[index % len(LINES)])
        core.advance(at_ms)
        bot.links.perform()
        for event in core.take_events():
            if isinstance(event, Lost | Closed):
                self.failed[f"{event.code} {event.text}"] += 1
        if not core.done:
            # What arrives meanwhile can make a bot due earlier than it knows now.
            due_ms = min(max(core.next_ms(), at_ms + 5.0), at_ms + SERVE_MS)
            heapq.heappush(self._due, (due_ms, index))

    def _load_map(self, core: ClientCore) -> None:
        if self._map_asked or core.welcome is None or core.welcome.map is None or not self.plan.predict:
            return
        self._map_asked = True
        self._tasks.create_task(self._share_map(core.welcome.map))

    async def _share_map(self, path: str) -> None:
        try:
            _, self._ground = await whole_map(self._session, ws_url(self.plan.url), path)
        except (MapError, aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failed[f"no map, so nothing is predicted: {error}"] += 1
            return
        for bot in self.bots:
            bot.core.set_ground(self._ground)

    async def drive(self) -> None:
        """Serve all bots until told to stop."""
        while not self.stopping:
            at_ms = now_ms()
            while self._due and self._due[0][0] <= at_ms:
                self._serve(heapq.heappop(self._due)[1])
            wait_ms = self._due[0][0] - now_ms() if self._due else 20.0
            await asyncio.sleep(min(max(wait_ms, 1.0), 20.0) / 1000.0)
        for bot in self.bots:
            if not bot.core.done:
                bot.core.leave()
            bot.links.perform()
        await asyncio.sleep(LEAVE_S)
        for bot in self.bots:
            bot.links.abort()

    def _carriers(self) -> str:
        if not self.plan.datagrams:
            return ""
        over = sum(bot.core.on_datagrams for bot in self.bots)
        return f" ({over} by UDP, {sum(bot.core.stats.fallbacks for bot in self.bots)} went back)"

    def line(self, seconds: float, frames_before: int) -> tuple[str, int]:
        """The live line, and the count of frames for the next one."""
        stats = [bot.core.stats for bot in self.bots]
        rtt = [c.rtt_ms for bot in self.bots if (c := bot.core.clock) is not None and c.rtt_ms is not None]
        p50, p99 = np.percentile(rtt, [50, 99]).tolist() if rtt else (float("nan"), float("nan"))
        frames = sum(s.frames for s in stats)
        corrections = sum(s.corrections for s in stats)
        worst_m = max((s.correction_m_max for s in stats), default=0.0)
        text = (
            f"connected {sum(bot.core.connected for bot in self.bots)}/{self.plan.count}{self._carriers()}"
            f"  RTT p50 {p50:.0f} p99 {p99:.0f} ms  {(frames - frames_before) / seconds:.0f} frames/s"
            f"  seen {np.mean([bot.core.records.live.sum() for bot in self.bots]) if self.bots else 0:.0f}"
            f"  corrections {corrections} (worst {worst_m * 100:.1f} cm)  pushed {sum(s.pushes for s in stats)}"
            f"  lost {sum(s.losses for s in stats)}  resumed {sum(s.resumes for s in stats)}"
        )
        return text, frames


async def _run(plan: Plan, console: Console) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
        crowd = Crowd(plan, session, tasks)
        tasks.create_task(crowd.join())
        tasks.create_task(crowd.drive())
        began = loop.time()
        joined_by = began + plan.count / plan.joins_per_s + JOIN_PATIENCE_S
        frames, joined = 0, 0
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), 1.0)
            except TimeoutError:
                joined = sum(bot.joined for bot in crowd.bots)
                text, frames = crowd.line(1.0, frames)
                console.print(text, end="\r" if console.is_terminal else "\n", highlight=False, markup=False)
            if plan.duration_s is not None and loop.time() - began >= plan.duration_s:
                break
            if joined < plan.count and loop.time() > joined_by:
                break
        crowd.stopping = True
        joined = sum(bot.joined for bot in crowd.bots)
    console.print()
    problems = Counter(p for bot in crowd.bots if not bot.core.on_datagrams and (p := bot.core.datagram_problem))
    crowd.failed.update({f"no datagrams: {why}": times for why, times in problems.items()})
    for reason, times in crowd.failed.most_common(5):
        console.print(f"{times} × {reason}", highlight=False, markup=False)
    if joined < plan.count:
        console.print(f"{plan.count - joined} of {plan.count} bots could not join", highlight=False)
        return EXIT_NOT_JOINED
    return EXIT_OK


def run(
    count: int,
    url: str,
    duration_s: float | None,
    seed: int,
    token: str | None = None,
    token_file: str | None = None,
    joins_per_s: float = 100.0,
    input_hz: float = 10.0,
    predict: bool = True,
    datagrams: bool = False,
) -> int:
    """Run ``count`` bots; returns the exit status.

    ``token_file`` holds a token per line, one for each bot; ``token`` serves a single bot, because one identity has
    one body. Without either, guests' tokens are asked for. Raises SystemExit with a message if the tokens do not
    suffice.
    """
    tokens = [token] if token else []
    if token_file is not None:
        tokens = [line.strip() for line in Path(token_file).read_text().splitlines() if line.strip()]
    if tokens and len(tokens) < count:
        raise SystemExit(f"{count} bots need {count} tokens, one each (one identity has one body); got {len(tokens)}")
    plan = Plan(count, url, duration_s, seed, tokens, joins_per_s, input_hz, predict, datagrams)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(plan, Console(soft_wrap=True)))
