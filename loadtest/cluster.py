"""A cluster on this machine to be loaded: ``isthmus cluster`` as a child, in a folder of its own, on free ports.

Decides its options: guests get tokens, datagrams are offered where a scenario uses them, nothing is kept
(``durable.url = memory:``) unless the scenario says so. Invariant: when this process ends, so does the cluster. Not
responsible for: starting its parts (``isthmus.fleet``).
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isthmus.fleet.children import die_with_parent
from loadtest.scenario import Scenario

READY_S = 240.0
"""The first start on a machine compiles the kernels, and a place has to be read."""
END_S = 40.0
_SERVING = re.compile(r"Serving .* at (\S+)")


class ClusterFailed(Exception):
    """The cluster does not come up; the text says why and where to look."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One that is ready. ``gateways``: addresses; ``pid``: of the process that started it all."""

    gateways: list[str]
    pid: int


def options(scenario: Scenario) -> dict[str, str]:
    """What the scenario's cluster is told beside its world's file."""
    told = {"gateway.port": "0", "durable.url": "memory:", "logging.level": "warning"}
    if scenario.needs_datagrams:
        told |= {"gateway.datagrams": "true", "gateway.datagrams_port": "0"}
    # Load comes as it is asked for: whether it can be served is the question.
    told["limits.admission_load_ratio"] = "1.0"
    said = {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in scenario.options.items()
    }
    return told | said


def command(scenario: Scenario) -> list[str]:
    """What is run."""
    flags: list[str] = []
    for key, value in options(scenario).items():
        flags += [f"--{key.replace('.', '-').replace('_', '-')}", value]
    counts = ["--shards", str(scenario.shards), "--gateways", str(scenario.gateways)]
    return [sys.executable, "-m", "isthmus", "cluster", str(scenario.world), *counts, *flags]


@contextmanager
def running(scenario: Scenario, folder: Path) -> Iterator[Cluster]:
    """A cluster in ``folder``, where all logs are. Raises ClusterFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    # The packages of a checkout are found from there also when they are not installed.
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    with (folder / "cluster.log").open("wb") as log:
        process = subprocess.Popen(
            command(scenario),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for locust, which then judges
            preexec_fn=die_with_parent,
            text=True,
        )
    try:
        yield Cluster(_ready(process, scenario.gateways, folder), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _ready(process: "subprocess.Popen[str]", gateways: int, folder: Path) -> list[str]:
    assert process.stdout is not None
    urls: list[str] = []
    end_s = time.monotonic() + READY_S
    while len(urls) < gateways:
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, end_s - time.monotonic()))
        line = process.stdout.readline() if readable else ""
        if not line:
            log = (folder / "cluster.log").read_text(errors="replace").strip()[-800:]
            why = f"is not ready after {READY_S:g} s" if process.poll() is None else "ended"
            raise ClusterFailed(f"the cluster {why}; its logs are in {folder}, the last words:\n{log}")
        if found := _SERVING.match(line):
            urls.append(found.group(1).rstrip("/"))
    return urls
