"""A reader who types what a page says: one shell for the page, in a folder that looks like a fresh checkout.

Ports of the pages (8080 and others) become free ones, in commands, files and expected lines. Everything that was
started is ended by its process group; what does not end by itself is told.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from docs.site.commands import BACKGROUND, CTRL_C, RUN, Block
from tests.integration.cluster.running import free_pair

REPOSITORY = Path(__file__).resolve().parents[3]
STEP_S = 60.0
"""For one block, or until something in the background has said what it should."""
END_S = 25.0
_NOT_IN_A_CHECKOUT = {".git", ".venv", ".isthmus", "build"}


class Failed(AssertionError):
    """A block that did not do what its page says."""


class Reader:
    """``with Reader(folder) as reader: reader.follow(block)``; ``folder`` is empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "isthmus"
        self._notes = folder / "notes"
        self._background: list[tuple[Block, int]] = []
        self._count = 0
        first = free_pair()
        self._ports = {"8080": first, "8081": first + 1, "8089": _free(), "5557": _free()}

    def __enter__(self) -> "Reader":
        self.folder.mkdir()
        self._notes.mkdir()
        for entry in REPOSITORY.iterdir():
            if entry.name not in _NOT_IN_A_CHECKOUT:
                (self.folder / entry.name).symlink_to(entry)
        (self.folder / ".venv").symlink_to(sys.prefix)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        environment = {
            **kept,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONSAFEPATH": "1",  # by their links in here the kernels would be others, and compiled anew
            "ISTHMUS_GATEWAY_PORT": str(self._ports["8080"]),
            "ISTHMUS_URL": f"http://127.0.0.1:{self._ports['8080']}",
        }
        with (self._notes / "shell").open("w") as errors:
            self._shell = subprocess.Popen(
                ["bash", "--norc", "--noprofile"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
            )
        self._type("set -m")  # a process group for each thing in the background
        return self

    def __exit__(self, *_: object) -> None:
        late = [block.place for block, pid in reversed(self._background) if not _end(pid)]
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(END_S)
        assert not late, f"did not end within {END_S:g} s of SIGTERM: {', '.join(late)}"

    def follow(self, block: Block) -> None:
        """Do what a block says. Raises Failed."""
        if block.file:
            self._write(block)
        elif block.what in (RUN, BACKGROUND):
            self._run(block)
        elif block.what == CTRL_C:
            started, group = self._background.pop()
            if not _end(group, signal.SIGINT):
                raise Failed(f"{started.place} did not end within {END_S:g} s of Ctrl-C")

    def _write(self, block: Block) -> None:
        path = self.folder / block.file
        if path.resolve().is_relative_to(REPOSITORY):
            raise Failed(f"{block.place}: {block.file} would be written into the repository")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if block.continues else "w") as file:
            file.write(self._with_free_ports(block.text))

    def _run(self, block: Block) -> None:
        self._count += 1
        script, output, status = (self._notes / f"{self._count}.{what}" for what in ("sh", "out", "status"))
        script.write_text(self._with_free_ports(block.text))
        output.touch()
        if block.what == BACKGROUND:
            self._type(f". {script} >{output} 2>&1 </dev/null & echo $! >{status}.new; mv {status}.new {status}")
        else:
            self._type(
                f"set -e; . {script} >{output} 2>&1 </dev/null; set +e; echo 0 >{status}.new; mv {status}.new {status}"
            )
        end_s = time.monotonic() + STEP_S
        while not status.exists():
            if self._shell.poll() is not None:
                raise Failed(f"{block.place} failed: {_tail(output)}")
            self._in_time(end_s, block, output)
        if block.what == BACKGROUND:
            self._background.append((block, int(status.read_text())))
        while missing := self._missing(block, output.read_text(errors="replace")):
            if block.what == RUN:
                raise Failed(f"{block.place} did not say {missing!r}: {_tail(output)}")
            if not Path(f"/proc/{self._background[-1][1]}").exists():
                raise Failed(f"{block.place} ended before it said {missing!r}: {_tail(output)}")
            self._in_time(end_s, block, output)

    def _in_time(self, end_s: float, block: Block, output: Path) -> None:
        if time.monotonic() > end_s:
            raise Failed(f"{block.place} was not done after {STEP_S:g} s: {_tail(output)}")
        time.sleep(0.02)

    def _missing(self, block: Block, said: str) -> str:
        """The first expected line that is not in what was said, in order."""
        at = 0
        for line in block.expected:
            pattern = r".*?".join(re.escape(part.strip()) for part in self._with_free_ports(line).split("…"))
            found = re.compile(pattern).search(said, at)
            if found is None:
                return line
            at = found.end()
        return ""

    def _with_free_ports(self, text: str) -> str:
        return re.sub(r"\b(8080|8081|8089|5557)\b", lambda port: str(self._ports[port[0]]), text)

    def _type(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(group: int, by: int = signal.SIGTERM) -> bool:
    """Whether a process group ended in time after a signal; what did not is killed."""
    for number, patience_s in ((by, END_S), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return True
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s:
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return number == by
            time.sleep(0.05)
    return False


def _tail(output: Path) -> str:
    return output.read_text(errors="replace")[-3000:]
