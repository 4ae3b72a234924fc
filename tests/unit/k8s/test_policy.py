"""No overlay breaks a rule, and every rule is one that can be broken."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.k8s.manifests import OVERLAYS, Object, Workload, members, named, of_kind, render
from tests.unit.k8s.policy import RULES, broken

FOLDERS = ("dev", "prod", "prod/stores")
Change = Callable[[list[Object]], Any]


def _pod(objects: list[Object]) -> Object:
    spec: Object = named(objects, "StatefulSet", "isthmus-shard")["spec"]["template"]["spec"]
    return spec


def _container(objects: list[Object]) -> Object:
    container: Object = _pod(objects)["containers"][0]
    return container


def _own(objects: list[Object]) -> Object:
    context: Object = _container(objects)["securityContext"]
    return context


MUTANTS: list[tuple[str, Change]] = [
    ("host_namespaces", lambda all_: _pod(all_).update(hostNetwork=True)),
    ("host_namespaces", lambda all_: _pod(all_).update(hostPID=True)),
    ("privileged", lambda all_: _own(all_).update(privileged=True)),
    ("privileged", lambda all_: _own(all_).update(procMount="Unmasked")),
    ("capabilities", lambda all_: _own(all_).update(capabilities={"drop": ["NET_RAW"]})),
    ("capabilities", lambda all_: _own(all_)["capabilities"].update(add=["SYS_PTRACE"])),
    ("volume_types", lambda all_: _pod(all_)["volumes"].append({"name": "node", "hostPath": {"path": "/"}})),
    ("host_ports", lambda all_: _container(all_)["ports"][0].update(hostPort=7777)),
    ("kernel_settings", lambda all_: _own(all_).update(appArmorProfile={"type": "Unconfined"})),
    ("kernel_settings", lambda all_: _own(all_).update(seLinuxOptions={"type": "spc_t"})),
    (
        "kernel_settings",
        lambda all_: _pod(all_)["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    ),
    ("probe_hosts", lambda all_: _container(all_)["livenessProbe"]["httpGet"].update(host="169.254.169.254")),
    ("escalation", lambda all_: _own(all_).pop("allowPrivilegeEscalation")),
    ("root_users", lambda all_: _pod(all_)["securityContext"].pop("runAsNonRoot")),
    ("root_users", lambda all_: _own(all_).update(runAsUser=0)),
    ("seccomp", lambda all_: _pod(all_)["securityContext"].pop("seccompProfile")),
    ("seccomp", lambda all_: _own(all_).update(seccompProfile={"type": "Unconfined"})),
    ("writable_roots", lambda all_: _own(all_).update(readOnlyRootFilesystem=False)),
    ("resources", lambda all_: _container(all_)["resources"].pop("limits")),
    ("resources", lambda all_: _container(all_)["resources"]["requests"].pop("memory")),
    ("unbounded_folders", lambda all_: _pod(all_)["volumes"][-1].update(emptyDir={})),
    ("probes", lambda all_: _container(all_).pop("startupProbe")),
    ("image_tags", lambda all_: _container(all_).update(image="registry.example/isthmus")),
    ("image_tags", lambda all_: _container(all_).update(image="registry.example:5000/isthmus:latest")),
    ("api_tokens", lambda all_: _pod(all_).pop("automountServiceAccountToken")),
    ("service_links", lambda all_: _pod(all_).pop("enableServiceLinks")),
    (
        "literal_secrets",
        lambda all_: _container(all_)["env"].append({"name": "URL", "value": "postgresql://isthmus:pw@db/isthmus"}),
    ),
    ("literal_secrets", lambda all_: named(all_, "ConfigMap", "isthmus-options")["data"].update(DB_PASSWORD="x")),
    ("spread", lambda all_: _pod(all_)["topologySpreadConstraints"].pop()),
    (
        "spread",
        lambda all_: _pod(all_)["topologySpreadConstraints"][0].update(labelSelector={"matchLabels": {"a": "b"}}),
    ),
    ("budgets", lambda all_: all_.remove(named(all_, "PodDisruptionBudget", "isthmus-shard"))),
    ("budgets", lambda all_: named(all_, "PodDisruptionBudget", "isthmus-shard")["spec"].update(maxUnavailable=0)),
    ("default_deny", lambda all_: all_.remove(named(all_, "NetworkPolicy", "default-deny"))),
    ("open_policies", lambda all_: named(all_, "NetworkPolicy", "isthmus-links")["spec"]["ingress"].append({})),
    ("open_policies", lambda all_: named(all_, "NetworkPolicy", "isthmus-stores")["spec"]["egress"][0].pop("to")),
    ("namespaces", lambda all_: of_kind(all_, "Namespace")[0]["metadata"].pop("labels")),
    ("namespaces", lambda all_: named(all_, "Service", "isthmus-members")["metadata"].update(namespace="default")),
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_rule_is_broken(folder: str) -> None:
    assert broken(render(OVERLAYS / folder)) == {}


@pytest.mark.parametrize(("rule", "change"), MUTANTS, ids=[f"{n}-{rule}" for n, (rule, _) in enumerate(MUTANTS)])
def test_each_rule_can_be_broken_and_no_other_is_by_that(rule: str, change: Change) -> None:
    objects = render(OVERLAYS / "prod")
    change(objects)
    assert set(broken(objects)) == {rule}


def test_every_rule_has_a_mutant() -> None:
    assert {rule.__name__ for rule in RULES} == {rule for rule, _ in MUTANTS}


def test_members_are_what_the_rules_have_looked_at() -> None:
    assert [workload.name for workload in members(render(OVERLAYS / "prod"))] == [
        "isthmus-gateway",
        "isthmus-placer",
        "isthmus-shard",
    ]
    assert Workload(named(render(OVERLAYS / "dev"), "StatefulSet", "isthmus-etcd")).ports
