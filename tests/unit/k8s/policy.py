"""A linter for our manifests: the Pod Security Standard *restricted* (kubernetes.io/docs/concepts/security/
pod-security-standards, as of 1.33), and what we ask of ourselves beyond it.

Each rule takes all objects of an overlay and yields what breaks it; test_policy.py breaks each one. Not responsible
for: the schema of the objects (test_schemas.py), whether they fit the program (test_fits.py).
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.unit.k8s.manifests import Object, Workload, of_kind, selects, workloads

Rule = Callable[[list[Object]], Iterator[str]]
VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
SYSCTLS = frozenset(
    {
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"),
        *("net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
        *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
        "net.ipv4.tcp_keepalive_probes",
    }
)
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
SECRET = re.compile(r"://[^/@\s]*:[^/@\s]+@|-----BEGIN|(?i:(password|secret|token)[^\n/]*[=:]\s*\S)")


def _pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for workload in workloads(objects):
        yield workload.name, workload.pod


def _containers(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    for workload in workloads(objects):
        for container in workload.containers:
            yield f"{workload.name}/{container['name']}", container, workload.pod


def _context(container: Object, pod: Object, name: str) -> Any:
    """What holds for a container: its own word before the pod's."""
    own = container.get("securityContext", {})
    return own[name] if name in own else pod.get("securityContext", {}).get(name)


