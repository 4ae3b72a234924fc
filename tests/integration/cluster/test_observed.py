"""A running cluster as its operators see it: every process serves what docs/METRICS.md says, and can be looked into."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from k8s.monitoring.reference import entries
from tests.integration.cluster.conftest import running
from tests.integration.cluster.running import Running, bots, until

MEMBERS = {"placer-0": "placer", "shard-0": "shard", "shard-1": "shard", "gateway-0": "gateway", "gateway-1": "gateway"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("observed")
    flags = ["--observe-listen", "127.0.0.1:0", "--gateway-datagrams", "true", "--gateway-datagrams-port", "0"]
    with running(folder, f"sqlite:{folder / 'world.sqlite'}", flags) as made:
        crowd = bots(made.urls[0], seed=1, count=6)
        try:
            until("people walk", lambda: made.status(0)["inputs"] > 50 or made.status(1)["inputs"] > 50)
            yield made
        finally:
            crowd.terminate()
            crowd.wait(20)


def observed(cluster: Running, member: str, path: str) -> str:
    """What a member says where it is observed; by an address, as Prometheus and Kubernetes come."""
    lines = [json.loads(line) for line in cluster.log(member).splitlines() if '"observed_at"' in line]
    asked = Request(f"http://127.0.0.1:{lines[-1]['port']}{path}", headers={"Host": "10.0.0.9:9464"})
    with urlopen(asked, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize(("member", "kind"), MEMBERS.items())
def test_each_process_serves_what_the_page_says_and_nothing_else(cluster: Running, member: str, kind: str) -> None:
    text = observed(cluster, member, "/metrics")
    served = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert served == {entry.name: entry.type for entry in entries() if kind in entry.of}
    labels: dict[str, set[str]] = {}
    for name, told in re.findall(r"^(\w+)\{(.*)\} \S+$", text, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', told))
    for entry in entries():
        for series in entry.series:
            assert labels.get(series, set()) - {"le"} <= set(entry.labels), series
    assert f'isthmus_build_info{{kind="{kind}"' in text


@pytest.mark.parametrize("member", MEMBERS)
def test_each_process_is_alive_and_ready(cluster: Running, member: str) -> None:
    assert json.loads(observed(cluster, member, "/healthz")) == {"status": "alive"}
    assert json.loads(observed(cluster, member, "/readyz")) == {"status": "ready"}


def test_figures_say_what_is_so(cluster: Running) -> None:
    def figure(member: str, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", observed(cluster, member, "/metrics"), re.MULTILINE)
        assert found, name
        return float(found[1])

    assert sum(figure(shard, "isthmus_regions_owned") for shard in ("shard-0", "shard-1")) == 4
    assert sum(figure(shard, "isthmus_simulated_entities") for shard in ("shard-0", "shard-1")) >= 40
    for member, kind in MEMBERS.items():
        assert figure(member, "isthmus_may_act") == 1.0
        assert figure(member, "isthmus_placer_known") == 1.0
        assert figure(member, "isthmus_regions_without_owner") == 0.0
        assert figure(member, "isthmus_store_silent_seconds") < 3.0
        assert figure(member, "isthmus_ticks_total") > 20
        if kind == "gateway":
            assert figure(member, "isthmus_regions_silent") == 0.0
        if kind == "shard":
            assert figure(member, "isthmus_journal_behind_seconds") < 30.0
            assert figure(member, "isthmus_durable_away") == 0.0


def test_with_an_address_of_its_own_a_gateway_shows_no_figures_to_everybody(cluster: Running) -> None:
    with pytest.raises(Exception, match="404"):
        urlopen(f"{cluster.urls[0]}/metrics", timeout=5)


def isthmus(cluster: Running, *words: str) -> str:
    line = [sys.executable, "-m", "isthmus", *words]
    return subprocess.run(line, cwd=cluster.folder, capture_output=True, text=True, check=True, timeout=60).stdout


def test_recorded_ticks_of_all_processes(cluster: Running) -> None:
    told = isthmus(cluster, "record", "ticks", "--out", "ticks.json")
    assert all(member in told for member in MEMBERS)
    events = json.loads((cluster.folder / "ticks.json").read_text())["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert set(names.values()) == set(MEMBERS)
    assert set(names) == {pid for name, pid in cluster.pids().items() if name in MEMBERS}
    phases: dict[str, set[str]] = {}
    regions = set()
    for event in events:
        if event["ph"] == "X" and event["tid"] == 2:
            phases.setdefault(names[event["pid"]], set()).add(event["name"])
            regions.add(event["args"].get("region"))
    stepping = [phases[shard] for shard in ("shard-0", "shard-1") if "physics" in phases.get(shard, ())]
    assert stepping
    assert {"members", "ingest", "behaviours", "physics", "index", "border", "publish", "tell"} <= stepping[0]
    assert {"receive", "upward", "frames", "deliver", "encode", "send"} <= phases["gateway-0"]
    assert len(regions - {None}) == 4


def test_a_flame_graph_of_a_running_shard(cluster: Running) -> None:
    told = isthmus(cluster, "record", "flame", "shard-0", "--seconds", "1", "--waiting", "--out", "flame.txt")
    assert told.startswith("flame.txt: shard-0: at work in ")
    text = (cluster.folder / "flame.txt").read_text()
    assert "MainThread;" in text
    assert "Runner.run (asyncio/runners.py" in text


def test_nobody_else_may_look_into_a_process(cluster: Running) -> None:
    folder = Path(cluster.folder) / ".isthmus" / "control"
    assert {path.stem for path in folder.iterdir()} == set(MEMBERS)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_the_doctor_sees_a_running_cluster(cluster: Running) -> None:
    words = ["doctor", "world.toml", "--json", "--cluster-etcd-endpoints", cluster.etcd, "--gateway-port", "0"]
    words += ["--cluster-key-path", str(cluster.folder / ".isthmus" / "cluster" / "cluster.key")]
    words += ["--cluster-region-level", "1", "--durable-url", cluster.durable_url]
    told = json.loads(isthmus(cluster, *words))
    found = {finding["about"]: finding for finding in told["findings"]}
    assert told["status"] == 0
    assert found["cluster"]["text"] == "1 placer, 2 shards, 2 gateways"
    assert found["regions"] == {"level": "ok", "about": "regions", "text": "all 4 have an owner", "remedy": ""}
    assert found["cluster.key_path"]["level"] == "ok"
    assert "world" not in found
    other = [*words, "--world-seed", "7"]
    line = [sys.executable, "-m", "isthmus", *other]
    done = subprocess.run(line, cwd=cluster.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "seed is 7 here and 1 there" in done.stdout
