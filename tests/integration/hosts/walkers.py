"""The program of the host where people are: ``python -m tests.integration.hosts.walkers FOLDER``.

Reads ``people.json`` (name to token and doors) and lets each of them walk in a circle about the origin, where all
regions of level 1 meet, so that everybody crosses borders all the time. Writes what they see to ``seen.json`` some
times a second, each time as a whole.

People come through a *door*: a port of this host that hands each new connection to the first of its gateways that
answers, as a balancer does in front of a real installation. Not responsible for: judging (``cluster``).
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from math import atan2, hypot
from pathlib import Path
from typing import Any

from client import Client, ClientConfig, Welcomed

EVERY_S = 0.1
RADIUS_M, APART_M = 3.0, 1.2
"""Of the first one's circle, and how much wider the next one's is."""
SEES_M = 2.5
"""Others are shown a moment ago, and everybody walks 3 m in a second."""
ANSWERS_S = 1.0
"""A gateway that has not accepted a connection by then counts as gone."""


class Walker:
    """One of the people, in a circle of its own."""

    def __init__(self, name: str, client: Client, radius_m: float) -> None:
        self.name = name
        self.client = client
        self.radius_m = radius_m
        self.bodies: list[int | None] = []
        self.session: int | None = None

    @property
    def body(self) -> int | None:
        """The one that it has now, or had last."""
        return self.bodies[-1] if self.bodies else None

    async def live(self) -> None:
        """Note all bodies until the client ends."""
        async for event in self.client.events():
            if isinstance(event, Welcomed):
                self.session = event.welcome.session
                if event.welcome.body != self.body:
                    self.bodies.append(event.welcome.body)

    def walk(self) -> None:
        """On along the circle."""
        place = self.client.core.position
        if place is None:
            return
        x, z = place[0], place[2]
        out_m = max(hypot(x, z), 0.1)
        inward = max(-1.0, min(1.0, (out_m - self.radius_m) / 2.0))
        # Along the tangent, and towards the circle.
        move_x, move_z = -z / out_m - inward * x / out_m, x / out_m - inward * z / out_m
        length = hypot(move_x, move_z)
        self.client.steer(move_x / length, move_z / length, atan2(-move_x, -move_z))


class Door:
    """Hands connections to the first of ``gateways`` that answers."""

    def __init__(self, gateways: list[tuple[str, int]]) -> None:
        self._gateways = gateways

    async def open(self) -> str:
        """Returns the address for a client."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            for host, port in self._gateways:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(ANSWERS_S):
                        inner_reader, inner_writer = await asyncio.open_connection(host, port)
                    break
            else:
                return
            with contextlib.closing(inner_writer):
                ways = {_carry(reader, inner_writer), _carry(inner_reader, writer)}
                tasks = [asyncio.get_running_loop().create_task(way) for way in ways]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


def seen(people: list[Walker]) -> dict[str, Any]:
    """What there is to know of all of them, now."""
    bodies = {person.body: person for person in people}
    told = {}
    for person in people:
        core = person.client.core
        ids, places = person.client.others()
        rightly: list[int] = []
        wrongly: list[int] = []
        for body, (x, _, z) in zip(ids.tolist(), places.tolist(), strict=True):
            other = bodies.get(body)
            place = None if other is None else other.client.core.position
            is_there = place is not None and hypot(place[0] - x, place[2] - z) <= SEES_M
            (rightly if is_there else wrongly).append(body)
        told[person.name] = {
            "body": person.body,
            "bodies": person.bodies,
            "session": person.session,
            "connected": core.connected,
            "applied": core.acknowledged_seq,
            "place": core.position,
            "sees": sorted(rightly),
            "sees_wrongly": sorted(wrongly),
            "losses": core.stats.losses,
            "over": core.done,
        }
    return {"at_s": time.monotonic(), "people": told}


async def main(folder: Path) -> None:
    """Until it is killed."""
    wanted = json.loads((folder / "people.json").read_text())
    people: list[Walker] = []
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for name, of in wanted.items():
            url = await Door([(host, port) for host, port in of["gateways"]]).open()
            client = await stack.enter_async_context(Client(ClientConfig(url=url, name=name, token=of["token"])))
            people.append(Walker(name, client, RADIUS_M + len(people) * APART_M))
            tasks.create_task(people[-1].live())
        while True:
            for person in people:
                person.walk()
            (folder / "seen.new").write_text(json.dumps(seen(people)))
            os.replace(folder / "seen.new", folder / "seen.json")
            await asyncio.sleep(EVERY_S)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
