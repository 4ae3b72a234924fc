"""The checks of the whole cluster can fail: with one mistake each in the cores a few seeds find it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from server.core.gateway import GatewayCore
from server.core.inputs import Inputs
from server.core.views import Batch
from shard.border import acts
from tests.sim.hosts import RATE_HZ
from tests.sim.whole import Whole, live

SEEDS = 5
CROSSING_S = 20


def drop_unacknowledged_inputs(patch: pytest.MonkeyPatch) -> None:
    """What was said to a body's former owner is neither forwarded nor said again to the next."""
    patch.setattr(Inputs, "again", lambda self, conn: None)
    patch.setattr(acts, "forward_inputs", lambda state, upward: None)


def reuse_numbers_early(patch: pytest.MonkeyPatch) -> None:
    """A number is free as soon as its leave was written, not when the client has acknowledged it."""
    honest = GatewayCore.frames

    def frames(self: GatewayCore, tick: int, now_s: float, blocked: npt.NDArray[np.uint8]) -> Iterator[Batch]:
        views = self.views.state.views
        views["acked"] = views["frame"]
        return honest(self, tick, now_s, blocked)

    patch.setattr(GatewayCore, "frames", frames)


def walk(seed: int) -> Whole:
    """A quiet world: people walk over borders, and every command of theirs is applied."""
    world = Whole(seed)
    world.carriers.delay_ms = 60.0
    live(world, CROSSING_S * RATE_HZ)
    assert world.counts["crossed"] > 20
    left_out = sum(int(core.state.counted[4]) for core in world.cores)
    assert left_out == 0, f"{left_out} commands never came to their body's owner"
    return world


def test_every_command_comes_to_the_owner_of_the_body() -> None:
    walk(1)


@pytest.mark.parametrize("mutant", [drop_unacknowledged_inputs, reuse_numbers_early], ids=lambda m: m.__name__)
def test_a_mutant_is_found(mutant: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    for seed in range(SEEDS):
        try:
            walk(seed)
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} was not found within {SEEDS} seeds")
