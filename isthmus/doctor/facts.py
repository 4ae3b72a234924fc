"""What was found on a machine and around it: plain values, and findings that are made of them.

Invariant: facts say nothing about good or bad; a fact that could not be had is None, or says why in ``problem``. Not
responsible for: finding them (``gather``), judging them (``machine``, ``services``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from shard.durable.schema import VERSION


class Level(IntEnum):
    """How bad it is."""

    OK = 0
    NOTE = 1
    """Worth knowing; nothing to do."""
    WARNING = 2
    """It works, and will not for long, or not well."""
    ERROR = 3
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``about`` (a word or two), what was found, and what to do if it is not well."""

    level: Level
    about: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, the interpreter and what is installed."""

    python: tuple[int, int, int]
    optimised: bool
    """Run with -O."""
    strangers: str | None
    """Names of ours that resolve to something else, in words."""
    missing: tuple[str, ...]
    """Packages that the options need and that are not installed."""
    kernels_folder: str
    kernels_cached: int
    kernels_writable: bool
    page_built: bool
    cores: int
    """That this process may use."""
    quota: float | None
    """Cores that the control group grants; None: no limit."""
    steal: float | None
    """Part of the CPU's time that the hypervisor gave to others, while it was looked."""
    memory_bytes: int | None
    """That the control group grants."""
    descriptors: tuple[int, int]
    """Soft and hard limit."""
    socket_buffers: tuple[int | None, int | None]
    """net.core.rmem_max and wmem_max."""
    clock_synchronised: bool | None
    """Whether the kernel's clock follows a time server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An address that a process would listen on. ``taken``: why it cannot be had; ``ours``: an Isthmus serves there."""

    option: str
    address: str
    taken: str | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A key's file: ``problem``: why it cannot be used, in words that say what to do; ``weak``: it is no random key."""

    option: str
    problem: str | None = None
    weak: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate's file. ``ends_in_s``: time left; None: ``problem`` says why nobody knows."""

    of: str
    path: str
    ends_in_s: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server of etcd. ``ahead_s``: its clock against ours (±1 s); ``latency_s``: one small answer."""

    url: str
    problem: str | None = None
    version: str = ""
    latency_s: float = 0.0
    ahead_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Etcd:
    """The coordination store. ``problem``: why a key cannot be read with the options' user and namespace."""

    endpoints: tuple[Endpoint, ...]
    problem: str | None = None
    read_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableStore:
    """Where the world is kept, without a password. ``schema``: its version; None: the world was never written.
    ``latency_s``: one flush of a SQLite file's disk, one answer of a database. ``ahead_s``: the database's clock
    against ours."""

    shown: str
    kind: str
    problem: str | None = None
    server: str = ""
    schema: int | None = None
    schema_of_program: int = VERSION
    read_only: bool = False
    latency_s: float = 0.0
    ahead_s: float | None = None
    connections: tuple[int, int] | None = None
    """In use, and how many there may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertised:
    """Where clients are told to go on. ``problem``: the name cannot be resolved."""

    option: str
    address: str
    ips: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """A living member, as its record says; ``status``: what a gateway says at /api/status, None: it could not be
    asked."""

    name: str
    kind: str
    load: float
    draining: bool
    durable_away: bool
    url: str = ""
    status: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """The running cluster, as etcd tells. ``differs``: options that are not the world's; ``orphans``: regions without a
    living owner; ``claims``: lives that are over and whose regions nobody may take."""

    members: tuple[MemberFacts, ...] = ()
    regions: int = 0
    orphans: tuple[int, ...] = ()
    claims: tuple[str, ...] = ()
    placer: bool = False
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. Parts that the options do not ask for are None or empty."""

    machine: Machine
    ports: tuple[Port, ...] = ()
    secrets: tuple[Secret, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    advertised: tuple[Advertised, ...] = ()
    etcd: Etcd | None = None
    durable: DurableStore | None = None
    cluster: ClusterFacts | None = None
    writable: Mapping[str, str] = field(default_factory=dict)
    """Folders that a process writes to and cannot, by what for: why."""
