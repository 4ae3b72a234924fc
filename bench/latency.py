"""From one client's input to another client's frame: ours over WebSocket and over UDP, and Colyseus, in the same run.

Each round runs all three, one after the other, at a number of clients that Colyseus holds: the largest of CLIENTS that
it does in a trial before. In all servers an input that has come before a tick is simulated in it, and the state of that
tick is sent when it is over: Colyseus is called from the fixed schedule of ``peers/common.mjs`` and sends its patch at
once (``broadcastPatch`` behind each tick instead of its own timer, which would add up to a tick). Clients that are
measured join spread among all others, so that they are neither the first to be told nor the last.

Decides: which runs there are, what is valid, what is judged. Not responsible for: taking delays (``marked``,
``peers/marked.mjs``).
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.contenders import Command, our_swarm
from bench.marked import MARKED, TICK_S, plan_of
from bench.prepare import BENCH, CACHE, Tools
from bench.process import Child, core_busy_s
from bench.report import Target
from bench.run import CLIENT_CORE, HELD_FRACTION, SERVER_CORE, free_port
from bench.served import OurServer, PeerServer, Served
from bench.trajectory import RATE_HZ, Trajectory, ensure

CLIENTS = (300, 200, 150, 100, 50)
OURS_WS, OURS_UDP, COLYSEUS = "isthmus", "isthmus-udp", "colyseus-ws"
"""Over UDP are all clients of that run, the swarm's too."""
CONTENDERS = (OURS_WS, OURS_UDP, COLYSEUS)
VISIBLE, ENTITIES_PER_CLIENT = 50, 10
ROUNDS = 3
JOIN_S, SETTLE_S, WINDOW_S, TRIAL_S = 3.0, 2.0, 15.0, 4.0
MISSED_MAX = 0.01
"""Part of the marks that may never have been seen, because the next one came first, in a valid run."""


@dataclass(frozen=True)
class Delays:
    """What one run measured, milliseconds; ``asked_*``: from when the client's program asked for the input, not from
    when it went out; ``by_kind``: p50 of each kind of mark."""

    contender: str
    clients: int
    visible: float
    events: int
    missed: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    asked_p50_ms: float
    asked_p99_ms: float
    by_kind: dict[str, float]
    ticks_per_s: float
    tick_p99_ms: float
    held: bool
    lost: int
    cpu_s_per_s: float
    foreign_cpu_s_per_s: float

    @property
    def valid(self) -> bool:
        """Whether the run may be judged."""
        return self.held and not self.lost and self.events > 0 and self.missed <= MISSED_MAX * self.events


def _server(name: str, tools: Tools, motion: Trajectory, port: int, clients: int) -> Command:
    if name == COLYSEUS:
        assert tools.node24 is not None
        command: Command = [tools.node24, tools.peers / "colyseus.mjs", "--transport", "ws", "--port", str(port)]
        return [*command, "--trajectory", motion.path.resolve(), "--steered", str(clients), "--marked", str(MARKED)]
    world = BENCH / "worlds" / "latency.toml"
    command = [sys.executable, "-m", "isthmus", "serve", world, "--gateway-port", str(port)]
    command += ["--world-inhabitants-count", str((ENTITIES_PER_CLIENT - 1) * clients)]
    return [*command, "--gateway-datagrams", "true"] if name == OURS_UDP else command


def _marked(name: str, tools: Tools, folder: Path, port: int, seconds: float, seed: int) -> Command:
    times = ["--join-s", str(JOIN_S), "--seconds", str(seconds)]
    if name == COLYSEUS:
        assert tools.node24 is not None
        plans = folder / "plans.json"
        each = [[asdict(mark) for mark in plan_of(number, seconds, seed)] for number in range(MARKED)]
        plans.write_text(json.dumps(each))
        return [tools.node24, tools.peers / "marked.mjs", "--port", str(port), "--plans", plans, *times]
    command: Command = [sys.executable, "-m", "bench.marked", "--port", str(port), "--clients", str(MARKED)]
    command += [*times, "--seed", str(seed)]
    return [*command, "--datagrams"] if name == OURS_UDP else command


def _swarm(name: str, tools: Tools, folder: Path, port: int, clients: int) -> Command:
    others = clients - MARKED
    command: Command = [tools.swarm, "--port", str(port), "--clients", str(others), "--first", str(MARKED)]
    command += ["--joins-per-s", str(others / JOIN_S)]
    if name == COLYSEUS:
        return [*command, "--mode", "colyseus"]
    return [*command, *our_swarm(folder, port, MARKED, others, "udp" if name == OURS_UDP else "websocket")]


