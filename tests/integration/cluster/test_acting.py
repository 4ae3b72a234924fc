"""People act while their gateway is killed, and while the region that they are in moves: each act is done once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from tests.integration.cluster.running import Running
from tests.integration.cluster.test_gateways import Person, people, until

BREATH_S = 0.02


async def act(person: Person, stop: asyncio.Event) -> None:
    """One deed after the other, two at a time; each answer says how many the body has done."""
    said = 0
    while not stop.is_set():
        numbers = [said + 1, said + 2]
        said += 2
        answers = await asyncio.gather(*(person.client.act("deed", number) for number in numbers))
        assert answers == [[number, 0] for number in numbers], "how many deeds were done, and how many of them twice"
        person.done.append(said)
        await asyncio.sleep(BREATH_S)


@asynccontextmanager
async def acting(*urls: str) -> AsyncIterator[tuple[list[Person], Callable[[str], Awaitable[None]]]]:
    """People at all these gateways who act all the time; ``all_go_on(what)`` waits until each has got more answers. In
    the end they are in the bodies that they had when all had begun."""
    async with AsyncExitStack() as stack:
        everybody = [person for url in urls for person in await stack.enter_async_context(people(url))]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stop = asyncio.Event()
        for person in everybody:
            tasks.create_task(act(person, stop))

        async def all_go_on(what: str) -> None:
            before = [len(person.done) for person in everybody]
            await until(what, lambda: all(len(p.done) > n + 3 for p, n in zip(everybody, before, strict=True)))

        await all_go_on("everybody acts")
        bodies = [person.bodies[-1] for person in everybody]
        yield everybody, all_go_on
        stop.set()
        assert [person.bodies[-1] for person in everybody] == bodies, "in the bodies that they had"


def test_acts_are_done_once_over_a_killed_gateway_and_moved_regions(cluster: Running) -> None:
    asyncio.run(_act(cluster))


async def _act(cluster: Running) -> None:
    async with acting(*cluster.urls) as (everybody, all_go_on):
        regions = sorted(entry["region"] for entry in cluster.status(0)["regions"] if entry["mirrored"])
        for target in ("shard-1", "shard-0"):
            for region in regions:
                await asyncio.to_thread(cluster.command, "region", "move", "world.toml", str(region), target)
            await all_go_on(f"they go on when all regions are at {target}")
        urls = [url.replace("http", "ws", 1) + "/ws" for url in cluster.urls]
        killed = urls.index(everybody[0].gateway)
        before = len(everybody[0].losses)
        os.kill(cluster.pids()[f"gateway-{killed}"], signal.SIGKILL)
        await until("a gateway's end is noticed", lambda: len(everybody[0].losses) > before)
        await all_go_on("they go on when a gateway was killed")
