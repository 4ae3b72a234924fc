"""What is done to a cluster: one fault at a time, of each kind.

Decides whom it hits, and what is done so that the cluster is whole again. Invariant: each fault returns the moment in
which it came. Not responsible for: waiting (``__main__``), what is noticed (``crowd``).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.failover.cluster import BANK, GATEWAYS, MEMBERS, SHARDS, Cluster

CUT_S = 5.0
"""A cut between two hosts ends by itself. Some have no way around: who is at a gateway that does not reach a shard."""
AWAY_S = 30.0
"""The only etcd is away."""
BACK_S = 6.0
"""When it is back: leases are taken up again, and lives called over."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``victims``: members that are to be found dead; ``sort``: who is affected (``Crowd.measure``); ``what``: for the
    log; ``mend``: what ends it; ``mend_after_s``: when, or None: when everybody moves again."""

    at_s: float
    victims: list[str]
    sort: str
    what: str
    mend: Callable[[], None] = lambda: None
    mend_after_s: float | None = None
    rest_s: float = 0.0
    """After the end: what follows from it is still the fault's."""


def _kill(cluster: Cluster, name: str, sort: str) -> Fault:
    at_s = cluster.kill(name)
    cluster.launch(name)
    return Fault(at_s, [name], sort, name)


def _owner(cluster: Cluster, rng: np.random.Generator) -> str:
    return str(rng.choice(sorted(set(cluster.state()["owners"].values()))))


def _crowded(cluster: Cluster) -> str:
    sessions: dict[str, int] = cluster.state()["sessions"]
    return max(sessions, key=sessions.__getitem__)


def shard(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """One that owns something."""
    return _kill(cluster, _owner(cluster, rng), "shard")


def gateway(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """The one with most people: those of a dead one stay where they came."""
    return _kill(cluster, _crowded(cluster), "gateway")


def placer(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """The one that places."""
    return _kill(cluster, str(cluster.state()["placer"]), "all")


def etcd_one(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """One of three."""
    name = str(rng.choice(cluster.stores))
    at_s = cluster.kill(name)
    cluster.launch(name)
    return Fault(at_s, [], "all", name)


def etcd_away(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """The only one, for AWAY_S."""
    (name,) = cluster.stores
    return Fault(cluster.kill(name), [], "all", name, lambda: cluster.launch(name), AWAY_S, BACK_S)


def postgres(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """As if it had crashed."""
    at_s = time.monotonic()
    cluster.bank.restart("immediate")
    return Fault(at_s, [], "all", BANK)


def silent(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """The host of a shard that owns something, or, in one of three cases, of a gateway."""
    of_gateway = rng.random() < 1 / 3
    name = _crowded(cluster) if of_gateway else _owner(cluster, rng)
    at_s = time.monotonic()
    cluster.network.silence(name)
    return Fault(at_s, [name], "gateway" if of_gateway else "shard", name, cluster.network.heal)


def partition(cluster: Cluster, rng: np.random.Generator) -> Fault:
    """Between any two, for CUT_S; one of them is a shard or a gateway."""
    one = str(rng.choice([*SHARDS, *GATEWAYS]))
    other = str(rng.choice([host for host in (*cluster.stores, BANK, *MEMBERS) if host != one]))
    at_s = time.monotonic()
    cluster.network.part(one, other)
    return Fault(at_s, [], "late", f"{one} and {other}", cluster.network.heal, CUT_S)


KINDS: dict[str, Callable[[Cluster, np.random.Generator], Fault]] = {
    "shard": shard,
    "gateway": gateway,
    "placer": placer,
    "etcd": etcd_one,
    "postgres": postgres,
    "silent": silent,
    "partition": partition,
    "etcd-away": etcd_away,
}
