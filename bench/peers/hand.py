"""A server in Python as one would write it for this job alone: aiohttp, uvloop, numpy, and the binary form of hand.mjs.

Each tick: bodies are sorted into a grid, and for each client the records of those within the radius are gathered from
one array that holds all of them as bytes. Not responsible for: anything that a real server needs beside that.
"""

import argparse
import asyncio
import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from aiohttp import WSMsgType, web

RECORD = np.dtype([("index", "<u2"), ("dx", "<i2"), ("dy", "<i2"), ("dz", "<i2"), ("yaw", "u1")])
HEAD = struct.Struct("<BIIiiiHH")
INPUT = struct.Struct("<BIII8s6x")


def say(event: str, **values: Any) -> None:
    """One line for whoever started this."""
    print(json.dumps({"event": event, **values}), flush=True)


class Viewer:
    """One client: whose body is its own, and what it was told last."""

    def __init__(self, index: int, socket: web.WebSocketResponse) -> None:
        self.index, self.socket, self.seq = index, socket, 0
        self.known = np.zeros(0, np.int64)


class Server:
    """The world of a trajectory, and its clients."""

    def __init__(self, folder: Path) -> None:
        header = json.loads((folder / "header.json").read_text())
        self.rate_hz, self.ticks = header["rate_hz"], header["ticks"]
        self.radius_m, self.half_m = header["radius_m"], header["side_m"] / 2
        self.x, self.y, self.z, self.yaw = (np.load(folder / f"{name}.npy") for name in ("x", "y", "z", "yaw"))
        self.viewers: dict[web.WebSocketResponse, Viewer] = {}
        self.inputs = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """A client, from its upgrade to its end."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 16)
        await socket.prepare(request)
        viewer = Viewer(int(request.query["i"]), socket)
        await socket.send_bytes(struct.pack("<BH", 1, viewer.index))
        self.viewers[socket] = viewer
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY and len(message.data) == INPUT.size:
                    _, seq, *_ = INPUT.unpack(message.data)
                    self.inputs += seq != viewer.seq
                    viewer.seq = seq
        finally:
            del self.viewers[socket]
        return socket

    async def tick(self, n: int) -> None:
        """Tell everybody what is around them now."""
        row = n % self.ticks
        x, y, z = self.x[row], self.y[row], self.z[row]
        cm = np.rint(np.stack([x, y, z], axis=1) * 100).astype(np.int32)
        yaw = np.rint(self.yaw[row] / (2 * np.pi) * 256).astype(np.int64).astype(np.uint8)
        radius = self.radius_m
        width = int(2 * (self.half_m + radius) // radius) + 3
        column = np.clip(((x + self.half_m + radius) // radius).astype(np.int64) + 1, 1, width - 2)
        line = np.clip(((z + self.half_m + radius) // radius).astype(np.int64) + 1, 1, width - 2)
        cell = line * width + column
        order = np.argsort(cell, kind="stable")
        begin = np.searchsorted(cell[order], np.arange(width * width + 1))
        for viewer in list(self.viewers.values()):
            own = viewer.index
            lines = (line[own] + np.arange(-1, 2)) * width + column[own]
            near = np.concatenate([order[begin[at - 1] : begin[at + 2]] for at in lines.tolist()])
            near = near[(x[near] - x[own]) ** 2 + (z[near] - z[own]) ** 2 <= radius * radius]
            gone = np.setdiff1d(viewer.known, near, assume_unique=True)
            records = np.zeros(len(near), RECORD)
            records["index"], records["yaw"] = near, yaw[near]
            records["dx"], records["dy"], records["dz"] = (cm[near] - cm[own]).T
            head = HEAD.pack(2, n, viewer.seq, *cm[own].tolist(), len(gone), len(near))
            viewer.known = near
            await viewer.socket.send_bytes(head + gone.astype("<u2").tobytes() + records.tobytes())


class Loop:
    """Ticks on a fixed schedule, and the control lines, as ``common.mjs`` has them."""

    def __init__(self, server: Server) -> None:
        self.server, self.resets = server, 0
        self.begin()

    def begin(self) -> None:
        """A window begins."""
        self.since_s, self.inputs, self.reset_before = time.perf_counter(), self.server.inputs, self.resets
        self.work: list[float] = []
        self.done: list[float] = []

    async def run(self) -> None:
        """Tick until the process ends; half a second behind, the schedule begins anew."""
        period_s, origin_s, planned, n = 1 / self.server.rate_hz, time.perf_counter(), 0, 0
        while True:
            due_s = origin_s + planned * period_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            started_s = time.perf_counter()
            await self.server.tick(n)
            ended_s = time.perf_counter()
            n, planned = n + 1, planned + 1
            self.work.append(ended_s - started_s)
            self.done.append(ended_s - due_s)
            if ended_s - due_s > 10 * period_s:
                origin_s, planned, self.resets = ended_s, 0, self.resets + 1

    def end(self) -> None:
        """Say what the window had."""
        work, done = sorted(self.work), sorted(self.done)

        def quantile(values: list[float], q: float) -> float:
            return values[min(len(values) - 1, int(q * len(values)))] if values else 0.0

        say(
            "ended", seconds=time.perf_counter() - self.since_s, ticks=len(work),
            resets=self.resets - self.reset_before, tick_p50_s=quantile(work, 0.5), tick_p99_s=quantile(work, 0.99),
            done_p99_s=quantile(done, 0.99), done_p999_s=quantile(done, 0.999),
            inputs=self.server.inputs - self.inputs, clients=len(self.server.viewers),
        )  # fmt: skip


async def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trajectory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    server = Server(given.trajectory)
    app = web.Application()
    app.router.add_get("/", server.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", given.port).start()
    ticking, loop = Loop(server), asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say("listening")
    while line := (await lines.readline()).decode().strip():
        if line == "start":
            tasks.append(loop.create_task(ticking.run()))
            say("started")
        elif line == "begin":
            ticking.begin()
            say("begun")
        elif line == "end":
            ticking.end()
        else:
            break
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
