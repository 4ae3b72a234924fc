"""A real server process for tests: `isthmus serve` with a small world, on a free port of loopback, ended by its pid."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

READY_S = 60.0
"""The first start on a machine compiles the kernels."""
REPOSITORY = Path(__file__).resolve().parents[2]
CROWD = """
import numpy as np

from isthmus import Script, Body

script = Script("crowd")
mood = script.component("mood", "i4", replicate=True, persist=False)
age = script.component("age", "i4", replicate=True, persist=False)
duck = script.kind("duck", [mood, age])


@script.start
def populate(world):
    pos = np.zeros((COUNT, 3))
    pos[:, 0] = world.random.uniform(-20.0, 20.0, COUNT)
    pos[:, 2] = world.random.uniform(-20.0, 20.0, COUNT)
    world.spawn("duck", COUNT, pos=pos)


@script.every("duck")
def waddle(world, ducks):
    step = world.random.normal(0.0, 0.05, (len(ducks), 3))
    step[:, 1] = 0.0
    ducks.pos[:] = np.clip(ducks.pos + step, -25.0, 25.0)


@script.every("duck", ticks=10)
def feel(world, ducks):
    ducks.mood[:3] = ducks.mood[:3] + 1
"""
"""`COUNT` ducks who jitter within some 25 m of the origin: nothing that a client could foresee."""


@dataclass(slots=True)
class Server:
    """A running server. ``url`` has no slash at its end."""

    url: str
    pid: int
    errors: Path

    @property
    def port(self) -> int:
        return cast(int, urlsplit(self.url).port)

    @property
    def log(self) -> str:
        """Everything that it wrote to standard error."""
        return self.errors.read_text()

    def get(self, path: str, headers: dict[str, str] | None = None) -> bytes:
        with urlopen(Request(self.url + path, headers=headers or {}), timeout=10) as answer:
            return cast(bytes, answer.read())

    def status(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.get("/api/status")))

    def guest(self, name: str = "Guest") -> str:
        """A guest's token."""
        body = json.dumps({"name": name}).encode()
        asked = Request(self.url + "/api/guest", body, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=10) as answer:
            return str(json.loads(answer.read())["token"])

    def metric(self, name: str, **labels: str) -> float:
        """One figure of /metrics, added up over all samples that have these labels; 0 if there is none yet."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = 0.0
        for line in self.get("/metrics").decode().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(label in sample for label in wanted):
                found += float(value)
        return found

    def rejected(self, reason: str) -> int:
        return int(self.metric("isthmus_rejected_total", reason=reason))

    def rss_bytes(self) -> int:
        """Resident memory of the process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the server has ended")


def write_world(folder: Path, toml: str = "", ducks: int = 0) -> Path:
    """A world's folder; ``toml`` holds further areas. Returns the path of its file."""
    folder.mkdir(parents=True, exist_ok=True)
    scripted = ""
    if ducks:
        (folder / "crowd.py").write_text(CROWD.replace("COUNT", str(ducks)))
        scripted = 'behaviours = "crowd.py"\n'
    path = folder / "world.toml"
    path.write_text(f'[world]\nname = "test"\nextent_m = 128\n{scripted}{toml}')
    return path


def launch(world: Path, *, port: int | None = 0) -> "subprocess.Popen[str]":
    """Start a server on ``port`` (None: the file's); whoever calls this waits for its end."""
    command = [sys.executable, "-m", "isthmus", "serve", str(world)]
    command += [] if port is None else ["--gateway-port", str(port)]
    with (world.parent / "stderr.txt").open("w") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=world.parent)


def until_ready(process: "subprocess.Popen[str]", world: Path) -> Server:
    """The server that ``launch`` has started, once it serves."""
    errors = world.parent / "stderr.txt"
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_S)
    line = process.stdout.readline() if readable else ""
    assert line.startswith("Serving "), f"not ready: {line!r} {errors.read_text()}"
    return Server(line.split()[-1].rstrip("/"), process.pid, errors)


@contextmanager
def serving(world: Path, *, port: int | None = 0) -> Iterator[Server]:
    """A server that is ready. Fails the test if it logged an unhandled exception, or did not end by itself."""
    process = launch(world, port=port)
    errors = world.parent / "stderr.txt"
    assert process.stdout is not None
    try:
        yield until_ready(process, world)
        assert process.poll() is None, f"the server ended by itself: {errors.read_text()}"
    finally:
        process.terminate()
        try:
            code = process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
    log = errors.read_text()
    assert "Traceback" not in log, log
    assert code == 0, log
