"""The pods of the overlay dev, as their manifests say, against a real etcd and PostgreSQL: the image, their arguments,
their environment, their files, their probes.

What a node would give them is given here: addresses (loopback and free ports instead of pods' own), secrets, the files
of ConfigMaps. Everything else is taken from what `kubectl kustomize` renders.
"""

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from isthmus import Client, ClientConfig, Entered, guest_token
from tests.integration.durable.servers import running as postgres_running
from tests.integration.etcd.servers import free_ports
from tests.integration.etcd.servers import running as etcd_running
from tests.integration.image.built import READY_S, USER, Running, run, started
from tests.integration.image.test_start import BUILD_S
from tests.unit.k8s.manifests import OVERLAYS, Object, Workload, environment, files, members, render

POD_IP = "127.0.0.1"


@dataclass(slots=True)
class Pod:
    """One pod of a StatefulSet. ``ports``: where its ports are on this machine; ``given``: what its processes see."""

    workload: Workload
    running: Running
    ports: Mapping[str, int]
    given: Mapping[str, Any]

    def probed(self, name: str) -> int:
        """The status that a probe of the container gets."""
        http = self.workload.containers[0][name]["httpGet"]
        return self.running.get(f"http://{POD_IP}:{self.ports[http['port']]}{http['path']}")[0]

    def until_probed(self, name: str) -> None:
        """Until the probe succeeds, within the time that the manifest gives it."""
        probe = self.workload.containers[0][name]
        end_s = time.monotonic() + probe["periodSeconds"] * max(10, probe["failureThreshold"])
        while self.probed(name) != 200:
            assert time.monotonic() < end_s, f"{self.workload.name}: {name}; {self.running.log[-3000:]}"
            time.sleep(0.2)


@contextlib.contextmanager
def pod(
    objects: list[Object], workload: Workload, number: int, folder: Path, stores: Mapping[str, str]
) -> Iterator[Pod]:
    """A pod that has been started. ``stores``: URLs of etcd and PostgreSQL."""
    name = f"{workload.name}-{number}"
    home = folder / name
    (home / "tmp").mkdir(parents=True)
    secrets = {"isthmus-cluster": {"key": "K" * 32}, "isthmus-database": {"uri": stores["postgres"]}}
    fields = {"metadata.name": name, "status.podIP": POD_IP}
    given = environment(objects, workload, fields, secrets)
    names = [port["name"] for port in workload.ports]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    given["ISTHMUS_CLUSTER_ETCD_ENDPOINTS"] = stores["etcd"]
    given["ISTHMUS_CLUSTER_LINK_LISTEN"] = f"{POD_IP}:{ports['link']}"
    given["ISTHMUS_OBSERVE_LISTEN"] = f"{POD_IP}:{ports['observe']}"
    if "http" in ports:
        given["ISTHMUS_GATEWAY_PORT"] = str(ports["http"])
        given["ISTHMUS_GATEWAY_PUBLIC_URL"] = f"http://{POD_IP}:{ports['http']}"
    mounts = {}
    for path, content in files(objects, workload, secrets).items():
        file = home / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        if path.startswith("/secrets/"):
            _as_a_secret(file, workload)
        mounts[file] = path
    words = ["isthmus", *workload.containers[0]["args"]]
    seen = {"mounts": mounts, "variables": given}
    with started(words, home / "tmp", **seen) as running:
        yield Pod(workload, running, ports, seen)


def _as_a_secret(file: Path, workload: Workload) -> None:
    """Of root, and readable by the group of ``fsGroup``; who is not root here has it for himself."""
    if os.geteuid() == 0:
        volume = next(one for one in workload.pod["volumes"] if "secret" in one)
        os.chown(file, 0, workload.pod["securityContext"]["fsGroup"])
        file.chmod(volume["secret"]["defaultMode"])
    else:
        file.chmod(0o400)


async def _sees_a_duck(url: str) -> None:
    """Somebody comes by the page's address and is shown what the shards simulate."""
    ws = url.replace("http", "ws", 1) + "/ws"
    async with aiohttp.ClientSession() as session:
        token = await guest_token(session, ws, "Visitor")
    async with Client(ClientConfig(url=ws, token=token)) as one, asyncio.timeout(READY_S):
        async for event in one.events():
            if isinstance(event, Entered) and "name" not in event.components:
                return


@pytest.mark.timeout(BUILD_S)
def test_the_pods_of_the_overlay_make_a_world(image: Path, tmp_path: Path) -> None:
    objects = render(OVERLAYS / "dev")
    by_kind = {workload.name.removeprefix("isthmus-"): workload for workload in members(objects)}
    assert all(one.pod["securityContext"]["runAsUser"] == USER for one in by_kind.values())
    with contextlib.ExitStack() as ends:
        (etcd,) = ends.enter_context(etcd_running("3.5"))
        postgres = ends.enter_context(postgres_running())
        stores = {"etcd": etcd.url, "postgres": postgres.url}
        pods = {
            f"{kind}-{number}": ends.enter_context(pod(objects, workload, number, tmp_path, stores))
            for kind, workload in by_kind.items()
            for number in range(workload.replicas)
        }
        for one in pods.values():
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                one.until_probed(probe)
        assert sorted(pods) == ["gateway-0", "placer-0", "shard-0", "shard-1"]
        gateway = pods["gateway-0"]
        url = f"http://{POD_IP}:{gateway.ports['http']}"
        asyncio.run(_sees_a_duck(url))
        status = json.loads(gateway.running.get(f"{url}/api/status")[1])
        assert {member["member"] for member in status["members"]} == {f"isthmus-{name}" for name in pods}
        for name, one in pods.items():
            shown = one.running.get(f"http://{POD_IP}:{one.ports['observe']}/metrics")[1].decode()
            assert re.search(r"^isthmus_links ", shown, flags=re.MULTILINE), name
            assert all(entry["compiled"] == 0 for entry in one.running.events("kernels_ready")), name
        # As by `kubectl exec`: an operator's commands find what the pod has.
        done = run(["isthmus", "region", "list", "/world/world.toml"], gateway.running.tmp, **gateway.given)
        assert done.returncode == 0, done.stdout
        assert "isthmus-shard-" in done.stdout
        # A shard that is told to end leaves its regions to the other one; then all end, as when a namespace is removed.
        first, other = sorted(("shard-0", "shard-1"), key=_owners(gateway, url).count, reverse=True)
        assert pods[first].running.end() == 0, pods[first].running.log[-3000:]
        end_s = time.monotonic() + READY_S
        while (owners := set(_owners(gateway, url))) != {other}:  # the gateway hears of the last one a moment later
            assert time.monotonic() < end_s, owners
            time.sleep(0.1)
        for name in ("gateway-0", other, "placer-0"):
            assert pods[name].running.end() == 0, pods[name].running.log[-3000:]
            assert pods[name].running.events("stopped"), "it went in order"


def _owners(gateway: Pod, url: str) -> list[str]:
    """Who owns each region, as a pod's name without that of the program."""
    status = json.loads(gateway.running.get(f"{url}/api/status")[1])
    return [(region["owner"] or "").removeprefix("isthmus-") for region in status["regions"]]
