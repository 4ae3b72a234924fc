"""Every object has the shape that Kubernetes, from 1.30 to 1.33, and the operators whose objects we use, ask for."""

import os
from pathlib import Path

import kubernetes_validate
import msgspec
import pytest

from tests.unit.k8s.crds import SHAPES, check
from tests.unit.k8s.manifests import OVERLAYS, Object, named, render

VERSIONS = ("1.30", "1.31", "1.32", "1.33")
FOLDERS = ("dev", "prod", "prod/stores")


def _relative(folder: Path, to: Path) -> str:
    return os.path.relpath(to, folder)


def _validate(one: Object, version: str) -> None:
    """Strict: a field that is not in the schema is refused."""
    if one["kind"] in SHAPES and "." in one["apiVersion"].partition("/")[0]:
        check(one, one["kind"])
    else:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_all_objects_have_the_shape_of_their_kind(folder: str, version: str) -> None:
    for one in render(OVERLAYS / folder):
        _validate(one, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_wrong_field_is_seen(version: str) -> None:
    objects = render(OVERLAYS / "prod")
    shard = named(objects, "StatefulSet", "isthmus-shard")
    shard["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        _validate(shard, version)
    placer = named(objects, "StatefulSet", "isthmus-placer")
    placer["spec"]["replicas"] = "two"
    with pytest.raises(kubernetes_validate.ValidationError):
        _validate(placer, version)


@pytest.mark.parametrize(
    ("kind", "name"), [("HTTPRoute", "isthmus-world"), ("Gateway", "isthmus"), ("ServiceMonitor", "isthmus")]
)
def test_a_wrong_field_of_an_operators_object_is_seen(kind: str, name: str) -> None:
    changes: list[Object] = [{"specs": {}}, {"apiVersion": "example.com/v1"}, {"spec": {}}]
    for change in changes:
        with pytest.raises(msgspec.ValidationError):
            _validate({**named(render(OVERLAYS / "prod"), kind, name), **change}, VERSIONS[0])


def test_one_host_is_changed_in_one_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As an operator's own overlay does it."""
    folder = tmp_path_factory.mktemp("own")
    shown = "\n".join(
        [
            "apiVersion: kustomize.config.k8s.io/v1beta1",
            "kind: Kustomization",
            "namespace: isthmus",
            f"resources: [{_relative(folder, OVERLAYS.parent / 'base')}]",
            "components:",
            *(f"  - {_relative(folder, OVERLAYS.parent / 'components' / name)}" for name in ("gateway-api", "udp")),
            "configMapGenerator:",
            "  - {name: isthmus-addresses, behavior: merge, literals: [host=square.example.org]}",
        ]
    )
    (folder / "kustomization.yaml").write_text(shown)
    objects = render(folder)
    assert named(objects, "HTTPRoute", "isthmus-world")["spec"]["hostnames"] == ["square.example.org"]
    assert named(objects, "HTTPRoute", "isthmus-gateway-9")["spec"]["hostnames"] == [
        "isthmus-gateway-9.square.example.org"
    ]
    hostnames = [listener["hostname"] for listener in named(objects, "Gateway", "isthmus")["spec"]["listeners"]]
    assert hostnames == ["square.example.org", "*.square.example.org"]
    annotations = named(objects, "Service", "isthmus-gateway-0-udp")["metadata"]["annotations"]
    assert list(annotations.values()) == ["isthmus-gateway-0-udp.square.example.org"]
    assert "HOST" not in str(msgspec.json.encode([one for one in objects if one["kind"] in ("Gateway", "HTTPRoute")]))
