"""The shell of the doctor: looks at this machine and gives facts. Changes nothing that stays.

Decides only how a fact is found, and how long is waited for it. Not responsible for: judging facts (``machine``,
``services``), other processes (``asking``).
"""

import asyncio
import ctypes
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import aiohttp

from isthmus.config import Config
from isthmus.doctor.asking import cluster_of, durable_of, etcd_of
from isthmus.doctor.facts import Advertised, Certificate, Facts, Machine, Port, Secret
from isthmus.durable import FOLDER, url_of
from isthmus.fleet.setup import SetupError, read_key
from isthmus.observe.certificates import end_of, files_of
from isthmus.observe.cgroup import cpu_quota, limit_bytes
from isthmus.observe.observed import CONTROL, listen_address
from isthmus.startup import StartupError, check_names

LOOK_S = 0.5
"""For how long the CPU's time is looked at."""
WAIT_S = 3.0
OURS_S = 1.0
"""For one of our own to answer, on this machine."""
DIFFERENT_BYTES_LEAST = 12
"""A random key of 32 bytes has fewer different ones once in 10²⁰."""
_STA_UNSYNC = 0x40
_STATUS_AT = 40
"""Of ``status`` in struct timex (adjtimex(2)) where longs have 64 bits."""


async def gather(config: Config) -> Facts:
    """All facts that these options ask for."""
    etcd, cluster = None, None
    if config.cluster.etcd_endpoints:
        etcd = await etcd_of(config)
        if etcd.problem is None and any(endpoint.problem is None for endpoint in etcd.endpoints):
            cluster = await cluster_of(config)
    return Facts(
        machine=await machine_of(config),
        ports=tuple(await _ports(config)),
        secrets=tuple(_secrets(config)),
        certificates=tuple(_certificates(config)),
        advertised=tuple(await _advertised(config)),
        etcd=etcd,
        durable=await durable_of(config),
        cluster=cluster,
        writable=_not_writable(config),
    )


# ------------------------------------------------------------------------------------------------------------ machine
async def machine_of(config: Config) -> Machine:
    """This machine and what is installed on it."""
    from kernels.jit import cache_folder  # loads numba, which takes a second

    try:
        check_names()
        strangers = None
    except StartupError as problem:
        strangers = str(problem)
    kernels = cache_folder()
    static = Path(__file__).parents[2] / "server" / "static" / "index.html"
    return Machine(
        python=sys.version_info[:3],
        optimised=not __debug__,
        strangers=strangers,
        missing=tuple(_missing(config)),
        kernels_folder=str(kernels),
        kernels_cached=_count(kernels, "*.nbi"),
        kernels_writable=_is_writable(kernels),
        page_built=_is_file(static),
        cores=len(os.sched_getaffinity(0)),
        quota=cpu_quota(),
        steal=await _steal(),
        memory_bytes=limit_bytes(),
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE),
        socket_buffers=(_sysctl("rmem_max"), _sysctl("wmem_max")),
        clock_synchronised=_clock_synchronised(),
    )


def _missing(config: Config) -> Iterable[str]:
    extras = {name for name, wanted in _extras(config).items() if wanted}
    try:
        needed = requires("isthmus") or []
    except PackageNotFoundError:
        return  # run from its sources without an installation: check_names has said what is not there
    for requirement in needed:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", requirement)
        if name is None or (extra is not None and extra[1] not in extras):
            continue
        try:
            version(name[0])
        except PackageNotFoundError:
            yield name[0]


def _extras(config: Config) -> dict[str, bool]:
    return {
        "place": config.world.place is not None,
        "webtransport": config.gateway.webtransport,
        "tracing": config.tracing.endpoint is not None,
    }


def _count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.rglob(pattern))


def _is_file(path: Path) -> bool:
    return path.is_file()


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _sysctl(name: str) -> int | None:
    try:
        return int(Path(f"/proc/sys/net/core/{name}").read_text())
    except (OSError, ValueError):
        return None


async def _steal() -> float | None:
    """Part of the CPUs' time that went to other machines (proc(5), /proc/stat)."""
    before = _times()
    await asyncio.sleep(LOOK_S)
    after = _times()
    if before is None or after is None:
        return None
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return spent[7] / sum(spent) if sum(spent) else 0.0


def _times() -> list[int] | None:
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    return [int(field) for field in fields] if len(fields) == 8 else None


def _clock_synchronised() -> bool | None:
    """What the kernel says of its clock; None if it says nothing."""
    room = ctypes.create_string_buffer(512)
    if ctypes.sizeof(ctypes.c_long) != 8:
        return None
    state = ctypes.CDLL(None).adjtimex(room)
    if state < 0:
        return None
    status = int.from_bytes(room.raw[_STATUS_AT : _STATUS_AT + 4], sys.byteorder)
    return not status & _STA_UNSYNC


