"""Clients of our server that decode everything and compare it with the truth at each tick (``python -m bench.probe``).

``check`` says what is judged. Not responsible for: p99.9 against its target (``report``).
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import aiohttp

from bench.check import Check, verdict
from bench.following import follow
from bench.guests import guest_tokens
from bench.trajectory import Trajectory, load
from bench.wire import View
from bench.wire_values import ValuesView


async def main(motion: Trajectory | None, port: int, clients: int, over_udp: bool) -> None:
    """Run the probes under the control lines on stdin."""
    stepped: set[int] = set()
    kind = ValuesView if over_udp else View
    checks = [Check(motion, index, kind(), stepped=stepped) for index in range(clients)]
    tokens = guest_tokens(port, [f"probe-{index}" for index in range(clients)])
    commands: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read_commands() -> None:
        for line in os.read(sys.stdin.fileno(), 4096).decode().split("\n")[:-1] or ["quit"]:
            commands.put_nowait(line)

    loop.add_reader(sys.stdin.fileno(), read_commands)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        events = [asyncio.Event() for _ in checks]
        tasks = [
            group.create_task(follow(check, session, port, token, event))
            for check, token, event in zip(checks, tokens, events, strict=True)
        ]
        for event in events:
            await event.wait()
        print(json.dumps({"event": "ready"}), flush=True)
        while (command := await commands.get()) in ("begin", "end"):
            if command == "begin":
                for check in checks:
                    check.begin()
                print(json.dumps({"event": "begun"}), flush=True)
            else:
                print(json.dumps(verdict(checks)), flush=True)
                for check in checks:
                    check.on = False
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--trajectory", type=Path, help="the truth; without it only the rules of the standard are checked"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--transport", choices=("websocket", "udp"), default="websocket")
    given = parser.parse_args()
    motion = load(given.trajectory) if given.trajectory else None
    asyncio.run(main(motion, given.port, given.clients, given.transport == "udp"))