def measure_delays(tools: Tools, name: str, clients: int, window_s: float, seed: int) -> Delays:
    """One run. Raises ChildFailed when a process dies or falls silent."""
    logs, port = CACHE / "logs", free_port()
    logs.mkdir(exist_ok=True)
    motion = ensure(CACHE / "trajectories", "restless", clients, ENTITIES_PER_CLIENT * clients, VISIBLE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def child(part: str, command: Command, core: int) -> Child:
            return stack.enter_context(Child(part, command, core, logs / f"latency-{name}-{clients}.{part}.log"))

        server = child("server", _server(name, tools, motion, port, clients), SERVER_CORE)
        served: Served = PeerServer(server) if name == COLYSEUS else OurServer(server, port)
        served.ready()
        marked = child("marked", _marked(name, tools, folder, port, window_s, seed), CLIENT_CORE)
        marked.wait("prepared", 60)
        swarm = child("swarm", _swarm(name, tools, folder, port, clients), CLIENT_CORE)
        marked.say("join")
        served.start()
        marked.wait("ready", 60)
        swarm.wait("ready", 60)
        time.sleep(SETTLE_S)

        for each in (swarm, marked):
            each.say("begin")
        served.begin()
        cpu_s, busy_s, began = server.cpu_s(), core_busy_s(SERVER_CORE), time.monotonic()
        told = marked.wait("ended", window_s + 30)
        seconds = time.monotonic() - began
        cpu_s, busy_s = server.cpu_s() - cpu_s, core_busy_s(SERVER_CORE) - busy_s
        window = served.end()
        swarm.say("end")
        swarmed = swarm.wait("ended", 30)
    return delays_of(name, clients, told, window, int(swarmed["dead"]), cpu_s / seconds, (busy_s - cpu_s) / seconds)


def delays_of(
    name: str, clients: int, told: dict[str, Any], window: dict[str, Any], dead: int, cpu: float, foreign: float
) -> Delays:
    """From what the measured clients and the server ``told`` of a window."""
    seen = [mark for mark in told["marks"] if mark["delay_ms"] is not None]
    delay = np.array([mark["delay_ms"] for mark in seen] or [np.nan])
    asked = np.array([mark["asked_ms"] for mark in seen] or [np.nan])
    kinds = dict.fromkeys(mark["kind"] for mark in seen)
    ticks_per_s = window["ticks"] / window["seconds"]
    return Delays(
        contender=name,
        clients=clients,
        visible=told["visible"],
        events=len(told["marks"]),
        missed=len(told["marks"]) - len(seen),
        p50_ms=float(np.percentile(delay, 50)),
        p90_ms=float(np.percentile(delay, 90)),
        p99_ms=float(np.percentile(delay, 99)),
        max_ms=float(delay.max()),
        asked_p50_ms=float(np.percentile(asked, 50)),
        asked_p99_ms=float(np.percentile(asked, 99)),
        by_kind={kind: median(mark["delay_ms"] for mark in seen if mark["kind"] == kind) for kind in kinds},
        ticks_per_s=ticks_per_s,
        tick_p99_ms=1000 * window["done_p99_s"],
        held=ticks_per_s >= HELD_FRACTION * RATE_HZ,
        lost=dead + told["losses"],
        cpu_s_per_s=cpu,
        foreign_cpu_s_per_s=max(0.0, foreign),
    )


def measure_latency(
    console: Console, tools: Tools, rounds: int = ROUNDS, sizes: Sequence[int] = CLIENTS, window_s: float = WINDOW_S
) -> list[dict[str, Delays]]:
    """All rounds, at the largest of ``sizes`` that Colyseus holds (else the smallest)."""
    clients = sizes[-1]
    for clients in sizes:
        console.print(f"latency: does {COLYSEUS} hold {clients} clients? ...", style="dim")
        trial = measure_delays(tools, COLYSEUS, clients, TRIAL_S, 0)
        if trial.held and trial.tick_p99_ms < 1000 * TICK_S:
            break
    found = []
    for number in range(rounds):
        delays = {}
        for name in CONTENDERS:
            console.print(f"latency, {clients} clients: {name} ...", style="dim")
            delays[name] = measure_delays(tools, name, clients, window_s, number + 1)
        found.append(delays)
    return found


def latency_ratio(rounds: Sequence[dict[str, Delays]], ours: str, figure: str) -> float | None:
    """Median over rounds of our figure over Colyseus's."""
    ratios = [getattr(delays[ours], figure) / getattr(delays[COLYSEUS], figure) for delays in rounds]
    return median(ratios) if ratios else None


def latency_targets(rounds: Sequence[dict[str, Delays]]) -> list[Target]:
    """Lower than Colyseus's, by either way."""
    return [
        Target(f"input to other's frame, {part}: ours over {way} / Colyseus", latency_ratio(rounds, ours, figure), 1.0)
        for ours, way in ((OURS_WS, "WebSocket"), (OURS_UDP, "UDP"))
        for part, figure in (("p50", "p50_ms"), ("p99", "p99_ms"))
    ]


def show_latency(console: Console, rounds: Sequence[dict[str, Delays]]) -> None:
    """Print each run as a line."""
    table = Table(title="input to another client's frame", title_justify="left", box=None, pad_edge=False)
    for heading in (
        "server", "round", "clients", "visible", "events", "p50 ms", "p90 ms", "p99 ms", "max ms", "asked p50 / p99 ms",
        "start / turn / stop p50 ms", "ticks/s", "tick p99 ms", "CPU s/s", "foreign CPU", "",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in ("server", "") else "right")
    for number, delays in enumerate(rounds, start=1):
        for name, d in delays.items():
            remarks = [] if d.valid else [f"[red]INVALID[/red]: {d.missed} never seen, {d.lost} lost"]
            if not d.held:
                remarks.append("did not hold")
            table.add_row(
                name, str(number), str(d.clients), f"{d.visible:.0f}", str(d.events), f"{d.p50_ms:.1f}",
                f"{d.p90_ms:.1f}", f"{d.p99_ms:.1f}", f"{d.max_ms:.1f}", f"{d.asked_p50_ms:.1f} / {d.asked_p99_ms:.1f}",
                " / ".join(f"{d.by_kind.get(kind, np.nan):.1f}" for kind in ("start", "turn", "stop")),
                f"{d.ticks_per_s:.1f}", f"{d.tick_p99_ms:.1f}", f"{d.cpu_s_per_s:.3f}", f"{d.foreign_cpu_s_per_s:.2f}",
                "; ".join(remarks),
            )  # fmt: skip
    console.print(table, "")
