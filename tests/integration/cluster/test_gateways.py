"""What people notice when a gateway is drained or killed: nothing but, after a kill, a short break."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable

import aiohttp

from client import ChatHeard, Client, ClientConfig, ClientCore, Lost, Welcomed, guest_token
from tests.integration.cluster import running
from tests.integration.cluster.running import Running
from tests.noticed import FrameWatch

PEOPLE = 5
GAP_TICKS = 3


class WatchedCore(ClientCore):
    """The core of a client whose frames are watched."""

    def __init__(self, config: ClientConfig, watch: FrameWatch) -> None:
        super().__init__(config, random.Random(watch.client).random)
        self.frame_watch = watch
        self.losses = 0

    def receive(self, link: int, data: bytes, now_ms: float) -> None:
        super().receive(link, data, now_ms)
        self.frame_watch.received(self, self.losses)

    def closed(self, link: int, code: int, text: str, now_ms: float) -> None:
        before = self.connected
        super().closed(link, code, text, now_ms)
        self.losses += before and not self.connected


class Person:
    """A client that notes what happened to it."""

    def __init__(self, config: ClientConfig, number: int) -> None:
        self.watch = FrameWatch(number)
        self.client = Client(config)
        self.client.core = WatchedCore(config, self.watch)
        self.bodies: list[int | None] = []
        self.sessions: list[int] = []
        self.losses: list[str] = []
        self.lines: list[str] = []
        self.done: list[int] = []
        """Numbers of the newest acts that were answered."""

    async def live(self) -> None:
        """Note everything until the client ends."""
        async for event in self.client.events():
            match event:
                case Welcomed():
                    self.bodies.append(event.welcome.body)
                    self.sessions.append(event.welcome.session)
                case ChatHeard():
                    self.lines.append(event.text)
                case Lost() if self.bodies:  # a gateway that has just begun refuses people, and they come again
                    self.losses.append(f"{event.code} {event.text}")

    @property
    def gateway(self) -> str:
        """Whom it talks to."""
        return self.client.core.url


@contextlib.asynccontextmanager
async def people(url: str) -> AsyncIterator[list[Person]]:
    """PEOPLE guests at the gateway at ``url`` (http)."""
    ws_url = url.replace("http", "ws", 1) + "/ws"
    async with contextlib.AsyncExitStack() as stack:
        found = []
        tasks = []
        for number in range(PEOPLE):
            async with aiohttp.ClientSession() as session:
                token = await guest_token(session, ws_url, f"Person {number}")
            found.append(Person(ClientConfig(url=ws_url, name="", token=token), number))
            await stack.enter_async_context(found[-1].client)
            tasks.append(asyncio.create_task(found[-1].live()))
        await until("everybody is in", lambda: all(person.bodies for person in found))
        yield found
        for task in tasks:
            task.cancel()


async def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait until ``holds()``, while the clients go on."""
    await asyncio.to_thread(running.until, what, holds)


def test_people_at_different_gateways_know_of_each_other_and_talk(cluster: Running) -> None:
    asyncio.run(_meet(cluster))


async def _meet(cluster: Running) -> None:
    async with people(cluster.urls[0]) as some, people(cluster.urls[1]) as others:
        everybody = [*some, *others]
        await until("all are present", lambda: all(p.client.core.online == 2 * PEOPLE for p in everybody))
        some[0].client.core.say("good morning")
        await until("all have heard", lambda: all("good morning" in p.lines for p in everybody))


def test_people_keep_their_bodies_when_their_gateway_is_drained_and_the_next_one_killed(cluster: Running) -> None:
    asyncio.run(_drain_and_kill(cluster))


async def _drain_and_kill(cluster: Running) -> None:
    first, second = (url.replace("http", "ws", 1) + "/ws" for url in cluster.urls)
    async with people(cluster.urls[0]) as everybody:
        bodies = [person.bodies[0] for person in everybody]
        assert None not in bodies
        await asyncio.to_thread(cluster.command, "drain", "world.toml", "gateway-0")
        await until("everybody is at the other gateway", lambda: all(p.gateway == second for p in everybody))
        lost = [person.losses for person in everybody if person.losses]
        assert not lost, f"connections ended before the next ones served: {lost}"
        assert [person.bodies for person in everybody] == [[body, body] for body in bodies]
        await until("they have settled", lambda: all(p.watch.settled(p.client.core) for p in everybody))
        switches = [switch for person in everybody for switch in person.watch.switches]
        gaps = [(switch.across_ticks, switch.after_ticks) for switch in switches]
        assert len(gaps) == PEOPLE
        usual_ticks = max(person.watch.usual_ticks for person in everybody)
        assert max(map(max, gaps)) <= GAP_TICKS, f"ticks between applied frames: {gaps}, usually {usual_ticks}"

        os.kill(cluster.pids()["gateway-1"], signal.SIGKILL)
        await until("everybody is back", lambda: all(len(p.bodies) == 3 and p.client.core.connected for p in everybody))
        assert [person.bodies[-1] for person in everybody] == bodies
        assert all(len(set(person.sessions)) == 1 for person in everybody), "they are the same sessions all along"
        assert first != second
