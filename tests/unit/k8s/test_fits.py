"""The manifests fit the program and each other: options exist, files and keys are there, ports and paths are served,
policies let through what Services lead to, and nothing else."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from llvmlite import binding

from isthmus.cli import cli
from isthmus.config import OPTIONS, Config, load
from isthmus.fleet.host import LEAVE_S
from isthmus.member import LAST_S
from server.sending import MOVE_WITHIN_MS
from tests.unit.k8s import dockerfile
from tests.unit.k8s.manifests import (
    KUBECTL,
    OVERLAYS,
    REPOSITORY,
    Object,
    Workload,
    environment,
    files,
    members,
    named,
    of_kind,
    references,
    render,
    secret_keys,
    selects,
    workloads,
)

KINDS = ("shard", "gateway", "placer")
OVERLAY = ("dev", "prod")
SECRETS: dict[str, dict[str, str]] = {
    "isthmus-cluster": {"key": "32 bytes"},
    "isthmus-database": {"uri": "postgresql://isthmus:pw@isthmus-postgres:5432/isthmus", "password": "pw"},
    "isthmus-etcd": {"ca.crt": "PEM", "tls.crt": "PEM", "tls.key": "PEM"},
    "isthmus-identity": {"jwks.json": "{}"},
    "isthmus-tls": {"tls.crt": "PEM", "tls.key": "PEM"},
}
"""Every secret that an operator makes, with its keys: as docs/KUBERNETES.md says."""


def _member(objects: list[Object], kind: str) -> Workload:
    return Workload(named(objects, "StatefulSet", f"isthmus-{kind}"))


def _environment(objects: list[Object], kind: str) -> dict[str, str]:
    workload = _member(objects, kind)
    fields = {"metadata.name": f"{workload.name}-0", "status.podIP": "10.1.2.3"}
    return environment(objects, workload, fields, SECRETS)


def _loaded(objects: list[Object], kind: str) -> Config:
    """The configuration of the first pod, by the program's own loader. Fails the test with all problems."""
    found = files(objects, _member(objects, kind), SECRETS)
    loaded = load(
        found["/world/world.toml"], "/world/world.toml", _environment(objects, kind), {}, is_file=found.__contains__
    )
    assert isinstance(loaded, Config), str(loaded)
    return loaded


@pytest.mark.parametrize("overlay", OVERLAY)
@pytest.mark.parametrize("kind", KINDS)
def test_the_program_takes_the_options(overlay: str, kind: str) -> None:
    objects = render(OVERLAYS / overlay)
    config = _loaded(objects, kind)
    assert config.cluster.member == f"isthmus-{kind}-0"
    assert config.cluster.link_advertise_host == "10.1.2.3"
    assert config.durable.url == SECRETS["isthmus-database"]["uri"]
    assert config.cluster.etcd_endpoints
    assert not [text for text in _environment(objects, kind).values() if "$(" in text], "a name that nothing has set"


def test_an_option_that_does_not_exist_is_noticed() -> None:
    objects = render(OVERLAYS / "dev")
    named(objects, "ConfigMap", "isthmus-options")["data"]["ISTHMUS_CLUSTER_ETCD_ENDPOINT"] = "http://etcd:2379"
    with pytest.raises(AssertionError, match="did you mean ISTHMUS_CLUSTER_ETCD_ENDPOINTS"):
        _loaded(objects, "shard")


def test_a_file_that_is_not_mounted_is_noticed() -> None:
    objects = render(OVERLAYS / "prod")
    _member(objects, "gateway").object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].pop(0)
    with pytest.raises((AssertionError, KeyError)):
        _loaded(objects, "gateway")


def test_variables_of_services_would_be_refused() -> None:
    """Why ``enableServiceLinks`` is false (policy.service_links)."""
    given = {"ISTHMUS_GATEWAY_SERVICE_HOST": "10.0.0.1"}
    assert "no option has this variable" in str(load("", "world.toml", given, {}))


