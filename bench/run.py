"""One run: one server on core 0, its probes and its swarm on core 1, one window of measurement.

Invariants: probes are clients 0..n-1 and the swarm is the others; figures are over the window alone; a run whose
probes found a violation, or that lost a connection, is not valid. Not responsible for: which runs there are
(``__main__``), what they are held to (``report``).
"""

import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender
from bench.prepare import CACHE, Tools
from bench.process import Child, core_busy_s
from bench.trajectory import Trajectory

PROBES = 5
HELD_FRACTION = 0.95
SERVER_CORE, CLIENT_CORE = 0, 1


@dataclass(frozen=True)
class Figures:
    """What one run measured. CPU is the server's, in seconds per second; an entity-tick is as DESIGN §9 has it."""

    contender: str
    motion: str
    clients: int
    visible: float
    seconds: float
    ticks_per_s: float
    frames_per_s_client: float
    held: bool
    valid: bool
    violations: int
    first_violation: str | None
    probe_ticks: int
    error_p999_m: float | None
    error_max_m: float
    cpu_s_per_s: float
    us_per_entity_tick: float
    bytes_per_entity_tick: float
    bytes_per_s_client: float
    bytes_per_frame: float
    messages_per_s_client: float
    inputs_per_s_client: float
    input_wire_bytes: int
    inputs_taken_per_s_client: float
    tick_p99_s: float
    tick_p999_s: float
    gap_max_s: float
    lost: int
    join_s: float
    rss_mib: float
    swarm_cpu_s_per_s: float
    foreign_cpu_s_per_s: float


def free_port() -> int:
    """A TCP port of the loopback interface that is free now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def measure(
    tools: Tools, contender: Contender, motion: Trajectory, clients: int, window_s: float, settle_s: float
) -> Figures:
    """Run one contender on one trajectory. Raises ChildFailed when a process dies or falls silent."""
    logs = CACHE / "logs"
    logs.mkdir(exist_ok=True)
    port, path, rate_hz = free_port(), motion.path.resolve(), motion.header.rate_hz
    tag = f"{contender.name}-{motion.header.motion}-{clients}-{motion.header.mean_visible:.0f}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def child(name: str, command: list[str | Path], core: int) -> Child:
            return stack.enter_context(Child(name, command, core, logs / f"{tag}.{name}.log"))

        server = child("server", contender.server(tools, path, port), SERVER_CORE)
        served = contender.talk(server, port)
        served.ready()
        probe = child("probe", contender.probe(tools, path, port, PROBES), CLIENT_CORE)
        probe.wait("ready", 60)
        command: list[str | Path] = [tools.swarm, "--port", str(port), "--clients", str(clients - PROBES)]
        command += ["--first", str(PROBES), *contender.swarm(folder, port, PROBES, clients - PROBES)]
        swarm = child("swarm", command, CLIENT_CORE)
        ready = swarm.wait("ready", 120)
        served.start()
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
    swarm_clients = max(1, clients - PROBES)
    entity_ticks_per_s = clients * motion.header.mean_visible * ticks_per_s
    swarm_entity_ticks = swarm_clients * motion.header.mean_visible * ticks_per_s * swarmed["seconds"]
    lost = swarmed["dead"]
    # A full round trip of ticks: the server counts them, and each probe has seen as many.
    seen_per_s = probed["ticks_min"] / seconds
    held = min(ticks_per_s, seen_per_s) >= HELD_FRACTION * rate_hz
    return Figures(
        contender=contender.name,
        motion=motion.header.motion,
        clients=clients,
        visible=motion.header.mean_visible,
        seconds=seconds,
        ticks_per_s=ticks_per_s,
        frames_per_s_client=swarmed["frames"] / swarmed["seconds"] / swarm_clients,
        held=held,
        valid=probed["violations"] == 0 and lost == 0 and probed["ticks"] > 0,
        violations=probed["violations"],
        first_violation=probed["first_violation"],
        probe_ticks=probed["ticks"],
        error_p999_m=probed.get("error_p999_m"),
        error_max_m=probed["error_max_m"],
        cpu_s_per_s=cpu_s / seconds,
        us_per_entity_tick=cpu_s / seconds * 1e6 / max(1.0, entity_ticks_per_s),
        bytes_per_entity_tick=swarmed["bytes"] / max(1.0, swarm_entity_ticks),
        bytes_per_s_client=swarmed["bytes"] / swarmed["seconds"] / swarm_clients,
        bytes_per_frame=swarmed["bytes"] / max(1, swarmed["frames"]),
        messages_per_s_client=swarmed["messages"] / swarmed["seconds"] / swarm_clients,
        inputs_per_s_client=swarmed["inputs"] / swarmed["seconds"] / swarm_clients,
        input_wire_bytes=swarmed["input_wire_bytes"],
        inputs_taken_per_s_client=window["inputs"] / window["seconds"] / clients,
        tick_p99_s=window["done_p99_s"],
        tick_p999_s=window["done_p999_s"],
        gap_max_s=swarmed["gap_max_s"],
        lost=lost,
        join_s=ready["seconds"],
        rss_mib=rss_mib,
        swarm_cpu_s_per_s=swarmed["cpu_s"] / swarmed["seconds"],
        foreign_cpu_s_per_s=max(0.0, (busy_s - cpu_s) / seconds),
    )
