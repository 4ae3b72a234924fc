"""What people cost a shard and a gateway: real processes, with few and with many clients.

The crowd of ``bench.forms`` in one shard and one gateway, twice; what the second run costs more is its clients'. Not
responsible for: what a gateway's kernels and a shard's entities cost (``bench.kernels``, ``regions``): those parts are
taken off.
"""

from dataclasses import dataclass

from bench import forms, kernels
from bench.fleet import Form
from bench.kernels import KernelResult
from bench.prepare import prepare

FORM = Form("1 shard + 1 gateway", 1, 1, 0)
FEW, MANY = 200, 1_200
WINDOW_S, SETTLE_S = 8.0, 4.0
RATE_HZ = 20
ALWAYS_THERE = 4_000
"""Inhabitants and things of the crowd's world."""
SEEN_OF_ALL = 50 / 6_000
"""Part of all entities that a client sees there (bench/worlds/crowd.py)."""


@dataclass(frozen=True, slots=True)
class ServedCosts:
    """See ``model.Costs``."""

    body_us: float
    client_us: float
    mirror_us: float
    visible_us: float
    visible_bytes: float


def _kernel() -> KernelResult:
    return kernels.measure("restless", 500, 50, 5_000)


def measure(moving_us: float) -> ServedCosts:
    """Some two minutes. ``moving_us``: what an entity that moves costs its shard anyway. Raises PreparationError,
    ChildFailed, RuntimeError when a run was not valid."""
    kernel = _kernel()
    mirror_us, visible_us = kernel.mirror_ns_per_entity / 1e3, kernel.ns_per_visible / 1e3
    tools = prepare(with_peers=False)
    few, many = (forms.measure(tools, FORM, clients, WINDOW_S, SETTLE_S) for clients in (FEW, MANY))
    for run in (few, many):
        if not run.valid:
            raise RuntimeError(f"{run.clients} clients: {run.first_violation or f'{run.lost} were lost'}")
    more = MANY - FEW
    tick_us = 1e6 / RATE_HZ
    shard_us = (many.shard_cpu - few.shard_cpu) * tick_us / more
    seen = {run.clients: SEEN_OF_ALL * (ALWAYS_THERE + run.clients) for run in (few, many)}
    looked = MANY * seen[MANY] - FEW * seen[FEW]
    gateway_us = ((many.gateway_cpu - few.gateway_cpu) * tick_us - looked * visible_us) / more - mirror_us
    return ServedCosts(
        max(0.0, shard_us - moving_us), max(0.0, gateway_us), mirror_us, visible_us, kernel.bytes_per_entity_tick
    )
