"""A cluster as `isthmus cluster` starts it: real etcd, placer, shards and gateways, in a folder of the test's."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

PATIENCE_S = 40.0
"""A lease, an election and all that follows, on a busy machine."""


@dataclass(slots=True)
class Running:
    """``urls``: one for each gateway, without a slash at the end."""

    process: subprocess.Popen[bytes]
    urls: list[str]
    folder: Path
    etcd: str = ""

    def command(self, *line: str) -> str:
        """What an operator's command prints; it must succeed."""
        words = [sys.executable, "-m", "isthmus", *line, "--cluster-etcd-endpoints", self.etcd]
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


def bots(url: str, seed: int, count: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "isthmus", "bots", str(count), "--url", url, "--seed", str(seed)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def until(what: str, holds: Any) -> None:
    """Wait until ``holds()``; the last answer is shown."""
    end_s = time.monotonic() + PATIENCE_S
    while not (answer := holds()):
        assert time.monotonic() < end_s, f"{what} did not come about: {answer}"
        time.sleep(0.2)
