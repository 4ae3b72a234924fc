"""Child processes: started, watched, started again, ended in order.

Invariants: every child is ended when the fleet ends, and dies with it even if it is killed (PR_SET_PDEATHSIG); children
of a later stage end before those of an earlier one. Not responsible for: when to start again (``restarts``).
"""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from isthmus.fleet.restarts import Restarts

_log = structlog.get_logger(__name__)
AFTER_DRAIN_S = 5.0
"""After its drain (``cluster.drain_s`` at most) a member writes its last batches, tells who is left, gives back its
lease and ends, in less than this. Whoever kills processes that do not end by themselves waits for both."""
END_S = 25.0
"""How long a child may take to end by itself, with the default of ``cluster.drain_s``."""
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """In the child, before exec: SIGKILL when the parent is gone (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True, eq=False)
class Child:
    """One process. ``stage``: later stages end first. Its id is in a file beside its log, so that it can be found."""

    name: str
    command: Sequence[str]
    stage: int
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    restarts: Restarts = field(default_factory=Restarts)
    starts: int = 0

    @property
    def pid_file(self) -> Path:
        """Holds the id of the process while it runs."""
        return self.log.with_suffix(".pid")


class Children:
    """All processes of a fleet. ``on_start`` is told of each child that was started (again); who does not end by
    itself in ``end_s`` is killed."""

    def __init__(self, on_start: Callable[[Child], None] | None = None, end_s: float = END_S) -> None:
        self._end_s = end_s
        self.all: dict[str, Child] = {}
        self.failed: str | None = None
        """Why the fleet must end, once a child cannot be kept alive."""
        self.over = asyncio.Event()
        """Set when ``failed`` is."""
        self._on_start = on_start
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._ending = False

    async def start(self, child: Child) -> None:
        """Start ``child`` and keep it alive. Raises OSError if there is no such program."""
        self.all[child.name] = child
        await self._launch(child)
        self._watching[child.name] = asyncio.get_running_loop().create_task(self._watch(child))

    async def _launch(self, child: Child) -> None:
        with child.log.open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **child.environment},
                preexec_fn=die_with_parent,
                start_new_session=True,  # a Ctrl-C in the terminal is for the fleet, which ends its children in order
            )
        child.starts += 1
        child.pid_file.write_text(f"{child.process.pid}\n")
        _log.info("child_started", child=child.name, pid=child.process.pid, starts=child.starts)
        if self._on_start is not None:
            self._on_start(child)

    async def _watch(self, child: Child) -> None:
        while True:
            assert child.process is not None
            status = await child.process.wait()
            child.pid_file.unlink(missing_ok=True)
            if self._ending:
                return
            if status == 0:
                _log.info("child_done", child=child.name)  # it was drained: somebody wanted it to end
                return
            pause_s = child.restarts.ended(status, time.monotonic())
            _log.warning("child_ended", child=child.name, status=status, restart_in_s=pause_s)
            if pause_s is None:
                self.failed = f"{child.name} cannot be kept running (status {status}); its log: {child.log}"
                self.over.set()
                return
            await asyncio.sleep(pause_s)
            await self._launch(child)

    async def end(self) -> None:
        """End all, the latest stage first; who does not go in ``end_s`` is killed."""
        self._ending = True
        for task in self._watching.values():
            task.cancel()
        await asyncio.gather(*self._watching.values(), return_exceptions=True)
        for stage in sorted({child.stage for child in self.all.values()}, reverse=True):
            await asyncio.gather(*(self._end(child) for child in self.all.values() if child.stage == stage))

    async def _end(self, child: Child) -> None:
        process = child.process
        child.pid_file.unlink(missing_ok=True)
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._end_s)
        except TimeoutError:
            _log.warning("child_killed", child=child.name, after_s=self._end_s)
            process.kill()
            await process.wait()
