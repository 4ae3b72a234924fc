"""The image without Docker: built by the Dockerfile's own steps, and run as a container runs it.

Built: `k8s/image/build.sh` installs into a folder of the repository (``build/``, kept, so that only what was changed
is done again) and compiles the kernels into it. Run: by bubblewrap, in a root that holds Debian's and Python's own
files and that folder, all of it read-only, with /tmp to write to, the environment of the Dockerfile and nothing else,
as a user that is not root and has neither a name nor a home. Only the path differs: the folder instead of /opt/isthmus.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.unit.k8s import dockerfile
from tests.unit.k8s.manifests import REPOSITORY

READY_S = 30.0
END_S = 30.0
USER = 10_001
ROOT = REPOSITORY / "build" / "image" / "opt" / f"isthmus-{platform.machine()}"
SYSTEM = ("usr", "bin", "sbin", "lib", "lib64", "etc/ssl", "etc/hosts", "etc/resolv.conf", "etc/nsswitch.conf")


def environment() -> dict[str, str]:
    """Of every process in the image."""
    told = dockerfile.environment()
    return {name: value.replace("/opt/isthmus", str(ROOT)) for name, value in told.items()}


def _context() -> Path:
    """What Docker would see: the files that .dockerignore lets in, and the page, which another stage brings."""
    folder = REPOSITORY / "build" / "image" / "context"
    shutil.rmtree(folder, ignore_errors=True)
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    out = [line.removeprefix("**/") for line in lines if line and line[0] not in "#!" and line != "*"]
    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        found, to = REPOSITORY / name, folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, to, ignore=shutil.ignore_patterns(*(Path(line).name for line in out)))
        else:
            shutil.copy2(found, to)
    page = REPOSITORY / "server" / "static"
    assert (page / "index.html").exists(), "make web"
    shutil.copytree(page, folder / "server" / "static")
    return folder


def build() -> Path:
    """Run the Dockerfile's steps, but that for the page, which `make` has built; returns where the program is."""
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    context = _context()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
    for step in dockerfile.steps():
        command = step.replace("/opt/isthmus", str(ROOT)).split()
        if command[1] == "page":
            continue
        own = {name: environment()[name] for name in dockerfile.environment("program")}
        done = subprocess.run(
            command,
            cwd=context,
            env={**kept, "PYTHON": sys.executable, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{step}:\n{done.stdout[-3000:]}"
    return ROOT


def _root(tmp: Path, mounts: Mapping[Path, str]) -> list[str]:
    """bubblewrap's options: what there is to see. ``mounts``: what of this machine is where inside, read-only."""
    line = ["--tmpfs", "/"]
    for name in SYSTEM:
        path = Path("/", name)
        if path.is_symlink() and "/" not in name:
            line += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            line += _bound(path.resolve(), str(path))
    if not sys.base_prefix.startswith("/usr"):
        line += _bound(Path(sys.base_prefix), sys.base_prefix)
    line += [*_bound(ROOT, str(ROOT)), "--proc", "/proc", "--dev", "/dev", "--bind", str(tmp), "/tmp"]
    for outside, inside in mounts.items():
        line += _bound(outside, inside)
    return [*line, "--remount-ro", "/", "--chdir", dockerfile.last("WORKDIR")]


def _bound(outside: Path, inside: str) -> list[str]:
    line: list[str] = []
    for folder in reversed(Path(inside).parents[:-1]):  # else only root could go through them
        line += ["--perms", "0755", "--dir", str(folder)]
    return [*line, "--ro-bind", str(outside), inside]


def command(
    words: Sequence[str],
    tmp: Path,
    mounts: Mapping[Path, str] | None = None,
    variables: Mapping[str, str] | None = None,
    user: int = USER,
) -> list[str]:
    """The line that runs ``words`` in the image. ``variables``: beside the image's own."""
    line = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"]
    inside: list[str] = []
    if os.geteuid() == 0:
        # No user namespace: files of root stay root's, as in a container, and the rights of root are given up for good.
        os.chown(tmp, user, user)
        inside = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        inside += ["--inh-caps=-all", "--bounding-set=-all", "--"]
    else:
        line += ["--unshare-user", "--uid", str(user), "--gid", str(user)]
    line += [*_root(tmp, mounts or {}), "--clearenv"]
    for name, value in {**environment(), **(variables or {})}.items():
        line += ["--setenv", name, value]
    return [*line, "--", *inside, *words]


@dataclass(slots=True)
class Running:
    """A process of the image. ``tmp``: what it sees as /tmp."""

    process: "subprocess.Popen[bytes]"
    tmp: Path
    output: Path

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self.output.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The entries of its log with that name."""
        entries = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == name]

    def get(self, url: str) -> tuple[int, bytes]:
        """Status and body, once it answers at all."""
        end_s = time.monotonic() + READY_S
        while self.process.poll() is None and time.monotonic() < end_s:
            try:
                with urlopen(url, timeout=5) as answer:
                    return answer.status, answer.read()
            except HTTPError as refused:
                return refused.code, refused.read()
            except OSError:
                time.sleep(0.1)  # it does not listen yet
        raise AssertionError(f"{url}: no answer; status {self.process.poll()}: {self.log[-3000:]}")

    def until_ok(self, url: str) -> bytes:
        """The body, once the answer is 200."""
        end_s = time.monotonic() + READY_S
        while (answer := self.get(url))[0] != 200:
            assert time.monotonic() < end_s, f"{url}: {answer}; {self.log[-3000:]}"
            time.sleep(0.1)
        return answer[1]

    def end(self) -> int:
        """SIGTERM to the program, as whoever ends a container does; its exit status. Fails if that takes too long."""
        # bubblewrap outside, bubblewrap as process 1 (tini's place), the program.
        os.kill(_child(_child(self.process.pid)), signal.SIGTERM)
        return self.process.wait(END_S)


def _child(pid: int) -> int:
    (one,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(one)


@contextmanager
def started(words: Sequence[str], tmp: Path, **given: Any) -> Iterator[Running]:
    """The program in the image, with what ``command`` is given; killed at the end if it runs still."""
    output = tmp.with_suffix(".log")
    with output.open("wb") as log:
        process = subprocess.Popen(command(words, tmp, **given), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Running(process, tmp, output)
    finally:
        process.kill()  # and all inside with it (--die-with-parent)
        process.wait()


def run(words: Sequence[str], tmp: Path, **given: Any) -> "subprocess.CompletedProcess[str]":
    """A command in the image, until it ends; its output is together in ``stdout``."""
    line = command(words, tmp, **given)
    return subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=READY_S)
