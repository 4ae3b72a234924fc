"""The processes of a world in one of its forms: one process, or etcd, a placer, shards and gateways; each pinned.

Decides the order of start and what shares a core: shards and gateways are on the server's core, so that their CPU can
be compared between forms; etcd and the placer are on the clients'. Not responsible for: clients, what is measured.
"""

import base64
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.prepare import CACHE
from bench.process import Child, ChildFailed
from bench.run import CLIENT_CORE, SERVER_CORE, free_port
from bench.served import OurServer
from cluster.records import SHARD
from isthmus.fleet.etcd import EtcdServer, find

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Form:
    """How many processes of each sort; no shard: `isthmus serve`. ``level``: the world is cut in 4 ** level regions."""

    name: str
    shards: int
    gateways: int
    level: int = 0


class Fleet:
    """The processes of one form in ``folder``; they end with ``stack``. Raises ChildFailed."""

    def __init__(self, stack: ExitStack, form: Form, world: Path, folder: Path, *options: str) -> None:
        self.ports = [free_port() for _ in range(form.gateways)]
        self.shards: list[Child] = []
        self.gateways: list[Child] = []
        self.others: list[Child] = []
        self._stack, self._form, self._world, self._folder = stack, form, world, folder
        self._options = [*options, "--durable-url", f"sqlite:{folder / 'world.sqlite'}"]
        self._logs = CACHE / "logs"
        self._logs.mkdir(exist_ok=True)
        if form.shards:
            self._start_cluster()
        else:
            self.gateways.append(self._member("serve", SERVER_CORE, "--gateway-port", str(self.ports[0])))
        self.served = [OurServer(child, port) for child, port in zip(self.gateways, self.ports, strict=True)]
        for served in self.served:
            served.ready()

    def child(self, name: str, command: Sequence[str | Path], core: int) -> Child:
        """A process that ends with the run."""
        log = self._logs / f"fleet-{self._form.shards}-{self._form.gateways}.{name}.log"
        return self._stack.enter_context(Child(name, command, core, log, self._folder))

    def status(self, gateway: int = 0) -> dict[str, Any]:
        """What a gateway says of itself and of the cluster."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[gateway]}/api/status", timeout=10) as answer:
            return dict(json.load(answer))

    def cpu_s(self) -> dict[str, float]:
        """CPU time used so far by shards, gateways, and the others."""
        groups = {"shards": self.shards, "gateways": self.gateways, "others": self.others}
        return {name: sum(child.cpu_s() for child in children) for name, children in groups.items()}

    def mirrored(self) -> float:
        """Part of all regions that a gateway mirrors, mean over gateways."""
        if not self._form.shards:
            return 1.0
        held = 0.0
        for gateway in range(self._form.gateways):
            held += sum(bool(region["mirrored"]) for region in self.status(gateway)["regions"])
        return held / (self._form.gateways * 4.0**self._form.level)

    def _member(self, command: str, core: int, *options: str) -> Child:
        name = options[options.index("--cluster-member") + 1] if "--cluster-member" in options else command
        line: list[str | Path] = [sys.executable, "-m", "isthmus", command, self._world, *self._options, *options]
        return self.child(name, line, core)

    def _start_cluster(self) -> None:
        # In memory: a disk that is busy with something else must not end leases.
        data = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        etcd = EtcdServer(find(), data / "etcd", free_port(), free_port())
        self.others.append(self.child("etcd", etcd.command(), CLIENT_CORE))
        until("etcd to answer", lambda: is_healthy(etcd.endpoint))
        key = self._folder / "cluster.key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        self._options += ["--cluster-etcd-endpoints", etcd.endpoint, "--cluster-key-path", str(key)]
        self._options += ["--cluster-region-level", str(self._form.level)]
        for k in range(self._form.shards):
            self.shards.append(self._member("shard", SERVER_CORE, "--cluster-member", f"shard-{k}"))
        # The placer comes when all shards are there, so that each gets its part.
        until("the shards to join", lambda: _shards(etcd.endpoint) == self._form.shards)
        self.others.append(self._member("placer", CLIENT_CORE, "--cluster-member", "placer-0"))
        for k, port in enumerate(self.ports):
            own = ("--cluster-member", f"gateway-{k}", "--gateway-port", str(port))
            self.gateways.append(self._member("gateway", SERVER_CORE, *own))


def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for something. Raises ChildFailed when it does not come about."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end_s:
            raise ChildFailed(f"waited {PATIENCE_S:g} s for {what}")
        time.sleep(0.1)


def is_healthy(endpoint: str) -> bool:
    """Whether etcd answers there."""
    try:
        with urllib.request.urlopen(f"{endpoint}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _shards(endpoint: str) -> int:
    """Shards that are members, by etcd's HTTP gateway (keys and values are base64)."""
    everything = json.dumps({"key": "AA==", "range_end": "AA=="}).encode()
    with urllib.request.urlopen(f"{endpoint}/v3/kv/range", data=everything, timeout=5) as answer:
        entries = json.load(answer).get("kvs", [])
    keys = [base64.b64decode(entry["key"]).decode() for entry in entries]
    return sum(key.rpartition("/")[2].startswith(SHARD) and "/member/" in key for key in keys)
