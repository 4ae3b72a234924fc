"""People of the soak: they come in at any gateway, walk, do deeds, talk, leave, and come again as somebody else.

Decides what a person may complain about: an act that is not answered, an answer that forgot or doubled a deed that was
answered before, a connection or session that ended while nothing was done to its gateway. Invariant: a complaint names
what it expected. Not responsible for: disturbances (``troubles``); it is told which one is under way (``Now``).
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from client import ChatHeard, Client, ClientConfig, Closed, Lost, Welcomed, guest_token
from client.shell.acting import ActLostError, ActRefusedError
from client.shell.connection import now_ms, ws_url
from client.wanderer import Wanderer
from protocol.codes import Close

LIFE_S = (15.0, 90.0)
"""How long somebody stays."""
PAUSE_S = 1.0
DEED_S = 0.5
CHAT_S = 15.0
STEER_S = 0.5
ANSWER_S = 60.0
"""Longer than any disturbance may take."""
AGAIN_S = 0.5


@dataclass(slots=True)
class Now:
    """What is being done to the cluster. ``hurt``: addresses of gateways that people may lose; ``shut``: of those that
    may refuse newcomers; ``bodies``: whether a shard was killed, so that bodies may be gone for a moment; ``going``:
    whether a gateway was killed to which people of others may just have been on their way."""

    kind: str = ""
    trouble: str = ""
    hurt: frozenset[str] = frozenset()
    shut: frozenset[str] = frozenset()
    bodies: bool = False
    going: bool = False

    def calm_down(self) -> None:
        """It is over."""
        self.kind = self.trouble = ""
        self.hurt = self.shut = frozenset()
        self.bodies = self.going = False


@dataclass(slots=True)
class Tally:
    """All that people went through."""

    joins: int = 0
    leaves: int = 0
    deeds: int = 0
    lines_heard: int = 0
    losses_planned: Counter[str] = field(default_factory=Counter)
    slowest_s: dict[str, float] = field(default_factory=dict)
    """The slowest answer to a deed, by the kind of disturbance during which it was said or answered; "": none."""
    complaints: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Visit:
    """One stay. ``done``: deeds that were answered."""

    client: Client
    name: str
    done: int = 0
    welcomed: bool = False
    closed: bool = False
    url: str = ""
    """Who served it last: after a loss the client's core names whom it will try."""


class People:
    """``count`` people at ``urls``. ``answered`` counts the answers of each place in the crowd."""

    def __init__(self, count: int, urls: list[str], session: aiohttp.ClientSession, now: Now, seed: int) -> None:
        self.tally = Tally()
        self.answered = [0] * count
        self.present = 0
        self.stopping = asyncio.Event()
        self._urls, self._session, self._now = urls, session, now
        self._seeds = np.random.SeedSequence(seed).spawn(count)

    async def run(self) -> None:
        """Until ``stopping`` is set and all have left."""
        async with asyncio.TaskGroup() as tasks:
            for place in range(len(self.answered)):
                tasks.create_task(self._live(place))

    def complain(self, text: str) -> None:
        """Something that must not be."""
        self.tally.complaints.append(f"during {self._now.trouble or 'nothing'}: {text}")

    async def _live(self, place: int) -> None:
        rng = np.random.default_rng(self._seeds[place])
        visits = 0
        while not self.stopping.is_set():
            visits += 1
            name = f"Soaker {place}-{visits}"
            url = ws_url(self._urls[int(rng.integers(len(self._urls)))])
            try:
                token = await guest_token(self._session, url, name)
            except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError) as error:
                if url not in self._now.hurt | self._now.shut:
                    self.complain(f"{name} was not let in at {url}: {error}")
                await asyncio.sleep(AGAIN_S)
                continue
            config = ClientConfig(url=url, name="", token=token, predict=False, events=False, input_hz=10.0)
            await self._visit(place, name, config, rng)
            await asyncio.sleep(float(rng.uniform(0.0, PAUSE_S)))

    async def _visit(self, place: int, name: str, config: ClientConfig, rng: np.random.Generator) -> None:
        async with Client(config) as client:
            visit = _Visit(client, name, url=config.url)
            beside = [
                asyncio.create_task(self._listen(visit)),
                asyncio.create_task(self._walk(client, rng)),
            ]
            self.present += 1
            try:
                await self._act(place, visit, asyncio.get_running_loop().time() + float(rng.uniform(*LIFE_S)))
            finally:
                self.present -= 1
                for task in beside:
                    task.cancel()
        for task in beside:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.tally.leaves += 1

    async def _act(self, place: int, visit: _Visit, end_s: float) -> None:
        """One deed after the other until the stay is over; the last one is answered before."""
        loop = asyncio.get_running_loop()
        while loop.time() < end_s and not self.stopping.is_set() and not visit.closed:
            number, began_s, began = visit.done + 1, loop.time(), self._now.kind
            try:
                answer = await asyncio.wait_for(visit.client.act("deed", number), ANSWER_S)
            except TimeoutError:
                self.complain(f"{visit.name} got no answer to deed {number} in {ANSWER_S:g} s at {visit.url}")
                return
            except ActRefusedError as refused:
                self.complain(f"{visit.name} may not do deed {number}: {refused.code} {refused.why}")
                return
            except ActLostError:
                # Whoever was never answered may have had a body that nobody had stored.
                if visit.done or not self._now.bodies:
                    self.complain(f"{visit.name} lost the body in which {visit.done} deeds were answered")
                visit.done = 0
                continue
            took_s = loop.time() - began_s
            for kind in {began, self._now.kind}:
                self.tally.slowest_s[kind] = max(self.tally.slowest_s.get(kind, 0.0), took_s)
            if answer != [number, 0]:
                self.complain(f"{visit.name}: deed {number} was answered with {answer} instead of {[number, 0]}")
            visit.done = max(number, int(answer[0]))
            self.tally.deeds += 1
            self.answered[place] += 1
            await asyncio.sleep(DEED_S)

    async def _walk(self, client: Client, rng: np.random.Generator) -> None:
        wanderer, chat_ms = Wanderer(rng), now_ms() + 1000.0 * float(rng.uniform(0.0, CHAT_S))
        while True:
            if client.core.connected:
                wanderer.steer(client.core, now_ms())
                if now_ms() >= chat_ms:
                    chat_ms = now_ms() + 1000.0 * CHAT_S
                    client.say("still here")
            await asyncio.sleep(STEER_S)

    async def _listen(self, visit: _Visit) -> None:
        async for event in visit.client.events():
            match event:
                case Welcomed():
                    self.tally.joins += not visit.welcomed
                    visit.welcomed, visit.url = True, visit.client.core.url
                case ChatHeard():
                    self.tally.lines_heard += 1
                case Lost():
                    self._lost(visit, event)
                case Closed():
                    visit.closed = True
                    self.complain(f"{visit.name} was shut out at {visit.url}: {event.code} {event.text}")

    def _lost(self, visit: _Visit, lost: Lost) -> None:
        now = self._now
        come_back = (now.bodies or now.going) and lost.code == Close.GOING_AWAY
        # Whoever was on the way to another gateway may have had the body there already.
        if {visit.url, lost.url} & now.hurt or come_back or (not visit.welcomed and visit.url in now.shut):
            self.tally.losses_planned[f"{now.kind}: {lost.code}"] += 1
        else:
            self.complain(f"{visit.name} lost its connection to {visit.url}: {lost.code} {lost.text}")
