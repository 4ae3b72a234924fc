"""Child processes of a run: pinned to a core, told what to do by lines, watched by /proc.

Control is the same for all: "start", "begin", "end" or "quit" on stdin, one JSON object a line on stdout with an
"event" in it; anything else on stdout or stderr goes to the log. Invariant: a child never outlives its ``with`` block.
Not responsible for: what the events mean.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_TIMEOUT_S = 5.0
NICENESS = -10
"""Of servers, clients and probes alike, where it is permitted: other programs on the machine disturb a run less."""


class ChildFailed(Exception):
    """A child ended or fell silent before it said what was waited for."""


class Child:
    """One pinned child process, used as a context manager."""

    def __init__(self, name: str, command: Sequence[str | Path], core: int, log: Path, cwd: Path | None = None) -> None:
        self.name = name
        self._log_path = log
        self._log = log.open("wb")
        # All threads inherit the pinning: it is set before the program starts.
        # A world begins anew in each run; who measures what it costs to keep one says where.
        environment = {"ISTHMUS_DURABLE_URL": "memory:", **os.environ}
        pinned = ["taskset", "-c", str(core), *map(str, command)]
        self._process = subprocess.Popen(
            pinned, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=cwd, bufsize=0,
            start_new_session=True, env=environment,
        )  # fmt: skip
        _prefer(self._process.pid)
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id; taskset replaces itself, so this is the program's own."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b'{"event"'):
                self._events.put(json.loads(line))
            else:
                self._log.write(line)
        self._events.put(None)

    def say(self, command: str) -> None:
        """Send one control line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise ChildFailed(self.ended_text()) from None

    def wait(self, event: str, timeout_s: float) -> dict[str, Any]:
        """The next event of this name; others are dropped. Raises ChildFailed."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                found = self._events.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise ChildFailed(f"{self.name} did not say '{event}' in {timeout_s:g} s; {self._tail()}") from None
            if found is None:
                raise ChildFailed(self.ended_text())
            if found["event"] == event:
                return found

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ended_text(self) -> str:
        """For an error message: the end of the child's log."""
        return f"{self.name} ended; {self._tail()}"

    def _tail(self) -> str:
        text = self._log_path.read_text(errors="replace")[-1500:]
        return f"its log {self._log_path} ends with:\n{text}"

    def cpu_s(self) -> float:
        """CPU time of all its threads so far, seconds (resolution: one clock tick, 10 ms)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S

    def rss_mib(self) -> float:
        """Resident memory, MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive():
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(STOP_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._log.close()


def _prefer(pid: int) -> None:
    """Put a process that leads its session before others. Where sessions are scheduled as groups (autogroup, sched(7))
    the group's niceness is what counts."""
    with contextlib.suppress(OSError):  # not permitted: then without
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))


def core_busy_s(core: int) -> float:
    """Seconds that a core has been busy since boot, with everything."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(v) for v in values[:8])
            return (user + nice + system + irq + softirq + steal) / CLOCK_TICKS_PER_S
    return 0.0
