"""One process as operators see it: a registry, recorded ticks, and the two doors to them.

Decides where both doors are. ``observe.listen``: /metrics, /healthz and /readyz over HTTP for Prometheus and
Kubernetes, which come by address, so Host is not checked; nothing there changes anything. The *control socket*, a file
that its owner alone may open: recordings and flame graphs (``control``), which cost time and show code. Invariants: a
process whose control socket cannot be made says so and runs without; both doors close with the process. Not
responsible for: what is counted (``fleet.figures``, ``server.metrics``), clients' HTTP (``server.http.app``).
"""

import asyncio
import os
import time
from collections.abc import Callable
from importlib.metadata import version as installed_version
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from isthmus.config import Config
from isthmus.durable import FOLDER
from isthmus.observe.certificates import ends_of
from isthmus.observe.cgroup import limit_bytes
from isthmus.observe.control import Control, routes
from isthmus.observe.ticks import Recorder
from server.http.health import Health
from server.metrics import Pace, Totals, new_registry

_log = structlog.get_logger(__name__)
ALIVE_S = 10.0
"""A process that has made no tick for so long is not coming back by itself."""
LOOK_S = 0.25
"""So often a timer of the event loop is timed."""
CERTIFICATES_S = 60.0
"""So often certificates are read again: they are renewed in place."""
CONTROL = FOLDER / "control"
"""Where control sockets are, unless the options say otherwise: beside where the process was started."""


def listen_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` in two. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ValueError(f"{text!r} is not host:port, as 127.0.0.1:9464")
    return host.strip("[]"), int(port)


class Observed:
    """Of one process called ``name`` (letters, digits, ``._-``), of a ``kind`` (gateway, shard, placer, serve).
    ``registry`` and ``pace``: those that it has already, if it has."""

    def __init__(
        self,
        config: Config,
        name: str,
        kind: str,
        recorder: Recorder | None = None,
        registry: CollectorRegistry | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.name = name
        self.registry = new_registry() if registry is None else registry
        self.pace = Pace(self.registry) if pace is None else pace
        self.recorder = Recorder() if recorder is None else recorder
        self.address: tuple[str, int] | None = None
        """Where ``observe.listen`` turned out to be."""
        self.refresh: Callable[[], None] = lambda: None
        """Called before figures are shown, to bring gauges up to date."""
        self.after_tick: Callable[[], None] | None = None
        """Called when a tick was made."""
        self._config = config
        self._alive_s = time.monotonic()
        self._runners: list[web.AppRunner] = []
        self._socket: Path | None = None
        self._lag: asyncio.Task[None] | None = None
        self._totals = Totals()
        self._certificates_s = float("-inf")
        self.pace.build_info.labels(installed_version("isthmus"), "1", kind).set(1)
        self.pace.memory_limit_bytes.set(limit_bytes() or 0)

    # --------------------------------------------------------------------------------------------------------- ticks
    def ticked(
        self, tick: int, planned_s: float, begun_s: float, ended_s: float, ticks: int = 1, level: int = 0
    ) -> None:
        """A tick was made."""
        self._alive_s = ended_s
        self.recorder.phases.begin("")
        self.pace.note(planned_s, begun_s, ended_s, ticks)
        self.pace.shed_level.set(level)
        self.recorder.ticked(tick, planned_s, begun_s, ended_s, ticks, level)
        if self.after_tick is not None:
            self.after_tick()

    def alive(self) -> bool:
        """Whether ticks are made; a process that has just begun has time to."""
        return time.monotonic() - self._alive_s < ALIVE_S

    def exposition(self) -> bytes:
        """What /metrics says."""
        self.refresh()
        for phase, seconds in self.recorder.phases.seconds.items():
            self._totals.add(self.pace.phase_seconds.labels(phase), seconds)
        self._read_certificates()
        return generate_latest(self.registry)

    def _read_certificates(self) -> None:
        now_s = time.monotonic()
        if now_s - self._certificates_s >= CERTIFICATES_S:
            self._certificates_s = now_s
            for what, ends_s in ends_of(self._config).items():
                self.pace.certificate_ends.labels(what).set(ends_s)

    # --------------------------------------------------------------------------------------------------------- doors
    async def open(self, ready: Callable[[], bool], warnings: Callable[[], list[str]] = list) -> None:
        """Open both doors, if the options want them. Raises OSError if the address cannot be had, ValueError if it is
        none."""
        self._alive_s = time.monotonic()
        self.recorder.watch_collections()
        self._lag = asyncio.get_running_loop().create_task(self._time_the_loop())
        own = self._config.observe
        if own.listen is not None:
            app = web.Application()
            Health(self.alive, ready, warnings, self.exposition).serve_on(app.router)
            host, port = listen_address(own.listen)
            runner = await self._runner(app)
            await web.TCPSite(runner, host, port).start()
            told = runner.addresses[0]
            self.address = str(told[0]), int(told[1])
            _log.info("observed_at", member=self.name, host=self.address[0], port=self.address[1])
        if own.control:
            try:
                await self._open_control(CONTROL if own.control_path is None else Path(own.control_path))
            except OSError as problem:
                _log.warning("control_off", member=self.name, why=str(problem))

    async def _open_control(self, folder: Path) -> None:
        # Bound under a name of its own and renamed: whoever comes second under a name takes it, and nobody finds a
        # socket that others may open.
        draft = _room_for(folder, f"{self.name}.{os.getpid()}")
        app = web.Application()
        routes(app.router, Control(self.name, self.recorder))
        runner = await self._runner(app)
        before = os.umask(0o177)
        try:
            await web.UnixSite(runner, str(draft)).start()
        finally:
            os.umask(before)
        self._socket = folder / f"{self.name}.sock"
        os.replace(draft, self._socket)

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None)
        self._runners.append(runner)
        await runner.setup()
        return runner

    async def close(self) -> None:
        """Close both doors. Idempotent."""
        if self._lag is not None:
            self._lag.cancel()
            self._lag = None
            self.recorder.ignore_collections()
        if self._socket is not None:
            _remove(self._socket)
            self._socket = None
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _time_the_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.pace.loop_lag_seconds.observe(max(0.0, loop.time() - due_s))


def _room_for(folder: Path, name: str) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    _remove(path)
    return path


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
