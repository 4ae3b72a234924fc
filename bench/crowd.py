"""2,000 clients in a world that is simulated: physics and behaviours on, nothing replayed.

There is no truth from outside here, so the probes check the rules of the standard only; what is measured is whether one
core holds the rate. Not responsible for: correctness of positions (the replayed cases).
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import our_swarm
from bench.prepare import BENCH, CACHE, Tools
from bench.process import Child, core_busy_s
from bench.run import CLIENT_CORE, HELD_FRACTION, PROBES, SERVER_CORE, free_port
from bench.served import OurServer

RATE_HZ = 20


@dataclass(frozen=True)
class CrowdFigures:
    """What the run measured. ``visible``: mean number of others that the probes saw."""

    clients: int
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
    join_s: float
    rss_mib: float


def measure_crowd(tools: Tools, clients: int, window_s: float, settle_s: float) -> CrowdFigures:
    """Run the crowd. Raises ChildFailed when a process dies or falls silent."""
    logs, port = CACHE / "logs", free_port()
    logs.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def child(name: str, command: list[str | Path], core: int) -> Child:
            return stack.enter_context(Child(name, command, core, logs / f"crowd-{clients}.{name}.log"))

        world = BENCH / "worlds" / "crowd.toml"
        serve: list[str | Path] = [sys.executable, "-m", "isthmus", "serve", world, "--gateway-port", str(port)]
        server = child("server", serve, SERVER_CORE)
        served = OurServer(server, port)
        served.ready()
        follow: list[str | Path] = [sys.executable, "-m", "bench.probe", "--clients", str(PROBES), "--port", str(port)]
        probe = child("probe", follow, CLIENT_CORE)
        probe.wait("ready", 60)
        swarm_command: list[str | Path] = [
            tools.swarm, "--port", str(port), "--clients", str(clients - PROBES), "--first", str(PROBES),
            *our_swarm(folder, port, PROBES, clients - PROBES),
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
    return CrowdFigures(
        clients=clients,
        ticks_per_s=ticks_per_s,
        held=ticks_per_s >= HELD_FRACTION * RATE_HZ,
        valid=probed["violations"] == 0 and swarmed["dead"] == 0 and probed["ticks"] > 0,
        violations=probed["violations"],
        first_violation=probed["first_violation"],
        lost=swarmed["dead"],
        visible=probed["pairs"] / max(1, probed["ticks"]),
        cpu_s_per_s=cpu_s / seconds,
        foreign_cpu_s_per_s=max(0.0, (busy_s - cpu_s) / seconds),
        tick_p50_s=window["done_p50_s"],
        tick_p99_s=window["done_p99_s"],
        tick_p999_s=window["done_p999_s"],
        gap_max_s=swarmed["gap_max_s"],
        inputs_taken_per_s_client=window["inputs"] / window["seconds"] / clients,
        bytes_per_s_client=swarmed["bytes"] / swarmed["seconds"] / max(1, swarmed["joined"]),
        join_s=ready["seconds"],
        rss_mib=rss_mib,
    )
