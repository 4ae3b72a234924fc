"""From facts to findings: what is enough, what is not, and that each thing that is not well says what to do."""

import json
from dataclasses import replace
from typing import Any

import pytest

from isthmus.config import Config
from isthmus.config.model import Gateway, Limits, Observe
from isthmus.doctor.facts import (
    Advertised,
    Certificate,
    ClusterFacts,
    DurableStore,
    Endpoint,
    Etcd,
    Facts,
    Finding,
    Level,
    Machine,
    MemberFacts,
    Port,
    Secret,
)
from isthmus.doctor.run import as_json, draw, judge, status_of

WELL = Machine(
    python=(3, 11, 2),
    optimised=False,
    strangers=None,
    missing=(),
    kernels_folder="/cache",
    kernels_cached=300,
    kernels_writable=True,
    page_built=True,
    cores=4,
    quota=None,
    steal=0.0,
    memory_bytes=None,
    descriptors=(1024, 1_048_576),
    socket_buffers=(8_388_608, 8_388_608),
    clock_synchronised=True,
)
ETCD = Etcd(endpoints=(Endpoint(url="http://e:2379", version="3.5.9", latency_s=0.001, ahead_s=0.4),), read_s=0.002)
STORE = DurableStore(shown="postgresql://…@db", kind="postgresql", server="PostgreSQL 15", schema=3, latency_s=0.001)
MEMBERS = (
    MemberFacts(
        name="gateway-0", kind="gateway", load=0.1, draining=False, durable_away=False, status={"lag_ticks": 0}
    ),
    MemberFacts(name="placer-0", kind="placer", load=0.0, draining=False, durable_away=False),
    MemberFacts(name="shard-0", kind="shard", load=0.3, draining=False, durable_away=False),
)
CLUSTER = ClusterFacts(members=MEMBERS, regions=16, placer=True)
UDP = replace(Config(), gateway=Gateway(datagrams=True, host="0.0.0.0", mode="production", tls_cert_path="c.pem"))


def told(facts: Facts, config: Config | None = None) -> list[Finding]:
    return [finding for finding in judge(facts, config or Config()) if finding.level is not Level.OK]


def of(**parts: Any) -> Facts:
    return Facts(machine=WELL, **parts)


def test_where_all_is_well_nothing_is_to_be_done() -> None:
    facts = of(
        etcd=ETCD, durable=STORE, cluster=CLUSTER, ports=(Port(option="gateway.port", address="127.0.0.1:8080"),)
    )
    assert told(facts) == []
    assert status_of(judge(facts, Config())) == 0


def member(**changes: Any) -> ClusterFacts:
    return replace(CLUSTER, members=(replace(MEMBERS[0], **changes), *MEMBERS[1:]))


