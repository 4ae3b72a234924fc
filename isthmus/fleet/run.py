"""``isthmus cluster``: a whole cluster on one machine, until a signal comes.

Decides who is started in which order and with which options. Its own etcd begins empty each time: what is in the world
is in its durable store, and goes on from there (``agreed``). Not responsible for: keeping children alive
(``children``), what they do.
"""

import asyncio
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence

import aiohttp
import structlog
import uvloop
from rich.console import Console

from isthmus.config import Config
from isthmus.fleet.beside import FOLDER, forget_endpoint, write_endpoint
from isthmus.fleet.children import AFTER_DRAIN_S, Child, Children
from isthmus.fleet.etcd import EtcdMissingError, EtcdServer, find, free_port
from isthmus.fleet.setup import make_key
from isthmus.logging import configure
from isthmus.warmup import warm_up

_log = structlog.get_logger(__name__)
EXIT_UNAVAILABLE = 69
"""EX_UNAVAILABLE of sysexits.h."""
READY_S = 60.0
ETCD_S = 15.0
STORE, PLACER, SHARDS, GATEWAYS = range(4)
"""Stages: later ones end first, so that nobody loses what it stands on."""


class ClusterFailed(Exception):
    """The cluster does not come up; the text says why and where to look."""


def run(config: Config, world_file: str, flags: Mapping[str, str], shards: int, gateways: int) -> None:
    """Run a cluster until SIGINT or SIGTERM. ``flags``: options given on the command line, handed on to all."""
    configure(config.logging)
    warm_up()
    fleet = Fleet(config, world_file, flags, shards, gateways)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(fleet.run())
    except (ClusterFailed, EtcdMissingError, OSError) as error:
        Console(stderr=True).print(f"isthmus: {error}", style="bold red", markup=False)
        sys.exit(EXIT_UNAVAILABLE)


class Fleet:
    """The processes of one cluster, and where they put their logs (``beside``)."""

    def __init__(self, config: Config, world_file: str, flags: Mapping[str, str], shards: int, gateways: int) -> None:
        self.config = config
        self.world_file = world_file
        self.folder = FOLDER.absolute()
        self._flags = dict(flags)
        self._shards, self._gateways = shards, gateways
        self._children = Children(end_s=config.cluster.drain_s + AFTER_DRAIN_S)
        self._members = 0
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Start all, say where the page is, wait. Raises ClusterFailed, EtcdMissingError, OSError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._start()
            stopping = loop.create_task(self._stop.wait())
            failing = loop.create_task(self._children.over.wait())
            await asyncio.wait((stopping, failing), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            failing.cancel()
            if self._children.failed is not None:
                raise ClusterFailed(self._children.failed)
        finally:
            await self._children.end()
            forget_endpoint(self.folder)

    async def _start(self) -> None:
        options = await self._store()
        own = self.config.cluster
        if own.key_path is None and own.link_ca_path is None:
            key = self.folder / "cluster.key"
            make_key(key)
            options["cluster.key_path"] = str(key)
        await self._member("placer", "placer-0", PLACER, options)
        for k in range(self._shards):
            await self._member("shard", f"shard-{k}", SHARDS, options)
        urls = []
        for k in range(self._gateways):
            port = self.config.gateway.port and self.config.gateway.port + k
            port = port or free_port()
            ports = {"gateway.port": str(port)}
            for option in ("datagrams_port", "webtransport_port"):
                if first := getattr(self.config.gateway, option):
                    ports[f"gateway.{option}"] = str(first + k)
            await self._member("gateway", f"gateway-{k}", GATEWAYS, {**options, **ports})
            urls.append(self._url(port))
        for url in urls:
            await self._answers(f"{url}readyz", READY_S, "a gateway")
            sys.stdout.write(f"Serving {self.config.world.name} at {url}\n")
        if "cluster.etcd_endpoints" in options:
            sys.stdout.write(f"etcd, for isthmus region and drain: {options['cluster.etcd_endpoints']}\n")
        sys.stdout.write(f"Logs of all processes: {self.folder}\n")
        sys.stdout.flush()

    async def _store(self) -> dict[str, str]:
        """An etcd of our own, unless one is named; the options by which members find it."""
        if self.config.cluster.etcd_endpoints:
            return {}
        data = self.folder / "etcd"
        shutil.rmtree(data, ignore_errors=True)
        server = EtcdServer(find(), data, free_port(), free_port())
        await self._children.start(Child("etcd", server.command(), STORE, self.folder / "etcd.log"))
        await self._answers(f"{server.endpoint}/health", ETCD_S, "etcd")
        write_endpoint(self.folder, server.endpoint)
        return {"cluster.etcd_endpoints": server.endpoint}

    async def _member(self, command: str, name: str, stage: int, options: Mapping[str, str]) -> None:
        given = {**self._flags, **options, "cluster.member": name, **self._observed()}
        line = [sys.executable, "-m", "isthmus", command, self.world_file, *_as_flags(given)]
        await self._children.start(Child(name, line, stage, self.folder / f"{name}.log"))

    def _observed(self) -> dict[str, str]:
        """Where the next member is to be observed, if at all: each needs a port of its own."""
        listen = self.config.observe.listen
        if listen is None:
            return {}
        host, _, port = listen.rpartition(":")
        self._members += 1
        return {"observe.listen": f"{host}:{int(port) + self._members - 1 if int(port) else 0}"}

    def _url(self, port: int) -> str:
        scheme = "http" if self.config.gateway.tls_cert_path is None else "https"
        host = self.config.gateway.host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    async def _answers(self, url: str, within_s: float, who: str) -> None:
        """Wait until ``url`` says 200. Raises ClusterFailed."""
        try:
            async with asyncio.timeout(within_s), aiohttp.ClientSession() as session:
                while self._children.failed is None and not self._stop.is_set():
                    try:
                        async with session.get(url, ssl=False) as answer:
                            if answer.status == 200:
                                return
                    except aiohttp.ClientError as problem:
                        _log.debug("not_yet", who=who, why=str(problem))
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise ClusterFailed(f"{who} is not ready after {within_s:g} s; the logs: {self.folder}") from None
        if self._children.failed is not None:
            raise ClusterFailed(self._children.failed)


def _as_flags(options: Mapping[str, str]) -> Sequence[str]:
    flags: list[str] = []
    for key, value in options.items():
        flags += [f"--{key.replace('.', '-').replace('_', '-')}", value]
    return flags