# ------------------------------------------------------------------------------------------- baseline and restricted
def host_namespaces(objects: list[Object]) -> Iterator[str]:
    for name, pod in _pods(objects):
        yield from (f"{name}: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))


def privileged(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        own = container.get("securityContext", {})
        if own.get("privileged") or own.get("procMount", "Default") != "Default":
            yield name


def capabilities(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        own = container.get("securityContext", {}).get("capabilities", {})
        if "ALL" not in own.get("drop", ()) or set(own.get("add", ())) - {"NET_BIND_SERVICE"}:
            yield name


def volume_types(objects: list[Object]) -> Iterator[str]:
    for name, pod in _pods(objects):
        for volume in pod.get("volumes", ()):
            yield from (f"{name}: {kind}" for kind in set(volume) - {"name"} - VOLUMES)


def host_ports(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        yield from (f"{name}: {port['hostPort']}" for port in container.get("ports", ()) if port.get("hostPort"))


def kernel_settings(objects: list[Object]) -> Iterator[str]:
    for name, pod in _pods(objects):
        named = {sysctl["name"] for sysctl in pod.get("securityContext", {}).get("sysctls", ())}
        yield from (f"{name}: {sysctl}" for sysctl in named - SYSCTLS)
    for name, container, pod in _containers(objects):
        armor = (_context(container, pod, "appArmorProfile") or {}).get("type", "RuntimeDefault")
        if armor not in ("RuntimeDefault", "Localhost") or _context(container, pod, "seLinuxOptions"):
            yield name


def probe_hosts(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        asked = [container[probe] for probe in PROBES if probe in container]
        asked += [hook for hook in container.get("lifecycle", {}).values() if hook]
        for probe in asked:
            if any(probe.get(way, {}).get("host") for way in ("httpGet", "tcpSocket")):
                yield name


def escalation(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        if container.get("securityContext", {}).get("allowPrivilegeEscalation") is not False:
            yield name


def root_users(objects: list[Object]) -> Iterator[str]:
    for name, container, pod in _containers(objects):
        user = _context(container, pod, "runAsUser")
        if _context(container, pod, "runAsNonRoot") is not True or not isinstance(user, int) or user == 0:
            yield name


def seccomp(objects: list[Object]) -> Iterator[str]:
    for name, container, pod in _containers(objects):
        if (_context(container, pod, "seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield name


# ------------------------------------------------------------------------------------------------------- our own rules
def writable_roots(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield name


def resources(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        told = container.get("resources", {})
        for bound in ("requests", "limits"):
            missing = {"cpu", "memory", "ephemeral-storage"} - set(told.get(bound, ()))
            yield from (f"{name}: no {bound} of {what}" for what in sorted(missing))


def unbounded_folders(objects: list[Object]) -> Iterator[str]:
    for name, pod in _pods(objects):
        for volume in pod.get("volumes", ()):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{name}: {volume['name']}"


def probes(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        yield from (f"{name}: no {probe}" for probe in PROBES if probe not in container)


def image_tags(objects: list[Object]) -> Iterator[str]:
    for name, container, _ in _containers(objects):
        image = container["image"]
        if not re.search(r"@sha256:[0-9a-f]{64}$|:[\w][\w.-]*$", image) or image.endswith(":latest"):
            yield f"{name}: {image}"


def api_tokens(objects: list[Object]) -> Iterator[str]:
    for name, pod in _pods(objects):
        if pod.get("automountServiceAccountToken") is not False:
            yield name


def service_links(objects: list[Object]) -> Iterator[str]:
    """The kubelet's ISTHMUS_GATEWAY_SERVICE_HOST and its like are no options of ours: nothing would start."""
    for name, pod in _pods(objects):
        if pod.get("enableServiceLinks") is not False:
            yield name


def literal_secrets(objects: list[Object]) -> Iterator[str]:
    for one in of_kind(objects, "Secret"):
        yield f"Secret {one['metadata']['name']}"
    for one in of_kind(objects, "ConfigMap"):
        name = one["metadata"]["name"]
        yield from (f"{name}: {key}" for key, text in one["data"].items() if SECRET.search(f"{key}={text}"))
    for name, container, _ in _containers(objects):
        for variable in container.get("env", ()):
            if SECRET.search(f"{variable['name']}={variable.get('value', '')}"):
                yield f"{name}: {variable['name']}"


def spread(objects: list[Object]) -> Iterator[str]:
    for workload in _many(objects):
        keys = {
            rule["topologyKey"]
            for rule in workload.pod.get("topologySpreadConstraints", ())
            if selects(rule["labelSelector"], workload.labels)
        }
        missing = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} - keys
        yield from (f"{workload.name}: {key}" for key in sorted(missing))


def budgets(objects: list[Object]) -> Iterator[str]:
    for workload in _many(objects):
        found = [
            one for one in of_kind(objects, "PodDisruptionBudget") if selects(one["spec"]["selector"], workload.labels)
        ]
        if len(found) != 1 or found[0]["spec"].get("maxUnavailable") != 1:
            yield workload.name


def _many(objects: list[Object]) -> Iterator[Workload]:
    return (workload for workload in workloads(objects) if workload.replicas > 1)


def default_deny(objects: list[Object]) -> Iterator[str]:
    for namespace in of_kind(objects, "Namespace"):
        name = namespace["metadata"]["name"]
        wanted = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        policies = [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["namespace"] == name]
        if workloads(objects) and not any(one["spec"] == wanted for one in policies):
            yield name


def open_policies(objects: list[Object]) -> Iterator[str]:
    """Whoever lets everybody in, or anything out, says so by a port; only what is for people may be for everybody."""
    for one in of_kind(objects, "NetworkPolicy"):
        name, spec = one["metadata"]["name"], one["spec"]
        for rule in spec.get("ingress", ()):
            if not rule.get("ports") or (not rule.get("from") and name != "isthmus-gateway-udp"):
                yield f"{name}: ingress"
        for rule in spec.get("egress", ()):
            if not rule.get("ports") or not rule.get("to"):
                yield f"{name}: egress"


def namespaces(objects: list[Object]) -> Iterator[str]:
    """Everything is in one namespace, which enforces the standard."""
    for one in of_kind(objects, "Namespace"):
        if one["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield one["metadata"]["name"]
    names = {one["metadata"]["name"] for one in of_kind(objects, "Namespace")}
    for one in objects:
        if one["kind"] != "Namespace" and one["metadata"].get("namespace") not in names:
            yield f"{one['kind']} {one['metadata']['name']}"


RULES: tuple[Rule, ...] = (
    host_namespaces,
    privileged,
    capabilities,
    volume_types,
    host_ports,
    kernel_settings,
    probe_hosts,
    escalation,
    root_users,
    seccomp,
    writable_roots,
    resources,
    unbounded_folders,
    probes,
    image_tags,
    api_tokens,
    service_links,
    literal_secrets,
    spread,
    budgets,
    default_deny,
    open_policies,
    namespaces,
)


def broken(objects: list[Object]) -> dict[str, list[str]]:
    """What is wrong, by the name of the rule."""
    found = {rule.__name__: list(rule(objects)) for rule in RULES}
    return {name: what for name, what in found.items() if what}
