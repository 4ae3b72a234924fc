"""What k8s/components/autoscaling says, as the autoscaler takes it: one reading for the simulation and for the tests.

Decides which fields of a ScaledObject (KEDA 2) are understood; another one is an error, so that nothing stands in a
manifest that nobody tries. Invariant: what the manifest leaves out has the default that KEDA and Kubernetes give it.
Not responsible for: whether the cluster takes the manifest, what a query's names mean (``tests``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import promql_parser as promql

from bench.autoscale.hpa import DOWN, UP, Direction, Policy, Rules
from bench.prepare import BENCH

FOLDER = BENCH.parent / "k8s" / "components" / "autoscaling"
SHARD, GATEWAY = FOLDER / "shard.yaml", FOLDER / "gateway.yaml"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class _Policy(_Strict, frozen=True):
    type: str
    value: int
    period_seconds: float


class _Direction(_Strict, frozen=True):
    stabilization_window_seconds: float | None = None
    select_policy: str = "Max"
    policies: tuple[_Policy, ...] = ()


class _Behavior(_Strict, frozen=True):
    scale_up: _Direction = _Direction()
    scale_down: _Direction = _Direction()


class _Hpa(_Strict, frozen=True):
    behavior: _Behavior = _Behavior()


class _Advanced(_Strict, frozen=True):
    horizontal_pod_autoscaler_config: _Hpa = _Hpa()


class _Metadata(_Strict, frozen=True):
    server_address: str
    query: str
    threshold: str
    ignore_null_values: str = "true"


class _Trigger(_Strict, frozen=True):
    type: str
    name: str
    metadata: _Metadata
    metric_type: str = "AverageValue"


class _Target(_Strict, frozen=True):
    api_version: str
    kind: str
    name: str


class _Spec(_Strict, frozen=True):
    scale_target_ref: _Target
    triggers: tuple[_Trigger, ...]
    min_replica_count: int = 0
    max_replica_count: int = 100
    advanced: _Advanced = _Advanced()


class _ScaledObject(msgspec.Struct, frozen=True, rename="camel"):
    kind: str
    spec: _Spec


@dataclass(frozen=True, slots=True)
class Trigger:
    """One metric. ``names``: metrics that its query names; ``window_s``: over which it looks back; ``empty_is_error``:
    whether a query without a result counts as no answer (else as 0)."""

    name: str
    query: str
    names: tuple[str, ...]
    window_s: float
    empty_is_error: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """One ScaledObject."""

    target: str
    rules: Rules
    triggers: tuple[Trigger, ...]


def read(path: Path) -> Settings:
    """The settings in the file. Raises ValueError (also msgspec's) for what is not understood, OSError."""
    made = msgspec.yaml.decode(path.read_bytes(), type=_ScaledObject)
    spec = made.spec
    if made.kind != "ScaledObject" or not spec.triggers:
        raise ValueError(f"{path}: not a ScaledObject with triggers")
    for trigger in spec.triggers:
        if (trigger.type, trigger.metric_type) != ("prometheus", "AverageValue"):
            raise ValueError(f"{path}: {trigger.name} is neither of Prometheus nor an AverageValue")
    behavior = spec.advanced.horizontal_pod_autoscaler_config.behavior
    return Settings(
        spec.scale_target_ref.name,
        Rules(
            max(1, spec.min_replica_count),
            spec.max_replica_count,
            tuple(float(trigger.metadata.threshold) for trigger in spec.triggers),
            _direction(behavior.scale_up, UP),
            _direction(behavior.scale_down, DOWN),
        ),
        tuple(_trigger(trigger) for trigger in spec.triggers),
    )


def _direction(said: _Direction, default: Direction) -> Direction:
    window_s = default.window_s if said.stabilization_window_seconds is None else said.stabilization_window_seconds
    policies = tuple(Policy(_is_percent(p.type), p.value, p.period_seconds) for p in said.policies)
    return Direction(window_s, policies or default.policies, said.select_policy)


def _is_percent(kind: str) -> bool:
    if kind not in ("Percent", "Pods"):
        raise ValueError(f"a policy is of type Percent or Pods, not {kind}")
    return kind == "Percent"


def _trigger(trigger: _Trigger) -> Trigger:
    found = list(selectors(promql.parse(trigger.metadata.query)))
    return Trigger(
        trigger.name,
        trigger.metadata.query,
        tuple(name for name, _ in found),
        max(window_s for _, window_s in found),
        trigger.metadata.ignore_null_values == "false",
    )


def selectors(expr: promql.Expr) -> Iterator[tuple[str, float]]:
    """(name, range in seconds) of each selector of a query. Raises ValueError for a form that is not understood."""
    match expr:
        case promql.VectorSelector():
            yield expr.name or "", 0.0
        case promql.MatrixSelector():
            yield expr.vector_selector.name or "", expr.range.total_seconds()
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr():
            yield from selectors(expr.expr)
        case promql.BinaryExpr():
            yield from selectors(expr.lhs)
            yield from selectors(expr.rhs)
        case promql.Call():
            for argument in expr.args:
                yield from selectors(argument)
        case promql.NumberLiteral():
            return
        case _:
            raise ValueError(f"not understood in a query: {expr}")
