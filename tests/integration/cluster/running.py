"""A cluster as `isthmus cluster` starts it: real etcd, placer, shards and gateways, in a folder of the test's."""

import contextlib
import json
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.integration.server import READY_S

PATIENCE_S = 40.0
"""A lease, an election and all that follows, on a busy machine."""


@dataclass(slots=True)
class Running:
    """``urls``: one for each gateway, without a slash at the end."""

    process: subprocess.Popen[bytes]
    urls: list[str]
    folder: Path
    durable_url: str
    etcd: str = ""

    def all_killed_and_started_again(self) -> None:
        """kill -9 of the cluster's process, with which the system kills all others, etcd too; then anew."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        again = start(self.folder, self.durable_url, urlsplit(self.urls[0]).port or 0)
        self.process, self.etcd = again.process, again.etcd
        assert again.urls == self.urls

    def command(self, *line: str) -> str:
        """What an operator's command prints; it must succeed."""
        words = [sys.executable, "-m", "isthmus", *line, "--cluster-etcd-endpoints", self.etcd]
        if "--durable-url" not in line:
            words += ["--durable-url", self.durable_url]
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=True, timeout=90).stdout

    def status(self, gateway: int) -> dict[str, Any]:
        with urlopen(f"{self.urls[gateway]}/api/status", timeout=5) as answer:
            return dict(json.load(answer))

    def metrics(self, gateway: int) -> dict[str, float]:
        """What a gateway's /metrics says, by name and label."""
        with urlopen(f"{self.urls[gateway]}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def log(self, member: str) -> str:
        """All that a member has logged."""
        return (self.folder / ".isthmus" / "cluster" / f"{member}.log").read_text()

    def pids(self) -> dict[str, int]:
        """Children by name, as the log tells."""
        events = [
            json.loads(line) for line in (self.folder / "errors").read_text().splitlines() if line.startswith("{")
        ]
        return {event["child"]: event["pid"] for event in events if event["event"] == "child_started"}


def start(folder: Path, durable_url: str, port: int = 0, flags: Sequence[str] = ()) -> Running:
    """``isthmus cluster`` with the world in ``folder``, once its gateways serve, at ``port`` and the next (0: two that
    are free)."""
    line = [sys.executable, "-m", "isthmus", "cluster", "world.toml", "--shards", "2", "--gateways", "2"]
    line += ["--gateway-port", str(port or free_pair()), "--cluster-region-level", "1", "--durable-url", durable_url]
    line += flags
    with (folder / "errors").open("a") as errors:
        # Unbuffered: of two lines that come at once the second would be out of select's sight.
        process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
    assert process.stdout is not None
    urls: list[str] = []
    try:
        while len(urls) < 2:
            ready, _, _ = select.select([process.stdout], [], [], 2 * READY_S)
            told = process.stdout.readline().decode() if ready else ""
            assert told, f"no gateway after {2 * READY_S:g} s: {(folder / 'errors').read_text()[-2000:]}"
            found = re.search(r"(https?://\S+)/$", told.strip())
            if found:
                urls.append(found[1])
        return Running(process, urls, folder, durable_url, process.stdout.readline().decode().split()[-1])
    except BaseException:
        process.terminate()
        process.stdout.close()
        process.wait(60)
        raise


def free_pair() -> int:
    """A port that is free, and the next one too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port + 1))
                return port


def bots(url: str, seed: int, count: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "isthmus", "bots", str(count), "--url", url, "--seed", str(seed)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def until(what: str, holds: Any) -> None:
    """Wait until ``holds()``; the last answer is shown."""
    end_s = time.monotonic() + PATIENCE_S
    while not (answer := holds()):
        assert time.monotonic() < end_s, f"{what} did not come about: {answer}"
        time.sleep(0.2)
