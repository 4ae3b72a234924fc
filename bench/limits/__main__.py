"""``python -m bench.limits``: scenes at their promised size, and crowds that grow until one core does not hold them.

Exit status: 0 when every promise is kept, 1 when one is not, 2 when a run was invalid or a process failed. Not
responsible for: other servers (``bench.document``), whole clusters (``bench.capacity``).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console

from bench.crowd import RATE_HZ, CrowdFigures, Scene, measure_crowd
from bench.floor import calls_alone
from bench.limits.page import Growth, Limits, page, promises
from bench.prepare import BENCH, CACHE, PreparationError, Tools, prepare
from bench.process import Child, ChildFailed
from bench.run import SERVER_CORE, free_port
from bench.served import OurServer

DOCS = BENCH.parent / "docs"
STADIUM = Scene("stadium", "stadium.toml")
WIDE = Scene("wide", "wide.toml")
RESTING = Scene("resting", "wide.toml", inputs_per_s=0)
STEPS = (2000, 3000, 3500, 4000, 4500, 5000)
WINDOW_S, SETTLE_S = 12.0, 6.0
INPUT_BYTES = 33
"""Of an INPUT with its WebSocket header, as the swarm says it."""
NEVER_PER_S = 0.001
STARTS = 3


def start_s() -> float:
    """Median time from the start of a process to its readiness, with compiled kernels in the cache."""
    took = []
    for number in range(STARTS + 1):
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            world = BENCH / "worlds" / "crowd.toml"
            command: list[str | Path] = [sys.executable, "-m", "isthmus", "serve", world, "--gateway-port", str(port)]
            begun = time.monotonic()
            with Child("server", command, SERVER_CORE, CACHE / "logs" / "start.log", Path(folder)) as child:
                OurServer(child, port).ready()
                if number:  # the first one fills the caches of the disk
                    took.append(time.monotonic() - begun)
    return median(took)


def grow(console: Console, tools: Tools, transport: str) -> Growth:
    """Crowds of STEPS clients until one is not held; the first size is not judged by its memory alone."""
    runs: list[CrowdFigures] = []
    for clients in STEPS:
        console.print(f"crowd of {clients} over {transport} ...", style="dim")
        try:
            runs.append(measure_crowd(tools, clients, WINDOW_S, SETTLE_S, transport))
        except ChildFailed as error:
            return Growth(transport, runs, str(error).splitlines()[0])
        if not runs[-1].held or not runs[-1].valid:
            break
    return Growth(transport, runs, None)


def main() -> int:
    """Measure, say, and write if asked to; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/limits.md")
    parser.add_argument("--quick", action="store_true", help="the promised sizes alone: nothing grows")
    given = parser.parse_args()
    console = Console(stderr=True)
    try:
        tools = prepare(with_peers=False)
        (CACHE / "logs").mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "isthmus", "warmup"], check=True, stdout=subprocess.DEVNULL)
        console.print("start ...", style="dim")
        ready_s = start_s()
        scenes = {}
        for name, scene, clients in (("stadium", STADIUM, 1000), ("wide", WIDE, 500), ("resting", RESTING, 500)):
            console.print(f"{name} ...", style="dim")
            scenes[name] = measure_crowd(tools, clients, WINDOW_S, SETTLE_S, scene=scene)
        few = measure_crowd(tools, 500, WINDOW_S / 2, SETTLE_S)
        many = measure_crowd(tools, 3000, WINDOW_S, SETTLE_S)
        alone_us = {
            "send": calls_alone(tools, many.clients, many.frame_bytes, RATE_HZ, INPUT_BYTES, 0.0, 3.0)["us_per_call"],
            "receive": calls_alone(
                tools, many.clients, many.frame_bytes, NEVER_PER_S, INPUT_BYTES, many.inputs_taken_per_s_client, 3.0
            )["us_per_call"],
        }
        growths = [] if given.quick else [grow(console, tools, transport) for transport in ("websocket", "udp")]
    except (PreparationError, ChildFailed) as error:
        console.print(f"[red]failed[/red]: {error}", markup=True, highlight=False)
        return 2
    limits = Limits(ready_s, scenes, few, many, growths, alone_us)
    kept = promises(limits)
    text = page(limits)
    if given.write:
        (DOCS / "limits.md").write_text(text)
    sys.stdout.write(text)
    runs = [*scenes.values(), few, many]
    if not all(run.valid for run in runs):
        wrong = [str(run.first_violation or f"{run.lost} lost") for run in runs if not run.valid]
        console.print("INVALID: " + "; ".join(wrong))
        return 2
    return 0 if all(promise.kept for promise in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
