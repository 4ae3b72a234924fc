"""The soak's cluster: etcd, a placer, shards and gateways as `isthmus cluster` starts them (``fleet.children``), on a
PostgreSQL of its own.

Decides the command lines, and who has to outlive the whole soak: ``shard-0`` and ``gateway-0`` are never killed nor
drained, so that growth shows over all of it. Invariant: a name has one process at a time. Not responsible for: what
happens to them (``troubles``).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from bench.prepare import BENCH
from isthmus.fleet.children import Child, Children
from isthmus.fleet.etcd import EtcdServer, find, free_port
from isthmus.fleet.setup import make_key

WORLD = BENCH / "worlds" / "soak.toml"
STORE, PLACER, SHARDS, GATEWAYS = range(4)
PATIENCE_S = 60.0
LOOK_S = 0.2


class SoakFailed(Exception):
    """The soak cannot go on; the text says why."""


async def until(what: str, holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait for something. Raises SoakFailed."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + patience_s
    while not holds():
        if loop.time() > end_s:
            raise SoakFailed(f"waited {patience_s:g} s for: {what}")
        await asyncio.sleep(LOOK_S)


class SoakCluster:
    """``start`` it, ``end`` it. ``urls``: of gateways, by name."""

    def __init__(
        self,
        folder: Path,
        session: aiohttp.ClientSession,
        durable_url: str,
        shards: int,
        gateways: int,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.session = session
        self.children = Children()
        self.etcd = EtcdServer(find(), folder / "etcd", free_port(), free_port())
        key = folder / "cluster.key"
        make_key(key)
        self._options = ["--cluster-etcd-endpoints", self.etcd.endpoint, "--cluster-key-path", str(key)]
        self._options += ["--durable-url", durable_url, *options]
        self.shards = [f"shard-{k}" for k in range(shards)]
        self.gateways = [f"gateway-{k}" for k in range(gateways)]
        self._ports = {name: free_port() for name in self.gateways}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()}

    @property
    def mortal_shards(self) -> list[str]:
        """Those that may be killed and drained."""
        return self.shards[1:]

    @property
    def mortal_gateways(self) -> list[str]:
        """Those that may be killed and drained."""
        return self.gateways[1:]

    def log(self, name: str) -> Path:
        """Where a process writes its log; its next life goes on in the same file."""
        return self.folder / f"{name}.log"

    def pid(self, name: str) -> int | None:
        """Of a process that runs now."""
        process = self.children.all[name].process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Until all gateways take people. Raises SoakFailed, OSError, EtcdMissingError."""
        await self.children.start(Child("etcd", self.etcd.command(), STORE, self.log("etcd")))
        await self._answers(f"{self.etcd.endpoint}/health", "etcd")
        for name in self.shards:
            await self.launch(name)
        await self.launch("placer-0")
        for name in self.gateways:
            await self.launch(name)
        for url in self.urls.values():
            await self._answers(f"{url}/readyz", url)

    def program(self, name: str) -> str:
        """The module that ``name`` runs."""
        return "isthmus"

    def own_options(self, name: str) -> Sequence[str]:
        """What ``name`` alone is told."""
        return ()

    async def launch(self, name: str) -> None:
        """Start a member, for the first time or again after it was drained."""
        kind = name.partition("-")[0]
        options = [*self._options, "--cluster-member", name]
        if kind == "gateway":
            options += ["--gateway-port", str(self._ports[name])]
        options += self.own_options(name)
        line = [sys.executable, "-m", self.program(name), kind, str(WORLD), *options]
        stage = {"placer": PLACER, "shard": SHARDS, "gateway": GATEWAYS}[kind]
        await self.children.start(Child(name, line, stage, self.log(name)))

    def kill(self, name: str) -> None:
        """kill -9; it is started again under its name. Raises SoakFailed if it does not run."""
        pid = self.pid(name)
        if pid is None:
            raise SoakFailed(f"{name} does not run")
        os.kill(pid, signal.SIGKILL)

    async def command(self, *words: str) -> str:
        """What `isthmus words[0] WORLD.toml ...` prints, as an operator runs it. Raises SoakFailed with its text."""
        line = [sys.executable, "-m", "isthmus", *words, "--cluster-etcd-endpoints", self.etcd.endpoint]
        shown = " ".join(Path(word).name if "/" in word else word for word in words)
        process = await asyncio.create_subprocess_exec(
            *line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=self.folder
        )
        try:
            told, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise SoakFailed(f"`isthmus {shown}` did not end in {PATIENCE_S:g} s") from None
        text = told.decode(errors="replace").strip()
        if process.returncode:
            raise SoakFailed(f"`isthmus {shown}` ended with {process.returncode}: {text[-300:]}")
        return text

    async def status(self, gateway: str = "gateway-0") -> dict[str, Any]:
        """What a gateway says of itself and of the cluster; gateway-0 outlives all."""
        async with self.session.get(f"{self.urls[gateway]}/api/status") as answer:
            return dict(await answer.json())

    def whole(self, status: dict[str, Any]) -> bool:
        """Whether everybody is a member and every region has an owner."""
        there = {member["member"] for member in status["members"]}
        wanted = {*self.shards, *self.gateways, "placer-0"}
        return there == wanted and not status["regions_without_owner"] and status["regions_total"] > 0

    async def settled(self) -> None:
        """Wait until the cluster is whole. Raises SoakFailed with what is missing."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + PATIENCE_S
        while not self.whole(status := await self.status()):
            if loop.time() > end_s:
                there = [member["member"] for member in status["members"]]
                raise SoakFailed(
                    f"not whole after {PATIENCE_S:g} s: members {there}, {status['regions_without_owner']} regions "
                    "without an owner"
                )
            await asyncio.sleep(LOOK_S)

    async def _answers(self, url: str, who: str) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 2 * PATIENCE_S
        while True:
            if self.children.failed is not None:
                raise SoakFailed(self.children.failed)
            try:
                async with self.session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass  # not listening yet; that it ever does is what is waited for
            if loop.time() > end_s:
                raise SoakFailed(f"{who} is not ready; the logs: {self.folder}")
            await asyncio.sleep(LOOK_S)
