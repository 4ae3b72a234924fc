"""The shape of what Kubernetes itself does not define: objects of the Gateway API, of Prometheus' operator and of
CloudNativePG, as far as our manifests use them.

Not their own schemas, which are in no package: the fields below were written down from their documentation (Gateway API
1.2, monitoring.coreos.com/v1, postgresql.cnpg.io/v1). A field that is not here is refused, so whoever uses another one
looks it up first. Only a real cluster with the operators' CRDs can tell more.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Host = Annotated[str, Meta(pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
GatewayDuration = Annotated[str, Meta(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]
PrometheusDuration = Annotated[str, Meta(pattern=r"^[0-9]+(ms|s|m|h)$")]
Quantity = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$")]


class Strict(Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Every field is known; those without a default are required."""


class Metadata(Strict):
    name: Name
    namespace: Name
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class MatchLabels(Strict):
    match_labels: dict[str, str]


# ------------------------------------------------------------------------------------------------------- Gateway API
class SecretReference(Strict):
    name: Name


class ListenerTls(Strict):
    certificate_refs: Annotated[list[SecretReference], Meta(min_length=1)]
    mode: Literal["Terminate", "Passthrough"] = "Terminate"


class Listener(Strict):
    name: Name
    port: Port
    protocol: Literal["HTTP", "HTTPS", "TLS"]
    hostname: Host
    tls: ListenerTls


class GatewaySpec(Strict):
    gateway_class_name: Name
    listeners: Annotated[list[Listener], Meta(min_length=1, max_length=64)]


class Gateway(Strict):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["Gateway"]
    metadata: Metadata
    spec: GatewaySpec


class Parent(Strict):
    name: Name
    section_name: Name


class Backend(Strict):
    name: Name
    port: Port


class Timeouts(Strict):
    request: GatewayDuration


class RouteRule(Strict):
    backend_refs: Annotated[list[Backend], Meta(min_length=1)]
    timeouts: Timeouts


class RouteSpec(Strict):
    parent_refs: Annotated[list[Parent], Meta(min_length=1)]
    hostnames: Annotated[list[Host], Meta(min_length=1, max_length=16)]
    rules: Annotated[list[RouteRule], Meta(min_length=1, max_length=16)]


class HTTPRoute(Strict):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: RouteSpec


# ------------------------------------------------------------------------------------------------ Prometheus' operator
class Endpoint(Strict):
    port: str
    path: Annotated[str, Meta(pattern="^/")]
    interval: PrometheusDuration
    scrape_timeout: PrometheusDuration


class MonitorSpec(Strict):
    selector: MatchLabels
    endpoints: Annotated[list[Endpoint], Meta(min_length=1)]
    pod_target_labels: list[str] = []


class ServiceMonitor(Strict):
    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: MonitorSpec


# ------------------------------------------------------------------------------------------------------ CloudNativePG
class InitDb(Strict):
    database: Name
    owner: Name


class Bootstrap(Strict):
    initdb: InitDb


class Synchronous(Strict):
    method: Literal["any", "first"]
    number: Annotated[int, Meta(ge=1)]


class PostgresOptions(Strict):
    synchronous: Synchronous


class PodAffinity(Strict):
    topology_key: str


class Storage(Strict):
    size: Quantity


class Resources(Strict):
    requests: dict[Literal["cpu", "memory"], Quantity]
    limits: dict[Literal["cpu", "memory"], Quantity]


class ClusterSpec(Strict):
    instances: Annotated[int, Meta(ge=1)]
    bootstrap: Bootstrap
    postgresql: PostgresOptions
    affinity: PodAffinity
    storage: Storage
    resources: Resources


class Cluster(Strict):
    api_version: Literal["postgresql.cnpg.io/v1"]
    kind: Literal["Cluster"]
    metadata: Metadata
    spec: ClusterSpec


SHAPES: dict[str, type[Struct]] = {shape.__name__: shape for shape in (Gateway, HTTPRoute, ServiceMonitor, Cluster)}


def check(one: object, kind: str) -> None:
    """Raises msgspec.ValidationError with the path of what does not fit, KeyError for a kind that is not known here."""
    msgspec.convert(one, SHAPES[kind])
