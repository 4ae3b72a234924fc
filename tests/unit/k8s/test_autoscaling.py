"""The component that scales: what it names is there, what it scales is not set back, and it can be had."""

import os
from pathlib import Path

import kubernetes_validate
import promql_parser as promql
import pytest

from bench.autoscale.settings import GATEWAY, SHARD, read
from tests.unit.k8s.manifests import OVERLAYS, Object, named, of_kind, render

COMPONENTS = OVERLAYS.parent / "components"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Production with the component, as an operator's overlay has it."""
    folder = tmp_path_factory.mktemp("scaled")
    shown = "\n".join(
        [
            "apiVersion: kustomize.config.k8s.io/v1beta1",
            "kind: Kustomization",
            f"resources: [{os.path.relpath(OVERLAYS / 'prod', folder)}]",
            f"components: [{os.path.relpath(COMPONENTS / 'autoscaling', folder)}]",
        ]
    )
    (folder / "kustomization.yaml").write_text(shown)
    return render(folder)


def test_applying_manifests_again_does_not_set_back_how_many_there_are(objects: list[Object]) -> None:
    for scaled in of_kind(objects, "ScaledObject"):
        target = scaled["spec"]["scaleTargetRef"]
        found = named(objects, target["kind"], target["name"])
        assert found["apiVersion"] == target["apiVersion"]
        assert "replicas" not in found["spec"]
        kubernetes_validate.validate(found, "1.33", strict=True)
    assert len(of_kind(objects, "ScaledObject")) == 2
    assert "replicas" in named(objects, "StatefulSet", "isthmus-placer")["spec"]


def test_there_is_an_address_for_each_gateway_that_may_be(objects: list[Object]) -> None:
    names = {f"isthmus-gateway-{k}" for k in range(read(GATEWAY).rules.most)}
    selected = {
        service["spec"]["selector"].get("statefulset.kubernetes.io/pod-name") for service in of_kind(objects, "Service")
    }
    assert names <= selected


@pytest.mark.parametrize(("path", "component"), [(SHARD, "shard"), (GATEWAY, "gateway")])
def test_queries_ask_for_labels_that_prometheus_gives(objects: list[Object], path: Path, component: str) -> None:
    monitor = named(objects, "ServiceMonitor", "isthmus")["spec"]
    assert "app.kubernetes.io/component" in monitor["podTargetLabels"]
    namespace = named(objects, "StatefulSet", f"isthmus-{component}")["metadata"]["namespace"]
    wanted = f'{{namespace="{namespace}",app_kubernetes_io_component="{component}"}}'
    for trigger in read(path).triggers:
        shown = promql.parse(trigger.query).prettify().replace(" ", "").replace("\n", "")
        labels = wanted[1:-1].split(",")
        assert shown.count("isthmus_") == len(trigger.names)
        assert all(shown.count(label) == len(trigger.names) for label in labels), trigger.query