CASES = [
    ("old Python", Facts(machine=replace(WELL, python=(3, 10, 4))), None, Level.ERROR, "Python", "3.11"),
    ("python -O", Facts(machine=replace(WELL, optimised=True)), None, Level.ERROR, "Python", "-O"),
    ("names of ours", Facts(machine=replace(WELL, strangers="server: /x")), None, Level.ERROR, "packages", "folder"),
    ("a missing package", Facts(machine=replace(WELL, missing=("aioquic",))), None, Level.ERROR, "packages", "aioquic"),
    ("no kernels", Facts(machine=replace(WELL, kernels_cached=0)), None, Level.WARNING, "kernels", "warmup"),
    (
        "no kernels and no room",
        Facts(machine=replace(WELL, kernels_cached=0, kernels_writable=False)),
        None, Level.ERROR, "kernels", "NUMBA_CACHE_DIR",
    ),
    ("no page", Facts(machine=replace(WELL, page_built=False)), None, Level.WARNING, "web page", "make web"),
    ("few files", Facts(machine=replace(WELL, descriptors=(9, 99))), None, Level.ERROR, "file descriptors", "ulimit"),
    ("little memory", Facts(machine=replace(WELL, memory_bytes=200 << 20)), None, Level.WARNING, "memory", "512"),
    ("half a core", Facts(machine=replace(WELL, quota=0.5)), None, Level.WARNING, "CPU", "whole core"),
    ("stolen time", Facts(machine=replace(WELL, steal=0.2)), None, Level.WARNING, "CPU", "cores"),
    ("a free clock", Facts(machine=replace(WELL, clock_synchronised=False)), None, Level.WARNING, "clock", "chrony"),
    (
        "small buffers", Facts(machine=replace(WELL, socket_buffers=(212_992, 8_388_608))), UDP,
        Level.WARNING, "UDP buffers", "net.core.rmem_max",
    ),
    (
        "a port that is taken", of(ports=(Port(option="gateway.port", address="h:1", taken="in use"),)), None,
        Level.ERROR, "port h:1", "gateway.port",
    ),
    (
        "our own port", of(ports=(Port(option="gateway.port", address="h:1", taken="in use", ours=True),)), None,
        Level.NOTE, "port h:1", "",
    ),
    (
        "nobody's address", of(advertised=(Advertised(option="a", address="0.0.0.0:1", ips=("0.0.0.0",)),)), UDP,
        Level.ERROR, "a", "reach",
    ),
    (
        "the client's own machine", of(advertised=(Advertised(option="a", address="l:1", ips=("127.0.0.1",)),)), UDP,
        Level.ERROR, "a", "reach",
    ),
    (
        "a private address", of(advertised=(Advertised(option="a", address="p:1", ips=("10.0.0.1",)),)), UDP,
        Level.NOTE, "a", "",
    ),
    (
        "an unknown name", of(advertised=(Advertised(option="a", address="n:1", problem="no such name"),)), UDP,
        Level.ERROR, "a", "resolve",
    ),
    ("an unreadable key", of(secrets=(Secret(option="k", problem="others may read"),)), None, Level.ERROR, "k", "text"),
    ("a weak key", of(secrets=(Secret(option="k", weak=True),)), None, Level.ERROR, "k", "urandom"),
    (
        "a certificate that is over", of(certificates=(Certificate(of="page", path="p", ends_in_s=-9.0),)), None,
        Level.ERROR, "certificate of page", "renew",
    ),
    (
        "a certificate that soon is", of(certificates=(Certificate(of="page", path="p", ends_in_s=8e5),)), None,
        Level.WARNING, "certificate of page", "renew",
    ),
    (
        "no certificate", of(certificates=(Certificate(of="page", path="p", problem="no PEM"),)), None,
        Level.ERROR, "certificate of page", "PEM",
    ),
    ("a folder", of(writable={"the socket": "/x cannot be written"}), None, Level.ERROR, "folders", "options"),
    (
        "no TLS in production", of(), replace(Config(), gateway=Gateway(mode="production")),
        Level.WARNING, "TLS", "tls_cert_path",
    ),
    (
        "figures for everybody", of(), replace(Config(), observe=Observe(listen="0.0.0.0:9464")),
        Level.NOTE, "observe.listen", "",
    ),
    (
        "etcd away", of(etcd=Etcd(endpoints=(Endpoint(url="http://e:1", problem="refused"),))), None,
        Level.ERROR, "etcd http://e:1", "runs",
    ),
    (
        "an old etcd", of(etcd=replace(ETCD, endpoints=(Endpoint(url="u", version="3.3.25"),))), None,
        Level.ERROR, "etcd u", "3.4",
    ),
    (
        "another clock", of(etcd=replace(ETCD, endpoints=(Endpoint(url="u", version="3.6.0", ahead_s=-7.0),))), None,
        Level.WARNING, "clock", "chrony",
    ),
    ("a wrong user", of(etcd=replace(ETCD, problem="permission denied")), None, Level.ERROR, "etcd", "etcd_user"),
    ("a slow etcd", of(etcd=replace(ETCD, read_s=0.3)), None, Level.WARNING, "etcd", "disk"),
    (
        "a store that is away", of(durable=replace(STORE, problem="refused")), None,
        Level.ERROR, "durable store postgresql://…@db", "DURABLE",
    ),
    (
        "a standby", of(durable=replace(STORE, read_only=True)), None,
        Level.ERROR, "durable store postgresql://…@db", "primary",
    ),
    (
        "a newer store", of(durable=replace(STORE, schema=99)), None,
        Level.ERROR, "durable store postgresql://…@db", "newer",
    ),
    (
        "an older store", of(durable=replace(STORE, schema=1)), None,
        Level.NOTE, "durable store postgresql://…@db", "",
    ),
    (
        "a slow store", of(durable=replace(STORE, latency_s=0.4)), None,
        Level.WARNING, "durable store postgresql://…@db", "disk",
    ),
    ("the database's clock", of(durable=replace(STORE, ahead_s=0.2)), None, Level.NOTE, "clock", ""),
    (
        "no connections left", of(durable=replace(STORE, connections=(99, 100))), None,
        Level.WARNING, "durable store postgresql://…@db", "max_connections",
    ),
    ("nobody runs", of(cluster=ClusterFacts()), None, Level.NOTE, "cluster", ""),
    (
        "no gateway", of(cluster=replace(CLUSTER, members=MEMBERS[1:])), None, Level.WARNING, "cluster", "a gateway",
    ),
    ("no placer", of(cluster=replace(CLUSTER, placer=False)), None, Level.ERROR, "placer", "isthmus placer"),
    (
        "regions alone", of(cluster=replace(CLUSTER, orphans=tuple(range(20, 31)))), None,
        Level.ERROR, "regions", "IsthmusRegionWithoutOwner",
    ),
    ("a claim", of(cluster=replace(CLUSTER, claims=("shard-3",))), None, Level.WARNING, "claims", "release"),
    (
        "another world", of(cluster=replace(CLUSTER, differs=("seed is 1 here and 2 there",))), None,
        Level.ERROR, "world", "namespace",
    ),
    ("a busy shard", of(cluster=member(kind="shard", load=0.97)), None, Level.WARNING, "gateway-0", "TicksLate"),
    ("a store away", of(cluster=member(durable_away=True)), None, Level.ERROR, "gateway-0", "DurableAway"),
    ("a drain", of(cluster=member(draining=True)), None, Level.NOTE, "gateway-0", ""),
    ("a late gateway", of(cluster=member(status={"lag_ticks": 3})), None, Level.WARNING, "gateway-0", "TicksLate"),
    ("one that sheds", of(cluster=member(status={"shed_level": 2})), None, Level.WARNING, "gateway-0", "Shedding"),
    ("one that warns", of(cluster=member(status={"warnings": ["w"]})), None, Level.WARNING, "gateway-0", "log"),
    ("one that is not reached", of(cluster=member(status=None)), None, Level.NOTE, "gateway-0", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "config", "level", "about", "remedy"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_is_not_well_is_told_with_what_to_do(
    facts: Facts, config: Config | None, level: Level, about: str, remedy: str
) -> None:
    found = [finding for finding in told(facts, config) if finding.about == about and finding.level is level]
    assert found, told(facts, config)
    assert any(remedy in finding.remedy for finding in found), found
    assert status_of(judge(facts, config or Config())) == int(level is Level.ERROR)


def test_each_warning_and_error_says_what_to_do() -> None:
    for case in CASES:
        for finding in told(case[1], case[2]):
            assert finding.level is Level.NOTE or finding.remedy, finding


def test_the_limits_of_the_options_count() -> None:
    few = replace(Config(), limits=Limits(sessions_max=500))
    assert not told(Facts(machine=replace(WELL, descriptors=(256, 1024))), few)


def test_programs_get_json_and_people_a_table() -> None:
    findings = judge(of(cluster=replace(CLUSTER, placer=False)), Config())
    answer = json.loads(as_json(findings))
    assert answer["status"] == 1
    assert answer["findings"][0] == {
        "level": "error",
        "about": "placer",
        "text": "nobody places regions",
        "remedy": "start `isthmus placer` (docs/runbooks/IsthmusPlacerMissing.md)",
    }
    assert draw(findings).row_count == len(findings)
