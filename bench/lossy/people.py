"""The program of the host where people are: ``python -m bench.lossy.people URL WAY SECONDS TOKEN...``.

Each person walks in a circle; when and at which tick each frame was applied, and how often who went over to which way,
is written to stdout as one JSON object. WAY: ``websocket`` or ``udp``. Not responsible for: judging.
"""

import asyncio
import json
import sys
import time
from math import cos, sin
from typing import Any

from client import Client, ClientConfig, Closed, Lost

LOOK_S = 0.004
SETTLE_S = 4.0
"""From the first welcome until it counts: the first view is in, and datagrams are used."""


async def listen(client: Client, ended: list[str]) -> None:
    """Note why connections ended."""
    async for event in client.events():
        match event:
            case Lost() | Closed():
                ended.append(f"{event.code} {event.text}")


async def live(url: str, way: str, token: str, seconds: float) -> dict[str, Any]:
    """One person."""
    config = ClientConfig(url=url, token=token, name=None, predict=False, events=False, datagrams=way == "udp")
    applied: list[tuple[float, int]] = []
    ended = ["it never connected"]
    async with Client(config) as client:
        core = client.core
        listening = asyncio.create_task(listen(client, ended))
        end_s = time.monotonic() + 30.0
        while not core.connected or (way == "udp" and not core.on_datagrams):
            if time.monotonic() > end_s:
                listening.cancel()
                why = core.datagram_problem if core.connected else ended[-1]
                return {"problem": f"not on {way} after 30 s: {why}"}
            await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE_S)
        before, newest = core.stats.fallbacks + core.stats.losses, -1
        begun_s = time.monotonic()
        while (now_s := time.monotonic()) < begun_s + seconds:
            client.steer(cos(now_s), sin(now_s), 0.0)
            if core.records.tick != newest:
                newest = core.records.tick
                applied.append((now_s, newest))
            await asyncio.sleep(LOOK_S)
        ended_s = time.monotonic()
        listening.cancel()
        return {
            "begun_s": begun_s,
            "ended_s": ended_s,
            "applied": applied,
            "seen": int(core.records.live.sum()),
            "losses": core.stats.fallbacks + core.stats.losses - before,
        }


async def main() -> None:
    """All of them."""
    url, way, seconds, *tokens = sys.argv[1:]
    async with asyncio.TaskGroup() as tasks:
        all_ = [tasks.create_task(live(url, way, token, float(seconds))) for token in tokens]
    json.dump([task.result() for task in all_], sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