def test_gateways_of_production_are_what_people_reach() -> None:
    gateway = _loaded(render(OVERLAYS / "prod"), "gateway").gateway
    assert gateway.mode == "production"
    assert gateway.public_url == "https://isthmus-gateway-0.world.example"
    assert set(gateway.allowed_hosts) == {"world.example", "isthmus-gateway-0.world.example"}
    assert gateway.allowed_origins == ("https://world.example",), "the page comes from there and is sent on"
    assert gateway.datagrams
    assert gateway.advertise_udp == "isthmus-gateway-0-udp.world.example:8080"
    assert gateway.proxies, "else all clients are one address, whose limit is theirs together"


def test_gateways_of_development_are_on_loopback() -> None:
    gateway = _loaded(render(OVERLAYS / "dev"), "gateway").gateway
    assert (gateway.mode, gateway.host) == ("development", "127.0.0.1")


@pytest.mark.parametrize("overlay", OVERLAY)
def test_containers_run_commands_that_there_are(overlay: str) -> None:
    for workload in members(render(OVERLAYS / overlay)):
        command, world, *flags = workload.containers[0]["args"]
        known = {name for parameter in cli.commands[command].params for name in parameter.opts}
        assert world == "/world/world.toml"
        assert {flag for flag in flags if flag.startswith("--")} <= known
        assert "command" not in workload.containers[0], "the image's entry point is what was tested"


@pytest.mark.parametrize("overlay", OVERLAY)
@pytest.mark.parametrize("kind", KINDS)
def test_ports_are_those_of_the_options(overlay: str, kind: str) -> None:
    objects = render(OVERLAYS / overlay)
    config, workload = _loaded(objects, kind), _member(objects, kind)
    ports = {port["name"]: (port["containerPort"], port.get("protocol", "TCP")) for port in workload.ports}
    wanted = {"link": (_port(config.cluster.link_listen), "TCP"), "observe": (_port(_observed(config)), "TCP")}
    if kind == "gateway":
        wanted["http"] = (config.gateway.port, "TCP")
    if kind == "gateway" and config.gateway.datagrams:
        wanted["udp"] = (config.gateway.datagrams_port or config.gateway.port, "UDP")
    assert ports == wanted


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _observed(config: Config) -> str:
    assert config.observe.listen is not None
    return config.observe.listen


@pytest.mark.parametrize("overlay", OVERLAY)
def test_what_is_named_is_there(overlay: str) -> None:
    objects = render(OVERLAYS / overlay)
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    assert set(references(objects)) <= there
    for workload in workloads(objects):
        volumes = [volume["name"] for volume in workload.pod.get("volumes", ())]
        claims = [claim["metadata"]["name"] for claim in workload.object["spec"].get("volumeClaimTemplates", ())]
        for container in workload.containers:
            assert {mount["name"] for mount in container["volumeMounts"]} <= {*volumes, *claims}
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container[probe].get("httpGet", {"port": min(ports)})["port"] in ports


@pytest.mark.parametrize("overlay", OVERLAY)
def test_services_lead_to_ports_that_are_open_and_let_through(overlay: str) -> None:
    objects = render(OVERLAYS / overlay)
    for service in of_kind(objects, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        behind = [one for one in workloads(objects) if selects(selector, _labels_for(one, service))]
        assert behind, f"{service['metadata']['name']} leads nowhere"
        for workload in behind:
            for port in service["spec"]["ports"]:
                found = [one for one in workload.ports if one["name"] == port["targetPort"]]
                assert len(found) == 1, f"{service['metadata']['name']} to {workload.name}: {port}"
                number, protocol = found[0]["containerPort"], found[0].get("protocol", "TCP")
                assert port.get("protocol", "TCP") == protocol
                # Development: the page is forwarded by the node, and nobody observes.
                if overlay == "dev" and port["targetPort"] in ("http", "observe"):
                    continue
                assert (number, protocol) in _let_in(objects, workload), f"{workload.name}: {port}"


def _labels_for(workload: Workload, service: Object) -> dict[str, str]:
    """Of the pod that a Service of one pod means, if there may be one of that number."""
    pod = service["spec"]["selector"].get("statefulset.kubernetes.io/pod-name", "")
    own = workload.labels
    return {**own, "statefulset.kubernetes.io/pod-name": pod} if re.fullmatch(rf"{workload.name}-\d+", pod) else own


def _let_in(objects: list[Object], workload: Workload) -> set[tuple[int, str]]:
    return {
        (port["port"], port["protocol"])
        for policy in of_kind(objects, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], workload.labels)
        for rule in policy["spec"].get("ingress", ())
        for port in rule["ports"]
    }


