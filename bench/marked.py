"""Clients of our server whose inputs are marked (``python -m bench.marked``): when does another client's frame show it?

Clients 2k and 2k+1 are a pair, side by side, and watch each other. Each obeys a plan (``plan_of``): it starts to walk,
turns and stops at random times, and looks another way each time; that yaw is the mark. The clients are the project's
own (``client.core``): they move at their own pace, 20 commands a second while they walk. Two delays are taken on one
clock: from the moment when the command with the mark is handed to its socket, and from when the program asked for it
(the client's own pace is in there), both until the frame that shows it is decoded by the other of the pair.

Not responsible for: the peer's clients (``peers/marked.mjs``), which obey the same plan.
"""

import argparse
import asyncio
import json
import math
import os
import random
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
import uvloop

from bench.guests import guest_tokens
from client.config import ClientConfig
from client.core import ClientCore
from client.shell.connection import Links, now_ms

YAW_STEP = 4
YAW_APART = 16
"""Of 256: marks are farther apart than any tolerance of the wire."""
BETWEEN_S = (0.25, 0.4)
REST_S = (0.5, 0.8)
"""Longer than a walker needs to stop and its client to fall silent."""
TURNS = 3
MARKED = 8
"""Clients, four pairs: more would wait for each other where their frames are decoded."""
TICK_S = 0.05
GOLDEN = (math.sqrt(5) - 1) / 2
JOIN_TIMEOUT_S = 30.0
GRACE_S = 1.0
"""After the window a mark may still be seen for so long."""


@dataclass(frozen=True, slots=True)
class Mark:
    """At ``at_s`` of the window its client is to look along ``yaw`` (1/256 turn) and, if it ``walks``, go there."""

    at_s: float
    kind: str
    walks: bool
    yaw: int


