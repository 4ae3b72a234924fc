"""Hosts as network namespaces around one router, and cuts between them: packets that vanish without a word.

Each host has one interface, its own subnet and a default route to the router, itself a namespace that forwards. A cut
is a routing rule of the router (``ip rule ... blackhole``): it drops what goes from one host to another, in that
direction alone, and tells nobody, so that connections stay open and hear nothing, as with a broken cable. Needs
root and Debian's iproute2, no firewall.

Invariants: only namespaces made here are touched, their names hold this process's id; all interfaces are inside them,
so nothing of the machine's own network changes; all are removed when the ``with`` ends. Not responsible for: ending
what runs in them (they go when the last process has ended).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

SUBNETS = "10.77"
"""Never seen outside: the router has no way to the machine's own network."""
ROUTER = "router"


class Network:
    """``hosts`` by name; ``made`` makes it."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = list(hosts)
        self._cuts: list[tuple[str, ...]] = []

    def address(self, host: str) -> str:
        """Where others reach the host."""
        return f"{SUBNETS}.{self.hosts.index(host)}.2"

    def inside(self, host: str, *command: str) -> list[str]:
        """``command`` as it runs on that host. The process is the command itself: its id is the one to signal."""
        return ["ip", "netns", "exec", self._namespace(host), *command]

    def cut(self, source: str, target: str) -> None:
        """Nothing gets from ``source`` to ``target`` any more; the other way stays."""
        self._drop("from", self.address(source), "to", self.address(target))

    def part(self, one: str, other: str) -> None:
        """Nothing gets from one to the other, either way."""
        self.cut(one, other)
        self.cut(other, one)

    def silence(self, host: str) -> None:
        """Nothing gets to the host or from it; its processes live on."""
        self._drop("from", self.address(host))
        self._drop("to", self.address(host))

    def heal(self) -> None:
        """All cuts are over."""
        while self._cuts:
            _run("ip", "-n", self._namespace(ROUTER), "rule", "del", *self._cuts[-1])
            self._cuts.pop()

    def _drop(self, *selector: str) -> None:
        rule = (*selector, "blackhole")
        _run("ip", "-n", self._namespace(ROUTER), "rule", "add", *rule)
        self._cuts.append(rule)

    @staticmethod
    def _namespace(host: str) -> str:
        return f"isthmus-{os.getpid()}-{host}"

    # ------------------------------------------------------------------------------------------------------- making
    def make(self, removing: ExitStack) -> None:
        """Make all namespaces; each has its removal put on ``removing`` as soon as it is there."""
        assert shutil.which("ip"), "no ip on the PATH: apt-get install iproute2"
        for host in (ROUTER, *self.hosts):
            _run("ip", "netns", "add", self._namespace(host))
            removing.callback(_run, "ip", "netns", "del", self._namespace(host))
        _run(*self.inside(ROUTER, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
        for number, host in enumerate(self.hosts):
            self._connect(host, f"host{number}", f"{SUBNETS}.{number}.1")

    def _connect(self, host: str, port: str, gateway: str) -> None:
        own, router = ("ip", "-n", self._namespace(host)), ("ip", "-n", self._namespace(ROUTER))
        _run(*router, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self._namespace(host))
        _run(*router, "address", "add", f"{gateway}/24", "dev", port)
        _run(*router, "link", "set", port, "up")
        _run(*own, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        _run(*own, "link", "set", "lo", "up")
        _run(*own, "link", "set", "eth0", "up")
        _run(*own, "route", "add", "default", "via", gateway)


@contextmanager
def made(hosts: Sequence[str]) -> Iterator[Network]:
    """A network of these hosts, whole; gone afterwards."""
    network = Network(hosts)
    with ExitStack() as removing:
        network.make(removing)
        yield network


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}"
