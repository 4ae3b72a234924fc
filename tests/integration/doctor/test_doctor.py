"""`isthmus doctor` against what is really there: etcd and PostgreSQL absent and present, ports taken, secrets wrong."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from isthmus.config import Config
from isthmus.config.model import Cluster, Durable, Gateway, Observe
from isthmus.config.model import World as WorldOptions
from isthmus.doctor.facts import Facts
from isthmus.doctor.gather import gather
from shard.durable.contract import WorldIdentity
from shard.durable.opening import open_durable
from tests.integration.durable import servers as postgres
from tests.integration.etcd import servers as etcd

RMEM_MAX = int(Path("/proc/sys/net/core/rmem_max").read_text())
HERE = Path(__file__).resolve().parents[3]


def nowhere() -> int:
    """A port that nobody listens on."""
    return etcd.free_ports(1)[0]


def config(folder: Path, **areas: Any) -> Config:
    plain: dict[str, Any] = {
        "gateway": Gateway(port=0),
        "durable": Durable(url="memory:"),
        "observe": Observe(control_path=str(folder / "control")),
    }
    return replace(Config(), folder=str(folder), **{**plain, **areas})


async def looked(folder: Path, **areas: Any) -> Facts:
    return await gather(config(folder, **areas))


async def test_this_machine_is_seen_as_it_is(tmp_path: Path) -> None:
    machine = (await looked(tmp_path)).machine
    assert machine.python == sys.version_info[:3]
    assert not machine.optimised
    assert machine.strangers is None
    assert machine.missing == ()
    assert machine.cores == len(os.sched_getaffinity(0))
    assert machine.descriptors[1] >= machine.descriptors[0] > 0
    assert machine.socket_buffers[0] == RMEM_MAX
    assert machine.steal is not None
    assert 0.0 <= machine.steal <= 1.0


async def test_ports_that_are_taken_are_seen_and_nothing_stays_open(tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        datagrams.bind(("127.0.0.1", 0))
        page, udp, figures = taken.getsockname()[1], datagrams.getsockname()[1], nowhere()
        own = Gateway(port=page, datagrams=True, datagrams_port=udp)
        observe = Observe(listen=f"127.0.0.1:{figures}", control_path=str(tmp_path))
        for _ in range(2):
            found = {port.option: port for port in (await looked(tmp_path, gateway=own, observe=observe)).ports}
            assert found["gateway.port"].taken
            assert not found["gateway.port"].ours
            assert found["gateway.datagrams_port"].taken
            assert found["observe.listen"].taken is None


@pytest.fixture(scope="module")
def member() -> Iterator[etcd.Member]:
    with etcd.running("3.4") as (only,):
        yield only


async def test_etcd_is_seen_with_version_and_time(tmp_path: Path, member: etcd.Member) -> None:
    away = f"http://127.0.0.1:{nowhere()}"
    found = await looked(tmp_path, cluster=Cluster(etcd_endpoints=(member.url, away)))
    assert found.etcd is not None
    there, missing = found.etcd.endpoints
    assert there.version.startswith("3.4")
    assert there.problem is None
    assert there.ahead_s is not None
    assert abs(there.ahead_s) < 1.5
    assert missing.problem
    assert found.etcd.problem is None
    assert found.cluster is not None
    assert found.cluster.members == ()
    (secret,) = found.secrets
    assert secret.problem is not None
    assert "urandom" in secret.problem


async def test_etcd_that_is_away_is_told(tmp_path: Path) -> None:
    found = await looked(tmp_path, cluster=Cluster(etcd_endpoints=(f"http://127.0.0.1:{nowhere()}",)))
    assert found.etcd is not None
    assert found.etcd.endpoints[0].problem
    assert found.cluster is None


async def test_postgres_is_seen_with_its_schema(tmp_path: Path) -> None:
    with postgres.running() as server:
        options = {"world": WorldOptions(name="doctored"), "durable": Durable(url=server.url)}
        store = (await looked(tmp_path, **options)).durable
        assert store is not None
        assert (store.problem, store.schema, store.read_only) == (None, None, False)
        assert store.server.startswith("PostgreSQL 1")
        made = await open_durable(server.url, WorldIdentity("doctored", 1, 1024.0, 5))
        await made.close()
        store = (await looked(tmp_path, **options)).durable
        assert store is not None
        assert store.schema == store.schema_of_program
        assert store.ahead_s is not None
        assert abs(store.ahead_s) < 1.0
        server.become_standby()
        store = (await looked(tmp_path, **options)).durable
        assert store is not None
        assert store.read_only
    store = (await looked(tmp_path, **options)).durable
    assert store is not None
    assert store.problem
    assert "isthmus@" not in store.shown, "no user and no password"


async def test_a_sqlite_file_is_seen_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "world.sqlite"
    store = (await looked(tmp_path, durable=Durable(url=f"sqlite:{path}"))).durable
    assert store is not None
    assert (store.problem, store.schema) == (None, None)
    assert not path.parent.exists(), "looking makes nothing"
    path.parent.mkdir()
    made = await open_durable(f"sqlite:{path}", WorldIdentity("doctored", 1, 1024.0, 5))
    await made.close()
    store = (await looked(tmp_path, durable=Durable(url=f"sqlite:{path}"))).durable
    assert store is not None
    assert store.schema == store.schema_of_program
    with sqlite3.connect(path) as base:
        base.execute("UPDATE schema_version SET version = 99")
    store = (await looked(tmp_path, durable=Durable(url=f"sqlite:{path}"))).durable
    assert store is not None
    assert store.schema == 99
    path.write_bytes(b"nothing of the sort" * 100)
    store = (await looked(tmp_path, durable=Durable(url=f"sqlite:{path}"))).durable
    assert store is not None
    assert store.problem


async def test_secrets_and_certificates_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "open.key").write_bytes(os.urandom(32))
    (tmp_path / "open.key").chmod(0o644)
    (tmp_path / "weak.key").write_bytes(b"passwordpasswordpasswordpassword")
    (tmp_path / "good.key").write_bytes(os.urandom(32))
    for name in ("weak.key", "good.key"):
        (tmp_path / name).chmod(0o600)
    for name, problem, weak in (("open.key", True, False), ("weak.key", False, True), ("good.key", False, False)):
        (secret,) = (await looked(tmp_path, cluster=Cluster(key_path=name))).secrets
        assert (secret.problem is not None, secret.weak) == (problem, weak), name
    trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(tmp_path / "page.pem")
    own = Gateway(port=0, tls_cert_path="page.pem", tls_key_path="page.pem")
    authority = Cluster(link_ca_path="good.key")
    good, bad = (await looked(tmp_path, gateway=own, cluster=authority)).certificates
    assert good.ends_in_s is not None
    assert good.ends_in_s > 0
    assert bad.problem


async def test_where_clients_are_sent_is_resolved(tmp_path: Path) -> None:
    own = Gateway(port=0, datagrams=True, advertise_udp="localhost:4433")
    (place,) = (await looked(tmp_path, gateway=own)).advertised
    assert "127.0.0.1" in place.ips
    (place,) = (await looked(tmp_path, gateway=replace(own, advertise_udp="gateway.invalid:4433"))).advertised
    assert place.problem


def command(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "isthmus", "doctor", *words]
    surroundings = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, env=surroundings)


def test_the_command_ends_with_1_if_something_does_not_work(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text('[world]\nname = "doctored"\n[gateway]\nport = 0\n')
    well = command(tmp_path, "world.toml", "--json")
    told = json.loads(well.stdout)
    assert (well.returncode, told["status"]) == (0, 0), well.stdout + well.stderr
    assert {finding["about"] for finding in told["findings"]} >= {"Python", "packages", "kernels", "CPU"}
    away = command(tmp_path, "world.toml", "--cluster-etcd-endpoints", f"http://127.0.0.1:{nowhere()}")
    assert away.returncode == 1
    assert "ERROR" in away.stdout
    assert "cluster.key_path" in away.stdout
    wrong = command(tmp_path, "world.toml", "--gateway-port", "70000")
    assert wrong.returncode == 78
    assert "--gateway-port" in wrong.stderr