# ------------------------------------------------------------------------------------------------- ports and addresses
async def _ports(config: Config) -> list[Port]:
    """The addresses that a process of this world would listen on; port 0 takes a free one, whatever there is."""
    own = config.gateway
    page = Port(option="gateway.port", address=_shown(own.host, own.port))
    found = [await _tried(page, own.host, own.port, socket.SOCK_STREAM, own.tls_cert_path is not None)]
    for option, wanted, port in (
        ("gateway.datagrams_port", own.datagrams, own.datagrams_port),
        ("gateway.webtransport_port", own.webtransport, own.webtransport_port),
    ):
        if wanted:
            number = own.port if port is None else port
            asked = Port(option=option, address=f"{_shown(own.host, number)}/udp")
            found.append(await _tried(asked, own.host, number, socket.SOCK_DGRAM))
    if config.observe.listen is not None:
        host, number = listen_address(config.observe.listen)
        asked = Port(option="observe.listen", address=config.observe.listen)
        found.append(await _tried(asked, host, number, socket.SOCK_STREAM, False))
    links = config.cluster.link_listen
    if config.cluster.etcd_endpoints and not links.startswith("unix:"):
        host, number = listen_address(links)
        found.append(await _tried(Port(option="cluster.link_listen", address=links), host, number, socket.SOCK_STREAM))
    return found


async def _tried(port: Port, host: str, number: int, kind: socket.SocketKind, tls: bool | None = None) -> Port:
    """``tls``: whether an Isthmus that has it would speak TLS there; None: it speaks no HTTP."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
        return port
    except OSError as problem:
        ours = tls is not None and await _is_ours(f"http{'s' if tls else ''}://{port.address}/healthz")
        return replace(port, taken=problem.strerror or str(problem), ours=ours)


async def _is_ours(url: str) -> bool:
    try:
        timeout = aiohttp.ClientTimeout(total=OURS_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, ssl=False) as answer:
            return b'"alive"' in await answer.read() or answer.status in (421, 503)
    except (aiohttp.ClientError, OSError):
        return False


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _advertised(config: Config) -> list[Advertised]:
    """Where clients, and other members, are told to come."""
    own, cluster = config.gateway, config.cluster
    told = []
    if own.datagrams:
        told.append(("gateway.advertise_udp", own.advertise_udp or _shown(own.host, own.port)))
    if own.webtransport:
        told.append(("gateway.advertise_webtransport", own.advertise_webtransport or _shown(own.host, own.port)))
    if cluster.link_advertise_host is not None:
        told.append(("cluster.link_advertise_host", f"{cluster.link_advertise_host}:0"))
    return [await _resolved(option, address) for option, address in told]


async def _resolved(option: str, address: str) -> Advertised:
    host = address.rpartition(":")[0].strip("[]")
    try:
        async with asyncio.timeout(WAIT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as problem:
        return Advertised(option=option, address=address, problem=str(problem) or "no answer in time")
    return Advertised(option=option, address=address, ips=tuple(dict.fromkeys(str(each[4][0]) for each in found)))


# ------------------------------------------------------------------------------------------------- secrets and folders
def _secrets(config: Config) -> Iterable[Secret]:
    folder, own = Path(config.folder), config.cluster
    if own.key_path is not None:
        try:
            key = read_key(folder / own.key_path, "cluster.key_path")
            yield Secret(option="cluster.key_path", weak=len(set(key)) < DIFFERENT_BYTES_LEAST)
        except SetupError as problem:
            yield Secret(option="cluster.key_path", problem=str(problem))
    elif own.etcd_endpoints and own.link_cert_path is None:
        missing = (
            "links need the cluster's key or certificates: set cluster.key_path, the same file for all members "
            "(`(umask 077; head -c 32 /dev/urandom > cluster.key)`)"
        )
        yield Secret(option="cluster.key_path", problem=missing)


def _certificates(config: Config) -> Iterable[Certificate]:
    for of, path in files_of(config).items():
        try:
            left_s = end_of(Path(config.folder) / path) - time.time()
            yield Certificate(of=of, path=path, ends_in_s=left_s)
        except (OSError, ValueError) as problem:
            yield Certificate(of=of, path=path, problem=str(problem))


def _not_writable(config: Config) -> dict[str, str]:
    needed = {}
    if config.observe.control:
        control = CONTROL if config.observe.control_path is None else Path(config.observe.control_path)
        needed["the control socket of `isthmus record` (observe.control_path, or observe.control = false)"] = control
    if url_of(config).startswith("postgres") and config.cluster.key_path is None:
        needed["the key of sessions (or set cluster.key_path)"] = FOLDER
    return {what: f"{folder} cannot be written" for what, folder in needed.items() if not _is_writable(folder)}
