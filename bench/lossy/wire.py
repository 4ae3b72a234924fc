"""A bad wire between two hosts: a TUN interface in each of two network namespaces, and this process between them.

Packets are lost, delayed, reordered, repeated and held to a rate as ``Fault`` says, IP packets of every protocol alike:
so TCP does over it what TCP does. Where the kernel has netem, ``tc qdisc add … netem`` does the same; not every kernel
has it. Needs root and Debian's iproute2.

Invariants: what is done to a packet comes from the seed and the order of packets; namespaces and interfaces are gone
after the ``with``. Not responsible for: what runs on the hosts.
"""

import asyncio
import fcntl
import os
import random
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

HOSTS = ("server", "client")
ADDRESSES = {"server": "10.78.0.1", "client": "10.78.0.2"}
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_PACKET_BYTES = 2048
QUEUE_S = 0.25
"""What a narrow wire holds before it drops, as most home routers do."""
LATE_S = 0.03
"""By how much a reordered packet is later than it would have been."""


@dataclass(frozen=True)
class Fault:
    """``loss``, ``reorder``, ``repeat``: parts of one; ``delay_s`` one way; ``bytes_per_s`` for each flow, 0: as
    fast as it goes."""

    name: str
    loss: float = 0.0
    delay_s: float = 0.0
    reorder: float = 0.0
    repeat: float = 0.0
    bytes_per_s: int = 0


class Wire:
    """Two interfaces by descriptor, and what is between them. ``fault`` may be changed at any time."""

    def __init__(self, fds: dict[str, int], seed: int) -> None:
        self.fault = Fault("none")
        self.bytes: Counter[tuple[str, bytes]] = Counter()
        """That left each host, by flow: what the wire was given, before anything was lost."""
        self._fds = fds
        self._rng = random.Random(seed)
        self._free_at: dict[tuple[str, bytes], float] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Carry packets from now on."""
        for host, fd in self._fds.items():
            loop.add_reader(fd, self._take, loop, host, fd)

    def _take(self, loop: asyncio.AbstractEventLoop, host: str, fd: int) -> None:
        for _ in range(64):
            try:
                packet = os.read(fd, _PACKET_BYTES)
            except BlockingIOError:
                return
            self._carry(loop, host, packet)

    def _carry(self, loop: asyncio.AbstractEventLoop, host: str, packet: bytes) -> None:
        flow = flow_of(packet)
        self.bytes[host, flow] += len(packet)
        fault, rng = self.fault, self._rng
        if rng.random() < fault.loss:
            return
        now_s = loop.time()
        at_s = now_s
        if fault.bytes_per_s:
            at_s = max(now_s, self._free_at.get((host, flow), 0.0))
            if at_s - now_s > QUEUE_S:
                return
            at_s += len(packet) / fault.bytes_per_s
            self._free_at[host, flow] = at_s
        at_s += fault.delay_s + (LATE_S if rng.random() < fault.reorder else 0.0)
        other = self._fds[HOSTS[1 - HOSTS.index(host)]]
        for _ in range(1 + (rng.random() < fault.repeat)):
            if at_s <= now_s:
                _put(other, packet)
            else:
                loop.call_at(at_s, _put, other, packet)


def flow_of(packet: bytes) -> bytes:
    """Protocol and ports of an IPv4 packet, the same in both directions."""
    if len(packet) < 24 or packet[0] >> 4 != 4:
        return b""
    ports = 4 * (packet[0] & 15)
    return packet[9:10] + b"".join(sorted((packet[ports : ports + 2], packet[ports + 2 : ports + 4])))


def _put(fd: int, packet: bytes) -> None:
    try:
        os.write(fd, packet)
    except BlockingIOError:
        return  # the host's own queue is full: another way to get lost


def inside(host: str, *command: str) -> list[str]:
    """``command`` as it runs on a host."""
    return ["ip", "netns", "exec", _namespace(host), *command]


@contextmanager
def made(seed: int) -> Iterator[Wire]:
    """Two hosts and the wire between them."""
    with ExitStack() as removing:
        fds = {}
        for host in HOSTS:
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            removing.callback(os.close, fd)
            name = f"is{os.getpid() % 100000}{host[0]}"
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
            fds[host] = fd
            _run("ip", "netns", "add", _namespace(host))
            removing.callback(_run, "ip", "netns", "del", _namespace(host))
            _run("ip", "link", "set", name, "netns", _namespace(host))
            other = HOSTS[1 - HOSTS.index(host)]
            own = ("ip", "-n", _namespace(host))
            _run(*own, "address", "add", ADDRESSES[host], "peer", ADDRESSES[other], "dev", name)
            _run(*own, "link", "set", "lo", "up")
            _run(*own, "link", "set", name, "up")
        yield Wire(fds, seed)


def _namespace(host: str) -> str:
    return f"isthmus-{os.getpid()}-{host}"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
