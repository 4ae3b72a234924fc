"""The swarm's program as a child process: control lines to it, JSON lines from it.

Invariant: it never outlives its ``with`` block. Not responsible for: what the figures mean (``figures``).
"""

import json
import select
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

STOP_S = 5.0


class SwarmFailed(Exception):
    """The program ended or fell silent before it said what was waited for."""


class Silent(SwarmFailed):
    """It did not say in time what was waited for."""


class Swarm:
    """A running program, used as a context manager. What it says of single clients goes to our standard error."""

    def __init__(self, program: Path, options: list[str]) -> None:
        self._process = subprocess.Popen(
            [str(program), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._heard = b""

    def say(self, command: str) -> None:
        """Send one control line: "begin", "end" or "quit"."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise SwarmFailed(f"the swarm ended with status {self._process.wait()}") from None

    def wait(self, event: str, timeout_s: float) -> dict[str, Any]:
        """The next event of this name; others are dropped. Raises SwarmFailed, and Silent of these."""
        assert self._process.stdout is not None
        end_s = time.monotonic() + timeout_s
        while True:
            line, found, rest = self._heard.partition(b"\n")
            if found:
                self._heard = rest
                said: dict[str, Any] = json.loads(line)
                if said["event"] == event:
                    return said
                continue
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([self._process.stdout], [], [], left_s)[0]:
                raise Silent(f"the swarm did not say {event!r} in {timeout_s:g} s")
            data = self._process.stdout.read(65536)
            if not data:
                raise SwarmFailed(f"the swarm ended with status {self._process.wait()}")
            self._heard += data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # its sign to end
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
