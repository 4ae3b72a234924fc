"""Thousands of clients in a world that is simulated, over WebSocket or over datagrams: physics and behaviours on.

There is no truth from outside here, so the probes check the rules of the standard only; what is measured is whether one
core holds the rate. Not responsible for: correctness of positions (the replayed cases).
"""

import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import our_probe, our_swarm
from bench.prepare import BENCH, CACHE, Tools
from bench.process import Child, core_busy_s
from bench.run import CLIENT_CORE, HELD_FRACTION, PROBES, SERVER_CORE, free_port
from bench.served import OurServer

RATE_HZ = 20
ENTITIES, PROPS = 6000, 300
"""Of the world, clients' bodies included: so many are in sight of each (``worlds/crowd.py``)."""


@dataclass(frozen=True)
class Scene:
    """A world of ``bench/worlds``, and what is asked of it. ``options``: of `isthmus serve`."""

    name: str
    world: str
    options: tuple[str, ...] = ()
    inputs_per_s: float = 10.0


@dataclass(frozen=True)
class CrowdFigures:
    """What the run measured. ``visible``: mean number of others that the probes saw."""

    clients: int
    transport: str
    ticks_per_s: float
    held: bool
    valid: bool
    violations: int
    first_violation: str | None
    lost: int
    visible: float
    cpu_s_per_s: float
    foreign_cpu_s_per_s: float
    tick_p50_s: float
    tick_p99_s: float
    tick_p999_s: float
    gap_max_s: float
    inputs_taken_per_s_client: float
    bytes_per_s_client: float
    bytes_per_entity_tick: float
    join_s: float
    rss_mib: float
    skipped: int
    """Frames that never came to a client; over datagrams those that were lost."""
    delay_p99_s: float
    """Of a frame, behind the earliest of the window."""
    swarm_cpu_s_per_s: float
    phases_s: Mapping[str, float]
    """Mean of each phase of a tick, the longest first."""

    @property
    def frame_bytes(self) -> float:
        """Mean size of what a client gets in a tick, with its WebSocket header."""
        return self.bytes_per_s_client / self.ticks_per_s


def crowd_of(clients: int) -> Scene:
    """The crowd with so many clients among its 6,000."""
    return Scene("crowd", "crowd.toml", ("--world-inhabitants-count", str(ENTITIES - PROPS - clients)))


def measure_crowd(
    tools: Tools,
    clients: int,
    window_s: float,
    settle_s: float,
    transport: str = "websocket",
    scene: Scene | None = None,
) -> CrowdFigures:
    """Run the crowd, or another scene. Raises ChildFailed when a process dies or falls silent."""
    scene = scene or crowd_of(clients)
    logs, port = CACHE / "logs", free_port()
    logs.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def child(name: str, command: list[str | Path], core: int) -> Child:
            log = logs / f"{scene.name}-{clients}-{transport}.{name}.log"
            return stack.enter_context(Child(name, command, core, log))

        world = BENCH / "worlds" / scene.world
        serve: list[str | Path] = [sys.executable, "-m", "isthmus", "serve", world, "--gateway-port", str(port)]
        serve += [*scene.options, "--gateway-datagrams", str(transport == "udp").lower()]
        server = child("server", serve, SERVER_CORE)
        served = OurServer(server, port)
        served.ready()
        probe = child("probe", our_probe(port, PROBES, transport), CLIENT_CORE)
        probe.wait("ready", 60)
        swarm_command: list[str | Path] = [
            tools.swarm, "--port", str(port), "--clients", str(clients - PROBES), "--first", str(PROBES),
            "--inputs-per-s", str(scene.inputs_per_s), *our_swarm(folder, port, PROBES, clients - PROBES, transport),
        ]  # fmt: skip
        swarm = child("swarm", swarm_command, CLIENT_CORE)
        ready = swarm.wait("ready", 120)
        time.sleep(settle_s)
        for each in (probe, swarm):
            each.say("begin")
        served.begin()
        cpu_s, busy_s, began = server.cpu_s(), core_busy_s(SERVER_CORE), time.monotonic()
        time.sleep(window_s)
        seconds = time.monotonic() - began
        cpu_s, busy_s, rss_mib = server.cpu_s() - cpu_s, core_busy_s(SERVER_CORE) - busy_s, server.rss_mib()
        for each in (swarm, probe):
            each.say("end")
        window, swarmed, probed = served.end(), swarm.wait("ended", 30), probe.wait("ended", 60)

    ticks_per_s = window["ticks"] / window["seconds"]
    visible = probed["pairs"] / max(1, probed["ticks"])
    bytes_per_s = swarmed["bytes"] / swarmed["seconds"] / max(1, swarmed["joined"])
    return CrowdFigures(
        clients=clients,
        transport=transport,
        ticks_per_s=ticks_per_s,
        held=ticks_per_s >= HELD_FRACTION * RATE_HZ,
        valid=probed["violations"] == 0 and swarmed["dead"] == 0 and probed["ticks"] > 0,
        violations=probed["violations"],
        first_violation=probed["first_violation"],
        lost=swarmed["dead"],
        visible=visible,
        cpu_s_per_s=cpu_s / seconds,
        foreign_cpu_s_per_s=max(0.0, (busy_s - cpu_s) / seconds),
        tick_p50_s=window["done_p50_s"],
        tick_p99_s=window["done_p99_s"],
        tick_p999_s=window["done_p999_s"],
        gap_max_s=swarmed["gap_max_s"],
        inputs_taken_per_s_client=window["inputs"] / window["seconds"] / clients,
        bytes_per_s_client=bytes_per_s,
        bytes_per_entity_tick=bytes_per_s / max(1.0, visible * ticks_per_s),
        join_s=ready["seconds"],
        rss_mib=rss_mib,
        skipped=swarmed["skipped"],
        delay_p99_s=swarmed["delay_p99_s"],
        swarm_cpu_s_per_s=swarmed["cpu_s"] / swarmed["seconds"],
        phases_s=window["phases_s"],
    )
