"""How many televisions one core serves: all on one channel, whose bytes are encoded once (docs/TV.md).

    python -m bench.channels                 # 10,000 televisions, 20 s
    python -m bench.channels --clients 2000 --seconds 10

The server (shard and gateway in one process) is pinned to one core, the televisions (loadtest/swarm) to the other.
Each television checks that no frame of its stream is missing. Delay: from the earliest arrival that any frame had after
its tick to the arrival of this one, so it is the spread over the audience and says nothing of the way to the fastest.
Before the televisions come the server is measured alone: what it uses then is the world's.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.guests import guest_tokens
from bench.prepare import BENCH, CACHE, PreparationError, prepare
from bench.process import Child, ChildFailed, core_busy_s
from bench.run import CLIENT_CORE, HELD_FRACTION, SERVER_CORE, free_port
from bench.served import OurServer
from loadtest.swarm.hellos import hello, hello_file
from protocol.layouts import SUBPROTOCOL

CHANNEL_HZ = 5.0
ALONE_S = 4.0
SETTLE_S = 4.0


@dataclass(frozen=True)
class ChannelFigures:
    """What a run measured; of the server unless named otherwise."""

    clients: int
    watching: int
    lost: int
    frames_per_s: float
    frames_per_s_client: float
    held: bool
    """Whether each television got its frames at the channel's rate, but for HELD_FRACTION."""
    keyframes: int
    """In the window: how often a television fell behind."""
    bytes_per_s_client: float
    delay_p50_s: float
    delay_p99_s: float
    delay_p999_s: float
    delay_max_s: float
    cpu_s_per_s: float
    alone_cpu_s_per_s: float
    foreign_cpu_s_per_s: float
    """Of the server's core, used by others."""
    us_per_frame: float
    ticks_per_s: float
    tick_p99_s: float
    rss_mib: float
    join_s: float
    clients_cpu_s_per_s: float


def measure(clients: int, window_s: float) -> ChannelFigures:
    """One run. Raises ChildFailed when a process dies or falls silent, PreparationError."""
    tools = prepare(with_peers=False)
    logs, port = CACHE / "logs", free_port()
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = BENCH / "worlds" / "channels.toml"
        serve: list[str | Path] = [sys.executable, "-m", "isthmus", "serve", world, "--gateway-port", str(port)]
        log = logs / f"channels-{clients}"
        server = stack.enter_context(Child("server", serve, SERVER_CORE, log.with_suffix(".server.log")))
        served = OurServer(server, port)
        served.ready()
        hellos = _hellos(folder, port, clients)
        time.sleep(1.0)
        cpu_s, began = server.cpu_s(), time.monotonic()
        time.sleep(ALONE_S)
        alone = (server.cpu_s() - cpu_s) / (time.monotonic() - began)
        command: list[str | Path] = [
            tools.swarm, "--port", str(port), "--clients", str(clients), "--mode", "tv", "--path", "/ws",
            "--protocol", SUBPROTOCOL, "--hellos", hellos, "--joins-per-s", "1000",
        ]  # fmt: skip
        audience = stack.enter_context(Child("audience", command, CLIENT_CORE, log.with_suffix(".audience.log")))
        ready = audience.wait("ready", 180)
        time.sleep(SETTLE_S)
        audience.say("begin")
        served.begin()
        cpu_s, busy_s, began = server.cpu_s(), core_busy_s(SERVER_CORE), time.monotonic()
        time.sleep(window_s)
        seconds = time.monotonic() - began
        cpu_s, busy_s, rss_mib = server.cpu_s() - cpu_s, core_busy_s(SERVER_CORE) - busy_s, server.rss_mib()
        audience.say("end")
        window, seen = served.end(), audience.wait("ended", 60)
    frames_per_s = seen["frames"] / seen["seconds"]
    each = frames_per_s / max(1, seen["joined"])
    return ChannelFigures(
        clients=clients,
        watching=seen["joined"],
        lost=seen["dead"],
        frames_per_s=frames_per_s,
        frames_per_s_client=each,
        held=each >= HELD_FRACTION * CHANNEL_HZ and seen["dead"] == 0,
        keyframes=seen["keyframes"],
        bytes_per_s_client=seen["bytes"] / seen["seconds"] / max(1, seen["joined"]),
        delay_p50_s=seen["delay_p50_s"],
        delay_p99_s=seen["delay_p99_s"],
        delay_p999_s=seen["delay_p999_s"],
        delay_max_s=seen["delay_max_s"],
        cpu_s_per_s=cpu_s / seconds,
        alone_cpu_s_per_s=alone,
        foreign_cpu_s_per_s=max(0.0, (busy_s - cpu_s) / seconds),
        us_per_frame=(cpu_s / seconds - alone) / max(1.0, frames_per_s) * 1e6,
        ticks_per_s=window["ticks"] / window["seconds"],
        tick_p99_s=window["done_p99_s"],
        rss_mib=rss_mib,
        join_s=ready["seconds"],
        clients_cpu_s_per_s=seen["cpu_s"] / seen["seconds"],
    )


def _hellos(folder: Path, port: int, clients: int) -> Path:
    names = [f"tv-{index}" for index in range(clients)]
    records = [hello(*who, "tv", "bench") for who in zip(names, guest_tokens(port, names), strict=True)]
    path = folder / "hellos.bin"
    path.write_bytes(hello_file(records))
    return path


def show(console: Console, figures: ChannelFigures) -> None:
    """A table of one run."""
    table = Table(title=f"{figures.clients} televisions on one channel of {CHANNEL_HZ:g} Hz", show_header=False)
    shown: dict[str, Any] = asdict(figures)
    for name, value in shown.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)


def main() -> int:
    """Run it; the exit status is 1 if the rate was not held, 2 if the run failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.channels", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    given, console = parser.parse_args(), Console(width=None if sys.stdout.isatty() else 120)
    try:
        figures = measure(given.clients, given.seconds)
    except (PreparationError, ChildFailed) as error:
        console.print(f"failed: {error}", markup=False)
        return 2
    show(console, figures)
    sys.stdout.write(json.dumps(asdict(figures)) + "\n")
    return 0 if figures.held else 1


if __name__ == "__main__":
    sys.exit(main())