@pytest.mark.parametrize("overlay", OVERLAY)
def test_policies_open_nothing_that_nobody_listens_on(overlay: str) -> None:
    objects = render(OVERLAYS / overlay)
    for workload in workloads(objects):
        listening = {(port["containerPort"], port.get("protocol", "TCP")) for port in workload.ports}
        assert _let_in(objects, workload) <= listening, workload.name


@pytest.mark.parametrize("overlay", OVERLAY)
@pytest.mark.parametrize("kind", KINDS)
def test_members_may_reach_each_other_their_stores_and_names(overlay: str, kind: str) -> None:
    objects = render(OVERLAYS / overlay)
    config, workload = _loaded(objects, kind), _member(objects, kind)
    out = {
        port["port"]
        for policy in of_kind(objects, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], workload.labels)
        for rule in policy["spec"].get("egress", ())
        for port in rule["ports"]
    }
    stores = {_port(endpoint) for endpoint in config.cluster.etcd_endpoints} | {5432}
    assert out == {_port(config.cluster.link_listen), 53, *stores}


def test_every_gateway_that_there_may_be_has_its_addresses() -> None:
    objects = render(OVERLAYS / "prod")
    names = {one["metadata"]["name"] for one in of_kind(objects, "Service")}
    of_one = {name for name in names if re.fullmatch(r"isthmus-gateway-\d+", name)}
    assert of_one == {f"isthmus-gateway-{n}" for n in range(10)}
    assert {name for name in names if name.endswith("-udp")} == {f"{name}-udp" for name in of_one}
    assert _member(objects, "gateway").replicas <= len(of_one)
    routes = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "HTTPRoute")}
    for name in of_one:
        assert routes[name]["hostnames"] == [f"{name}.world.example"]
        assert routes[name]["rules"][0]["backendRefs"][0]["name"] == name
        selector = {"statefulset.kubernetes.io/pod-name": name}
        assert named(objects, "Service", name)["spec"]["selector"] == selector
        assert named(objects, "Service", f"{name}-udp")["spec"]["selector"] == selector


@pytest.mark.parametrize("overlay", OVERLAY)
def test_pods_have_the_time_that_they_need_to_end(overlay: str) -> None:
    objects = render(OVERLAYS / overlay)
    drain_s = {kind: _loaded(objects, kind).cluster.drain_s for kind in ("shard", "gateway")}
    needs_s = {"shard": drain_s["shard"] + LAST_S + LEAVE_S, "gateway": drain_s["gateway"] + LEAVE_S, "placer": LEAVE_S}
    assert MOVE_WITHIN_MS / 1000 <= drain_s["gateway"]
    for kind, need_s in needs_s.items():
        pod = _member(objects, kind).pod
        before_s = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert before_s + need_s + 5 <= pod["terminationGracePeriodSeconds"], kind


def test_prometheus_finds_all_members() -> None:
    objects = render(OVERLAYS / "prod")
    spec = named(objects, "ServiceMonitor", "isthmus")["spec"]
    found = [one for one in of_kind(objects, "Service") if selects(spec["selector"], one["metadata"]["labels"])]
    assert [one["metadata"]["name"] for one in found] == ["isthmus-members"]
    assert spec["endpoints"][0]["port"] in {port["name"] for port in found[0]["spec"]["ports"]}
    for workload in members(objects):
        assert selects({"matchLabels": found[0]["spec"]["selector"]}, workload.labels)


