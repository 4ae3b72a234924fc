"""The real server as a process, for a browser to visit."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
START_S = 90.0
"""The first start of a fresh clone compiles kernels and imports the place."""
END_S = 20.0
HELSINKI = (
    str(ROOT / "examples/helsinki/world.toml"),
    "--world-inhabitants-count", "30",
    "--world-props-count", "0",
    "--limits-chat-burst", "20",
)  # fmt: skip
"""Central Helsinki with few inhabitants and nothing to stumble over."""
STUDIO = (str(Path(__file__).with_name("studio.toml")), "--durable-url", "memory:")
"""Things for hands, and channels to watch."""


class ServerDied(Exception):
    """The server ended, or never came up; the text is what it wrote."""


class Served:
    """``isthmus serve`` of a world. ``end`` it when done."""

    def __init__(self, log: Path, port: int = 0, world: tuple[str, ...] = HELSINKI) -> None:
        self._log = log
        command = [sys.executable, "-m", "isthmus", "serve", *world, "--gateway-port", str(port)]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        said: Queue[str] = Queue()
        self._reader = Thread(target=self._read, args=(said,), daemon=True)
        self._reader.start()
        try:
            line = said.get(timeout=START_S)
        except Empty:
            line = ""
        if not line.startswith("Serving "):
            self.end()
            raise ServerDied(f"the server did not come up; it wrote {line!r} and, to {log}:\n{log.read_text()[-4000:]}")
        self.url = line.rsplit(" ", 1)[1].strip()
        self.port = urlsplit(self.url).port or 0

    def _read(self, said: "Queue[str]") -> None:
        """Its output, to the end: a full pipe would stop it."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                said.put(line)
        said.put("")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process by its id, and wait until it is gone."""
        if self._process.poll() is None:
            os.kill(self._process.pid, how)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait()
            raise ServerDied(f"the server did not end within {END_S} s of {how.name}") from error
        finally:
            self._reader.join()


def send_bots(url: str, count: int) -> "subprocess.Popen[bytes]":
    """``isthmus bots COUNT``; the caller ends it."""
    command = [sys.executable, "-m", "isthmus", "bots", str(count), "--url", url.rstrip("/"), "--seed", "7"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
