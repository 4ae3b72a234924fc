"""Real PostgreSQL servers on loopback ports with data directories of their own: stopped, killed, made standbys.

PostgreSQL refuses to run as root; then the servers run as the user ``postgres`` of Debian's package, or ``nobody``.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 30


def program(name: str) -> str:
    """A program of the server. A missing one is an error, never a skip."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(debian[-1]) if debian else shutil.which(name)
    assert found, f"no {name}: apt-get install postgresql"
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """One server; it may end in several ways and come back with the same data and address."""

    def __init__(
        self,
        folder: Path,
        port: int,
        owner: pwd.struct_passwd | None,
        address: str = "127.0.0.1",
        inside: Sequence[str] = (),
    ) -> None:
        """``address``: where it listens; ``inside``: what goes before each command, so that it runs on that host."""
        self._data = folder / "data"
        self._log = folder / "log"
        self._port = port
        self._owner = owner
        self._address = address
        self._inside = inside

    @property
    def url(self) -> str:
        return f"postgresql://isthmus@{self._address}:{self._port}/postgres"

    def initialize(self) -> None:
        """Make the data directory."""
        self._run("initdb", "-D", str(self._data), "-U", "isthmus", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")

    def start(self) -> None:
        """Until it accepts connections."""
        options = (
            f"-p {self._port} -c listen_addresses={self._address} -c unix_socket_directories='' -c shared_buffers=32MB"
        )
        self._control("start", "-w", "-t", str(PATIENCE_S), "-l", str(self._log), "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """``fast``: sessions end, a checkpoint is written. ``immediate``: as if it had crashed."""
        self._control("stop", "-w", "-m", mode, "-t", str(PATIENCE_S))

    def restart(self, mode: str) -> None:
        self.stop(mode)
        self.start()

    def become_standby(self) -> None:
        """As a server that lost its role in a failover: it can be read only."""
        self.stop()
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        if self._owner:
            os.chown(signal_file, self._owner.pw_uid, self._owner.pw_gid)
        self.start()

    def promote(self) -> None:
        """Until it takes writes again."""
        self._control("promote", "-w", "-t", str(PATIENCE_S))

    def kill(self) -> None:
        """All of it, at the end of a test."""
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")

    def psql(self, sql: str) -> str:
        """What a statement answers."""
        return self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url)

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-D", str(self._data), *words)

    def _run(self, name: str, *words: str) -> str:
        user: dict[str, Any] = {}
        inside = list(self._inside)
        if self._owner and inside:  # only root enters another host
            inside += ["setpriv", f"--reuid={self._owner.pw_uid}", f"--regid={self._owner.pw_gid}", "--clear-groups"]
        elif self._owner:
            user = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        with tempfile.TemporaryFile() as output:
            # Into a file: the server inherits what it is told to write to, and a pipe would stay open with it.
            done = subprocess.run(
                [*inside, program(name), *words],
                stdout=output,
                stderr=output,
                check=False,
                cwd=self._data.parent,
                **user,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        log = self._log.read_text()[-3000:] if self._log.exists() else ""
        assert done.returncode == 0, f"{name} {' '.join(words)}:\n{text}\n{log}"
        return text.strip()


def unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as, or None: as the tests do."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


@contextmanager
def running(disk: Path | None = None) -> Iterator[Server]:
    """A server with an empty database; gone afterwards, with its data. In memory, unless a disk is named."""
    owner = unprivileged()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=disk or (memory if memory.is_dir() else None)) as name:
        folder = Path(name)
        if owner:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        server = Server(folder, free_port(), owner)
        server.initialize()
        server.start()
        try:
            yield server
        finally:
            server.kill()
