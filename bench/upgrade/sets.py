"""A cluster whose processes begin and end as StatefulSets of Kubernetes do it: by number, one after the other, by
SIGTERM, with SIGKILL for who does not end in time.

Decides what is done to the processes and when the next one's turn is: when the one before is whole again. Invariant: a
member keeps its name over all its lives, and ends by itself or the step fails. Not responsible for: what people notice
of it (``crowd``).
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bench.soak.cluster import SoakCluster, SoakFailed
from isthmus.fleet.children import END_S
from isthmus.fleet.etcd import free_port

TODAY, NEXT = "isthmus", "bench.upgrade.next_release"
"""Modules that are run: the program, and the one that stands for its next release."""


class Sets(SoakCluster):
    """``shard-0`` …, ``gateway-0`` … and ``placer-0``."""

    def __init__(
        self,
        folder: Path,
        session: aiohttp.ClientSession,
        shards: int,
        gateways: int,
        options: Sequence[str] = (),
        durable_url: str = "memory:",
    ) -> None:
        """``memory:``: what is not handed over is gone, so that nothing else than a hand-over goes unnoticed."""
        datagrams = ["--gateway-datagrams", "true", "--gateway-datagrams-port", "0"]
        # On a machine that starts processes all the time nobody shall be refused for its sake.
        datagrams += ["--limits-admission-load-ratio", "1.0"]
        super().__init__(folder, session, durable_url, shards, gateways, [*datagrams, *options])
        self._releases: dict[str, str] = {}
        self.observed = {name: free_port() for name in self.shards}
        """Ports of shards at which their figures are."""

    def program(self, name: str) -> str:
        """The module that ``name`` runs when it begins next."""
        return self._releases.get(name, TODAY)

    def own_options(self, name: str) -> Sequence[str]:
        """Shards show their figures, as they do to Prometheus."""
        port = self.observed.get(name)
        return () if port is None else ("--observe-listen", f"127.0.0.1:{port}")

    async def terminate(self, name: str) -> float:
        """SIGTERM; returns after how many seconds it had ended by itself. Raises SoakFailed if it did not."""
        process = self.children.all[name].process
        assert process is not None
        began_s = asyncio.get_running_loop().time()
        os.kill(process.pid, signal.SIGTERM)
        try:
            status = await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise SoakFailed(f"{name} did not end in {END_S:g} s; its log: {self.log(name)}") from None
        if status:
            raise SoakFailed(f"{name} ended with status {status}; its log: {self.log(name)}")
        return asyncio.get_running_loop().time() - began_s

    async def replace(self, name: str, release: str) -> float:
        """End it, and begin it in another release, until the cluster is whole; returns how long it took to end."""
        ended_s = await self.terminate(name)
        self._releases[name] = release
        await self.launch(name)
        await self.ready(name)
        return ended_s

    async def remove(self, name: str) -> float:
        """It is one too many; returns how long it took to end."""
        names = self.gateways if name in self.gateways else self.shards
        assert names[-1] == name, "the highest number ends first"
        ended_s = await self.terminate(name)
        names.remove(name)
        await self.settled()
        return ended_s

    async def add(self, name: str) -> None:
        """One more, in the release that it had last."""
        (self.gateways if name in self.urls else self.shards).append(name)
        await self.launch(name)
        await self.ready(name)

    async def ready(self, name: str) -> None:
        """Until ``name`` and all others are there. Raises SoakFailed."""
        if name in self.gateways:
            await self._answers(f"{self.urls[name]}/readyz", name)
        await self.settled()

    async def owners(self) -> dict[int, str]:
        """The owner of each region; "" for those that have none."""
        return {each["region"]: each["owner"] or "" for each in (await self.status())["regions"]}
