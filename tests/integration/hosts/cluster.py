"""A cluster with a host for each process, people who walk in it, and what they and the store say of it.

Decides how processes are started and when the cluster counts as whole. Invariant: every process that was started is
ended with the cluster, and dies with the tests even if those are killed. Not responsible for: cutting hosts off
(``network``), who wrote what when (``writers``).
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.fleet.etcd import EtcdServer, find
from isthmus.fleet.setup import make_key
from tests.integration.cluster.running import until
from tests.integration.hosts import writers
from tests.integration.hosts.network import Network
from tests.integration.issuer import AUTH, Issuer
from tests.integration.server import REPOSITORY

STORE, PLACER, STREET = "store", "placer-0", "street"
SHARDS, GATEWAYS = ("shard-0", "shard-1"), ("gateway-0", "gateway-1")
MEMBERS = (PLACER, *SHARDS, *GATEWAYS)
HOSTS = (STORE, *MEMBERS, STREET)
"""Members are named as their hosts."""
PEOPLE = {f"Person {n}": GATEWAYS[n % 2] for n in range(6)}
"""Who comes to which gateway, as long as that answers."""
REGIONS = (4, 5, 6, 7)
ETCD_PORT, ETCD_PEER_PORT, CLIENT_PORT = 2379, 2380, 8080
WORLD = """
[world]
name = "Hosts"
extent_m = 128.0
[cluster]
region_level = 1
etcd_endpoints = ["{etcd}"]
key_path = "cluster.key"
[gateway]
mode = "production"
allowed_hosts = ["world.example"]
[limits]
resume_s = 10
"""
"""Bodies that nobody is in end 10 s after their people could come back no more (``worlds.make_shard``)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store held at a moment. ``regions``: owner and epoch; ``owner_alive``: those whose owner's lease
    stands; ``members``: the lease of each."""

    at_s: float
    regions: dict[int, tuple[str, int]]
    owner_alive: frozenset[int]
    members: dict[str, int]

    @classmethod
    def read(cls, line: str) -> "Stored":
        told = json.loads(line)
        regions = {int(region): (owner, epoch) for region, (owner, epoch) in told["regions"].items()}
        return cls(told["at_s"], regions, frozenset(map(int, told["owner_alive"])), told["members"])

    def owned_by(self, shard: str) -> set[int]:
        return {region for region, (owner, _) in self.regions.items() if owner == shard}


class Cluster:
    """All processes, each on its host of ``network``. Their logs and files are in ``folder``."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self._world = folder / "world.toml"
        # In memory where there is such a folder: etcd waits for the disk at each write, which is not what is tested.
        self._data = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    # ------------------------------------------------------------------------------------------------------ processes
    def start(self) -> None:
        """Everything, until people walk and see each other."""
        store = self.network.address(STORE)
        self._world.write_text(WORLD.format(etcd=f"http://{store}:{ETCD_PORT}") + AUTH)
        make_key(self.folder / "cluster.key")
        issuer = Issuer()
        (self.folder / "keys.json").write_text(issuer.key_set())
        self._launch("etcd", STORE, *self._etcd(store))
        self._launch("witness", STORE, *self._python("witness", self._world, self.folder / "stored"))
        self._until("etcd", lambda: bool(self._stored_lines()))
        for name in (*SHARDS, *GATEWAYS):
            self._member(name)
        self._until("shards and gateways", lambda: self.stored().members.keys() >= {*SHARDS, *GATEWAYS})
        self._member(PLACER)  # now there are two to give regions to
        doors = {name: [gateway, *(g for g in GATEWAYS if g != gateway)] for name, gateway in PEOPLE.items()}
        people = {
            name: {
                "token": issuer.token(sub=name, name=name),
                "gateways": [(self.network.address(gateway), CLIENT_PORT) for gateway in gateways],
            }
            for name, gateways in doors.items()
        }
        (self.folder / "people.json").write_text(json.dumps(people))
        self._launch("walkers", STREET, *self._python("walkers", self.folder))
        self._until("people", lambda: bool(self.people()))

    def end(self) -> None:
        """Kill everything: what would be drained is gone anyway."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._data.cleanup()

    def check_alive(self) -> None:
        """Fails if a process has ended, or logged an exception that nobody expected."""
        for name, process in self._processes.items():
            said = self.log(name).read_text()
            assert process.poll() is None, f"{name} has ended:\n{said[-2000:]}"
            assert "Traceback" not in said, f"{name}:\n{said[said.index('Traceback') - 500 :]}"

    def move(self, region: int, shard: str) -> None:
        """As an operator does, on etcd's host; it must succeed."""
        words = ("region", "move", str(self._world), str(region), shard)
        line = self.network.inside(STORE, sys.executable, "-m", "isthmus", *words)
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, done.stderr

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait while everything starts; a process that has ended is told at once."""

        def holds_and_lives() -> bool:
            self.check_alive()
            return holds()

        until(what, holds_and_lives)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _launch(self, name: str, host: str, *command: str) -> None:
        line = self.network.inside(host, "setpriv", "--pdeathsig", "KILL", *command)
        with self.log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(line, stdout=log, stderr=log, cwd=REPOSITORY)

    def _member(self, name: str) -> None:
        address = self.network.address(name)
        line = [sys.executable, "-m", "isthmus", name.rpartition("-")[0], str(self._world)]
        line += ["--cluster-member", name, "--cluster-link-listen", f"{address}:0"]
        if name in GATEWAYS:
            line += ["--gateway-host", address, "--gateway-port", str(CLIENT_PORT)]
        self._launch(name, name, *line)

    def _python(self, module: str, *words: Path) -> list[str]:
        return [sys.executable, "-m", f"tests.integration.hosts.{module}", *map(str, words)]

    def _etcd(self, address: str) -> list[str]:
        server = EtcdServer(find(), Path(self._data.name), ETCD_PORT, ETCD_PEER_PORT)
        url = f"http://{address}:{ETCD_PORT}"
        # Of an option that is given twice the last one counts.
        return [*server.command(), "--listen-client-urls", url, "--advertise-client-urls", url]

    # ------------------------------------------------------------------------------------------------- what there is
    def _stored_lines(self) -> list[str]:
        file = self.folder / "stored"
        return file.read_text().rpartition("\n")[0].splitlines() if file.exists() else []

    def stored(self) -> Stored:
        """What the store holds now."""
        return Stored.read(self._stored_lines()[-1])

    def history(self, since_s: float) -> list[Stored]:
        """Everything that the store has held since then."""
        return [stored for stored in map(Stored.read, self._stored_lines()) if stored.at_s > since_s]

    def people(self) -> dict[str, Any]:
        """What all people do and see, by name (``walkers.seen``)."""
        file = self.folder / "seen.json"
        return dict(json.loads(file.read_text())["people"]) if file.exists() else {}

    def bodies(self) -> dict[str, int]:
        return {name: person["body"] for name, person in self.people().items()}

    def strangers(self) -> dict[str, Any]:
        """Who is not in, or does not see all the others and nobody else, each where it is."""
        people = self.people()
        bodies = {person["body"] for person in people.values()}
        if not people or len(bodies) < len(PEOPLE):
            return people or {"nobody": "is there yet"}
        return {
            name: person
            for name, person in people.items()
            if not person["connected"] or {*person["sees"]} != bodies - {person["body"]} or person["sees_wrongly"]
        }

    def writers(self) -> dict[int, list[writers.Writing]]:
        """Who has written each region, in order; fails if there were two at a time."""
        return writers.one_writer({shard: self.log(shard) for shard in SHARDS})

    def has_lost_link(self, name: str, to: str) -> bool:
        """Whether what the member logged last of its link to another is that it broke."""
        said = [entry["event"] for entry in writers.entries(self.log(name)) if entry.get("member") == to]
        return bool(said) and said[-1] == "link_down"

    def is_settled(self) -> bool:
        """Whether each region is written by its owner, under the epoch in the store, and by nobody else."""
        writing = {
            region: (now.shard, now.epochs[-1])
            for region, (*_, now) in self.writers().items()
            if now.ended_s == writers.NEVER_S
        }
        return writing == self.stored().regions

    # -------------------------------------------------------------------------------------------------- what shall be
    def spread(self) -> None:
        """Two regions for each shard."""
        for region in REGIONS:
            shard = SHARDS[REGIONS.index(region) // 2]
            if self.stored().regions[region][0] != shard:
                self.move(region, shard)

    def until_taken_over(self, name: str, before: Stored) -> None:
        """Wait until each region that the shard had in ``before`` has another living owner, under a higher epoch."""
        theirs = before.owned_by(name)
        assert theirs

        def are_others() -> bool:
            now = self.stored()
            others = {region for region in theirs & now.owner_alive if now.regions[region][0] != name}
            assert all(now.regions[region][1] > before.regions[region][1] for region in others)
            return others == theirs

        until(f"other owners than {name}", are_others)

    def until_back(self, name: str, before: Stored) -> None:
        """Wait until the member is in again, with another lease than in ``before``."""
        until(f"{name} is back", lambda: self.stored().members.get(name, 0) not in (0, before.members[name]))

    def until_whole(self) -> None:
        """Wait until all members are there, each region has a living owner, and people are all in."""
        until("all members", lambda: self.stored().members.keys() >= {*MEMBERS})
        until("owners", lambda: self.stored().owner_alive == {*REGIONS} and self.is_settled())
        self.until_all_in()

    def until_all_in(self) -> None:
        """Wait until everybody sees all the others where they are, and has been in two regions since."""
        until_nobody("is left out", self.strangers)
        self.until_crossed()

    def until_walked(self, commands: int) -> None:
        """Wait until so many further commands have been applied to the body of each; a new body begins anew."""
        begun: dict[str, tuple[int, int]] = {}

        def behind() -> dict[str, int]:
            applied = {}
            for name, person in self.people().items():
                body, count = begun.setdefault(name, (person["body"], person["applied"]))
                if body != person["body"]:
                    begun[name] = (person["body"], count := person["applied"])
                applied[name] = person["applied"] - count
            return {name: count for name, count in applied.items() if count < commands}

        until_nobody("stands still", behind)

    def until_crossed(self) -> None:
        """Wait until everybody has been in two regions."""
        been: dict[str, set[tuple[bool, bool]]] = {name: set() for name in PEOPLE}

        def at_home() -> list[str]:
            for name, person in self.people().items():
                if person["place"] is not None:
                    been[name].add((person["place"][0] > 0, person["place"][2] > 0))
            return [name for name, places in been.items() if len(places) < 2]

        until_nobody("stays at home", at_home)


def until_nobody(what: str, who: Any) -> None:
    """Wait until ``who()`` is empty; the last answer is shown."""
    last: list[Any] = []

    def holds() -> bool:
        last[:] = [who()]
        return not last[0]

    try:
        until(f"nobody {what}", holds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from None


@contextmanager
def running(network: Network, folder: Path) -> Iterator[Cluster]:
    """A cluster on the hosts of ``network``, whole; ended afterwards."""
    cluster = Cluster(network, folder)
    try:
        cluster.start()
        cluster.until_whole()
        yield cluster
    finally:
        cluster.end()
