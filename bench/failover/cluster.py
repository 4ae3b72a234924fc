"""A real cluster with a host (network namespace) for each process: etcd, PostgreSQL, placers, shards, gateways, people.

Decides how processes are started, and that a killed one is started again at once, as Kubernetes and ``isthmus cluster``
do. Invariant: all that was started ends with the ``with`` block. Not responsible for: what is done to them
(``faults``), what clients notice (``crowd``).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.prepare import BENCH
from bench.process import Child, ChildFailed
from bench.run import CLIENT_CORE
from isthmus.fleet.etcd import find
from isthmus.fleet.setup import make_key
from tests.integration.durable import servers
from tests.integration.hosts.network import Network, made
from tests.integration.issuer import AUTH, Issuer

BANK, STREET = "bank", "street"
PLACERS = ("placer-0", "placer-1")
SHARDS = ("shard-0", "shard-1", "shard-2")
GATEWAYS = ("gateway-0", "gateway-1")
MEMBERS = (*PLACERS, *SHARDS, *GATEWAYS)
CLIENT_PORT, ETCD_PORT, PEER_PORT, BANK_PORT = 8080, 2379, 2380, 5432
PATIENCE_S = 90.0
ROOT = BENCH.parent
WORLD = """
[world]
name = "Failover"
extent_m = 128.0
behaviours = "{behaviours}"
[cluster]
region_level = 1
etcd_endpoints = [{etcds}]
key_path = "cluster.key"
[durable]
url = "{bank}"
[gateway]
mode = "production"
allowed_hosts = ["world.example"]
affinity = false
"""


class Cluster:
    """All processes, each on its host of ``network``; files and logs in ``folder``."""

    def __init__(self, network: Network, folder: Path, stores: tuple[str, ...], people: int) -> None:
        self.network, self.folder, self.stores = network, folder, stores
        self._people = people
        self._world = folder / "world.toml"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._data = Path()
        self.bank: servers.Server

    # ------------------------------------------------------------------------------------------------------ processes
    def start(self, stack: ExitStack) -> None:
        """Everything, until all walk and act. Raises ChildFailed."""
        memory = Path("/dev/shm")
        # In memory: how fast a disk is has its own benchmark.
        kept = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self._data = Path(stack.enter_context(kept))
        self._data.chmod(0o755)
        stack.callback(self._end)
        self._begin_bank()
        stack.callback(self.bank.kill)
        etcds = ", ".join(f'"http://{self.network.address(store)}:{ETCD_PORT}"' for store in self.stores)
        behaviours = BENCH / "worlds" / "failover.py"
        self._world.write_text(WORLD.format(behaviours=behaviours, etcds=etcds, bank=self.bank.url) + AUTH)
        make_key(self.folder / "cluster.key")
        issuer = Issuer()
        (self.folder / "keys.json").write_text(issuer.key_set())
        (self.folder / "people.json").write_text(json.dumps(self._crowd(issuer)))
        for name in (*self.stores, *MEMBERS):
            self.launch(name)
        line = self.network.inside(STREET, sys.executable, "-m", "bench.failover.crowd", str(self.folder))
        self.crowd = stack.enter_context(Child("crowd", line, CLIENT_CORE, self.folder / "crowd.log", ROOT))
        self.crowd.wait("ready", PATIENCE_S)
        self.until("everybody is there", lambda state: self.is_whole(state) and not state["silent"])

    def _crowd(self, issuer: Issuer) -> dict[str, Any]:
        people = {}
        for number in range(self._people):
            own = GATEWAYS[number % len(GATEWAYS)]
            doors = [own, *(other for other in GATEWAYS if other != own)]
            token = issuer.token(sub=f"person-{number}", name=f"Person {number}", exp=int(time.time()) + 4 * 3600)
            addresses = [(self.network.address(door), CLIENT_PORT) for door in doors]
            people[f"Person {number}"] = {"token": token, "gateways": addresses}
        return people

    def _begin_bank(self) -> None:
        folder, owner = self._data / BANK, servers.unprivileged()
        folder.mkdir()
        if owner:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        address = self.network.address(BANK)
        self.bank = servers.Server(folder, BANK_PORT, owner, address, self.network.inside(BANK))
        self.bank.initialize()
        self.bank.start()

    def launch(self, name: str) -> None:
        """Start a process, perhaps again."""
        command = self._etcd(name) if name in self.stores else self._member(name)
        line = self.network.inside(name, "setpriv", "--pdeathsig", "KILL", *command)
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(line, stdout=log, stderr=log, cwd=ROOT)

    def kill(self, name: str) -> float:
        """As ``kill -9``; returns when."""
        process = self._processes[name]
        at_s = time.monotonic()
        process.kill()
        process.wait()
        return at_s

    def _end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _etcd(self, name: str) -> list[str]:
        address = self.network.address(name)
        peers = ",".join(f"{store}=http://{self.network.address(store)}:{PEER_PORT}" for store in self.stores)
        own, peer = f"http://{address}:{ETCD_PORT}", f"http://{address}:{PEER_PORT}"
        return [
            str(find()), "--name", name, "--data-dir", str(self._data / name), "--logger", "zap",
            "--listen-client-urls", own, "--advertise-client-urls", own,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", peers,
        ]  # fmt: skip

    def _member(self, name: str) -> list[str]:
        address = self.network.address(name)
        line = [sys.executable, "-m", "isthmus", name.rpartition("-")[0], str(self._world)]
        line += ["--cluster-member", name, "--cluster-link-listen", f"{address}:0"]
        if name in GATEWAYS:
            line += ["--gateway-host", address, "--gateway-port", str(CLIENT_PORT)]
        return line

    # ------------------------------------------------------------------------------------------------------ what it is
    def state(self) -> dict[str, Any]:
        """What the crowd sees now."""
        self.crowd.say("state")
        return self.crowd.wait("state", PATIENCE_S)

    def is_whole(self, state: dict[str, Any]) -> bool:
        """Whether all members are in, all regions are owned, and everybody walks."""
        return state["members"].keys() >= {*MEMBERS} and not state["orphans"] and not state["standing"]

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait. Raises ChildFailed when it does not come about, or a process has ended."""
        end_s = time.monotonic() + PATIENCE_S
        while not holds(state := self.state()):
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise ChildFailed(f"{name} has ended; its log: {self.folder / name}.log")
            if time.monotonic() > end_s:
                raise ChildFailed(f"waited {PATIENCE_S:g} s until {what}: {state}")
            time.sleep(0.1)
        return state

    def measure(self, fault_s: float, victims: list[str], sort: str) -> dict[str, Any]:
        """What the crowd has noticed of a fault (``crowd.Noticed``)."""
        self.crowd.say("measure " + json.dumps({"fault_s": fault_s, "victims": victims, "sort": sort}))
        return self.crowd.wait("measured", PATIENCE_S)

    def settle(self) -> dict[str, Any]:
        """What the books say when everybody has stopped acting."""
        self.crowd.say("settle")
        return self.crowd.wait("settled", PATIENCE_S)


@contextmanager
def running(folder: Path, stores: tuple[str, ...], people: int) -> Iterator[Cluster]:
    """A cluster, whole; ended afterwards. Raises ChildFailed."""
    with made([*stores, BANK, *MEMBERS, STREET]) as network, ExitStack() as stack:
        cluster = Cluster(network, folder, stores, people)
        cluster.start(stack)
        yield cluster