def test_secrets_are_those_that_operators_are_told_to_make() -> None:
    wanted: dict[str, set[str]] = {}
    for overlay in OVERLAY:
        for name, key in secret_keys(render(OVERLAYS / overlay)):
            wanted.setdefault(name, set()).update(SECRETS[name] if key == "*" else {key})
    assert wanted == {name: set(keys) for name, keys in SECRETS.items()}
    page = (REPOSITORY / "docs" / "KUBERNETES.md").read_text()
    rows: dict[str, set[str]] = {}
    for name, key in re.findall(r"^\| `(isthmus-[a-z]+)` \| `([a-z.]+)` \|", page, flags=re.MULTILINE):
        rows.setdefault(name, set()).add(key)
    assert rows == wanted


def test_the_commands_of_the_page_make_these_secrets(tmp_path: Path) -> None:
    """As they stand there, but for what they would send, and what another secret would answer."""
    page = (REPOSITORY / "docs" / "KUBERNETES.md").read_text()
    blocks: list[str] = re.findall(r"^```sh\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "jwks.json").write_text("{}")
    (tmp_path / "kubectl").write_text(
        f"""#!/bin/sh
case "$*" in
  *"create secret"*) exec {KUBECTL} "$@" --dry-run=client -o json ;;
  *"get secret"*) printf postgresql://isthmus:pw@isthmus-db-rw/isthmus | base64 ;;
esac
"""
    )
    (tmp_path / "kubectl").chmod(0o755)
    made: dict[str, dict[str, set[str]]] = {}
    for block in blocks:
        if "create secret" not in block:
            continue
        run = subprocess.run(
            ["sh", "-euc", block],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        for text in re.findall(r"^\{$.*?^\}$", run.stdout, flags=re.MULTILINE | re.DOTALL):
            secret = json.loads(text)
            assert all(secret["data"].values()), "nothing is empty"
            own = made.setdefault(secret["metadata"]["namespace"], {})
            own[secret["metadata"]["name"]] = set(secret["data"])
    assert made["isthmus-dev"] == {"isthmus-cluster": {"key"}, "isthmus-database": {"password", "uri"}}
    wanted = {name: set(keys) for name, keys in SECRETS.items()}
    assert made["isthmus"] == {
        "isthmus-cluster": wanted["isthmus-cluster"],
        "isthmus-database": {"uri"},
        "isthmus-identity": wanted["isthmus-identity"],
    }, "cert-manager makes the others"


def test_the_page_names_options_and_paths_that_there_are() -> None:
    page = (REPOSITORY / "docs" / "KUBERNETES.md").read_text()
    for path in re.findall(r"\bk8s/[\w./-]*\w", page):
        assert (REPOSITORY / path).exists(), path
    known = {option.variable for option in OPTIONS.values()}
    assert set(re.findall(r"\bISTHMUS_[A-Z_]+\b", page)) <= known


def test_the_image_is_made_by_the_steps_that_the_tests_run() -> None:
    assert dockerfile.steps() == [
        "k8s/image/build.sh page",
        "k8s/image/build.sh install /opt/isthmus",
        "k8s/image/build.sh kernels /opt/isthmus",
    ]
    assert dockerfile.last("USER") == "10001:10001"
    assert dockerfile.entry() == ["isthmus"]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_kernels_are_made_where_they_run_and_for_a_cpu_that_there_is(
    machine: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made, run = (dockerfile.environment(stage, machine) for stage in ("program", dockerfile.LAST))
    for name in ("NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        assert made[name] == run[name] != ""
    binding.initialize_all_targets()
    target = binding.Target.from_triple(f"{machine}-unknown-linux-gnu")
    target.create_target_machine(cpu=run["NUMBA_CPU_NAME"], features=run["NUMBA_CPU_FEATURES"])
    assert "not a recognized" not in capfd.readouterr().err, "LLVM leaves out what it does not know, and goes on"
    target.create_target_machine(cpu="x87", features="+nonsense")
    assert capfd.readouterr().err.count("not a recognized") >= 2


def test_pods_run_as_the_images_user() -> None:
    for workload in members(render(OVERLAYS / "prod")):
        context: Any = workload.pod["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == dockerfile.last("USER")


def test_the_build_sees_all_that_the_package_is_made_of() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert {*packages, "web", "pyproject.toml", "constraints.txt", "hatch_build.py", "k8s/image/build.sh"} <= let_in
    assert all((REPOSITORY / Path(line)).exists() for line in let_in)