def plan_of(number: int, seconds: float, seed: int) -> list[Mark]:
    """What client ``number`` does: the same for every server with the same ``seed``. The last mark is a stop.

    Times are random, but for their phase within a tick, which goes evenly over all phases: what a mark waits for the
    next tick is most of its delay, and should be no matter of luck.
    """
    rng = random.Random(f"{seed}/{number}")
    marks: list[Mark] = []
    at_s, yaw = rng.uniform(0.0, REST_S[1]), 0

    def mark(kind: str) -> None:
        nonlocal yaw
        yaw = (yaw + YAW_STEP * rng.randint(YAW_APART // YAW_STEP, (256 - YAW_APART) // YAW_STEP)) % 256
        walks, of_walk = divmod(len(marks), TURNS + 2)
        # Our clients keep the phase of a start until they stop, so starts alone go evenly over them, too.
        phase = (GOLDEN * (MARKED * walks + number) + GOLDEN**2 * of_walk + seed / 7) % 1.0
        marks.append(Mark((at_s // TICK_S + phase) * TICK_S, kind, kind != "stop", yaw))

    while at_s < seconds - (TURNS + 1) * BETWEEN_S[1]:
        for kind in ("start", *["turn"] * TURNS, "stop"):
            mark(kind)
            at_s += rng.uniform(*(REST_S if kind == "stop" else BETWEEN_S))
    return marks


@dataclass(slots=True)
class Seen:
    """A mark and when it was asked for, sent and seen, in milliseconds of the common clock; NaN: never."""

    mark: Mark
    asked_ms: float
    sent_ms: float = math.nan
    seen_ms: float = math.nan


@dataclass(slots=True, eq=False)
class Marked:
    """One client."""

    core: ClientCore
    plan: list[Mark]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_in: asyncio.Event = field(default_factory=asyncio.Event)
    """It has a body, and goes by the way that its configuration asks for."""
    partner: "Marked | None" = None
    began_ms: float | None = None
    done: list[Seen] = field(default_factory=list)
    number: int | None = None
    """Of the partner's body in this client's stream."""

    def heard(self) -> None:
        """This client's core was told something: is it the partner's mark?"""
        core, partner = self.core, self.partner
        self.wake.set()
        if core.position is not None and core.on_datagrams == core.config.datagrams:
            self.is_in.set()
        if partner is None or not partner.done:
            return
        waits = partner.done[-1]
        if not math.isnan(waits.sent_ms) and math.isnan(waits.seen_ms) and self._shown_yaw(partner) == waits.mark.yaw:
            waits.seen_ms = now_ms()

    def _shown_yaw(self, partner: "Marked") -> int | None:
        records, welcome = self.core.records, partner.core.welcome
        body = None if welcome is None else welcome.body
        n = self.number
        if n is None or n >= len(records.live) or not records.live[n] or records.id[n] != body:
            found = np.flatnonzero(records.live & (records.id == body))
            self.number = n = int(found[0]) if len(found) else None
        return None if n is None else int(records.yaw[n])

    async def run(self, links: Links) -> None:
        """Serve the core, and carry out the plan once it has begun, until cancelled."""
        core = self.core
        core.start(now_ms())
        while True:
            due_ms = self._due_ms()
            if now_ms() >= due_ms:
                mark = self.plan[len(self.done)]
                yaw = mark.yaw * math.tau / 256
                core.steer(-math.sin(yaw) * mark.walks, -math.cos(yaw) * mark.walks, yaw)
                self.done.append(Seen(mark, now_ms()))
            newest = core.newest_seq
            core.advance(now_ms())
            if core.newest_seq != newest and self.done and math.isnan(self.done[-1].sent_ms):
                self.done[-1].sent_ms = now_ms()
            links.perform()
            core.take_events()
            wait_ms = min(core.next_ms(), self._due_ms()) - now_ms()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait_ms) / 1000):
                    await self.wake.wait()
            self.wake.clear()

    def _due_ms(self) -> float:
        at = len(self.done)
        return math.inf if self.began_ms is None or at >= len(self.plan) else self.began_ms + self.plan[at].at_s * 1000


def result(clients: list[Marked]) -> dict[str, Any]:
    """All marks with their delays, and the mean number of others seen, for ``bench.latency``."""
    marks = [
        {
            "kind": seen.mark.kind,
            "delay_ms": None if math.isnan(seen.seen_ms) else seen.seen_ms - seen.sent_ms,
            "asked_ms": None if math.isnan(seen.seen_ms) else seen.seen_ms - seen.asked_ms,
        }
        for client in clients
        for seen in client.done
    ]
    visible = float(np.mean([client.core.records.live.sum() for client in clients]))
    losses = sum(client.core.stats.losses + client.core.stats.fallbacks for client in clients)
    return {"event": "ended", "visible": visible, "losses": losses, "marks": marks}


async def main(port: int, count: int, datagrams: bool, join_s: float, seconds: float, seed: int) -> None:
    """Join over ``join_s`` when told so, then obey the plan at "begin", and tell what was seen."""
    commands: asyncio.Queue[str] = asyncio.Queue()

    def read_commands() -> None:
        for line in os.read(sys.stdin.fileno(), 4096).decode().split("\n")[:-1] or ["quit"]:
            commands.put_nowait(line)

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), read_commands)
    names = [f"mark-{number}" for number in range(count)]
    tokens = guest_tokens(port, names)
    print(json.dumps({"event": "prepared"}), flush=True)
    if await commands.get() != "join":
        return
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        clients, links, running = [], [], []
        for number, (name, token) in enumerate(zip(names, tokens, strict=True)):
            url = f"ws://127.0.0.1:{port}/ws"
            config = ClientConfig(url, name, token, agent="bench", events=False, datagrams=datagrams)
            client = Marked(ClientCore(config, random.Random(number).random), plan_of(number, seconds, seed))
            clients.append(client)
            links.append(Links(session, client.core, group, client.heard))
            running.append(group.create_task(client.run(links[-1])))
            await asyncio.sleep(join_s / count)
        async with asyncio.timeout(JOIN_TIMEOUT_S):
            for number, client in enumerate(clients):
                client.partner = clients[number ^ 1]
                await client.is_in.wait()
        print(json.dumps({"event": "ready"}), flush=True)
        if await commands.get() == "begin":
            for client in clients:
                client.began_ms = now_ms()
                client.wake.set()
            await asyncio.sleep(seconds + GRACE_S)
            print(json.dumps(result(clients)), flush=True)
        for task in running:
            task.cancel()
        for link in links:
            link.abort()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--datagrams", action="store_true")
    parser.add_argument("--join-s", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.port, given.clients, given.datagrams, given.join_s, given.seconds, given.seed))
